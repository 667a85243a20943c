"""Damaged files of every format are refused: the message names file and fault."""

import warnings

import numpy as np
import pytest
import spectrum_files as files
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyUserWarning

from sk_payne.exceptions import FileFormatError, UnreadColumnWarning
from sk_payne.spectra import SPECTRUM_FORMATS, as_spectra, read_spectra

# Format, writer, the HDU of the flux, and what is missing in a variant: a column of
# that HDU, or a keyword of one.
FITS = [
    ("lamost-lrs", files.write_lamost_image, 0, None),
    ("lamost-lrs", files.write_lamost_table, 1, "IVAR"),
    ("lamost-mrs", files.write_lamost_mrs, 1, "IVAR"),
    ("sdss-spec", files.write_sdss_spec, 1, "ivar"),
    ("sdss-mwm", files.write_mwm_star, 1, "CRVAL"),
    ("apogee-apvisit", files.write_apvisit, 1, None),
    ("galah-dr4", files.write_galah_dr4, 0, "CRVAL1"),
    ("weave-l1", lambda folder: files.write_weave(folder, 1), 1, "CRVAL1"),
    ("gaia-rvs", files.write_gaia_fits, 1, "flux_error"),
    ("eso-sdp", files.write_xshooter, 1, "SIGNAL"),
    ("eso-s1d", files.write_harps_s1d, 0, "CRVAL1"),
    ("eso-s1d", files.write_espresso_s1d, 1, "error"),
    ("eso-e2ds", files.write_harps_e2ds, 0, "ESO DRS CAL TH COEFF LL5"),
    ("eso-e2ds", files.write_espresso_s2d, 1, None),
    ("espadons", files.write_espadons, 0, None),
    ("iraf-multispec", files.write_multispec, 0, "WAT2_001"),
    ("pypeit-spec1d", files.write_spec1d, 1, "OPT_MASK"),
    ("pypeit-coadd1d", files.write_coadd1d, 1, "ivar"),
    ("fits-arms", files.write_fits_arms, 1, None),
]
IDS = [f"{name}-{writer.__name__}" for name, writer, _, _ in FITS]
# Of these, what is left without the first HDU is good, too.
OF_PARTS = ("lamost-mrs", "sdss-mwm", "fits-arms")
# They state no medium.
OPTIONS = {"iraf-multispec": {"medium": "air"}}


def refused(path, name):
    """Read a file as a format, and as what it looks like; both must be refused."""
    for format_ in (name, None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyUserWarning)  # of the truncation
            with pytest.raises(FileFormatError, match=rf"{path.name}'") as caught:
                read_spectra(path, format_, **OPTIONS.get(name, {}))
        if format_ is not None:
            said = str(caught.value)
    return said


@pytest.mark.parametrize(("name", "writer", "key", "missing"), FITS, ids=IDS)
def test_truncated_file_is_refused(tmp_path, name, writer, key, missing):
    path = writer(tmp_path)
    with fits.open(path) as hdus:
        start = hdus[key].fileinfo()["datLoc"]
    path.write_bytes(path.read_bytes()[: start + 4])
    assert refused(path, name)


@pytest.mark.parametrize(("name", "writer", "key", "missing"), FITS, ids=IDS)
def test_file_without_its_flux_is_refused(tmp_path, name, writer, key, missing):
    path = writer(tmp_path)
    with fits.open(path) as hdus:
        kept = [hdu.copy() for i, hdu in enumerate(hdus) if i != key or i == 0]
    if key == 0:
        kept[0].data = None
    if name in OF_PARTS:
        kept = [hdu for hdu in kept[:1]]
    fits.HDUList(kept).writeto(path, overwrite=True)
    assert refused(path, name)


@pytest.mark.parametrize("name", OF_PARTS)
def test_parts_that_are_left_are_read(tmp_path, name):
    path = next(case[1] for case in FITS if case[0] == name)(tmp_path)
    with fits.open(path) as hdus:
        kept = [hdu.copy() for i, hdu in enumerate(hdus) if i != 1]
    fits.HDUList(kept).writeto(path, overwrite=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnreadColumnWarning)  # of BLUE_IVAR
        assert len(read_spectra(path)) == 1


@pytest.mark.parametrize(
    ("name", "writer", "key", "missing"),
    [case for case in FITS if case[3]],
    ids=[i for i, case in zip(IDS, FITS, strict=True) if case[3]],
)
def test_file_without_a_column_or_keyword_is_refused(
    tmp_path, name, writer, key, missing
):
    path = writer(tmp_path)
    write_without(path, key, missing)
    assert refused(path, name)


def write_without(path, key, missing):
    """Write a FITS file again without a keyword of an HDU, or a column."""
    with fits.open(path) as hdus:
        kept = [hdu.copy() for hdu in hdus]
    if missing in kept[key].header:
        del kept[key].header[missing]
    else:
        header = kept[key].header
        columns = Table(kept[key].data)
        columns.remove_column(missing)
        kept[key] = fits.table_to_hdu(columns)
        kept[key].header.extend(header, unique=True)
        kept[key].name = header.get("EXTNAME", "")
    fits.HDUList(kept).writeto(path, overwrite=True, output_verify="silentfix")


# Columns without which a table of the format is not read.
NEEDED = [
    ("lamost-lrs", files.write_lamost_table, 1, "FLUX IVAR WAVELENGTH ANDMASK"),
    ("lamost-mrs", files.write_lamost_mrs, 1, "FLUX IVAR LOGLAM PIXMASK"),
    ("sdss-spec", files.write_sdss_spec, 1, "loglam flux ivar"),
    ("sdss-mwm", files.write_mwm_star, 1, "flux ivar pixel_flags"),
    ("gaia-rvs", files.write_gaia_fits, 1, "wavelength flux flux_error"),
    ("eso-s1d", files.write_espresso_s1d, 1, "wavelength flux error"),
    ("pypeit-spec1d", files.write_spec1d, 1, "OPT_WAVE OPT_COUNTS OPT_MASK"),
    ("pypeit-coadd1d", files.write_coadd1d, 1, "wave flux ivar mask"),
]


@pytest.mark.parametrize(
    ("name", "writer", "key", "missing"),
    [(*case[:3], column) for case in NEEDED for column in case[3].split()],
)
def test_table_without_a_column_names_what_it_lacks(
    tmp_path, name, writer, key, missing
):
    path = writer(tmp_path)
    write_without(path, key, missing)
    with pytest.raises(FileFormatError, match=f"(?i)(?s)as '{name}': .*{missing}"):
        read_spectra(path, name)


@pytest.mark.parametrize(
    ("name", "writer", "key", "missing"),
    [case for case in FITS if case[0] not in OF_PARTS],
    ids=[i for i, case in zip(IDS, FITS, strict=True) if case[0] not in OF_PARTS],
)
def test_hdu_of_another_kind_is_refused(tmp_path, name, writer, key, missing):
    path = writer(tmp_path)
    with fits.open(path) as hdus:
        kept = [hdu.copy() for hdu in hdus]
    of_kept = kept[key]
    if of_kept.is_image:
        other = files.table({"a": np.arange(3)}, of_kept.name)
    else:
        other = files.image(np.zeros(3), of_kept.name)
    if key == 0:
        of_kept.data = np.zeros((2, 2, 2, 2), np.float32)
    else:
        kept[key] = other
    fits.HDUList(kept).writeto(path, overwrite=True)
    assert refused(path, name)


# Text --------------------------------------------------------------------------------

TEXT = [
    ("gaia-rvs-csv", files.write_gaia_csv),
    ("libre-esprit", files.write_libre_esprit),
]


@pytest.mark.parametrize(("name", "writer"), TEXT)
def test_text_that_ends_in_a_line_is_refused(tmp_path, name, writer):
    path = writer(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-3], lines[-3].split()[0].split(",")[0]]))
    assert "columns" in refused(path, name)


@pytest.mark.parametrize(("name", "writer"), TEXT)
def test_text_without_a_column_is_refused(tmp_path, name, writer):
    path = writer(tmp_path)
    separator = "," if name == "gaia-rvs-csv" else " "
    lines = path.read_text().splitlines()
    start = 0 if name == "gaia-rvs-csv" else 2
    cut = [separator.join(line.split(separator)[:-1]) for line in lines[start:]]
    path.write_text("\n".join(lines[:start] + cut))
    assert refused(path, name)


@pytest.mark.parametrize(("name", "writer"), TEXT)
def test_text_without_its_head_is_refused(tmp_path, name, writer):
    path = writer(tmp_path)
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    assert refused(path, name)


# XML ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</TABLEDATA>", "", "no valid VOTable, or truncated"),
        ('name="flux_error"', 'name="noise"', "no column 'flux_error'"),
        ("<VOTABLE", "<TABLES", "must be a VOTable"),
        ("846", "a", "they go from nan to 870"),
        ("846", "845", "must go from 846.0 to 870.0 nm"),
        ("<VOTABLE", '<!DOCTYPE x [<!ENTITY a "b">]><VOTABLE', "has a DOCTYPE"),
    ],
)
def test_damaged_votable_of_gaia_is_refused(tmp_path, old, new, message):
    path = files.write_gaia_votable(tmp_path, "tabledata")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert message in refused(path, "gaia-rvs-votable")


def test_stream_of_a_votable_from_elsewhere_is_not_opened(tmp_path):
    path = files.write_gaia_votable(tmp_path, "binary2")
    other = (tmp_path / "other").as_uri()
    text = path.read_text().replace("<STREAM ", f'<STREAM href="{other}" ')
    path.write_text(text)
    assert "STREAM with href" in refused(path, "gaia-rvs-votable")


# All ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "writer"),
    [
        *((case[0], case[1]) for case in FITS),
        *TEXT,
        ("gaia-rvs-votable", files.write_gaia_votable),
    ],
)
def test_good_file_is_recognised_by_its_content_and_read(tmp_path, name, writer):
    path = writer(tmp_path).rename(tmp_path / "no_suffix")
    found = read_spectra(path, **OPTIONS.get(name, {}))
    for star in found if isinstance(found, list) else [found]:
        assert star.meta["format"] == name
        assert {"medium", "frame", "object", "header", "n_padding"} <= set(star.meta)
        assert np.isfinite(star.flux.value[~star.mask]).all()
    # arms and orders are one star
    assert len(as_spectra(found, require_uncertainty=False)) == 1


def test_every_format_has_a_file_that_is_damaged():
    elsewhere = {  # test_survey_files.py and test_reading.py
        *("apogee-apstar", "apogee-aspcapstar", "galah-dr3", "4most-l1", "desi"),
        *("fits-table", "fits-image", "ecsv", "text"),
    }
    here = {name for name, *_ in [*FITS, *TEXT]} | {"gaia-rvs-votable"}
    assert here | elsewhere == set(SPECTRUM_FORMATS)


def test_header_of_many_axes_with_a_damaged_end_is_refused_at_once(tmp_path):
    hdu = fits.PrimaryHDU(np.ones((2, 37)))
    hdu.writeto(tmp_path / "star.fits")
    content = (tmp_path / "star.fits").read_bytes()
    content = content.replace(
        b"NAXIS   =                    2", b"NAXIS   =             99999999"
    )
    end = content.index(b"END     ")
    content = content[: end + 70] + b"%\xbf\x9a\x02" + content[end + 74 :]
    (tmp_path / "star.fits").write_bytes(content)
    with pytest.raises(FileFormatError, match="states 99999999 axes"):
        read_spectra(tmp_path / "star.fits")
