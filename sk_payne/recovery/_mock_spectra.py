"""Mock spectra of known stars: broadened, shifted, with a continuum, in any arms."""

import warnings

import numpy as np

from sk_payne.abundances import VELOCITY, instrument_width, width_limits
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

__all__ = ["MockObserver", "continua", "predict_quietly", "read_arms"]

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
    wavelength : ndarray of shape (n_observed,) or None
        In Å; None for the grid of the emulator.
    arm : ndarray of shape (n_observed,) or None
        Arm of each pixel, from 0; None for a single one.
    nuisances : dict of str to ndarray of shape (n_stars,)
        Widths and velocities of the stars in km/s, and perhaps offsets of arms after
        the first.

    Attributes
    ----------
    wavelength : ndarray of shape (n_observed,) or None
        Of the pixels; None if the emulator knows none.
    rest : ndarray of shape (n_stars, n_observed) or None
        The same at rest.
    covered : ndarray of shape (n_stars, n_observed), bool
        Whether flux comes from within the grid.
    """

    def __init__(self, observation, emulator, wavelength, arm, nuisances):
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
        self.wavelength = np.array(grid if wavelength is None else wavelength)
        velocity = _velocities(nuisances, arm)
        self.rest = self.wavelength / doppler_factor(velocity)
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
                # arms may overlap
                at, place = np.unique(self.rest[i, good], return_inverse=True)
                told = predict_quietly(emulator, labels[[i]], wavelength=at)[0]
                flux[i, good] = told[place]
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


def read_arms(wavelength):
    """Read the wavelengths of one arm, or a list of those of several.

    Parameters
    ----------
    wavelength : array-like of shape (n_observed,), list of them, or None
        In Å, or quantities.

    Returns
    -------
    wavelength : ndarray of shape (n_observed,) or None
        Of all arms, one behind the other.
    arm : ndarray of shape (n_observed,), int, or None
        Arm of each pixel; None for one arm.

    Examples
    --------
    >>> from sk_payne.recovery._mock_spectra import read_arms
    >>> read_arms([[4500.0, 4501.0], [4600.0]])
    (array([4500., 4501., 4600.]), array([0, 0, 1]))
    """
    if wavelength is None:
        return None, None
    is_several = isinstance(wavelength, list | tuple) and any(map(np.ndim, wavelength))
    arms = [
        to_floats(one, argument="wavelength", unit="Angstrom")
        for one in (wavelength if is_several else [wavelength])
    ]
    if any(one.ndim != 1 or not len(one) for one in arms):
        raise ValueError(
            "`wavelength` must be the wavelengths of the pixels in Å, or a list with "
            f"those of each arm; got the shapes {[one.shape for one in arms]}."
        )
    if len(arms) == 1:
        return arms[0], None
    number = np.repeat(np.arange(len(arms)), [len(one) for one in arms])
    return np.concatenate(arms), number


def _velocities(nuisances, arm):
    """Velocities in km/s, of shape (n_stars, 1) or (n_stars, n_observed)."""
    velocity = nuisances[VELOCITY][:, None]
    offsets = [v for n, v in nuisances.items() if n.startswith("velocity_offset_")]
    if not offsets:
        return velocity
    first = np.zeros(len(velocity))
    return velocity + np.stack([first, *offsets], axis=1)[:, arm]


def continua(rng, degree, wavelength, arm, n):
    """Draw gentle polynomials as continua, one for each arm.

    Parameters
    ----------
    rng : numpy RandomState
        Source of random numbers.
    degree : int or None
        Degree; None for a continuum of one.
    wavelength : ndarray of shape (n_observed,) or None
        Å.
    arm : ndarray of shape (n_observed,) or None
        Arm of each pixel.
    n : int
        Number of stars.

    Returns
    -------
    continua : ndarray of shape (n, n_observed) or float
        Between 0.7 and 1.3.
    """
    if degree is None or wavelength is None:
        return 1.0
    size, found = _TILT / (degree + 1), np.empty((n, len(wavelength)))
    arm = np.zeros(len(wavelength), dtype=int) if arm is None else arm
    for number in np.unique(arm):
        own = wavelength[arm == number]
        x = np.interp(own, own[[0, -1]], [-1.0, 1.0])
        basis = np.polynomial.chebyshev.chebvander(x, degree)
        found[:, arm == number] = (
            1 + rng.uniform(-size, size, (n, degree + 1)) @ basis.T
        )
    return found


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
