"""StoreWriter: makes the folder of a grid, enlarges it, and fills its rows.

A run that is killed leaves no half-written spectrum.
"""

import io
import os
from pathlib import Path

import numpy as np

from sk_payne.grids._store import (
    DONE,
    FAILED,
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    read_failures,
    read_manifest,
)
from sk_payne.resumable import Folder, refuse_other

__all__ = ["StoreWriter"]

# Relative tolerance; functions such as exp differ between processors by 2e-16.
_ROUNDING = 1e-13


class StoreWriter:
    """Writer of rows of a grid; several processes may write different rows.

    A row is written to disk before it is marked as done, so that a killed process
    leaves it missing. Files are written, not mapped, so that a full disk is an error
    that can be caught.

    Parameters
    ----------
    path : str or path-like
        Folder, made if it does not exist.
    description : dict
        Values that JSON can hold: `label_names`, `label_units`, `fixed`, `medium` and
        `provenance`. Later calls must pass the same.
    wavelength : ndarray of shape (n_wavelengths,), float64
        Wavelengths in Å.
    versions : dict of str to str
        Versions of software, for the provenance; they may change later.

    Attributes
    ----------
    wavelength : ndarray of shape (n_wavelengths,), float64
        Wavelengths in Å in the folder.
    path : pathlib.Path
        The folder.
    claims : Claims
        Claims on rows that are being computed.

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
    ...     _ = writer.extend(np.array([[4000.0], [5000.0], [6000.0]]))
    ...     writer.write(1, np.array([0.9, 1.0]))
    ...     open_grid(folder).data.tolist(), writer.status().tolist()
    ([[5000.0]], [0, 1, 0])
    """

    def __init__(self, path, description, wavelength, versions):
        path = Path(path)
        identity = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **description,
            "units": {"wavelength": "Angstrom", "flux": "continuum"},
            "status": {"0": "missing", "1": "done", "2": "failed"},
        }
        if (path / MANIFEST).exists():
            read_manifest(path)  # raises an error if the format is unknown
        self._folder = Folder(path, "grid", identity, {"versions": versions})
        self.path = self._folder.path
        self.claims = self._folder.claims
        if self._file("wavelength").exists():
            stored = np.load(self._file("wavelength"))
            refuse_other(self.path, "grid", _wavelength_difference(stored, wavelength))
        n_labels = len(description["label_names"])
        with self.claims.alone():
            self._make("wavelength", wavelength)
            self._make("labels", np.empty((0, n_labels)))
            self._make("flux", np.empty((0, len(wavelength)), dtype=np.float32))
            self._make("status", np.empty(0, dtype=np.uint8))
        # from the process that began the grid: the last bits may differ
        self.wavelength = np.load(self._file("wavelength"))

    def status(self):
        """Read the state of all rows.

        Returns
        -------
        status : ndarray of shape (n_rows,), uint8
            0 missing, 1 done, 2 failed.
        """
        return np.load(self._file("status"))

    def status_of(self, row):
        """Read the state of one row.

        Parameters
        ----------
        row : int
            Index of the row.

        Returns
        -------
        status : int
            0 missing, 1 done, 2 failed.
        """
        return int(np.load(self._file("status"), mmap_mode="r")[row])

    def extend(self, labels):
        """Enlarge the grid to n rows, if it has fewer.

        Parameters
        ----------
        labels : ndarray of shape (n, n_labels)
            Labels of all rows, existing ones included.

        Returns
        -------
        labels : ndarray of shape (n, n_labels)
            Labels of these rows in the folder.

        Raises
        ------
        ValueError
            If existing rows have other labels.
        """
        with self.claims.alone():
            stored = np.load(self._file("labels"))
            n_shared = min(len(stored), len(labels))
            changed = ~_agree(stored[:n_shared], labels[:n_shared]).all(axis=1)
            if changed.any():
                raise ValueError(
                    "`space` must sample the same labels again; those of row "
                    f"{np.argmax(changed)} of '{self.path}' differ. Pass another "
                    "folder, or the versions of space and scipy that began this one."
                )
            labels = np.vstack([stored[:n_shared], labels[n_shared:]])
            if len(labels) > len(stored):
                self._replace("labels", labels)
            # status last, so that a row with a status has labels and flux
            for name in ("flux", "status"):
                _grow(self._file(name), len(labels))
        return labels

    def write(self, row, flux):
        """Write a spectrum.

        Parameters
        ----------
        row : int
            Index of the row.
        flux : ndarray of shape (n_wavelengths,)
            Normalised flux, of any precision.
        """
        _write_row(self._file("flux"), row, flux)
        _write_row(self._file("status"), row, DONE)

    def fail(self, row, reason):
        """Record that a spectrum failed.

        Parameters
        ----------
        row : int
            Index of the row.
        reason : str
            Reason of the failure.
        """
        self._folder.record_failures([{"row": int(row), "error": reason}])
        _write_row(self._file("status"), row, FAILED)

    def sort_failures(self):
        """Sort the list of failures by row, without rows that are finished by now."""

        def select():
            status, failures = self.status(), read_failures(self.path)
            return [
                {"row": row, "error": failures[row]}
                for row in sorted(failures)
                if status[row] == FAILED
            ]

        self._folder.rewrite_failures(select)

    def _file(self, name):
        return self.path / f"{name}.npy"

    def _make(self, name, array):
        if not self._file(name).exists():
            self._replace(name, array)

    def _replace(self, name, array):
        content = io.BytesIO()
        np.save(content, array)
        self._folder.replace(self._file(name).name, content.getvalue())


# Arrays on disk ------------------------------------------------------------------


def _grow(path, n_rows):
    """Add rows to an array on disk; they are zeros, and take no space yet."""
    array = np.load(path, mmap_mode="r")
    if n_rows <= len(array):
        return
    shape = (n_rows, *array.shape[1:])
    # numpy leaves room in the header for a first axis of any length
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header,
        {
            "descr": np.lib.format.dtype_to_descr(array.dtype),
            "fortran_order": False,
            "shape": shape,
        },
    )
    if header.tell() != array.offset:
        raise RuntimeError(f"The header of '{path}' does not fit its place.")
    with open(path, "r+b") as file:
        file.truncate(array.offset + int(np.prod(shape)) * array.dtype.itemsize)
        file.write(header.getvalue())  # at once: other processes read it


def _write_row(path, row, values):
    """Write one row of an array, and wait until it is on disk."""
    array = np.load(path, mmap_mode="r")
    content = np.broadcast_to(np.asarray(values, array.dtype), array.shape[1:])
    if not 0 <= row < len(array):
        raise IndexError(f"`row` must be one of {len(array)}; got {row}.")
    with open(path, "r+b") as file:
        file.seek(array.offset + row * content.nbytes)
        file.write(content.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _agree(stored, values):
    """Compare numbers up to differences of rounding between processors."""
    return np.isclose(stored, values, rtol=_ROUNDING, atol=0.0)


def _wavelength_difference(stored, values):
    same_length = len(stored) == len(values)
    if same_length and _agree(stored, values).all():
        return None
    (a, b, n), (c, d, m) = ((w[0], w[-1], len(w)) for w in (stored, values))
    where = ""
    if same_length:
        first = np.argmin(_agree(stored, values))
        where = f"; the first that differs is {stored[first]}, not {values[first]} Å"
    return f"`wavelength`: {n} from {a} to {b} Å, not {m} from {c} to {d} Å{where}"
