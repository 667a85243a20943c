"""StoreWriter: makes the folder of a grid, enlarges it, and fills its rows.

It is here so that nothing that ends a run can leave half a spectrum behind.
"""

import json
import os
from pathlib import Path

import numpy as np

from sk_payne.grids._store import (
    DONE,
    FAILED,
    FAILURES,
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    read_failures,
    read_manifest,
)

__all__ = ["StoreWriter"]


class StoreWriter:
    """Writes rows of a grid; several processes of one machine may, different ones.

    A row is written to disk before it is marked as done: whatever ends a process
    between leaves a row that is missing. Files are written, not mapped, so that a full
    disk is an error that can be caught.

    Parameters
    ----------
    path : str or path-like
        Folder, which is made if it does not exist.
    description : dict
        What JSON can hold: `label_names`, `label_units`, `fixed`, `medium` and
        `provenance`. All of it must be the same when a grid is gone on with.
    wavelength : ndarray of shape (n_wavelengths,), float64
        Å.
    versions : dict of str to str
        Of software, for the provenance; they may change when a grid is gone on with.

    Raises
    ------
    ValueError
        If the folder holds another grid, or anything else.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_payne.grids import open_grid
    >>> from sk_payne.grids._store_writer import StoreWriter
    >>> description = {
    ...     "label_names": ["teff"], "label_units": ["K"], "fixed": {},
    ...     "medium": "air", "provenance": {},
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = StoreWriter(folder, description, np.array([5000.0, 5001.0]), {})
    ...     writer.extend(np.array([[4000.0], [5000.0], [6000.0]]))
    ...     writer.write(1, np.array([0.9, 1.0]))
    ...     open_grid(folder).data.tolist(), writer.status().tolist()
    ([[5000.0]], [0, 1, 0])
    """

    def __init__(self, path, description, wavelength, versions):
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **description,
            "units": {"wavelength": "Angstrom", "flux": "continuum"},
            "status": {"0": "missing", "1": "done", "2": "failed"},
        }
        if (self.path / MANIFEST).exists():
            self._check_same(manifest, wavelength)
        else:
            self._check_empty()
            self._replace(
                MANIFEST, json.dumps(manifest | {"versions": versions}, indent=1)
            )
        # the manifest first: whatever is not there yet is then known to be ours
        n_labels = len(description["label_names"])
        self._make("wavelength", wavelength)
        self._make("labels", np.empty((0, n_labels)))
        self._make("flux", np.empty((0, len(wavelength)), dtype=np.float32))
        self._make("status", np.empty(0, dtype=np.uint8))

    def status(self):
        """Read the state of all rows.

        Returns
        -------
        status : ndarray of shape (n_rows,), uint8
            0 missing, 1 done, 2 failed.
        """
        return np.load(self._file("status"))

    def extend(self, labels):
        """Enlarge the grid to so many rows, if it has fewer.

        Parameters
        ----------
        labels : ndarray of shape (n, n_labels)
            Of all rows, also of those that are there.

        Raises
        ------
        ValueError
            If rows that are there have other labels.
        """
        found = np.load(self._file("labels"))
        n_shared = min(len(found), len(labels))
        changed = (found[:n_shared] != labels[:n_shared]).any(axis=1)
        if changed.any():
            raise ValueError(
                "`space` must sample the same labels again; those of row "
                f"{np.argmax(changed)} of '{self.path}' differ. Pass another folder, "
                "or the versions of space and scipy that began this one."
            )
        if len(labels) > len(found):
            self._replace_array("labels", labels)
        # in this order, so that a row which has a status has all else
        for name in ("flux", "status"):
            _grow(self._file(name), len(labels))

    def write(self, row, flux):
        """Write a spectrum.

        Parameters
        ----------
        row : int
            Which.
        flux : ndarray of shape (n_wavelengths,)
            Of any precision.
        """
        _write_row(self._file("flux"), row, flux)
        _write_row(self._file("status"), row, DONE)

    def fail(self, row, reason):
        """Record that a spectrum could not be made.

        Parameters
        ----------
        row : int
            Which.
        reason : str
            Why.
        """
        with open(self.path / FAILURES, "ab", buffering=0) as file:
            file.write(_failure_line(row, reason).encode())
        _write_row(self._file("status"), row, FAILED)

    def sort_failures(self):
        """Write failures in the order of rows, without those that were made since."""
        status, failures = self.status(), read_failures(self.path)
        lines = [
            _failure_line(row, failures[row])
            for row in sorted(failures)
            if status[row] == FAILED
        ]
        self._replace(FAILURES, "".join(lines))

    # Folder ----------------------------------------------------------------------

    def _check_empty(self):
        others = [f.name for f in self.path.iterdir() if f.suffix != ".partial"]
        if others:
            raise ValueError(
                f"`path` must be a new folder or that of a grid; '{self.path}' holds "
                f"other files, such as {others[0]!r}. Pass another."
            )

    def _check_same(self, manifest, wavelength):
        found = read_manifest(self.path)
        found.pop("versions", None)
        difference = _difference(found, json.loads(json.dumps(manifest)))
        if difference is None and self._file("wavelength").exists():
            difference = _wavelength_difference(
                np.load(self._file("wavelength")), wavelength
            )
        if difference is not None:
            raise ValueError(
                f"`path` must be a new folder or that of the same grid; '{self.path}' "
                f"was made with another {difference}. Pass another folder, or the same "
                "arguments."
            )

    def _file(self, name):
        return self.path / f"{name}.npy"

    def _make(self, name, array):
        if not self._file(name).exists():
            self._replace_array(name, array)

    def _replace_array(self, name, array):
        partial = self.path / f"{name}.partial"
        with open(partial, "wb") as file:
            np.save(file, array)
        os.replace(partial, self._file(name))

    def _replace(self, name, text):
        partial = self.path / f"{name}.partial"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, self.path / name)


def _failure_line(row, reason):
    return json.dumps({"row": int(row), "error": reason}, ensure_ascii=False) + "\n"


# Arrays on disk ------------------------------------------------------------------


def _grow(path, n_rows):
    """Give an array on disk more rows, of zeros that take no space yet."""
    array = np.load(path, mmap_mode="r")
    if n_rows <= len(array):
        return
    shape = (n_rows, *array.shape[1:])
    with open(path, "r+b") as file:
        file.truncate(array.offset + int(np.prod(shape)) * array.dtype.itemsize)
        # numpy leaves room in the header for a first axis of any length
        np.lib.format.write_array_header_1_0(
            file,
            {
                "descr": np.lib.format.dtype_to_descr(array.dtype),
                "fortran_order": False,
                "shape": shape,
            },
        )
        if file.tell() != array.offset:
            raise RuntimeError(f"The header of '{path}' does not fit its place.")


def _write_row(path, row, values):
    """Write one row of an array on disk, for good."""
    array = np.load(path, mmap_mode="r")
    content = np.broadcast_to(np.asarray(values, array.dtype), array.shape[1:])
    if not 0 <= row < len(array):
        raise IndexError(f"`row` must be one of {len(array)}; got {row}.")
    with open(path, "r+b") as file:
        file.seek(array.offset + row * content.nbytes)
        file.write(content.tobytes())
        file.flush()
        os.fsync(file.fileno())


# Differences ---------------------------------------------------------------------


def _difference(found, wanted, name=""):
    """Name and values of the first entry in which two dictionaries differ, or None."""
    if not (isinstance(found, dict) and isinstance(wanted, dict)):
        return None if found == wanted else f"`{name}`: {found!r}, not {wanted!r}"
    for key in [*wanted, *(found.keys() - wanted.keys())]:
        inner = f"{name}.{key}".removeprefix(".").removeprefix("provenance.")
        difference = _difference(found.get(key), wanted.get(key), inner)
        if difference is not None:
            return difference
    return None


def _wavelength_difference(found, wanted):
    if np.array_equal(found, wanted):
        return None
    (a, b, n), (c, d, m) = ((w[0], w[-1], len(w)) for w in (found, wanted))
    return f"`wavelength`: {n} from {a} to {b} Å, not {m} from {c} to {d} Å"
