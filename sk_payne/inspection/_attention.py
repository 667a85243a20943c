"""Where in a spectrum a transformer looks at which token.

It is here because attention is the only part of the network that an eye can read.
"""

import contextlib

import numpy as np
import torch
from sklearn.utils import Bunch

from sk_payne.inspection._axes import (
    broken_lines,
    covered_lines,
    import_pyplot,
    segments_of,
    wavelength_label,
)
from sk_payne.inspection._opened import (
    open_emulator,
    require_transformer,
    wavelength_axis,
)
from sk_payne.networks import pixel_blocks
from sk_payne.spectra import check_covered

__all__ = ["AttentionDisplay", "attention_maps"]

# Inches: height of an element in a strip of lines, and width and height of a panel
# of the overview.
_ELEMENT = 0.16
_PANEL = (2.3, 1.0)

# Part of the attention that the scale of colours covers: few pixels have far more.
_BRIGHTEST = 0.998


def attention_maps(emulator, P, wavelength=None, layers=None):
    r"""Attention of every wavelength over the tokens, layer by layer and head by head.

    .. math:: A = \mathrm{softmax}(s\,Q K^\top)

    is recomputed from the weights of the network with an explicit softmax in a forward
    pass of its own; the flux that comes out is returned as a witness.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted transformer.
    P : array-like of shape (n_spectra, n_labels)
        One star, or stars to average over.
    wavelength : array-like of shape (n_wavelengths,), default=None
        Å, in the medium of the emulator and within its range; if None, its grid.
    layers : sequence of int, default=None
        Which layers, counted from 0; if None, all.

    Returns
    -------
    attention : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        attention : ndarray of shape (n_layers, n_heads, n_tokens, n_wavelengths)
            Mean over spectra; sums to one over tokens.
        layers : ndarray of shape (n_layers,), int
            Which layers.
        wavelength : ndarray of shape (n_wavelengths,)
            Å, or pixel numbers.
        medium : {"air", "vacuum"} or None
            Of the wavelengths; None for pixels.
        flux : ndarray of shape (n_spectra, n_wavelengths)
            What `predict` gives.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If it is of another architecture, or an argument is not allowed.
    WavelengthMismatchError
        If a wavelength is outside the range of the emulator.

    See Also
    --------
    head_element_scores : Whether heads mark the lines of elements.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import attention_maps
    >>> grid = make_spectra(50, n_wavelengths=31, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="transformer", arch_params={"width": 16, "n_layers": 2, "n_tokens": 3},
    ...     label_names=grid.label_names, max_steps=20, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> maps = attention_maps(emulator, grid.data[:5])
    >>> maps.attention.shape
    (2, 1, 3, 31)
    >>> bool(abs(maps.attention.sum(axis=2) - 1).max() < 1e-12)
    True
    """
    module, labels = open_emulator(emulator, P)
    network = require_transformer(module, "`attention_maps`")
    layers = _chosen_layers(layers, network.n_layers)
    axis, medium = wavelength_axis(emulator)
    log_wavelength = module.log_wavelength
    if wavelength is not None:
        axis = _checked_wavelength(wavelength, emulator.wavelength_)
        log_wavelength = torch.from_numpy(np.log10(axis))
    log_wavelength = log_wavelength.to(labels.device)
    n = len(axis)
    flux, total = np.empty((len(labels), n)), None
    with torch.no_grad(), _recording(network) as seen:
        for stars in pixel_blocks(len(labels), n, labels.device):
            context = network.context(labels[stars])
            for pixels in pixel_blocks(n, 1, labels.device):
                seen.clear()
                scaled = network.at(context, log_wavelength[pixels])
                flux[stars, pixels] = module.unscale(scaled).cpu().numpy()
                weights = torch.stack([seen[i].sum(dim=0).mT for i in layers])
                if total is None:
                    total = np.zeros((*weights.shape[:3], n))
                total[..., pixels] += weights.cpu().numpy()
    return Bunch(
        attention=total / len(labels),
        layers=layers,
        wavelength=axis,
        medium=medium,
        flux=flux,
    )


@contextlib.contextmanager
def _recording(network):
    """Keep the weights of all layers, of shape (B, H, P, T) each."""
    seen = []

    def attend(attention, inputs, _):
        seen.append(attention.attention_weights(*inputs))

    with contextlib.ExitStack() as stack:
        for layer in network.layers:
            hook = layer.attention.register_forward_hook(attend)
            stack.callback(hook.remove)
        yield seen


def _chosen_layers(layers, n_layers):
    chosen = np.arange(n_layers) if layers is None else np.atleast_1d(layers)
    good = chosen.ndim == 1 and len(chosen) and np.issubdtype(chosen.dtype, np.integer)
    if not good or not ((chosen >= 0) & (chosen < n_layers)).all():
        raise ValueError(
            f"`layers` must be whole numbers from 0 to {n_layers - 1}; got {layers!r}. "
            "Leave it out for all layers."
        )
    return chosen


def _checked_wavelength(wavelength, grid):
    if grid is None:
        raise ValueError(
            "`wavelength` cannot be chosen: the emulator was trained without; pass "
            "`wavelength=` and `medium=` to SpectrumEmulator."
        )
    wavelength = np.array(wavelength, dtype=np.float64)
    if wavelength.ndim != 1 or not len(wavelength):
        raise ValueError(
            "`wavelength` must be a 1-D array of numbers in Å; got the shape "
            f"{wavelength.shape}."
        )
    check_covered(wavelength, grid)
    return wavelength


class AttentionDisplay:
    """Maps of attention, tokens against wavelength.

    Parameters
    ----------
    attention : Bunch
        From :func:`attention_maps`, with increasing wavelengths.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes
        Of the maps, the mean spectrum and the lines, if drawn by :meth:`plot`; of shape
        (n_layers, n_heads), if drawn by :meth:`plot_overview`.
    images_ : list of matplotlib NonUniformImage
        The maps.
    lines_ : list of matplotlib LineCollection
        Marks of spectral lines.
    figure_ : matplotlib Figure
        All are set by :meth:`plot` and :meth:`plot_overview`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from sk_payne.inspection import AttentionDisplay
    >>> display = AttentionDisplay(Bunch(
    ...     attention=np.full((1, 2, 4, 3), 0.25), layers=np.array([5]),
    ...     wavelength=np.arange(3), medium=None, flux=np.ones((1, 3)),
    ... ))
    >>> display.of(layer=5, head=1).shape
    (4, 3)
    """

    def __init__(self, attention):
        self.attention = attention

    @classmethod
    def from_estimator(cls, emulator, P, wavelength=None, layers=None):
        """Find the attention of an emulator.

        Parameters
        ----------
        emulator : SpectrumEmulator
            Fitted transformer.
        P : array-like of shape (n_spectra, n_labels)
            One star, or stars to average over.
        wavelength : array-like of shape (n_wavelengths,), default=None
            As in :func:`attention_maps`.
        layers : sequence of int, default=None
            As in :func:`attention_maps`.

        Returns
        -------
        display : AttentionDisplay
            Not drawn yet.
        """
        return cls(attention_maps(emulator, P, wavelength, layers))

    def of(self, layer, head):
        """Map of one head.

        Parameters
        ----------
        layer, head : int
            Counted from 0, in the whole network.

        Returns
        -------
        weights : ndarray of shape (n_tokens, n_wavelengths)
            Attention.

        Raises
        ------
        ValueError
            If there is no such layer or head.
        """
        layers = self.attention.layers.tolist()
        n_heads = self.attention.attention.shape[1]
        if layer not in layers:
            raise ValueError(f"`layer` must be one of {layers}; got {layer!r}.")
        if head not in range(n_heads):
            raise ValueError(
                f"`head` must be a whole number from 0 to {n_heads - 1}; got {head!r}."
            )
        return self.attention.attention[layers.index(layer), head]

    def plot(self, layer, head, ax=None, *, lines=None, image_kwargs=None):
        """Draw heads above the mean spectrum and, if given, a strip of lines.

        Parameters
        ----------
        layer, head : int or sequence of int
            Of the head, or one for each of several; counted from 0, in the whole
            network.
        ax : sequence of matplotlib Axes, default=None
            One for each head, one for the spectrum and, with `lines`, one for these. If
            None, a new figure.
        lines : mapping of str to array-like of float, default=None
            Elements, and the wavelengths of their lines in Å, in the medium of the
            emulator. Each element is a row of the strip.
        image_kwargs : dict, default=None
            For the maps.

        Returns
        -------
        display : AttentionDisplay
            Itself.
        """
        heads = [(int(i), int(j)) for i, j in np.broadcast(layer, head)]
        maps = [self.of(*where) for where in heads]
        if ax is None:
            strip = [_ELEMENT * len(lines) + 0.1] if lines else []
            heights = [0.1 * len(weights) + 0.3 for weights in maps] + [0.8, *strip]
            _, ax = import_pyplot().subplots(
                len(heights),
                1,
                sharex=True,
                figsize=(10, sum(heights) + 0.3 * len(maps) + 0.6),
                height_ratios=heights,
                layout="constrained",
            )
        self.ax_ = np.asarray(ax, dtype=object).ravel()
        self.figure_ = self.ax_[0].figure
        self.images_ = []
        for panel, where, weights in zip(self.ax_, heads, maps, strict=False):
            style = _image_style(weights, image_kwargs)
            self.images_.append(self._draw_map(panel, weights, style))
            self._draw_colorbar(panel)
            panel.set_ylabel("token")
            panel.set_title("layer {}, head {}".format(*where), fontsize="medium")
        spectrum = self.ax_[len(maps)]
        mean = broken_lines(self.attention.wavelength, self.attention.flux.mean(axis=0))
        spectrum.plot(*mean, color="0.2", lw=0.6)
        spectrum.set_ylabel("mean flux")
        self.lines_ = self._draw_strip(self.ax_[-1], lines) if lines else []
        self.ax_[-1].set_xlabel(wavelength_label(self.attention.medium))
        self.ax_[-1].set_xlim(*self.attention.wavelength[[0, -1]])
        self.figure_.align_ylabels(self.ax_)
        return self

    def plot_overview(self, ax=None, *, image_kwargs=None):
        """Draw all layers and heads, with one scale of colours.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, shape (n_layers, n_heads), default=None
            If None, a new figure.
        image_kwargs : dict, default=None
            For the maps.

        Returns
        -------
        display : AttentionDisplay
            Itself.
        """
        shape = self.attention.attention.shape[:2]
        if ax is None:
            width = max(_PANEL[0], 7 / shape[1]) * shape[1] + 1.2
            _, ax = import_pyplot().subplots(
                *shape,
                sharex=True,
                sharey=True,
                squeeze=False,
                figsize=(width, _PANEL[1] * shape[0] + 0.8),
                layout="constrained",
            )
        self.ax_ = np.asarray(ax, dtype=object).reshape(shape)
        self.figure_ = self.ax_[0, 0].figure
        self.images_, self.lines_ = [], []
        style = _image_style(self.attention.attention, image_kwargs)
        for (i, head), panel in np.ndenumerate(self.ax_):
            weights = self.attention.attention[i, head]
            self.images_.append(self._draw_map(panel, weights, style))
            if head == 0:
                panel.set_ylabel(f"layer {self.attention.layers[i]}\ntoken")
            if i == 0:
                panel.set_title(f"head {head}", fontsize="medium")
        self.figure_.supxlabel(
            wavelength_label(self.attention.medium), fontsize="medium"
        )
        self._draw_colorbar(self.ax_)
        return self

    def _draw_map(self, ax, weights, style):
        from matplotlib.image import NonUniformImage

        limits = style["vmin"], style["vmax"]
        style = {key: v for key, v in style.items() if key not in ("vmin", "vmax")}
        x, n_tokens = self.attention.wavelength, len(weights)
        edges = (x[0], x[-1], -0.5, n_tokens - 0.5)
        image = NonUniformImage(ax, interpolation="nearest", extent=edges, **style)
        image.set_data(*_empty_in_gaps(x, np.arange(n_tokens), weights))
        image.set_clim(*limits)
        ax.add_image(image)
        ax.set(xlim=edges[:2], ylim=edges[2:])
        ax.yaxis.get_major_locator().set_params(integer=True)
        return image

    def _draw_colorbar(self, ax):
        self.figure_.colorbar(
            self.images_[-1], ax=ax, label="attention", pad=0.01, extend="max"
        )

    def _draw_strip(self, ax, lines):
        """Draw one row of ticks for every element."""
        marks = []
        for row, (name, wavelengths) in enumerate(lines.items()):
            at = covered_lines(wavelengths, self.attention.wavelength)
            style = {"color": f"C{row % 10}", "lw": 0.9, "label": name}
            marks.append(ax.vlines(at, row - 0.42, row + 0.42, **style))
        ax.set_yticks(range(len(lines)), list(lines), fontsize="x-small")
        ax.set_ylim(len(lines) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        return marks


def _empty_in_gaps(x, y, values):
    """Put an empty column at either end of each gap, a pixel from its ends."""
    segments = segments_of(x)
    columns, images = [], []
    for part in segments:
        columns.append(x[part])
        images.append(values[:, part])
        if part is not segments[-1]:
            before, behind = x[part.stop - 1], x[part.stop]
            step = np.median(np.diff(x))
            columns.append([before + step, behind - step])
            images.append(np.full((len(y), 2), np.nan))
    return np.concatenate(columns), y, np.hstack(images)


def _image_style(weights, image_kwargs):
    """Colours up to what all but a few pixels stay below."""
    vmax = float(np.quantile(weights, _BRIGHTEST))
    return {"cmap": "magma", "vmin": 0.0, "vmax": vmax} | (image_kwargs or {})
