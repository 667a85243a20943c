"""Files that people write come in, and whatever cannot be read is told why.

It is here for the door of `read_spectra`, text and tables; surveys have tests of their
own.
"""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance
from astropy.table import Column, MaskedColumn, Table
from astropy.wcs import WCS
from specutils import Spectrum, SpectrumList

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra import SPECTRUM_FORMATS, as_spectra, read_spectra

N_PIXELS = 13
WAVELENGTH = np.linspace(5000.0, 5000.6, N_PIXELS)
FLUX = np.random.default_rng(0).uniform(0.5, 1.0, N_PIXELS)
ERROR = np.random.default_rng(1).uniform(0.01, 0.02, N_PIXELS)


def write_text(folder, *columns, header="medium: air", delimiter=" ", name="star.txt"):
    np.savetxt(
        folder / name,
        np.column_stack(columns or (WAVELENGTH, FLUX, ERROR)),
        header=header,
        delimiter=delimiter,
    )
    return folder / name


def write_lines(folder, *lines):
    (folder / "star.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder / "star.txt"


def write_table(folder, name="star.ecsv", *, meta=None, drop=(), **changes):
    columns = {
        "wavelength": WAVELENGTH * u.AA,
        "flux": FLUX,
        "uncertainty": ERROR,
        "mask": np.arange(N_PIXELS) == 5,
    } | changes
    table = Table({k: v for k, v in columns.items() if k not in drop})
    table.meta.update({"medium": "vacuum"} if meta is None else meta)
    table.write(folder / name)
    return folder / name


# Text ------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [" ", "\t", ",", ", "])
def test_text_makes_a_round_trip(tmp_path, delimiter):
    star = read_spectra(write_text(tmp_path, delimiter=delimiter))
    np.testing.assert_array_equal(star.wavelength.value, WAVELENGTH)
    np.testing.assert_array_equal(star.flux.value, FLUX)
    np.testing.assert_array_equal(star.uncertainty.array, ERROR)
    assert star.flux.unit == u.dimensionless_unscaled
    assert star.meta["format"] == "text"
    assert star.meta["header"] == ["# medium: air"]
    spectra = as_spectra(star)
    np.testing.assert_array_equal(spectra.flux[0], FLUX)
    np.testing.assert_allclose(spectra.ivar[0], ERROR**-2, rtol=1e-14)
    assert spectra.medium == "air"


def test_text_without_errors_has_no_uncertainty(tmp_path):
    star = read_spectra(write_text(tmp_path, WAVELENGTH, FLUX))
    assert star.uncertainty is None
    assert as_spectra(star, snr=50).ivar[0, 0] == pytest.approx(2500)


def test_comments_of_text_describe_the_spectrum(tmp_path):
    header = "observed by me\nMedium = Vacuum\nobject: HD 1\n"
    header += "frame: heliocentric\nresolving_power: 50000"
    meta = read_spectra(write_text(tmp_path, header=header)).meta
    assert (meta["medium"], meta["object"]) == ("vacuum", "HD 1")
    assert (meta["frame"], meta["resolving_power"]) == ("heliocentric", 50000.0)


def test_a_comment_that_only_mentions_a_medium_does_not_state_it(tmp_path):
    path = write_text(tmp_path, header="airmass 1.2, not yet converted to air")
    with pytest.raises(FileFormatError, match=r"Pass medium='air' or medium='vacuum'"):
        read_spectra(path)
    assert read_spectra(path, medium="vacuum").meta["medium"] == "vacuum"


def test_wavelengths_of_text_may_be_in_another_unit(tmp_path):
    path = write_text(tmp_path, WAVELENGTH / 10, FLUX)
    star = read_spectra(path, wavelength_unit="nm")
    np.testing.assert_allclose(star.wavelength.value, WAVELENGTH, rtol=1e-15)
    assert star.wavelength.unit == u.AA


def test_blank_lines_and_comments_behind_data_are_no_data(tmp_path):
    path = write_lines(tmp_path, "", "# medium: air", "5000 1.0", "", "5001 0.9 # dip")
    np.testing.assert_array_equal(read_spectra(path).flux.value, [1.0, 0.9])


def test_nan_and_an_error_of_zero_in_text_are_masked(tmp_path):
    flux, error = FLUX.copy(), ERROR.copy()
    flux[1], error[2] = np.nan, 0.0
    star = read_spectra(write_text(tmp_path, WAVELENGTH, flux, error))
    np.testing.assert_array_equal(np.flatnonzero(star.mask), [1, 2])


def test_wavelengths_may_decrease(tmp_path):
    star = read_spectra(write_text(tmp_path, WAVELENGTH[::-1], FLUX))
    np.testing.assert_array_equal(as_spectra(star, snr=9).flux[0], FLUX[::-1])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["5000 1", "5001 x"], "Line 2 must hold numbers; it is '5001 x'"),
        (["5000 1", "5001 1 0.1"], "line 2 has 3 columns"),
        (["5000 1 0.1 7"], "line 1 has 4 columns"),
        (["# nothing"], "It has no line of data"),
        (["5001 1", "5000 1", "5002 1"], "strictly increasing or decreasing"),
        (["5000 1", "nan 1"], "positive, finite"),
        (["# medium: water", "5000 1"], "It states the medium 'water'"),
        (["# resolving_power: high", "5000 1"], "resolving power 'high'"),
    ],
)
def test_text_with_a_fault_is_told_which(tmp_path, lines, message):
    path = write_lines(tmp_path, *lines)
    medium = None if "water" in lines[0] else "air"
    with pytest.raises(FileFormatError, match=f"star.txt', as 'text': .*{message}"):
        read_spectra(path, "text", medium=medium)


def test_unit_that_is_no_length_is_refused(tmp_path):
    with pytest.raises(FileFormatError, match="a unit of length; they have 's'"):
        read_spectra(write_text(tmp_path), wavelength_unit="s")


def test_columns_of_text_may_have_names(tmp_path):
    rows = np.column_stack([FLUX, WAVELENGTH, np.arange(N_PIXELS) == 5, ERROR])
    path = tmp_path / "star.csv"
    np.savetxt(path, rows, delimiter=",", header="Flux,Wave,mask,err", comments="")
    star = read_spectra(path, medium="air")
    np.testing.assert_array_equal(star.wavelength.value, WAVELENGTH)
    np.testing.assert_array_equal(star.flux.value, FLUX)
    np.testing.assert_array_equal(star.uncertainty.array, ERROR)
    assert np.flatnonzero(star.mask).tolist() == [5]


def test_text_that_lacks_a_column_of_its_names_is_told_so(tmp_path):
    path = write_lines(tmp_path, "wave,flux,err", "5000,1,0.1", "5001,1")
    with pytest.raises(FileFormatError, match="each name, wave, flux, err; line 3 has"):
        read_spectra(path, medium="air")


# Tables ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["star.ecsv", "star.fits"])
def test_table_makes_a_round_trip(tmp_path, name):
    star = read_spectra(write_table(tmp_path, name))
    np.testing.assert_array_equal(star.wavelength.value, WAVELENGTH)
    np.testing.assert_array_equal(star.flux.value, FLUX)
    np.testing.assert_array_equal(star.uncertainty.array, ERROR)
    np.testing.assert_array_equal(np.flatnonzero(star.mask), [5])
    spectra = as_spectra(star)
    good = np.arange(N_PIXELS) != 5
    np.testing.assert_array_equal(spectra.flux[0], np.where(good, FLUX, 0))
    np.testing.assert_allclose(spectra.ivar[0], good * ERROR**-2, rtol=1e-14)
    assert spectra.medium == "vacuum"


def test_header_of_ecsv_is_its_metadata(tmp_path):
    meta = read_spectra(write_table(tmp_path)).meta
    assert meta["format"] == "ecsv"
    assert meta["header"] == {"medium": "vacuum"}


@pytest.mark.parametrize("name", ["star.ecsv", "star.fits"])
def test_units_of_a_table_are_kept_or_converted(tmp_path, name):
    star = read_spectra(
        write_table(
            tmp_path,
            name,
            wavelength=WAVELENGTH / 10 * u.nm,
            flux=FLUX * u.Jy,
            uncertainty=1000 * ERROR * u.mJy,
        )
    )
    np.testing.assert_allclose(star.wavelength.value, WAVELENGTH, rtol=1e-15)
    assert star.flux.unit == u.Jy
    np.testing.assert_allclose(star.uncertainty.array, ERROR, rtol=1e-14)
    np.testing.assert_allclose(as_spectra(star).ivar[0, 0], ERROR[0] ** -2)


@pytest.mark.parametrize("name", ["star.ecsv", "star.fits"])
def test_empty_cells_of_a_table_are_masked(tmp_path, name):
    flux = MaskedColumn(FLUX, mask=np.arange(N_PIXELS) == 2)
    error = MaskedColumn(ERROR, mask=np.arange(N_PIXELS) == 7)
    star = read_spectra(write_table(tmp_path, name, flux=flux, uncertainty=error))
    np.testing.assert_array_equal(np.flatnonzero(star.mask), [2, 5, 7])


@pytest.mark.parametrize("name", ["star.ecsv", "star.fits"])
def test_table_needs_neither_uncertainty_nor_mask(tmp_path, name):
    star = read_spectra(write_table(tmp_path, name, drop=("uncertainty", "mask")))
    assert star.uncertainty is None
    assert not star.mask.any()


@pytest.mark.parametrize("name", ["star.ecsv", "star.fits"])
def test_columns_may_have_the_names_that_instruments_use(tmp_path, name):
    drop = ("wavelength", "uncertainty")
    columns = {"wave": WAVELENGTH / 10 * u.nm, "err": ERROR}
    star = read_spectra(write_table(tmp_path, name, drop=drop, **columns))
    np.testing.assert_allclose(star.wavelength.value, WAVELENGTH, rtol=1e-15)
    np.testing.assert_array_equal(star.uncertainty.array, ERROR)


def test_table_of_one_row_may_hold_arrays(tmp_path):
    columns = {"wavelength": [WAVELENGTH] * u.AA, "flux": [FLUX], "error": [ERROR]}
    table = Table(columns, meta={"medium": "air"})
    table.write(tmp_path / "star.fits")
    star = read_spectra(tmp_path / "star.fits")
    np.testing.assert_array_equal(star.flux.value, FLUX)
    np.testing.assert_array_equal(star.uncertainty.array, ERROR)


def test_error_may_have_its_shorter_name(tmp_path):
    path = write_table(tmp_path, drop=("uncertainty",), error=ERROR)
    np.testing.assert_array_equal(read_spectra(path).uncertainty.array, ERROR)


def test_unit_that_a_table_lacks_may_be_given(tmp_path):
    path = write_table(tmp_path, "star.fits", wavelength=WAVELENGTH / 10)
    with pytest.raises(FileFormatError, match=r"have ''.* or pass wavelength_unit="):
        read_spectra(path)
    star = read_spectra(path, wavelength_unit="nm")
    np.testing.assert_allclose(star.wavelength.value, WAVELENGTH, rtol=1e-15)


def test_capital_letters_of_a_fits_table_mean_nothing(tmp_path):
    columns = [
        fits.Column("WAVELENGTH", "D", "Angstrom", array=WAVELENGTH),
        fits.Column("Flux", "D", array=FLUX),
        fits.Column("ERROR", "D", array=ERROR),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    primary = fits.PrimaryHDU()
    primary.header["MEDIUM"], table.header["OBJECT"] = "Air", "HD 1"
    fits.HDUList([primary, table]).writeto(tmp_path / "star.fits")
    star = read_spectra(tmp_path / "star.fits")
    assert (star.meta["medium"], star.meta["object"]) == ("air", "HD 1")
    np.testing.assert_array_equal(star.uncertainty.array, ERROR)


@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")
@pytest.mark.parametrize("name", ["star.ecsv", "star.fits"])
def test_unit_that_nobody_understands_may_be_replaced(tmp_path, name):
    columns = {
        "flux": Column(FLUX, unit=u.UnrecognizedUnit("adu/foo")),
        "uncertainty": Column(ERROR, unit=u.UnrecognizedUnit("adu/foo")),
    }
    path = write_table(tmp_path, name, **columns)
    with pytest.raises(FileFormatError, match=r"'adu/foo', cannot .* Pass flux_unit="):
        read_spectra(path)
    star = read_spectra(path, flux_unit="adu")
    assert star.flux.unit == star.uncertainty.unit == u.adu
    np.testing.assert_array_equal(star.uncertainty.array, ERROR)


@pytest.mark.parametrize("unit", [u.dimensionless_unscaled, u.Jy])
def test_tables_that_specutils_writes_are_read(tmp_path, unit):
    error = InverseVariance(ERROR**-2, unit=unit**-2)
    written = Spectrum(FLUX * unit, WAVELENGTH * u.AA, uncertainty=error)
    written.write(tmp_path / "star.fits", format="tabular-fits")
    star = read_spectra(tmp_path / "star.fits", medium="air")
    assert (star.meta["format"], star.flux.unit) == ("fits-table", unit)
    np.testing.assert_array_equal(star.flux.value, FLUX)
    np.testing.assert_allclose(star.uncertainty.array, ERROR, rtol=1e-14)


def test_fits_table_without_the_columns_says_which_there_are(tmp_path):
    path = write_table(tmp_path, "star.fits", drop=("flux",), counts=FLUX)
    message = r"no table with .* but .*4 columns: wavelength, uncertainty, mask, counts"
    with pytest.raises(FileFormatError, match=message):
        read_spectra(path, "fits-table")


def test_metadata_of_ecsv_describe_the_spectrum(tmp_path):
    stated = {"medium": "air", "object": 7, "frame": "rest", "resolving_power": 1e4}
    meta = read_spectra(write_table(tmp_path, meta=stated)).meta
    assert (meta["medium"], meta["object"], meta["frame"]) == ("air", "7", "rest")
    assert meta["resolving_power"] == 1e4


EMPTY_CELL = MaskedColumn(WAVELENGTH, mask=np.arange(N_PIXELS) == 3, unit="Angstrom")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop": ("flux",)}, r"no column 'flux', but \['wavelength', 'uncertainty'"),
        ({"wavelength": WAVELENGTH}, "a unit of length; they have ''"),
        ({"flux": ["faint"] * N_PIXELS}, "Its column 'flux' must hold numbers"),
        ({"wavelength": EMPTY_CELL}, "positive, finite"),
        ({"uncertainty": ERROR * u.s}, "unit of the flux, ''; it has 's'"),
        ({"meta": {"medium": "water"}}, "It states the medium 'water'"),
        ({"meta": {"author": "me"}}, r"Pass medium='air' or medium='vacuum'"),
    ],
)
def test_ecsv_with_a_fault_is_told_which(tmp_path, changes, message):
    path = write_table(tmp_path, **changes)
    with pytest.raises(FileFormatError, match=f"star.ecsv', as 'ecsv': .*{message}"):
        read_spectra(path)


def test_ecsv_that_is_cut_off_is_told_so(tmp_path):
    path = write_table(tmp_path)
    path.write_text("\n".join(path.read_text().splitlines()[:4]))
    with pytest.raises(FileFormatError, match="It is no valid ECSV"):
        read_spectra(path)


# Images ----------------------------------------------------------------------------


def write_image(folder, *others, flux=FLUX, **header):
    image = fits.PrimaryHDU(flux)
    image.header.update({"CRVAL1": 5000.0, "CDELT1": 0.05, "OBJECT": "HD 1"})
    image.header.update({name.replace("_", "-"): header[name] for name in header})
    fits.HDUList([image, *others]).writeto(folder / "star.fits", overwrite=True)
    return folder / "star.fits"


def test_image_of_one_row_is_a_spectrum(tmp_path):
    star = read_spectra(write_image(tmp_path), medium="air")
    np.testing.assert_allclose(star.wavelength.value, WAVELENGTH, rtol=1e-15)
    np.testing.assert_array_equal(star.flux.value, FLUX)
    assert star.uncertainty is None
    assert (star.meta["format"], star.meta["object"]) == ("fits-image", "HD 1")


@pytest.mark.parametrize(
    "header",
    [
        {"CTYPE1": "WAVE", "CUNIT1": "Angstrom", "CRPIX1": 4.0},
        {"CTYPE1": "WAVE", "CUNIT1": "nm", "CRVAL1": 500.0, "CRPIX1": 0.0},
        {"CTYPE1": "WAVE-LOG", "CUNIT1": "Angstrom", "CRPIX1": 1.0},
        {"CTYPE1": "AWAV-LOG", "CUNIT1": "Angstrom", "CDELT1": 50.0, "CRPIX1": 2.0},
    ],
)
def test_wavelengths_of_an_image_are_those_of_astropy(tmp_path, header):
    path = write_image(tmp_path, BUNIT="adu", **header)
    with fits.open(path) as hdus:
        wcs = WCS(hdus[0].header)
        wavelength = wcs.all_pix2world(np.arange(N_PIXELS), 0)[0]
    medium = "air" if header["CTYPE1"].startswith("AWAV") else "vacuum"
    star = read_spectra(path, medium=medium)
    np.testing.assert_allclose(star.wavelength.value, 1e10 * wavelength, rtol=1e-14)
    assert star.flux.unit == u.adu


def test_air_wavelengths_of_fits_state_their_medium(tmp_path):
    path = write_image(tmp_path, CTYPE1="AWAV", CUNIT1="Angstrom")
    assert read_spectra(path).meta["medium"] == "air"
    path = write_image(tmp_path, CTYPE1="WAVE", CUNIT1="Angstrom")
    with pytest.raises(FileFormatError, match="Pass medium="):
        read_spectra(path)


def test_logarithms_of_iraf_become_wavelengths(tmp_path):
    header = {"CRVAL1": np.log10(5000), "CD1_1": 1e-5, "CRPIX1": 3.0}
    image = fits.PrimaryHDU(FLUX[None, None])
    image.header.update(header | {"DC-FLAG": 1, "CTYPE1": "LINEAR"})
    image.writeto(tmp_path / "star.fits")
    star = read_spectra(tmp_path / "star.fits", medium="air")
    expected = 5000 * 10 ** (1e-5 * (np.arange(N_PIXELS) - 2))
    np.testing.assert_allclose(star.wavelength.value, expected, rtol=1e-14)


def test_second_image_may_hold_errors(tmp_path):
    path = write_image(tmp_path, fits.ImageHDU(ERROR, name="ERR"))
    star = read_spectra(path, medium="air")
    np.testing.assert_array_equal(star.uncertainty.array, ERROR)
    path = write_image(tmp_path, fits.ImageHDU(ERROR[1:], name="ERR"))
    with pytest.raises(FileFormatError, match="HDU ERR must have the shape of the"):
        read_spectra(path, medium="air")


def test_image_whose_wavelengths_cannot_be_right_is_refused(tmp_path):
    path = write_image(tmp_path, CRVAL1=3.7, CDELT1=1e-5)
    with pytest.raises(FileFormatError, match=r"from 3\.7 to 3\.7.* logarithms"):
        read_spectra(path, medium="air")
    path = write_image(tmp_path, CRVAL1=0.5, CDELT1=1e-5)
    star = read_spectra(path, medium="air", wavelength_unit="um")
    assert star.wavelength[0].value == pytest.approx(5000)


def test_image_of_a_unit_that_nobody_understands_needs_another(tmp_path):
    path = write_image(tmp_path, BUNIT="counts/foo")
    with pytest.raises(FileFormatError, match=r"of the flux, 'counts/foo', .* flux_un"):
        read_spectra(path, medium="air")
    assert read_spectra(path, medium="air", flux_unit="ct").flux.unit == u.ct


def test_image_without_wavelengths_says_what_it_lacks(tmp_path):
    fits.PrimaryHDU(FLUX).writeto(tmp_path / "star.fits")
    with pytest.raises(FileFormatError, match=r"no image of one row with .* CRVAL1"):
        read_spectra(tmp_path / "star.fits", "fits-image")


# The door --------------------------------------------------------------------------


def test_several_files_give_one_flat_list(tmp_path):
    paths = [write_text(tmp_path), str(write_table(tmp_path))]
    spectra = read_spectra(paths)
    assert isinstance(spectra, SpectrumList)
    assert [s.meta["format"] for s in spectra] == ["text", "ecsv"]
    again = read_spectra((tmp_path / "star.txt",), "text")
    assert len(again) == 1


def test_no_files_give_an_empty_list():
    assert read_spectra([]) == []


def test_format_is_not_told_by_the_name(tmp_path):
    path = write_text(tmp_path, name="star.fits")
    assert read_spectra(path).meta["format"] == "text"
    path = write_table(tmp_path).rename(tmp_path / "star.dat")
    assert read_spectra(path).meta["format"] == "ecsv"


def test_unknown_format_is_refused_with_a_hint(tmp_path):
    path = write_text(tmp_path)
    with pytest.raises(ValueError, match=r"got 'txt'. Did you mean 'text'\?") as caught:
        read_spectra(path, "txt")
    for name in SPECTRUM_FORMATS:
        assert repr(name) in str(caught.value)


def test_option_of_another_format_is_refused_with_a_hint(tmp_path):
    path = write_text(tmp_path)
    with pytest.raises(TypeError, match=r"`row` is no option of the format 'text'"):
        read_spectra(path, row=1)
    with pytest.raises(TypeError, match=r"Did you mean 'medium'\?"):
        read_spectra(path, medum="air")


def test_medium_that_contradicts_the_file_is_refused(tmp_path):
    path = write_text(tmp_path)
    with pytest.raises(FileFormatError, match="are in air, but `medium` is 'vacuum'"):
        read_spectra(path, medium="vacuum")
    with pytest.raises(ValueError, match="`medium` must be 'air' or 'vacuum'"):
        read_spectra(path, medium="water")


def test_file_that_is_not_there_is_told_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere.txt"):
        read_spectra(tmp_path / "nowhere.txt")
    with pytest.raises(FileNotFoundError, match="no file"):
        read_spectra(tmp_path)


def test_what_is_no_path_is_refused():
    with pytest.raises(TypeError, match="`path` must be a path or a list of paths"):
        read_spectra(3.7)


def test_fits_file_of_no_known_format_is_described(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("A", "D", array=[1.0])])
    hdus = [fits.PrimaryHDU(np.ones((2, 3))), table]
    fits.HDUList(hdus).writeto(tmp_path / "what.fits")
    message = (
        r"what.fits' is of no format .* FITS file with the HDUs 0 PRIMARY \(image "
        r"\(2, 3\)\), 1 unnamed \(table of 1 columns: A\)\. .* pass `format` to be told"
    )
    with pytest.raises(FileFormatError, match=message):
        read_spectra(tmp_path / "what.fits")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "text without data"),
        (b"# only a comment\n", "text without data"),
        (b"id,name\n1,2\n", "text whose data start with 'id,name'"),
        (b"\x89\xff\x00\x01", "neither FITS nor text"),
    ],
)
def test_file_of_no_known_format_is_described(tmp_path, content, message):
    (tmp_path / "what").write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_spectra(tmp_path / "what")


def test_letters_of_another_encoding_spoil_only_their_comment(tmp_path):
    (tmp_path / "star.txt").write_bytes(b"# in \xc5\n# medium: air\n5000 1\n5001 1\n")
    assert read_spectra(tmp_path / "star.txt").meta["medium"] == "air"


@pytest.mark.parametrize("content", [b"5000 1\n", b"\x89\xff\x00\x01"])
def test_format_of_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / "what").write_bytes(content)
    with pytest.raises(FileFormatError, match="cannot be 'desi', which is FITS"):
        read_spectra(tmp_path / "what", "desi")


def test_fits_file_is_not_read_as_text(tmp_path):
    fits.PrimaryHDU(np.ones(3)).writeto(tmp_path / "star.txt")
    with pytest.raises(FileFormatError, match="cannot be 'text', which is text"):
        read_spectra(tmp_path / "star.txt", "text")


def test_the_sun_makes_a_round_trip_through_text(tmp_path, data_file):
    sun = np.load(data_file("sun_harps_4000_5000.npz"))
    wavelength, flux = (sun[key][:7001] for key in ("wavelength", "flux"))
    star = read_spectra(write_text(tmp_path, wavelength, flux))
    np.testing.assert_array_equal(star.wavelength.value, wavelength)
    np.testing.assert_array_equal(star.flux.value, flux)
