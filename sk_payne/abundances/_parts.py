"""Parts of a catalogue: tables of the stars of a chunk, each in a file.

A part lists its items and those that failed, so that they can be tried again. The first
number of its stars follows from the parts before.
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
        Chunk of the part, without its items.
    tried : set of int
        Numbers of the items being measured.
    part : astropy.table.QTable or None
        Table of the other items.
    is_other : bool
        True if the existing file has other items.
    states : dict of int to tuple
        Size and time of modification of the files of the other items.
    """

    chunk: Chunk
    tried: set
    part: Any
    is_other: bool
    states: dict


class Parts:
    """Parts of a catalogue: chunks to measure, and tables to write.

    Parameters
    ----------
    folder : Folder
        Folder of the catalogue.
    blank : astropy.table.QTable
        Row of a star without data.
    retry_failed : {"changed", True, False}
        Failed items that are tried again.
    bar : tqdm.tqdm
        Progress bar, in stars.
    """

    def __init__(self, folder, blank, retry_failed, bar):
        self._folder = folder
        self._blank = blank
        self._retry_failed = retry_failed
        self._bar = bar
        self._under_way = {}  # by number of the part
        self._failures = {}  # by number of the part

    def to_do(self, number, chunk):
        """Select the items of a chunk that are to be measured.

        Parameters
        ----------
        number : int
            Number of the part.
        chunk : Chunk
            Chunk with all items.

        Returns
        -------
        chunk : Chunk or None
            Chunk with some or all items; None if there is nothing to do.
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
            Table and failures of the measured items.
        reason : str or None
            Error message if there is no result.
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
        """Write down the number of parts and all failures.

        Returns
        -------
        failures : list of dict
            Failures in the order of items.
        """
        failures = [f for _, some in sorted(self._failures.items()) for f in some]
        self._folder.rewrite_failures(lambda: failures)
        self._folder.note(lambda _: {"n_parts": len(self._failures)})
        return failures

    def _settle(self, chunk, failures, is_other):
        self._failures[chunk.number] = failures
        self._bar.update(chunk.n_stars)
        # after a part with other items, all parts count as missing until they are seen
        n_parts = chunk.number + 1
        self._folder.note(
            lambda notes: {
                "n_parts": n_parts if is_other else max(n_parts, notes["n_parts"])
            }
        )

    def _again(self, failure, chunk):
        """Check whether a failed item is tried again."""
        if self._retry_failed != "changed":
            return self._retry_failed
        now = _file_now(chunk.files.get(failure["item"]))
        return any(failure.get(name) != now.get(name) for name in ("size", "mtime"))


def part_name(number):
    """Return the name of the file of a part.

    Parameters
    ----------
    number : int
        Number of the part.

    Returns
    -------
    name : str
        Name without the folder.
    """
    return f"part-{number:06d}.ecsv"


def read_part(path):
    """Read a part.

    Parameters
    ----------
    path : pathlib.Path
        File of the part.

    Returns
    -------
    table : astropy.table.QTable
        Stars of the part, numbered from its beginning.

    Raises
    ------
    FileFormatError
        If the file is damaged, or of another version.
    """
    from astropy.table import QTable

    try:
        table = QTable.read(path, format="ascii.ecsv", encoding="utf-8")
        table.meta["catalogue"]["content"]
    except Exception as error:  # a damaged file may raise any
        raise FileFormatError(
            f"'{path}' is no part of a catalogue, or damaged ({error}). Remove it, and "
            "call measure_catalogue again."
        ) from error
    for name in {"object", "frame"} & set(table.colnames):
        # ECSV reads empty strings as masked
        if hasattr(table[name], "filled"):
            table[name] = table[name].filled("")
    return table


def _state_of(path):
    """Size in bytes and time of modification in ns of a file; None without a file."""
    try:
        status = os.stat(path)
    except OSError:
        return None, None
    return status.st_size, status.st_mtime_ns


def _states_of(about):
    """States of the files of a part when they were measured, by their items."""
    return {item: tuple(state) for item, *state in about.get("files", [])}


def _is_new(before, chunk, item):
    """Check whether the file of an item has changed; a missing file has not."""
    now = _state_of(chunk.files[item]) if item in chunk.files else (None, None)
    return now[0] is not None and now != before


def _file_now(path):
    """Path, size and time of modification of the file of an item, if it has one."""
    if path is None:
        return {"file": None}
    size, mtime = _state_of(path)
    return {"file": path, "size": size, "mtime": mtime}


def _merged(part, table, tried):
    """Rows of a part, with those of items that were tried again replaced."""
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
