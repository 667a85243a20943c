"""Coefficients of quintic splines with uniform knots, by filtering their samples.

The filter is cut into blocks, so that all segments of a grid take one matrix product.
"""

import math

import numpy as np
import torch

__all__ = ["filter_samples", "prefilter_arrays", "tap_arrays"]

# Outputs per block of the prefilter: a matrix product of this width is ten times
# faster on a CPU than torch's one-channel convolution.
_BLOCK = 64


def prefilter_arrays(segments, eps):
    """Prepare the filter that turns samples into coefficients.

    Parameters
    ----------
    segments : list of slice
        Pixels of each segment; C coefficients belong to all of them.
    eps : float
        Precision to which the filter is cut off.

    Returns
    -------
    place : ndarray of shape (C,)
        From 0 to 1 between the ends of a segment, and a little beyond.
    sign, source : ndarray of shape (n,)
        ``sign * samples[source]`` continues each segment as an odd function about both
        of its ends.
    filters : ndarray of shape (window, block)
        Applies the inverse filter to a block of samples by one matrix product.
    ends : ndarray of int, shape (2, C) or (2, 1)
        First and last pixel of the segment of each coefficient.
    nodes : ndarray of int, shape (P,), or slice
        Coefficients that are at pixels.
    kept : ndarray of int, shape (C,), or slice
        Outputs of the filter that are coefficients.
    """
    inverse = _inverse_filter(eps)
    reach = len(inverse) // 2
    parts = [_mirrored(part.stop - part.start, reach) for part in segments]
    place, sign, source = (
        np.concatenate(arrays) for arrays in zip(*parts, strict=True)
    )
    filters = np.zeros((_BLOCK + 2 * reach, _BLOCK))
    for output in range(_BLOCK):
        filters[output : output + len(inverse), output] = inverse
    if len(segments) == 1:
        n = segments[0].stop
        ends = np.array([[0], [n - 1]])
        return place, sign, filters, source, ends, slice(2, n + 2), slice(None)
    n_coefficients = [len(place) for place, _, _ in parts]
    n_samples = [len(sign) for _, sign, _ in parts]
    first = np.array([part.start for part in segments])
    last = np.array([part.stop - 1 for part in segments])
    ends = np.repeat([first, last], n_coefficients, axis=1)
    nodes = _counted(last - first + 1, np.cumsum([0, *n_coefficients[:-1]]) + 2)
    kept = _counted(n_coefficients, np.cumsum([0, *n_samples[:-1]]))
    source = source + np.repeat(first, n_samples)
    return place, sign, filters, source, ends, nodes, kept


def filter_samples(samples, filters):
    """Filter samples, block by block of the last axis.

    Parameters
    ----------
    samples : Tensor of shape (..., n)
        Continued beyond their ends.
    filters : Tensor of shape (window, block)
        From `prefilter_arrays`.

    Returns
    -------
    filtered : Tensor of shape (..., n - window + block)
        In order.
    """
    window, block = filters.shape
    n_out = samples.shape[-1] - window + block
    n_blocks = -(-n_out // block)
    missing = n_blocks * block + window - block - samples.shape[-1]
    blocks = torch.nn.functional.pad(samples, (0, missing)).unfold(-1, window, block)
    return (blocks @ filters).flatten(-2)[..., :n_out]


def tap_arrays(segments):
    """Return where the coefficients of each interval of a grid with gaps begin.

    Parameters
    ----------
    segments : list of slice
        Pixels of each segment.

    Returns
    -------
    is_last : ndarray of bool, shape (P,)
        Whether a pixel is the last of its segment.
    interval : ndarray of int, shape (P,)
        Pixel at which the interval begins that a pixel belongs to.
    tap : ndarray of int, shape (P,)
        First coefficient of the interval that begins at a pixel.
    """
    is_last, interval, tap = [], [], []
    n_coefficients = 0
    for part in segments:
        pixels = np.arange(part.start, part.stop)
        n = len(pixels)
        is_last.append(pixels == part.stop - 1)
        interval.append(pixels.clip(max=max(part.stop - 2, part.start)))
        tap.append(n_coefficients + np.arange(n))
        n_coefficients += max(n, 2) + 4
    return [np.concatenate(parts) for parts in (is_last, interval, tap)]


def _inverse_filter(eps):
    """Return the filter from samples to coefficients, cut off where it is below eps.

    The transfer function of the samples of a quintic B-spline is
    (z^2 + 26 z + 66 + 26 / z + 1 / z^2) / 120. Its roots come in pairs z and 1 / z,
    with z + 1 / z = -13 +- sqrt(105); partial fractions of its inverse give a sum of
    decaying powers of the two roots inside the unit circle (Unser et al. 1993).
    """
    sums = np.array([-13 + math.sqrt(105), -13 - math.sqrt(105)])
    z = (sums + np.sqrt(sums**2 - 4)) / 2
    other = z[::-1]
    amplitude = 120 * z / ((z - 1 / z) * (z - other) * (z - 1 / other))
    reach = math.ceil(math.log(eps) / math.log(abs(z[0])))
    lag = np.abs(np.arange(-reach, reach + 1))
    return (amplitude[:, None] * z[:, None] ** lag).sum(axis=0)


def _counted(sizes, starts):
    """Return whole numbers, so many from each start."""
    runs = [start + np.arange(n) for n, start in zip(sizes, starts, strict=True)]
    return np.concatenate(runs)


def _mirrored(n, reach):
    """Return `place`, `sign` and `source` of a segment of n samples."""
    if n == 1:
        # constant: nothing is left without the line through its ends
        return np.zeros(6), np.ones(6 + 2 * reach), np.zeros(6 + 2 * reach, dtype=int)
    place = np.arange(-2, n + 2) / (n - 1)
    phase = np.arange(-2 - reach, n + 2 + reach) % (2 * (n - 1))
    mirrored = phase > n - 1
    source = np.where(mirrored, 2 * (n - 1) - phase, phase)
    return place, np.where(mirrored, -1.0, 1.0), source
