"""Parts of pictures that several displays share, and the import of matplotlib."""

import math

import numpy as np

from sk_payne.exceptions import did_you_mean
from sk_payne.spectra import break_at_gaps, grid_segments, is_covered

__all__ = [
    "broken_lines",
    "chosen_labels",
    "chosen_snr",
    "covered_lines",
    "draw_matrix",
    "import_pyplot",
    "legend_above",
    "mark_lines",
    "new_panels",
    "segments_of",
    "wavelength_label",
    "with_error",
    "with_unit",
]


def import_pyplot():
    """Import matplotlib.

    Returns
    -------
    pyplot : module
        ``matplotlib.pyplot``.

    Raises
    ------
    ImportError
        If matplotlib is not installed; the message says how to install it.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "Plotting needs matplotlib; install it with pip install 'sk_payne[plot]'."
        ) from error
    return pyplot


def new_panels(n, n_columns, size, margin=(0, 0), **options):
    """Figure with n panels in rows of `n_columns`; sizes are in inches.

    Returns the figure and an array of its n axes.
    """
    n_columns = min(n, n_columns)
    n_rows = math.ceil(n / n_columns)
    figure, ax = import_pyplot().subplots(
        n_rows,
        n_columns,
        figsize=(size[0] * n_columns + margin[0], size[1] * n_rows + margin[1]),
        squeeze=False,
        layout="constrained",
        **options,
    )
    for unused in ax.flat[n:]:
        unused.remove()
    return figure, ax.flat[:n]


def legend_above(ax, side="right", **options):
    """Add a legend above the axes, at their left or right end."""
    return ax.legend(
        loc=f"lower {side}",
        bbox_to_anchor=(float(side == "right"), 1),
        fontsize="small",
        frameon=False,
        **options,
    )


def draw_matrix(ax, values, row_names, column_names, **style):
    """Draw a matrix as an image, with the names of its rows and columns."""
    image = ax.imshow(values, **style)
    ax.set_xticks(range(len(column_names)), column_names, rotation=90)
    ax.set_yticks(range(len(row_names)), row_names)
    return image


def mark_lines(ax, at, low=0, high=1, **style):
    """Draw vertical marks at wavelengths; low and high are fractions of the axes."""
    return ax.vlines(at, low, high, transform=ax.get_xaxis_transform(), **style)


def segments_of(wavelength):
    """Segments between gaps of an axis of wavelengths in Å; one for pixel numbers."""
    if _are_pixels(wavelength):
        return [slice(0, len(wavelength))]
    return grid_segments(wavelength)


def broken_lines(wavelength, *values):
    """Wavelengths and values with NaN in gaps, so that no line crosses a gap."""
    if _are_pixels(wavelength):
        return [wavelength, *values]
    return break_at_gaps(wavelength, *values)


def covered_lines(at, wavelength):
    """Wavelengths of spectral lines that lie on an axis, but not in its gaps."""
    at = np.asarray(at, dtype=float)
    if _are_pixels(wavelength):
        return at[(at >= wavelength[0]) & (at <= wavelength[-1])]
    return at[is_covered(at, at, wavelength)]


def _are_pixels(wavelength):
    return np.asarray(wavelength).dtype.kind in "iu"


def wavelength_label(medium):
    """Label of a wavelength axis."""
    return f"wavelength in {medium} [Å]" if medium else "pixel"


def with_error(value, error):
    """Text of a value and its error, with two digits of the error."""
    if not (math.isfinite(error) and error > 0):
        return f"{value:.4g} ± {error:.2g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def with_unit(name, unit):
    """Name of a label with its unit, if it has one."""
    return f"{name} [{unit}]" if unit else name


def chosen_labels(labels, known):
    """Names of the labels to draw: `labels`, or all known ones if None.

    Raises
    ------
    ValueError
        If a label is unknown.
    """
    labels = list(known) if labels is None else list(labels)
    for name in labels:
        if name not in known:
            raise ValueError(
                f"`labels` must be among {list(known)}; got {name!r}."
                f"{did_you_mean(name, known)}"
            )
    return labels


def chosen_snr(snr, known):
    """Signal-to-noise ratio to draw: `snr`, or the largest known one if None.

    Raises
    ------
    ValueError
        If the ratio is unknown.
    """
    snr = max(known) if snr is None else snr
    if snr not in known:
        raise ValueError(f"`snr` must be one of {known.tolist()}; got {snr}.")
    return snr
