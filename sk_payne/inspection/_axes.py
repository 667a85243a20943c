"""Axes to draw on, and the one place that asks for matplotlib.

It is here because every display starts the same way.
"""

import math

from sk_payne.exceptions import did_you_mean

__all__ = [
    "chosen_labels",
    "import_pyplot",
    "wavelength_label",
    "with_error",
    "with_unit",
]


def import_pyplot():
    """Import matplotlib, or say how to get it.

    Returns
    -------
    pyplot : module
        ``matplotlib.pyplot``.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "Plotting needs matplotlib; install it with pip install 'sk_payne[plot]'."
        ) from error
    return pyplot


def wavelength_label(medium):
    """Label of a wavelength axis."""
    return f"wavelength in {medium} [Å]" if medium else "pixel"


def with_error(value, error):
    """Value and error with two digits of the error."""
    if not (math.isfinite(error) and error > 0):
        return f"{value:.4g} ± {error:.2g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def with_unit(name, unit):
    """Name of a label with its unit, if it has one."""
    return f"{name} [{unit}]" if unit else name


def chosen_labels(labels, known):
    """Names of the labels to draw, all if None.

    Raises
    ------
    ValueError
        If one is not known.
    """
    labels = list(known) if labels is None else list(labels)
    for name in labels:
        if name not in known:
            raise ValueError(
                f"`labels` must be among {list(known)}; got {name!r}."
                f"{did_you_mean(name, known)}"
            )
    return labels
