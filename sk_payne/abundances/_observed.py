"""Stars ready for the fit: weights of pixels, rough continua, first velocities."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from sk_payne.abundances._constraints import Constraints
from sk_payne.abundances._continuum import (
    ContinuumBasis,
    continuum_basis,
    fit_continuum,
)
from sk_payne.abundances._parameters import VELOCITY
from sk_payne.abundances._star_block import StarBlock
from sk_payne.abundances._starts import resample_roughly
from sk_payne.spectra import doppler_factor, grid_segments, is_covered, touches_grid

__all__ = ["ObservedStars", "observe", "observe_again"]

# Fraction of the continuum by which flux must be beyond that of all models to count as
# a cosmic ray before any fit, when continua are rough.
_SLACK = 0.1

# Number of steps of the velocity scan by which the fit may move the velocity.
_VELOCITY_STEPS = 5

# Other velocities are tried if chi2 of the scan there is less than this times that of
# the best.
_RIVAL = 2.0


@dataclass(frozen=True)
class ObservedStars:
    """Stars with data, ready to be fitted.

    Attributes
    ----------
    block : StarBlock
        Block of the stars.
    stars : ndarray of int
        Rows in the block.
    rows : ndarray of int
        Rows among the requested stars: those with data.
    n_pixels : ndarray of int
        Number of good pixels of all requested stars.
    constraints : Constraints
        Fixed values and priors.
    flux, ivar : ndarray of shape (B, P)
        Flux and inverse variances, 0 for ignored pixels; a given error floor is
        included.
    wavelength, arm : ndarray of shape (B, P) or None
        Wavelengths in Å, and arms of the pixels.
    velocity : ndarray of shape (B,)
        First guess of the velocity in km/s.
    velocity_limits : ndarray of shape (B, 2) or None
        Limits of the fitted velocity in km/s; None if it is not fitted.
    second_limits : ndarray of shape (B, 2) or None
        Limits of the velocity of a second star in km/s.
    continuum : ndarray of shape (B, P)
        Rough continuum.
    basis : ContinuumBasis or None
        Polynomials of the continuum; None if flux is normalised.
    systematic : ndarray of shape (B, P)
        Part of the variance that may be correlated between pixels.
    previous : ndarray of shape (B, K) or None
        Parameters of an earlier fit, in their units.
    """

    block: StarBlock
    stars: np.ndarray
    rows: np.ndarray
    n_pixels: np.ndarray
    constraints: Constraints
    flux: np.ndarray
    ivar: np.ndarray
    wavelength: np.ndarray | None
    arm: np.ndarray | None
    velocity: np.ndarray
    velocity_limits: np.ndarray | None
    second_limits: np.ndarray | None
    continuum: np.ndarray
    basis: ContinuumBasis | None
    systematic: np.ndarray
    previous: np.ndarray | None

    def __len__(self):
        return len(self.rows)

    @property
    def n_continuum(self):
        """Number of coefficients of the continuum of each star."""
        if self.basis is None:
            return np.zeros(len(self), dtype=np.int64)
        return self.basis.n_coefficients

    @property
    def n_segments(self):
        """Number of continuum segments of each star."""
        if self.basis is None:
            return np.zeros(len(self), dtype=np.int64)
        return self.basis.n_segments

    @property
    def n_fitted(self):
        """Number of values fitted to each star, those of the continuum included."""
        return self.n_continuum + (~self.constraints.is_fixed).sum(axis=1)

    @property
    def rest_wavelength(self):
        """Rest wavelengths in Å at the first velocity; None without wavelengths."""
        if self.wavelength is None:
            return None
        return self.wavelength / doppler_factor(self.velocity)[:, None]

    @property
    def trusted_ivar(self):
        """Inverse variances, 0 where flux is beyond that of all models."""
        return _without_rays(self.block, self.flux, self.ivar, self.continuum)

    @cached_property
    def at_rest(self):
        """Flux and ivar on the grid of the emulator, good enough for a first guess."""
        flux = self.flux / self.continuum
        ivar = self.trusted_ivar * self.continuum**2
        if self.wavelength is None:
            return tuple(torch.tensor(a, device="cpu") for a in (flux, ivar))
        grid = self.block.emulator.wavelength
        return resample_roughly(self.rest_wavelength, flux, ivar, grid)

    @cached_property
    def likely_labels(self):
        """Labels of the earlier fit, or a guess, of shape (B, n_labels)."""
        if self.previous is not None:
            return self.previous[:, : self.block.parameters.n_labels]
        block = self.block
        guess = self.guesses[0, :, : block.parameters.n_labels].numpy()
        return block.emulator.center + block.emulator.half_width * guess

    @cached_property
    def guesses(self):
        """First guesses of labels and widths, one for each width: see `Starts`."""
        return self.block.starts.parameters(*self.at_rest)

    def with_error(self, error):
        """Add an error, which may be correlated between pixels, to the flux.

        Parameters
        ----------
        error : float or ndarray of shape (B, P)
            1 sigma error as a fraction of the continuum.

        Returns
        -------
        observed : ObservedStars
            Copy with larger errors.
        """
        variance = (error * self.continuum) ** 2
        return replace(
            self,
            ivar=self.ivar / (1 + self.ivar * variance),
            systematic=self.systematic + variance,
        )

    def _some(self, good):
        """Select some stars."""
        names = ("flux", "ivar", "wavelength", "arm", "velocity", "velocity_limits")
        names += ("second_limits", "continuum", "basis", "systematic", "previous")
        names += ("stars", "rows")
        values = {name: getattr(self, name) for name in names}
        kept = {n: None if v is None else v[good] for n, v in values.items()}
        return replace(self, constraints=self.constraints.of(good), **kept)


def observe(
    block,
    stars=None,
    *,
    rank=0,
    previous=None,
    first_velocity=None,
    second_limits=None,
):
    """Prepare stars for the fit: weights of pixels, continua, first velocities.

    Parameters
    ----------
    block : StarBlock
        Block of the stars.
    stars : ndarray of int, default=None
        Rows in the block; all if None.
    rank : int, default=0
        Rank of the velocity of the scan to start from, 0 for the best.
    previous : ndarray of shape (n, K), default=None
        Parameters of all stars of the block from an earlier fit.
    first_velocity : ndarray of shape (n,), default=None
        First guess of the velocities of all stars of the block in km/s, instead of
        those in `previous`.
    second_limits : ndarray of shape (n, 2), default=None
        Limits of the velocity of the second star in km/s, if one is fitted.

    Returns
    -------
    observed : ObservedStars
        Stars with data.
    """
    stars = np.arange(len(block)) if stars is None else stars
    shape = len(stars), block.flux.shape[1]
    observed = ObservedStars(
        block=block,
        stars=stars,
        rows=np.arange(len(stars)),
        n_pixels=np.zeros(len(stars), dtype=np.int64),
        constraints=block.constraints.of(stars),
        flux=block.flux[stars],
        ivar=block.ivar[stars],
        wavelength=_per_star(block.wavelength, stars, shape),
        arm=_per_star(block.arm, stars, shape),
        velocity=_first_velocity(block, previous, first_velocity)[stars],
        velocity_limits=None,
        second_limits=second_limits,
        continuum=np.ones(shape),
        basis=None,
        systematic=np.zeros(shape),
        previous=None if previous is None else previous[stars],
    )
    has_continuum = block.observation.continuum_degree is not None
    observed = _without_gaps(observed)
    if has_continuum:
        observed = _with_continuum(observed)
    if block.with_velocity:
        observed = _with_velocity(observed, rank)
    elif observed.wavelength is not None:
        observed = _only_covered(observed, np.zeros((len(stars), 2)))
    if has_continuum:
        observed = _with_continuum(observed)
    observed = _with_floor(observed)
    n_pixels = (observed.ivar > 0).sum(axis=1)
    return replace(observed, n_pixels=n_pixels)._some(np.flatnonzero(n_pixels))


def observe_again(block, results, stars=None):
    """Prepare stars that were fitted, with the same pixels as in the earlier fits.

    Parameters
    ----------
    block : StarBlock
        Block of the stars.
    results : Measurements
        Results of all stars of the block.
    stars : ndarray of int, default=None
        Rows in the block; all if None.

    Returns
    -------
    observed : ObservedStars
        Stars with data, and the parameters of the earlier fits in `previous`.
    """
    return observe(
        block,
        stars,
        previous=results.parameters,
        first_velocity=results.first_velocity,
    )


def _first_velocity(block, previous, first_velocity):
    """Velocities of all stars of a block before a scan."""
    if first_velocity is None and previous is not None and block.with_velocity:
        first_velocity = previous[:, block.parameters.index(VELOCITY)]
    if first_velocity is None:
        return np.zeros(len(block))
    # stars without data have no velocity
    return np.nan_to_num(first_velocity)


def _per_star(values, stars, shape):
    if values is None:
        return None
    return np.broadcast_to(values[stars] if values.ndim == 2 else values, shape)


def _without_gaps(observed):
    """Ignore pixels that no velocity brings out of a gap of the grid."""
    grid = observed.block.emulator.wavelength
    if observed.wavelength is None or len(grid_segments(grid)) == 1:
        return observed
    velocities = observed.block.plan.velocities
    highest, lowest = (observed.wavelength / doppler_factor(v) for v in velocities)
    near = touches_grid(lowest, highest, grid)
    return replace(observed, ivar=np.where(near, observed.ivar, 0.0))


def _with_continuum(observed):
    """Fit a polynomial times the mean model spectrum at the present velocity."""
    block = observed.block
    mean_flux = block.starts.mean_flux
    model = np.interp(observed.rest_wavelength, block.emulator.wavelength, mean_flux)
    degree = block.observation.continuum_degree
    flux, ivar = observed.flux, observed.ivar
    basis = continuum_basis(observed.wavelength, ivar, degree, observed.arm)
    continuum = fit_continuum(flux, ivar, basis, model)
    if block.observation.clip is not None:
        trusted = _without_rays(block, flux, ivar, continuum)
        continuum = fit_continuum(flux, trusted, basis, model)
    return replace(observed, basis=basis, continuum=continuum)


def _with_velocity(observed, rank):
    """Scan for the velocity; ignore pixels that the emulator may not cover there."""
    block, ivar, constraints = observed.block, observed.ivar, observed.constraints
    column = block.parameters.index(VELOCITY)
    fixed = constraints.value[:, column]
    is_fixed = np.isfinite(fixed)
    velocity = observed.velocity
    if observed.previous is None:
        continuum = observed.continuum
        velocities, excess = block.scan(
            observed.wavelength,
            observed.flux / continuum,
            observed.trusted_ivar * continuum**2,
            n_best=rank + 1,
            prior=(constraints.mean[:, column], constraints.error[:, column]),
        )
        velocity = np.where(is_fixed, fixed, velocities[:, rank])
        # a star is not fitted again if no other velocity is nearly as good
        rival = (excess[:, rank] < _RIVAL) & ~(is_fixed & (rank > 0))
        ivar = np.where(rival[:, None], ivar, 0.0)
    # the scan is less exact for broader lines
    margin = max(_VELOCITY_STEPS * block.scan.step, block.smear / 2)
    margin = np.where(is_fixed, 0.0, margin)[:, None]
    limits = np.clip(
        velocity[:, None] + margin * [-1, 1], *block.observation.velocity_range
    )
    observed = replace(observed, velocity=velocity, velocity_limits=limits, ivar=ivar)
    return _only_covered(observed, limits)


def _only_covered(observed, velocities):
    """Ignore pixels whose flux may come from beyond the emulator."""
    block = observed.block
    reach = doppler_factor(block.smear + block.instrument.reach_of(observed.stars).T)
    slowest, fastest = velocities.T
    if observed.second_limits is not None:
        slowest = np.minimum(slowest, observed.second_limits[:, 0])
        fastest = np.maximum(fastest, observed.second_limits[:, 1])
    if block.n_offsets:
        offsets = block.plan.offsets
        slowest = slowest + min(low for low, _ in offsets)
        fastest = fastest + max(high for _, high in offsets)
    lowest = observed.wavelength.T / (doppler_factor(fastest) * reach)
    highest = observed.wavelength.T / doppler_factor(slowest) * reach
    covered = is_covered(lowest, highest, block.emulator.wavelength)
    return replace(observed, ivar=np.where(covered.T, observed.ivar, 0.0))


def _with_floor(observed):
    """Add a given floor to the errors of the pixels."""
    observation = observed.block.observation
    if observation.fits_floor or not observation.error_floor:
        return observed
    return observed.with_error(observation.error_floor)


def _without_rays(block, flux, ivar, continuum):
    """Inverse variances, 0 for cosmic rays: flux far beyond that of all models."""
    clip = block.observation.clip
    if clip is None:
        return ivar
    low, high = block.starts.flux_range
    relative = flux / continuum
    beyond = np.maximum(relative - high, low - relative)
    is_ray = (beyond > _SLACK) & ((beyond * continuum) ** 2 * ivar > clip**2)
    return np.where(is_ray, 0.0, ivar)
