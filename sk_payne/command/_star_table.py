"""Table of a run: one row for each star, and one for each file that failed."""

import numpy as np

from sk_payne.abundances import FLAGS
from sk_payne.command._star_reader import in_words_of_options
from sk_payne.spectra import SpectrumSet

__all__ = ["star_table"]


def star_table(measured, failures, files, regressor, combinations):
    """Join stars that were measured with rows of what failed.

    Parameters
    ----------
    measured : astropy.table.QTable
        From :func:`sk_payne.abundances.read_catalogue`.
    failures : list of dict
        Entries `item`, `row` and `error`.
    files : list of str
        Files by number of the item.
    regressor : AbundanceRegressor
        It gives the row of a star without data.
    combinations : dict or None
        As it measured them.

    Returns
    -------
    table : astropy.table.QTable
        Columns `file`, `spectrum` (its number in the file), `object`, what was
        measured, and `error`, "" for stars that were measured. Rows are in the order of
        the files; numbers of a row that failed are NaN.
    """
    from astropy.table import vstack

    tables = [measured]
    if failures:
        n_pixels = len(regressor.emulator.wavelength_)
        nothing = SpectrumSet(*np.zeros((2, 1, n_pixels)))
        blank = regressor.measure(nothing, combinations=combinations)
        rows = blank[np.zeros(len(failures), dtype=np.intp)]
        rows["item"] = [failure["item"] for failure in failures]
        rows["object"] = np.full(len(failures), "")
        tables.append(rows)
    table = vstack(tables, metadata_conflicts="silent")
    _fill_words(table)
    bit, meaning = FLAGS["NO_DATA"]
    errors = [meaning if flags & bit else "" for flags in measured["flags"]]
    errors += [in_words_of_options(failure["error"]) for failure in failures]
    within = _numbers_in_files(measured["item"], failures)
    order = np.lexsort((within, table["item"]))
    about = {
        "file": np.array([files[item] for item in table["item"]], dtype=str),
        "spectrum": within,
    }
    table.remove_columns({"star", "item"} & set(table.colnames))
    for index, (name, values) in enumerate(about.items()):
        table.add_column(values, name=name, index=index)
    table["error"] = np.array(errors, dtype=str)
    return table[order]


def _numbers_in_files(items, failures):
    """Give the number of each spectrum in its file: stars first, then failures."""
    lost = [failure["row"] or 0 for failure in failures]
    taken = {
        (failure["item"], row) for failure, row in zip(failures, lost, strict=True)
    }
    numbers, item, number = [], None, 0
    for one in items:
        item, number = (one, number) if one == item else (one, 0)
        while (item, number) in taken:
            number += 1
        numbers.append(number)
        number += 1
    return np.array(numbers + lost, dtype=np.int64)


def _fill_words(table):
    """Fill what has no entry in some rows, such as the frame."""
    for name in table.colnames:
        if table[name].dtype.kind in "US" and hasattr(table[name], "filled"):
            table[name] = table[name].filled("")
