"""`sk-payne plot`: a star, its fit, and lines of elements."""

from pathlib import Path

import click

from sk_payne.command._config import config_option
from sk_payne.command._diagnosis import Demands
from sk_payne.command._fit_plots import draw
from sk_payne.command._line_marks import line_marks, line_options
from sk_payne.command._output import with_output
from sk_payne.command._regressor import make_regressor
from sk_payne.command._star_options import star_options
from sk_payne.command._star_reader import StarReader
from sk_payne.emulators import load
from sk_payne.inspection import SpectrumFitDisplay

__all__ = ["plot"]

_EXAMPLES = """\b
Examples:
  sk-payne plot star.fits --emulator dwarfs-4500-4600 --out fit.png
  sk-payne plot star.fits --emulator dwarfs-4500-4600 --out fit.pdf \\
      --lines vald.txt --element Ti --element "Fe 1" --n-lines 10

\b
Exit codes:
  0  the picture is written
  1  the input is at fault
  2  the command line is at fault
"""


@click.command("plot", epilog=_EXAMPLES)
@click.argument("file")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The picture: .png, .pdf or .svg.",
)
@click.option(
    "--spectrum",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Number of the spectrum, from 0, if FILE has several.",
)
@line_options
@star_options
@config_option
@with_output
def plot(file, emulator, out, output, **values):
    """Measure the star of FILE, and draw its fit and the residuals.

    A VALUE is a number; LOW,HIGH for limits between which it is fitted; a word; or
    none.
    """
    regressor = make_regressor(load(emulator), values)
    demands = Demands.of(regressor, values["medium"])
    reader = StarReader(demands, values["format"], values["read"] or {})
    stars = reader(file)
    number = values["spectrum"]
    if number >= len(stars):
        raise ValueError(
            f"--spectrum must be below {len(stars)}, the number of spectra of "
            f"'{file}'; got {number}."
        )
    display = SpectrumFitDisplay.from_regressor(regressor, [stars[number]])
    marks = line_marks(values, display.medium, display.wavelength[[0, -1]])
    draw(display, out, lines=marks)
    output.say(display.title)
    output.say(f"Wrote {out}")
    output.result({"out": str(out), "title": display.title})
