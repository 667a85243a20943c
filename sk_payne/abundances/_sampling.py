r"""How pixels see a model: at which wavelengths it is evaluated, and what they add up.

It is here so that an instrument which differs from pixel to pixel, and pixels that are
wide, cost the fit one product with a matrix of narrow bands.
"""

import math

import numpy as np
import torch

from sk_payne.spectra import C_KMS

__all__ = ["Instrument", "Sampling"]

# Where a Gaussian is below 1e-6 of its maximum, in standard deviations.
_REACH = 5.3

# Points at which a Gaussian is summed up are not farther apart than this, in standard
# deviations, nor in wavelengths of the model: then the sum is the integral to 1e-5.
_SPACING = 1.0

# A step between pixels that is so many times one beside it is a gap.
_GAP = 1.5

# Pixels in a block of the matrix.
_BLOCK = 64


class Instrument:
    """What stars are observed with.

    Parameters
    ----------
    wavelength : ndarray of shape (P,) or (n, P)
        Of the pixels in Å.
    sigma : ndarray of shape (n, P) or None
        Standard deviation in km/s where it differs between pixels; None if the model
        has it.
    matrix : ndarray of shape (n, P, d) or None
        Rows of resolution matrices.
    arm : ndarray of shape (P,) or (n, P), or None
        Arm of each pixel.
    integrate : bool
        Whether pixels integrate from edge to edge, instead of seeing a point.
    step : float
        Between wavelengths of the model, in km/s.

    Attributes
    ----------
    reach : ndarray of shape (n,), or (1,) if all stars are observed alike
        Velocity in km/s from which a pixel of a star gets flux, at most.
    """

    def __init__(self, wavelength, sigma, matrix, arm, integrate, step):
        self.step, self.integrate = step, integrate
        self._stars = {
            "wavelength": np.atleast_2d(wavelength),
            "sigma": sigma,
            "matrix": matrix,
            "arm": None if arm is None else np.atleast_2d(arm),
        }
        for name in ("sigma", "matrix"):
            values = self._stars[name]
            if values is not None and (values == values[:1]).all():
                self._stars[name] = values[:1]
        self.reach = np.zeros(1)
        if sigma is not None:
            self.reach = self.reach + _REACH * self._stars["sigma"].max(axis=1)
        if integrate or matrix is not None:
            stars = (self._stars[name] for name in ("wavelength", "arm"))
            n_around = 0 if matrix is None else matrix.shape[2]
            self.reach = self.reach + _pixel_steps(*stars).max(axis=1) * (n_around + 1)
        # of all stars, if they are alike
        self._shared = None
        if self.is_shared:
            self._shared = Sampling.of(**self._stars, integrate=integrate, step=step)

    @property
    def is_shared(self):
        """Whether all stars are observed alike."""
        return all(v is None or len(v) == 1 for v in self._stars.values())

    @property
    def numbers_per_pixel(self):
        """How much more memory a star needs that is not observed like the others."""
        return 0 if self.is_shared else 2 * _BLOCK

    def reach_of(self, rows):
        """Give the reach of some stars."""
        return self.reach[rows if len(self.reach) > 1 else np.zeros_like(rows)]

    def sampling(self, rows):
        """Give the sampling of some stars, None if pixels see the model as it is."""
        if self.is_shared:
            return self._shared
        stars = {
            name: values if values is None or len(values) == 1 else values[rows]
            for name, values in self._stars.items()
        }
        n = len(rows)
        for name in ("wavelength", "sigma", "arm"):
            if stars[name] is not None:
                stars[name] = np.broadcast_to(stars[name], (n, stars[name].shape[1]))
        return Sampling.of(**stars, integrate=self.integrate, step=self.step)


class Sampling:
    """What the pixels of stars see.

    Parameters
    ----------
    points : ndarray of shape (S, Q)
        Observed wavelengths in Å at which the model is evaluated; S is the number of
        stars, or 1 if all are alike.
    weights : ndarray of shape (S, N, G) or None
        Quadrature: each of N nodes is the weighted sum of G points in a row. None if
        points are nodes.
    bands : tuple of ndarray or None
        First nodes, of shape (S, n_blocks), and weights, of shape (S, n_blocks, W, 64):
        each block of pixels is a product with W nodes in a row. None if nodes are
        pixels.
    n_pixels : int
        Pixels P.
    arm : ndarray of shape (S, Q) or None
        Arm of each point.
    """

    def __init__(self, points, weights, bands, n_pixels, arm):
        self.n_pixels = n_pixels
        self._first, self._bands = (None, None) if bands is None else bands
        self._points, self._arm, self._weights = points, arm, weights
        for name, values in vars(self).items():
            if isinstance(values, np.ndarray):
                values = np.ascontiguousarray(values)
                setattr(self, name, torch.tensor(values, device="cpu"))

    @classmethod
    def of(cls, wavelength, *, sigma, integrate, matrix, arm, step):
        """Prepare for pixels.

        Parameters
        ----------
        wavelength : ndarray of shape (S, P)
            Of the pixels in Å, increasing within each arm.
        sigma : ndarray of shape (S, P) or None
            Standard deviation in km/s of the instrument; None if the model has it, or
            there is a matrix.
        integrate : bool
            Whether pixels integrate from edge to edge, instead of seeing a point.
        matrix : ndarray of shape (S, P, d) or None
            Rows of a resolution matrix.
        arm : ndarray of shape (S, P) or None
            Arm of each pixel.
        step : float
            Between wavelengths of the model, in km/s: what it resolves.

        Returns
        -------
        sampling : Sampling or None
            None if pixels see the model as it is.
        """
        half = _half_widths(wavelength, arm) if integrate else None
        if sigma is None and half is None and matrix is None:
            return None
        n_pixels = wavelength.shape[1]
        if sigma is not None and sigma.min() >= _SPACING * step:
            points, point_arm, bands = _smear(wavelength, sigma, half, arm, step)
            return cls(points, None, bands, n_pixels, point_arm)
        offset, weights = _quadrature(sigma, half, step, wavelength.shape)
        points = wavelength[..., None] * np.exp(offset / C_KMS)
        n_points = offset.shape[-1]
        bands = None if matrix is None else _bands_of_rows(matrix)
        return cls(
            points.reshape(len(points), -1),
            weights if n_points > 1 else None,
            bands,
            n_pixels,
            None if arm is None else arm.repeat(n_points, axis=1),
        )

    def points(self, rows):
        """Points of some stars in Å, of shape (n, Q)."""
        return self._chosen(self._points, rows)

    def arms(self, rows):
        """Arms of the points of some stars, of shape (n, Q)."""
        return self._chosen(self._arm, rows)

    def __call__(self, values, rows):
        """Add up what pixels see.

        Parameters
        ----------
        values : Tensor of shape (n, K, Q)
            Model and derivatives at the points.
        rows : Tensor of int, shape (n,)
            Which stars they are of.

        Returns
        -------
        seen : Tensor of shape (n, K, P)
            At the pixels.
        """
        if self._weights is not None:
            weights = self._chosen(self._weights, rows).to(values)
            values = values.unflatten(2, weights.shape[1:])
            values = torch.einsum("nkpg,npg->nkp", values, weights)
        if self._bands is None:
            return values
        first = self._chosen(self._first, rows)
        bands = self._chosen(self._bands, rows).to(values)
        n, n_rows, _ = values.shape
        width = bands.shape[2]
        place = first[..., None] + torch.arange(width, device=values.device)
        place = place.flatten(1)[:, None].expand(n, n_rows, -1)
        windows = values.gather(2, place).unflatten(2, (-1, width))
        seen = torch.einsum("nkbw,nbwp->nkbp", windows, bands)
        return seen.flatten(2)[..., : self.n_pixels]

    def _chosen(self, values, rows):
        if len(values) == 1:
            return values.expand(len(rows), *values.shape[1:]).to(rows.device)
        return values[rows.cpu()].to(rows.device)


def _half_widths(wavelength, arm):
    """Half of the width of each pixel in km/s, edges midway between centres."""
    return _pixel_steps(wavelength, arm) / 2


def _pixel_steps(wavelength, arm):
    """Width of each pixel in km/s, as if no pixels were missing beside it."""
    steps = C_KMS * np.diff(np.log(wavelength), axis=1)
    if arm is not None:
        # across arms there is no step: that of the neighbour stands for it
        steps = np.where(np.diff(arm, axis=1) == 0, steps, np.nan)
    # nor across a gap, which the step before or behind tells
    before, behind = _beside(steps)
    steps = np.where(steps > _GAP * np.fmin(before, behind), np.nan, steps)
    # of the steps to both sides of a pixel, or of the one that is known
    before, behind = _beside(steps, of_pixels=True)
    before, behind = (
        np.where(np.isnan(before), behind, before),
        np.where(np.isnan(behind), before, behind),
    )
    width = (before + behind) / 2
    known = ~np.isnan(width)
    usual = [
        np.median(w[k]) if k.any() else 0.0 for w, k in zip(width, known, strict=True)
    ]
    return np.where(known, width, np.array(usual)[:, None])


def _beside(steps, *, of_pixels=False):
    """Give the steps before and behind each step, or each pixel; NaN at the ends."""
    end = 1 if of_pixels else 0
    padded = np.pad(steps, ((0, 0), (1, 1)), constant_values=np.nan)
    n = steps.shape[1] + end
    return padded[:, :n], padded[:, 2 - end :][:, :n]


def _quadrature(sigma, half, step, shape):
    """Offsets in km/s and weights of points around each pixel, (S, P, G).

    The trapezoidal rule for the instrument times Gauss-Legendre for the pixel.
    """
    offset, weights = np.zeros((*shape, 1)), np.ones((*shape, 1))
    if half is not None:
        # between wavelengths of the model, its flux is about a cubic
        n = 2 + math.ceil(1.5 * half.max() / step)
        x, w = np.polynomial.legendre.leggauss(n)
        offset = half[..., None] * x
        weights = np.broadcast_to(w / 2, offset.shape)
    if sigma is not None:
        n = math.ceil(_REACH * max(1.0, sigma.max() / step) / _SPACING)
        x = np.linspace(-_REACH, _REACH, 2 * n + 1)
        w = np.exp(-(x**2) / 2)
        offset = offset[..., None] + sigma[..., None, None] * x
        weights = weights[..., None] * (w / w.sum())
        offset, weights = (part.reshape(*shape, -1) for part in (offset, weights))
    return offset, weights


def _smear(wavelength, sigma, half, arm, step):
    """Points on a grid as fine as the instrument asks for, and bands of weights."""
    step = min(step, _SPACING * float(sigma.min())) / C_KMS
    log = np.log(wavelength)
    reach = (_REACH * sigma + (0.0 if half is None else half)) / C_KMS
    grids, arms = [], []
    for star in range(len(log)):
        parts = []
        for i in _numbers(arm, star):
            mine = slice(None) if arm is None else arm[star] == i
            low = (log[star, mine] - reach[star, mine]).min()
            high = (log[star, mine] + reach[star, mine]).max()
            parts.append(low + step * np.arange(math.ceil((high - low) / step) + 1))
        grids.append(np.concatenate(parts))
        arms.append(np.repeat(_numbers(arm, star), [len(part) for part in parts]))
    n_points = max(map(len, grids))
    points = np.array([np.pad(g, (0, n_points - len(g)), mode="edge") for g in grids])
    point_arm = np.array([np.pad(a, (0, n_points - len(a)), mode="edge") for a in arms])
    # the first and last point of every pixel
    first, last = np.empty((2, *log.shape), dtype=np.int64)
    for star, grid in enumerate(grids):
        for i in _numbers(arm, star):
            mine = np.ones(len(log[star]), bool) if arm is None else arm[star] == i
            begin = int((arms[star] < i).sum())
            place = (log[star, mine] - grid[begin]) / step
            far = reach[star, mine] / step
            first[star, mine] = begin + np.floor(place - far).clip(0)
            last[star, mine] = begin + np.ceil(place + far)
    last = last.clip(max=n_points - 1)

    def weight(star, pixel, place):
        distance = C_KMS * (points[star][place] - log[star, pixel][:, None])
        width = sigma[star, pixel][:, None]
        if half is None:
            kernel = np.exp(-((distance / width) ** 2) / 2)
        else:
            box = half[star, pixel][:, None]
            kernel = _normal((distance + box) / width) - _normal(
                (distance - box) / width
            )
        if arm is not None:
            kernel = kernel * (point_arm[star][place] == arm[star, pixel][:, None])
        return kernel / kernel.sum(axis=1, keepdims=True)

    bands = _bands(first, last, n_points, weight)
    return np.exp(points), None if arm is None else point_arm, bands


def _numbers(arm, star):
    return np.zeros(1, dtype=np.int64) if arm is None else np.unique(arm[star])


def _normal(x):
    from scipy.special import ndtr

    return ndtr(x)


def _bands(first, last, n_nodes, weight):
    """Blocks of pixels, each with the nodes from its first to its last."""
    n_stars, n_pixels = first.shape
    starts = np.arange(0, n_pixels, _BLOCK)
    begin = np.minimum.reduceat(first, starts, axis=1)
    width = int((np.maximum.reduceat(last, starts, axis=1) - begin).max()) + 1
    width = min(width, n_nodes)
    begin = begin.clip(max=n_nodes - width)
    bands = np.zeros((n_stars, len(starts), width, _BLOCK))
    for star in range(n_stars):
        for block, start in enumerate(starts):
            pixel = np.arange(start, min(start + _BLOCK, n_pixels))
            place = np.broadcast_to(
                begin[star, block] + np.arange(width), (len(pixel), width)
            )
            bands[star, block, :, : len(pixel)] = weight(star, pixel, place).T
    return begin, bands


def _bands_of_rows(matrix):
    """Blocks of a resolution matrix that is given by its rows (S, P, d)."""
    n_pixels, half = matrix.shape[1], matrix.shape[2] // 2
    place = np.broadcast_to(np.arange(n_pixels), matrix.shape[:2])
    first, last = (place - half).clip(0), (place + half).clip(max=n_pixels - 1)

    def weight(star, pixel, place):
        column = place - pixel[:, None] + half
        inside = (column >= 0) & (column <= 2 * half)
        rows = np.take_along_axis(matrix[star, pixel], column.clip(0, 2 * half), axis=1)
        return np.where(inside, rows, 0.0)

    return _bands(first, last, n_pixels, weight)
