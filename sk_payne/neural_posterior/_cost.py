"""Cost of a training, computed before it begins."""

from sk_payne.neural_posterior._arguments import check_arguments
from sk_payne.neural_posterior._setup import RATIOS, prepare

__all__ = ["training_cost"]

# Bytes of a number in a file.
_FLOAT32, _FLOAT64 = 4, 8


def training_cost(posterior, spectra):
    """Compute the cost of a training, and check its arguments.

    Parameters
    ----------
    posterior : NeuralPosterior
        The estimator.
    spectra : SpectrumSet or None
        Observed stars.

    Returns
    -------
    cost : dict of str to int
        "n_spectra", the number of mock spectra of all training steps, and "n_bytes",
        the size of the largest tensors of the file.

    Raises
    ------
    ImportError
        If zuko is not installed.
    ValueError
        If an argument is invalid.
    """
    check_arguments(posterior)
    setup = prepare(posterior, spectra)
    n_bins, n_hidden, n_free = setup.n_bins, posterior.n_hidden, len(setup.free)
    n_directions = min(posterior.n_directions, n_bins) + len(RATIOS) * n_free
    n_outputs = posterior.n_components * (1 + n_free * (n_free + 3) // 2)
    n_weights = (
        2 * n_directions * (n_bins + n_hidden)  # directions and their spectra; inputs
        + 2 * posterior.n_layers * n_hidden**2
        + n_hidden * n_outputs
    )
    n_novelty = n_hidden**2
    return {
        "n_spectra": posterior.max_steps * posterior.batch_size,
        "n_bytes": _FLOAT32 * n_weights + _FLOAT64 * n_novelty,
    }
