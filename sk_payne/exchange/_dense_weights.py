"""Emulators made of the weights of dense networks that other codes trained."""

import numpy as np

from sk_payne.emulators import from_weights
from sk_payne.exchange._npz_networks import network_names, refuse_other_sizes

__all__ = ["dense_emulator", "dense_network"]


def dense_emulator(
    path, arrays, n_layers, *, options, label_names, wavelength, **facts
):
    """Make an emulator of the arrays of a network.

    Parameters
    ----------
    path : object
        Name of the file, for messages.
    arrays : dict of str to ndarray
        Weights, biases and box, as :func:`read_arrays` gives them.
    n_layers : int
        Number of linear layers.
    options : dict
        Activation and output, as in :class:`sk_payne.networks.Payne`.
    label_names, wavelength : sequence or None
        As in :func:`sk_payne.emulators.from_weights`.
    **facts : object
        Other arguments of `from_weights`.

    Returns
    -------
    emulator : SpectrumEmulator
        Fitted; labels are scaled to -0.5 to 0.5 within the box.

    Raises
    ------
    ValueError
        If there are not as many names and wavelengths as the network has.
    """
    refuse_other_sizes(path, arrays, n_layers, wavelength, label_names)
    matrices, biases, ends = network_names(n_layers)
    low, high = (arrays[name].astype(np.float64) for name in ends)
    sizes, weights = dense_network(
        [arrays[name] for name in matrices], [arrays[name] for name in biases]
    )
    return from_weights(
        "payne",
        weights,
        arch_params=sizes | options,
        wavelength=wavelength,
        label_names=label_names,
        label_low=low,
        label_high=high,
        label_center=(low + high) / 2,
        label_half_width=high - low,
        **facts,
    )


def dense_network(matrices, biases):
    """Give the options and weights of a `Payne` with the same output.

    Its hidden layers have one width, so narrow layers get neurons without output.

    Parameters
    ----------
    matrices : list of ndarray of shape (n_out, n_in)
        Weights of at least two layers, first to last.
    biases : list of ndarray of shape (n_out,)
        Biases of the layers.

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
