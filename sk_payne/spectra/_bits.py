"""Bits of masks that make a pixel bad."""

__all__ = ["flagged"]


def flagged(bitmask, bad_bits):
    """Find the pixels in which a bit is set that makes them bad.

    Parameters
    ----------
    bitmask : ndarray of int, any shape
        Bits of each pixel.
    bad_bits : None or iterable of int
        Numbers of the bits, from 0; None means any bit.

    Returns
    -------
    bad : ndarray of bool, same shape
        True where one of them is set.

    Raises
    ------
    ValueError
        If `bad_bits` holds anything but integers from 0 to 62.
    """
    if bad_bits is None:
        return bitmask != 0
    try:
        bits = [int(bit) for bit in bad_bits]
    except (TypeError, ValueError) as error:
        raise ValueError(_rule(bad_bits)) from error
    if not all(0 <= bit <= 62 for bit in bits):
        raise ValueError(_rule(bad_bits))
    return (bitmask & sum(1 << bit for bit in set(bits))) != 0


def _rule(bad_bits):
    return (
        "`bad_bits` must be a sequence of bit numbers from 0 to 62, such as (0, 1, 12),"
        f" or None for any bit; got {bad_bits!r}."
    )
