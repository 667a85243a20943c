"""catalogue_report: one page about measured stars, with flags, errors and failures."""

from pathlib import Path

import numpy as np

from sk_payne.abundances import FLAGS
from sk_payne.inspection._axes import new_panels, with_unit
from sk_payne.inspection._page import heading, page, picture, table_of, text

__all__ = ["catalogue_report"]

# Largest numbers of rows in the tables of failures and stars, and of pictured labels.
_MAX_ROWS = 200
_MAX_PANELS = 24


def catalogue_report(table, path, *, title="Report on a catalogue"):
    """Write a page of pictures and tables about measured stars.

    One HTML file without scripts and links: the median reduced chi2, flags with their
    meanings, parameters and their errors, failures with their reasons, and the first
    stars.

    Parameters
    ----------
    table : astropy.table.Table
        Table from :meth:`sk_payne.AbundanceRegressor.measure`,
        :func:`sk_payne.abundances.read_catalogue` or ``sk-payne measure``.
    path : str or path-like
        File of the page; replaced if it exists.
    title : str, default="Report on a catalogue"
        Title of the page.

    Returns
    -------
    path : pathlib.Path
        File of the page.

    Raises
    ------
    ValueError
        If the table lacks columns of measured stars.

    See Also
    --------
    emulator_report : A page about an emulator.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from sk_payne.inspection import catalogue_report
    >>> catalogue_report(Table({"teff": [5000.0]}), "page.html")
    Traceback (most recent call last):
    ValueError: `table` must have the columns chi2, dof, flags of measured stars; ...
    """
    missing = [name for name in ("chi2", "dof", "flags") if name not in table.colnames]
    if missing:
        raise ValueError(
            "`table` must have the columns chi2, dof, flags of measured stars; "
            f"{', '.join(missing)} are missing."
        )
    names = [name for name in table.colnames if f"{name}_error" in table.colnames]
    flags = np.asarray(table["flags"], dtype=np.int64)
    measured = flags & FLAGS["NO_DATA"][0] == 0
    parts = [
        *_summary(table, names, flags, measured),
        *_distributions(table, names, measured),
        *_failures(table),
        *_stars(table, names),
    ]
    path = Path(path)
    path.write_text(page(title, parts), encoding="utf-8")
    return path


def _summary(table, names, flags, measured):
    dof = np.maximum(np.asarray(table["dof"], dtype=float), 1)
    chi2 = np.asarray(table["chi2"], dtype=float)[measured] / dof[measured]
    rows = [
        ("rows", len(table)),
        ("measured", int(measured.sum())),
        ("without any flag", int((flags == 0).sum())),
        (
            "median chi2 per degree of freedom",
            _number(np.median(chi2)) if len(chi2) else "-",
        ),
    ]
    yield table_of(None, rows)
    yield heading("Flags")
    counts = [
        (name, int((flags & bit > 0).sum()), meaning)
        for name, (bit, meaning) in FLAGS.items()
        if (flags & bit > 0).any()
    ]
    if counts:
        yield table_of(("flag", "stars", "meaning"), counts)
    else:
        yield text("No star has a flag.")
    if not measured.any():
        return
    yield heading("Parameters")
    yield table_of(
        ("parameter", "5 %", "median", "95 %", "median error"),
        [
            (
                with_unit(name, str(table[name].unit or "")),
                *map(
                    _number,
                    np.nanquantile(_values(table, name)[measured], [0.05, 0.5, 0.95]),
                ),
                _number(np.nanmedian(_values(table, f"{name}_error")[measured])),
            )
            for name in names
        ],
    )


def _distributions(table, names, measured):
    if not measured.any():
        return
    yield heading("Distributions")
    yield text("Each parameter against its error, for all measured stars.")
    yield picture(lambda: _panels(table, names[:_MAX_PANELS], measured), "parameters")


def _panels(table, names, measured):
    figure, axes = new_panels(len(names), 4, (3, 2.4))
    for ax, name in zip(axes, names, strict=True):
        values = _values(table, name)[measured]
        errors = _values(table, f"{name}_error")[measured]
        ax.plot(values, errors, ".", ms=3)
        ax.set(
            xlabel=with_unit(name, str(table[name].unit or "")), ylabel="error", ylim=0
        )
        ax.locator_params(axis="x", nbins=4)
    return figure


def _failures(table):
    if "error" not in table.colnames:
        return
    reasons = _words(table, "error")
    failed = np.flatnonzero(reasons != "")
    yield heading("Failures")
    if not len(failed):
        yield text("None.")
        return
    files = _words(table, "file") if "file" in table.colnames else None
    yield table_of(
        ("row", "file", "reason"),
        [
            (row, "" if files is None else files[row], reasons[row])
            for row in failed[:_MAX_ROWS]
        ],
    )


def _stars(table, names):
    yield heading("Stars")
    if len(table) > _MAX_ROWS:
        yield text(f"The first {_MAX_ROWS} of {len(table)}.")
    first = [name for name in ("file", "object") if name in table.colnames]
    words = {name: _words(table, name) for name in first}
    columns = {name: _values(table, name) for name in names}
    errors = {name: _values(table, f"{name}_error") for name in names}
    rows = [
        (
            *(words[name][row] for name in first),
            *(_pair(columns[name][row], errors[name][row]) for name in names),
            int(table["flags"][row]),
        )
        for row in range(min(len(table), _MAX_ROWS))
    ]
    yield table_of((*first, *names, "flags"), rows)


def _values(table, name):
    """Numbers of a column without their unit."""
    column = np.ma.filled(np.ma.asarray(getattr(table[name], "value", table[name])))
    return np.asarray(column, dtype=float)


def _words(table, name):
    return np.ma.filled(np.ma.asarray(table[name]), "").astype(str)


def _number(value):
    return "-" if not np.isfinite(value) else f"{value:.4g}"


def _pair(value, error):
    number = _number(value)
    return number if number == "-" else f"{number} ± {_number(error)}"
