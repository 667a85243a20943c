"""Real files of telescopes, where they are: what is read is what astropy computes.

`SK_PAYNE_DATA` names the folder that has them, in `real`. None of them is in the
repository.
"""

import gzip
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra import read_spectra


@pytest.fixture
def real(data_file):
    def find(name):
        return data_file(f"real/{name}")

    return find


def linear_axis(header, n_pixels):
    return header["CRVAL1"] + header["CDELT1"] * np.arange(n_pixels)


def test_galah_dr3_is_at_rest_where_it_is_normalised(real):
    path = real("1311230030010963.fits")
    plain, normalized = read_spectra(path), read_spectra(path, normalized=True)
    with fits.open(path) as hdus:
        for star, key in ((plain, 0), (normalized, 4)):
            axis = linear_axis(hdus[key].header, 4096)
            np.testing.assert_allclose(star.wavelength.value, axis, rtol=1e-14)
            np.testing.assert_array_equal(star.flux.value, hdus[key].data)
            np.testing.assert_allclose(
                star.uncertainty.array,
                np.abs(hdus[1].data * hdus[key].data.astype(float)),
                rtol=1e-6,
            )
    assert (plain.meta["frame"], normalized.meta["frame"]) == ("barycentric", "rest")
    assert normalized.meta["velocity"] == pytest.approx(63.149, abs=0.02)
    # the core of H alpha, 6562.80 Å in air
    for star, expected in ((plain, 66.3), (normalized, 3.2)):
        near = np.abs(star.wavelength.value - 6563.5) < 3
        core = star.wavelength.value[near][np.argmin(star.flux.value[near])]
        assert 299792.458 * (core / 6562.80 - 1) == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("normalized", [False, True])
def test_galah_of_reduction_6_is_read_by_the_names_of_its_hdus(real, normalized):
    path = real("2101150001010011.fits")
    star = read_spectra(path, normalized=normalized)
    with fits.open(path) as hdus:
        flux = hdus["normalized" if normalized else 0].data
        np.testing.assert_array_equal(star.flux.value, flux)
        np.testing.assert_allclose(
            star.uncertainty.array, flux * hdus["relative_error"].data, rtol=1e-12
        )
        axis = linear_axis(hdus[0].header, 4096)
        assert np.median(flux / star.uncertainty.array) == pytest.approx(
            hdus[0].header["SNR"], rel=0.02
        )
    np.testing.assert_allclose(star.wavelength.value, axis, rtol=1e-14)
    assert star.meta["frame"] == "barycentric"


def test_lamost_is_read_from_both_layouts(real):
    path = real("spec-55859-F5902_sp01-001_dr7.fits.gz")
    with fits.open(path) as hdus:
        flux, ivar, wavelength, bits, _ = hdus[0].data
        redshift = hdus[0].header["Z"]
    star = read_spectra(path)
    check_lamost(star, flux, ivar, wavelength, bits, redshift)
    path = real("spec-55859-F5902_sp01-013_dr8.fits.gz")
    with fits.open(path) as hdus:
        row = hdus[1].data[0]
        columns = [row[n] for n in ("FLUX", "IVAR", "WAVELENGTH", "ANDMASK")]
        redshift = hdus[0].header["Z"]
    check_lamost(read_spectra(path), *columns, redshift)


def check_lamost(star, flux, ivar, wavelength, bits, redshift):
    np.testing.assert_array_equal(star.flux.value, flux)
    np.testing.assert_array_equal(star.uncertainty.array, ivar)
    np.testing.assert_array_equal(star.wavelength.value, wavelength)
    # the only zeros are at the end, where the spectrum is padded
    np.testing.assert_array_equal(star.mask, (ivar <= 0) | (bits != 0) | (flux == 0))
    assert (star.meta["medium"], star.meta["frame"]) == ("vacuum", "heliocentric")
    assert star.meta["redshift"] == redshift


def test_spec_of_sdss_is_read_with_errors_and_mask(real):
    path = real("spec-0266-51602-0031.fits")
    star = read_spectra(path)
    with fits.open(path) as hdus:
        data = hdus["COADD"].data
        np.testing.assert_array_equal(star.flux.value, data["flux"])
        np.testing.assert_array_equal(star.uncertainty.array, data["ivar"])
        np.testing.assert_allclose(
            star.wavelength.value, 10 ** data["loglam"].astype(float), rtol=1e-14
        )
        np.testing.assert_array_equal(
            star.mask, (data["and_mask"] != 0) | (data["ivar"] <= 0)
        )
    assert star.flux.unit == u.Unit("1e-17 erg / (s cm2 Angstrom)")
    assert (star.meta["medium"], star.meta["frame"]) == ("vacuum", "heliocentric")
    assert 1400 < np.nanmedian(star.meta["resolving_power"]) < 2200


def test_apstar_of_an_early_reduction_has_vhelio(real):
    path = real("apStar-r6-2M03290406+3117075.fits")
    star = read_spectra(path)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(star.flux.value, hdus[1].data)
        bad = np.zeros(hdus[3].data.shape, bool)
        for bit in (0, 1, 2, 3, 4, 5, 6, 7, 14):
            bad |= (hdus[3].data >> bit) & 1 > 0
        np.testing.assert_array_equal(star.mask, bad | (hdus[1].data == 0))
        assert star.meta["velocity"] == hdus[0].header["VHELIO"]
    assert star.mask.sum() == 902


def test_padding_of_uves_is_masked(real):
    path = real("eso_sdp_uves_ab_dor.fits")
    star = read_spectra(path)
    with fits.open(path) as hdus:
        row = hdus["SPECTRUM"].data[0]
        np.testing.assert_array_equal(star.flux.value, row["FLUX"])
        np.testing.assert_array_equal(star.uncertainty.array, row["ERR"])
        padded = (row["FLUX"] == 0) & (row["ERR"] > 0)
    assert padded.sum() == 1194
    assert star.mask[padded].all()
    end = star.wavelength.value > 4520
    assert star.mask[end].mean() > 0.9
    assert not star.mask[star.flux.value != 0].any()
    assert star.meta["n_padding"] >= 1194
    assert (star.meta["medium"], star.meta["frame"]) == ("air", "topocentric")


def test_columns_of_xshooter_are_found_by_tutyp(real):
    path = real("XShooter_XQ100.fits.gz")
    star = read_spectra(path)
    with fits.open(path) as hdus:
        row = hdus["SPECTRUM"].data[0]
        np.testing.assert_array_equal(star.flux.value, row["FLUX"])
        np.testing.assert_array_equal(star.uncertainty.array, row["ERR_FLUX"])
        np.testing.assert_allclose(
            star.wavelength.value, 10 * row["WAVE"].astype(float), rtol=1e-7
        )
    assert star.flux.unit == u.Unit("erg / (s cm2 nm)")
    assert (star.meta["medium"], star.meta["frame"]) == ("vacuum", "heliocentric")
    assert star.meta["resolving_power"] == 5300


def test_unit_of_mage_is_of_the_angstrom_and_fk4_is_no_frame(real):
    path = real("PH957_f.fits")
    with pytest.raises(FileFormatError, match="medium='air' or medium='vacuum'"):
        read_spectra(path)
    star = read_spectra(path, medium="vacuum")
    with fits.open(path) as hdus:
        header = hdus[0].header
        np.testing.assert_array_equal(star.flux.value, hdus[0].data)
        np.testing.assert_allclose(
            star.wavelength.value, 10 ** linear_axis(header, 21059), rtol=1e-13
        )
    assert star.flux.unit == u.Unit("erg / (s cm2 Angstrom)")
    assert star.meta["frame"] is None


def test_compressed_text_is_the_text_in_it(real, tmp_path):
    path = real("UM184.dat.gz")
    text = gzip.decompress(path.read_bytes())
    (tmp_path / "UM184.dat").write_bytes(text)
    star, plain = (
        read_spectra(p, medium="vacuum") for p in (path, tmp_path / "UM184.dat")
    )
    columns = np.array([line.split() for line in text.splitlines()], float).T
    for values, expected in zip(
        (star.wavelength.value, star.flux.value, star.uncertainty.array),
        columns,
        strict=True,
    ):
        np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(star.mask, plain.mask)


def test_table_of_hpf_asks_for_its_medium(real):
    path = real("WASP_69_hpf_stack.fits")
    with pytest.raises(FileFormatError, match="medium='air' or medium='vacuum'"):
        read_spectra(path)
    star = read_spectra(path, medium="vacuum")
    with fits.open(path) as hdus:
        data = hdus[1].data
        np.testing.assert_array_equal(star.wavelength.value, data["wavelength"])
        np.testing.assert_array_equal(star.flux.value, data["flux"])
        np.testing.assert_array_equal(star.uncertainty.array, data["uncertainty"])


def test_unit_of_an_image_of_iraf_is_understood(real):
    path = real("hr2421.fit")
    star = read_spectra(path, medium="air")
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(star.flux.value, hdus[0].data)
        np.testing.assert_allclose(
            star.wavelength.value, linear_axis(hdus[0].header, 573), rtol=1e-14
        )
    assert star.flux.unit == u.Unit("erg / (s cm2 Angstrom)")


def test_rows_of_multispec_are_arms(real):
    path = real("multispec_equispec.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stars = read_spectra(path, medium="air")
    starts = (14740.266391838, 19492.348956459)
    steps = (3.5958949648134, 4.8615912982264)
    with fits.open(path) as hdus:
        for i, star in enumerate(stars):
            np.testing.assert_array_equal(star.flux.value, hdus[0].data[0, i])
            axis = starts[i] + steps[i] * np.arange(1024)
            np.testing.assert_allclose(star.wavelength.value, axis, rtol=1e-13)
    assert [star.meta["arm"] for star in stars] == [1, 2]
