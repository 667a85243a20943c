"""Chunks of a survey: gathered from items, and measured.

A chunk becomes one part of a catalogue; memory holds only the stars being measured.
"""

import os
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any

import numpy as np
import torch

from sk_payne.abundances._chunk_reading import failure_of, is_row, read_item
from sk_payne.abundances._table import stack
from sk_payne.exceptions import WavelengthMismatchError
from sk_payne.resumable import digest
from sk_payne.spectra import SpectrumSet, group_arms

__all__ = [
    "Chunk",
    "Measuring",
    "count_stars",
    "gather",
    "kind_of_spectra",
    "measure_chunk",
    "measure_on_worker",
]

# Entries of the meta of a spectrum on which a measurement depends.
_ENTRIES = ("object", "medium", "resolving_power", "resolution_matrix")


@dataclass(frozen=True)
class Chunk:
    """Items that become one part of a catalogue.

    Attributes
    ----------
    number : int
        Number of the part.
    items : dict of int to object
        Items of the caller by number.
    n_stars : int
        Number of stars, counted without reading them.
    content : str
        Digest of all items and their numbers. Files enter by name, spectra by flux,
        wavelengths, errors, mask and entries of the meta.
    files : dict of int to str
        Paths of the items that are paths, by number of the item.
    """

    number: int
    items: dict
    n_stars: int
    content: str
    files: dict

    @classmethod
    def of(cls, number, items, n_stars):
        """Make the chunk of some items.

        Parameters
        ----------
        number : int
            Number of the part.
        items : dict of int to object
            Items by number.
        n_stars : int
            Number of stars.

        Returns
        -------
        chunk : Chunk
            The chunk.
        """
        files = {
            key: os.fspath(item)
            for key, item in items.items()
            if isinstance(item, str | os.PathLike)
        }
        content = digest({key: _content(item) for key, item in items.items()})
        return cls(number, items, n_stars, content, files)

    def only(self, numbers):
        """Return the chunk with some of its items.

        Parameters
        ----------
        numbers : set of int
            Numbers of the items.

        Returns
        -------
        chunk : Chunk
            Chunk with the same number, content and files.
        """
        items = {key: item for key, item in self.items.items() if key in numbers}
        return replace(self, items=items)


@dataclass(frozen=True)
class Measuring:
    """Regressor, reader and names with which every chunk is measured.

    Attributes
    ----------
    regressor : AbundanceRegressor
        Regressor that measures the stars.
    blank : astropy.table.QTable
        Row of a star without data.
    reader : callable or None
        Function that returns the spectra of an item.
    names : str or callable
        Key of the meta of spectra, or function that returns names of stars.
    combinations : mapping or None
        Combinations of labels, as in :meth:`AbundanceRegressor.measure`.
    chunk_size : int
        Number of stars that are measured at a time.
    """

    regressor: Any
    blank: Any
    reader: Callable | None
    names: Any
    combinations: Any
    chunk_size: int

    def starting_from(self, posterior):
        """Return the same with a posterior from which fits start.

        Parameters
        ----------
        posterior : NeuralPosterior
            Fitted posterior.

        Returns
        -------
        measuring : Measuring
            With another regressor.
        """
        return replace(self, regressor=copy(self.regressor).set_params(start=posterior))


# Gather --------------------------------------------------------------------------


def gather(spectra, chunk_size, reader):
    """Gather items into chunks.

    Parameters
    ----------
    spectra : iterable
        Items. Neighbours that are arms of one star become one item.
    chunk_size : int
        Smallest number of stars of a chunk; items are not divided.
    reader : callable or None
        If there is a reader, an item counts as one star.

    Yields
    ------
    chunk : Chunk
        The last chunk may be smaller; without items, there is one empty chunk.

    Raises
    ------
    TypeError
        If items are paths, but there is no `reader`.
    """
    number, items, n_stars = 0, {}, 0
    for key, item in enumerate(spectra if reader else group_arms(spectra)):
        if reader is None and isinstance(item, str | os.PathLike):
            raise TypeError(
                f"`reader` must be given if `spectra` are paths; got '{item}'. Pass a "
                "function that reads such a file."
            )
        items[key] = item
        n_stars += 1 if reader else count_stars(item)
        if n_stars >= chunk_size:
            yield Chunk.of(number, items, n_stars)
            number, items, n_stars = number + 1, {}, 0
    if items or number == 0:
        yield Chunk.of(number, items, n_stars)


def count_stars(item):
    """Count the stars of an item without checking it.

    Parameters
    ----------
    item : object
        Spectra of any kind.

    Returns
    -------
    n_stars : int
        Number of stars; 1 for objects of unknown kind.
    """
    if is_row(item):
        return 1
    if isinstance(item, list | tuple):
        return sum(1 for _ in group_arms(item))
    if hasattr(item, "__len__"):
        return len(item)
    if hasattr(item, "flux") and hasattr(item, "spectral_axis"):
        return item.flux.size // item.spectral_axis.size
    return 1


def _content(item):
    """Content of an item for its digest: the name of a file, or numbers."""
    if isinstance(item, str | os.PathLike):
        return os.path.basename(item)  # a folder may be moved
    if isinstance(item, list | tuple):
        return [_content(one) for one in item]
    if hasattr(item, "flux") and hasattr(item, "spectral_axis"):
        metas = getattr(item, "meta", None) or {}
        metas = metas if isinstance(metas, list | tuple) else [metas]
        error = getattr(item, "uncertainty", None)
        return {
            "flux": item.flux,
            "spectral_axis": item.spectral_axis,
            "mask": getattr(item, "mask", None),
            "uncertainty": getattr(error, "array", None),
            "kind": type(error).__name__,
            "metas": [[(meta or {}).get(name) for name in _ENTRIES] for meta in metas],
        }
    return item


# Measure -------------------------------------------------------------------------


def measure_chunk(measuring, chunk):
    """Measure the stars of a chunk.

    Parameters
    ----------
    measuring : Measuring
        Regressor, reader and names.
    chunk : Chunk
        Items.

    Returns
    -------
    table : astropy.table.QTable
        One row per star that was measured, in order, with columns `item` and `object`.
    failures : list of dict
        `item`, `row` and `error` of each item that could not be read, with None for
        `row`, and of each star that could not be measured.
    """
    block, n_held = [], 0  # spectra with their origins, and number of their stars
    measured, failures = [], []
    for number, item in chunk.items.items():
        try:
            spectra, names = read_item(measuring, item)
        except Exception as error:
            failures.append(failure_of(number, None, error))
            continue
        origins = [(number, row, name) for row, name in enumerate(names)]
        block.append((spectra, origins))
        n_held += len(origins)
        if n_held >= measuring.chunk_size:
            measured += _measure_block(measuring, block, failures)
            block, n_held = [], 0
    measured += _measure_block(measuring, block, failures)
    failures.sort(key=lambda failure: (failure["item"], failure["row"] or 0))
    return _joined(measured, measuring.blank), failures


def measure_on_worker(measuring, chunk):
    """Measure the stars of a chunk in one thread, so that workers share the cores.

    Parameters
    ----------
    measuring : Measuring
        Regressor, reader and names.
    chunk : Chunk
        Items.

    Returns
    -------
    table : astropy.table.QTable
        As in :func:`measure_chunk`.
    failures : list of dict
        As in :func:`measure_chunk`.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return measure_chunk(measuring, chunk)
    finally:
        torch.set_num_threads(n_threads)


def _measure_block(measuring, block, failures):
    """Tables and origins of stars; neighbours of one kind are measured together."""
    measured = []
    for _, run in groupby(block, key=lambda pair: kind_of_spectra(pair[0])):
        sets, origins = zip(*run, strict=True)
        spectra = SpectrumSet.concatenate(sets)
        measured += _measure(measuring, spectra, list(chain(*origins)), failures)
    return measured


def kind_of_spectra(spectra):
    """Return a value that is equal for sets of spectra that can be joined.

    Parameters
    ----------
    spectra : SpectrumSet
        Spectra of an item.

    Returns
    -------
    kind : tuple
        Medium, and number of pixels without wavelengths.
    """
    return spectra.medium, spectra.wavelength is None and spectra.shape[1]


def _measure(measuring, spectra, origins, failures):
    """Measure stars; halve sets that fail until only the failing stars are left out."""
    try:
        table = measuring.regressor.measure(
            spectra, combinations=measuring.combinations
        )
    except WavelengthMismatchError:
        # no error in a catalogue, where other stars have common wavelengths
        table = measuring.blank[np.zeros(len(origins), dtype=np.intp)]
    except Exception as error:
        if len(origins) == 1:
            item, row, _ = origins[0]
            failures.append(failure_of(item, row, error))
            return []
        half = len(origins) // 2
        return [
            part
            for rows in (slice(half), slice(half, None))
            for part in _measure(measuring, spectra[rows], origins[rows], failures)
        ]
    return [(table, origins)]


def _joined(measured, blank):
    """Join tables, and add the columns `item` and `object`."""
    from astropy.table import QTable

    origins = [origin for _, some in measured for origin in some]
    rows = stack([table for table, _ in measured]) if measured else blank[:0]
    table = QTable(meta=blank.meta)
    table["item"] = np.array([item for item, *_ in origins], dtype=np.int64)
    table["object"] = np.array([name for *_, name in origins], dtype=str)
    for name in rows.colnames:
        table[name] = rows[name]
    return table
