"""StoredGrid: a training grid in a folder of plain .npy files and JSON.

Grids of any size can be used while they are computed, and read without this package.
"""

import json
from pathlib import Path

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.grids._lazy_rows import LazyRows

__all__ = [
    "DONE",
    "FAILED",
    "FAILURES",
    "FORMAT",
    "FORMAT_VERSION",
    "MANIFEST",
    "MISSING",
    "StoredGrid",
    "open_grid",
    "read_failures",
    "read_manifest",
]

MISSING, DONE, FAILED = range(3)
MANIFEST, FAILURES = "grid.json", "failures.jsonl"
FORMAT, FORMAT_VERSION = "sk_payne grid", 1


class StoredGrid:
    """A training grid in a folder, finished or not; see :func:`open_grid`.

    Parameters
    ----------
    path : str or path-like
        The folder.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    data : ndarray of shape (n_spectra, n_labels), float64
        Stellar parameters P of the finished spectra.
    target : array-like of shape (n_spectra, n_wavelengths), float32
        Their flux F, which stays on disk: a `numpy.memmap`, or, if rows between are
        missing or failed, an object that is indexed like one and reads only the indexed
        values.
    rows : ndarray of shape (n_spectra,), int
        Rows of the finished spectra in the files.
    wavelength : ndarray of shape (n_wavelengths,), float64
        Wavelength in Å.
    medium : str
        "air" or "vacuum".
    label_names, label_units : list of str
        Names and units of the columns of `data`.
    fixed : dict
        Values of the labels that do not vary.
    status : ndarray of shape (n_rows,), uint8
        State of each row of the files: 0 missing, 1 done, 2 failed.
    failures : dict of int to str
        Reason of the failure by row.
    provenance : dict
        Space, seed, engine and versions of software.

    Raises
    ------
    FileNotFoundError
        If there is no grid in the folder.
    FileFormatError
        If the grid has a newer format, or is damaged.

    See Also
    --------
    build_grid : Compute a grid.

    Examples
    --------
    >>> from sk_payne.grids import StoredGrid
    >>> StoredGrid("nowhere")
    Traceback (most recent call last):
    FileNotFoundError: `path` must be the folder of a grid; got 'nowhere', ...
    """

    def __init__(self, path):
        self.path = Path(path)
        manifest = read_manifest(self.path)
        self.medium = manifest["medium"]
        self.label_names = manifest["label_names"]
        self.label_units = manifest["label_units"]
        self.fixed = manifest["fixed"]
        self.provenance = manifest["provenance"] | {"versions": manifest["versions"]}
        self.wavelength = self._load("wavelength")
        self.status = self._load("status")
        self.rows = np.flatnonzero(self.status == DONE)
        self.data = self._load("labels")[self.rows]
        self.target = self._target()
        reasons = read_failures(self.path)
        self.failures = {
            int(row): reasons.get(int(row), "The reason was not recorded.")
            for row in np.flatnonzero(self.status == FAILED)
        }

    def __repr__(self):
        n_missing = np.count_nonzero(self.status == MISSING)
        return (
            f"<StoredGrid '{self.path}': {len(self.rows)} spectra at "
            f"{len(self.wavelength)} wavelengths in {self.medium}, {n_missing} "
            f"missing, {len(self.failures)} failed>"
        )

    def _target(self):
        flux = self._load("flux", mmap_mode="r")
        n_rows = len(self.rows)
        if n_rows and self.rows[-1] - self.rows[0] + 1 == n_rows:
            return flux[self.rows[0] : self.rows[-1] + 1]
        return LazyRows(flux, self.rows) if n_rows else flux[:0]

    def _load(self, name, **options):
        path = self.path / f"{name}.npy"
        try:
            return np.load(path, allow_pickle=False, **options)
        except (OSError, ValueError, EOFError) as error:
            raise FileFormatError(
                f"'{path}' is damaged or missing ({error}). If build_grid was stopped "
                "while it made the folder, call it again; otherwise, restore the file."
            ) from error


def open_grid(path):
    """Open a training grid of :func:`build_grid`, finished or not.

    Parameters
    ----------
    path : str or path-like
        Folder of the grid.

    Returns
    -------
    grid : StoredGrid
        The finished spectra, with the attributes `data`, `target`, `wavelength`,
        `medium`, `label_names`, `label_units` and others. The flux stays on disk.

    Raises
    ------
    FileNotFoundError
        If there is no grid in the folder.
    FileFormatError
        If the grid has a newer format, or is damaged.

    See Also
    --------
    build_grid : Compute a grid; has an example.
    read_grid : Read a grid from a file.

    Notes
    -----
    The folder holds these files for `numpy.load`:

    ==================  ====================================  =========================
    file                shape                                 content
    ==================  ====================================  =========================
    ``labels.npy``      (n_rows, n_labels), float64           stellar parameters
    ``flux.npy``        (n_rows, n_wavelengths), float32      normalised flux
    ``status.npy``      (n_rows,), uint8                      0 missing, 1 done,
                                                              2 failed
    ``wavelength.npy``  (n_wavelengths,), float64             wavelength in Å
    ==================  ====================================  =========================

    ``grid.json`` has the names and units of labels, the medium and the provenance, and
    ``failures.jsonl`` one line per failed row. The flux is one row-major array, as this
    is fastest for random spectra: 2.9 GB/s through a memory-map in our measurement,
    0.07 to 1.6 GB/s from HDF5 and 0.02 GB/s from Zarr (64 rows of 22 315 wavelengths,
    in the cache of the system).

    Examples
    --------
    >>> from sk_payne.grids import open_grid
    >>> open_grid("nowhere")
    Traceback (most recent call last):
    FileNotFoundError: `path` must be the folder of a grid; got 'nowhere', ...
    """
    return StoredGrid(path)


def read_manifest(path):
    """Read the manifest of a grid, ``grid.json``.

    Parameters
    ----------
    path : pathlib.Path
        Folder of the grid.

    Returns
    -------
    manifest : dict
        Content of the file.

    Raises
    ------
    FileNotFoundError
        If there is no manifest.
    FileFormatError
        If it is not the manifest of a grid, or has a newer format.
    """
    file = path / MANIFEST
    if not file.is_file():
        raise FileNotFoundError(
            f"`path` must be the folder of a grid; got '{path}', which has no "
            f"{MANIFEST}. Pass the folder that build_grid made."
        )
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        is_grid = manifest["format"] == FORMAT
        version = manifest["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"'{file}' is damaged, or does not describe a grid ({error!r}). Restore it."
        ) from error
    if not is_grid or version > FORMAT_VERSION:
        raise FileFormatError(
            f"'{file}' must have the format {FORMAT!r}, up to version "
            f"{FORMAT_VERSION}; got {manifest['format']!r}, version {version}. Install "
            "a newer sk_payne."
        )
    return manifest


def read_failures(path):
    """Read the reasons of failures of a grid.

    Parameters
    ----------
    path : pathlib.Path
        Folder of the grid.

    Returns
    -------
    failures : dict of int to str
        Last reason by row, also of rows that were finished later.
    """
    file = path / FAILURES
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    failures = {}
    for line in lines:
        try:
            failure = json.loads(line)
            failures[failure["row"]] = failure["error"]
        except ValueError:  # a truncated line
            continue
    return failures
