"""Weighted sums of neighbouring nodes, one for each pixel of many stars."""

import numpy as np
import torch

__all__ = ["Bands", "Quadrature", "rows_of", "split_by_size"]

# Largest number of pixels in a block of the matrix.
_BLOCK = 64

# Largest width of a block in units of its longest band, besides `_BLOCK` nodes.
_SPAN = 1.5


class Bands:
    """Product with a matrix that is zero outside a narrow band.

    Pixels are divided into blocks; each block is a product with consecutive nodes. A
    block is not much wider than the bands of its pixels, and blocks of different widths
    are kept apart: a pixel needs at most six times the nodes of its band plus 128
    numbers of memory.

    Parameters
    ----------
    first, last : ndarray of int, shape (S, P)
        First and last node of the band of each pixel; S is the number of stars, or 1
        if all share one sampling.
    n_nodes : int
        Number of nodes.
    weight : callable
        ``weight(star, pixel, place)`` returns the weights of the nodes `place` in n
        pixels, both of shape (n, W); weights outside the bands are ignored.
    is_mean : bool, default=False
        True to divide the weights of each pixel by their sum.
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
                # pixels that pad a block have no weights
                weights = weights / weights.sum(axis=2, keepdims=True).clip(1e-300)
            group = (torch.tensor(values, device="cpu") for values in (begin, weights))
            self._groups.append(tuple(group))
        self._n_pixels = n_pixels
        in_order = (place == np.arange(n_pixels)).all()
        self._place = None if in_order else torch.tensor(place, device="cpu")

    @property
    def n_numbers(self):
        """Number of values in memory."""
        return sum(weights.numel() for _, weights in self._groups)

    def __call__(self, values, rows):
        """Sum the nodes of each pixel by their weights.

        Parameters
        ----------
        values : Tensor of shape (n, K, n_nodes)
            Values at the nodes.
        rows : Tensor of int, shape (n,)
            Star of each row of `values`.

        Returns
        -------
        seen : Tensor of shape (n, K, P)
            Sums at the pixels.
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
    """Weighted sums of the points of each pixel, the same number for all.

    Parameters
    ----------
    weights : ndarray of shape (G,)
        Weights of the points of a pixel, the same for all pixels.
    """

    def __init__(self, weights):
        self._weights = torch.tensor(weights, device="cpu")

    n_numbers = 0

    def __call__(self, values, rows):
        """Sum the points of values (n, K, P * G) by their weights, to (n, K, P)."""
        if len(self._weights) == 1:
            return values
        values = values.unflatten(2, (-1, len(self._weights)))
        return values @ self._weights.to(values)


def split_by_size(numbers, factor):
    """Group numbers by size: each is within a factor of the largest of its group.

    Parameters
    ----------
    numbers : ndarray of shape (n,)
        Positive numbers.
    factor : float
        Largest ratio in a group, above one.

    Yields
    ------
    place : ndarray of int
        Indices of the numbers of one group, in order.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.abundances._bands import split_by_size
    >>> [place.tolist() for place in split_by_size(np.array([5, 50, 4, 40]), 2.0)]
    [[1, 3], [0, 2]]
    """
    left = np.arange(len(numbers))
    while len(left):
        mine = numbers[left] * factor > numbers[left].max()
        yield left[mine]
        left = left[~mine]


def rows_of(values, rows):
    """Return the rows of some stars; a single row serves all stars."""
    if len(values) == 1:
        return values.expand(len(rows), *values.shape[1:]).to(rows.device)
    return values[rows.cpu()].to(rows.device)


def _blocks(first, last):
    """Yield lists of blocks of pixels, each of similar width and size."""
    for pixels in split_by_size((last - first).max(axis=0) + 1, 2.0):
        edges = _edges(first[:, pixels], last[:, pixels])
        blocks = np.split(pixels, edges)
        sizes = np.array([len(block) for block in blocks])
        # a short block at the end is not worth another product
        is_full = len(blocks) * sizes.max() <= 2 * len(pixels) + _BLOCK
        for place in [range(len(blocks))] if is_full else split_by_size(sizes, 2.0):
            yield [blocks[i] for i in place]


def _edges(first, last):
    """First pixels of the second and later blocks, not much wider than their bands."""
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
        banded = np.where(inside, weight(star, pixel, place), 0.0)
        weights[star, i, :, : len(pixel)] = banded.T
    return low, weights
