"""Posteriors that were trained before: read, and given their emulator."""

import numpy as np

from sk_payne.abundances import ForwardModel, Observation
from sk_payne.neural_posterior._arguments import digest_of_emulator
from sk_payne.neural_posterior._estimator import NeuralPosterior
from sk_payne.neural_posterior._files import KEPT, read_posterior
from sk_payne.resumable import describe

__all__ = ["load_posterior"]


def load_posterior(path, emulator, observation=None):
    """Read a posterior that :meth:`NeuralPosterior.save` wrote.

    Nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like
        The file.
    emulator : estimator
        Emulator that the posterior was trained with.
    observation : Observation, default=None
        Observation that it was trained with.

    Returns
    -------
    posterior : NeuralPosterior
        Fitted; it predicts exactly what the saved one did.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file is damaged, of another kind or of a newer format.
    ValueError
        If emulator or observation are not those of the training.

    Examples
    --------
    >>> from sk_payne.neural_posterior import load_posterior
    >>> load_posterior("nowhere.safetensors", None)
    Traceback (most recent call last):
    FileNotFoundError: `path` must be a file or folder that `save` wrote; ...
    """
    trained, arguments = read_posterior(path)
    told = describe(Observation() if observation is None else observation)
    if arguments["observation"] != told:
        raise ValueError(
            "`observation` must be that of the training; its parameters are "
            f"{arguments['observation']}, not {told}."
        )
    posterior = NeuralPosterior(
        emulator,
        observation,
        medium=arguments["medium"],
        snr=trained.snr,
        **{name: arguments[name] for name in KEPT},
        **_known(trained),
    )
    fitted = ForwardModel(emulator, posterior.observation).plan.emulator
    if digest_of_emulator(fitted) != trained.emulator:
        raise ValueError(
            f"`emulator` must be the one that the posterior in '{path}' was trained "
            "with; it is another."
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
