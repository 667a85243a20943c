"""The place of wavelengths on a grid, counted in pixels.

A spline with uniform knots needs a smooth index of any grid, which jumps over gaps.
"""

import math

import numpy as np
import torch

__all__ = ["PixelIndex", "TensorCache", "checked_grid"]

# A segment counts as uniform when no node is off by more than this, in pixels: then its
# own wavelengths come back as whole numbers to the same precision.
_UNIFORM = 1e-6


class TensorCache(dict):
    """Tensors by what they were made for; copies by pickle start empty."""

    def get_or_make(self, key, make):
        """Return the value of a key, made when it is first asked for."""
        if key not in self:
            # Tensors made in inference mode could never be differentiated through.
            with torch.inference_mode(False):
                self[key] = make()
        return self[key]

    def __reduce__(self):
        # Tensors may live on a device that the reader does not have.
        return TensorCache, ()


class PixelIndex:
    """Map wavelengths to the index u of a grid, and give its slope.

    u is 0 at the first wavelength, P - 1 at the last, and whole numbers at all others.
    In a gap it runs from the last pixel before to the first behind.

    Parameters
    ----------
    wavelength : ndarray of shape (P,), float64
        Å, increasing.
    segments : list of slice
        Pixels of each segment.

    Attributes
    ----------
    kind : {"log", "linear", "smooth"}
        In which coordinate all segments are uniform; "smooth" for neither.
    """

    def __init__(self, wavelength, segments):
        parts = [wavelength[part] for part in segments]
        self.kind, steps = _spacing(parts)
        # segments and the gaps behind them, in turn; in each, u is a formula
        self._starts = np.concatenate([part[[0, -1]] for part in parts])[:-1]
        first = np.array([part.start for part in segments], dtype=np.float64)
        last = np.array([part.stop - 1 for part in segments], dtype=np.float64)
        self._offsets = np.stack([first, last], axis=1).ravel()[:-1]
        self._steps = np.empty(len(self._starts))
        self._steps[::2] = steps
        before, behind = self._starts[1::2], self._starts[2::2]
        is_log = self.kind == "log"
        self._steps[1::2] = np.log(behind / before) if is_log else behind - before
        # the last wavelength of a segment is not in the gap behind
        self._edges = self._starts.copy()
        self._edges[1::2] = np.nextafter(before, np.inf)
        self._nodes = self._cubics = None
        if self.kind == "smooth":
            self._nodes, self._cubics = wavelength.copy(), _cubics(parts, self._offsets)
            self._nodes[last[:-1].astype(int)] = self._edges[1::2]
        self._cache = TensorCache()

    def __call__(self, wavelength):
        """Return u of wavelengths, both tensors of float64 of any shape."""
        if self.kind == "smooth":
            return self._smooth_value(wavelength, slope=False)
        start, step, offset = self._piece(wavelength)
        if self.kind == "log":
            u = torch.log(wavelength / start) / step
        else:
            u = (wavelength - start) / step
        return u if offset is None else offset + u

    def slope(self, wavelength):
        """Return d u / d ln(wavelength) of wavelengths, tensors of float64."""
        if self.kind == "smooth":
            return wavelength * self._smooth_value(wavelength, slope=True)
        _, step, _ = self._piece(wavelength)
        if self.kind == "log":
            return torch.ones_like(wavelength) / step
        return wavelength / step

    def _piece(self, wavelength):
        """Return start, step and offset of the segments or gaps of wavelengths."""
        if len(self._starts) == 1:
            return float(self._starts[0]), float(self._steps[0]), None
        edges, starts, steps, offsets = self._on(
            wavelength.device, self._edges, self._starts, self._steps, self._offsets
        )
        piece = torch.searchsorted(edges, wavelength.detach().contiguous(), right=True)
        piece = (piece - 1).clamp(min=0)
        return starts[piece], steps[piece], offsets[piece]

    def _smooth_value(self, wavelength, slope):
        """Return u or d u / d wavelength of the monotone cubic, straight outside."""
        nodes, cubics = self._on(wavelength.device, self._nodes, self._cubics)
        inside = wavelength.clamp(nodes[0], nodes[-1])
        interval = torch.searchsorted(nodes, inside.detach().contiguous(), right=True)
        interval = (interval - 1).clamp(0, len(nodes) - 2)
        a, b, c, d = cubics[:, interval]
        x = inside - nodes[interval]
        per_angstrom = (3 * a * x + 2 * b) * x + c
        if slope:
            return per_angstrom
        beyond = wavelength - inside
        return ((a * x + b) * x + c) * x + d + per_angstrom.detach() * beyond

    def _on(self, device, *arrays):
        return self._cache.get_or_make(
            device, lambda: [torch.as_tensor(array, device=device) for array in arrays]
        )


def _spacing(parts):
    """Return the kind of segments, and the step of each in the uniform coordinate."""
    log_steps, log_error = _uniformity([np.log(part / part[0]) for part in parts])
    steps, error = _uniformity([part - part[0] for part in parts])
    if min(log_error, error) > _UNIFORM:
        return "smooth", np.full(len(parts), math.nan)
    if log_error <= error and any(len(part) > 1 for part in parts):
        return "log", log_steps
    return "linear", steps


def _uniformity(coordinates):
    """Return steps of segments, and by how many pixels a node is off, at most."""
    steps, error = np.ones(len(coordinates)), 0.0
    for i, x in enumerate(coordinates):
        if len(x) > 1:
            steps[i] = x[-1] / (len(x) - 1)
            error = max(error, np.abs(x / steps[i] - np.arange(len(x))).max())
    return steps, error


def _cubics(parts, offsets):
    """Return the cubics of u of each interval, (4, P - 1), highest power first."""
    from scipy.interpolate import PchipInterpolator

    cubics = []
    for i, part in enumerate(parts):
        if i:
            before = parts[i - 1][-1]
            gap = [0.0, 0.0, 1 / (part[0] - before), offsets[2 * i - 1]]
            cubics.append(np.reshape(gap, (4, 1)))
        if len(part) > 1:
            u = offsets[2 * i] + np.arange(len(part), dtype=np.float64)
            cubics.append(PchipInterpolator(part, u).c)
    return np.ascontiguousarray(np.concatenate(cubics, axis=1))


def checked_grid(wavelength):
    """Return the wavelengths of a grid as an array, after checking their order."""
    wavelength = np.array(wavelength, dtype=np.float64)
    if wavelength.ndim != 1 or wavelength.size == 0:
        raise ValueError(
            "`wavelength` must be 1-D with at least one entry; got the shape "
            f"{wavelength.shape}. Pass the wavelengths of the grid, in Å."
        )
    usable = np.isfinite(wavelength).all() and wavelength[0] > 0
    if not (usable and (np.diff(wavelength) > 0).all()):
        raise ValueError(
            "`wavelength` must be finite, positive and strictly increasing; got "
            f"{wavelength}. Sort the grid and drop repeated wavelengths."
        )
    return wavelength
