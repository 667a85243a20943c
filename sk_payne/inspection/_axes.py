"""Axes to draw on, and the one place that asks for matplotlib.

It is here because every display starts the same way.
"""

__all__ = ["import_pyplot", "wavelength_label"]


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
