"""Head-element scores: how well attention marks spectral lines, with p-values."""

import numpy as np
from scipy.stats import false_discovery_control
from sklearn.utils import Bunch

from sk_payne.inspection._axes import (
    broken_lines,
    covered_lines,
    draw_matrix,
    mark_lines,
    wavelength_label,
)
from sk_payne.inspection._display import Display

__all__ = ["HeadElementDisplay", "head_element_scores"]

# Tolerance of equal scores: rounding errors of the Fourier transforms.
_ROUNDING = 1e-9

# Largest p-value of a head with a dot in the map.
_MARKED = 0.01


def head_element_scores(attention, lines, *, half_width=0.1):
    r"""Score how well attention marks the lines of elements.

    The score of a token of a head for an element is the mean of its attention,
    standardised over wavelength, at the lines of the element, minus the mean elsewhere:

    .. math:: S = \langle z \rangle_{|\lambda - \lambda_i| \le w}
        - \langle z \rangle_\mathrm{elsewhere} , \qquad z = (A - \bar A) / \sigma_A .

    The null hypothesis is the same pattern of lines at wrong wavelengths. The pattern
    is shifted along the wavelengths, circularly, by every number of pixels, zero
    included; the p-value is the fraction of shifts with a score at least as high.
    Unlike shuffled pixels, shifts keep the smoothness of attention and the pattern of
    the lines. The score of a head, at each shift, is that of its best token.

    Parameters
    ----------
    attention : Bunch
        Result of :func:`attention_maps`, at wavelengths with even steps.
    lines : mapping of str to array-like of float
        Elements, and the wavelengths of their lines in Å, in the medium of the
        emulator. Elements without a line in the range are left out.
    half_width : float, default=0.1
        Half width w of the window around a line in Å; about the width of a line.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        score : ndarray of shape (n_layers, n_heads, n_tokens, n_elements)
            Score S; 0 for attention that is the same everywhere.
        p_value : ndarray of shape (n_layers, n_heads, n_tokens, n_elements)
            P-value of each token.
        head_token : ndarray of shape (n_layers, n_heads, n_elements), int
            Token with the highest score.
        head_score, head_p_value : ndarray of shape (n_layers, n_heads, n_elements)
            Score of this token, and its p-value among the best tokens of all shifts.
        head_null_95 : ndarray of shape (n_layers, n_heads, n_elements)
            95 % quantile of the score of the best token over all shifts.
        elements : list of str
            Elements of the last axis.
        n_lines, n_pixels : ndarray of shape (n_elements,), int
            Number of lines in the range, and of pixels within `half_width` of a line.
        layers : ndarray of shape (n_layers,), int
            Numbers of the layers.
        table : structured ndarray of shape (n_layers * n_heads * n_elements,)
            All heads and elements, the best first, with the fields "layer", "head",
            "token", "element", "score", "margin" (score minus that of the best other
            element for the same token), "p_value" (of the head) and "q_value" (false
            discovery rate of Benjamini and Hochberg, if all rows up to this p-value are
            accepted).

    Raises
    ------
    ValueError
        If no line is in the range, windows cover all pixels, or `half_width` is not
        positive.

    Notes
    -----
    Lines of many elements are close to each other, so that a head that marks all lines
    has high scores for many elements; its "margin" is then small or negative.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from sk_payne.inspection import head_element_scores
    >>> wavelength = np.linspace(4500, 4510, 201)
    >>> at_line = np.exp(-((wavelength - 4503) / 0.1) ** 2)
    >>> weights = np.stack([0.5 + 0.4 * at_line, 0.5 - 0.4 * at_line])
    >>> attention = Bunch(
    ...     attention=weights[None, None], wavelength=wavelength, layers=np.array([0])
    ... )
    >>> scores = head_element_scores(attention, {"Fe": [4503.0], "Mg": [4507.0]})
    >>> scores.table[["element", "token"]][0]
    np.void(('Fe', 0), dtype={...})
    """
    wavelength = attention.wavelength
    elements, windows, n_lines = _windows(wavelength, lines, half_width)
    shape = (*attention.attention.shape[:3], len(elements))
    head_shape = (*shape[:2], len(elements))
    score, p_value = np.zeros(shape), np.ones(shape)
    token, head_p = np.zeros(head_shape, int), np.ones(head_shape)
    null_95 = np.zeros(head_shape)
    for layer, weights in enumerate(attention.attention):
        spectrum = np.fft.rfft(_standardised(weights))
        for i, window in enumerate(windows):
            shifted = _shifted_scores(spectrum, window)
            unshifted = score[layer, ..., i] = shifted[..., 0]
            p_value[layer, ..., i] = _p_value(shifted, unshifted)
            best = shifted.max(axis=1)
            token[layer, :, i] = unshifted.argmax(axis=1)
            head_p[layer, :, i] = _p_value(best, best[:, 0])
            null_95[layer, :, i] = np.quantile(best, 0.95, axis=1)
    head_score = np.take_along_axis(score, token[:, :, None], axis=2)[:, :, 0]
    return Bunch(
        score=score,
        p_value=p_value,
        head_token=token,
        head_score=head_score,
        head_p_value=head_p,
        head_null_95=null_95,
        elements=elements,
        n_lines=n_lines,
        n_pixels=windows.sum(axis=1),
        layers=attention.layers,
        table=_ranked(score, token, head_score, head_p, attention.layers, elements),
    )


def _windows(wavelength, lines, half_width):
    """Elements with lines in the range, masks of their pixels, numbers of lines."""
    if not half_width > 0:
        raise ValueError(f"`half_width` must be positive, in Å; got {half_width!r}.")
    elements, windows, n_lines = [], [], []
    for name, at in lines.items():
        at = np.asarray(at, dtype=float).ravel()
        at = at[(at >= wavelength[0]) & (at <= wavelength[-1])]
        window = np.zeros(len(wavelength), dtype=bool)
        for line in at:
            window |= np.abs(wavelength - line) <= half_width
        if not window.any():
            continue
        if window.all():
            raise ValueError(
                f"`half_width` must leave pixels without lines; got {half_width} Å, "
                f"with which the {len(at)} lines of {name} cover all. Lower it, or "
                "pass strong lines only."
            )
        elements.append(name)
        windows.append(window)
        n_lines.append(len(at))
    if not elements:
        raise ValueError(
            "`lines` must have one within the range of the attention, "
            f"{wavelength[0]:.2f} to {wavelength[-1]:.2f}; got none that is within "
            f"{half_width} of a pixel. Check the medium and the unit, Å."
        )
    return elements, np.array(windows), np.array(n_lines)


def _standardised(weights):
    center = weights - weights.mean(axis=-1, keepdims=True)
    scatter = center.std(axis=-1, keepdims=True)
    # uniform attention differs by rounding errors only
    flat = scatter <= 1e-12
    return np.where(flat, 0.0, center / np.where(flat, 1.0, scatter))


def _shifted_scores(spectrum, window):
    """Scores with the window shifted by 0, 1, ... pixels, along the last axis.

    Standardised attention has a mean of zero, so a sum s over n of N pixels gives the
    score s / n + s / (N - n). Sums at all shifts are one cross-correlation.
    """
    n = window.sum()
    sums = np.fft.irfft(spectrum * np.conj(np.fft.rfft(window)), len(window))
    return sums * (1 / n + 1 / (len(window) - n))


def _p_value(shifted, score):
    """Fraction of shifts with a score at least as high."""
    return (shifted >= score[..., None] - _ROUNDING).mean(axis=-1)


def _ranked(score, token, head_score, head_p, layers, elements):
    """Table of all heads and elements, the lowest p-value and highest score first."""
    layer, head, element = (index.ravel() for index in np.indices(token.shape))
    token, head_p = token.ravel(), head_p.ravel()
    others = score[layer, head, token]
    others[np.arange(len(others)), element] = np.nan
    margin = np.full(len(others), np.nan)
    if len(elements) > 1:
        margin = head_score.ravel() - np.nanmax(others, axis=1)
    columns = {
        "layer": np.asarray(layers)[layer],
        "head": head,
        "token": token,
        "element": np.array(elements)[element],
        "score": head_score.ravel(),
        "margin": margin,
        "p_value": head_p,
        "q_value": false_discovery_control(head_p),
    }
    table = np.empty(len(token), [(n, c.dtype) for n, c in columns.items()])
    for name, column in columns.items():
        table[name] = column
    return table[np.lexsort([-table["score"], table["p_value"]])]


class HeadElementDisplay(Display):
    """Scores of all heads and elements, and attention of the best heads.

    Parameters
    ----------
    scores : Bunch
        Result of :func:`head_element_scores`.

    Attributes
    ----------
    ax_ : matplotlib Axes or ndarray of them
        Axes of the map drawn by :meth:`plot`, or of the rows drawn by
        :meth:`plot_best`.
    image_ : matplotlib AxesImage
        The map; set by :meth:`plot`.
    figure_ : matplotlib Figure
        Figure of the last plot.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from sk_payne.inspection import HeadElementDisplay, head_element_scores
    >>> wavelength = np.linspace(4500, 4510, 201)
    >>> at_line = np.exp(-((wavelength - 4503) / 0.1) ** 2)
    >>> attention = Bunch(
    ...     attention=np.stack([at_line, 1 - at_line])[None, None],
    ...     wavelength=wavelength, layers=np.array([0]), medium="air",
    ... )
    >>> scores = head_element_scores(attention, {"Fe": [4503.0]})
    >>> HeadElementDisplay(scores).head_names
    ['0.0']
    """

    def __init__(self, scores):
        self.scores = scores

    @property
    def head_names(self):
        """Numbers of layer and head of each row of the map, such as "2.0"."""
        n_heads = self.scores.head_score.shape[1]
        return [f"{i}.{head}" for i in self.scores.layers for head in range(n_heads)]

    def plot(self, ax=None, *, image_kwargs=None):
        """Draw the map of heads and elements; a dot marks p < 0.01.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            If None, a new figure.
        image_kwargs : dict, default=None
            Style of the image.

        Returns
        -------
        display : HeadElementDisplay
            Itself.
        """
        s = self.scores
        values = s.head_score.reshape(-1, len(s.elements))
        p_value = s.head_p_value.reshape(values.shape)
        size = max(4.5, 0.36 * values.shape[1] + 2.4), 0.3 * len(values) + 1.6
        ax = self._on_axes(ax, size)
        names = [f"{name} ({n})" for name, n in zip(s.elements, s.n_lines, strict=True)]
        style = {"cmap": "viridis", "vmin": 0, "aspect": "auto"} | (image_kwargs or {})
        self.image_ = draw_matrix(ax, values, self.head_names, names, **style)
        row, column = np.nonzero(p_value < _MARKED)
        ax.plot(column, row, "o", ms=4, color="w", mec="k", mew=0.7, label="p < 0.01")
        ax.set(xlabel="element (lines)", ylabel="layer.head")
        ax.set_title("attention at lines minus elsewhere; dots: p < 0.01", fontsize=9)
        self.figure_.colorbar(self.image_, ax=ax, label="score of the best token [σ]")
        return self

    def plot_best(self, attention, lines, n_best=4, ax=None, *, line_kwargs=None):
        """Draw attention of the best heads, each for another element, with its lines.

        Parameters
        ----------
        attention : Bunch
            Attention that was scored.
        lines : mapping of str to array-like of float
            Lines that were scored.
        n_best : int, default=4
            Largest number of elements.
        ax : sequence of matplotlib Axes, default=None
            Axes for each element. If None, a new figure.
        line_kwargs : dict, default=None
            Style of the lines of attention.

        Returns
        -------
        display : HeadElementDisplay
            Itself.
        """
        table = self.scores.table
        _, first = np.unique(table["element"], return_index=True)
        rows = table[np.sort(first)[:n_best]]
        height = 1.25 * len(rows) + 0.9
        self._on_panels(ax, len(rows), sharex=True, figsize=(10, height))
        wavelength = attention.wavelength
        layers = list(attention.layers)
        for panel, row in zip(self.ax_, rows, strict=True):
            weights = attention.attention[layers.index(row["layer"]), row["head"]]
            style = {"color": "k", "lw": 0.7} | (line_kwargs or {})
            at = covered_lines(lines[str(row["element"])], wavelength)
            mark_lines(panel, at, color="C1", lw=1.2)
            panel.plot(*broken_lines(wavelength, weights[row["token"]]), **style)
            panel.set_title(
                f"{row['element']}: layer {row['layer']}, head {row['head']}, token "
                f"{row['token']}; score {row['score']:.2f} σ, margin "
                f"{row['margin']:.2f} σ, p = {row['p_value']:.2g}",
                fontsize="small",
                loc="left",
            )
            panel.margins(x=0)
        self.figure_.supylabel("attention", fontsize="medium")
        self.ax_[-1].set_xlabel(wavelength_label(attention.medium))
        return self
