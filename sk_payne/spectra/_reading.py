"""read_spectra: files of surveys, telescopes and one's own, as specutils spectra.

Errors, mask and medium of a file are kept. A file that cannot be read ends in an error
that says what it lacks.
"""

import inspect
import os
import warnings
from pathlib import Path

from sk_payne.exceptions import FileFormatError, UnreadColumnWarning, did_you_mean
from sk_payne.spectra._formats import (
    SPECTRUM_FORMATS,
    reader_of,
    recognise,
)
from sk_payne.spectra._opening import MAX_BYTES, is_fits, opened

__all__ = ["SPECTRUM_FORMATS", "read_spectra"]


def read_spectra(path, format=None, *, max_bytes=MAX_BYTES, **options):
    r"""Read observed spectra from a file, or from several.

    Parameters
    ----------
    path : str, os.PathLike, or list of them
        One file or several.
    format : None or str, default=None
        One of :data:`~sk_payne.spectra.SPECTRUM_FORMATS`. None recognises the format
        by the content of the file; its name says nothing.
    max_bytes : int, default=268435456
        Limit to what a compressed file, or a compressed image in it, expands to. Text
        may have a quarter of it, and a line for 256 bytes of it.
    **options : object
        Options of the format:

        row : int or sequence of int, default=0
            "apogee-apstar": rows 0 and 1 are combined spectra, with weights by pixel
            and by visit, the others the visits.
        bad_bits : None or sequence of int
            "apogee-apstar", "apogee-apvisit", "lamost-lrs", "lamost-mrs", "sdss-spec",
            "sdss-mwm": numbers of the bits that mark a bad pixel, None for any. The
            defaults are under Notes.
        normalized : bool
            "galah-dr3", "galah-dr4": the flux that GALAH normalised, not counts; False
            by default. "espadons": normalised intensity; True by default, and False
            gives intensities with the blaze of the orders in them.
        target : int, str, or a sequence of them
            "desi": TARGETID; "weave-l1": CNAME; "pypeit-spec1d": one object. Needed if
            the file holds several.
        medium : {"air", "vacuum"}
            "4most-l1", "eso-sdp", "lamost-lrs", "lamost-mrs", "weave-l1",
            "iraf-multispec" and files of one's own: needed if the file does not say.
        flux_unit : str or astropy unit
            "4most-l1", "eso-sdp", "eso-s1d", "weave-l1", "iraf-multispec",
            "fits-table", "fits-arms", "fits-image", "ecsv": instead of one that is
            missing, or that cannot be understood.
        wavelength_unit : str or astropy unit
            "iraf-multispec", "fits-table", "fits-arms", "fits-image", "ecsv":
            instead of one that is missing; "text": Å by default.

    Returns
    -------
    spectra : specutils.Spectrum or specutils.SpectrumList
        A list for several files, for several rows, and for files of arms or orders
        (one item per arm and exposure; `measure` takes the arms of an exposure as one
        star). Wavelengths are in Å. The mask is True where the file says so, where flux
        or error are not finite, where the error is not positive, and on padding: flux
        that is exactly zero in three neighbours or more, or with a tiny error, and
        constant ends. Tables of ESO whose errors are all NaN have no uncertainty.
        ``meta`` has the entries, None where the file does not tell,

        medium : {"air", "vacuum"}
            Medium of the wavelengths.
        format : str
            The format.
        frame : {"rest", "barycentric", "heliocentric", "topocentric"} or None
            Frame of the wavelengths; "rest" is that of the star.
        velocity : float or None
            "apogee-apstar", "apogee-aspcapstar", "sdss-mwm", and normalised flux of
            "galah-dr3": barycentric velocity in km/s by which the survey shifted it to
            rest.
        barycentric_correction : float or None
            "apogee-apstar" (visits), "apogee-apvisit", "galah-dr3", "galah-dr4",
            "eso-sdp", "eso-s1d", "eso-e2ds", "4most-l1": what the header says is added
            to topocentric velocities, in km/s. It is in wavelengths of all frames but
            "topocentric" already.
        redshift : float or None
            "lamost-lrs", "lamost-mrs", "sdss-spec": what the survey measured;
            wavelengths were not shifted by it.
        arm : str or int
            Where a file has several arms, or orders.
        object : str or None
            Name of the star in the file.
        resolving_power : float, ndarray of shape (n_pixels,) or None
            Wavelength over full width at half maximum; of many surveys, the nominal one
            of the instrument.
        n_padding : int
            Number of pixels that hold padding.
        header : object
            The primary header; of text, the list of comments; of ECSV, a dictionary.
        bitmask : ndarray of int, shape (n_pixels,)
            Where there is one; see Notes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If no format recognises the file, or it lacks what its format demands. It is a
        `ValueError`.
    ValueError
        If `format` is unknown, or an option has a value that does not go with the file.
    TypeError
        If `path` is no path, or the format does not take an option.

    Warns
    -----
    UnreadColumnWarning
        If columns or images may be errors, masks or other spectra, and are not read.

    See Also
    --------
    sk_payne.spectra.as_spectra : Spectra in any container, as arrays.

    Notes
    -----
    Meaning of the bits of ``meta["bitmask"]``, and bits that mask a pixel:

    - "apogee-apstar", "apogee-apvisit", "sdss-mwm": APOGEE_PIXMASK. Bad are those that
      the survey's own software calls bad: BADPIX 0, CRPIX 1 (cosmic ray), SATPIX 2
      (saturated), UNFIXABLE 3, BADDARK 4, BADFLAT 5, BADERR 6, NOSKY 7 (no sky fibre),
      NOT_ENOUGH_PSF 14 (less than half of the profile in good pixels). The others warn:
      LITTROW_GHOST 8, PERSIST_HIGH, _MED and _LOW 9-11, SIG_SKYLINE 12, SIG_TELLURIC
      13.
    - "lamost-lrs", "lamost-mrs", "sdss-spec", and BOSS in "sdss-mwm": any bit.
    - "desi": any bit. SOMEBADPIX 0, ALLBADPIX 1, COSMIC 2, LOWFLAT 3, BADFIBERFLAT 4,
      BRIGHTSKY 5, BADSKY 6; later releases have more.
    - "4most-l1", "eso-sdp": the column QUAL, if any; 0 is good.
    - Files of one's own: columns such as mask, flag or dq; 0 is good. A quality is
      read if the description of its column, or a comment, says "0 = good" or
      "1 = good".

    Files of one's own may call errors (1 sigma) uncertainty, error, err, sigma or
    noise; inverse variances ivar, invvar or inverse_variance; and squares variance or
    var: in capitals or not, and with flux before or behind. Of several, the first is
    read, and others that differ are named in a warning.

    aspcapStar files have no bitmask; their best model is ``meta["model"]``. Those of
    "eso-sdp" have FLUXCAL as ``meta["flux_calibration"]`` and CONTNORM as
    ``meta["normalized"]``.

    Spectra of DESI have ``meta["arm"]`` and ``meta["resolution_matrix"]`` of shape
    (n_diag, n_pixels): ``scipy.sparse.dia_array((matrix, range(h, -h - 1, -1)),
    shape=(n_pixels, n_pixels))`` with ``h = n_diag // 2`` times a spectrum on the same
    wavelengths gives what DESI would see of it. Their resolving power is that of a
    Gaussian with the second moment of the columns of that matrix.

    specutils' own loaders were not used: those of APOGEE drop the bitmask, those of
    SDSS drop the resolution, that of GALAH takes its relative errors for absolute ones,
    that of DESI reads all targets, that of IRAF drops errors and the zero points of
    dispersions, those of text need units of flux, and ``Spectrum.read`` fails on the
    one-row tables of ESO. A file that is of no format here, and of one of theirs, is
    refused by a message that names the loader.

    References
    ----------
    - APOGEE: https://www.sdss4.org/dr17/irspec/spectra/ and the bitmasks of DR17
    - GALAH: https://docs.datacentral.org.au/galah/dr3/galah-dr3-spectra/
    - DESI: https://desidatamodel.readthedocs.io, coadd and spectra files
    - ESO: the Science Data Products standard; 4MOST Level 1 follows it

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sk_payne.spectra import read_spectra
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "star.txt"
    ...     _ = path.write_text("# medium: air\n5000 0.98 0.01\n5001 0.95 0.01\n")
    ...     star = read_spectra(path)
    >>> star.meta["format"], star.meta["medium"], star.flux.value
    ('text', 'air', array([0.98, 0.95]))
    """
    if isinstance(path, (list, tuple)):
        return _read_several(path, format, options | {"max_bytes": max_bytes})
    if format is not None and format not in SPECTRUM_FORMATS:
        raise ValueError(
            f"`format` must be None or one of {list(SPECTRUM_FORMATS)}; got "
            f"{format!r}.{did_you_mean(format, SPECTRUM_FORMATS)}"
        )
    path = _checked_path(path)
    _check_max_bytes(max_bytes)
    with opened(path, max_bytes) as content:
        name = recognise(content, path) if format is None else format
        reader = reader_of(content, name, path)
        _check_options(options, reader, name)
        try:
            found = reader(content, **options)
        except FileFormatError as error:
            raise FileFormatError(f"{str(path)!r}, as {name!r}: {error}") from error
        for spectrum in _as_list(found):
            _warn_of_unread(spectrum.meta.pop("unread", ()), path, name)
            spectrum.meta["format"] = name
            if is_fits(content):
                spectrum.meta["header"] = content[0].header.copy()
    return found


def _read_several(paths, format, options):
    from specutils import SpectrumList

    spectra = SpectrumList()
    for path in paths:
        spectra.extend(_as_list(read_spectra(path, format, **options)))
    return spectra


def _as_list(found):
    return found if isinstance(found, list) else [found]


def _warn_of_unread(unread, path, name):
    if unread:
        warnings.warn(
            f"{str(path)!r}, as {name!r}: not read: {', '.join(unread)}. Call the "
            "error of the flux 'uncertainty' or 'ivar', and a mask, nonzero where bad, "
            "'mask'; build specutils Spectrum objects of other spectra in the file.",
            UnreadColumnWarning,
            stacklevel=3,
        )


def _checked_path(path):
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"`path` must be a path or a list of paths; got {type(path).__name__}."
        )
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {str(path)!r}. Check `path`; the working directory is "
            f"{str(Path.cwd())!r}."
        )
    return path


def _check_max_bytes(max_bytes):
    is_number = isinstance(max_bytes, int) and not isinstance(max_bytes, bool)
    if not is_number or max_bytes < 1:
        raise ValueError(
            "`max_bytes` must be a positive integer, the bytes that a file may expand "
            f"to; got {max_bytes!r}."
        )


def _check_options(options, reader, name):
    known = list(inspect.signature(reader).parameters)[1:]
    for option in options:
        if option not in known:
            takes = ", ".join(f"`{one}`" for one in known) if known else "no options"
            raise TypeError(
                f"`{option}` is no option of the format {name!r}, which takes {takes}."
                f"{did_you_mean(option, known)}"
            )
