"""Wavelengths of files in Å, whatever unit the file has."""

from sk_payne.exceptions import FileFormatError

__all__ = ["check_unstated_unit", "scale_to_angstrom"]

# Spectra in Å end beyond 2000 Å, those in nm or µm mostly before that number.
_SHORTEST_END, _LONGEST_END = 2000.0, 1e6


def scale_to_angstrom(unit):
    """Return what a wavelength is multiplied by to be in Å.

    Parameters
    ----------
    unit : astropy unit
        Unit of the wavelengths.

    Returns
    -------
    scale : float
        1e-10 m per Å.

    Raises
    ------
    FileFormatError
        If the unit is not one of length.
    """
    from astropy import units

    try:
        return unit.to(units.AA)
    except units.UnitConversionError as error:
        raise FileFormatError(
            f"Its wavelengths must have a unit of length; they have {str(unit)!r}. "
            "Give the column its unit, or pass wavelength_unit=."
        ) from error


def check_unstated_unit(wavelength):
    """Refuse wavelengths that are hardly in Å, where nothing states their unit.

    Parameters
    ----------
    wavelength : ndarray of shape (n_pixels,)
        In Å, if the file means so.

    Raises
    ------
    FileFormatError
        If they end below 2000 Å, as those in nm do, or beyond 1e6 Å.
    """
    if not wavelength.size:
        return
    end = wavelength.max()
    if end < _SHORTEST_END or end > _LONGEST_END:
        raise FileFormatError(
            f"Its wavelengths would run from {wavelength[0]:g} to {wavelength[-1]:g} Å"
            ", and nothing in it states their unit. Pass the right one of "
            "wavelength_unit='nm', 'um' and 'Angstrom'; if they are logarithms that no "
            "DC-FLAG or CTYPE1 tells, build a specutils Spectrum."
        )
