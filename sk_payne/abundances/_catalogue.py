"""Catalogues of surveys: stars are measured part by part into a folder.

Parts that are written are kept, and the next call continues after them.
"""

import json
import os
import warnings
from copy import copy
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import joblib
import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from sk_payne.abundances._chunks import (
    Measuring,
    count_stars,
    gather,
    measure_chunk,
    measure_on_worker,
)
from sk_payne.abundances._fitted_emulator import fitted_emulator_of
from sk_payne.abundances._learned_start import LearnedStart
from sk_payne.abundances._observation import Observation
from sk_payne.abundances._parts import Parts, part_name, read_part
from sk_payne.abundances._table import stack
from sk_payne.exceptions import FileFormatError
from sk_payne.resumable import Folder, describe, settle
from sk_payne.spectra import SpectrumSet, group_arms

__all__ = ["measure_catalogue", "read_catalogue"]


def measure_catalogue(
    regressor,
    spectra,
    path,
    *,
    reader=None,
    names="object",
    combinations=None,
    chunk_size=1000,
    retry_failed="changed",
    learn_start=None,
    client=None,
    verbose=1,
):
    """Measure any number of stars into a folder, and resume an interrupted call.

    Spectra are measured in chunks, in bounded memory. Each chunk becomes a part of the
    catalogue, a file that is written completely or not at all. A call with the same
    arguments after an interruption measures only the missing parts; the catalogue is
    the same as that of a single call. Several processes may share one folder: each star
    is measured by one of them, and all return when all stars are measured.

    Parameters
    ----------
    regressor : AbundanceRegressor
        Fitted, or with a fitted emulator.
    spectra : iterable
        Items as in :meth:`AbundanceRegressor.measure`: one star (a 1-D ``Spectrum``, a
        row of flux) or a block of stars (a 2-D ``Spectrum``, a list, a ``SpectrumSet``,
        an array). With `reader`, paths or other arguments of it. Neighbours with the
        same ``meta["object"]`` and different ``meta["arm"]`` are arms of one star and
        one item.
    path : str or path-like
        Folder of the catalogue; it is made if it does not exist. The name of a file,
        such as "survey.fits", is an error.
    reader : callable, default=None
        Function that returns the spectra of an item. The process or worker that
        measures them calls it; it is not called for parts that exist.
    names : str or callable, default="object"
        Names for the column `object`: a key of the ``meta`` of spectra (for arms, of
        the first arm that has it), or a function. It gets the ``Spectrum`` of a star or
        the list of its arms and returns a name, or gets a block that is no list and
        returns a list of names.
    combinations : mapping of str to mapping of str to float, default=None
        As in :meth:`AbundanceRegressor.measure`.
    chunk_size : int, default=1000
        Smallest number of stars of a part; items are not divided. With `reader`, number
        of items of a part; about as many stars are in memory at a time.
    retry_failed : {"changed", True, False}, default="changed"
        Items that failed in an earlier call and are tried again: those whose file has
        a new size or time of modification, all, or none. Other stars of the part are
        kept.
    learn_start : NeuralPosterior, default=None
        Unfitted posterior, such as ``NeuralPosterior.of(regressor)``, from which fits
        start. It is trained once, before the first star is measured, on mock spectra
        with the pixels and relative errors of up to 64 stars of the first part. The
        folder keeps it as ``start.safetensors`` for later calls. One process trains,
        and the others wait. None trains nothing.
    client : dask.distributed.Client, default=None
        Client whose workers measure chunks, each thread on one core; the emulator is
        sent to every worker once. This process writes the parts, and measures them if
        `client` is None.
    verbose : int, default=1
        1 shows a progress bar, and tells the cost of a training before it begins.

    Returns
    -------
    path : pathlib.Path
        The folder, for :func:`read_catalogue`.

    Raises
    ------
    ImportError
        If there is a `learn_start`, but zuko is not installed.
    NotFittedError
        If the emulator is not fitted.
    TypeError
        If `spectra` are paths, but there is no `reader`.
    ValueError
        If an argument is not allowed, or the folder holds another catalogue.

    Warns
    -----
    UserWarning
        If items could not be read or stars could not be measured. They have no row; the
        file ``failures.jsonl`` in the folder lists the number of the item, the row in
        it, the number of the part, the file and the error.

    See Also
    --------
    read_catalogue : The table of all stars.

    Notes
    -----
    ``catalogue.json`` identifies a catalogue: parameters of the regressor, weights of
    the emulator, `combinations`, `chunk_size`, `names`, `learn_start` and the version
    of the package. Arrays are compared by their content.

    A part is measured again if its spectra or the names of its files change, an item if
    its file has a new size or time of modification.
    Spectra may be added at the end. If there are fewer than before, the parts of the
    others stay in the folder, but not in the catalogue.

    The other stars of a chunk change results by rounding at most. Workers do not change
    them if torch has one thread in this process, too.

    Examples
    --------
    >>> import tempfile
    >>> from sk_payne import AbundanceRegressor, SpectrumEmulator
    >>> from sk_payne.abundances import measure_catalogue, read_catalogue
    >>> from sk_payne.datasets import make_spectra
    >>> grid = make_spectra(300, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
    ...     label_names=grid.label_names, label_units=grid.label_units,
    ...     max_steps=400, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> regressor = AbundanceRegressor(emulator, snr=100)
    >>> stars = (emulator.to_spectra(row[None]) for row in grid.data[:5])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = measure_catalogue(
    ...         regressor, stars, f"{folder}/survey", chunk_size=2, verbose=0
    ...     )
    ...     table = read_catalogue(path)
    >>> len(table), table["teff"].unit
    (5, Unit("K"))
    """
    check_is_fitted(regressor)
    _check_arguments(regressor, spectra, chunk_size, retry_failed)
    regressor = copy(regressor)
    regressor.verbose = 0
    fitted = fitted_emulator_of(regressor)
    # before anything is written: errors that concern all stars are raised at once
    no_data = SpectrumSet(*np.zeros((2, 1, fitted.n_pixels)))
    blank = regressor.measure(no_data, combinations=combinations)
    identity = _identity(regressor, fitted, combinations, chunk_size, names)
    measuring = Measuring(regressor, blank, reader, names, combinations, chunk_size)
    chunks = gather(spectra, chunk_size, reader)
    if learn_start is None:
        folder = Folder(path, "catalogue", identity, {"n_parts": 0})
    else:
        first = next(chunks)
        chunks = chain([first], chunks)
        start = LearnedStart(learn_start, measuring, Path(path), first)
        del first  # parts in work are in memory, and no others
        identity["learn_start"] = start.identity
        folder = Folder(path, "catalogue", identity, {"n_parts": 0, "start": None})
        measuring = measuring.starting_from(start.learned(folder, verbose))

    chunks = ((chunk.number, chunk) for chunk in chunks)
    with tqdm(total=_total(spectra, reader), unit="star", disable=not verbose) as bar:
        parts = Parts(folder, measuring.blank, retry_failed, bar)
        settle(
            chunks,
            parts,
            partial(measure_chunk if client is None else measure_on_worker, measuring),
            folder.claims,
            client=client,
            scatter=reader is None,
        )
    failures = parts.finish()
    if failures:
        warnings.warn(
            f"{len(failures)} items or stars could not be read or measured and have no "
            f"row. '{folder.path / 'failures.jsonl'}' names them; the first error is "
            f"{failures[0]['error']}",
            stacklevel=2,
        )
    return folder.path


def read_catalogue(path):
    """Read the catalogue that :func:`measure_catalogue` wrote.

    Parameters
    ----------
    path : str or path-like
        Folder of the catalogue. An unfinished one is read up to the first missing part.

    Returns
    -------
    table : astropy.table.QTable
        One row per star, in order: `star`, a running number that counts an unreadable
        item as one star; `item`, the number of its item in `spectra`; `object`, its
        name, empty if unknown; and the columns of
        :meth:`AbundanceRegressor.measure`.

    Raises
    ------
    FileNotFoundError
        If there is no catalogue.
    FileFormatError
        If a part is damaged, or of another version.

    Warns
    -----
    UserWarning
        If parts are left out because one before them is missing.

    See Also
    --------
    measure_catalogue : Has an example.

    Examples
    --------
    >>> from sk_payne.abundances import read_catalogue
    >>> read_catalogue("nowhere")
    Traceback (most recent call last):
    FileNotFoundError: `path` must be the folder of a catalogue; got 'nowhere'. ...
    """
    path = Path(path)
    manifest = path / "catalogue.json"
    if not manifest.exists():
        raise FileNotFoundError(
            f"`path` must be the folder of a catalogue; got '{path}'. Pass the "
            "path that measure_catalogue returned."
        )
    n_parts = json.loads(manifest.read_text(encoding="utf-8")).get("n_parts")
    if n_parts is None:
        raise FileFormatError(
            f"'{path}' is a catalogue of an earlier format. Read it with the sk_payne "
            "that made it, or measure the stars into another folder."
        )
    exists = [(path / part_name(number)).exists() for number in range(n_parts)]
    n_whole = [*exists, False].index(False)
    if any(exists[n_whole:]):
        warnings.warn(
            f"{sum(exists[n_whole:])} parts of the catalogue '{path}' are left out, "
            f"since '{part_name(n_whole)}' before them is missing. Call "
            "measure_catalogue again.",
            stacklevel=2,
        )
    if n_whole == 0:
        raise FileNotFoundError(
            f"`path` must be the folder of a catalogue; '{path}' has no part yet. Call "
            "measure_catalogue again."
        )
    tables, n_stars = [], 0
    for number in range(n_whole):
        table = read_part(path / part_name(number))
        about = table.meta.pop("catalogue")
        table["star"] += n_stars
        n_stars += len(table) + len(about["failures"])
        tables.append(table)
    return stack(tables)


def _check_arguments(regressor, spectra, chunk_size, retry_failed):
    if isinstance(spectra, str | os.PathLike):
        raise TypeError(
            "`spectra` must be an iterable of spectra, or of paths together with "
            f"`reader`; got '{spectra}'. Pass [path] for a single file."
        )
    if not (isinstance(chunk_size, int | np.integer) and chunk_size > 0):
        raise ValueError(
            f"`chunk_size` must be an integer of at least 1; got {chunk_size!r}."
        )
    if not (retry_failed == "changed" or isinstance(retry_failed, bool)):
        raise ValueError(
            f"`retry_failed` must be 'changed', True or False; got {retry_failed!r}."
        )
    if np.ndim(regressor.snr):
        raise ValueError(
            "`snr` of the regressor must be one number for all stars; got "
            f"{np.size(regressor.snr)}. Pass spectra with their uncertainties."
        )
    offsets = getattr(regressor.observation, "arm_offsets", None)
    if np.ndim(offsets) == 1:
        raise ValueError(
            "`arm_offsets` of the regressor must be a list of limits for each arm "
            "after the first, so that all parts of a catalogue have the same columns; "
            f"got {offsets!r}. Pass [{offsets!r}] for spectra with two arms at most."
        )
    for name in ("fixed", "priors"):
        for label, value in (getattr(regressor, name) or {}).items():
            if any(map(np.ndim, value if isinstance(value, tuple) else [value])):
                raise ValueError(
                    f"`{name}[{label!r}]` of the regressor must be the same for all "
                    "stars of a catalogue; got an array. Use `measure` block by block."
                )


def _total(spectra, reader):
    """Total number of stars; None if unknown before they are read."""
    if not isinstance(spectra, list | tuple):
        return None
    return len(spectra) if reader else sum(map(count_stars, group_arms(spectra)))


def _identity(regressor, fitted, combinations, chunk_size, names):
    """Properties, for JSON, that must not change between calls for one catalogue."""
    # derived from the source
    parts = {**vars(fitted), "single": None, "estimator": None}
    if isinstance(fitted.source, torch.nn.Module):
        # the same on every device
        parts["source"] = {
            name: tensor.double().cpu().numpy()
            for name, tensor in fitted.source.state_dict().items()
        }
    parameters = regressor.get_params(deep=False)
    parameters["observation"] = parameters["observation"] or Observation()
    start = parameters.pop("start")
    if start is not None:
        parameters["start"] = start.digest_
    for name in ("emulator", "verbose"):
        del parameters[name]
    return {
        "sk_payne": version("sk_payne"),
        "emulator": joblib.hash(parts),
        "regressor": describe(parameters),
        "combinations": describe(combinations),
        "chunk_size": int(chunk_size),
        "names": describe(names),
    }
