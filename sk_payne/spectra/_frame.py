"""Frames of wavelengths, which measured velocities are relative to."""

__all__ = ["agreed_frame", "read_frame"]

# Words for the frames, and values of the FITS keyword SPECSYS (Greisen et al. 2006,
# table 12) that are of use for stars.
_FRAMES = {
    "rest": "rest",
    "barycentric": "barycentric",
    "heliocentric": "heliocentric",
    "topocentric": "topocentric",
    "source": "rest",
    "barycent": "barycentric",
    "heliocen": "heliocentric",
    "topocent": "topocentric",
}


def read_frame(*words):
    """Read the frame that a file or a spectrum states.

    Parameters
    ----------
    *words : object
        Entries that may state it, in the order in which they are asked.

    Returns
    -------
    frame : {"rest", "barycentric", "heliocentric", "topocentric"} or None
        Frame of velocities that the first known word names; "FK5" and others are
        celestial frames, which are not known here.

    Examples
    --------
    >>> from sk_payne.spectra._frame import read_frame
    >>> read_frame("FK5", "BARYCENT ")
    'barycentric'
    """
    found = (_FRAMES.get(str(word).strip().lower()) for word in words)
    return next((frame for frame in found if frame), None)


def agreed_frame(frames):
    """Give the one frame of the arms of a star.

    Parameters
    ----------
    frames : iterable of str
        Frame of each arm, "" where it is not known.

    Returns
    -------
    frame : str
        "" unless every arm states it.

    Raises
    ------
    ValueError
        If arms are in different frames.
    """
    frames = set(frames)
    if len(frames - {""}) > 1:
        raise ValueError(
            'All arms of a star must have one frame, `meta["frame"]`; got '
            f"{' and '.join(sorted(frames - {''}))}. Shift their wavelengths to one "
            "frame, or measure them as stars of their own."
        )
    return frames.pop() if len(frames) == 1 else ""
