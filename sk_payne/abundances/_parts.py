"""Parts of a catalogue: tables of the stars of a chunk, each in a file.

A part knows which items it is of and which of them failed, so that these can be tried
again, and the numbers of stars follow from the parts before.
"""

import io
import os
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from sk_payne.abundances._chunks import Chunk
from sk_payne.abundances._table import stack
from sk_payne.exceptions import FileFormatError

__all__ = ["Parts", "part_name", "read_part"]


@dataclass(frozen=True)
class _UnderWay:
    """A part that is being measured.

    Attributes
    ----------
    chunk : Chunk
        All its items, but without their content.
    tried : set of int
        Numbers of the items that are measured.
    part : astropy.table.QTable or None
        Table that has the others.
    is_other : bool
        Whether the file there is of other items.
    states : dict of int to tuple
        Size and time of modification of the files of items that are not measured now.
    """

    chunk: Chunk
    tried: set
    part: Any
    is_other: bool
    states: dict


class Parts:
    """Parts as pieces of a folder: chunks to measure, and tables to keep.

    Parameters
    ----------
    folder : Folder
        Of the catalogue.
    blank : astropy.table.QTable
        Row of a star without data.
    retry_failed : {"changed", True, False}
        Which items that failed are tried again.
    bar : tqdm.tqdm
        Progress in stars.
    """

    def __init__(self, folder, blank, retry_failed, bar):
        self._folder = folder
        self._blank = blank
        self._retry_failed = retry_failed
        self._bar = bar
        self._under_way = {}  # by number
        self._failures = {}  # likewise

    def to_do(self, number, chunk):
        """Tell which items of a chunk are to be measured.

        Parameters
        ----------
        number : int
            Number of the part.
        chunk : Chunk
            All items.

        Returns
        -------
        chunk : Chunk or None
            Some or all of them; None if there is nothing to do.
        """
        file = self._folder.path / part_name(number)
        part = read_part(file) if file.exists() else None
        about = {"content": None} if part is None else part.meta["catalogue"]
        is_other = about["content"] != chunk.content
        states = {} if is_other else _states_of(about)
        if is_other:
            tried = set(chunk.items)
        else:
            tried = {f["item"] for f in about["failures"] if self._again(f, chunk)}
            tried |= {item for item in states if _is_new(states[item], chunk, item)}
            if not tried:
                self._under_way.pop(number, None)
                self._settle(chunk, about["failures"], is_other=False)
                return None
        self._under_way[number] = _UnderWay(
            chunk=chunk.only(set()),
            tried=tried,
            part=None if is_other else part,
            is_other=is_other and part is not None,
            states={i: state for i, state in states.items() if i not in tried},
        )
        return chunk.only(tried)

    def keep(self, number, result, reason):
        """Write a part.

        Parameters
        ----------
        number : int
            Number of the part.
        result : tuple or None
            Table and failures of the items that were to be measured.
        reason : str or None
            Why there is no result.
        """
        begun = self._under_way.pop(number)
        chunk, part, tried = begun.chunk, begun.part, begun.tried
        if result is None:
            failures = [{"item": i, "row": None, "error": reason} for i in tried]
            table = _empty(self._blank)
        else:
            table, failures = result
        failures = [
            {**f, "part": number, **_file_now(chunk.files.get(f["item"]))}
            for f in failures
        ]
        if failures:
            self._folder.record_failures(failures)
        if part is not None:
            table = _merged(part, table, tried)
            old = part.meta["catalogue"]["failures"]
            failures += [f for f in old if f["item"] not in tried]
        failures.sort(key=lambda f: (f["item"], f["row"] or 0))
        _number_stars(table, failures)
        lost = {f["item"] for f in failures if f["row"] is None}
        states = begun.states | {
            item: _state_of(chunk.files[item])
            for item in tried - lost
            if item in chunk.files
        }
        table.meta["catalogue"] = {
            "content": chunk.content,
            "failures": failures,
            "files": [[item, *states[item]] for item in sorted(states)],
        }
        text = io.StringIO()
        table.write(text, format="ascii.ecsv")
        self._folder.replace(part_name(number), text.getvalue().encode())
        self._settle(chunk, failures, begun.is_other)

    def finish(self):
        """Say that the parts are all, and list what failed.

        Returns
        -------
        failures : list of dict
            In the order of items.
        """
        failures = [f for _, some in sorted(self._failures.items()) for f in some]
        self._folder.rewrite_failures(lambda: failures)
        self._folder.note(lambda _: {"n_parts": len(self._failures)})
        return failures

    def _settle(self, chunk, failures, is_other):
        self._failures[chunk.number] = failures
        self._bar.update(chunk.n_stars)
        # parts behind one of other items are of other items, too, until they are seen
        n_parts = chunk.number + 1
        self._folder.note(
            lambda notes: {
                "n_parts": n_parts if is_other else max(n_parts, notes["n_parts"])
            }
        )

    def _again(self, failure, chunk):
        """Whether an item that failed is tried again."""
        if self._retry_failed != "changed":
            return self._retry_failed
        now = _file_now(chunk.files.get(failure["item"]))
        return any(failure.get(name) != now.get(name) for name in ("size", "mtime"))


def part_name(number):
    """Give the name of the file of a part.

    Parameters
    ----------
    number : int
        Number of the part.

    Returns
    -------
    name : str
        Without the folder.
    """
    return f"part-{number:06d}.ecsv"


def read_part(path):
    """Read a part.

    Parameters
    ----------
    path : pathlib.Path
        Its file.

    Returns
    -------
    table : astropy.table.QTable
        Stars are numbered from the beginning of the part.

    Raises
    ------
    FileFormatError
        If the file is damaged, or of another version.
    """
    from astropy.table import QTable

    try:
        table = QTable.read(path, format="ascii.ecsv", encoding="utf-8")
        table.meta["catalogue"]["content"]
    except Exception as error:  # of whatever a damaged file looks like
        raise FileFormatError(
            f"'{path}' is no part of a catalogue, or damaged ({error}). Remove it, and "
            "call measure_catalogue again."
        ) from error
    for name in {"object", "frame"} & set(table.colnames):
        # ECSV reads empty words as masked
        if hasattr(table[name], "filled"):
            table[name] = table[name].filled("")
    return table


def _state_of(path):
    """Size in bytes and time of modification in ns of a file; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None, None
    return status.st_size, status.st_mtime_ns


def _states_of(about):
    """States of the files of a part when they were measured, by their items."""
    return {item: tuple(state) for item, *state in about.get("files", [])}


def _is_new(before, chunk, item):
    """Whether the file of an item is another one now; one that is gone is not."""
    now = _state_of(chunk.files[item]) if item in chunk.files else (None, None)
    return now[0] is not None and now != before


def _file_now(path):
    """Path, size and time of modification of a file, if it is one."""
    if path is None:
        return {"file": None}
    size, mtime = _state_of(path)
    return {"file": path, "size": size, "mtime": mtime}


def _merged(part, table, tried):
    """Rows of a part, with new ones of the items that were tried again."""
    kept = part[~np.isin(part["item"], list(tried))]
    kept.remove_column("star")
    merged = stack([kept, table])
    return merged[np.argsort(merged["item"], kind="stable")]


def _empty(blank):
    table = blank[:0]
    table.add_column(np.zeros(0, dtype=np.int64), name="item", index=0)
    table.add_column(np.zeros(0, dtype=str), name="object", index=1)
    return table


def _number_stars(table, failures):
    """Insert the column of stars, from 0; an item that was not read counts as one."""
    lost = {(failure["item"], failure["row"] or 0) for failure in failures}
    stars = []
    for item, rows in groupby(table["item"].tolist()):
        n_rows = len(list(rows)) + sum(1 for one, _ in lost if one == item)
        stars += [(item, row) for row in range(n_rows) if (item, row) not in lost]
    place = {star: number for number, star in enumerate(sorted(lost.union(stars)))}
    numbers = np.array([place[star] for star in stars], dtype=np.int64)
    table.add_column(numbers, name="star", index=0)
