"""Units as headers of telescopes spell them, few of which keep to the FITS standard."""

import re
import warnings

from sk_payne.exceptions import FileFormatError

__all__ = ["as_unit", "unit_or_ask"]

# Whole texts, in small letters, and the unit that they mean.
_MEANINGS = {
    **dict.fromkeys(
        (
            *("relative flux", "relative intensity", "normalized", "normalised"),
            *("normalized flux", "normalised flux", "instrumental", "arbitrary"),
            *("arbitrary units", "arb. units", "none", "unitless", "flux", "i/ic"),
            *("dimensionless", "continuum normalized", "no unit", "uncalibrated"),
        ),
        "",
    ),
    **dict.fromkeys(("counts", "count", "cts"), "ct"),
    **dict.fromkeys(("adus", "adu/pixel", "du", "du/pixel"), "adu"),
    **dict.fromkeys(("dn", "dn/pixel"), "DN"),
    **dict.fromkeys(("electrons", "e-", "e"), "electron"),
}

# Words inside a unit. In units of spectra, A is the ångström, never the ampere; "a" is
# a year.
_WORDS = (
    (r"angstroms?|angs?|ang\.|å|Å|(?-i:A)", "Angstrom"),
    (r"ergs?", "erg"),
    (r"secs?|seconds?", "s"),
    (r"microns?|micrometers?", "um"),
    (r"nanometers?|nanometres?", "nm"),
    (r"counts?|cts", "ct"),
    (r"adus?|dus?", "adu"),
    (r"electrons|e-", "electron"),
    (r"pixels?|pix", "pix"),
)
_PATTERNS = tuple(
    (re.compile(rf"(?<![A-Za-zÅå0-9.])({word})(?![A-Za-zÅå])", re.IGNORECASE), unit)
    for word, unit in _WORDS
)
# Beyond these, in SI, squares of a unit are no numbers.
_SCALES = (1e-100, 1e100)

# No unit is longer, and parsing takes time.
_LONGEST = 80

# "Flux (10^-17 erg/s/cm^2/Ang)", as APOGEE writes it.
_BRACKETED = re.compile(r"^[A-Za-z ]*\((.+)\)$|^[A-Za-z ]*\[(.+)\]$")


def as_unit(text, whose):
    """Return the unit that a header means.

    Parameters
    ----------
    text : str or astropy unit
        As the file has it.
    whose : str
        Name of the quantity that has the unit, for the message.

    Returns
    -------
    unit : astropy unit
        Never an ampere, where "A" is written for ångström.

    Raises
    ------
    FileFormatError
        If it cannot be understood.

    Examples
    --------
    >>> from sk_payne.spectra._file_units import as_unit
    >>> as_unit("1E-17 erg/cm^2/s/Ang", "the flux").to_string()
    '1e-17 erg / (Angstrom s cm2)'
    """
    from astropy import units

    text = str(text).strip()
    for spelling in _spellings(text[:_LONGEST]):
        with warnings.catch_warnings():
            # several slashes, of which the standard disapproves
            warnings.simplefilter("ignore", units.UnitsWarning)
            try:
                unit = units.Unit(spelling)
                base = unit.decompose()
                if units.A not in base.bases and _SCALES[0] < base.scale < _SCALES[1]:
                    return unit
            except (ValueError, TypeError, ArithmeticError):
                continue
    raise FileFormatError(f"The unit of {whose}, {text!r}, cannot be understood.")


def unit_or_ask(text, whose, option):
    """Return a unit as `as_unit`; the error names the option that replaces it."""
    try:
        return as_unit(text, whose)
    except FileFormatError as error:
        raise FileFormatError(f"{error} Pass {option}=, an astropy unit.") from error


def _spellings(text):
    """Yield what to try, the likeliest first."""
    bracketed = _BRACKETED.match(text)
    if bracketed:
        text = next(filter(None, bracketed.groups())).strip()
    if text.lower() in _MEANINGS:
        yield _MEANINGS[text.lower()]
    replaced = text
    for pattern, unit in _PATTERNS:
        replaced = pattern.sub(unit, replaced)
    yield replaced
    if text == text.upper():
        yield replaced.lower().replace("angstrom", "Angstrom")
