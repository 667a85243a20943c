"""`sk-payne report`: a page that judges an emulator, or shows a table of stars."""

from pathlib import Path

import click
from astropy.table import QTable

from sk_payne.abundances import read_catalogue
from sk_payne.command._grid import grid_options, named_grid
from sk_payne.command._kinds import describe_path, read_stars
from sk_payne.command._line_marks import line_marks, line_options
from sk_payne.command._output import with_output
from sk_payne.emulators import load
from sk_payne.inspection import catalogue_report, emulator_report

__all__ = ["report"]

_EXAMPLES = """\b
Examples:
  sk-payne report dwarfs-4500-4600 --grid shipped --out emulator.html
  sk-payne report mine.safetensors --grid grid.npz --rows 900: --out m.html
  sk-payne report stars.ecsv --out stars.html

\b
Exit codes:
  0  the page is written
  1  the input is at fault
  2  the command line is at fault
"""


@click.command("report", epilog=_EXAMPLES)
@click.argument("what")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The page, .html.",
)
@click.option("--title", help="Title of the page.")
@click.option(
    "--grid",
    help="Spectra that the emulator was not trained on: a grid, or 'shipped' for the "
    "test spectra that come with sk_payne.",
)
@click.option(
    "--rows",
    metavar="FIRST:END",
    help="Rows of the grid, counted from 0; END is not included.",
)
@click.option(
    "--snr",
    type=float,
    default=100.0,
    show_default=True,
    help="Signal-to-noise ratio per pixel for which the errors of labels are given.",
)
@grid_options
@line_options
@with_output
def report(what, out, title, grid, rows, output, **values):
    """Write a page about WHAT: an emulator, or a table of stars.

    The page is one HTML file without scripts or links. For an emulator, its errors are
    determined on the spectra of --grid. A table of stars is a file of `sk-payne
    measure`, or a folder of sk_payne.abundances.measure_catalogue.
    """
    kind, _ = describe_path(what)
    _use_agg()
    if kind in ("table of stars", "catalogue"):
        named = {} if title is None else {"title": title}
        catalogue_report(_table(what), out, **named)
    elif kind == "emulator":
        if grid is None:
            raise ValueError(
                "--grid must name spectra that the emulator has not seen; 'shipped' "
                "are the test spectra that come with sk_payne."
            )
        _report_emulator(load(what), out, title, grid, rows, values)
    else:
        raise ValueError(
            f"WHAT must be an emulator or a table of stars; '{what}' is a {kind}."
        )
    output.say(f"Wrote {out}")
    output.result({"out": str(out), "kind": kind})


def _use_agg():
    import matplotlib

    matplotlib.use("agg")


def _table(path):
    path = Path(path)
    if path.is_dir():
        inner = path / "catalogue"
        return read_catalogue(inner if inner.is_dir() else path)
    return read_stars(path)


def _report_emulator(emulator, out, title, name, rows, values):
    grid = named_grid(name, values["medium"], values["drop_bad"], split="test")
    part = _slice(rows)
    labels, flux = _labels(grid, emulator)[part], grid.target[part]
    if not len(labels):
        raise ValueError(f"--rows must be among the {len(grid.data)} of '{name}'.")
    ends = emulator.wavelength_[[0, -1]]
    emulator_report(
        emulator,
        labels,
        flux,
        out,
        lines=line_marks(values, emulator.medium_, ends),
        snr=values["snr"],
        **({} if title is None else {"title": title}),
    )


def _labels(grid, emulator):
    """Return labels with names and units, unless grid or emulator have no names."""
    names = grid.label_names
    for given, first in ((names, 1), (emulator.label_names_, 0)):
        if given == [f"label_{i}" for i in range(first, first + len(given))]:
            return grid.data
    return QTable(grid.data, names=names, units=grid.label_units)


def _slice(text):
    if text is None:
        return slice(None)
    first, colon, end = text.partition(":")
    try:
        if colon:
            return slice(int(first or 0), int(end) if end else None)
    except ValueError:
        pass
    raise ValueError(f"--rows must be FIRST:END, such as 900:1000; got {text!r}.")
