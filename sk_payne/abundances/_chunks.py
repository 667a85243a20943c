"""Chunks of a survey: gathered, measured here or on workers, given back in order.

It is here so that a catalogue holds in memory no more than what is being measured.
"""

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

import numpy as np
import torch

from sk_payne.exceptions import WavelengthMismatchError
from sk_payne.spectra import SpectrumSet, as_spectra

__all__ = [
    "Chunk",
    "Job",
    "count_stars",
    "gather",
    "in_order",
    "start_here",
    "start_on_workers",
]

# Chunks under way for each thread of the workers: one that is measured, one that waits.
_AHEAD = 2


@dataclass
class Chunk:
    """Items that become one part of a catalogue.

    Attributes
    ----------
    number : int
        Of the part.
    first_item : int
        Number of the first item.
    items : list
        What the caller gave.
    """

    number: int
    first_item: int
    items: list


@dataclass
class Job:
    """What is done to every chunk.

    Attributes
    ----------
    regressor : AbundanceRegressor
        What measures.
    blank : astropy.table.QTable
        One star without data.
    reader : callable or None
        Gives the spectra of an item.
    names : str or callable
        Key of the meta of spectra, or what names them.
    combinations : mapping or None
        For the regressor.
    chunk_size : int
        Stars that are measured at a time.
    """

    regressor: Any
    blank: Any
    reader: Callable | None
    names: Any
    combinations: Any
    chunk_size: int


# Gather --------------------------------------------------------------------------


def gather(spectra, chunk_size, reader):
    """Gather items into chunks.

    Parameters
    ----------
    spectra : iterable
        Items.
    chunk_size : int
        Stars of a chunk, at least; items are not divided.
    reader : callable or None
        With one, an item counts as one star.

    Yields
    ------
    chunk : Chunk
        The last one may be smaller.
    n_stars : int
        As counted.

    Raises
    ------
    TypeError
        If items are paths, but nothing reads them.
    """
    number, first, items, n_stars = 0, 0, [], 0
    for item in spectra:
        if reader is None and isinstance(item, str | os.PathLike):
            raise TypeError(
                f"`reader` must be given if `spectra` are paths; got '{item}'. Pass a "
                "function that reads such a file."
            )
        items.append(item)
        n_stars += 1 if reader else count_stars(item)
        if n_stars >= chunk_size:
            yield Chunk(number, first, items), n_stars
            number, first, items, n_stars = number + 1, first + len(items), [], 0
    if items:
        yield Chunk(number, first, items), n_stars


def count_stars(item):
    """Count the stars of an item, without asking whether it is good.

    Parameters
    ----------
    item : object
        Spectra, more or less.

    Returns
    -------
    n_stars : int
        1 where nothing tells.
    """
    if _is_row(item):
        return 1
    if hasattr(item, "__len__"):
        return len(item)
    if hasattr(item, "flux") and hasattr(item, "spectral_axis"):
        return item.flux.size // item.spectral_axis.size
    return 1


def _is_row(item):
    """Whether an item is plain flux of one star."""
    return isinstance(item, np.ndarray) and item.ndim == 1 and item.dtype != object


# Measure -------------------------------------------------------------------------


def _measure_chunk(job, chunk):
    """Table of the stars of a chunk, numbered from 0; what failed is in its meta."""
    block, n_held, n_stars = [], 0, 0  # of spectra and origins; stars in it, in all
    measured, failures = [], []
    for number, item in enumerate(chunk.items, chunk.first_item):
        try:
            spectra, names = _unpack(job, item)
        except Exception as error:
            failures.append(_failure(number, None, error))
            n_stars += 1
            continue
        origins = [(n_stars + row, number, row, name) for row, name in enumerate(names)]
        block.append((spectra, origins))
        n_stars, n_held = n_stars + len(origins), n_held + len(origins)
        if n_held >= job.chunk_size:
            measured += _measure_block(job, block, failures)
            block, n_held = [], 0
    measured += _measure_block(job, block, failures)
    table = _joined(measured, job.blank)
    table.meta["catalogue"] = {
        "n_items": len(chunk.items),
        "first_star": None,  # which only the parts before tell
        "n_stars": n_stars,
        "failures": sorted(failures, key=lambda f: (f["item"], f["row"] or 0)),
    }
    return table


def _unpack(job, item):
    """Spectra of an item, with errors, and their names."""
    if job.reader is not None:
        item = job.reader(item)
    if _is_row(item):
        item = item[None]
    regressor = job.regressor
    spectra = as_spectra(item, medium=regressor.medium, snr=regressor.snr)
    return spectra, _names(job.names, item, len(spectra))


def _names(names, item, n_stars):
    name = names if callable(names) else lambda spectrum: _from_meta(spectrum, names)
    found = [name(s) for s in item] if isinstance(item, list | tuple) else name(item)
    if isinstance(found, str) or not hasattr(found, "__len__"):
        found = [found] * n_stars
    if len(found) != n_stars:
        raise ValueError(
            f"`names` must give a name for each of the {n_stars} stars of an item; got "
            f"{len(found)}."
        )
    # on one line, whatever they are
    return ["" if one is None else " ".join(str(one).split()) for one in found]


def _from_meta(spectrum, key):
    meta = getattr(spectrum, "meta", None) or {}
    if isinstance(meta, list | tuple):
        return [(one or {}).get(key) for one in meta]
    return meta.get(key)


def _measure_block(job, block, failures):
    """Tables and origins of stars; those of one kind are measured together."""
    measured = []
    for _, run in groupby(block, key=lambda pair: _kind(pair[0])):
        sets, origins = zip(*run, strict=True)
        spectra = SpectrumSet.concatenate(sets)
        measured += _measure(job, spectra, list(chain(*origins)), failures)
    return measured


def _kind(spectra):
    return spectra.medium, spectra.wavelength is None and spectra.shape[1]


def _measure(job, spectra, origins, failures):
    """Halve stars that fail, until only the one that is to blame is left out."""
    try:
        table = job.regressor.measure(spectra, combinations=job.combinations)
    except WavelengthMismatchError:
        # which is no error if other stars are beside them
        table = job.blank[np.zeros(len(origins), dtype=np.intp)]
    except Exception as error:
        if len(origins) == 1:
            _, item, row, _ = origins[0]
            failures.append(_failure(item, row, error))
            return []
        half = len(origins) // 2
        return [
            part
            for rows in (slice(half), slice(half, None))
            for part in _measure(job, spectra[rows], origins[rows], failures)
        ]
    return [(table, origins)]


def _failure(item, row, error):
    message = " ".join(f"{type(error).__name__}: {error}".split())
    return {"item": item, "row": row, "error": message}


def _joined(measured, blank):
    """One table, with the columns that tell where stars are from."""
    from astropy.table import QTable, vstack

    origins = [origin for _, some in measured for origin in some]
    rows = vstack([table for table, _ in measured]) if measured else blank[:0]
    table = QTable(meta=blank.meta)
    table["star"] = np.array([star for star, *_ in origins], dtype=np.int64)
    table["item"] = np.array([item for _, item, *_ in origins], dtype=np.int64)
    table["object"] = np.array([name for *_, name in origins], dtype=str)
    for name in rows.colnames:
        table[name] = rows[name]
    return table


# Here or on workers --------------------------------------------------------------


def start_here(job):
    """Measure chunks in this process.

    Parameters
    ----------
    job : Job
        What to do.

    Returns
    -------
    start : callable
        Takes a chunk and gives a function that measures it.
    n_ahead : callable
        Gives 0.
    """
    return lambda chunk: lambda: _measure_chunk(job, chunk), lambda: 0


def start_on_workers(client, job):
    """Measure chunks on the workers of a cluster, which get the job once.

    Parameters
    ----------
    client : dask.distributed.Client
        Of the cluster.
    job : Job
        What to do.

    Returns
    -------
    start : callable
        Takes a chunk and gives a function that waits for its table.
    n_ahead : callable
        Gives the number of chunks to start before the first is waited for.
    """
    [job_there] = client.scatter([job], broadcast=True, hash=False)

    def start(chunk):
        if job.reader is None:
            # straight to a worker: the scheduler need not hold spectra
            [chunk] = client.scatter([chunk], hash=False)
        return client.submit(_measure_on_worker, job_there, chunk, pure=False).result

    return start, lambda: _AHEAD * sum(client.nthreads().values())


def _measure_on_worker(job, chunk):
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measure_chunk(job, chunk)
    finally:
        torch.set_num_threads(n_threads)


def in_order(chunks, start, n_ahead):
    """Give the tables of chunks in order, however many are under way.

    Parameters
    ----------
    chunks : iterable of tuple
        Chunks and their numbers of stars.
    start : callable
        Takes a chunk and gives a function that waits for its table.
    n_ahead : callable
        Gives the number of chunks to start before the first is waited for.

    Yields
    ------
    number, n_stars : int
        Of the chunk.
    table : astropy.table.QTable
        Of the chunk.
    """
    waiting = deque()
    try:
        for chunk, n_stars in chunks:
            waiting.append((chunk.number, n_stars, start(chunk)))
            del chunk
            while len(waiting) > n_ahead():
                yield _finish(*waiting.popleft())
        while waiting:
            yield _finish(*waiting.popleft())
    finally:
        # workers drop what nobody waits for
        waiting.clear()


def _finish(number, n_stars, wait):
    return number, n_stars, wait()
