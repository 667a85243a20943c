"""Stars of known labels to be measured: drawn, or given by the user."""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from sk_payne.abundances import VELOCITY, labels_within_bounds
from sk_payne.inputs import read_flux, to_floats
from sk_payne.recovery._mock_spectra import (
    MockObserver,
    continua,
    predict_quietly,
    read_arms,
)
from sk_payne.spectra import SpectrumSet, as_spectra

__all__ = ["KnownStars", "bring_stars", "draw_stars"]

# Fraction of the range of labels and of arm offsets that stars are drawn from.
_INNER = 0.8

# Largest velocity of drawn stars in km/s.
_FASTEST = 200.0


@dataclass(frozen=True)
class KnownStars:
    """Spectra of stars with known labels, and the regressor that measures them.

    Attributes
    ----------
    regressor : AbundanceRegressor
        Copy of the regressor, set up for these spectra.
    snr : ndarray of shape (n_snr,)
        Signal-to-noise ratios.
    spectra : list of SpectrumSet
        Spectra of all stars, one set for each S/N.
    labels : ndarray of shape (n_stars, n_labels)
        True labels.
    nuisances : dict of str to ndarray of shape (n_stars,)
        True widths and velocities in km/s.
    """

    regressor: Any
    snr: np.ndarray
    spectra: list
    labels: np.ndarray
    nuisances: dict


def draw_stars(
    regressor,
    fitted,
    observation,
    *,
    labels,
    flux,
    snr,
    n_stars,
    wavelength,
    known,
    rng,
):
    """Draw stars and make their spectra.

    Parameters
    ----------
    regressor : AbundanceRegressor
        Regressor of :func:`mock_recovery`.
    fitted : FittedEmulator
        Emulator of the regressor.
    observation : Observation
        Checked observation of the regressor.
    labels, flux, snr, n_stars, wavelength
        Arguments of :func:`mock_recovery`.
    known : dict
        Arguments "vsini", "vmac" and "velocity" of :func:`mock_recovery`.
    rng : numpy RandomState
        Source of random numbers.

    Returns
    -------
    stars : KnownStars
        Stars and spectra; the noise of a star is the same at every S/N, scaled.
    """
    if flux is not None and labels is None:
        raise ValueError("`labels` of the spectra must be given with `flux`; got None.")
    _check_instrument(observation)
    snr = _checked_snr(snr)
    wavelength, arm = read_arms(wavelength)
    labels = _labels(rng, labels, n_stars, fitted)
    n = len(labels)
    usual = observation.vsini, observation.vmac, _usual_velocity(observation)
    nuisances = {
        VELOCITY if name == "velocity" else name: _draw(rng, name, value, limits, n)
        for (name, value), limits in zip(known.items(), usual, strict=True)
    }
    n_arms = 1 if arm is None else 1 + arm[-1]
    for i, (low, high) in enumerate(observation.offset_limits(n_arms)[: n_arms - 1], 1):
        middle, reach = (low + high) / 2, _INNER * (high - low) / 2
        offset = rng.uniform(middle - reach, middle + reach, n)
        nuisances[f"velocity_offset_{i}"] = offset
    observer = MockObserver(observation, fitted, wavelength, arm, nuisances)
    if flux is not None:
        flux = observer.observe(_checked_flux(flux, n, fitted.n_pixels))
    elif observer.is_between_pixels():
        flux = observer.predict(fitted.estimator, labels)
    else:
        flux = observer.observe(predict_quietly(fitted.estimator, labels))
    wavelength, covered = observer.wavelength, observer.covered
    continuum = continua(rng, observation.continuum_degree, wavelength, arm, n)
    noise = rng.standard_normal(flux.shape)
    spectra = [
        SpectrumSet(
            np.where(covered, continuum * (flux + noise / ratio), 0.0),
            np.where(covered, (ratio / continuum) ** 2, 0.0),
            wavelength=wavelength,
            medium=None if wavelength is None else fitted.medium,
            arm=arm,
        )
        for ratio in snr
    ]
    # unlike a clone, a shallow copy is fitted
    judged = copy.copy(regressor)
    changes = {"emulator_error": False}
    if observation.resolving_power is None:
        changes["resolving_power"] = "emulator"
    judged.observation = copy.copy(observation).set_params(**changes)
    judged.snr = judged.medium = None
    return KnownStars(judged, snr, spectra, labels, nuisances)


def bring_stars(regressor, fitted, *, spectra, labels, snr, known, rng):
    """Take spectra of the user, and add noise to spectra without uncertainty.

    Parameters
    ----------
    regressor : AbundanceRegressor
        Regressor of :func:`mock_recovery`.
    fitted : FittedEmulator
        Emulator of the regressor.
    spectra, labels, snr
        Arguments of :func:`mock_recovery`.
    known : dict
        Arguments "vsini", "vmac" and "velocity" of :func:`mock_recovery`.
    rng : numpy RandomState
        Source of random numbers.

    Returns
    -------
    stars : KnownStars
        Stars and spectra; the regressor is the one given, without `snr`.
    """
    if labels is None:
        raise ValueError("`labels` must be given with `spectra`; got None.")
    labels = _labels(rng, labels, None, fitted)
    found = as_spectra(spectra, medium=regressor.medium, require_uncertainty=False)
    n = len(found)
    if len(labels) != n:
        raise ValueError(
            f"`labels` must have one row for each of the {n} spectra; got "
            f"{len(labels)}."
        )
    nuisances = {
        VELOCITY if name == "velocity" else name: _known(name, value, n)
        for name, value in known.items()
        if value is not None
    }
    judged = copy.copy(regressor)
    judged.snr = None
    has = found.has_uncertainty
    if has.all():
        ratios = np.where(found.ivar > 0, found.flux * np.sqrt(found.ivar), np.nan)
        snr = np.atleast_1d(np.nanmedian(ratios))
        return KnownStars(judged, snr, [found], labels, nuisances)
    if has.any():
        raise ValueError(
            "`spectra` must all have an uncertainty, or none of them, if noise is to "
            f"be added; got {has.sum()} of {n} that have one."
        )
    snr = _checked_snr(snr)
    noise = np.where(found.ivar > 0, rng.standard_normal(found.shape), 0.0)
    sets = [
        as_spectra(found.replace(flux=found.flux + noise / ratio), snr=ratio)
        for ratio in snr
    ]
    return KnownStars(judged, snr, sets, labels, nuisances)


# Arguments -----------------------------------------------------------------------


def _check_instrument(observation):
    """Refuse settings of the observation that mock spectra do not support."""
    allowed = {
        "resolving_power": np.ndim(observation.resolving_power) == 0,
        "integrate_pixels": not observation.integrate_pixels,
        "stages": not observation.stages,
    }
    for name, is_simple in allowed.items():
        if not is_simple:
            raise ValueError(
                f"`{name}` of the observation must be left out for mock spectra: they "
                "have one resolving power, flux at points and no stages; got "
                f"{getattr(observation, name)!r}. Pass a regressor without it, or "
                "bring spectra that have it, with `spectra=` and `labels=`."
            )


def _checked_snr(snr):
    values = np.atleast_1d(to_floats(snr, argument="snr"))
    if values.ndim != 1 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(
            f"`snr` must be one or several positive, finite numbers; got {snr!r}."
        )
    return values


def _labels(rng, labels, n_stars, fitted):
    low, high = fitted.low, fitted.high
    if labels is None:
        if n_stars < 1:
            raise ValueError(f"`n_stars` must be at least 1; got {n_stars}.")
        unit = _INNER * rng.uniform(-0.5, 0.5, (n_stars, len(low)))
        return (low + high) / 2 + unit * (high - low)
    names, units = fitted.label_names, fitted.label_units
    return labels_within_bounds(labels, names, units, low, high)


def _checked_flux(flux, n_stars, n_pixels):
    table = read_flux(flux, argument="flux")
    flux = np.array(table.values, dtype=np.float64)
    if table.mask is not None:
        flux[table.mask] = np.nan
    finite = np.isfinite(flux).all()
    if flux.shape != (n_stars, n_pixels) or not finite:
        raise ValueError(
            f"`flux` must be finite and of the shape {(n_stars, n_pixels)}, on the "
            "grid of the emulator and one row for each row of `labels`; got "
            f"{flux.shape}{'' if finite else ' with NaN or infinity'}."
        )
    return flux


def _usual_velocity(observation):
    """Return the default limits of drawn velocities in km/s."""
    if observation.velocity_range is None:
        return 0.0
    return np.clip(observation.velocity_range, -_FASTEST, _FASTEST)


def _draw(rng, name, limits, usual, n):
    """Draw velocities in km/s, uniformly between limits."""
    value = usual if limits is None else limits
    value = to_floats(value, argument=name, unit="km/s")
    pair = value.repeat(2) if value.ndim == 0 else value
    if pair.shape != (2,) or not np.isfinite(pair).all() or pair[0] > pair[1]:
        raise ValueError(
            f"`{name}` must be a velocity in km/s, or a smallest and a largest one; "
            f"got {limits!r}."
        )
    return rng.uniform(*pair, n)


def _known(name, value, n):
    """Return the true velocities of given spectra in km/s."""
    values = to_floats(value, argument=name, unit="km/s")
    if values.shape not in ((), (n,)) or not np.isfinite(values).all():
        raise ValueError(
            f"`{name}` must be the velocity of the {n} spectra in km/s, one number or "
            f"one for each, if `spectra` are given; got {value!r}."
        )
    return np.array(np.broadcast_to(values, n))
