"""Files of ESO's and others' pipelines, of IRAF, PypeIt and Libre-ESpRIT come in."""

import numpy as np
import pytest
import spectrum_files as files
from astropy import units as u
from astropy.io import fits
from numpy.polynomial import chebyshev, legendre
from scipy.interpolate import BSpline

from sk_payne.spectra import group_arms, read_spectra

N_PIXELS = files.N_PIXELS
PIXEL = np.arange(1, N_PIXELS + 1)


def bad_pixels(spectrum):
    return np.flatnonzero(spectrum.mask).tolist()


# ESO ---------------------------------------------------------------------------------


def test_columns_of_eso_may_have_any_name_if_tutyp_tells(tmp_path):
    star = read_spectra(files.write_xshooter(tmp_path))
    assert star.meta["format"] == "eso-sdp"
    np.testing.assert_array_equal(star.flux.value, files.flux_of(1))
    np.testing.assert_array_equal(star.uncertainty.array, files.flux_of(2))
    expected = np.linspace(9900.0, 9990.0, N_PIXELS)
    np.testing.assert_allclose(star.wavelength.value, expected, rtol=1e-14)
    assert bad_pixels(star) == [7]
    assert (star.meta["medium"], star.meta["frame"]) == ("air", "heliocentric")
    assert (star.meta["object"], star.meta["resolving_power"]) == ("HD 1", 5300)


def test_merged_orders_of_harps_are_barycentric_and_in_air(tmp_path):
    star = read_spectra(files.write_harps_s1d(tmp_path))
    np.testing.assert_array_equal(star.flux.value, 1000 * files.flux_of(1))
    expected = 3781.5 + 0.01 * np.arange(N_PIXELS)
    np.testing.assert_allclose(star.wavelength.value, expected, rtol=1e-14)
    assert (star.meta["medium"], star.meta["frame"]) == ("air", "barycentric")
    assert star.meta["barycentric_correction"] == 12.5
    assert (star.meta["object"], star.meta["resolving_power"]) == ("HD10700", 115000)
    assert star.uncertainty is None


def test_orders_of_harps_are_topocentric_arms(tmp_path):
    stars = read_spectra(files.write_harps_e2ds(tmp_path))
    x = np.arange(N_PIXELS)
    for star, flux, (a, b, c) in zip(
        stars,
        1000 * files.flux_of(1, 2, N_PIXELS),
        np.reshape(files.E2DS_COEFFICIENTS, (2, 3)),
        strict=True,
    ):
        np.testing.assert_array_equal(star.flux.value, flux)
        expected = a + b * x + c * x**2
        np.testing.assert_allclose(star.wavelength.value, expected, rtol=1e-14)
    assert (star.meta["medium"], star.meta["frame"]) == ("air", "topocentric")
    assert len(list(group_arms(stars))) == 1


def test_merged_orders_of_espresso_are_in_vacuum(tmp_path):
    star = read_spectra(files.write_espresso_s1d(tmp_path))
    np.testing.assert_array_equal(star.flux.value, files.flux_of(1))
    np.testing.assert_array_equal(star.uncertainty.array, files.flux_of(2))
    expected = np.linspace(5000.0, 5001.8, N_PIXELS)
    np.testing.assert_array_equal(star.wavelength.value, expected)
    assert bad_pixels(star) == [6]
    assert (star.meta["medium"], star.meta["frame"]) == ("vacuum", "barycentric")
    assert star.meta["barycentric_correction"] == -3.5
    assert star.meta["resolving_power"] == 140000


def test_orders_of_espresso_have_errors_and_masks(tmp_path):
    path = files.write_espresso_s2d(tmp_path)
    stars = read_spectra(path)
    with fits.open(path) as hdus:
        for order, star in enumerate(stars):
            for name, values in (
                ("SCIDATA", star.flux.value),
                ("ERRDATA", star.uncertainty.array),
                ("WAVEDATA_VAC_BARY", star.wavelength.value),
            ):
                np.testing.assert_array_equal(values, hdus[name].data[order])
    assert [bad_pixels(star) for star in stars] == [[], [3]]
    assert (star.meta["medium"], star.meta["frame"]) == ("vacuum", "barycentric")


def test_quality_of_a_pipeline_of_eso_is_0_where_a_pixel_is_good(tmp_path):
    axis = {"CRVAL1": 990.0, "CDELT1": 0.02, "CUNIT1": "nm", "BUNIT": "ADU"}
    quality = np.where(PIXEL == 4, 8, 0)
    path = files.write(
        tmp_path,
        [
            files.primary(
                files.flux_of(1), **axis, HIERARCH__ESO__PRO__CATG="MERGE1D_NIR"
            ),
            files.image(files.flux_of(2), "ERRS"),
            files.image(quality, "QUAL"),
        ],
    )
    star = read_spectra(path, medium="air")
    assert star.flux.unit == u.adu
    np.testing.assert_array_equal(star.uncertainty.array, files.flux_of(2))
    assert bad_pixels(star) == [3]
    np.testing.assert_allclose(star.wavelength.value, 9900 + 0.2 * (PIXEL - 1))


# Libre-ESpRIT ------------------------------------------------------------------------


@pytest.mark.parametrize(("n_columns", "error"), [(1, None), (2, 1), (5, 4)])
def test_orders_of_libre_esprit_are_arms(tmp_path, n_columns, error):
    stars = read_spectra(files.write_libre_esprit(tmp_path, n_columns))
    assert [star.flux.size for star in stars] == [20, 17]
    for star, start, end, pixels in zip(
        stars, (5000, 5007), (5009, 5015), (slice(20), slice(20, None)), strict=True
    ):
        expected = np.linspace(start, end, star.flux.size)
        np.testing.assert_allclose(star.wavelength.value, expected, atol=1e-5)
        np.testing.assert_allclose(star.flux.value, files.flux_of(0)[pixels], atol=1e-6)
        if error is None:
            assert star.uncertainty is None
        else:
            np.testing.assert_allclose(
                star.uncertainty.array, files.flux_of(error)[pixels], atol=1e-6
            )
    assert (star.meta["medium"], star.meta["frame"]) == ("air", "heliocentric")
    assert star.meta["object"] == "HD 1"
    assert len(list(group_arms(stars))) == 1


@pytest.mark.parametrize("n_rows", [12, 24])
@pytest.mark.parametrize(("normalized", "block"), [(True, 0), (False, 3)])
def test_orders_of_espadons_are_arms(tmp_path, n_rows, normalized, block):
    path = files.write_espadons(tmp_path, n_rows)
    stars = read_spectra(path, normalized=normalized)
    with fits.open(path) as hdus:
        rows = hdus[0].data.reshape(4, n_rows // 4, N_PIXELS)
    parts = slice(0, 20), slice(20, None)
    for star, part, arm in zip(stars, parts, (0, 1), strict=True):
        # wavelengths of the block that telluric lines have corrected
        np.testing.assert_allclose(star.wavelength.value, 10 * rows[0, 0, part])
        np.testing.assert_array_equal(star.flux.value, rows[block, 1, part])
        np.testing.assert_array_equal(star.uncertainty.array, rows[block, -1, part])
        assert (star.meta["format"], star.meta["arm"]) == ("espadons", arm)
        assert (star.meta["medium"], star.meta["frame"]) == ("air", "heliocentric")
    assert len(list(group_arms(stars))) == 1


def test_image_with_many_falls_of_wavelength_is_no_spectrum_of_espadons(tmp_path):
    path = files.write_espadons(tmp_path)
    with fits.open(path, mode="update") as hdus:
        hdus[0].data = np.zeros((12, 2000))
    with pytest.raises(ValueError, match="decrease 1999 times"):
        read_spectra(path)


# IRAF --------------------------------------------------------------------------------


def spec(kind, start=5000.0, step=0.1, shift=0.0, functions=""):
    return f"1 1 {kind} {start} {step} {N_PIXELS} {shift} 1.0 2.0 {functions}".strip()


COEFFICIENTS = (5050.0, 40.0, -1.5, 0.25)
WRITTEN = " ".join(map(str, COEFFICIENTS))


def on_domain(low, high):
    return (2 * PIXEL - (low + high)) / (high - low)


CHEBYSHEV = chebyshev.chebval(on_domain(1, 37), COEFFICIENTS)
LEGENDRE = legendre.legval(on_domain(-5, 50), COEFFICIENTS)

LINEAR_SPLINE = np.interp(PIXEL, [1, 13, 25, 37], [5000, 5004, 5010, 5013])
# Pieces of IRAF's cubic spline are six times those of uniform B-splines.
HEIGHTS = np.array([830.0, 834.5, 836.0, 838.5, 842.0, 843.0, 846.5])
KNOTS = " ".join(map(str, HEIGHTS))
CUBIC_SPLINE = BSpline(np.arange(-3, 8), 6 * HEIGHTS, 3)((PIXEL - 1) / 9)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (spec(0), 5000 + 0.1 * (PIXEL - 1)),
        (spec(0, shift=1e-4), (5000 + 0.1 * (PIXEL - 1)) / 1.0001),
        (spec(1, 3.7, 1e-5), 10 ** (3.7 + 1e-5 * (PIXEL - 1))),
        (spec(2, functions=f"1. 0. 1 4 1 37 {WRITTEN}"), CHEBYSHEV),
        (spec(2, functions=f"1. 0. 2 4 -5 50 {WRITTEN}"), LEGENDRE),
        (spec(2, functions=f"1. 3.5 1 4 1 37 {WRITTEN}"), CHEBYSHEV + 3.5),
        (
            spec(
                2,
                functions=f"0.25 0. 1 4 1 37 {WRITTEN} 0.75 1.5 2 4 -5 50 {WRITTEN}",
            ),
            0.25 * CHEBYSHEV + 0.75 * (LEGENDRE + 1.5),
        ),
        (
            spec(2, functions=f"2. 0. 1 4 1 37 {WRITTEN} 2. 0. 2 4 -5 50 {WRITTEN}"),
            0.5 * CHEBYSHEV + 0.5 * LEGENDRE,
        ),
        (spec(2, functions="1. 0. 4 3 1 37 5000 5004 5010 5013"), LINEAR_SPLINE),
        (spec(2, functions=f"1. 2.5 3 4 1 37 {KNOTS}"), CUBIC_SPLINE + 2.5),
        (
            spec(2, functions=f"1. 0. 5 37 {' '.join(map(str, 5000 + PIXEL**1.5))}"),
            5000 + PIXEL**1.5,
        ),
    ],
)
def test_dispersions_of_iraf_are_those_of_its_manual(tmp_path, words, expected):
    path = files.write_multispec(tmp_path, words, spec(0))
    stars = read_spectra(path, medium="air")
    np.testing.assert_allclose(stars[0].wavelength.value, expected, rtol=1e-13)
    np.testing.assert_array_equal(stars[1].flux.value, files.flux_of(1, 2, 37)[1])
    assert [star.meta["arm"] for star in stars] == [1, 2]
    assert len(list(group_arms(stars))) == 1


def test_image_that_was_cut_keeps_the_pixels_of_its_dispersion(tmp_path):
    words = spec(2, functions=f"1. 0. 1 4 1 50 {WRITTEN}")
    path = files.write_multispec(tmp_path, words, words, LTV1=-10.0, LTM1_1=1.0)
    stars = read_spectra(path, medium="air")
    x = (2 * (PIXEL + 10) - 51) / 49
    expected = chebyshev.chebval(x, COEFFICIENTS)
    np.testing.assert_allclose(stars[0].wavelength.value, expected, rtol=1e-13)


def test_sigma_band_of_iraf_holds_the_errors(tmp_path):
    star = read_spectra(
        files.write_multispec(tmp_path, spec(0), n_bands=2), medium="air"
    )
    flux, error = files.flux_of(1, 2, 1, N_PIXELS)[:, 0]
    np.testing.assert_array_equal(star.flux.value, flux)
    np.testing.assert_array_equal(star.uncertainty.array, error)


def test_fibres_of_iraf_with_names_are_stars_of_their_own(tmp_path):
    path = files.write_multispec(tmp_path, spec(0), spec(0), APID1="a", APID2="b")
    stars = read_spectra(path, medium="air")
    assert [star.meta["object"] for star in stars] == ["a", "b"]
    assert len(list(group_arms(stars))) == 2


@pytest.mark.parametrize("flag", [0, 1])
def test_rows_of_equispec_share_one_dispersion(tmp_path, flag):
    start, step = (3.7, 1e-5) if flag else (5000.0, 0.1)
    header = {"WAT0_001": "system=equispec", "CRVAL1": start, "CD1_1": step}
    flux = files.flux_of(1, 2, N_PIXELS)
    hdu = files.primary(flux, **header, **{"DC-FLAG": flag})
    stars = read_spectra(files.write(tmp_path, [hdu]), medium="air")
    expected = start + step * (PIXEL - 1)
    for star in stars:
        np.testing.assert_allclose(
            star.wavelength.value, 10**expected if flag else expected, rtol=1e-13
        )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (spec(-1), "no calibrated wavelengths"),
        (spec(2, functions="1. 0. 3 2 1 37 1 2 3"), "needs 11 numbers; 9 are left"),
        (spec(2, functions="1. 0. 4 2 37 1 1 2 3"), "range of a function is 37 to 1"),
        (
            spec(2, functions="1. 0. 6 2 1 5000 37 5001"),
            "type 6 are not known.*dispcor",
        ),
        (spec(2, functions="0. 0. 4 1 1 37 5000 5001"), "weights .* sum 0"),
        (spec(2, functions="1. 0. 4 1.5 1 37 1 2 3"), "order of a function is 1.5"),
        (spec(2, functions="1. 0. 4"), "3 numbers are left over"),
        (spec(2, functions="1. 0. 1 4 1 37 5050"), "cannot be understood"),
        ("1 1 0 5000 0.1", "cannot be understood"),
        ("1 1 0 5000 0.1 370 0. 1 2", "cannot be understood"),
    ],
)
def test_dispersion_that_cannot_be_read_is_refused(tmp_path, words, message):
    path = files.write_multispec(tmp_path, words, spec(0))
    with pytest.raises(ValueError, match=rf"spectrum.fits'.*(?s:{message})"):
        read_spectra(path, medium="air")


# PypeIt ------------------------------------------------------------------------------


def test_mask_of_pypeit_is_nonzero_where_a_pixel_is_good(tmp_path):
    star = read_spectra(files.write_spec1d(tmp_path))
    # two pixels without a wavelength are left out
    np.testing.assert_array_equal(star.flux.value, files.flux_of(0)[2:])
    np.testing.assert_array_equal(star.uncertainty.array, files.flux_of(10)[2:])
    assert bad_pixels(star) == [3]
    assert star.flux.unit == u.count
    assert (star.meta["medium"], star.meta["frame"]) == ("vacuum", "heliocentric")


def test_orders_of_pypeit_are_arms_and_objects_are_chosen(tmp_path):
    names = ("OBJ1-ORDER0070-A", "OBJ1-ORDER0071-A", "OBJ2-ORDER0070-A")
    path = files.write_spec1d(tmp_path, names)
    stars = read_spectra(path, target="OBJ1")
    assert [star.meta["arm"] for star in stars] == [70, 71]
    with pytest.raises(ValueError, match=r"`target` must be one of .*OBJ1, OBJ2; none"):
        read_spectra(path)


def test_combined_spectrum_of_pypeit_is_calibrated_and_its_mask_is_turned(tmp_path):
    star = read_spectra(files.write_coadd1d(tmp_path))
    np.testing.assert_array_equal(star.wavelength.value, 5000 + np.arange(N_PIXELS))
    assert bad_pixels(star) == [5]
    assert star.flux.unit == u.Unit("1e-17 erg / (s cm2 Angstrom)")
    assert star.meta["object"] == "HD 1"
