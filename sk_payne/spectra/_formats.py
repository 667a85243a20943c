"""Formats of spectrum files: the functions that recognise and read each."""

import warnings

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._apogee import (
    is_apstar,
    is_apvisit,
    is_aspcapstar,
    read_apstar,
    read_apvisit,
    read_aspcapstar,
)
from sk_payne.spectra._arm_images import is_arms, is_weave, read_arms, read_weave
from sk_payne.spectra._desi import is_desi, read_desi
from sk_payne.spectra._echelle import is_e2ds, is_s1d, read_e2ds, read_s1d
from sk_payne.spectra._eso_tables import is_4most, is_eso, read_4most, read_eso
from sk_payne.spectra._fits_image import is_fits_image, read_fits_image
from sk_payne.spectra._gaia import (
    is_gaia_rvs,
    is_gaia_rvs_text,
    read_gaia_rvs,
    read_gaia_rvs_text,
)
from sk_payne.spectra._gaia_votable import is_gaia_votable, read_gaia_votable
from sk_payne.spectra._galah import (
    is_galah_dr3,
    is_galah_dr4,
    read_galah_dr3,
    read_galah_dr4,
)
from sk_payne.spectra._iraf import is_iraf, read_iraf
from sk_payne.spectra._lamost import (
    is_lamost_lrs,
    is_lamost_mrs,
    read_lamost_lrs,
    read_lamost_mrs,
)
from sk_payne.spectra._libre_esprit import (
    is_espadons,
    is_libre_esprit,
    read_espadons,
    read_libre_esprit,
)
from sk_payne.spectra._opening import is_fits
from sk_payne.spectra._own_files import (
    is_ecsv,
    is_fits_table,
    is_text,
    read_ecsv,
    read_fits_table,
    read_text,
)
from sk_payne.spectra._pypeit import is_coadd1d, is_spec1d, read_coadd1d, read_spec1d
from sk_payne.spectra._sdss import is_mwm, is_sdss_spec, read_mwm, read_sdss_spec
from sk_payne.spectra._spectrum_file import describe_hdus

__all__ = ["SPECTRUM_FORMATS", "reader_of", "recognise"]

# Each format: does this content look like it, and read it. The first that does wins.
_FITS_FORMATS = {
    "apogee-apstar": (is_apstar, read_apstar),
    "apogee-aspcapstar": (is_aspcapstar, read_aspcapstar),
    "apogee-apvisit": (is_apvisit, read_apvisit),
    "galah-dr3": (is_galah_dr3, read_galah_dr3),
    "galah-dr4": (is_galah_dr4, read_galah_dr4),
    "lamost-mrs": (is_lamost_mrs, read_lamost_mrs),
    "lamost-lrs": (is_lamost_lrs, read_lamost_lrs),
    "sdss-mwm": (is_mwm, read_mwm),
    "sdss-spec": (is_sdss_spec, read_sdss_spec),
    "4most-l1": (is_4most, read_4most),
    "eso-sdp": (is_eso, read_eso),
    "eso-s1d": (is_s1d, read_s1d),
    "eso-e2ds": (is_e2ds, read_e2ds),
    "desi": (is_desi, read_desi),
    "weave-l1": (is_weave, read_weave),
    "pypeit-spec1d": (is_spec1d, read_spec1d),
    "pypeit-coadd1d": (is_coadd1d, read_coadd1d),
    "gaia-rvs": (is_gaia_rvs, read_gaia_rvs),
    "espadons": (is_espadons, read_espadons),
    "iraf-multispec": (is_iraf, read_iraf),
    "fits-arms": (is_arms, read_arms),
    "fits-table": (is_fits_table, read_fits_table),
    "fits-image": (is_fits_image, read_fits_image),
}
_TEXT_FORMATS = {
    "ecsv": (is_ecsv, read_ecsv),
    "gaia-rvs-csv": (is_gaia_rvs_text, read_gaia_rvs_text),
    "gaia-rvs-votable": (is_gaia_votable, read_gaia_votable),
    "libre-esprit": (is_libre_esprit, read_libre_esprit),
    "text": (is_text, read_text),
}

SPECTRUM_FORMATS = (*_FITS_FORMATS, *_TEXT_FORMATS)


def _formats_for(content):
    if content is None:
        return {}
    return _FITS_FORMATS if is_fits(content) else _TEXT_FORMATS


def recognise(content, path):
    """Return the name of the format that an opened file has.

    Parameters
    ----------
    content : HDUList, list of str, or None
        Content of the file, from `opened`.
    path : pathlib.Path
        Path of the file, for messages.

    Returns
    -------
    name : str
        One of `SPECTRUM_FORMATS`.

    Raises
    ------
    FileFormatError
        If it has none of them. The message names loaders of specutils that know it.
    """
    for name, (looks_like_it, _) in _formats_for(content).items():
        if looks_like_it(content):
            return name
    others = _other_readers(content, path)
    raise FileFormatError(
        f"{str(path)!r} is of no format that is known here: {_seen(content)}. If it "
        f"ought to be one of {list(SPECTRUM_FORMATS)}, pass `format` to be told what "
        f"it lacks. Otherwise {others}build a specutils Spectrum from "
        'its arrays, with meta={"medium": ...}.'
    )


def _other_readers(content, path):
    """Name the formats of specutils that recognise a FITS file, for messages."""
    if not is_fits(content):  # specutils would hang on some damaged ones
        return ""
    from specutils import Spectrum
    from specutils.io.registers import identify_spectrum_format

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = identify_spectrum_format(str(path), Spectrum)
    except Exception:  # its tests fail on files of other kinds in many ways
        return ""
    names = [found] if isinstance(found, str) else list(found or ())
    if not names:
        return ""
    calls = " or ".join(f"Spectrum.read(path, format={name!r})" for name in names[:3])
    return f"read it with specutils, {calls}, or "


def _seen(content):
    """Describe the content, for messages."""
    if content is None:
        return "it is neither FITS nor text"
    if is_fits(content):
        return f"it is a FITS file with the HDUs {describe_hdus(content)}"
    data = [line for line in content if line.strip() and not line.startswith("#")]
    if not data:
        return "it is a text without data"
    return f"it is a text whose data start with {data[0][:40]!r}"


def reader_of(content, name, path):
    """Return the function that reads a format, if the content is of its kind."""
    formats = _formats_for(content)
    if name not in formats:
        kind = "FITS" if name in _FITS_FORMATS else "text"
        raise FileFormatError(
            f"{str(path)!r} cannot be {name!r}, which is {kind}: {_seen(content)}. "
            "Leave out `format` to have it recognised."
        )
    return formats[name][1]
