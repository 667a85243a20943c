"""Diagnosis of a spectrum: its facts, and what is missing to measure it.

Nothing is guessed: the option that states what is missing is named.
"""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from sk_payne.command._star_facts import StarFacts
from sk_payne.spectra import (
    C_KMS,
    check_medium,
    convert_medium,
    describe_segments,
)

__all__ = ["Demands", "diagnose"]

# Flux of a star and of a model may differ by this factor; beyond, they are of different
# kinds, such as counts and normalised flux.
_FACTOR = 3.0


@dataclass(frozen=True)
class Demands:
    """Facts that a regressor must know of each spectrum.

    Attributes
    ----------
    wavelength : ndarray of shape (n_wavelengths,)
        Wavelengths of the emulator in Å.
    emulator_medium : {"air", "vacuum"}
        Medium of these wavelengths.
    flux : ndarray of shape (n_wavelengths,)
        Flux that the emulator predicts in the middle of the training box.
    medium : {"air", "vacuum"} or None
        Medium of spectra that do not state theirs.
    needs_power : bool
        Whether spectra must state their resolving power.
    needs_errors : bool
        Whether spectra must have errors.
    fits_level : bool
        Whether the level of the flux is fitted.
    reach : float
        Part of the wavelength by which a velocity may shift lines.
    """

    wavelength: np.ndarray
    emulator_medium: str
    flux: np.ndarray
    medium: str | None
    needs_power: bool
    needs_errors: bool
    fits_level: bool
    reach: float

    @classmethod
    def of(cls, regressor, medium):
        """Give the demands of a regressor.

        Parameters
        ----------
        regressor : AbundanceRegressor
            With a fitted emulator.
        medium : {"air", "vacuum"} or None
            Medium of spectra that do not state theirs.

        Returns
        -------
        demands : Demands
            The demands.

        Raises
        ------
        ValueError
            If the emulator has no wavelengths.
        """
        emulator, observation = regressor.emulator, regressor.observation
        if emulator.wavelength_ is None:
            raise ValueError(
                "--emulator must know its wavelengths to measure files; this one was "
                "trained without. Train it with `wavelength=` and `medium=`."
            )
        middle = Table(
            (emulator.label_low_ + emulator.label_high_)[None] / 2,
            names=emulator.label_names_,
        )
        velocities = observation.velocity_range
        return cls(
            wavelength=emulator.wavelength_,
            emulator_medium=emulator.medium_,
            flux=emulator.predict(middle)[0],
            medium=None if medium is None else check_medium(medium),
            needs_power=emulator.resolving_power_ is not None
            and observation.resolving_power is None,
            needs_errors=regressor.snr is None,
            fits_level=observation.continuum_degree is not None
            or bool(observation.stages),
            reach=0.0 if velocities is None else np.abs(velocities).max() / C_KMS,
        )


def diagnose(star, demands):
    """Collect the facts of a spectrum, and what is missing to measure it.

    Parameters
    ----------
    star : specutils.Spectrum or list of specutils.Spectrum
        Spectrum of one star, or a list of its arms.
    demands : Demands
        Facts that must be known.

    Returns
    -------
    found : dict
        `format`, `object`, `medium`, `frame`, `resolving_power`, `low`, `high` (Å),
        `overlap` (part of the wavelengths of the emulator that the spectrum covers),
        `n_pixels` (good ones there), `snr` (median there) and `missing`, a list of
        sentences that name options. What is not known is None.
    """
    facts = StarFacts.of(star)
    found = {**facts.stated, "overlap": None, "n_pixels": None, "snr": None}
    missing = list(_unstated(found, demands, facts.has_errors))
    if facts.medium is not None:
        moved = convert_medium(facts.wavelength, facts.medium, demands.emulator_medium)
        near = _is_near(moved, demands) & (facts.ivar > 0)
        found |= {
            "overlap": _overlap(moved[near], demands.wavelength),
            "n_pixels": int(near.sum()),
            "snr": facts.snr(near),
        }
        missing += _unfit(found, facts.flux[near], moved[near], demands)
    return found | {"missing": missing}


def _is_near(wavelength, demands):
    low, high = demands.wavelength[[0, -1]]
    return (wavelength >= low * (1 - demands.reach)) & (
        wavelength <= high * (1 + demands.reach)
    )


def _overlap(covered, wavelength):
    """Part of the wavelengths of the emulator between the good pixels, 0 to 1."""
    if not len(covered):
        return 0.0
    inside = (wavelength >= covered.min()) & (wavelength <= covered.max())
    return float(inside.mean())


def _unstated(found, demands, has_errors):
    if found["medium"] is None:
        yield "the medium of the wavelengths: --medium air, or vacuum"
    if demands.needs_power and found["resolving_power"] is None:
        yield (
            "the resolving power: --resolving-power R, or emulator if the spectrum is "
            "as sharp as those of the emulator"
        )
    if demands.needs_errors and not has_errors:
        yield (
            "errors of the flux: --snr, the signal-to-noise ratio per pixel of "
            "normalised flux"
        )


def _unfit(found, flux, wavelength, demands):
    """Yield reasons why the flux cannot be compared with that of the emulator."""
    if not found["n_pixels"]:
        yield (
            f"good pixels of the emulator, which knows "
            f"{describe_segments(demands.wavelength)}; the spectrum covers "
            f"{found['low']:.1f}-{found['high']:.1f} Å: no option helps, but another "
            "--emulator. `sk-payne info` lists the ready ones, `sk-payne train` makes "
            "one of your grid"
        )
        return
    level = float(np.median(flux))
    model = float(np.median(np.interp(wavelength, demands.wavelength, demands.flux)))
    if not demands.fits_level and not model / _FACTOR < level < model * _FACTOR:
        yield (
            f"the continuum: the flux has a median of {level:.4g}, that of the "
            f"emulator is {model:.3g}: --continuum-degree 2 fits it"
        )
