"""Mock spectra of known stars: broadening, velocity, continuum and arms."""

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

# Largest deviation of a continuum from 1.
_TILT = 0.3


class MockObserver:
    """Convert flux on the grid of an emulator to flux at observed pixels.

    Parameters
    ----------
    observation : Observation
        Checked observation; its instrument and limb darkening are used.
    emulator : FittedEmulator
        The emulator.
    wavelength : ndarray of shape (n_observed,) or None
        Observed wavelengths in Å; None for the grid of the emulator.
    arm : ndarray of shape (n_observed,) or None
        Arm of each pixel, from 0; None for a single arm.
    nuisances : dict of str to ndarray of shape (n_stars,)
        Widths and velocities of the stars in km/s and, if fitted, velocity offsets of
        the arms after the first.

    Attributes
    ----------
    wavelength : ndarray of shape (n_observed,) or None
        Wavelengths of the pixels in Å; None if the emulator has no wavelengths.
    rest : ndarray of shape (n_stars, n_observed) or None
        Wavelengths of the pixels at rest, in Å.
    covered : ndarray of shape (n_stars, n_observed), bool
        True for pixels whose flux comes from within the grid.
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
                    f"{observation.resolving_power}. Pass a regressor without it."
                )
            self.instrument = dict(
                zip(("resolving_power", "already"), resolving_powers, strict=True)
            )
            sigma = float(velocity_sigma(*resolving_powers))
        reach = doppler_factor(broadening_reach(self.vsini, self.vmac, sigma))[:, None]
        self.covered = is_covered(self.rest / reach, self.rest * reach, grid)

    def is_between_pixels(self):
        """Return True if the fit evaluates the emulator between its pixels."""
        return (
            self.rest is not None
            and getattr(self.emulator.source, "takes_wavelength", False)
            and not self._is_broadened()
            and not (self.vsini.any() or self.vmac.any())
        )

    def _is_broadened(self):
        """Return True if the fit broadens spectra of the emulator."""
        limits = width_limits(self.emulator, self.observation).values()
        sigma = instrument_width(self.emulator, self.observation.given_power)
        return bool(any(high for _, high in limits) or np.any(sigma))

    def predict(self, emulator, labels):
        """Predict flux at covered pixels, by an emulator that takes any wavelength."""
        flux = np.ones(self.rest.shape)
        for i, good in enumerate(self.covered):
            if good.any():
                # arms may overlap
                at, place = np.unique(self.rest[i, good], return_inverse=True)
                predicted = predict_quietly(emulator, labels[[i]], wavelength=at)[0]
                flux[i, good] = predicted[place]
        return flux

    def observe(self, flux):
        """Broaden, shift and interpolate flux on the grid."""
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
    """Read the wavelengths of one arm, or of a list of arms.

    Parameters
    ----------
    wavelength : array-like of shape (n_observed,), list of them, or None
        Wavelengths in Å, or quantities.

    Returns
    -------
    wavelength : ndarray of shape (n_observed,) or None
        Wavelengths of all arms in Å, concatenated.
    arm : ndarray of shape (n_observed,), int, or None
        Arm of each pixel; None for a single arm.

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
    """Return velocities in km/s, of shape (n_stars, 1) or (n_stars, n_observed)."""
    velocity = nuisances[VELOCITY][:, None]
    offsets = [v for n, v in nuisances.items() if n.startswith("velocity_offset_")]
    if not offsets:
        return velocity
    first = np.zeros(len(velocity))
    return velocity + np.stack([first, *offsets], axis=1)[:, arm]


def continua(rng, degree, wavelength, arm, n):
    """Draw smooth polynomials as continua, one for each arm.

    Parameters
    ----------
    rng : numpy RandomState
        Source of random numbers.
    degree : int or None
        Degree; None for a continuum of 1.
    wavelength : ndarray of shape (n_observed,) or None
        Wavelengths in Å; None for a continuum of 1.
    arm : ndarray of shape (n_observed,) or None
        Arm of each pixel; None for a single arm.
    n : int
        Number of stars.

    Returns
    -------
    continua : ndarray of shape (n, n_observed) or float
        Continua, between 0.7 and 1.3.
    """
    if degree is None or wavelength is None:
        return 1.0
    size, continuum = _TILT / (degree + 1), np.empty((n, len(wavelength)))
    arm = np.zeros(len(wavelength), dtype=int) if arm is None else arm
    for number in np.unique(arm):
        own = wavelength[arm == number]
        x = np.interp(own, own[[0, -1]], [-1.0, 1.0])
        basis = np.polynomial.chebyshev.chebvander(x, degree)
        continuum[:, arm == number] = (
            1 + rng.uniform(-size, size, (n, degree + 1)) @ basis.T
        )
    return continuum


def predict_quietly(emulator, labels, **where):
    """Predict flux without a warning of extrapolation.

    Parameters
    ----------
    emulator : estimator
        Fitted emulator.
    labels : ndarray of shape (n, n_labels)
        Labels of the mock stars, which define the truth, so extrapolation is harmless.
    **where
        Further arguments of `predict`.

    Returns
    -------
    flux : ndarray of shape (n, n_wavelengths)
        Predicted flux.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        # drawn labels have no column names
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        return np.reshape(emulator.predict(labels, **where), (len(labels), -1))
