r"""Input of the network: residuals of a spectrum in rest-frame bins, and variances.

1. The spectrum is divided by its continuum: polynomials times the mean model spectrum,
   fitted to the pixels with inverse variances as weights, as in a fit of the star.
2. Pixels are rebinned in log wavelength, see :class:`PixelLayout`.
3. The velocity at which a template matches best is found by cross-correlation [1]_, to
   the nearest bin, and the spectrum is shifted to rest.
4. The continuum is fitted again, with the mean spectrum at that velocity.
5. The mean spectrum is subtracted.

Training spectra and observed spectra are processed by the same code.

References
----------
.. [1] Tonry & Davis, "A survey of galaxy redshifts", AJ 84, 1511, 1979.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
import torch

from sk_payne.neural_posterior._bins import PixelLayout
from sk_payne.spectra import C_KMS

__all__ = ["Representation", "Represented"]

# Smallest inverse variance, and smallest flux, that is divided by.
_TINY = 1e-30


@dataclass
class Represented:
    """Preprocessed spectra, the input of the network.

    Attributes
    ----------
    residual, variance : Tensor of shape (n, n_bins), float32
        Normalised flux minus the mean model spectrum, and its variance; both 0 in bins
        without data.
    shift : Tensor of shape (n,), int64
        Shifts of the spectra to rest, in bins.
    n_used : Tensor of shape (n,), int64
        Number of pixels used.
    """

    residual: torch.Tensor
    variance: torch.Tensor
    shift: torch.Tensor
    n_used: torch.Tensor

    def __len__(self):
        return len(self.shift)

    def __getitem__(self, rows):
        """Return some of the spectra."""
        return Represented(*(values[rows] for values in vars(self).values()))

    @classmethod
    def join(cls, parts):
        """Concatenate spectra."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*map(torch.cat, columns))


class Representation:
    """Preprocessing of spectra with any pixels for the network.

    Parameters
    ----------
    bins : Bins or None
        Bins of log wavelength; None for an emulator without wavelengths, whose pixels
        are the bins.
    mean : ndarray of shape (n_bins,)
        Mean model spectrum at rest.
    templates : ndarray of shape (M, n_bins)
        Model spectra at rest, for the cross-correlation.
    grid : ndarray of shape (n_grid,) or None
        Wavelengths of the emulator in Å.
    velocities : tuple of float
        Smallest and largest velocity in km/s, offsets of arms included.
    velocity_range : tuple of float or None
        Smallest and largest velocity of the search in km/s; None for stars at rest.
    reach : float
        Largest distance in km/s from which broadening brings flux to a pixel.
    degree : int or None
        Degree of the continuum; None for normalised flux.

    Attributes
    ----------
    unit : float
        Approximate flux of the continuum: the maximum of the mean spectrum.
    """

    def __init__(
        self, bins, mean, templates, *, grid, velocities, velocity_range, reach, degree
    ):
        self.bins, self.grid, self.degree = bins, grid, degree
        self.velocities, self.velocity_range = velocities, velocity_range
        self.reach = float(reach)
        self.mean, self.templates = mean, templates
        self._mean = torch.from_numpy(np.asarray(mean, dtype=np.float32))
        self.unit = float(np.abs(mean).max())
        self._layout = None, None
        if velocity_range is not None:
            ends = np.arctanh(np.array(velocity_range) / C_KMS) / bins.step
            self._low, self._high = int(np.floor(ends[0])), int(np.ceil(ends[1]))
            margin = max(abs(self._low), abs(self._high))
            n = bins.n + margin + 1
            self._n_fft = scipy.fft.next_fast_len(n, real=True)
            lines = templates - templates.mean(axis=1, keepdims=True)
            lines = lines / np.linalg.norm(lines, axis=1, keepdims=True)
            lines = torch.from_numpy(lines.astype(np.float32))
            self._kernels = torch.fft.rfft(lines, self._n_fft).conj()

    @property
    def n_bins(self):
        """Number of bins."""
        return len(self.mean)

    @property
    def with_velocity(self):
        """True if spectra are shifted to rest."""
        return self.velocity_range is not None

    def layout(self, wavelength, arm):
        """Create the layout of pixels, or reuse the last one for the same pixels.

        Parameters
        ----------
        wavelength : ndarray of shape (P,) or None
            Wavelengths of the pixels in Å.
        arm : ndarray of shape (P,) or None
            Arm of each pixel.

        Returns
        -------
        layout : PixelLayout or None
            Overlaps of pixels and bins; None without wavelengths.
        """
        if wavelength is None or self.bins is None:
            return None
        key, layout = self._layout
        if key is None or not _are_same(key, (wavelength, arm)):
            layout = PixelLayout(
                self.bins,
                wavelength,
                arm,
                self.degree,
                grid=self.grid,
                velocities=self.velocities,
                reach=self.reach,
            )
            self._layout = (wavelength, arm), layout
        return layout

    def velocity(self, shift):
        """Convert shifts in bins to velocities in km/s, limited to the range."""
        if not self.with_velocity:
            return np.zeros(len(shift))
        velocity = C_KMS * np.tanh(shift.numpy() * self.bins.step)
        return velocity.clip(*self.velocity_range)

    @torch.no_grad()
    def __call__(self, flux, ivar, layout):
        """Preprocess spectra with the same pixels.

        Parameters
        ----------
        flux, ivar : Tensor of shape (n, P), float32
            Flux and inverse variances on the CPU, 0 for bad pixels.
        layout : PixelLayout or None
            Overlaps of pixels and bins.

        Returns
        -------
        found : Represented
            Input of the network.
        """
        shift = torch.zeros(len(flux), dtype=torch.int64, device="cpu")
        if layout is None:
            good = ivar > 0
            residual = torch.where(good, flux - self._mean, 0.0)
            variance = torch.where(good, 1 / ivar.clamp_min(_TINY), 0.0)
            return Represented(residual, variance, shift, good.sum(1))
        flux, ivar = flux[:, layout.span], ivar[:, layout.span] * layout.used
        flux = torch.where(ivar > 0, flux, 0.0)
        binned = layout.to_bins(*self._normalised(flux, ivar, layout, shift))
        if self.with_velocity:
            shift = self._best_shift(*binned)
            if self.degree is not None:
                binned = layout.to_bins(*self._normalised(flux, ivar, layout, shift))
            binned = [_shifted(values, shift) for values in binned]
        flux, weight = binned
        good = weight > 0
        residual = torch.where(good, flux - self._mean, 0.0)
        variance = torch.where(good, 1 / weight.clamp_min(_TINY), 0.0)
        return Represented(residual, variance, shift, (ivar > 0).sum(1))

    def _normalised(self, flux, ivar, layout, shift):
        """Divide flux by a continuum, fitted with the mean spectrum as the model."""
        if layout.polynomials is None:
            return flux, ivar
        model = self._mean_at(layout.place, shift)
        basis = layout.polynomials * model[:, None]
        # weights of order one, since the range of single precision is small
        unit = ivar.amax(1, keepdim=True).clamp_min(_TINY)
        # sums, since matrix products round differently for each row of a block
        weighted = basis * (ivar / unit)[:, None]
        level = flux.abs().amax(1, keepdim=True).clamp_min(_TINY)
        rows = [(weighted * row[:, None]).sum(2) for row in basis.unbind(1)]
        normal = torch.stack(rows, dim=1).double()
        right = (weighted * (flux / level)[:, None]).sum(2).double()
        diagonal = torch.diagonal(normal, dim1=1, dim2=2)
        # an arm without a good pixel has no continuum
        ridge = torch.where(diagonal > 0, 1e-7 * diagonal, 1.0)
        normal = normal + torch.diag_embed(ridge)
        coefficients = torch.linalg.solve(normal, right).float()
        continuum = torch.zeros_like(flux)
        for coefficient, row in zip(
            coefficients.unbind(1), layout.polynomials, strict=True
        ):
            continuum += coefficient[:, None] * row
        continuum = continuum * level
        good = (continuum > 0.02 * level) & (ivar > 0)
        continuum = torch.where(good, continuum, 1.0)
        flux = torch.where(good, flux / continuum, 0.0)
        return flux, torch.where(good, ivar * continuum**2, 0.0)

    def _mean_at(self, place, shift):
        """Interpolate the mean spectrum to pixels of shifted stars, (n, P)."""
        place = place - shift[:, None]
        place = place.clamp(0, self.n_bins - 1.001)
        below = place.floor()
        part, below = place - below, below.long()
        return torch.lerp(self._mean[below], self._mean[below + 1], part)

    def _best_shift(self, flux, weight):
        """Find the shift in bins at which a template matches best, of shape (n,)."""
        weight = weight / weight.amax(1, keepdim=True).clamp_min(_TINY)
        level = (weight * flux).sum(1) / weight.sum(1).clamp_min(_TINY)
        seen = torch.fft.rfft(weight * (flux - level[:, None]), self._n_fft)
        best = None
        for kernel in self._kernels:
            match = torch.fft.irfft(seen * kernel, self._n_fft)
            match = match.roll(-self._low, 1)[:, : self._high - self._low + 1]
            best = match if best is None else torch.maximum(best, match)
        return best.argmax(1) + self._low


def _shifted(values, shift):
    """Move values (n, n_bins) to lower bins by their shifts; zeros fill the rest."""
    n = values.shape[1]
    source = torch.arange(n, device=shift.device) + shift[:, None]
    inside = (source >= 0) & (source < n)
    return values.gather(1, source.clamp(0, n - 1)) * inside


def _are_same(one, other):
    return all(
        a is b or (a is not None and b is not None and np.array_equal(a, b))
        for a, b in zip(one, other, strict=True)
    )
