"""Archives of arrays from other people: what they expand to, and how they fail.

A file made to do harm expands from kilobytes to gigabytes, and is refused before it
does. Grids may be large, but spectra do not compress well: a file is suspicious only if
it expands both far and beyond a limit.
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

# Bytes that any file may expand to.
MAX_BYTES = 2**29
# Times its own size that a file may expand to, beyond that; flux in single precision
# compresses to a half or so.
_MOST_TIMES = 20
_CHUNK = 2**20


def check_expansion(path, n_bytes, max_bytes):
    """Refuse a file whose arrays take far more memory than the file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    n_bytes : float
        What the arrays would take.
    max_bytes : int
        What any file may take.

    Raises
    ------
    FileFormatError
        If they take more than that, and more than 20 times the size of the file.
    """
    if n_bytes > max(max_bytes, _MOST_TIMES * path.stat().st_size):
        raise FileFormatError(
            f"{str(path)!r} expands to {n_bytes:.3g} bytes, more than `max_bytes`, "
            f"{max_bytes}, and than {_MOST_TIMES} times its size. Pass a larger "
            "`max_bytes=` if you trust the file and have the memory."
        )


def check_gzip(path, max_bytes):
    """Refuse a gzipped file that expands too far, by expanding it piece by piece.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    max_bytes : int
        What any file may expand to.
    """
    total = 0
    try:
        with gzip.open(path) as file:
            while chunk := file.read(_CHUNK):
                total += len(chunk)
                check_expansion(path, total, max_bytes)
    except (OSError, EOFError, gzip.zlib.error) as error:
        raise FileFormatError(
            f"{str(path)!r} is no gzip file, or is damaged: {error} Write it again."
        ) from error


def npz_member_size(archive, name):
    """Return the bytes of an array of an npz file, which its header must agree with.

    Parameters
    ----------
    archive : numpy.lib.npyio.NpzFile
        The open file.
    name : str
        Of the array.

    Returns
    -------
    n_bytes : int
        As the archive says.

    Raises
    ------
    ValueError
        If the header of the array states more.
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
