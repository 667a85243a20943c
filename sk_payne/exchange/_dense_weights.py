"""Weights of dense networks of other codes, for ours.

It is here because two codes have them, and ours have hidden layers of one width.
"""

import numpy as np

__all__ = ["dense_network"]


def dense_network(matrices, biases):
    """Give the options and weights of a `Payne` with the same output.

    Narrow hidden layers get neurons that nothing listens to.

    Parameters
    ----------
    matrices : list of ndarray of shape (n_out, n_in)
        Of the layers, first to last; at least two.
    biases : list of ndarray of shape (n_out,)
        Of the layers.

    Returns
    -------
    arch_params : dict
        "n_hidden" and "n_layers".
    weights : dict of str to ndarray
        As :func:`sk_payne.emulators.from_weights` takes them.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.exchange._dense_weights import dense_network
    >>> matrices = [np.ones((3, 2)), np.ones((5, 3)), np.ones((7, 5))]
    >>> options, weights = dense_network(matrices, [np.ones(n) for n in (3, 5, 7)])
    >>> options, weights["layers.2.weight"].shape
    ({'n_hidden': 5, 'n_layers': 2}, (5, 5))
    """
    n_hidden = max(len(matrix) for matrix in matrices[:-1])
    weights = {}
    for i, (matrix, bias) in enumerate(zip(matrices, biases, strict=True)):
        rows = len(matrix) if i == len(matrices) - 1 else n_hidden
        columns = matrix.shape[1] if i == 0 else n_hidden
        padding = (0, rows - len(matrix))
        weights[f"layers.{2 * i}.weight"] = np.pad(
            matrix, (padding, (0, columns - matrix.shape[1]))
        )
        weights[f"layers.{2 * i}.bias"] = np.pad(bias, padding)
    return {"n_hidden": n_hidden, "n_layers": len(matrices) - 1}, weights
