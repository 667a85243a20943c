"""Weighted sums of neighbouring nodes, one for each pixel of many stars."""

import numpy as np
import torch

__all__ = ["Bands", "Quadrature", "alike", "rows_of"]

# Most pixels in a block of the matrix.
_BLOCK = 64

# Nodes of a block, in those of its longest band, besides one for each pixel.
_SPAN = 1.5


class Bands:
    """Product with a matrix that is zero but for a narrow band.

    Pixels stand in blocks, and each block is a product with nodes in a row. A block is
    not much wider than the bands of its pixels, and blocks of unlike widths are kept
    apart: numbers that are held are at most six times the nodes of a band and 128, for
    each pixel.

    Parameters
    ----------
    first, last : ndarray of int, shape (S, P)
        First and last node of the band of each pixel; S is the number of stars, or 1
        if all are alike.
    n_nodes : int
        Number of nodes.
    weight : callable
        ``weight(star, pixel, place)`` gives the weights, of shape (n, W), of nodes
        `place` of that shape in n pixels; what is outside of their bands is ignored.
    is_mean : bool, default=False
        Whether weights are divided by their sum.
    """

    def __init__(self, first, last, n_nodes, weight, *, is_mean=False):
        n_pixels = first.shape[1]
        place = np.empty(n_pixels, dtype=np.int64)
        self._groups, n_before = [], 0
        for blocks in _blocks(first, last):
            size = max(map(len, blocks))
            for i, block in enumerate(blocks):
                place[block] = n_before + i * size + np.arange(len(block))
            n_before += len(blocks) * size
            begin, weights = _fill(blocks, size, first, last, n_nodes, weight)
            if is_mean:
                # a block may be padded with pixels that see nothing
                weights = weights / weights.sum(axis=2, keepdims=True).clip(1e-300)
            group = (torch.tensor(values, device="cpu") for values in (begin, weights))
            self._groups.append(tuple(group))
        self._n_pixels = n_pixels
        in_order = (place == np.arange(n_pixels)).all()
        self._place = None if in_order else torch.tensor(place, device="cpu")

    @property
    def n_numbers(self):
        """Numbers that are held."""
        return sum(weights.numel() for _, weights in self._groups)

    def __call__(self, values, rows):
        """Add up nodes.

        Parameters
        ----------
        values : Tensor of shape (n, K, n_nodes)
            At the nodes.
        rows : Tensor of int, shape (n,)
            Stars they are of.

        Returns
        -------
        seen : Tensor of shape (n, K, P)
            At the pixels.
        """
        n, n_rows, _ = values.shape
        parts = []
        for begin, weights in self._groups:
            begin, weights = rows_of(begin, rows), rows_of(weights, rows).to(values)
            width = weights.shape[2]
            node = begin[..., None] + torch.arange(width, device=values.device)
            node = node.flatten(1)[:, None].expand(n, n_rows, -1)
            windows = values.gather(2, node).unflatten(2, (-1, width))
            parts.append(torch.einsum("nkbw,nbwp->nkbp", windows, weights).flatten(2))
        seen = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
        if self._place is None:
            return seen[..., : self._n_pixels]
        return seen[..., self._place.to(seen.device)]


class Quadrature:
    """Weighted sums of as many points for each pixel.

    Parameters
    ----------
    weights : ndarray of shape (G,)
        Of the points of a pixel, alike for all.
    """

    def __init__(self, weights):
        self._weights = torch.tensor(weights, device="cpu")

    n_numbers = 0

    def __call__(self, values, rows):
        """Add up points in values (n, K, P * G), to (n, K, P)."""
        if len(self._weights) == 1:
            return values
        values = values.unflatten(2, (-1, len(self._weights)))
        return values @ self._weights.to(values)


def alike(numbers, factor):
    """Split by size: numbers within a factor of the largest that is left.

    Parameters
    ----------
    numbers : ndarray of shape (n,)
        Positive.
    factor : float
        Above one.

    Yields
    ------
    place : ndarray of int
        Of the numbers of one size, in order.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._bands import alike
    >>> [place.tolist() for place in alike(np.array([5, 50, 4, 40]), 2.0)]
    [[1, 3], [0, 2]]
    """
    left = np.arange(len(numbers))
    while len(left):
        mine = numbers[left] * factor > numbers[left].max()
        yield left[mine]
        left = left[~mine]


def rows_of(values, rows):
    """Give what is held of some stars; of all, if they are alike."""
    if len(values) == 1:
        return values.expand(len(rows), *values.shape[1:]).to(rows.device)
    return values[rows.cpu()].to(rows.device)


def _blocks(first, last):
    """Yield lists of blocks of pixels, those of about one width and size together."""
    for pixels in alike((last - first).max(axis=0) + 1, 2.0):
        edges = _edges(first[:, pixels], last[:, pixels])
        blocks = np.split(pixels, edges)
        sizes = np.array([len(block) for block in blocks])
        # a short block at the end is not worth another product
        is_full = len(blocks) * sizes.max() <= 2 * len(pixels) + _BLOCK
        for place in [range(len(blocks))] if is_full else alike(sizes, 2.0):
            yield [blocks[i] for i in place]


def _edges(first, last):
    """Where blocks begin, but for the first: none is much wider than the bands."""
    n_pixels = first.shape[1]
    widest = _SPAN * ((last - first).max() + 1) + _BLOCK
    edges = [0]
    while edges[-1] < n_pixels:
        mine = slice(edges[-1], edges[-1] + _BLOCK)
        low = np.minimum.accumulate(first[:, mine], axis=1)
        high = np.maximum.accumulate(last[:, mine], axis=1)
        fits = (high - low < widest).all(axis=0)
        n = len(fits) if fits.all() else int(fits.argmin())
        edges.append(edges[-1] + max(n, 1))
    return edges[1:-1]


def _fill(blocks, size, first, last, n_nodes, weight):
    """First nodes (S, n) and weights (S, n, W, size) of blocks."""
    low = np.stack([first[:, block].min(axis=1) for block in blocks], axis=1)
    high = np.stack([last[:, block].max(axis=1) for block in blocks], axis=1)
    width = int((high - low).max()) + 1
    low = low.clip(max=n_nodes - width)
    weights = np.zeros((len(first), len(blocks), width, size))
    for star, i in np.ndindex(low.shape):
        pixel = blocks[i]
        place = np.broadcast_to(low[star, i] + np.arange(width), (len(pixel), width))
        begin, end = first[star, pixel][:, None], last[star, pixel][:, None]
        inside = (place >= begin) & (place <= end)
        own = np.where(inside, weight(star, pixel, place), 0.0)
        weights[star, i, :, : len(pixel)] = own.T
    return low, weights
