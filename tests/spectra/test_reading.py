"""Files that people write come in, and whatever cannot be read is told why.

Text, tables and images of one's own; surveys have tests of their own.
"""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time
from astropy.wcs import WCS
from specutils import Spectrum, SpectrumList

from sk_payne.exceptions import FileFormatError, UnreadColumnWarning
from sk_payne.spectra import SPECTRUM_FORMATS, as_spectra, group_arms, read_spectra

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


@pytest.mark.parametrize("name", ["star.ecsv", "star.fits"])
def test_table_of_quantities_and_a_time_is_read(tmp_path, name):
    table = QTable(
        {
            "wavelength": WAVELENGTH / 10 * u.nm,
            "flux": FLUX * u.Jy,
            "uncertainty": 1000 * ERROR * u.mJy,
            "time": Time(np.arange(N_PIXELS) + 50_000.0, format="mjd"),
        },
        meta={"medium": "vacuum"},
    )
    table.write(tmp_path / name)
    star = read_spectra(tmp_path / name)
    np.testing.assert_allclose(star.wavelength.value, WAVELENGTH, rtol=1e-15)
    np.testing.assert_array_equal(star.flux.value, FLUX)
    assert star.flux.unit == u.Jy
    np.testing.assert_allclose(star.uncertainty.array, ERROR, rtol=1e-14)


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


@pytest.mark.parametrize(
    ("header", "frame"),
    [
        ({"FRAME": "Barycentric"}, "barycentric"),
        ({"FRAME": "FK4"}, None),
        ({"FRAME": "FK5", "SPECSYS": "HELIOCEN"}, "heliocentric"),
        ({}, None),
    ],
)
def test_celestial_frame_of_an_image_is_none_of_its_velocities(tmp_path, header, frame):
    star = read_spectra(write_image(tmp_path, **header), medium="air")
    assert star.meta["frame"] == frame


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


def write_arms(folder, **images):
    """Images of one row, none of them in the primary HDU."""
    hdus = [fits.ImageHDU(values, name=name) for name, values in images.items()]
    for hdu in hdus:
        hdu.header.update({"CRVAL1": 5000.0, "CDELT1": 0.05})
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(folder / "star.fits")
    return folder / "star.fits"


def test_images_may_hold_an_inverse_variance_and_a_mask(tmp_path):
    ivar, bits = ERROR**-2, 4 * (np.arange(N_PIXELS) == 3)
    ivar[2] = 0
    path = write_arms(tmp_path, FLUX=FLUX, IVAR=ivar, DQ=bits)
    star = read_spectra(path, medium="air")
    np.testing.assert_array_equal(star.uncertainty.array, ivar)
    assert isinstance(star.uncertainty, InverseVariance)
    assert np.flatnonzero(star.mask).tolist() == [2, 3]
    np.testing.assert_array_equal(star.meta["bitmask"], bits)


def test_images_that_are_not_read_are_named(tmp_path):
    path = write_arms(tmp_path, FLUX=FLUX, SKY=FLUX, MODEL=FLUX)
    with pytest.warns(UnreadColumnWarning, match="image SKY, image MODEL"):
        read_spectra(path, medium="air")


def test_images_named_after_arms_are_arms_with_their_errors_and_masks(tmp_path):
    blue, red = np.full(N_PIXELS, 4.0), np.full(N_PIXELS, 9.0)
    mask = (np.arange(N_PIXELS) == 5).astype(np.int16)
    path = write_arms(
        tmp_path,
        BLUE_DATA=FLUX,
        BLUE_IVAR=blue,
        RED_DATA=2 * FLUX,
        RED_IVAR=red,
        RED_MASK=mask,
    )
    stars = read_spectra(path, medium="air")
    assert [star.meta["arm"] for star in stars] == ["BLUE", "RED"]
    assert [star.meta["format"] for star in stars] == ["fits-arms"] * 2
    for star, flux, ivar in zip(stars, (FLUX, 2 * FLUX), (blue, red), strict=True):
        np.testing.assert_array_equal(star.flux.value, flux)
        np.testing.assert_array_equal(star.uncertainty.array, ivar)
    assert [np.flatnonzero(star.mask).tolist() for star in stars] == [[], [5]]
    assert len(list(group_arms(stars))) == 1


def test_wavelengths_of_an_arm_may_be_an_image(tmp_path):
    path = write_arms(tmp_path, B_FLUX=FLUX, B_WAVE=400 + 0.1 * np.arange(N_PIXELS))
    (star,) = read_spectra(path, medium="air", wavelength_unit="nm")
    np.testing.assert_allclose(
        star.wavelength.value, 4000 + np.arange(N_PIXELS), rtol=1e-14
    )


def test_image_beside_arms_that_is_not_read_is_named(tmp_path):
    path = write_arms(tmp_path, BLUE_DATA=FLUX, BLUE_MODEL=FLUX, SKY=FLUX)
    with pytest.warns(UnreadColumnWarning, match="image BLUE_MODEL, image SKY"):
        read_spectra(path, medium="air")


# Errors and masks by their names -----------------------------------------------------


@pytest.mark.parametrize("file", ["star.ecsv", "star.fits", "star.csv"])
@pytest.mark.parametrize(
    ("name", "power"),
    [
        ("ivar", -2),
        ("IVAR", -2),
        ("Inverse_Variance", -2),
        ("invvar", -2),
        ("flux_ivar", -2),
        ("flux_error", 1),
        ("FLUX_ERR", 1),
        ("err_flux", 1),
        ("e_flux", 1),
        ("noise", 1),
        ("Sigma", 1),
        ("variance", 2),
    ],
)
def test_errors_are_read_under_the_names_that_people_use(tmp_path, file, name, power):
    values = ERROR**power
    columns = {"wavelength": WAVELENGTH, "flux": FLUX, name: values}
    path = tmp_path / file
    if file.endswith("csv") and file != "star.ecsv":
        table = np.column_stack(list(columns.values()))
        np.savetxt(path, table, delimiter=",", header=",".join(columns), comments="")
    else:
        columns["wavelength"] = WAVELENGTH * u.AA
        Table(columns).write(path)
    spectra = as_spectra(read_spectra(path, medium="air"))
    np.testing.assert_allclose(spectra.ivar[0], ERROR**-2, rtol=1e-12)
    assert spectra.has_uncertainty


@pytest.mark.parametrize("name", ["star.ecsv", "star.fits"])
def test_unit_of_an_inverse_variance_is_converted(tmp_path, name):
    changes = {"flux": FLUX * u.Jy, "ivar": 1e-6 * ERROR**-2 / u.mJy**2}
    star = read_spectra(write_table(tmp_path, name, drop=("uncertainty",), **changes))
    np.testing.assert_allclose(as_spectra(star).ivar[0, 0], ERROR[0] ** -2)
    changes["ivar"] = ERROR**-2 / u.s**2
    path = write_table(tmp_path, f"other_{name}", drop=("uncertainty",), **changes)
    with pytest.raises(FileFormatError, match="unit of the flux, '1 / Jy2'; it has"):
        read_spectra(path)


@pytest.mark.parametrize("name", ["star.ecsv", "star.fits"])
def test_an_inverse_variance_of_zero_masks_its_pixel(tmp_path, name):
    ivar = np.where(np.arange(N_PIXELS) == 2, 0.0, ERROR**-2)
    path = write_table(tmp_path, name, drop=("uncertainty", "mask"), ivar=ivar)
    assert np.flatnonzero(read_spectra(path).mask).tolist() == [2]


@pytest.mark.parametrize("file", ["star.ecsv", "star.fits"])
@pytest.mark.parametrize("name", ["mask", "AND_MASK", "dq", "Flag", "flux_mask"])
def test_masks_of_integers_mask_where_they_are_not_zero(tmp_path, file, name):
    bits = np.zeros(N_PIXELS, int)
    bits[[3, 7]] = 4, 1 << 20
    drop = () if name == "mask" else ("mask",)
    star = read_spectra(write_table(tmp_path, file, drop=drop, **{name: bits}))
    assert np.flatnonzero(star.mask).tolist() == [3, 7]
    np.testing.assert_array_equal(star.meta["bitmask"], bits)


def test_two_masks_mask_what_either_does(tmp_path):
    dq = np.where(np.arange(N_PIXELS) == 7, 2, 0)
    star = read_spectra(write_table(tmp_path, dq=dq))
    assert np.flatnonzero(star.mask).tolist() == [5, 7]


@pytest.mark.parametrize("name", ["star.ecsv", "star.fits"])
@pytest.mark.parametrize(
    ("said", "bad"),
    [
        ("0 = good", [1, 2]),
        ("bad: 0, good: 1", [0, 2]),
        ("1=good, else bad", [0, 2]),
        ("0: good, 1: bad", [1, 2]),
    ],
)
def test_quality_is_read_as_the_file_says(tmp_path, name, said, bad):
    values = np.full(N_PIXELS, 0 if said.startswith("0") else 1)
    values[:3] = 0, 1, 2
    table = Table({"wavelength": WAVELENGTH * u.AA, "flux": FLUX, "quality": values})
    table["quality"].description = said
    table.write(tmp_path / name)
    star = read_spectra(tmp_path / name, medium="air")
    assert np.flatnonzero(star.mask).tolist() == bad


def test_comment_of_text_may_say_what_a_quality_means(tmp_path):
    lines = ("wave flux qual", "5000 1 0", "5001 1 1")
    path = write_lines(tmp_path, "# qual: 1 is good", *lines)
    assert read_spectra(path, medium="air").mask.tolist() == [True, False]


@pytest.mark.parametrize("file", ["star.ecsv", "star.fits"])
@pytest.mark.parametrize("name", ["quality", "or_mask", "sky_error", "good", "weights"])
def test_columns_whose_meaning_is_not_sure_are_named(tmp_path, file, name):
    path = write_table(tmp_path, file, **{name: np.ones(N_PIXELS, int)})
    with pytest.warns(UnreadColumnWarning, match=rf"star\..*: not read: {name}[ .]"):
        star = read_spectra(path)
    np.testing.assert_array_equal(star.uncertainty.array, ERROR)
    assert np.flatnonzero(star.mask).tolist() == [5]


def test_columns_that_are_neither_error_nor_mask_are_left_in_peace(tmp_path):
    others = dict.fromkeys(["continuum", "order", "wavelength_error", "model"], FLUX)
    assert read_spectra(write_table(tmp_path, **others)).uncertainty is not None


def test_second_error_is_named_if_it_differs(tmp_path):
    path = write_table(tmp_path, ivar=ERROR**-2)
    np.testing.assert_array_equal(read_spectra(path).uncertainty.array, ERROR)
    path = write_table(
        tmp_path, "other.ecsv", drop=("uncertainty",), ivar=ERROR**-2, sigma=2 * ERROR
    )
    with pytest.warns(UnreadColumnWarning, match=r"sigma \(it differs from ivar, wh"):
        star = read_spectra(path)
    assert isinstance(star.uncertainty, InverseVariance)


def test_second_table_of_a_spectrum_is_named(tmp_path):
    tables = [
        fits.BinTableHDU(Table({"wave": WAVELENGTH * u.AA, "flux": FLUX}), name=name)
        for name in ("BLUE", "RED")
    ]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "star.fits")
    with pytest.warns(UnreadColumnWarning, match="not read: table 2 RED"):
        read_spectra(tmp_path / "star.fits", medium="air")


def test_one_row_of_arrays_is_no_product_of_eso_unless_it_says_so(tmp_path):
    bits = np.where(np.arange(N_PIXELS) == 4, 8, 0)
    columns = {"WAVE": [WAVELENGTH] * u.AA, "FLUX": [FLUX], "IVAR": [ERROR**-2]}
    table = fits.BinTableHDU(Table(columns | {"MASK": [bits]}), name="SPECTRUM")
    primary = fits.PrimaryHDU()
    primary.header["OBJECT"] = "HD 1"
    fits.HDUList([primary, table]).writeto(tmp_path / "star.fits")
    star = read_spectra(tmp_path / "star.fits", medium="air")
    assert (star.meta["format"], star.meta["object"]) == ("fits-table", "HD 1")
    np.testing.assert_array_equal(star.uncertainty.array, ERROR**-2)
    assert np.flatnonzero(star.mask).tolist() == [4]


# Columns of text -------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    ["wavelength flux ivar", "Wave [Angstrom], flux, IVAR", "wavelength\tflux\tivar"],
)
def test_comment_before_the_data_may_name_the_columns(tmp_path, header):
    header = "medium: air\n" + header
    star = read_spectra(
        write_text(tmp_path, WAVELENGTH, FLUX, ERROR**-2, header=header)
    )
    assert isinstance(star.uncertainty, InverseVariance)
    np.testing.assert_allclose(as_spectra(star).ivar[0], ERROR**-2)


def test_unit_in_the_name_of_the_wavelengths_is_used(tmp_path):
    path = write_lines(tmp_path, "wave (nm),flux", "500,1", "501,1")
    star = read_spectra(path, medium="air")
    np.testing.assert_allclose(star.wavelength.value, [5000, 5010], rtol=1e-14)
    star = read_spectra(path, medium="air", wavelength_unit="um")
    assert star.wavelength[0].value == pytest.approx(5e6)


@pytest.mark.parametrize(
    ("third", "seen"),
    [
        (4.2e6 * FLUX, "has a median of 3"),  # a flux that is not normalised
        (ERROR**-2, "has a median of 4"),
        (FLUX + 0.1, "has a median of"),  # a continuum
        (np.full(N_PIXELS, 70), "has a median of 70"),  # S/N
        (np.arange(N_PIXELS) == 3, "holds only 0 and 1"),
        (np.zeros(N_PIXELS), "holds only 0 and 1"),
    ],
)
def test_third_column_that_is_no_error_is_refused(tmp_path, third, seen):
    path = write_text(tmp_path, WAVELENGTH, FLUX, third)
    message = f"third column must be the error .1 sigma. of the flux, .* it {seen}.*"
    with pytest.raises(FileFormatError, match=message + "'wavelength flux ivar'"):
        read_spectra(path)


def test_errors_larger_than_the_flux_are_read_if_named(tmp_path):
    path = write_lines(tmp_path, "wave flux err", "5000 1 3", "5001 1 3")
    assert read_spectra(path, medium="air").uncertainty.array.tolist() == [3, 3]


@pytest.mark.parametrize(
    "lines",
    [
        ("5000 0,98 0,01", "5001 0,95 0,01"),
        ("5000,0 0,98 0,01", "5001,0 0,95 0,01"),
        ("5000\t0,98\t0,01", "5001\t0,95\t0,01"),
        ("5000;0,98;0,01", "5001;0,95;0,01"),
        ("5000, 0,98, 0,01", "5001, 0,95, 0,01"),
        ("5000; 0.98; 0.01", "5001; 0.95; 0.01"),
        ("wave;flux;err", "5000;0,98;0,01", "5001;0,95;0,01"),
        ("5000,0.98,0.01,", "5001,0.95,0.01,"),
    ],
)
def test_decimal_commas_are_read_where_they_are_clear(tmp_path, lines):
    star = read_spectra(write_lines(tmp_path, *lines), medium="air")
    assert star.wavelength.value.tolist() == [5000, 5001]
    assert star.flux.value.tolist() == [0.98, 0.95]
    assert star.uncertainty.array.tolist() == [0.01, 0.01]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("5000,0,98", "5001,0,95"), "write decimals with a point"),
        (("5,000 0.98", "5,001 0.95"), "Commas within numbers .* line 1, '5,000 0.98'"),
        (("5000 1", "5000,5 0.98"), "Commas within numbers .* line 2, '5000,5 0.98'"),
        (("5,000 1", "5,001 2"), "Commas within numbers .* line 1, '5,000 1'"),
    ],
)
def test_commas_that_are_not_clear_are_refused(tmp_path, lines, message):
    with pytest.raises(FileFormatError, match=message):
        read_spectra(write_lines(tmp_path, *lines), medium="air")


def test_csv_may_have_an_index_empty_cells_and_words_for_a_mask(tmp_path):
    path = write_lines(
        tmp_path,
        ",wavelength,flux,error,mask",
        "0,5000,0.98,0.01,False",
        "1,5001,,0.01,False",
        "2,5002,0.97,0.01,True",
        "3,5003,0.96,,False",
        "4,5004,0.95,0.01,False",
    )
    star = read_spectra(path, medium="air")
    assert star.mask.tolist() == [False, True, True, True, False]


def test_names_of_columns_of_text_must_differ(tmp_path):
    path = write_lines(tmp_path, "wave flux flux", "5000 1 1")
    with pytest.raises(FileFormatError, match="names of columns must differ"):
        read_spectra(path, medium="air")


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
