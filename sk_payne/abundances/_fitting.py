"""From spectra and an emulator to measurements: prepare, start, fit, report.

It is here to do for many stars, in batches that fit memory, what one star needs.
"""

import numpy as np
import torch
from tqdm.auto import tqdm

from sk_payne.abundances._constraints import Constraints
from sk_payne.abundances._least_squares import (
    fit_least_squares,
    invert_normal_matrix,
)
from sk_payne.abundances._observation import (
    ContinuumModel,
    continuum_basis,
    fit_continuum,
)
from sk_payne.abundances._results import VELOCITY, Measurements, set_flags
from sk_payne.abundances._start import Starts, resample_roughly
from sk_payne.abundances._velocity_scan import VelocityScan
from sk_payne.exceptions import WavelengthMismatchError
from sk_payne.spectra import (
    C_KMS,
    convert_medium,
    doppler_factor,
)

__all__ = ["fit_stars"]

# Derivatives held at a time, in numbers: 256 MB in float64. More stars at a time than
# this only make the progress bar jump, on a CPU.
_MEMORY = 2**25
_STARS_CPU = 32

# Standard deviations by which chi2 may exceed its expectation before a star is fitted
# again from elsewhere, and by which another fit must be better, with errors scaled to a
# reduced chi2 of one.
_POOR = 5

# Steps of the velocity scan that the fit may move away from its start.
_VELOCITY_STEPS = 5

# Velocities that are tried, best first, while the fit is poor, and up to which chi2 of
# the scan in units of the best.
_N_VELOCITIES, _RIVAL = 3, 2.0


def fit_stars(
    inverted,
    spectra,
    *,
    velocity_range,
    broadening,
    continuum_degree,
    emulator_error,
    max_iterations,
    fixed=None,
    priors=None,
    keep_model=False,
    verbose=0,
):
    """Measure stars.

    Parameters
    ----------
    inverted : Inverted
        The emulator.
    spectra : SpectrumSet
        Of n stars, with errors.
    velocity_range : tuple of float or None
        km/s; None fits no velocity.
    broadening : Broadening or None
        None for spectra as broad as those of the emulator.
    continuum_degree : int or None
        Of the polynomials that continua are; None for normalised flux.
    emulator_error : bool
        Whether the error of the emulator counts.
    max_iterations : int
        Of each star.
    fixed, priors : mapping or None
        See `Constraints`.
    keep_model : bool, default=False
        Whether the results shall have the flux of the fits.
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    results : Measurements
        Of all stars, those without data flagged.

    Raises
    ------
    ValueError
        If the spectra cannot belong to the emulator, or an argument is not allowed.
    WavelengthMismatchError
        If no star shares wavelengths with the emulator.
    """
    if max_iterations < 1:
        raise ValueError(f"`max_iterations` must be at least 1; got {max_iterations}.")
    wavelength = _observed_wavelength(inverted, spectra)
    with_velocity = inverted.wavelength is not None and velocity_range is not None
    if with_velocity:
        _check_velocity_range(velocity_range)
    needs_wavelength = with_velocity or broadening or continuum_degree is not None
    if wavelength is None and needs_wavelength:
        wavelength = inverted.wavelength
    _require_overlap(inverted, spectra, wavelength, velocity_range)
    nuisances = broadening.free if broadening else []
    nuisances = nuisances + [VELOCITY] * with_velocity
    shape = len(inverted.low), nuisances
    n_pixels = spectra.shape[1] if keep_model else None
    results = Measurements.empty(len(spectra), *shape, n_pixels=n_pixels)
    constraints = Constraints.from_mappings(
        [*inverted.label_names, *nuisances],
        len(spectra),
        fixed,
        priors,
        *_limits(inverted, broadening, velocity_range if with_velocity else None),
    )
    start = Starts(inverted, broadening)
    scan = None
    if with_velocity:
        scan = VelocityScan(
            inverted.wavelength,
            start.velocity_templates,
            velocity_range,
            free_level=continuum_degree is not None,
        )
    step = max(1, _MEMORY // (results.n_parameters * max(spectra.shape[1], 1)))
    if inverted.device.type == "cpu":
        step = min(step, _STARS_CPU)

    def measure(rows, rank):
        batch = _Batch(
            inverted, spectra, wavelength, rows, broadening, constraints.of(rows)
        )
        if continuum_degree is not None:
            batch.find_continuum(start.mean_flux, continuum_degree)
        if with_velocity:
            batch.find_velocity(scan, velocity_range, rank)
        elif wavelength is not None:
            batch.keep_covered(0.0, 0.0)
        if continuum_degree is not None:
            batch.find_continuum(start.mean_flux, continuum_degree)
        if emulator_error and inverted.error is not None:
            batch.add_error()
        found = Measurements.empty(len(rows), *shape, n_pixels=n_pixels)
        batch.fit(start, found, max_iterations)
        return found

    with tqdm(total=len(spectra), unit="star", disable=not verbose) as bar:
        for first in range(0, len(spectra), step):
            rows = np.arange(first, min(first + step, len(spectra)))
            results.put(rows, measure(rows, 0))
            for rank in range(1, _N_VELOCITIES if with_velocity else 1):
                poor = rows[_is_poor(results.chi2[rows], results.dof[rows])]
                if not len(poor):
                    break
                found = measure(poor, rank)
                better = _is_better(found, results, poor)
                results.put(poor[better], found, better)
            bar.update(len(rows))
    set_flags(results, low=inverted.low, high=inverted.high)
    return results


def _limits(inverted, broadening, velocity_range):
    """Lowest and highest value of every parameter."""
    limits = [np.stack([inverted.low, inverted.high], axis=1)]
    if broadening:
        limits.append(broadening.bounds)
    if velocity_range is not None:
        limits.append([velocity_range])
    return np.concatenate(limits).T


class _Batch:
    """Stars that are fitted together."""

    def __init__(self, inverted, spectra, wavelength, rows, broadening, constraints):
        self.inverted = inverted
        self.broadening = broadening
        self.constraints = constraints
        self.rows = np.arange(len(rows))  # of the results
        self.raw_flux = spectra.flux[rows]
        self.raw_ivar = spectra.ivar[rows]
        self.wavelength = None
        if wavelength is not None:
            per_star = wavelength[rows] if wavelength.ndim == 2 else wavelength
            self.wavelength = np.broadcast_to(per_star, self.raw_flux.shape)
        self.velocity = np.zeros(len(rows))
        # of the fit; without one, no velocity is fitted
        self.velocity_limits = None
        # about, of every pixel, and what it may be made of
        self.continuum = np.ones(self.raw_flux.shape)
        self.basis = None

    @property
    def flux(self):
        """Flux as a tensor."""
        return self._tensor(self.raw_flux)

    @property
    def ivar(self):
        """Inverse variance as a tensor."""
        return self._tensor(self.raw_ivar)

    def find_continuum(self, mean_flux, degree):
        """Fit a polynomial times the mean of the models at the present velocity."""
        rest = self.wavelength / doppler_factor(self.velocity)[:, None]
        model = np.interp(rest, self.inverted.wavelength, mean_flux)
        self.basis = continuum_basis(self.wavelength, self.raw_ivar, degree)
        self.continuum = fit_continuum(self.raw_flux, self.raw_ivar, self.basis, model)

    def find_velocity(self, scan, velocity_range, rank=0):
        """Scan for the velocity; keep the pixels that the fit can see around it."""
        velocities, excess = scan(
            self.wavelength,
            self.raw_flux / self.continuum,
            self.raw_ivar * self.continuum**2,
            n_best=rank + 1,
        )
        known = self.constraints.value[:, -1]
        is_known = np.isfinite(known)
        self.velocity = np.where(is_known, known, velocities[:, rank])
        # nothing to fit where no other velocity comes near the best
        rival = (excess[:, rank] < _RIVAL) & ~(is_known & (rank > 0))
        self.raw_ivar = np.where(rival[:, None], self.raw_ivar, 0.0)
        margin = _VELOCITY_STEPS * scan.step
        if self.broadening:
            # the broader lines are, the less exact is the scan
            margin = max(margin, self.broadening.reach / 2)
        margin = np.where(is_known, 0.0, margin)[:, None]
        self.velocity_limits = np.clip(
            self.velocity[:, None] + margin * [-1, 1], *velocity_range
        )
        self.keep_covered(*self.velocity_limits.T)

    def keep_covered(self, slowest, fastest):
        """Give no weight to pixels whose flux may come from beyond the emulator."""
        grid = self.inverted.wavelength
        reach = self.broadening.reach if self.broadening else 0.0
        lowest = grid[0] * doppler_factor(fastest) * doppler_factor(reach)
        highest = grid[-1] * doppler_factor(slowest) / doppler_factor(reach)
        covered = (self.wavelength.T >= lowest) & (self.wavelength.T <= highest)
        self.raw_ivar = np.where(covered.T, self.raw_ivar, 0.0)

    def add_error(self):
        """Add the error of the emulator to that of the pixels, in quadrature."""
        error = self.inverted.error
        if self.wavelength is not None:
            rest = self.wavelength / doppler_factor(self.velocity)[:, None]
            error = np.interp(rest, self.inverted.wavelength, error)
        error = error * self.continuum
        self.raw_ivar = self.raw_ivar / (1 + self.raw_ivar * error**2)

    def fit(self, first_guess, results, max_iterations):
        """Fit the stars that have data, and write down what came out."""
        n_pixels = (self.raw_ivar > 0).sum(axis=1)
        results.n_pixels[:] = n_pixels
        good = np.flatnonzero(n_pixels)
        if not len(good):
            return
        self._keep(good)
        fit, low, high = self._fit(first_guess, max_iterations)
        self._report(fit, results)
        if results.model is not None:
            results.model[self.rows] = self._flux_of(fit)
        edge = (fit.parameters <= low) | (fit.parameters >= high)
        edge &= ~torch.from_numpy(self.constraints.is_fixed).to(edge.device)
        results.at_edge[self.rows] = edge[:, results.n_labels :].cpu().numpy()

    def _fit(self, first_guess, max_iterations):
        """Fit all stars; those whose fit is poor again, from elsewhere."""
        at_rest = self._at_rest()
        low, high = self._bounds()
        prior = self._prior()
        data = self._data()
        problem = (self._model(*data), *data)
        first, *starts = self._sorted(problem, first_guess.parameters(*at_rest))
        how = {"max_iterations": max_iterations, "prior": prior}
        fit = fit_least_squares(*problem, first, low, high, **how)
        dof = (problem[2] > 0).sum(1) - fit.parameters.shape[1]
        dof = dof - torch.from_numpy(self._n_continuum()).to(dof)
        n_labels = len(self.inverted.low)
        for labels in first_guess.others(*at_rest, fit.parameters[:, :n_labels].cpu()):
            labels = labels.to(first.device)
            starts.append(torch.hstack([labels, first[:, n_labels:]]))
        for start in starts:
            rows = torch.nonzero(_is_poor(fit.chi2, dof))[:, 0]
            if not len(rows):
                break
            again = fit_least_squares(*problem, start, low, high, rows=rows, **how)
            # where the model is wrong, chi2 differs that much between good fits, too
            margin = _POOR**2 * (fit.chi2 / dof.clamp_min(1)).clamp_min(1)
            fit.take_better(again, rows, margin)
        return fit, low, high

    def _flux_of(self, fit):
        """Flux of the fits, NaN at pixels without weight."""
        model = self._model(*self._data())
        rows = torch.arange(len(self.rows), device=self.inverted.device)
        with torch.no_grad():
            flux = model.flux(rows, fit.parameters).double().cpu().numpy()
        return np.where(self.raw_ivar > 0, flux, np.nan)

    def _data(self):
        """Flux and inverse variance in the precision of the fit."""
        dtype = self.inverted.dtype
        return self.flux.to(dtype), self.ivar.to(dtype)

    def _keep(self, good):
        for name in ("rows", "raw_flux", "raw_ivar", "velocity"):
            setattr(self, name, getattr(self, name)[good])
        self.constraints = self.constraints.of(good)
        for name in ("wavelength", "velocity_limits", "basis", "continuum"):
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name)[good])

    def _sorted(self, problem, starts):
        """Give starts of all stars, of each first that of the smallest chi2."""
        starts = torch.stack([self._with_velocity(start) for start in starts])
        if len(starts) == 1:
            return starts
        model, flux, ivar = problem
        rows = torch.arange(len(flux), device=flux.device)
        with torch.no_grad():
            chi2 = torch.stack(
                [(ivar * (flux - model.flux(rows, s)) ** 2).sum(1) for s in starts]
            )
        return starts[chi2.argsort(0), rows]

    def _n_continuum(self):
        """Coefficients of the continuum of every star."""
        if self.basis is None:
            return np.zeros(len(self.rows), dtype=np.int64)
        return self.basis.any(axis=2).sum(axis=1)

    def _model(self, flux, ivar):
        if self.basis is None:
            return self._normalised_model()
        basis = self._tensor(self.basis).to(flux)
        return ContinuumModel(self._normalised_model(), flux, ivar, basis)

    def _normalised_model(self):
        on_grid = (
            self.velocity_limits is None
            and not self.broadening
            and (
                self.wavelength is None
                or (
                    self.wavelength.shape[1] == self.inverted.n_pixels
                    and (self.wavelength == self.inverted.wavelength).all()
                )
            )
        )
        return self.inverted.model(
            None if on_grid else self._tensor(self.wavelength),
            with_velocity=self.velocity_limits is not None,
            broadening=self.broadening,
        )

    def _bounds(self):
        """Bounds of every star, in the parameters of the model."""
        inverted, n = self.inverted, len(self.rows)
        low = np.tile((inverted.low - inverted.center) / inverted.half_width, (n, 1))
        high = np.tile((inverted.high - inverted.center) / inverted.half_width, (n, 1))
        if self.broadening:
            low = np.hstack([low, np.tile(self.broadening.bounds[:, 0], (n, 1))])
            high = np.hstack([high, np.tile(self.broadening.bounds[:, 1], (n, 1))])
        if self.velocity_limits is not None:
            low = np.hstack([low, self.velocity_limits[:, :1]])
            high = np.hstack([high, self.velocity_limits[:, 1:]])
        center, scale = self._units()
        known = (self.constraints.value - center) / scale
        is_known = self.constraints.is_fixed
        low, high = (np.where(is_known, known, limit) for limit in (low, high))
        return self._tensor(low), self._tensor(high)

    def _prior(self):
        """Means and inverse variances, in the parameters of the model."""
        center, scale = self._units()
        mean = (self.constraints.mean - center) / scale
        weight = np.where(
            self.constraints.is_fixed, 0.0, (scale / self.constraints.error) ** 2
        )
        return self._tensor(mean), self._tensor(weight)

    def _units(self):
        """Zero and unit of the parameters: labels are in that of the box."""
        extra = np.zeros(self.constraints.value.shape[1] - len(self.inverted.low))
        return (
            np.concatenate([self.inverted.center, extra]),
            np.concatenate([self.inverted.half_width, extra + 1]),
        )

    def _with_velocity(self, labels):
        """Append the velocity of the scan to what to start from."""
        if self.velocity_limits is not None:
            velocity = torch.from_numpy(self.velocity[:, None])
            labels = torch.hstack([labels, velocity])
        return labels.to(self.inverted.device)

    def _at_rest(self):
        """Flux and ivar on the grid of the emulator, good enough for a first guess."""
        flux = self.raw_flux / self.continuum
        ivar = self.raw_ivar * self.continuum**2
        if self.wavelength is None:
            return torch.from_numpy(flux), torch.from_numpy(ivar)
        rest = self.wavelength / doppler_factor(self.velocity)[:, None]
        return resample_roughly(rest, flux, ivar, self.inverted.wavelength)

    def _report(self, fit, results):
        rows, is_fixed = self.rows, self.constraints.is_fixed
        free = self._tensor(~is_fixed)
        normal = fit.normal_matrix * (free[:, None] & free[:, :, None])
        covariance = invert_normal_matrix(normal + torch.diag_embed((~free).double()))
        covariance = covariance.cpu().numpy()
        covariance[is_fixed[:, None] | is_fixed[:, :, None]] = 0.0
        parameters = fit.parameters.cpu().numpy()
        center, scale = self._units()
        results.parameters[rows] = np.where(
            is_fixed, self.constraints.value, center + scale * parameters
        )
        results.is_fixed[rows] = is_fixed
        results.covariance[rows] = covariance * scale[:, None] * scale
        results.n_continuum[rows] = self._n_continuum()
        mean, weight = (part.to(fit.parameters) for part in self._prior())
        penalty = (weight * (fit.parameters - mean) ** 2).sum(1)
        results.chi2[rows] = (fit.chi2 - penalty).cpu().numpy()
        results.n_iterations[rows] = fit.n_iterations.cpu().numpy()
        results.converged[rows] = fit.converged.cpu().numpy()

    def _tensor(self, array):
        array = torch.from_numpy(np.ascontiguousarray(array))
        return array.to(self.inverted.device)


def _is_poor(chi2, dof):
    """Whether noise does not explain chi2."""
    # chi2 of a good fit has the mean dof and the variance 2 dof
    return chi2 > dof + _POOR * (2 * dof.clip(1)) ** 0.5


def _is_better(found, results, rows):
    """Whether stars that were fitted again, at other pixels, fit clearly better."""
    before, dof = results.chi2[rows] / results.dof[rows].clip(1), found.dof.clip(1)
    margin = _POOR * np.sqrt(2 / dof) * np.maximum(before, 1)
    return found.converged & (found.chi2 / dof < before - margin)


def _observed_wavelength(inverted, spectra):
    """Wavelengths in the medium of the emulator, or None for flux on its grid."""
    n_pixels = spectra.shape[1]
    if spectra.wavelength is None:
        if n_pixels != inverted.n_pixels:
            raise ValueError(
                f"`X` must have the {inverted.n_pixels} pixels of the emulator; got "
                f"{n_pixels}. Spectra on other wavelengths go in as specutils Spectrum "
                "objects, if the emulator was trained with wavelengths."
            )
        return None
    if inverted.wavelength is None:
        if inverted.n_pixels == n_pixels and spectra.wavelength.ndim == 1:
            return None
        raise ValueError(
            "`X` has wavelengths, but the emulator was trained without. Pass "
            "`wavelength=` and `medium=` to SpectrumEmulator and train it again."
        )
    if spectra.medium is None:
        raise ValueError(
            "`medium` of the spectra is not known. Pass "
            "AbundanceRegressor(..., medium='air') or 'vacuum', or set "
            'spectrum.meta["medium"]: they differ by 80 km/s.'
        )
    return convert_medium(spectra.wavelength, spectra.medium, inverted.medium)


def _check_velocity_range(velocity_range):
    good = np.shape(velocity_range) == (2,) and (
        -C_KMS < velocity_range[0] <= velocity_range[1] < C_KMS
    )
    if not good:
        raise ValueError(
            "`velocity_range` must be a smallest and a largest velocity in km/s, or "
            f"None; got {velocity_range!r}."
        )


def _require_overlap(inverted, spectra, wavelength, velocity_range):
    """Stars may miss the emulator one by one, but not all of them."""
    if wavelength is None or not len(spectra):
        return
    grid = inverted.wavelength
    reach = 0.0 if velocity_range is None else np.abs(velocity_range).max() / C_KMS
    near = (wavelength >= grid[0] * (1 - reach)) & (
        wavelength <= grid[-1] * (1 + reach)
    )
    has_data = (spectra.ivar > 0).any()
    if (
        has_data
        and not (np.broadcast_to(near, spectra.shape) & (spectra.ivar > 0)).any()
    ):
        raise WavelengthMismatchError(
            f"`X` covers {wavelength.min():.1f}-{wavelength.max():.1f} Å, but the "
            f"emulator knows {grid[0]:.1f}-{grid[-1]:.1f} Å. Pass spectra of that "
            "range, or an emulator of theirs."
        )
