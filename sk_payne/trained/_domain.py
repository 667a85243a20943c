"""Domain: the region of label space that training spectra fill.

Stars beyond the training box or in its empty corners are extrapolated, with a warning.
"""

import warnings
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import prod

import numpy as np
from scipy.ndimage import maximum_filter

from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.inputs import list_rows

__all__ = ["CATEGORIES", "EDGE", "INSIDE", "OUTSIDE", "Domain", "warn_outside"]

INSIDE, EDGE, OUTSIDE = 0, 1, 2
CATEGORIES = ("inside", "edge", "outside")

_MAX_BINS = 32
# Cells per block of rows.
_MAX_CELLS = 2**22
# Spectra times bins up to which one comparison is faster than searches.
_FEW = 256

# Fraction of stars like the training spectra that may fall in cells empty by chance.
_FALSELY_EMPTY = 0.005


@dataclass(frozen=True)
class Domain:
    """Region of label space that the training spectra of an emulator fill.

    Parameters
    ----------
    label_names : tuple of str
        Names of the labels.
    low, high : ndarray of shape (n_labels,)
        Limits of the training box, in the units of the labels.
    margin : ndarray of shape (n_labels,)
        Width of the edge around the box. If spectra are drawn uniformly, the range they
        are drawn from exceeds the range they fill by at most ``ln(100) / n`` at each
        end, with 99 % confidence.
    bin_edges : ndarray of shape (n_labels, n_bins)
        Upper edges of the bins of each label, padded with infinity.
    cells : ndarray of shape (n_pairs, n_bins, n_bins), uint8
        Category of each cell, a pair of bins of a pair of labels; pairs of labels are
        in the order of ``itertools.combinations``.

    Notes
    -----
    The category of a star is the worst among its labels and pairs of labels. Inside: in
    the box and in a cell with spectra. Edge: beyond the box by at most `margin`, or in
    an empty cell with spectra in one of its eight neighbours. Outside: anything else.

    Bins hold equal numbers of spectra, or single nodes of a regular grid that is more
    than half full. For independent labels a cell with n spectra on average is empty
    with probability exp(-n) (Poisson); the number of bins is the largest that keeps the
    sum over pairs below 0.5 %. Empty corners smaller than a few cells are not detected,
    nor holes that no pair of labels shows.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.trained import Domain
    >>> rng = np.random.default_rng(0)
    >>> teff = rng.uniform(4000, 6000, 1000)
    >>> logg = 4 + (teff - 4000) / 2000 + rng.uniform(-0.1, 0.1, 1000)
    >>> domain = Domain.from_training(np.stack([teff, logg], axis=1), ["teff", "logg"])
    >>> domain.classify(np.array([[5000.0, 4.5], [5900.0, 4.1]]))
    array([0, 2], dtype=int8)
    >>> domain.explain([5900.0, 4.1])
    ['outside: no training spectra near teff = 5900 with logg = 4.1']
    """

    label_names: tuple
    low: np.ndarray
    high: np.ndarray
    margin: np.ndarray
    bin_edges: np.ndarray
    cells: np.ndarray

    @classmethod
    def from_training(cls, labels, label_names):
        """Find the region that a training set fills.

        Parameters
        ----------
        labels : ndarray of shape (n_spectra, n_labels)
            Stellar parameters.
        label_names : sequence of str
            Names of the labels.

        Returns
        -------
        domain : Domain
            The region, with at most 32 bins per label.

        Raises
        ------
        ValueError
            If there is no spectrum, the number of names is wrong, or a value is not
            finite.
        """
        labels = _check_columns(labels, label_names)
        if not labels.size or not np.isfinite(labels).all():
            raise ValueError("`labels` must be finite, of at least one spectrum.")
        n, n_labels = labels.shape
        low, high = labels.min(axis=0), labels.max(axis=0)
        distinct = [_distinct(column) for column in labels.T]
        n_bins = _choose_n_bins(n, [len(values) for values, _ in distinct])
        edges = np.full((n_labels, n_bins), np.inf)
        for upper, (values, counts) in zip(edges, distinct, strict=True):
            inner = _inner_edges(values, counts, n_bins)
            upper[: len(inner)] = inner
        bins = _find_bins(labels, edges)
        pairs = list(combinations(range(n_labels), 2))
        occupied = np.zeros((len(pairs), n_bins, n_bins), np.uint8)
        for cells, (first, second) in zip(occupied, pairs, strict=True):
            cells[bins[first], bins[second]] = 1
        near = maximum_filter(occupied, size=(1, 3, 3), mode="constant")
        margin, cells = _margin(low, high, n), OUTSIDE - occupied - near
        return cls(tuple(label_names), low, high, margin, edges, cells)

    @classmethod
    def from_box(cls, low, high, label_names):
        """Make a domain from the training box alone.

        Parameters
        ----------
        low, high : ndarray of shape (n_labels,)
            Limits of the box.
        label_names : sequence of str
            Names of the labels.

        Returns
        -------
        domain : Domain
            A star is inside if it is in the box, otherwise outside; there is no edge.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_payne.trained import Domain
        >>> box = Domain.from_box(np.array([4000.0]), np.array([6000.0]), ["teff"])
        >>> box.classify(np.array([[4000.0], [6001.0]]))
        array([0, 2], dtype=int8)
        """
        n_pairs = len(low) * (len(low) - 1) // 2
        return cls(
            tuple(label_names),
            low,
            high,
            margin=_rounding(low, high),
            bin_edges=np.full((len(low), 1), np.inf),
            cells=np.full((n_pairs, 1, 1), INSIDE, np.uint8),
        )

    def classify(self, labels):
        """Classify stars as inside, at the edge, or outside.

        Parameters
        ----------
        labels : ndarray of shape (n_spectra, n_labels)
            Stellar parameters; NaN is outside.

        Returns
        -------
        category : ndarray of shape (n_spectra,), int8
            0 inside, 1 edge, 2 outside: positions in `CATEGORIES`.

        Raises
        ------
        ValueError
            If the number of labels is not that of the training.
        """
        labels = _check_columns(labels, self.label_names)
        category = np.empty(len(labels), np.int8)
        for rows in self._row_blocks(labels):
            box = self._box_category(labels[rows]).max(axis=1)
            cells = self._pair_categories(labels[rows]).max(axis=0, initial=INSIDE)
            category[rows] = np.maximum(box, cells)
        return category

    def explain(self, labels):
        """Explain why a star is not inside.

        Parameters
        ----------
        labels : array-like of shape (n_labels,)
            Stellar parameters of one star.

        Returns
        -------
        reasons : list of str
            Reasons, the worst first; empty for a star inside. Pairs with a label that
            is outside by itself are left out.

        Raises
        ------
        ValueError
            If the number of labels is not that of the training.
        """
        labels = _check_columns([labels], self.label_names)
        named = zip(self.label_names, labels[0], strict=True)
        shown = [f"{name} = {value:g}" for name, value in named]
        box = self._box_category(labels)[0]
        reasons = [
            (box[i], f"{shown[i]} is beyond {self.low[i]:g} to {self.high[i]:g}")
            for i in np.flatnonzero(box)
        ]
        pairs = combinations(range(len(shown)), 2)
        for (i, j), cell in zip(
            pairs, self._pair_categories(labels)[:, 0], strict=True
        ):
            if cell and OUTSIDE not in (box[i], box[j]):
                pair = f"{shown[i]} with {shown[j]}"
                reasons.append((cell, f"no training spectra near {pair}"))
        reasons.sort(key=lambda reason: reason[0], reverse=True)
        return [f"{CATEGORIES[category]}: {reason}" for category, reason in reasons]

    def _box_category(self, labels):
        """Return the category of each label by itself."""
        beyond = np.maximum(self.low - labels, labels - self.high)
        # negated comparisons, so that NaN is outside
        category = (~(beyond <= _rounding(self.low, self.high))).astype(np.int8)
        category[~(beyond <= self.margin)] = OUTSIDE
        return category

    def _pair_categories(self, labels):
        """Return the category of each pair of labels, of shape (n_pairs, n_spectra)."""
        bins = _find_bins(labels, self.bin_edges)
        first, second = _pairs(len(bins))
        n_pairs, n_bins = self.cells.shape[:2]
        cell = (np.arange(n_pairs)[:, None] * n_bins + bins[first]) * n_bins
        return self.cells.ravel()[cell + bins[second]]

    def _row_blocks(self, labels):
        step = max(1, _MAX_CELLS // max(1, len(self.cells)))
        return [slice(i, i + step) for i in range(0, len(labels), step)]


@cache
def _pairs(n_labels):
    """Return the first and the second label of each pair."""
    return np.triu_indices(n_labels, 1)


def _check_columns(labels, names):
    labels = np.asarray(labels, np.float64)
    if labels.ndim != 2 or labels.shape[1] != len(names):
        columns = ", ".join(names)
        raise ValueError(f"`labels` must have columns {columns}; got {labels.shape}.")
    return labels


def _distinct(column):
    """Return distinct values of a label, to 1e-6 of its range, and their counts."""
    step = max(np.ptp(column) * 1e-6, np.finfo(np.float64).tiny)
    low = column.min()
    steps, counts = np.unique(np.rint((column - low) / step), return_counts=True)
    return low + step * steps, counts


def _choose_n_bins(n, n_distinct):
    """Choose the bins per label so that cells of a full box are hardly ever empty."""
    if prod(n_distinct) < 2 * n:  # a regular grid
        return min(max(n_distinct), _MAX_BINS)
    n_pairs = max(1, len(n_distinct) * (len(n_distinct) - 1) // 2)
    per_cell = np.log(n_pairs / _FALSELY_EMPTY)
    return int(np.clip(np.sqrt(n / per_cell), 1, _MAX_BINS))


def _inner_edges(values, counts, n_bins):
    """Return the edges between bins of about equal numbers of spectra, of one label."""
    middle = (values[1:] + values[:-1]) / 2
    if len(values) <= n_bins:
        return middle
    below = counts.cumsum()[:-1]  # spectra below each edge
    quantiles = counts.sum() * np.arange(1, n_bins) / n_bins
    after = np.searchsorted(below, quantiles).clip(1, len(below) - 1)
    is_before_closer = quantiles - below[after - 1] < below[after] - quantiles
    return middle[np.unique(after - is_before_closer)]


def _find_bins(labels, edges):
    """Return the bin of each label, of shape (n_labels, n_spectra)."""
    if labels.shape[0] * edges.shape[1] <= _FEW:
        # one comparison of all labels is faster than one search for each
        bins = (edges[:, None] <= labels.T[:, :, None]).sum(axis=-1)
        return np.minimum(bins, edges.shape[1] - 1)
    pairs = zip(edges, labels.T, strict=True)
    bins = [np.searchsorted(upper, column, side="right") for upper, column in pairs]
    return np.minimum(bins, edges.shape[1] - 1)


def _rounding(low, high):
    # float32 labels at the edge of a float64 box are beyond it by rounding
    return 1e-6 * np.maximum(np.abs(low), np.abs(high))


def _margin(low, high, n_training):
    return np.log(100) / n_training * (high - low) + _rounding(low, high)


def warn_outside(labels, domain, *, stacklevel=3):
    """Warn about stars outside the domain of an emulator, but not at its edge.

    Parameters
    ----------
    labels : ndarray of shape (n_spectra, n_labels)
        Stellar parameters.
    domain : Domain
        Domain of the emulator.
    stacklevel : int, default=3
        Level of the stack whose line the warning shows.

    Warns
    -----
    ExtrapolationWarning
        The message names labels, ranges and rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.trained import Domain, warn_outside
    >>> domain = Domain.from_training(np.linspace([4000.0], [6000.0], 1000), ["teff"])
    >>> warn_outside(np.array([[4500.0], [6001.0]]), domain)
    """
    out = np.flatnonzero(domain.classify(labels) == OUTSIDE)
    if not len(out):
        return
    beyond = domain._box_category(labels[out]) == OUTSIDE
    is_beyond, in_corner = np.zeros((2, len(labels)), bool)
    is_beyond[out], in_corner[out] = beyond.any(axis=1), ~beyond.any(axis=1)
    if is_beyond.any():
        ranges = ", ".join(
            f"{domain.label_names[i]} ({domain.low[i]:g} to {domain.high[i]:g})"
            for i in np.flatnonzero(beyond.any(axis=0))
        )
        warnings.warn(
            f"{np.count_nonzero(is_beyond)} of {len(labels)} rows lie outside the "
            f"training range of {ranges}: {list_rows(is_beyond)}. The emulator "
            "extrapolates there.",
            ExtrapolationWarning,
            stacklevel=stacklevel,
        )
    if in_corner.any():
        first = np.argmax(in_corner)
        reason = domain.explain(labels[first])[0].removeprefix("outside: ")
        warnings.warn(
            f"{np.count_nonzero(in_corner)} of {len(labels)} rows lie in a corner of "
            f"the training range that holds no spectra: {list_rows(in_corner)}. For "
            f"row {first} there are {reason}. The emulator extrapolates there.",
            ExtrapolationWarning,
            stacklevel=stacklevel,
        )
