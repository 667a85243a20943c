r"""What the network sees of a spectrum: residuals on rest-frame bins, and their errors.

1. The continuum is removed: polynomials times the mean model spectrum are fitted to the
   pixels, with their inverse variances as weights, as a fit of the star would have it.
2. Pixels are brought to bins of log wavelength, see :class:`PixelLayout`.
3. The velocity at which templates match best, to one bin, is found by cross-correlation
   [1]_, and the spectrum is shifted by it to rest.
4. The continuum is removed again, with the mean spectrum at that velocity.
5. The mean spectrum is subtracted.

Training spectra and observed ones go the same way.

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

# Numbers below which inverse variances and pivots count as zero.
_TINY = 1e-30


@dataclass
class Represented:
    """Spectra as the network sees them.

    Attributes
    ----------
    residual, variance : Tensor of shape (n, n_bins), float32
        Flux minus mean flux, and its variance: both 0 where nothing is known.
    shift : Tensor of shape (n,), int64
        By how many bins the spectra were shifted to rest.
    n_used : Tensor of shape (n,), int64
        Pixels that were used.
    """

    residual: torch.Tensor
    variance: torch.Tensor
    shift: torch.Tensor
    n_used: torch.Tensor

    def __len__(self):
        return len(self.shift)

    def __getitem__(self, rows):
        """Give some of the spectra."""
        return Represented(*(values[rows] for values in vars(self).values()))

    @classmethod
    def join(cls, parts):
        """Join spectra, one set after the other."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*map(torch.cat, columns))


class Representation:
    """Bring spectra on any pixels to what the network sees.

    Parameters
    ----------
    bins : Bins or None
        None for an emulator without wavelengths: pixels are its own.
    mean : ndarray of shape (n_bins,)
        Mean model spectrum at rest.
    templates : ndarray of shape (M, n_bins)
        Model spectra at rest with which velocities are found.
    grid : ndarray of shape (n_grid,) or None
        Wavelengths of the emulator in Å.
    velocities : tuple of float
        Smallest and largest velocity in km/s, offsets of arms included.
    velocity_range : tuple of float or None
        Velocities in km/s between which the star is sought; None if it is at rest.
    reach : float
        Velocity in km/s from which flux is brought to a pixel.
    degree : int or None
        Of the continuum; None for flux that is normalised.

    Attributes
    ----------
    unit : float
        Flux of the continuum, about: the largest of the mean spectrum.
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
        """Whether spectra are shifted to rest."""
        return self.velocity_range is not None

    def layout(self, wavelength, arm):
        """Give the layout of pixels: that of the call before, if they are the same.

        Parameters
        ----------
        wavelength : ndarray of shape (P,) or None
            Pixels in Å.
        arm : ndarray of shape (P,) or None
            Arm of each pixel.

        Returns
        -------
        layout : PixelLayout or None
            None without wavelengths.
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
        """Give velocities in km/s of shifts in bins, within the range."""
        if not self.with_velocity:
            return np.zeros(len(shift))
        velocity = C_KMS * np.tanh(shift.numpy() * self.bins.step)
        return velocity.clip(*self.velocity_range)

    @torch.no_grad()
    def __call__(self, flux, ivar, layout):
        """Represent spectra of one layout.

        Parameters
        ----------
        flux, ivar : Tensor of shape (n, P), float32
            Flux and inverse variances on the CPU, 0 for bad pixels.
        layout : PixelLayout or None
            Of the pixels.

        Returns
        -------
        found : Represented
            The spectra.
        """
        shift = torch.zeros(len(flux), dtype=torch.int64)
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
        """Flux and inverse variance over the continuum, by the mean spectrum."""
        if layout.polynomials is None:
            return flux, ivar
        model = self._mean_at(layout.place, shift)
        basis = layout.polynomials * model[:, None]
        # weights of order one: single precision has no room for more
        unit = ivar.amax(1, keepdim=True).clamp_min(_TINY)
        # sums: products of matrices round by where a star is among the others
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
        """Mean spectrum at pixels, of stars that are shifted, of shape (n, P)."""
        place = place - shift[:, None]
        place = place.clamp(0, self.n_bins - 1.001)
        below = place.floor()
        part, below = place - below, below.long()
        return torch.lerp(self._mean[below], self._mean[below + 1], part)

    def _best_shift(self, flux, weight):
        """Shifts at which a template matches best, in bins."""
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
    """Give values (n, n_bins) moved to lower bins by their shifts; zeros come in."""
    n = values.shape[1]
    source = torch.arange(n) + shift[:, None]
    inside = (source >= 0) & (source < n)
    return values.gather(1, source.clamp(0, n - 1)) * inside


def _are_same(one, other):
    return all(
        a is b or (a is not None and b is not None and np.array_equal(a, b))
        for a, b in zip(one, other, strict=True)
    )
