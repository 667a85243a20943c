"""Stars that are fitted together: what was observed, where to start, what came out.

It is here to bring observations of all kinds into the form that least squares wants.
"""

import numpy as np
import torch

from sk_payne.abundances._continuum import (
    ContinuumModel,
    continuum_basis,
    fit_continuum,
)
from sk_payne.abundances._least_squares import (
    fit_least_squares,
    invert_normal_matrix,
    prior_penalty,
)
from sk_payne.abundances._score_test import score_excess
from sk_payne.abundances._start import resample_roughly
from sk_payne.abundances._weights import reweigh
from sk_payne.spectra import doppler_factor, grid_segments, is_covered, touches_grid

__all__ = ["POOR", "Batch", "is_poor"]

POOR = 5
"""Standard deviations by which chi2 may exceed its expectation before a star is fitted
again from elsewhere, and by which another fit must be better, with errors scaled to a
reduced chi2 of one."""

# Standard deviations by which residuals may look like model spectra: one in a hundred
# good fits exceeds them, and is fitted again in vain.
_STRANGE = 2.5

# Stars whose residuals are looked at together, in numbers: 32 MB in float64.
_CACHE = 2**22

# How often pixels are weighed anew and stars fitted again, at most, and by which part
# of it the floor of errors must change for that.
_N_ROUNDS, _SAME_FLOOR = 10, 0.01

# Part of the continuum by which flux must be beyond that of all models to be a cosmic
# ray at sight: continua are only about known then.
_SLACK = 0.1

# Steps of the velocity scan that the fit may move away from its start.
_VELOCITY_STEPS = 5

# chi2 of a velocity of the scan, in units of that of the best, up to which it is tried.
_RIVAL = 2.0


class Batch:
    """Stars that are fitted together.

    Parameters
    ----------
    part : Part
        Stars, and what is prepared for them.
    stars : ndarray of int, default=None
        Which of its stars, all if None.
    rank : int, default=0
        Of the velocity to start from: 0 is the best one.
    found : Measurements, default=None
        Of all stars of the part, if they were fitted before: where to start from.

    Attributes
    ----------
    rows : ndarray of int
        Which of `stars` have data; only these are kept.
    """

    def __init__(self, part, stars=None, rank=0, found=None):
        self.part = part
        self.inverted = part.inverted
        self.stars = stars = np.arange(len(part)) if stars is None else stars
        self.rows = np.arange(len(stars))
        self.constraints = part.constraints.of(stars)
        self.raw_flux = part.flux[stars]
        self.raw_ivar = part.ivar[stars]
        self.wavelength = self.arm = None
        if part.wavelength is not None:
            self.wavelength = self._per_star(part.wavelength)
        if part.arm is not None:
            self.arm = self._per_star(part.arm)
        self.found = None if found is None else found.parameters[stars]
        self.velocity = np.zeros(len(stars))
        # of the fit; without one, no velocity is fitted
        self.velocity_limits = None
        # about, of every pixel, and what it may be made of
        self.continuum = np.ones(self.raw_flux.shape)
        self.basis = None
        # variance that is not of the noise, and may go together
        self.systematic = np.zeros(self.raw_flux.shape)
        self._prepare(rank)
        self.n_pixels = (self.raw_ivar > 0).sum(axis=1)
        self._keep(np.flatnonzero(self.n_pixels))
        floor = self.part.options.error_floor
        self.floor = np.full(len(self.rows), 0.0 if floor == "fit" else floor)

    # Prepare

    def _prepare(self, rank):
        """Find velocities and continua, in turn; see which pixels count, and how."""
        is_normalised = self.part.options.continuum_degree is None
        self._leave_gaps_out()
        if not is_normalised:
            self._find_continuum()
        if self.part.with_velocity:
            self._find_velocity(rank)
        elif self.wavelength is not None:
            self._keep_covered(0.0, 0.0)
        if not is_normalised:
            self._find_continuum()
        if self.part.options.emulator_error and self.inverted.error is not None:
            self._add_error(self._emulator_error())
        if self.part.options.error_floor != "fit":
            self._add_error(self.part.options.error_floor)

    def _leave_gaps_out(self):
        """Give no weight to pixels that no velocity brings out of a gap of the grid."""
        grid = self.inverted.wavelength
        if self.wavelength is None or len(grid_segments(grid)) == 1:
            return
        velocities = np.zeros(2)
        if self.part.with_velocity:
            velocities = velocities + self.part.options.velocity_range
        if self.part.offsets:
            low, high = np.transpose(self.part.offsets)
            velocities[0] += min(0.0, low.min())
            velocities[1] += max(0.0, high.max())
        highest, lowest = (self.wavelength / doppler_factor(v) for v in velocities)
        near = touches_grid(lowest, highest, grid)
        self.raw_ivar = np.where(near, self.raw_ivar, 0.0)

    def _find_continuum(self):
        """Fit a polynomial times the mean of the models at the present velocity."""
        rest = self.wavelength / doppler_factor(self.velocity)[:, None]
        mean_flux = self.part.starts.mean_flux
        model = np.interp(rest, self.inverted.wavelength, mean_flux)
        self.basis = continuum_basis(
            self.wavelength,
            self.raw_ivar,
            self.part.options.continuum_degree,
            self.arm,
        )
        self.continuum = fit_continuum(self.raw_flux, self.raw_ivar, self.basis, model)
        if self.part.options.clip is not None:
            self.continuum = fit_continuum(
                self.raw_flux, self._trusted_ivar(), self.basis, model
            )

    def _find_velocity(self, rank):
        """Scan for the velocity; keep the pixels that the fit can see around it."""
        known = self.constraints.value[:, -1]
        is_known = np.isfinite(known)
        if self.found is not None:
            # that of a star without data is of no use, and not used
            self.velocity = np.nan_to_num(self.found[:, -1])
        else:
            velocities, excess = self.part.scan(
                self.wavelength,
                self.raw_flux / self.continuum,
                self._trusted_ivar() * self.continuum**2,
                n_best=rank + 1,
                prior=(self.constraints.mean[:, -1], self.constraints.error[:, -1]),
            )
            self.velocity = np.where(is_known, known, velocities[:, rank])
            # nothing to fit where no other velocity comes near the best
            rival = (excess[:, rank] < _RIVAL) & ~(is_known & (rank > 0))
            self.raw_ivar = np.where(rival[:, None], self.raw_ivar, 0.0)
        # the broader lines are, the less exact is the scan
        margin = max(_VELOCITY_STEPS * self.part.scan.step, self._reach / 2)
        margin = np.where(is_known, 0.0, margin)[:, None]
        self.velocity_limits = np.clip(
            self.velocity[:, None] + margin * [-1, 1],
            *self.part.options.velocity_range,
        )
        self._keep_covered(*self.velocity_limits.T)

    @property
    def _reach(self):
        """Velocity in km/s from which a model spectrum is smeared."""
        broadening = self.part.broadening
        return broadening.reach if broadening else 0.0

    def _keep_covered(self, slowest, fastest):
        """Give no weight to pixels whose flux may come from beyond the emulator."""
        instrument = self.part.instrument.reach_of(self.stars).T
        reach = doppler_factor(self._reach + instrument)
        if self.part.offsets:
            low, high = np.transpose(self.part.offsets)
            slowest, fastest = slowest + low.min(), fastest + high.max()
        lowest = self.wavelength.T / (doppler_factor(fastest) * reach)
        highest = self.wavelength.T / doppler_factor(slowest) * reach
        covered = is_covered(lowest, highest, self.inverted.wavelength)
        self.raw_ivar = np.where(covered.T, self.raw_ivar, 0.0)

    def _emulator_error(self):
        """Error of the emulator at the pixels, in units of the continuum."""
        if self.wavelength is None:
            return self.inverted.error
        rest = self.wavelength / doppler_factor(self.velocity)[:, None]
        return np.interp(rest, self.inverted.wavelength, self.inverted.error)

    def _add_error(self, error):
        """Add an error in units of the continuum to that of the pixels."""
        variance = (error * self.continuum) ** 2
        self.raw_ivar = self.raw_ivar / (1 + self.raw_ivar * variance)
        self.systematic = self.systematic + variance

    def _trusted_ivar(self):
        """Inverse variances, 0 where flux is beyond that of all models: cosmic rays."""
        clip = self.part.options.clip
        if clip is None:
            return self.raw_ivar
        low, high = self.part.starts.flux_range
        flux = self.raw_flux / self.continuum
        beyond = np.maximum(flux - high, low - flux)
        is_ray = (beyond > _SLACK) & (
            (beyond * self.continuum) ** 2 * self.raw_ivar > clip**2
        )
        return np.where(is_ray, 0.0, self.raw_ivar)

    def _per_star(self, array):
        rows = array[self.stars] if array.ndim == 2 else array
        return np.broadcast_to(rows, self.raw_flux.shape)

    def _keep(self, good):
        self.constraints = self.constraints.of(good)
        for name in ("stars", "rows", "raw_flux", "raw_ivar", "systematic", "velocity"):
            setattr(self, name, getattr(self, name)[good])
        self.continuum = self.continuum[good]
        for name in ("wavelength", "arm", "velocity_limits", "basis", "found"):
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name)[good])

    # Fit

    def fit(self, results):
        """Fit the stars that have data, and write down what came out.

        Parameters
        ----------
        results : Measurements
            Of all stars of the batch; changed in place.
        """
        results.n_pixels[:] = self.n_pixels
        if not len(self.rows):
            return
        problem, low, high, prior = self.problem()
        fit = self._fit(problem, low, high, prior)
        if self._is_weighed:
            self.raw_ivar = problem[2].double().cpu().numpy()
            results.n_pixels[self.rows] = (self.raw_ivar > 0).sum(axis=1)
            results.n_clipped[:] = self.n_pixels - results.n_pixels
        self._report(fit, low, high, prior, results)
        every = torch.arange(len(self.rows), device=self.inverted.device)
        if self.basis is not None:
            with torch.no_grad():
                positive = problem[0].is_positive(every, fit.parameters)
            results.bad_continuum[self.rows] = ~positive.cpu().numpy()
        if results.model is not None:
            with torch.no_grad():
                flux = problem[0].flux(every, fit.parameters).double().cpu().numpy()
            results.model[self.rows] = np.where(self.raw_ivar > 0, flux, np.nan)

    def problem(self):
        """Give what least squares is asked.

        Returns
        -------
        problem : tuple
            Model, flux and inverse variances of shape (B, P), in the precision of the
            fit.
        low, high : Tensor of shape (B, K), float64
            Bounds, in the parameters of the model.
        prior : tuple of Tensor of shape (B, K), float64
            Means and inverse variances.
        """
        dtype = self.inverted.dtype
        flux = self._tensor(self.raw_flux).to(dtype)
        # which fits may change
        ivar = self._tensor(self.raw_ivar).to(dtype, copy=True)
        model = self._normalised_model()
        if self.basis is not None:
            model = ContinuumModel(model, flux, ivar, self.basis.to(flux))
        return (model, flux, ivar), *self._bounds(), self._prior()

    def fit_again(self):
        """Fit stars from where they were found before.

        Returns
        -------
        fit : LeastSquaresFit
            In the parameters of the model.
        how : dict
            Arguments of `fit_least_squares` for more of the kind.
        """
        problem, low, high, prior = self.problem()
        center, scale = self.part.units
        how = dict(zip(("model", "flux", "ivar"), problem, strict=True))
        how |= {"low": low, "high": high, "prior": prior}
        how["max_iterations"] = self.part.options.max_iterations
        start = self._tensor((self.found - center) / scale)
        if self._is_weighed:
            rows = torch.arange(len(start), device=start.device)
            with torch.no_grad():
                residual = how["flux"] - how["model"].flux(rows, start)
            self._reweigh(how["ivar"], how["ivar"].clone(), residual, rows)
        return fit_least_squares(start=start, **how), how

    def _fit(self, problem, low, high, prior):
        """Fit all stars; those whose fit is poor again, from elsewhere."""
        first_guess, at_rest = self.part.starts, self._at_rest()
        first, *starts = self._sorted(problem, first_guess.parameters(*at_rest))
        how = {"low": low, "high": high, "prior": prior}
        how["max_iterations"] = self.part.options.max_iterations
        every = torch.arange(len(first), device=first.device)
        own = problem[2].clone()
        if self.part.options.clip is not None:
            problem[2][:] = self._tensor(self._trusted_ivar())
        fit = fit_least_squares(*problem, first, **how)
        self._settle(problem, own, fit, every, how)
        n_labels = len(self.inverted.low)
        for labels in first_guess.others(*at_rest, fit.parameters[:, :n_labels].cpu()):
            labels = labels.to(first.device)
            starts.append(torch.hstack([labels, first[:, n_labels:]]))
        rows = every
        for start in starts:
            dof = (problem[2] > 0).sum(1) - self._n_fitted()
            poor = is_poor(fit.chi2[rows], dof[rows])
            rows = rows[poor | self._is_strange(problem, fit, low, high, rows)]
            if not len(rows):
                break
            again = fit_least_squares(*problem, start, rows=rows, **how)
            # where the model is wrong, chi2 differs that much between good fits, too
            margin = POOR**2 * (fit.chi2 / dof.clamp_min(1)).clamp_min(1)
            taken = fit.take_better(again, rows, margin)
            self._settle(problem, own, fit, taken, how)
        return fit

    @property
    def _is_weighed(self):
        """Whether what pixels weigh depends on the fit."""
        options = self.part.options
        return options.clip is not None or options.error_floor == "fit"

    def _settle(self, problem, own, fit, rows, how):
        """Weigh pixels by what fits leave, and fit again, until both agree."""
        for _ in range(_N_ROUNDS if self._is_weighed else 0):
            rows = self._reweigh(problem[2], own, fit.residual, rows)
            if not len(rows):
                break
            again = fit_least_squares(*problem, fit.parameters, rows=rows, **how)
            fit.take(again, rows)

    def _reweigh(self, ivar, own, residual, rows):
        """Change inverse variances where residuals tell; give the stars concerned."""
        options, which = self.part.options, rows.cpu().numpy()
        new, floor = reweigh(
            residual[rows],
            own[rows],
            self._tensor(self.continuum[which]).to(own),
            self._n_fitted()[rows],
            clip=options.clip,
            fit_floor=options.error_floor == "fit",
        )
        changed = ((new > 0) != (ivar[rows] > 0)).any(1).cpu().numpy()
        if options.error_floor == "fit":
            floor = floor.double().cpu().numpy()
            changed |= np.abs(floor - self.floor[which]) > _SAME_FLOOR * floor
            self.floor[which[changed]] = floor[changed]
        changed = torch.from_numpy(changed).to(rows.device)
        ivar[rows[changed]] = new[changed]
        return rows[changed]

    def _n_fitted(self):
        """Numbers fitted to every star."""
        n_free = (~self.constraints.is_fixed).sum(axis=1)
        return self._tensor(self._n_continuum() + n_free)

    def _is_strange(self, problem, fit, low, high, rows):
        """Whether what fits leave of some stars looks like model spectra."""
        model, flux, ivar = problem
        free = (fit.parameters > low) & (fit.parameters < high)
        numbers = flux.shape[1] * len(self.part.directions.components)
        strange = []
        for block in rows.split(max(1, _CACHE // numbers)):
            which, at_rest = block.cpu().numpy(), None
            systematic = self.systematic[which]
            if self.part.options.error_floor == "fit":
                floor = self.floor[which, None] * self.continuum[which]
                systematic = systematic + floor**2
            if self.wavelength is not None:
                at_rest = self._tensor(self.wavelength[which])
                if self.velocity_limits is not None:
                    at_rest = at_rest / doppler_factor(fit.parameters[block, -1:])
            directions = self.part.directions(at_rest).to(flux)
            if self.basis is not None:
                with torch.no_grad():
                    directions = model.directions(
                        block, fit.parameters[block], directions
                    )
            excess = score_excess(
                fit.residual[block],
                ivar[block],
                self._tensor(np.sqrt(systematic)),
                fit.jacobian[block],
                fit.normal_matrix[block],
                free[block],
                directions,
            )
            strange.append(excess > _STRANGE)
        return torch.cat(strange) if strange else rows > len(flux)

    def _at_rest(self):
        """Flux and ivar on the grid of the emulator, good enough for a first guess."""
        flux = self.raw_flux / self.continuum
        ivar = self._trusted_ivar() * self.continuum**2
        if self.wavelength is None:
            return tuple(torch.tensor(a, device="cpu") for a in (flux, ivar))
        rest = self.wavelength / doppler_factor(self.velocity)[:, None]
        return resample_roughly(rest, flux, ivar, self.inverted.wavelength)

    def _sorted(self, problem, starts):
        """Give starts of all stars, of each first that of the smallest chi2."""
        starts = torch.stack([self._with_velocity(start) for start in starts])
        if len(starts) == 1:
            return starts
        model, flux, ivar = problem
        rows = torch.arange(len(flux), device=flux.device)
        with torch.no_grad():
            if rows.device.type == "cpu":
                every = model.flux(rows.repeat(len(starts)), starts.flatten(0, 1))
                every = every.unflatten(0, starts.shape[:2])
            else:
                every = (model.flux(rows, start) for start in starts)
            chi2 = torch.stack([(ivar * (flux - f) ** 2).sum(1) for f in every])
        return starts[chi2.argsort(0), rows]

    def _with_velocity(self, start):
        """Append offsets and velocity to labels and widths to start from."""
        offsets = start.new_zeros(len(start), len(self.part.offsets))
        start = torch.hstack([start, offsets])
        if self.velocity_limits is not None:
            start = torch.hstack([start, torch.from_numpy(self.velocity[:, None])])
        return start.to(self.inverted.device)

    def _normalised_model(self):
        sampling = None
        if self.part.instrument is not None:
            sampling = self.part.instrument.sampling(self.stars)
        on_grid = (
            self.velocity_limits is None
            and not self.part.broadening
            and sampling is None
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
            broadening=self.part.broadening,
            sampling=sampling,
            arm=self._tensor(self.arm) if self.part.offsets else None,
            n_offsets=len(self.part.offsets),
        )

    def _bounds(self):
        """Bounds of every star, in the parameters of the model."""
        center, scale = self.part.units
        shape = self.constraints.value.shape
        low, high = (np.broadcast_to(limit, shape).copy() for limit in self.part.limits)
        if self.velocity_limits is not None:
            low[:, -1], high[:, -1] = self.velocity_limits.T
        is_fixed, value = self.constraints.is_fixed, self.constraints.value
        low, high = (
            self._tensor((np.where(is_fixed, value, limit) - center) / scale)
            for limit in (low, high)
        )
        return low, high

    def _prior(self):
        """Means and inverse variances, in the parameters of the model."""
        center, scale = self.part.units
        mean = (self.constraints.mean - center) / scale
        weight = np.where(
            self.constraints.is_fixed, 0.0, (scale / self.constraints.error) ** 2
        )
        return self._tensor(mean), self._tensor(weight)

    # Report

    def _n_continuum(self):
        """Coefficients of the continuum of every star."""
        if self.basis is None:
            return np.zeros(len(self.rows), dtype=np.int64)
        return self.basis.n_coefficients

    def _report(self, fit, low, high, prior, results):
        rows, is_fixed = self.rows, self.constraints.is_fixed
        free = self._tensor(~is_fixed)
        normal = fit.normal_matrix * (free[:, None] & free[:, :, None])
        covariance = invert_normal_matrix(normal + torch.diag_embed((~free).double()))
        covariance = covariance.cpu().numpy()
        covariance[is_fixed[:, None] | is_fixed[:, :, None]] = 0.0
        center, scale = self.part.units
        parameters = center + scale * fit.parameters.cpu().numpy()
        results.parameters[rows] = np.where(
            is_fixed, self.constraints.value, parameters
        )
        results.is_fixed[rows] = is_fixed
        results.covariance[rows] = covariance * scale[:, None] * scale
        results.n_continuum[rows] = self._n_continuum()
        results.error_floor[rows] = self.floor
        penalty = prior_penalty(fit.parameters, prior)
        results.chi2[rows] = (fit.chi2 - penalty).cpu().numpy()
        results.n_iterations[rows] = fit.n_iterations.cpu().numpy()
        results.converged[rows] = fit.converged.cpu().numpy()
        edge = ((fit.parameters <= low) | (fit.parameters >= high)) & free
        results.at_edge[rows] = edge[:, results.n_labels :].cpu().numpy()

    def _tensor(self, array):
        # in memory of torch: what products round to may hang on where they begin
        return torch.tensor(np.ascontiguousarray(array), device=self.inverted.device)


def is_poor(chi2, dof):
    """Whether noise does not explain chi2.

    Parameters
    ----------
    chi2, dof : Tensor or ndarray
        Of stars, and their degrees of freedom.

    Returns
    -------
    poor : Tensor or ndarray of bool
        Whether chi2 is five standard deviations too large.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._batch import is_poor
    >>> is_poor(np.array([180.0, 120.0]), np.array([100, 100]))
    array([ True, False])
    """
    # chi2 of a good fit has the mean dof and the variance 2 dof
    return chi2 > dof + POOR * (2 * dof.clip(1)) ** 0.5
