"""Arguments of NeuralPosterior, checked, and the identity of a training."""

from numbers import Integral, Real

import joblib
import numpy as np
import torch
from sklearn.utils import check_random_state

from sk_payne.abundances import Observation
from sk_payne.inputs import to_floats
from sk_payne.resumable import describe, digest

__all__ = ["check_arguments", "digest_of_emulator", "identity_of", "random_seed"]

# Smallest values of arguments that are whole numbers.
_WHOLE = {
    "n_directions": 1,
    "n_hidden": 1,
    "n_layers": 0,
    "n_components": 1,
    "max_steps": 1,
    "batch_size": 2,
    "n_held_out": 100,
}

# Arguments that results do not depend on.
_NO_MATTER = {"emulator", "checkpoint", "device", "random_state", "verbose"}


def check_arguments(posterior):
    """Check the arguments of an estimator that are numbers.

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
        If one is not allowed.
    """
    for name, least in _WHOLE.items():
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
    """Tell emulators apart by what they predict with.

    Parameters
    ----------
    fitted : FittedEmulator
        The emulator.

    Returns
    -------
    digest : str
        16 hexadecimal digits.
    """
    if not isinstance(fitted.single, torch.nn.Module):
        return digest(joblib.hash(fitted.estimator))
    module = fitted.single
    parts = {name: value.float() for name, value in module.state_dict().items()}
    parts["scaling"] = [float(module.flux_scale), module.flux_offset.float()]
    parts["labels"] = [fitted.center, fitted.half_width, fitted.wavelength]
    return digest(parts)


def identity_of(posterior, emulator, spectra):
    """Give what must be the same when a training is gone on with.

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
        "spectra" and "settings", as JSON has it.
    """
    settings = posterior.get_params(deep=False)
    settings = {k: v for k, v in settings.items() if k not in _NO_MATTER}
    settings["observation"] = settings["observation"] or Observation()
    return {
        "spectra": digest(None if spectra is None else vars(spectra)),
        "settings": {"emulator": emulator} | describe(settings),
    }


def random_seed(random_state):
    """Give a seed, and whether the caller asked for it by a number."""
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    return seed, isinstance(random_state, Integral)
