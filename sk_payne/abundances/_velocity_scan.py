"""First guesses of radial velocities, by a scan with model spectra.

Least squares finds a velocity only from within the width of a line.
"""

import numpy as np
import scipy.fft
import torch

from sk_payne.abundances._starts import resample_roughly
from sk_payne.spectra import C_KMS, is_covered

__all__ = ["VelocityScan"]

# Templates and their squares are combinations of principal components: as many as leave
# this rms error, up to the largest number.
_ERROR, _N_COMPONENTS = 1e-4, 32

# Shifts that leave less than this fraction of a star's information are ignored.
_SMALLEST_OVERLAP = 0.5

# Smallest distance of velocities in steps of the scan.
_SEPARATION = 8

# Standard deviations of a prior beyond which velocities are not scanned.
_FARTHEST = 10.0

# Numbers in memory during correlation.
_MEMORY = 2**24


class VelocityScan:
    r"""Scan for the radial velocities at which a template has the smallest chi2.

    Data and templates are brought to one logarithmic grid, for this scan only. With
    weights w, data d and a template m, chi2 at every shift follows from the
    correlations of w d with m and of w with m\ :sup:`2` [1]_. Templates are
    combinations of their principal components, and so are their squares: only the
    components are correlated. Templates and data are divided by a power of two near the
    level of the templates, so that single precision suffices for flux in any unit.

    A shift moves pixels out of the range of the emulator: chi2 is divided by the
    information of the others. A prior adds its penalty in the same unit. On a grid with
    gaps, half of the pixels may fall into them, and the others may fit by chance:
    pixels in gaps then count as if their model were the mean flux of the star.

    Parameters
    ----------
    grid : ndarray of shape (n_grid,)
        Wavelengths of the templates in Å.
    templates : ndarray of shape (M, n_grid)
        Model spectra.
    velocity_range : tuple of float
        Smallest and largest velocity in km/s.
    free_level : bool, default=False
        True to scale templates to the data at every shift.

    Attributes
    ----------
    step : float
        Step of the scan in km/s.

    References
    ----------
    .. [1] Tonry & Davis, "A survey of galaxy redshifts", AJ 84, 1511, 1979.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._velocity_scan import VelocityScan
    >>> grid = np.geomspace(5000, 5050, 999)
    >>> lines = 1 - 0.5 * np.sin(np.arange(999) ** 2)[None] ** 8
    >>> scan = VelocityScan(grid, lines, (-200, 200))
    >>> velocity, _ = scan(grid[None] * (1 + 30 / 3e5), lines, np.ones((1, 999)))
    >>> bool(abs(velocity[0, 0] - 30) < scan.step)
    True
    """

    def __init__(self, grid, templates, velocity_range, *, free_level=False):
        self.free_level = free_level
        log_step = float(np.median(np.diff(np.log(grid))))
        shifts = _allowed_shifts(velocity_range, log_step)
        self.step = C_KMS * log_step
        self._velocity = C_KMS * np.tanh(shifts * log_step)
        n_model = int(np.floor(np.log(grid[-1] / grid[0]) / log_step)) + 1
        model_grid = grid[0] * np.exp(log_step * np.arange(n_model))
        n_data = n_model + len(shifts) - 1
        self._grid = grid[0] * np.exp(log_step * (shifts[0] + np.arange(n_data)))
        self._n_fft = scipy.fft.next_fast_len(n_data, real=True)
        models = np.stack([np.interp(model_grid, grid, row) for row in templates])
        self._level = _power_of_two(models)
        # velocities differ in chi2 by far more than single precision rounds
        models = torch.from_numpy(models / self._level).float()
        inside = torch.from_numpy(is_covered(model_grid, model_grid, grid)).float()
        models = models * inside
        self._has_gaps = bool((inside == 0).any())
        self._lines = self._components(models)
        self._squares = self._components(models**2)
        self._inside = self._kernel(inside[None])

    def __call__(self, wavelength, flux, ivar, n_best=1, *, prior=None):
        """Scan stars.

        Parameters
        ----------
        wavelength, flux, ivar : ndarray of shape (B, P)
            Wavelengths in Å in the medium of the emulator, flux, inverse variances.
        n_best : int, default=1
            Number of velocities per star, well apart.
        prior : tuple of ndarray of shape (B,), default=None
            Means and standard deviations of Gaussian priors in km/s; an infinite
            standard deviation is no prior. Velocities ten standard deviations from
            the mean are not scanned, as long as others are in the range.

        Returns
        -------
        velocity : ndarray of shape (B, n_best)
            Velocities in km/s, to about half a pixel of the grid, best first.
        excess : ndarray of shape (B, n_best)
            Ratio of chi2 there to that of the best, penalties of priors included.
        """
        place = np.empty((len(flux), n_best), dtype=np.int64)
        excess = np.empty(place.shape)
        penalty = None if prior is None else self._penalty(*prior)
        n_rows = max(len(kernels) for kernels, _ in (self._lines, self._squares))
        n_rows = n_rows * self._n_fft + len(self._lines[1]) * len(self._velocity)
        block = max(1, _MEMORY // n_rows)
        for start in range(0, len(flux), block):
            rows = slice(start, start + block)
            data, weight = resample_roughly(
                wavelength[rows], flux[rows], ivar[rows], self._grid
            )
            data, weight, unit = self._normalised(data, weight)
            chi2, information = self._chi2(data.float(), weight.float())
            if penalty is not None:
                # in the unit of chi2, which is divided by the information
                unit = unit * information.double().amax(1, keepdim=True)
                chi2 = chi2 + (penalty[rows] / unit.clamp_min(1e-300)).float()
            place[rows], excess[rows] = _smallest(chi2, n_best)
        return self._velocity[place], excess

    def second(self, wavelength, residual, model, ivar):
        """Scan residuals for the lines of a second star.

        Adding a fraction of a template T at some velocity to the model F of one star
        changes it along T - F. The best positive fraction determines the fall of
        chi2.

        Parameters
        ----------
        wavelength, residual, model, ivar : ndarray of shape (B, P)
            Wavelengths in Å in the medium of the emulator, normalised residuals and
            model of the fit with one star, inverse variances.

        Returns
        -------
        velocity : ndarray of shape (n_shifts,)
            Velocities in km/s.
        fall : ndarray of shape (B, n_shifts)
            Largest fall of chi2 by any template.
        template : ndarray of shape (B, n_shifts), int
            Index of that template.
        """
        left, weight = resample_roughly(wavelength, residual, ivar, self._grid)
        star, _ = resample_roughly(wavelength, model, ivar, self._grid)
        left, star = (
            torch.where(weight > 0, part, 0.0) / self._level for part in (left, star)
        )
        unit = weight.amax(1).clamp_min(1e-300)[:, None]
        w = (weight / unit).float()
        left, star = left.float(), star.float()

        # sums over pixels that the template covers at each velocity
        cross = self._with_templates(w * left, self._lines)
        cross = cross - self._correlate(w * left * star, self._inside)
        square = self._with_templates(w, self._squares)
        square = square - 2 * self._with_templates(w * star, self._lines)
        square = square + self._correlate(w * star**2, self._inside)
        fall = cross.clamp_min(0) ** 2 / square.clamp_min(1e-6 * square.amax())
        fall = fall.double() * (unit * self._level**2)[..., None]
        best, template = fall.max(dim=1)
        return self._velocity, best.numpy(), template.numpy()

    def _penalty(self, mean, error):
        """Penalties of priors in units of chi2, of shape (B, n_shifts)."""
        distance = np.abs(self._velocity - np.asarray(mean)[:, None])
        # a velocity of the scan represents all within half a step
        distance = (distance - self.step / 2).clip(0) / np.asarray(error)[:, None]
        nearest = distance.min(axis=1, keepdims=True)
        excluded = distance > np.maximum(_FARTHEST, nearest)
        return torch.from_numpy(np.where(excluded, np.inf, distance**2))

    def _normalised(self, data, weight):
        """Scale data and weights to order one; return the unit (B, 1) of chi2, too."""
        data = torch.where(weight > 0, data, 0.0) / self._level
        level = torch.ones_like(data[:, :1])
        if self.free_level:
            # data may have another level than templates
            level = torch.from_numpy(
                np.array([[_power_of_two(row[row != 0])] for row in data.numpy()])
            )
        largest = weight.amax(1, keepdim=True).clamp_min(1e-300)
        unit = largest * (level * self._level) ** 2
        return data / level, weight / largest, unit

    def _components(self, models):
        """Correlation kernels of components, and coefficients of models in them."""
        # from the matrix of products, as there are fewer models than wavelengths
        value, vector = torch.linalg.eigh(models.double() @ models.double().mT)
        value, vector = value.flip(0).clamp_min(0), vector.flip(1)
        left = value.sum() - value.cumsum(0)
        n = 1 + int((left > _ERROR**2 * models.numel()).sum())
        vector = vector[:, : min(n, _N_COMPONENTS)].to(models)
        return self._kernel(vector.mT @ models), vector

    def _kernel(self, spectra):
        return torch.fft.rfft(spectra, self._n_fft).conj()

    def _correlate(self, series, kernels):
        """Correlations (B, n, n_shifts) of series (B, n_data) with n kernels."""
        series = torch.fft.rfft(series, self._n_fft)
        product = torch.fft.irfft(series[:, None] * kernels, self._n_fft)
        return product[..., : len(self._velocity)]

    def _with_templates(self, series, components):
        """Correlations (B, M, n_shifts) of series (B, n_data) with all templates."""
        kernels, vector = components
        return vector @ self._correlate(series, kernels)

    def _chi2(self, data, weight):
        """Smallest chi2 per unit of information of any template, and information.

        Both are of shape (B, n_shifts).
        """
        information = self._correlate(weight, self._inside)
        cross = self._with_templates(weight * data, self._lines)
        square = self._with_templates(weight, self._squares)
        level = cross / square.clamp_min(1e-30) if self.free_level else 1.0
        chi2 = self._correlate(weight * data**2, self._inside)
        chi2 = chi2 - level * (2 * cross - level * square)
        enough = information >= _SMALLEST_OVERLAP * information.amax(2, keepdim=True)
        if self._has_gaps:
            information = weight.sum(1)[:, None, None]
            mean = (weight * data).sum(1)[:, None] / information[..., 0].clamp_min(
                1e-30
            )
            flat = weight * (data - mean) ** 2
            inside = self._correlate(flat, self._inside)
            chi2 = chi2 + flat.sum(1)[:, None, None] - inside
        chi2 = torch.where(enough, chi2 / information.clamp_min(1e-30), torch.inf)
        return chi2.amin(1), information.expand_as(chi2)[:, 0]


def _power_of_two(values):
    """Power of two near the root mean square of values, 1 if they are zero."""
    largest = np.abs(values).max(initial=0.0)
    if largest == 0:
        return 1.0
    level = largest * np.sqrt(np.mean((values / largest) ** 2))
    return float(2.0 ** np.round(np.log2(level)))


def _allowed_shifts(velocity_range, log_step):
    """Whole steps of the grid; at velocity v, ln(1 + z) = artanh(v / c)."""
    low, high = np.arctanh(np.asarray(velocity_range) / C_KMS) / log_step
    shifts = np.arange(np.ceil(low), np.floor(high) + 1)
    return shifts if len(shifts) else np.array([np.round((low + high) / 2)])


def _smallest(chi2, n_best):
    """Find the smallest chi2, well apart: indices, and ratios to the first."""
    place = torch.arange(chi2.shape[1], device=chi2.device)
    best, least = [], []
    for _ in range(n_best):
        best.append(chi2.argmin(1, keepdim=True))
        least.append(chi2.gather(1, best[-1]))
        chi2 = chi2.masked_fill((place - best[-1]).abs() <= _SEPARATION, torch.inf)
    least = torch.hstack(least)
    excess = least / least[:, :1].clamp_min(1e-30)
    excess[:, 0] = 1  # rounding may have left nothing
    return torch.hstack(best).numpy(), excess.numpy()
