"""Attention maps: weights of the tokens of a transformer at each wavelength."""

import contextlib

import numpy as np
import torch
from sklearn.utils import Bunch

from sk_payne.inspection._axes import (
    broken_lines,
    covered_lines,
    segments_of,
    wavelength_label,
)
from sk_payne.inspection._display import BunchDisplay
from sk_payne.inspection._opened import (
    open_emulator,
    require_transformer,
    wavelength_axis,
)
from sk_payne.networks import pixel_blocks
from sk_payne.spectra import check_covered

__all__ = ["AttentionDisplay", "attention_maps"]

# In inches: height of an element in a strip of lines, and width and height of a panel
# of the overview.
_ELEMENT = 0.16
_PANEL = (2.3, 1.0)

# Quantile of the attention at the end of the colour scale: few pixels are far above.
_BRIGHTEST = 0.998


def attention_maps(emulator, P, wavelength=None, layers=None):
    r"""Compute the attention of each wavelength over the tokens, by layer and head.

    .. math:: A = \mathrm{softmax}(s\,Q K^\top)

    is recomputed from the weights of the network, with an explicit softmax in a
    separate forward pass; the flux of that pass is returned as a check.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted transformer.
    P : array-like of shape (n_spectra, n_labels)
        Stellar parameters of one star, or of stars to average over.
    wavelength : array-like of shape (n_wavelengths,), default=None
        Wavelengths in Å, in the medium of the emulator and within its range; if None,
        its grid.
    layers : sequence of int, default=None
        Numbers of the layers, counted from 0; if None, all.

    Returns
    -------
    attention : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        attention : ndarray of shape (n_layers, n_heads, n_tokens, n_wavelengths)
            Mean attention over spectra; its sum over tokens is one.
        layers : ndarray of shape (n_layers,), int
            Numbers of the layers.
        wavelength : ndarray of shape (n_wavelengths,)
            Wavelengths in Å, or pixel numbers.
        medium : {"air", "vacuum"} or None
            Medium of the wavelengths; None for pixels.
        flux : ndarray of shape (n_spectra, n_wavelengths)
            Flux, as from `predict`.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If the emulator is no transformer, or an argument is not allowed.
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
    with torch.no_grad(), _recording(network) as recorded:
        for stars in pixel_blocks(len(labels), n, labels.device):
            context = network.context(labels[stars])
            for pixels in pixel_blocks(n, 1, labels.device):
                recorded.clear()
                scaled = network.at(context, log_wavelength[pixels])
                flux[stars, pixels] = module.unscale(scaled).cpu().numpy()
                weights = torch.stack([recorded[i].sum(dim=0).mT for i in layers])
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
    """Record the attention of each layer, of shape (B, H, P, T), in a list."""
    recorded = []

    def record(attention, inputs, _):
        recorded.append(attention.attention_weights(*inputs))

    with contextlib.ExitStack() as stack:
        for layer in network.layers:
            hook = layer.attention.register_forward_hook(record)
            stack.callback(hook.remove)
        yield recorded


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
            "`wavelength` cannot be chosen: the emulator was trained without "
            "wavelengths; pass `wavelength=` and `medium=` to SpectrumEmulator."
        )
    wavelength = np.array(wavelength, dtype=np.float64)
    if wavelength.ndim != 1 or not len(wavelength):
        raise ValueError(
            "`wavelength` must be a 1-D array of numbers in Å; got the shape "
            f"{wavelength.shape}."
        )
    check_covered(wavelength, grid)
    return wavelength


class AttentionDisplay(BunchDisplay):
    """Maps of attention, tokens against wavelength.

    Parameters
    ----------
    attention : Bunch
        Result of :func:`attention_maps`, with increasing wavelengths.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes
        Axes of the maps, the mean spectrum and the lines, if drawn by :meth:`plot`;
        axes of shape (n_layers, n_heads), if drawn by :meth:`plot_overview`.
    images_ : list of matplotlib NonUniformImage
        The maps.
    lines_ : list of matplotlib LineCollection
        Marks of spectral lines.
    figure_ : matplotlib Figure
        Figure of the last plot; :meth:`plot` and :meth:`plot_overview` set all.

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

    _compute = staticmethod(attention_maps)

    def __init__(self, attention):
        self.attention = attention

    def of(self, layer, head):
        """Attention of one head.

        Parameters
        ----------
        layer, head : int
            Numbers of layer and head, counted from 0 in the whole network.

        Returns
        -------
        weights : ndarray of shape (n_tokens, n_wavelengths)
            Attention.

        Raises
        ------
        ValueError
            If the layer or head is not in the maps.
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
            Numbers of layer and head of one head, or sequences for several; counted
            from 0 in the whole network.
        ax : sequence of matplotlib Axes, default=None
            Axes for each head, for the spectrum and, if `lines` are given, for the
            strip. If None, a new figure.
        lines : mapping of str to array-like of float, default=None
            Elements, and the wavelengths of their lines in Å, in the medium of the
            emulator. Each element is a row of the strip.
        image_kwargs : dict, default=None
            Style of the maps.

        Returns
        -------
        display : AttentionDisplay
            Itself.
        """
        heads = [(int(i), int(j)) for i, j in np.broadcast(layer, head)]
        maps = [self.of(*numbers) for numbers in heads]
        strip = [_ELEMENT * len(lines) + 0.1] if lines else []
        heights = [0.1 * len(weights) + 0.3 for weights in maps] + [0.8, *strip]
        self._on_panels(
            *(ax, len(heights)),
            sharex=True,
            figsize=(10, sum(heights) + 0.3 * len(maps) + 0.6),
            height_ratios=heights,
        )
        self.images_ = []
        for panel, numbers, weights in zip(self.ax_, heads, maps, strict=False):
            style = _image_style(weights, image_kwargs)
            self.images_.append(self._draw_map(panel, weights, style))
            self._draw_colorbar(panel)
            panel.set_ylabel("token")
            panel.set_title("layer {}, head {}".format(*numbers), fontsize="medium")
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
            Style of the maps.

        Returns
        -------
        display : AttentionDisplay
            Itself.
        """
        shape = self.attention.attention.shape[:2]
        width = max(_PANEL[0], 7 / shape[1]) * shape[1] + 1.2
        height = _PANEL[1] * shape[0] + 0.8
        self._on_panels(ax, *shape, sharex=True, sharey=True, figsize=(width, height))
        self.ax_ = self.ax_.reshape(shape)
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
        """Draw one row of ticks for each element."""
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
    """Insert two empty columns into each gap, one pixel from its ends."""
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
    """Style of a map, whose colours end at a high quantile of the attention."""
    vmax = float(np.quantile(weights, _BRIGHTEST))
    return {"cmap": "magma", "vmin": 0.0, "vmax": vmax} | (image_kwargs or {})
