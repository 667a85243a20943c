"""LAMOST, SDSS, APOGEE visits, GALAH 6.0, WEAVE and Gaia: every number comes in."""

import warnings

import numpy as np
import pytest
import spectrum_files as files
from astropy import units as u
from astropy.io import fits
from specutils import Spectrum

from sk_payne.spectra import group_arms, read_spectra

N_PIXELS = files.N_PIXELS


def bad_pixels(spectrum):
    return np.flatnonzero(spectrum.mask).tolist()


# LAMOST ------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", [files.write_lamost_image, files.write_lamost_table])
def test_low_resolution_of_lamost_is_read_from_image_and_table(tmp_path, writer):
    star = read_spectra(writer(tmp_path))
    columns = files.lamost_columns()
    np.testing.assert_array_equal(star.flux.value, columns["FLUX"])
    np.testing.assert_array_equal(star.uncertainty.array, columns["IVAR"])
    np.testing.assert_allclose(
        star.wavelength.value, files.LAMOST_WAVELENGTH, rtol=1e-7
    )
    assert bad_pixels(star) == [3, 5]
    assert star.meta["format"] == "lamost-lrs"
    assert (star.meta["medium"], star.meta["frame"]) == ("vacuum", "heliocentric")
    assert star.meta["object"] == "LAMOST J1"
    assert star.meta["redshift"] == -0.0002
    assert star.meta["resolving_power"] == 1800


def test_medium_resolution_of_lamost_gives_the_combined_arms(tmp_path):
    stars = read_spectra(files.write_lamost_mrs(tmp_path))
    assert [star.meta["arm"] for star in stars] == ["B", "R"]
    for i, (star, start) in enumerate(zip(stars, (3.695, 3.8), strict=True)):
        np.testing.assert_array_equal(star.flux.value, files.flux_of(10 + i))
        np.testing.assert_array_equal(star.uncertainty.array, files.flux_of(20 + i))
        expected = 10 ** (start + 1e-5 * np.arange(N_PIXELS))
        np.testing.assert_allclose(star.wavelength.value, expected, rtol=1e-14)
    assert len(list(group_arms(stars))) == 1


# SDSS --------------------------------------------------------------------------------


def test_spec_of_sdss_agrees_with_specutils(tmp_path):
    path = files.write_sdss_spec(tmp_path)
    star = read_spectra(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", u.UnitsWarning)  # of slashes in the unit
        other = Spectrum.read(path, format="SDSS-III/IV spec")
    np.testing.assert_array_equal(star.flux.value, other.flux.value)
    np.testing.assert_array_equal(star.uncertainty.array, other.uncertainty.array)
    np.testing.assert_array_equal(star.mask, other.mask)
    np.testing.assert_allclose(star.wavelength.value, other.wavelength.value, rtol=1e-6)
    assert star.flux.unit == other.flux.unit
    assert (star.meta["medium"], star.meta["frame"]) == ("vacuum", "heliocentric")
    assert star.meta["object"] == "266-51602-31"
    assert star.meta["redshift"] == 1e-4


def test_resolving_power_of_sdss_is_that_of_its_dispersion(tmp_path):
    star = read_spectra(files.write_sdss_spec(tmp_path))
    # sigma of 1.2 pixels of 1e-4 in log10 of the wavelength
    expected = 1 / (2.354820045 * 1.2 * np.log(10) * 1e-4)
    np.testing.assert_allclose(star.meta["resolving_power"], expected, rtol=0.01)


@pytest.mark.parametrize(
    ("bad_bits", "bad"), [(None, [4, 9]), ((16,), [4]), ((), []), ((1, 23), [9])]
)
def test_bits_of_sdss_that_are_bad_can_be_chosen(tmp_path, bad_bits, bad):
    path = files.write_sdss_spec(tmp_path)
    assert bad_pixels(read_spectra(path, bad_bits=bad_bits)) == bad


@pytest.mark.parametrize("bad_bits", [3, (64,), ("x",), (-1,)])
def test_bits_that_cannot_be_are_refused(tmp_path, bad_bits):
    path = files.write_sdss_spec(tmp_path)
    with pytest.raises(ValueError, match=r"`bad_bits` must be .* from 0 to 62.*got"):
        read_spectra(path, bad_bits=bad_bits)


def test_instruments_of_mwm_are_arms_of_one_star_at_rest(tmp_path):
    stars = read_spectra(files.write_mwm_star(tmp_path))
    assert [star.meta["arm"] for star in stars] == ["BOSS/APO", "APOGEE/APO"]
    for star, seed, start, step in zip(
        stars, (0, 2), (3.5523, 4.179), (1e-4, 6e-6), strict=True
    ):
        np.testing.assert_array_equal(star.flux.value, files.flux_of(seed, 1, 37)[0])
        np.testing.assert_array_equal(
            star.uncertainty.array, files.flux_of(10 + seed, 1, 37)[0]
        )
        expected = 10 ** (start + step * np.arange(N_PIXELS))
        np.testing.assert_allclose(star.wavelength.value, expected, rtol=1e-14)
        assert (star.meta["medium"], star.meta["frame"]) == ("vacuum", "rest")
        assert star.meta["object"] == "54392544"
        assert star.meta["velocity"] == 12.5
    # a residual of a sky line only warns in APOGEE
    assert [bad_pixels(star) for star in stars] == [[3, 5], [3]]
    assert len(list(group_arms(stars))) == 1


# APOGEE ------------------------------------------------------------------------------


def test_chips_of_a_visit_are_arms_of_one_star(tmp_path):
    path = files.write_apvisit(tmp_path)
    stars = read_spectra(path)
    with fits.open(path) as hdus:
        for chip, star in enumerate(stars):
            np.testing.assert_array_equal(star.flux.value, hdus[1].data[chip])
            np.testing.assert_array_equal(star.uncertainty.array, hdus[2].data[chip])
            np.testing.assert_array_equal(star.wavelength.value, hdus[4].data[chip])
    assert stars[0].meta["format"] == "apogee-apvisit"
    assert stars[0].meta["frame"] == "topocentric"
    assert stars[0].meta["barycentric_correction"] == -7.25
    assert [bad_pixels(star) for star in stars] == [[2], [], []]
    assert len(list(group_arms(stars))) == 1


def test_persistence_of_apogee_can_be_made_bad(tmp_path):
    stars = read_spectra(files.write_apvisit(tmp_path), bad_bits=(9, 10))
    assert [bad_pixels(star) for star in stars] == [[], [4], []]


# GALAH -------------------------------------------------------------------------------


@pytest.mark.parametrize("swapped", [False, True])
def test_names_of_hdus_tell_what_galah_holds(tmp_path, swapped):
    order = ("normalized", "relative_error", "teluric")
    path = files.write_galah_dr4(tmp_path, order[::-1] if swapped else order)
    relative = 0.05 * files.flux_of(3)
    for normalized, flux in ((False, 500 * files.flux_of(1)), (True, files.flux_of(2))):
        star = read_spectra(path, normalized=normalized)
        np.testing.assert_array_equal(star.flux.value, flux)
        np.testing.assert_allclose(star.uncertainty.array, relative * flux, rtol=1e-14)
        # the pipeline leaves normalised flux where it was
        assert (star.meta["frame"], star.meta["velocity"]) == ("barycentric", None)
    assert star.flux.unit == u.dimensionless_unscaled
    assert star.meta["format"] == "galah-dr4"
    assert star.meta["barycentric_correction"] == -13.25
    np.testing.assert_allclose(
        star.meta["resolving_power"], star.wavelength.value / (0.2 * files.flux_of(5))
    )


def test_cameras_of_galah_are_arms_of_one_star(tmp_path):
    paths = [tmp_path / str(camera) for camera in (1, 2, 3, 4)]
    for path, start in zip(paths, (4713.0, 5648.0, 6478.0, 7585.0), strict=True):
        path.mkdir()
        hdus = fits.open(files.write_galah_dr4(path), mode="update")
        hdus[0].header["CRVAL1"] = start
        hdus.close()
    stars = read_spectra([path / "spectrum.fits" for path in paths])
    assert [star.meta["arm"] for star in stars] == [1, 2, 3, 4]
    assert len(list(group_arms(stars))) == 1


# WEAVE -------------------------------------------------------------------------------


def test_fibres_of_weave_are_found_by_their_target(tmp_path):
    path = files.write_weave(tmp_path)
    star = read_spectra(path, target="WVE_0")
    # NSPEC says that it is the third row
    np.testing.assert_array_equal(star.flux.value, files.flux_of(0, 3, 37)[2])
    np.testing.assert_array_equal(star.uncertainty.array, files.flux_of(1, 3, 37)[2])
    np.testing.assert_allclose(star.wavelength.value, 6000 + 0.25 * np.arange(37))
    assert (star.meta["medium"], star.meta["frame"]) == ("air", "barycentric")
    assert (star.meta["object"], star.meta["arm"]) == ("WVE_0", "RED")
    np.testing.assert_array_equal(star.meta["sensitivity"], files.flux_of(4, 3, 37)[2])
    assert len(read_spectra(path, target=["WVE_2", "WVE_1"])) == 2


@pytest.mark.parametrize("target", [None, "WVE_9"])
def test_target_of_weave_is_asked_for(tmp_path, target):
    path = files.write_weave(tmp_path)
    with pytest.raises(ValueError, match=r"`target` must be .* 3 CNAME .*'WVE_0'"):
        read_spectra(path, target=target)


# Gaia --------------------------------------------------------------------------------


def write_gaia_tabledata(folder):
    return files.write_gaia_votable(folder, "tabledata")


@pytest.mark.parametrize(
    "writer",
    [
        files.write_gaia_fits,
        files.write_gaia_csv,
        files.write_gaia_votable,
        write_gaia_tabledata,
    ],
)
def test_spectrum_of_gaia_rvs_is_in_vacuum_and_at_rest(tmp_path, writer):
    star = read_spectra(writer(tmp_path))
    expected = np.linspace(8460.0, 8700.0, N_PIXELS)
    # CSV has two decimals of a nm
    np.testing.assert_allclose(star.wavelength.value, expected, atol=0.051)
    np.testing.assert_allclose(star.flux.value, files.flux_of(1), atol=1e-6)
    np.testing.assert_allclose(
        star.uncertainty.array, 0.01 * files.flux_of(2), atol=1e-6
    )
    assert (star.meta["medium"], star.meta["frame"]) == ("vacuum", "rest")
    assert star.meta["resolving_power"] == 11500


def test_table_in_nm_of_another_instrument_is_not_gaia(tmp_path):
    lines = ["wavelength,flux,flux_error", "850.0,0.9,0.01", "850.1,0.8,0.01"]
    (tmp_path / "star.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ValueError, match=r"'text'.*states their unit.*wavelength_unit"):
        read_spectra(tmp_path / "star.csv", medium="air")
    star = read_spectra(tmp_path / "star.csv", medium="air", wavelength_unit="nm")
    np.testing.assert_allclose(star.wavelength.value, [8500, 8501])


# Others ------------------------------------------------------------------------------


def test_refusal_names_the_loader_of_specutils_that_knows_the_file(tmp_path):
    rows = files.primary(
        files.flux_of(1, 5, N_PIXELS), TELESCOP="SDSS 2.5-M", FIBERID=7, VERS2D="v4"
    )
    path = files.write(tmp_path, [rows])
    with pytest.raises(ValueError, match=r"specutils, .*format='SDSS-I/II spSpec'"):
        read_spectra(path)
