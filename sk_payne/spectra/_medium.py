"""Conversion between wavelengths in air and in vacuum, and the check of the medium."""

import numpy as np

_MEDIA = ("air", "vacuum")

# The dispersion formula has poles near 1600 Å; by convention (IAU 1957), wavelengths
# below 2000 Å are vacuum wavelengths in all tables anyway.
_SHORTEST = 2000.0


def check_medium(medium, name="medium"):
    """Return `medium` if it is a medium of wavelengths, and raise otherwise.

    Parameters
    ----------
    medium : {"air", "vacuum"}
        The word to check.
    name : str, default="medium"
        Name of the argument, for the message.

    Returns
    -------
    medium : str
        The same word.

    Raises
    ------
    ValueError
        If `medium` is anything else.

    Examples
    --------
    >>> from sk_payne.spectra import check_medium
    >>> check_medium("vacuum")
    'vacuum'
    """
    if isinstance(medium, str) and medium in _MEDIA:
        return str(medium)
    raise ValueError(
        f"`{name}` must be 'air' or 'vacuum'; got {medium!r}. "
        "Pass the medium that the wavelengths were measured in."
    )


def convert_medium(wavelength, from_medium, to_medium):
    """Convert wavelengths between air and vacuum.

    Parameters
    ----------
    wavelength : array-like of float, any shape
        Wavelengths in Å, at least 2000 Å unless the two media are the same.
    from_medium : {"air", "vacuum"}
        Medium of `wavelength`.
    to_medium : {"air", "vacuum"}
        Medium of the result.

    Returns
    -------
    converted : ndarray of float64, same shape
        Wavelengths in Å in `to_medium`; always a new array.

    Raises
    ------
    ValueError
        If a medium is unknown, or a wavelength is below 2000 Å or not finite.

    Notes
    -----
    The refractive index is that of Morton (2000), which line lists of VALD use. It
    is a function of the vacuum wavelength, so air to vacuum is solved by iteration:
    a round trip closes to 1e-11 Å, where the usual single step leaves 1e-4 Å.

    References
    ----------
    Morton (2000), ApJS 130, 403, equation 8.

    Examples
    --------
    >>> from sk_payne.spectra import convert_medium
    >>> print(convert_medium([5000.0, 15000.0], "vacuum", "air").round(4))
    [ 4998.6055 14995.9015]
    """
    check_medium(from_medium, "from_medium")
    check_medium(to_medium, "to_medium")
    wavelength = np.array(wavelength, dtype=np.float64)
    if from_medium == to_medium or wavelength.size == 0:
        return wavelength
    _check_in_range(wavelength)
    from astropy import units
    from specutils.utils.wcs_utils import air_to_vac, vac_to_air

    quantity = wavelength * units.AA
    if to_medium == "air":
        return vac_to_air(quantity, method="Morton2000").value
    # specutils iterates until the last step is below `precision`, in Å; its default
    # of 1e-12 is below the spacing of float64 numbers here and might never be met.
    return air_to_vac(
        quantity, scheme="iteration", method="Morton2000", precision=1e-9
    ).value


def _check_in_range(wavelength):
    bad = ~((wavelength >= _SHORTEST) & np.isfinite(wavelength))
    if bad.any():
        raise ValueError(
            f"`wavelength` must be finite and at least {_SHORTEST:.0f} Å to be "
            f"converted between air and vacuum; got {wavelength[bad].flat[0]}. "
            "Leave out those pixels: shorter wavelengths are vacuum by convention."
        )
