"""Opening a file of unknown content: FITS, text, or neither, compressed or not.

Files are untrusted: the memory that compressed files, compressed images and texts take
is limited, and headers that cannot be parsed are refused.
"""

import bz2
import gzip
import io
from contextlib import ExitStack, contextmanager

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._hdu_checks import check_hdu, check_sizes

__all__ = ["MAX_BYTES", "is_fits", "opened"]

# Bytes of a file once it is decompressed; reading takes up to three times as much.
MAX_BYTES = 2**28

# First bytes of compressed files, and what opens them.
_COMPRESSED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open))
_CHUNK = 2**20

# Python needs some 300 bytes for a line of two numbers, and 60 for a word in it.
_LINES_PER_BYTE, _TEXT_PER_BYTE, _LONGEST_LINE = 1 / 256, 1 / 4, 2**16


@contextmanager
def opened(path, max_bytes):
    """Open a file and tell what it is.

    Parameters
    ----------
    path : pathlib.Path
        An existing file.
    max_bytes : int
        Limit to what compressed data may expand to; a quarter of it limits text.

    Yields
    ------
    content : HDUList, list of str, or None
        The HDUs of a FITS file, the lines of a text, or None for anything else.
    """
    try:
        with path.open("rb") as file:
            start = file.read(6)
            expand = next((o for s, o in _COMPRESSED if start.startswith(s)), None)
        source = path if expand is None else _expanded(path, expand, max_bytes)
        if expand is not None:
            start = source.read(6)
            source.seek(0)
        if start != b"SIMPLE":
            yield _lines(source, max_bytes)
            return
        with _hdus(source, max_bytes) as hdus:
            yield hdus
    except FileFormatError as error:
        if str(path) in str(error):
            raise
        raise FileFormatError(f"{str(path)!r}: {error}") from error


def is_fits(content):
    """Return whether an opened file is FITS."""
    from astropy.io import fits

    return isinstance(content, fits.HDUList)


def _expanded(path, expand, max_bytes):
    """Decompress a file into memory, up to a limit."""
    whole = io.BytesIO()
    try:
        with expand(path) as file:
            while chunk := file.read(_CHUNK):
                whole.write(chunk)
                if whole.tell() > max_bytes:
                    raise FileFormatError(
                        f"It expands to more than `max_bytes`, {max_bytes} bytes. Pass "
                        "a larger `max_bytes=` if you trust the file and have three "
                        "times the memory."
                    )
    except (OSError, EOFError, ValueError, gzip.zlib.error) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(
            f"It is compressed, and damaged or truncated ({error}). Copy the file "
            "again."
        ) from error
    whole.seek(0)
    return whole


# FITS ----------------------------------------------------------------------------


@contextmanager
def _hdus(source, max_bytes):
    with ExitStack() as stack:
        try:
            hdus = _opened_fits(source, stack)
            _check_all(hdus, max_bytes, isinstance(source, io.BytesIO))
        except FileFormatError:
            raise
        except Exception as error:  # astropy lets many kinds through
            raise FileFormatError(
                f"Its FITS headers are damaged or truncated ({error}). Copy the file "
                "again."
            ) from error
        yield hdus


def _opened_fits(source, stack):
    from astropy.io import fits

    # astropy leaves files open that it fails on
    file = source if isinstance(source, io.BytesIO) else source.open("rb")
    stack.enter_context(file)
    check_sizes(file)
    return stack.enter_context(fits.open(file, lazy_load_hdus=True))


def _check_all(hdus, max_bytes, is_expanded):
    """Check each HDU before astropy reads the header of the next."""
    number, start = 0, -1
    while True:
        try:
            hdu = hdus[number]
        except IndexError:
            return
        check_hdu(hdu, number, max_bytes, is_expanded=is_expanded)
        place = hdu.fileinfo()["hdrLoc"]
        if place <= start:  # a negative size leads back, again and again
            raise FileFormatError(
                f"Its HDU {number} lies before HDU {number - 1}. Copy the file again."
            )
        number, start = number + 1, place


# Text ----------------------------------------------------------------------------


def _lines(source, max_bytes):
    """Return the lines of a text, or None if it is no text."""
    most = int(max_bytes * _TEXT_PER_BYTE)
    if isinstance(source, io.BytesIO):
        content = source.getbuffer()[: most + 1].tobytes()
    else:
        with source.open("rb") as file:
            content = file.read(most + 1)
    if b"\0" in content[:_CHUNK] or b"\0" in content:
        return None
    n_lines = content.count(b"\n") + content.count(b"\r")
    if len(content) > most or n_lines > max_bytes * _LINES_PER_BYTE:
        raise FileFormatError(
            f"It is a text of more than {most} bytes or "
            f"{int(max_bytes * _LINES_PER_BYTE)} lines, the limits that `max_bytes` "
            "sets. Pass a larger `max_bytes=` if you trust the file."
        )
    # an Å in another encoding spoils nothing but a comment
    lines = content.decode("utf-8-sig", errors="replace").splitlines()
    return None if max(map(len, lines), default=0) > _LONGEST_LINE else lines
