"""Statements of FITS headers about a spectrum: medium, frame, star, numbers.

All readers use the same keywords.
"""

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._frame import read_frame

__all__ = ["first_number", "number_of", "star_of", "stated_frame", "stated_medium"]

# Values of the keyword VELREF in the convention of AIPS, to which 256 is added where
# velocities are radio ones.
_VELREF = {2: "heliocentric", 3: "topocentric"}

# No number of a header that anybody means is as large.
_LARGEST = 1e100

# Keywords for the name of the star: of FITS, SDSS, LAMOST, GALAH, 4MOST and APOGEE.
_NAMES = ("OBJECT", "OBJ_NME", "OBJNAME", "OBJ_UID", "DESIG", "OBJID")


def stated_medium(*headers):
    """Return the medium of the wavelengths that a header states, or None.

    Parameters
    ----------
    *headers : astropy header or dict
        In the order in which they are asked.

    Returns
    -------
    medium : {"air", "vacuum"} or None
        From MEDIUM, VACUUM, AIRORVAC, or CTYPE1 = AWAV. CTYPE1 = WAVE ought to mean
        vacuum; many who write it mean air, so it states nothing here.
    """
    for header in headers:
        medium = header.get("MEDIUM")
        if medium is not None:
            return medium
        vacuum = _truth(header.get("VACUUM"))
        if vacuum is not None:
            return "vacuum" if vacuum else "air"
        word = str(header.get("AIRORVAC", "")).strip().lower()
        if word in ("air", "vac", "vacuum"):
            return "air" if word == "air" else "vacuum"
        if str(header.get("CTYPE1", "")).strip().upper().startswith("AWAV"):
            return "air"
    return None


def stated_frame(*headers):
    """Return the frame of the wavelengths that a header states, or None.

    Parameters
    ----------
    *headers : astropy header or dict
        In the order in which they are asked.

    Returns
    -------
    frame : {"rest", "barycentric", "heliocentric", "topocentric"} or None
        From SPECSYS, FRAME if its value is a frame of velocities, HELIO, or VELREF.
    """
    for header in headers:
        frame = read_frame(header.get("SPECSYS"), header.get("FRAME"))
        if frame is not None:
            return frame
        helio = _truth(header.get("HELIO"))
        if helio is not None:
            return "heliocentric" if helio else "topocentric"
        velref = header.get("VELREF")
        if isinstance(velref, int) and velref % 256 in _VELREF:
            return _VELREF[velref % 256]
    return None


def star_of(*headers):
    """Return the name of the star in a header, or None."""
    for header in headers:
        for name in _NAMES:
            value = str(header.get(name) or "").strip()
            if value:
                return value
    return None


def first_number(header, *names):
    """Give the first keyword of a header that holds a number.

    Parameters
    ----------
    header : astropy header
        Header of a file.
    *names : str
        Keywords, in the order in which they are asked.

    Returns
    -------
    number : float or None
        None if there is none.
    """
    for name in names:
        value = header.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            if abs(value) < _LARGEST:  # False for NaN, too
                return float(value)
    return None


def number_of(header, *names):
    """Give the number of a keyword that a format demands.

    Parameters
    ----------
    header : astropy header
        Header of an HDU.
    *names : str
        Keywords, of which the first that is there counts.

    Returns
    -------
    number : float
        Finite.

    Raises
    ------
    FileFormatError
        If none of them is there and holds a number.
    """
    number = first_number(header, *names)
    if number is not None:
        return number
    found = {name: header[name] for name in names if name in header}
    said = f"it states {found}" if found else "it has none"
    raise FileFormatError(
        f"Its header must state a number for the keyword {' or '.join(names)}; {said}. "
        "Check that the file is complete and of this format."
    )


def _truth(value):
    """Return what a logical keyword says, which some write as a letter or number."""
    if isinstance(value, bool):
        return value
    return {"t": True, "true": True, "1": True, "f": False, "false": False}.get(
        str(value).strip().lower()
    )
