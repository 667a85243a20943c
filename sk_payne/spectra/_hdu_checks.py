"""Checks of an HDU before anything is read from it.

astropy trusts headers: a damaged one can make it fail in many ways, or fill the memory.
"""

import math
import re
import warnings

import numpy as np

from sk_payne.exceptions import FileFormatError

__all__ = ["check_hdu", "check_sizes"]

# Columns that a table of the FITS standard has at most, and axes of an image.
_MOST = 999


# Bytes of a value in memory.
_BYTES_PER_VALUE = 8

# Bytes of a block, of a card, and of a header at most.
_BLOCK, _CARD, _LONGEST_HEADER = 2880, 80, 2**25
# Where astropy takes a header to end, damaged or not.
_END = re.compile(rb"END *([^A-Z0-9_ -]|$)")
_SIZE = re.compile(rb"(BITPIX|NAXIS\d*|PCOUNT|GCOUNT) *= *\+?(-?\d+)")


def check_sizes(file):
    """Refuse a file with a header of too many axes, or of less than no data.

    astropy makes a list of as many numbers as a header states axes, and goes back in
    the file for negative sizes, before anything can be checked.

    Parameters
    ----------
    file : binary file
        FITS file; it is at its start afterwards.

    Raises
    ------
    FileFormatError
        If a header states more than 999 axes or a negative size, or does not end.
    """
    start, number = 0, 0
    while header := _raw_header(file, start, number):
        numbers = {}
        for i in range(0, len(header), _CARD):
            found = _SIZE.match(header[i : i + _CARD])
            if found:
                numbers.setdefault(found[1].decode(), int(found[2][:20]))
        n_axes = numbers.get("NAXIS", 0)
        if not 0 <= n_axes <= _MOST:
            raise FileFormatError(_damaged(number, f"it states {n_axes} axes"))
        axes = [numbers.get(f"NAXIS{i + 1}", 0) for i in range(n_axes)]
        n_values = math.prod(axes) if axes else 0
        n_values = numbers.get("GCOUNT", 1) * (numbers.get("PCOUNT", 0) + n_values)
        n_bytes = abs(numbers.get("BITPIX", 8)) // 8 * n_values
        if n_bytes < 0:  # astropy would read the same HDU again and again
            raise FileFormatError(_damaged(number, f"it states {n_bytes} bytes"))
        start += len(header) + -(-n_bytes // _BLOCK) * _BLOCK
        number += 1
    file.seek(0)


def _raw_header(file, start, number):
    """Return the bytes of a header that starts there, or none at the end of a file."""
    if start >= 2**62:
        return b""
    file.seek(start)
    header = bytearray()
    while block := file.read(_BLOCK):
        header += block
        cards = (block[i : i + _CARD] for i in range(0, len(block), _CARD))
        if any(map(_END.match, cards)):
            return bytes(header)
        if len(header) > _LONGEST_HEADER:
            raise FileFormatError(_damaged(number, "its header does not end"))
    return bytes(header)  # astropy says what is wrong with one that does not end


def check_hdu(hdu, number, max_bytes, *, is_expanded=False):
    """Refuse an HDU that is damaged, or that expands too far.

    Parameters
    ----------
    hdu : astropy HDU
        Keywords that cannot be parsed are removed from its header.
    number : int
        Its place in the file, for messages.
    max_bytes : int
        Limit to what a compressed image may expand to.
    is_expanded : bool, default=False
        Whether the whole file was compressed, so that the limit holds for any image.

    Raises
    ------
    FileFormatError
        If it is of no kind that the FITS standard knows, or states columns, a shape or
        a name that cannot be.
    """
    from astropy.io import fits

    kinds = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)
    if not isinstance(hdu, (*kinds, fits.BinTableHDU, fits.TableHDU)):
        raise FileFormatError(_damaged(number, "it is neither an image nor a table"))
    _drop_unreadable_cards(hdu.header)
    try:
        n_fields = hdu.header.get("TFIELDS", 0)
        if not (type(n_fields) is int and 0 <= n_fields <= _MOST):
            raise ValueError(f"TFIELDS is {n_fields!r}")
        if hdu.is_image:
            n_bytes = _expanded_bytes(hdu, is_expanded)
        else:
            if not all(isinstance(name, str) for name in hdu.columns.names):
                raise ValueError("a column has no name")
            n_bytes = 0
        if not isinstance(hdu.name, str):
            raise ValueError(f"its name is {hdu.name!r}")
    except Exception as error:  # astropy lets many kinds through
        raise FileFormatError(_damaged(number, error)) from error
    if n_bytes > max_bytes:
        raise FileFormatError(
            f"Its HDU {hdu.name} expands to more than `max_bytes`, {max_bytes} bytes. "
            "Pass a larger `max_bytes=` if you trust the file and have three times the "
            "memory."
        )


def _expanded_bytes(hdu, is_expanded):
    """Return the bytes that a compressed image takes as float64, 0 of any other."""
    from astropy.io import fits

    shape = tuple(int(n) for n in hdu.shape)
    if not shape or not (is_expanded or isinstance(hdu, fits.CompImageHDU)):
        return 0
    # readers turn integers of one byte into numbers of eight
    return _BYTES_PER_VALUE * np.prod(shape, dtype=float)


def _drop_unreadable_cards(header):
    """Remove keywords whose value cannot be parsed; a reader then misses them."""
    from astropy.io import fits

    unreadable = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        for number, card in enumerate(header.cards):
            try:
                card.value  # noqa: B018
            except (fits.VerifyError, ValueError):
                unreadable.append(number)
    for number in reversed(unreadable):
        del header[number]


def _damaged(number, why):
    return f"Its HDU {number} is damaged ({why}). Copy the file again."
