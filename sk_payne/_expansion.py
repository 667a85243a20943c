"""Limits on archives of arrays from other people, and exceptions of damaged ones.

A harmful file expands from kilobytes to gigabytes. Grids may be large, but spectra do
not compress well: a file is refused only if it exceeds both a size and a ratio of
compression.
"""

import gzip
import struct
import tokenize
import zipfile
import zlib

import numpy as np

from sk_payne.exceptions import FileFormatError

__all__ = [
    "DAMAGED",
    "MAX_BYTES",
    "check_expansion",
    "check_gzip",
    "npz_member_size",
]

DAMAGED = (
    *(ValueError, OSError, EOFError, KeyError, TypeError, SyntaxError, MemoryError),
    *(NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error),
    tokenize.TokenError,
)
"""Exceptions of numpy and zipfile for a damaged npz file."""

# Bytes to which any file may expand.
MAX_BYTES = 2**29
# Beyond that, largest ratio of expanded size to size of the file; float32 flux
# compresses to about a half.
_MAX_RATIO = 20
_CHUNK = 2**20


def check_expansion(path, n_bytes, max_bytes):
    """Refuse a file whose arrays take far more memory than the file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    n_bytes : float
        Size of the arrays in memory.
    max_bytes : int
        Size that is always allowed.

    Raises
    ------
    FileFormatError
        If the arrays exceed `max_bytes` and 20 times the size of the file.
    """
    if n_bytes > max(max_bytes, _MAX_RATIO * path.stat().st_size):
        raise FileFormatError(
            f"{str(path)!r} expands to {n_bytes:.3g} bytes, more than `max_bytes` "
            f"({max_bytes}) and more than {_MAX_RATIO} times its size. Pass a larger "
            "`max_bytes=` if you trust the file and have the memory."
        )


def check_gzip(path, max_bytes):
    """Refuse a gzip file that expands too far; expand it piece by piece.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    max_bytes : int
        Size that is always allowed.
    """
    total = 0
    try:
        with gzip.open(path) as file:
            while chunk := file.read(_CHUNK):
                total += len(chunk)
                check_expansion(path, total, max_bytes)
    except (OSError, EOFError, gzip.zlib.error) as error:
        raise FileFormatError(
            f"{str(path)!r} is not a gzip file, or is damaged: {error} Write it again."
        ) from error


def npz_member_size(archive, name):
    """Return the size of an array in an npz file, checked against its header.

    Parameters
    ----------
    archive : numpy.lib.npyio.NpzFile
        The open file.
    name : str
        Name of the array.

    Returns
    -------
    n_bytes : int
        Size by the directory of the archive.

    Raises
    ------
    ValueError
        If the header of the array states a larger size.
    """
    member = name if name in archive.zip.namelist() else f"{name}.npy"
    size = archive.zip.getinfo(member).file_size
    with archive.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            return size
        shape, _, dtype = readers[version](file)
    n_bytes = np.prod(shape, dtype=float) * dtype.itemsize
    if n_bytes > size and not dtype.hasobject:
        raise ValueError(f"Its header states {n_bytes:.3g} bytes, and it has {size}.")
    return size
