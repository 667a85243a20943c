"""Displacements of fitted labels that the error of an emulator causes.

A fit of a held-out spectrum without noise is wrong only because the error of the
emulator resembles changes of labels: fitted minus true labels are the displacement.
"""

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from sk_payne.networks import evaluate_with_jacobian, fast_products, float64_device
from sk_payne.trained._blocks import row_blocks

__all__ = ["LABEL_PRIOR", "LabelDisplacements", "LabelSample"]

# Number of stretches of wavelengths with sums of their own, and wavelengths that each
# needs at least.
_N_STRETCHES, _SHORTEST = 10, 5

# Widths of windows in stretches.
_WINDOWS = (3, 5)

# Largest number of spectra.
_MAX_SPECTRA = 512

# Largest number of fitted spectra, starts of each fit, and steps from each start.
_MAX_FITTED, _N_STARTS, _N_STEPS = 192, 3, 20

# Largest number of derivatives of all fitted spectra: those of long spectra take long.
_MAX_DERIVATIVES = 2**25

# A fit has converged if a step changes chi2 by less than this.
_CONVERGED = 1e-2

# Distance of starts in standard deviations of independent errors.
_APART = 3.0

# Inverse variance of the prior on labels, in half widths of the training box.
LABEL_PRIOR = 1.0


class LabelSample(NamedTuple):
    """Displacements of n stars over some of the wavelengths.

    Attributes
    ----------
    labels : ndarray of shape (n, n_labels)
        Labels relative to the middle of the training box, in its half widths.
    displacement : ndarray of shape (n, n_labels)
        Fitted minus true labels.
    independent : ndarray of shape (n, n_labels, n_labels)
        Covariance of labels if errors of pixels were independent.
    information : ndarray of shape (n, n_labels, n_labels)
        Fisher information J S^-2 J^T, with the 1 sigma errors S of the flux.
    part : ndarray of shape (n,)
        Fraction of all wavelengths that is used.
    """

    labels: np.ndarray
    displacement: np.ndarray
    independent: np.ndarray
    information: np.ndarray
    part: np.ndarray


@dataclass(frozen=True, eq=False)
class LabelDisplacements:
    """Displacements of held-out spectra, as sums over stretches of wavelengths.

    J are the derivatives of the flux by the labels, S its 1 sigma errors, and W =
    1 / (S^2 + n^2) the weights for a noise n equal to the median error.

    Parameters
    ----------
    labels : ndarray of shape (n, n_labels)
        Labels relative to the middle of the training box, in its half widths.
    normal : ndarray of shape (n, n_stretches, n_labels, n_labels)
        Normal matrix J W J^T.
    spread : ndarray of shape (n, n_stretches, n_labels, n_labels)
        Covariance of the gradient, J W S^2 W J^T.
    information : ndarray of shape (n, n_stretches, n_labels, n_labels)
        Fisher information J S^-2 J^T.
    slope : ndarray of shape (n, n_stretches, n_labels)
        Gradient J W e, with true minus predicted flux e.
    fitted : LabelSample
        Displacements of some stars from fits over all wavelengths: large displacements
        are not linear in the errors of the flux.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.emulators._flux import TrainingFlux
    >>> from sk_payne.trained import LabelDisplacements
    >>> grid = make_spectra(60, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", validation_fraction=0.2, max_steps=50, random_state=0
    ... ).fit(grid.data[:50], grid.target[:50])
    >>> trained = emulator.trained_
    >>> displacements = LabelDisplacements.measure(
    ...     trained.module,
    ...     trained.held_out.model,
    ...     grid.data[50:],
    ...     TrainingFlux(grid.target[50:]),
    ...     np.arange(10),
    ... )
    >>> displacements.over_all().displacement.shape
    (10, 5)
    """

    labels: np.ndarray
    normal: np.ndarray
    spread: np.ndarray
    information: np.ndarray
    slope: np.ndarray
    fitted: LabelSample

    @classmethod
    @fast_products()
    def measure(cls, module, error_model, labels, flux, rows):
        """Measure the displacements of the held-out spectra, in blocks.

        Parameters
        ----------
        module : TorchEmulator
            The trained emulator.
        error_model : ErrorModel
            1 sigma errors of its flux.
        labels : ndarray of shape (n_held_out, n_labels)
            Stellar parameters of the held-out spectra.
        flux : TrainingFlux of shape (n_spectra, n_wavelengths)
            Flux of all spectra.
        rows : ndarray of shape (n_held_out,), int
            Rows of the held-out spectra.

        Returns
        -------
        displacements : LabelDisplacements
            Displacements of evenly spread spectra, without masked pixels.
        """
        device = float64_device(module.label_center.device)
        if device != module.label_center.device:
            module = copy.deepcopy(module).to(device)
        spectra = _Spectra(module, error_model, labels, flux, rows)
        n_labels, n_wavelengths = labels.shape[1], flux.shape[1]
        edges = _edges(n_wavelengths)
        blocks, fits = [], []
        n_fitted = max(1, _MAX_DERIVATIVES // (n_labels * n_wavelengths))
        n_fitted = min(_MAX_FITTED, n_fitted)
        kept, fitted = (_spread(len(rows), n) for n in (_MAX_SPECTRA, n_fitted))
        for block in row_blocks(len(kept), n_wavelengths * (1 + n_labels)):
            star = spectra[kept[block]]
            blocks.append((star.labels, *star.sums(star.labels, edges)))
        for block in row_blocks(len(fitted), n_wavelengths * (1 + n_labels)):
            fits.append(spectra[fitted[block]].fit())
        sums = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        fits = (np.concatenate(parts) for parts in zip(*fits, strict=True))
        return cls(*sums, LabelSample(*fits))

    def __len__(self):
        return len(self.labels)

    def over_all(self):
        """Return linear displacements over all wavelengths.

        Returns
        -------
        sample : LabelSample
            Displacements of all stars.
        """
        return self._over(np.ones(self.slope.shape[:2]))

    def samples(self):
        """Return displacements over all wavelengths, and over windows.

        Returns
        -------
        samples : list of LabelSample
            Displacements of fits over all wavelengths, then linear displacements over
            windows at random places.
        """
        samples = [self.fitted]
        n, n_stretches = self.slope.shape[:2]
        rng = np.random.default_rng(0)
        for width in _WINDOWS if n_stretches > 1 else ():
            first = rng.integers(n_stretches - width + 1, size=(n, 1))
            offset = np.arange(n_stretches) - first
            samples.append(self._over((0 <= offset) & (offset < width)))
        return samples

    def _over(self, used):
        """Return linear displacements over some stretches of each star."""
        used = used.astype(np.float64)
        normal, spread, information = (
            np.einsum("ns,nskl->nkl", used, part)
            for part in (self.normal, self.spread, self.information)
        )
        slope = np.einsum("ns,nsk->nk", used, self.slope)
        inverse = np.linalg.inv(normal + LABEL_PRIOR * np.eye(normal.shape[1]))
        return LabelSample(
            labels=self.labels,
            displacement=np.einsum("nkl,nl->nk", inverse, slope),
            independent=inverse @ spread @ inverse,
            information=information,
            part=used.mean(axis=1),
        )


def _spread(n, n_most):
    """Return the rows of evenly spread spectra."""
    n_kept = min(n, n_most)
    return np.arange(n_kept) * n // max(n_kept, 1)


def _edges(n_wavelengths):
    """Return the first pixel of each stretch of wavelengths, and the last end."""
    n_stretches = _N_STRETCHES if n_wavelengths >= _N_STRETCHES * _SHORTEST else 1
    return np.linspace(0, n_wavelengths, n_stretches + 1).astype(int)


class _Spectra:
    """Held-out spectra, read in blocks."""

    def __init__(self, module, error_model, labels, flux, rows):
        self.module, self.error_model = module, error_model
        self.labels, self.flux, self.rows = labels, flux, rows

    def __getitem__(self, chosen):
        labels, rows = self.labels[chosen].astype(np.float32), self.rows[chosen]
        bad = self.flux.bad_pixels(rows)
        return _Stars(
            self.module,
            self.error_model,
            labels,
            self.flux[rows].astype(np.float32),
            np.ones(1, bool) if bad is None else ~bad,
        )


class _Stars:
    """A block of held-out spectra, with weights for noise as large as the errors."""

    def __init__(self, module, error_model, labels, flux, good):
        self.module, self.error_model = module, error_model
        # in units of the flux scale, or squares would overflow single precision
        self.flux = flux / np.float32(module.flux_scale)
        center, half_width = (
            values.cpu().numpy().astype(np.float64)
            for values in (module.label_center, module.label_half_width)
        )
        self.center, self.half_width = center, half_width
        self.labels = (labels - center) / half_width
        self.good = good
        self.noise = (np.median(error_model.scale) / module.flux_scale) ** 2
        variance = self._variance(self.labels)
        self.weight = self._inverse(variance + self.noise, variance)

    def sums(self, labels, edges):
        """Return normal, spread, information and slope over stretches, in float64."""
        residual, jacobian = self._linearized(labels)
        variance = self._variance(labels)
        inverse_variance = self._inverse(variance, variance)
        totals = []
        for first, last in pairwise(edges):
            part = jacobian[:, :, first:last]
            transposed = part.transpose(0, 2, 1)
            w = self.weight[:, None, first:last]
            spread = w**2 * variance[:, None, first:last]
            slope = (part * w) @ residual[:, first:last, None]
            totals.append(
                (
                    (part * w) @ transposed,
                    (part * spread) @ transposed,
                    (part * inverse_variance[:, None, first:last]) @ transposed,
                    slope[..., 0],
                )
            )
        totals = zip(*totals, strict=True)
        return [np.stack(total, axis=1).astype(np.float64) for total in totals]

    def fit(self):
        """Fit the labels; return the fields of a `LabelSample`.

        Fits start from the true labels, and from others within independent errors,
        where labels with weak lines may fit better.
        """
        edges, unit = np.array([0, self.flux.shape[1]]), np.eye(self.labels.shape[1])
        information = self.sums(self.labels, edges)[2][:, 0] + LABEL_PRIOR * unit
        apart = np.diagonal(np.linalg.inv(information), axis1=1, axis2=2) ** 0.5
        rng = np.random.default_rng(0)
        labels, chi2 = self._fit_from(self.labels)
        for _ in range(_N_STARTS - 1):
            start = self.labels + _APART * apart * rng.standard_normal(apart.shape)
            new_labels, new_chi2 = self._fit_from(np.clip(start, -1, 1))
            labels = np.where((new_chi2 < chi2)[:, None], new_labels, labels)
            chi2 = np.minimum(chi2, new_chi2)
        normal, spread, information = (
            total[:, 0] for total in self.sums(labels, edges)[:3]
        )
        inverse = np.linalg.inv(normal + LABEL_PRIOR * unit)
        independent = inverse @ spread @ inverse
        displacement = labels - self.labels
        return labels, displacement, independent, information, np.ones(len(labels))

    def _fit_from(self, labels):
        """Fit the labels from a start; return labels and chi2."""
        labels, chi2 = labels.copy(), self._chi2(labels)
        damping, rows = np.full(len(labels), 1e-3), np.arange(len(labels))
        for _ in range(_N_STEPS):
            some = self._some(rows)
            trial = some._after_step(labels[rows], damping[rows])
            fall = chi2[rows] - some._chi2(trial)
            better = fall > 0
            labels[rows[better]] = trial[better]
            chi2[rows[better]] -= fall[better]
            damping[rows] *= np.where(better, 0.1, 10.0)
            rows = rows[np.abs(fall) >= _CONVERGED]
            if not len(rows):
                break
        return labels, chi2

    def _some(self, rows):
        """Select some stars."""
        some = copy.copy(self)
        for name in ("flux", "labels", "weight"):
            setattr(some, name, getattr(self, name)[rows])
        return some

    def _after_step(self, labels, damping):
        """Take a damped step; labels that it would move out of the box stay."""
        unit = np.eye(labels.shape[1])
        normal, slope = self._normal_equations(labels)
        normal = normal + LABEL_PRIOR * unit
        slope = slope - LABEL_PRIOR * (labels - self.labels)
        stays = (np.abs(labels) >= 1) & (slope * labels > 0)
        diagonal = np.diagonal(normal, axis1=1, axis2=2)
        damped = normal + (damping[:, None] * diagonal)[:, None] * unit
        damped = np.where(stays[:, :, None] | stays[:, None], unit, damped)
        slope = np.where(stays, 0.0, slope)
        step = np.linalg.solve(damped, slope[..., None])[..., 0]
        return np.clip(labels + step, -1, 1)

    def _normal_equations(self, labels):
        """Return normal and slope over all wavelengths, in float64."""
        residual, jacobian = self._linearized(labels)
        weighted = jacobian * self.weight[:, None]
        normal = weighted @ jacobian.transpose(0, 2, 1)
        slope = weighted @ residual[..., None]
        return normal.astype(np.float64), slope[..., 0].astype(np.float64)

    @torch.no_grad()
    def _linearized(self, labels):
        """Return true minus predicted flux, and derivatives by the scaled labels."""
        module = self.module
        scaled = torch.from_numpy(labels).to(module.label_center)
        log_wavelength = module.log_wavelength
        if log_wavelength is not None:
            log_wavelength = log_wavelength.to(scaled.device)
        flux, jacobian = evaluate_with_jacobian(module.network, scaled, log_wavelength)
        flux = (module.unscale(flux) / module.flux_scale).cpu().numpy()
        residual = np.where(self.weight > 0, self.flux - flux, 0.0)
        return residual.astype(np.float32), jacobian.cpu().numpy()

    @torch.no_grad()
    def _chi2(self, labels):
        """Return chi2 of the residuals plus that of the prior."""
        scaled = torch.from_numpy(labels).to(self.module.label_center)
        predicted = self.module.from_scaled(scaled) / self.module.flux_scale
        predicted = predicted.cpu().numpy()
        residual = np.where(self.weight > 0, self.flux - predicted, 0.0)
        prior = LABEL_PRIOR * ((labels - self.labels) ** 2).sum(axis=1)
        return (self.weight * residual**2).sum(axis=1, dtype=np.float64) + prior

    def _variance(self, labels):
        labels = (self.center + self.half_width * labels).astype(np.float32)
        return (self.error_model.std(labels) / np.float32(self.module.flux_scale)) ** 2

    def _inverse(self, variance, own_variance):
        """Invert variances; 0 for bad pixels, and where the emulator is exact."""
        good = (own_variance > 0) & self.good
        return np.divide(1.0, variance, out=np.zeros_like(variance), where=good)
