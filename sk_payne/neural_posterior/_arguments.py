"""Checks of the arguments of NeuralPosterior, and the identity of a training."""

from numbers import Integral, Real

import joblib
import numpy as np
import torch
from sklearn.utils import check_random_state

from sk_payne.abundances import Observation
from sk_payne.inputs import to_floats
from sk_payne.resumable import describe, digest

__all__ = ["check_arguments", "digest_of_emulator", "identity_of", "random_seed"]

# Smallest values of arguments that are integers.
_SMALLEST = {
    "n_directions": 1,
    "n_hidden": 1,
    "n_layers": 0,
    "n_components": 1,
    "max_steps": 1,
    "batch_size": 2,
    "n_held_out": 100,
}

# Arguments that are not part of the identity of a training.
_IGNORED = {"emulator", "checkpoint", "device", "random_state", "verbose"}


def check_arguments(posterior):
    """Check the numeric arguments of an estimator.

    Parameters
    ----------
    posterior : NeuralPosterior
        The estimator.

    Returns
    -------
    snr : tuple of float
        Smallest and largest signal-to-noise ratio.

    Raises
    ------
    ValueError
        If an argument is invalid.
    """
    for name, least in _SMALLEST.items():
        value = getattr(posterior, name)
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(
                f"`{name}` must be an integer of at least {least}; got {value!r}."
            )
    lr = posterior.lr
    if not isinstance(lr, Real) or not 0 < lr < 1:
        raise ValueError(f"`lr` must be between 0 and 1, like 0.002; got {lr!r}.")
    snr = to_floats(posterior.snr, argument="snr")
    if snr.shape != (2,) or not 0 < snr[0] < snr[1] < np.inf:
        raise ValueError(
            "`snr` must be a smallest and a largest signal-to-noise ratio, both "
            f"positive, like (20, 400); got {posterior.snr!r}."
        )
    return tuple(map(float, snr))


def digest_of_emulator(fitted):
    """Compute a digest of all numbers that determine the predictions of an emulator.

    Parameters
    ----------
    fitted : FittedEmulator
        The emulator.

    Returns
    -------
    digest : str
        Text of 16 hexadecimal digits.
    """
    if not isinstance(fitted.single, torch.nn.Module):
        return digest(joblib.hash(fitted.estimator))
    module = fitted.single
    parts = {name: value.float() for name, value in module.state_dict().items()}
    parts["scaling"] = [float(module.flux_scale), module.flux_offset.float()]
    parts["labels"] = [fitted.center, fitted.half_width, fitted.wavelength]
    return digest(parts)


def identity_of(posterior, emulator, spectra):
    """Return the properties that must not change when a training is continued.

    Parameters
    ----------
    posterior : NeuralPosterior
        The estimator.
    emulator : str
        Digest of the emulator.
    spectra : SpectrumSet or None
        Observed stars.

    Returns
    -------
    identity : dict
        Values of "spectra" and "settings" that JSON can represent.
    """
    settings = posterior.get_params(deep=False)
    settings = {k: v for k, v in settings.items() if k not in _IGNORED}
    settings["observation"] = settings["observation"] or Observation()
    return {
        "spectra": digest(None if spectra is None else vars(spectra)),
        "settings": {"emulator": emulator} | describe(settings),
    }


def random_seed(random_state):
    """Return a seed, and True if the caller chose it by an integer."""
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    return seed, isinstance(random_state, Integral)
