"""Reader of saved posteriors, which get their emulator as an argument."""

import numpy as np

from sk_payne.neural_posterior._agreement import read_training
from sk_payne.neural_posterior._estimator import NeuralPosterior
from sk_payne.neural_posterior._files import KEPT

__all__ = ["load_posterior"]


def load_posterior(path, emulator, observation=None):
    """Read a posterior that :meth:`NeuralPosterior.save` wrote.

    Nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like
        Name of the file.
    emulator : estimator
        Emulator of the training.
    observation : Observation, default=None
        Observation of the training.

    Returns
    -------
    posterior : NeuralPosterior
        The fitted posterior, with exactly the predictions of the saved one.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    FileFormatError
        If the file is damaged, of another kind or of a newer format.
    ValueError
        If emulator or observation differ from those of the training.

    Examples
    --------
    >>> from sk_payne.neural_posterior import load_posterior
    >>> load_posterior("nowhere.safetensors", None)
    Traceback (most recent call last):
    FileNotFoundError: `path` must be a file or folder that `save` wrote; ...
    """
    trained, arguments = read_training(path, emulator, observation)
    posterior = NeuralPosterior(
        emulator,
        observation,
        medium=arguments["medium"],
        snr=trained.snr,
        **{name: arguments[name] for name in KEPT},
        **_known(trained),
    )
    posterior.trained_ = trained
    return posterior


def _known(trained):
    """Bounds, priors and fixed values of a trained posterior, by name."""
    names, coordinates = trained.names, trained.coordinates
    ends = zip(coordinates.low.tolist(), coordinates.high.tolist(), strict=True)
    gaussian = zip(coordinates.mean.tolist(), coordinates.error.tolist(), strict=True)
    bounds = dict(zip(names, ends, strict=True))
    priors = dict(zip(names, gaussian, strict=True))
    return {
        "bounds": {name: bounds[name] for name in names[: trained.n_labels]},
        "priors": {n: one for n, one in priors.items() if np.isfinite(one[1])} or None,
        "fixed": trained.known or None,
    }
