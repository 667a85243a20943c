"""From spectra and an emulator to measurements: prepare, start, fit, report.

It is here to do for many stars, in batches that fit memory, what one star needs.
"""

import numpy as np
import torch
from tqdm.auto import tqdm

from sk_payne.abundances._least_squares import (
    fit_least_squares,
    invert_normal_matrix,
)
from sk_payne.abundances._results import Measurements, set_flags
from sk_payne.abundances._start import (
    LabelGuess,
    resample_roughly,
    scan_velocity,
    template_parameters,
)
from sk_payne.exceptions import WavelengthMismatchError
from sk_payne.spectra import (
    C_KMS,
    convert_medium,
    doppler_factor,
)

__all__ = ["fit_stars"]

# Model spectra from which starts are guessed, and the first of them, with which
# velocities are sought.
_N_TEMPLATES = 256
_N_VELOCITY_TEMPLATES = 32

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


def fit_stars(
    inverted, spectra, *, velocity_range, emulator_error, max_iterations, verbose=0
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
    emulator_error : bool
        Whether the error of the emulator counts.
    max_iterations : int
        Of each star.
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
        if wavelength is None:
            wavelength = inverted.wavelength
    _require_overlap(inverted, spectra, wavelength, velocity_range)
    results = Measurements.empty(len(spectra), len(inverted.low), with_velocity)
    at_edge = np.zeros(len(spectra), dtype=bool)
    start = _Start(inverted)
    step = max(1, _MEMORY // (results.n_parameters * max(spectra.shape[1], 1)))
    if inverted.device.type == "cpu":
        step = min(step, _STARS_CPU)
    with tqdm(total=len(spectra), unit="star", disable=not verbose) as bar:
        for first in range(0, len(spectra), step):
            rows = np.arange(first, min(first + step, len(spectra)))
            batch = _Batch(inverted, spectra, wavelength, rows)
            if with_velocity:
                batch.find_velocity(start.velocity_templates, velocity_range)
            elif wavelength is not None:
                batch.keep_covered(0.0, 0.0)
            if emulator_error and inverted.error is not None:
                batch.add_error()
            batch.fit(start, results, at_edge, max_iterations)
            bar.update(len(rows))
    set_flags(results, low=inverted.low, high=inverted.high, velocity_at_edge=at_edge)
    return results


class _Start:
    """What every batch of stars starts from."""

    def __init__(self, inverted):
        low = (inverted.low - inverted.center) / inverted.half_width
        high = (inverted.high - inverted.center) / inverted.half_width
        self.middle = torch.from_numpy((low + high) / 2)
        self.half_width = torch.from_numpy((high - low) / 2)
        unit = torch.from_numpy(template_parameters(len(low), _N_TEMPLATES))
        parameters = self.middle + unit * self.half_width
        with torch.no_grad():
            flux = inverted.model().flux(None, parameters.to(inverted.device))
        flux = flux.double().cpu()
        self.velocity_templates = flux[:_N_VELOCITY_TEMPLATES].numpy()
        self.guess = LabelGuess(unit, flux)

    def parameters(self, flux, ivar):
        """First parameters of stars on the grid of the emulator and at rest."""
        return self.middle + self.half_width * self.guess(flux, ivar)

    def others(self, flux, ivar, found):
        """Further starts of stars whose fit is poor."""
        found = (found - self.middle) / self.half_width
        for unit in self.guess.others(flux, ivar, found):
            yield self.middle + self.half_width * unit


class _Batch:
    """Stars that are fitted together."""

    def __init__(self, inverted, spectra, wavelength, rows):
        self.inverted = inverted
        self.rows = rows
        self.raw_flux = spectra.flux[rows]
        self.raw_ivar = spectra.ivar[rows]
        self.wavelength = None
        if wavelength is not None:
            per_star = wavelength[rows] if wavelength.ndim == 2 else wavelength
            self.wavelength = np.broadcast_to(per_star, self.raw_flux.shape)
        self.velocity = np.zeros(len(rows))
        # of the fit; without one, no velocity is fitted
        self.velocity_limits = None

    @property
    def flux(self):
        """Flux as a tensor."""
        return self._tensor(self.raw_flux)

    @property
    def ivar(self):
        """Inverse variance as a tensor."""
        return self._tensor(self.raw_ivar)

    def find_velocity(self, templates, velocity_range):
        """Scan for the velocity; keep the pixels that the fit can see around it."""
        self.velocity, step = scan_velocity(
            self.wavelength,
            self.raw_flux,
            self.raw_ivar,
            self.inverted.wavelength,
            templates,
            velocity_range,
        )
        margin = _VELOCITY_STEPS * step
        self.velocity_limits = np.clip(
            self.velocity[:, None] + [-margin, margin], *velocity_range
        )
        self.keep_covered(*self.velocity_limits.T)

    def keep_covered(self, slowest, fastest):
        """Give no weight to pixels that may leave the range of the emulator."""
        grid = self.inverted.wavelength
        lowest = grid[0] * doppler_factor(fastest)
        highest = grid[-1] * doppler_factor(slowest)
        covered = (self.wavelength.T >= lowest) & (self.wavelength.T <= highest)
        self.raw_ivar = np.where(covered.T, self.raw_ivar, 0.0)

    def add_error(self):
        """Add the error of the emulator to that of the pixels, in quadrature."""
        error = self.inverted.error
        if self.wavelength is not None:
            rest = self.wavelength / doppler_factor(self.velocity)[:, None]
            error = np.interp(rest, self.inverted.wavelength, error)
        self.raw_ivar = self.raw_ivar / (1 + self.raw_ivar * error**2)

    def fit(self, first_guess, results, at_edge, max_iterations):
        """Fit the stars that have data, and write down what came out."""
        n_pixels = (self.raw_ivar > 0).sum(axis=1)
        results.n_pixels[self.rows] = n_pixels
        good = np.flatnonzero(n_pixels)
        if not len(good):
            return
        self._keep(good)
        fit, low, high = self._fit(first_guess, max_iterations)
        self._report(fit, results)
        if self.velocity_limits is not None:
            velocity = fit.parameters[:, -1]
            edge = (velocity <= low[:, -1]) | (velocity >= high[:, -1])
            at_edge[self.rows] = edge.cpu().numpy()

    def _fit(self, first_guess, max_iterations):
        """Fit all stars; those whose fit is poor again, from elsewhere."""
        at_rest = self._at_rest()
        low, high = self._bounds()
        problem = (
            self._model(),
            self.flux.to(self.inverted.dtype),
            self.ivar.to(self.inverted.dtype),
        )
        start = self._with_velocity(first_guess.parameters(*at_rest))
        fit = fit_least_squares(
            *problem, start, low, high, max_iterations=max_iterations
        )
        n_labels = len(self.inverted.low)
        dof = (problem[2] > 0).sum(1) - fit.parameters.shape[1]
        found = fit.parameters[:, :n_labels].cpu()
        others = first_guess.others(*at_rest, found)
        while len(rows := _poor_fits(fit.chi2, dof)):
            start = next(others, None)
            if start is None:
                break
            again = fit_least_squares(
                *problem,
                self._with_velocity(start),
                low,
                high,
                max_iterations=max_iterations,
                rows=rows,
            )
            # where the model is wrong, chi2 differs that much between good fits, too
            margin = _POOR**2 * (fit.chi2 / dof.clamp_min(1)).clamp_min(1)
            fit.take_better(again, rows, margin)
        return fit, low, high

    def _keep(self, good):
        for name in ("rows", "raw_flux", "raw_ivar", "velocity"):
            setattr(self, name, getattr(self, name)[good])
        for name in ("wavelength", "velocity_limits"):
            if getattr(self, name) is not None:
                setattr(self, name, getattr(self, name)[good])

    def _model(self):
        on_grid = self.velocity_limits is None and (
            self.wavelength is None
            or (
                self.wavelength.shape[1] == self.inverted.n_pixels
                and (self.wavelength == self.inverted.wavelength).all()
            )
        )
        return self.inverted.model(
            None if on_grid else self._tensor(self.wavelength),
            with_velocity=self.velocity_limits is not None,
        )

    def _bounds(self):
        """Bounds of every star, in the parameters of the model."""
        inverted, n = self.inverted, len(self.rows)
        low = np.tile((inverted.low - inverted.center) / inverted.half_width, (n, 1))
        high = np.tile((inverted.high - inverted.center) / inverted.half_width, (n, 1))
        if self.velocity_limits is not None:
            low = np.hstack([low, self.velocity_limits[:, :1]])
            high = np.hstack([high, self.velocity_limits[:, 1:]])
        return self._tensor(low), self._tensor(high)

    def _with_velocity(self, labels):
        """Labels to start from, and the velocity of the scan."""
        if self.velocity_limits is not None:
            velocity = torch.from_numpy(self.velocity[:, None])
            labels = torch.hstack([labels, velocity])
        return labels.to(self.inverted.device)

    def _at_rest(self):
        """Flux and ivar on the grid of the emulator, good enough for a first guess."""
        if self.wavelength is None:
            return torch.from_numpy(self.raw_flux), torch.from_numpy(self.raw_ivar)
        rest = self.wavelength / doppler_factor(self.velocity)[:, None]
        grid = self.inverted.wavelength
        return resample_roughly(rest, self.raw_flux, self.raw_ivar, grid)

    def _report(self, fit, results):
        rows, inverted = self.rows, self.inverted
        covariance = invert_normal_matrix(fit.normal_matrix).cpu().numpy()
        parameters = fit.parameters.cpu().numpy()
        n_labels = len(inverted.low)
        scale = inverted.half_width
        results.labels[rows] = inverted.center + scale * parameters[:, :n_labels]
        results.covariance[rows] = (
            covariance[:, :n_labels, :n_labels] * scale[:, None] * scale
        )
        if self.velocity_limits is not None:
            results.velocity[rows] = parameters[:, -1]
            results.velocity_error[rows] = np.sqrt(covariance[:, -1, -1])
        results.chi2[rows] = fit.chi2.cpu().numpy()
        results.n_iterations[rows] = fit.n_iterations.cpu().numpy()
        results.converged[rows] = fit.converged.cpu().numpy()

    def _tensor(self, array):
        array = torch.from_numpy(np.ascontiguousarray(array))
        return array.to(self.inverted.device)


def _poor_fits(chi2, dof):
    """Rows of the stars whose chi2 noise does not explain."""
    # chi2 of a good fit has the mean dof and the variance 2 dof
    poor = chi2 > dof + _POOR * (2 * dof.clamp_min(1)).sqrt()
    return torch.nonzero(poor)[:, 0]


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
