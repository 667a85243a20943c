"""ForwardModel: model spectra of any parameters at the pixels of observed stars."""

from collections import OrderedDict
from copy import copy
from dataclasses import replace

import numpy as np
import torch

from sk_payne.abundances._continuum import continuum_basis
from sk_payne.abundances._emulator_errors import flux_error_at
from sk_payne.abundances._fitted_emulator import as_fitted_emulator
from sk_payne.abundances._observation import Observation
from sk_payne.abundances._observed import observe
from sk_payne.abundances._parameters import VELOCITY
from sk_payne.abundances._plan import plan_fit
from sk_payne.abundances._preparations import Preparations
from sk_payne.abundances._problem import model_of
from sk_payne.abundances._star_block import StarBlock, typical_width
from sk_payne.networks import fast_products
from sk_payne.spectra import SpectrumSet, doppler_factor

__all__ = ["ForwardModel", "ModelOfStar", "continuum_polynomials"]

# Largest number of stars whose models are kept; largest number of spectra per batch.
_N_KEPT, _AT_A_TIME = 16, 128


class ForwardModel:
    """Model spectra of any parameters, at the pixels of observed stars.

    The code is that of the fits of :class:`~sk_payne.AbundanceRegressor`, in single
    precision.

    Parameters
    ----------
    emulator : estimator
        Fitted emulator.
    observation : Observation or None
        Motion, broadening, instrument, continuum and errors of the spectra. A second
        star is not allowed.
    spectra : SpectrumSet, default=None
        Spectra of observed stars, with errors. If None, one star on the grid of the
        emulator, with its resolving power unless the observation states another.
    bounds, fixed, priors : default=None
        As in :class:`~sk_payne.AbundanceRegressor`; the same for all stars.

    Attributes
    ----------
    plan : FitPlan
        Plan of a fit of these stars.

    Raises
    ------
    ValueError
        If an argument is invalid.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.abundances import ForwardModel
    >>> from sk_payne.datasets import make_spectra
    >>> grid = make_spectra(50, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
    ...     resolving_power=grid.resolving_power, max_steps=10, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> model = ForwardModel(emulator, None)
    >>> model.parameters.names[-1]
    'radial_velocity'
    >>> model.star(0).flux(model.parameters.start[None]).shape
    torch.Size([1, 257])
    """

    def __init__(
        self,
        emulator,
        observation,
        spectra=None,
        *,
        bounds=None,
        fixed=None,
        priors=None,
    ):
        fitted = as_fitted_emulator(emulator, bounds)
        if fitted.single is not None:
            fitted = replace(fitted, source=fitted.single)
        observation = Observation() if observation is None else copy(observation)
        if observation.second_star is not None:
            raise ValueError(
                "`second_star` of the observation must be None here; got "
                f"{observation.second_star!r}. Use an observation of single stars."
            )
        if spectra is None:
            spectra = _own_grid(fitted)
            if observation.resolving_power is None:
                observation.resolving_power = "emulator"
        self.plan = plan_fit(
            fitted,
            spectra,
            observation,
            fixed=fixed,
            priors=priors,
            estimate="mode",
            max_iterations=1,
        )
        self._preparations = Preparations(self.plan)
        self._kept = OrderedDict()

    @property
    def parameters(self):
        """Parameters of a star, labels first."""
        return self.plan.parameters

    def star(self, row):
        """Return the model of one star.

        Parameters
        ----------
        row : int
            Row of the star.

        Returns
        -------
        model : ModelOfStar or None
            Model at the pixels of the star; None for a star without good pixels.
        """
        if row not in self._kept:
            self._kept[row] = self._model_of(row)
            if len(self._kept) > _N_KEPT:
                self._kept.popitem(last=False)
        return self._kept[row]

    def _model_of(self, row):
        block = StarBlock(self.plan, self._preparations, np.array([row]))
        middle = (block.parameters.low + block.parameters.high) / 2
        observed = observe(block, previous=middle[None])
        return ModelOfStar(observed) if len(observed) else None


class ModelOfStar:
    """Model spectra of any parameters, at the pixels of one observed star.

    Parameters
    ----------
    observed : ObservedStars
        The star.

    Attributes
    ----------
    wavelength : ndarray of shape (P,) or None
        Wavelengths of the pixels in Å, in the medium of the emulator; None if the
        emulator has no wavelengths.
    arm : ndarray of shape (P,) or None
        Arm of each pixel.
    flux_seen, ivar : ndarray of shape (P,)
        Observed flux and inverse variances.
    reach : float
        Largest distance in km/s from which broadening and instrument bring flux to a
        pixel.
    width : float
        Standard deviation of the instrument in km/s, beyond that of the emulator.
    """

    def __init__(self, observed):
        block, star = observed.block, observed.stars[0]
        self._block, self._model = block, model_of(observed)
        self.wavelength, self.arm = block.emulator.wavelength, None
        self.flux_seen, self.ivar = block.flux[star], block.ivar[star]
        self.reach = 0.0
        if observed.wavelength is not None:
            self.wavelength = observed.wavelength[0]
            self.arm = None if observed.arm is None else observed.arm[0]
            widths = block.instrument.reach_of(observed.stars)
            finite = widths[widths < 1e5]  # pixels of unknown reach are masked
            self.reach = block.smear + float(finite.max(initial=0.0))
        self.width = typical_width(block.plan, block.rows[star])

    @fast_products()
    @torch.no_grad()
    def flux(self, values):
        """Compute spectra, with a continuum of one and without noise.

        Parameters
        ----------
        values : ndarray of shape (n, K)
            Parameters in their units.

        Returns
        -------
        flux : Tensor of shape (n, P), float32
            Model flux, on the device of the emulator.
        """
        parameters, columns = self._block.parameters, self._block.columns
        variables = torch.from_numpy(parameters.to_fit(values[:, columns]))
        variables = variables.to(self._block.emulator.device)
        row = torch.zeros(_AT_A_TIME, dtype=torch.int64, device=variables.device)
        parts = [
            self._model.flux(row[: len(part)], part)
            for part in variables.split(_AT_A_TIME)
        ]
        return torch.cat(parts).float()

    def emulator_error(self, values):
        """Compute 1 sigma errors of the emulator, of shape (n, P); None if unknown."""
        block, rest = self._block, self.wavelength
        if rest is not None and block.with_velocity:
            column = block.plan.parameters.index(VELOCITY)
            rest = rest / doppler_factor(values[:, [column]])
        return flux_error_at(block, values[:, : block.parameters.n_labels], rest)


def continuum_polynomials(wavelength, degree, arm=None):
    """Compute the polynomials of the continuum of one spectrum.

    Parameters
    ----------
    wavelength : ndarray of shape (P,)
        Wavelengths in Å.
    degree : int
        Degree of the polynomials.
    arm : ndarray of shape (P,), default=None
        Arm of each pixel.

    Returns
    -------
    polynomials : ndarray of shape (n_polynomials, P)
        Polynomials of all segments, each zero outside its segment. All pixels count as
        good.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances import continuum_polynomials
    >>> wavelength = np.r_[5000:5010, 5100:5110].astype(float)
    >>> continuum_polynomials(wavelength, degree=2).shape
    (6, 20)
    """
    arm = None if arm is None else arm[None]
    ones = np.ones((1, len(wavelength)))
    basis = continuum_basis(wavelength[None], ones, degree, arm)
    polynomials, segment = basis.polynomials[0].numpy(), basis.segment[0].numpy()
    inside = segment == np.arange(segment.max() + 1)[:, None]
    every = (inside[:, None] * polynomials).reshape(-1, len(wavelength))
    return every[(every != 0).any(axis=1)]


def _own_grid(fitted):
    """Return the mean template spectrum, on the grid of the emulator."""
    flux = fitted.template_flux.numpy().mean(axis=0, keepdims=True)
    level = np.abs(flux).max()
    return SpectrumSet(
        flux,
        np.full(flux.shape, (100 / level) ** 2),
        wavelength=fitted.wavelength,
        medium=fitted.medium,
    )
