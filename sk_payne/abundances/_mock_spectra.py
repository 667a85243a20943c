"""Mock spectra of known stars: broadened, shifted, with a continuum."""

import warnings

import numpy as np

from sk_payne.abundances._parameters import VELOCITY
from sk_payne.abundances._plan import width_limits
from sk_payne.abundances._resolution import instrument_width
from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.inputs import to_floats
from sk_payne.spectra import (
    GridInterpolator,
    broaden,
    broadening_reach,
    doppler_factor,
    is_covered,
    velocity_sigma,
)

__all__ = ["MockObserver", "continua", "predict_quietly"]

# Largest departure of a continuum from one.
_TILT = 0.3


class MockObserver:
    """Brings flux on the grid of an emulator to observed pixels.

    Parameters
    ----------
    observation : Observation
        Checked; its instrument and limb darkening are used.
    emulator : FittedEmulator
        The emulator.
    wavelength : array-like of shape (n_observed,) or None
        In Å; None for the grid of the emulator.
    nuisances : dict of str to ndarray of shape (n_stars,)
        Widths and velocities of the stars in km/s.

    Attributes
    ----------
    wavelength : ndarray of shape (n_observed,) or None
        Of the pixels; None if the emulator knows none.
    rest : ndarray of shape (n_stars, n_observed) or None
        The same at rest.
    covered : ndarray of shape (n_stars, n_observed), bool
        Whether flux comes from within the grid.
    """

    def __init__(self, observation, emulator, wavelength, nuisances):
        self.observation, self.emulator = observation, emulator
        self.vsini, self.vmac = nuisances["vsini"], nuisances["vmac"]
        self.wavelength = self.rest = None
        self.covered = np.ones((len(self.vsini), emulator.n_pixels), dtype=bool)
        grid = emulator.wavelength
        if grid is None:
            if wavelength is not None or self.vsini.any() or self.vmac.any():
                raise ValueError(
                    "`wavelength`, `vsini` and `vmac` must be None for an emulator "
                    "without wavelengths. Pass `wavelength=` and `medium=` to "
                    "SpectrumEmulator and train it again."
                )
            return
        wavelength = grid if wavelength is None else wavelength
        self.wavelength = to_floats(
            wavelength, argument="wavelength", unit="Angstrom"
        ).copy()
        self.rest = self.wavelength / doppler_factor(nuisances[VELOCITY])[:, None]
        self.instrument, sigma = {}, 0.0
        if observation.given_power is not None:
            resolving_powers = observation.given_power, emulator.resolving_power
            if np.ndim(emulator.resolving_power):
                raise ValueError(
                    "`resolving_power` of the regressor must be None for an emulator "
                    "whose resolving power is not the same at all wavelengths; got "
                    f"{observation.resolving_power}. Set it so in a copy: errors hold "
                    "alike."
                )
            self.instrument = dict(
                zip(("resolving_power", "already"), resolving_powers, strict=True)
            )
            sigma = float(velocity_sigma(*resolving_powers))
        reach = doppler_factor(broadening_reach(self.vsini, self.vmac, sigma))[:, None]
        self.covered = is_covered(self.rest / reach, self.rest * reach, grid)

    def is_between_pixels(self):
        """Whether the fit asks the emulator itself for flux between its pixels."""
        return (
            self.rest is not None
            and getattr(self.emulator.source, "takes_wavelength", False)
            and not self._is_broadened()
            and not (self.vsini.any() or self.vmac.any())
        )

    def _is_broadened(self):
        """Whether the fit broadens spectra of the emulator."""
        limits = width_limits(self.emulator, self.observation).values()
        sigma = instrument_width(self.emulator, self.observation.given_power)
        return bool(any(high for _, high in limits) or np.any(sigma))

    def predict(self, emulator, labels):
        """Give flux of an emulator that takes any wavelength, at covered pixels."""
        flux = np.ones(self.rest.shape)
        for i, good in enumerate(self.covered):
            if good.any():
                at = self.rest[i, good]
                flux[i, good] = predict_quietly(emulator, labels[[i]], wavelength=at)[0]
        return flux

    def observe(self, flux):
        """Flux on the grid, broadened, shifted and interpolated."""
        if self.rest is None:
            return flux
        grid = self.emulator.wavelength
        flux = broaden(
            flux,
            grid,
            vsini=self.vsini,
            vmac=self.vmac,
            limb_darkening=self.observation.limb_darkening,
            **self.instrument,
        )
        return GridInterpolator(grid)(flux, self.rest)


def continua(rng, degree, wavelength, n):
    """Draw gentle polynomials as continua.

    Parameters
    ----------
    rng : numpy RandomState
        Source of random numbers.
    degree : int or None
        Degree; None for a continuum of one.
    wavelength : ndarray of shape (n_observed,) or None
        Å.
    n : int
        Number of stars.

    Returns
    -------
    continua : ndarray of shape (n, n_observed) or float
        Between 0.7 and 1.3.
    """
    if degree is None or wavelength is None:
        return 1.0
    x = np.interp(wavelength, wavelength[[0, -1]], [-1.0, 1.0])
    basis = np.polynomial.chebyshev.chebvander(x, degree)
    size = _TILT / (degree + 1)
    return 1 + rng.uniform(-size, size, (n, degree + 1)) @ basis.T


def predict_quietly(emulator, labels, **where):
    """Predict flux without warnings of extrapolation: mock stars define the truth.

    Parameters
    ----------
    emulator : estimator
        Fitted.
    labels : ndarray of shape (n, n_labels)
        Labels.
    **where
        Further arguments of `predict`.

    Returns
    -------
    flux : ndarray of shape (n, n_wavelengths)
        Flux.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        # labels that were drawn have no names of columns
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        return np.reshape(emulator.predict(labels, **where), (len(labels), -1))
