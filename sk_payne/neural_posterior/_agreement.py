"""Saved posteriors, read for the emulator and the observation of their training."""

from sk_payne.abundances import ForwardModel, Observation
from sk_payne.neural_posterior._arguments import digest_of_emulator
from sk_payne.neural_posterior._files import read_posterior
from sk_payne.resumable import describe

__all__ = ["read_training"]


def read_training(path, emulator, observation):
    """Read a saved posterior, and check its emulator and its observation.

    Parameters
    ----------
    path : str or path-like
        Name of the file.
    emulator : estimator
        Emulator of the training.
    observation : Observation or None
        Observation of the training.

    Returns
    -------
    trained : TrainedPosterior
        The posterior.
    arguments : dict
        Arguments of the estimator, as values that JSON can represent.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    FileFormatError
        If the file is damaged, of another kind or of a newer format.
    ValueError
        If emulator or observation differ from those of the training.
    """
    trained, arguments = read_posterior(path)
    observation = Observation() if observation is None else observation
    described = describe(observation)
    if arguments["observation"] != described:
        raise ValueError(
            "`observation` must be that of the training; its parameters are "
            f"{arguments['observation']}, not {described}."
        )
    fitted = ForwardModel(emulator, observation).plan.emulator
    if digest_of_emulator(fitted) != trained.emulator:
        raise ValueError(
            f"`emulator` must be the one that the posterior in '{path}' was trained "
            "with; got another."
        )
    return trained, arguments
