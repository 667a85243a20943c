"""Lines of elements to mark in a picture, from a line list."""

import click
import numpy as np

from sk_payne.grids import lines_by_element, read_line_list
from sk_payne.spectra import convert_medium

__all__ = ["line_marks", "line_options"]


def line_options(command):
    """Add the options of spectral lines to a command.

    Parameters
    ----------
    command : callable
        Takes `lines`, `element`, `n_lines` and `lines_medium`.

    Returns
    -------
    command : callable
        With the options.
    """
    for decorate in (
        click.option(
            "--lines-medium",
            type=click.Choice(("air", "vacuum")),
            help="Medium of the line list, if it does not state it; linemake uses air.",
        ),
        click.option(
            "--n-lines",
            type=click.IntRange(1),
            default=5,
            show_default=True,
            help="Number of lines of each element, the strongest ones.",
        ),
        click.option(
            "--element",
            multiple=True,
            help='Element, molecule or ion ("Fe", "CN", "Fe 2"); can be repeated.',
        ),
        click.option(
            "--lines",
            metavar="FILE",
            help="A line list of VALD, Kurucz, MOOG or linemake, or CSV.",
        ),
    ):
        command = decorate(command)
    return command


def line_marks(values, medium, wavelength_range):
    """Pick the lines that the options ask for.

    Parameters
    ----------
    values : dict
        Values of the options.
    medium : {"air", "vacuum"}
        Medium of the wavelengths of the spectrum.
    wavelength_range : (float, float)
        First and last wavelength of the spectrum in Å.

    Returns
    -------
    marks : dict of str to ndarray, or None
        Wavelengths of each element in the medium of the spectrum; None if no lines are
        asked for.

    Raises
    ------
    ValueError
        If one of --lines and --element is missing, or the medium of the list is not
        known.
    """
    if not values["lines"] and not values["element"]:
        return None
    if not (values["lines"] and values["element"]):
        raise ValueError(
            "--lines and --element go together: a line list, and the elements whose "
            "lines are marked."
        )
    try:
        found = read_line_list(values["lines"], medium=values["lines_medium"])
    except ValueError as error:
        message = str(error).replace('`medium="air"`', "--lines-medium air")
        message = message.replace('`medium="vacuum"`', "--lines-medium vacuum")
        raise type(error)(message) from error
    stated = found.meta["medium"]
    ends = convert_medium(np.asarray(wavelength_range, dtype=float), medium, stated)
    marks = lines_by_element(found, values["element"], tuple(ends), n=values["n_lines"])
    return {
        name: convert_medium(wavelengths, stated, medium)
        for name, wavelengths in marks.items()
    }
