"""measure_catalogue: a survey, measured part by part into a folder.

It is here because a million stars fit neither memory nor one sitting: parts that are
written are kept, and the next call goes on after them.
"""

import io
import json
import os
import warnings
from copy import copy
from importlib.metadata import version
from pathlib import Path

import joblib
import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from sk_payne.abundances._chunks import (
    Job,
    count_stars,
    gather,
    in_order,
    start_here,
    start_on_workers,
)
from sk_payne.abundances._fitted_emulator import fitted_emulator_of
from sk_payne.exceptions import FileFormatError
from sk_payne.spectra import SpectrumSet

__all__ = ["measure_catalogue", "read_catalogue"]

_MANIFEST, _FAILURES = "catalogue.json", "failures.jsonl"


def measure_catalogue(
    regressor,
    spectra,
    path,
    *,
    reader=None,
    names="object",
    combinations=None,
    chunk_size=1000,
    client=None,
    verbose=1,
):
    """Measure any number of stars into a folder, and go on where it was stopped.

    Spectra are taken in chunks, so that memory holds only what is being measured. Each
    chunk becomes a part of the catalogue, which is written in one go. Called again with
    the same arguments, whatever ended the call before, it measures only what is
    missing, and the catalogue is the one that a single call would have made.

    Parameters
    ----------
    regressor : AbundanceRegressor
        Fitted, or with a fitted emulator.
    spectra : iterable
        Items are what :meth:`AbundanceRegressor.measure` takes, for one star (a 1-D
        ``Spectrum``, a row of flux) or a block of stars (a 2-D ``Spectrum``, a list, a
        ``SpectrumSet``, an array). With `reader`, paths, or whatever it takes.
    path : str or path-like
        Folder of the catalogue, which is made if it does not exist.
    reader : callable, default=None
        Gives spectra for an item. It is called where they are measured, and not for
        parts that are there already.
    names : str or callable, default="object"
        What goes into the column `object`: a key of the ``meta`` of spectra, or a
        function that gives the name of a spectrum; a list of names for a block that is
        no list.
    combinations : mapping of str to mapping of str to float, default=None
        As in :meth:`AbundanceRegressor.measure`.
    chunk_size : int, default=1000
        Stars of a part, at least: an item is not divided. With `reader`, items of a
        part, of which about so many stars are held at a time.
    client : dask.distributed.Client, default=None
        Whose workers measure chunks, each thread on one core; the emulator is sent to
        every worker once. Parts are written here. If None, all is measured here.
    verbose : int, default=1
        0 shows no progress bar.

    Returns
    -------
    path : pathlib.Path
        The folder, for :func:`read_catalogue`.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    TypeError
        If `spectra` are paths, but there is no `reader`.
    ValueError
        If an argument is not allowed, or the folder holds another catalogue.

    Warns
    -----
    UserWarning
        If items could not be read, or stars not be measured. They have no row; the file
        ``failures.jsonl`` in the folder has the number of the item, the row in it and
        the error.

    See Also
    --------
    read_catalogue : The table of all stars.

    Notes
    -----
    What identifies a catalogue is in ``catalogue.json``: parameters of the regressor,
    weights of the emulator, combinations, size of the chunks, version of the package.
    That the spectra are the same is for the caller to see to. More of them at the end
    are welcome: a part that was not full is measured again.

    Numbers depend on the other stars of a chunk by no more than rounding, and on
    the workers not at all, if torch has one thread here, too.

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
    _check_arguments(regressor, spectra, chunk_size)
    regressor = copy(regressor)
    regressor.verbose = 0
    inverted = fitted_emulator_of(regressor)
    # before anything is written, so that what is wrong with all stars is said at once
    nothing = SpectrumSet(*np.zeros((2, 1, inverted.n_pixels)))
    blank = regressor.measure(nothing, combinations=combinations)
    path = Path(path)
    _claim(path, _identity(regressor, inverted, combinations, chunk_size))
    job = Job(regressor, blank, reader, names, combinations, chunk_size)
    start, n_ahead = (
        start_here(job) if client is None else start_on_workers(client, job)
    )

    chunks = gather(spectra, chunk_size, reader)
    tables = in_order(chunks, _find_or(start, path), n_ahead)
    n_failed, first_error = 0, None
    with (
        tqdm(total=_total(spectra, reader), unit="star", disable=not verbose) as bar,
        open(path / _FAILURES, "w", encoding="utf-8") as log,
    ):
        for failures, n_stars in _kept(path, tables):
            for failure in failures:
                line = json.dumps(failure, ensure_ascii=False, sort_keys=True)
                log.write(line + "\n")
                first_error = first_error or failure["error"]
            log.flush()
            n_failed += len(failures)
            bar.update(n_stars)
    if n_failed:
        warnings.warn(
            f"{n_failed} items or stars could not be read or measured and have no row. "
            f"'{path / _FAILURES}' names them; the first error is {first_error}",
            stacklevel=2,
        )
    return path


def read_catalogue(path):
    """Read the catalogue that :func:`measure_catalogue` wrote.

    Parameters
    ----------
    path : str or path-like
        Its folder. An unfinished catalogue is read as far as it goes.

    Returns
    -------
    table : astropy.table.QTable
        One row per star, in order: `star`, a running number, in which an item that
        could not be read counts as one; `item`, the number of the item of `spectra` it
        was in; `object`, its name, empty if unknown; and all that
        :meth:`AbundanceRegressor.measure` tells.

    Raises
    ------
    FileNotFoundError
        If there is no catalogue.

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
    from astropy.table import vstack

    parts = sorted(Path(path).glob("part-*.ecsv"))
    if not parts:
        raise FileNotFoundError(
            f"`path` must be the folder of a catalogue; got '{path}'. Pass what "
            "measure_catalogue returned."
        )
    tables = [_read_part(part) for part in parts]
    for table in tables:
        del table.meta["catalogue"]
    return vstack(tables)


def _check_arguments(regressor, spectra, chunk_size):
    if isinstance(spectra, str | os.PathLike):
        raise TypeError(
            "`spectra` must be an iterable of spectra, or of paths together with "
            f"`reader`; got '{spectra}'. Pass [path] for a single file."
        )
    if not (isinstance(chunk_size, int | np.integer) and chunk_size > 0):
        raise ValueError(
            f"`chunk_size` must be an integer of at least 1; got {chunk_size!r}."
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
            f"got {offsets!r}. Pass [{offsets!r}] for "
            "spectra with two arms at most."
        )
    for name in ("fixed", "priors"):
        for label, value in (getattr(regressor, name) or {}).items():
            if any(map(np.ndim, value if isinstance(value, tuple) else [value])):
                raise ValueError(
                    f"`{name}[{label!r}]` of the regressor must be the same for all "
                    "stars of a catalogue; got an array. Use `measure` block by block."
                )


def _total(spectra, reader):
    """Stars in all, as far as it can be known beforehand."""
    if not isinstance(spectra, list | tuple):
        return None
    return len(spectra) if reader else sum(map(count_stars, spectra))


def _identity(regressor, inverted, combinations, chunk_size):
    """Give what must be the same when a catalogue is gone on with, as JSON has it."""
    # they say no more than the source
    parts = {**vars(inverted), "single": None, "emulator": None}
    if isinstance(inverted.source, torch.nn.Module):
        # the same on every device
        parts["source"] = {
            name: tensor.double().cpu().numpy()
            for name, tensor in inverted.source.state_dict().items()
        }
    parameters = regressor.get_params(deep=False)
    return {
        "sk_payne": version("sk_payne"),
        "emulator": joblib.hash(parts),
        **{
            f"regressor.{name}": repr(value)
            for name, value in parameters.items()
            if name not in ("emulator", "verbose")
        },
        "combinations": repr(combinations),
        "chunk_size": int(chunk_size),
    }


def _claim(path, identity):
    """Make the folder of a catalogue, or see that it is that of this one."""
    path.mkdir(parents=True, exist_ok=True)
    manifest = path / _MANIFEST
    if not manifest.exists():
        if any(file.suffix != ".partial" for file in path.iterdir()):
            raise ValueError(
                f"`path` must be a new folder or that of a catalogue; '{path}' holds "
                "other files. Pass another."
            )
        _write(manifest, json.dumps(identity, indent=1))
        return
    found = json.loads(manifest.read_text(encoding="utf-8"))
    for name in identity | found:
        if found.get(name) != identity.get(name):
            raise ValueError(
                f"`path` must be a new folder or that of the same catalogue; '{path}' "
                f"was made with another `{name}`: {found.get(name)}, not "
                f"{identity.get(name)}. Pass another folder, or the same arguments."
            )


# Parts ---------------------------------------------------------------------------


def _find_or(start, path):
    """Give what starts chunks, but for those whose part is there already."""

    def find_or_start(chunk):
        part = _part(path, chunk.number)
        if part.exists():
            table = _read_part(part)
            if table.meta["catalogue"]["n_items"] == len(chunk.items):
                return lambda: table
        return start(chunk)

    return find_or_start


def _kept(path, tables):
    """Write tables that are new, and yield the failures and stars of all."""
    first_star = 0
    for number, n_stars, table in tables:
        about = table.meta["catalogue"]
        if about["first_star"] != first_star:
            table["star"] += first_star - (about["first_star"] or 0)
            about["first_star"] = first_star
            _write_part(_part(path, number), table)
        first_star += about["n_stars"]
        yield about["failures"], n_stars


def _part(path, number):
    return path / f"part-{number:06d}.ecsv"


def _write_part(path, table):
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    _write(path, text.getvalue())


def _write(path, text):
    """Write a file, which is never half written."""
    partial = Path(f"{path}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _read_part(path):
    from astropy.table import QTable

    try:
        table = QTable.read(path, format="ascii.ecsv", encoding="utf-8")
        table.meta["catalogue"]["n_items"]
    except Exception as error:  # of whatever a damaged file looks like
        raise FileFormatError(
            f"'{path}' is no part of a catalogue, or damaged ({error}). Remove it, and "
            "call measure_catalogue again."
        ) from error
    if hasattr(table["object"], "filled"):
        table["object"] = table["object"].filled("")
    return table
