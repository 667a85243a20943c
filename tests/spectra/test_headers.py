"""Units, frames and media are understood as headers of real files write them."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra import read_spectra
from sk_payne.spectra._file_units import as_unit

CGS = u.erg / u.s / u.cm**2 / u.AA
FLUX = np.random.default_rng(0).uniform(0.5, 1.5, 31)


def write_image(folder, **header):
    hdu = fits.PrimaryHDU(FLUX)
    hdu.header.update({"CRVAL1": 5000.0, "CDELT1": 0.5} | header)
    hdu.writeto(folder / "star.fits")
    return folder / "star.fits"


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("Relative Flux", u.dimensionless_unscaled),
        ("normalized", u.dimensionless_unscaled),
        ("instrumental", u.dimensionless_unscaled),
        ("", u.dimensionless_unscaled),
        ("counts", u.count),
        ("ADU", u.adu),
        ("DU/PIXEL", u.adu),
        ("electrons", u.electron),
        ("e-/s", u.electron / u.s),
        ("1E-17 erg/cm^2/s/Ang", 1e-17 * CGS),
        ("Flux (10^-17 erg/s/cm^2/Ang)", 1e-17 * CGS),
        ("ergs s-1 cm-2 A-1", CGS),
        ("erg/cm2/s/A", CGS),
        ("ERG/CM2/S/A", CGS),
        ("10**(-16)erg.cm**(-2).s**(-1).angstrom**(-1)", 1e-16 * CGS),
        ("erg s**(-1) cm**(-2) nm**(-1)", CGS / 10),
        ("W/m2/um", u.W / u.m**2 / u.um),
        ("Jy", u.Jy),
        ("Angstroms", u.AA),
        ("angstrom", u.AA),
        ("A", u.AA),
        ("microns", u.um),
        ("nm", u.nm),
    ],
)
def test_spelling_of_a_unit_is_understood(text, unit):
    assert as_unit(text, "the flux").to(unit) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["mA", "kA/m", "flurbs", "(", "1/0", "10**(9**9)", "1e200 Jy"]
)
def test_unit_that_cannot_be_is_refused_and_the_option_is_named(tmp_path, text):
    path = write_image(tmp_path, BUNIT=text)
    with pytest.raises(FileFormatError, match=r"cannot be understood. Pass flux_unit="):
        read_spectra(path, medium="air")
    assert read_spectra(path, medium="air", flux_unit="Jy").flux.unit == u.Jy


@pytest.mark.parametrize(
    ("header", "frame"),
    [
        ({"SPECSYS": "BARYCENT"}, "barycentric"),
        ({"SPECSYS": "TOPOCENT"}, "topocentric"),
        ({"SPECSYS": "SOURCE"}, "rest"),
        ({"FRAME": "heliocentric"}, "heliocentric"),
        ({"FRAME": "FK4"}, None),
        ({"FRAME": "ICRS", "SPECSYS": "HELIOCEN"}, "heliocentric"),
        ({"HELIO": True}, "heliocentric"),
        ({"HELIO": False}, "topocentric"),
        ({"VELREF": 2}, "heliocentric"),
        ({"VELREF": 259}, "topocentric"),
        ({"VELREF": 1}, None),
        ({"RADESYS": "FK5"}, None),
    ],
)
def test_frame_of_velocities_is_told_from_one_of_the_sky(tmp_path, header, frame):
    star = read_spectra(write_image(tmp_path, **header), medium="air")
    assert star.meta["frame"] == frame


@pytest.mark.parametrize(
    ("header", "medium"),
    [
        ({"VACUUM": True}, "vacuum"),
        ({"VACUUM": False}, "air"),
        ({"VACUUM": "T"}, "vacuum"),
        ({"AIRORVAC": "vac"}, "vacuum"),
        ({"AIRORVAC": "air"}, "air"),
        ({"CTYPE1": "AWAV"}, "air"),
        ({"MEDIUM": "vacuum", "CTYPE1": "AWAV"}, "vacuum"),
    ],
)
def test_medium_is_what_the_header_says(tmp_path, header, medium):
    assert read_spectra(write_image(tmp_path, **header)).meta["medium"] == medium


def test_wave_says_nothing_of_the_medium(tmp_path):
    path = write_image(tmp_path, CTYPE1="WAVE")
    with pytest.raises(FileFormatError, match="medium='air' or medium='vacuum'"):
        read_spectra(path)


def test_wavelengths_in_nm_that_do_not_say_so_are_refused(tmp_path):
    path = write_image(tmp_path, CRVAL1=500.0)
    with pytest.raises(FileFormatError, match="nothing in it states their unit"):
        read_spectra(path, medium="air")
    star = read_spectra(path, medium="air", wavelength_unit="nm")
    assert star.wavelength[0].to_value(u.AA) == pytest.approx(5000)


def test_keyword_that_holds_no_number_is_refused(tmp_path):
    path = write_image(tmp_path, CDELT1="half an Å".encode("ascii", "ignore").decode())
    with pytest.raises(FileFormatError, match="a number for the keyword CD1_1 or CDEL"):
        read_spectra(path, medium="air")


def test_image_named_after_an_error_is_no_flux(tmp_path):
    hdu = fits.ImageHDU(FLUX, name="RED_IVAR")
    hdu.header.update({"CRVAL1": 5000.0, "CDELT1": 0.5})
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "star.fits")
    with pytest.raises(FileFormatError, match="RED_IVAR"):
        read_spectra(tmp_path / "star.fits", medium="air")


@pytest.mark.parametrize("name", ["loglam", "LOGLAM", "log_wave"])
def test_logarithm_of_the_wavelength_is_read(tmp_path, name):
    lines = ["# medium: vacuum", f"{name} flux ivar", "3.7 0.9 4", "3.7001 0.8 9"]
    (tmp_path / "star.txt").write_text("\n".join(lines), encoding="utf-8")
    star = read_spectra(tmp_path / "star.txt")
    np.testing.assert_allclose(star.wavelength.value, [10**3.7, 10**3.7001])
    np.testing.assert_array_equal(star.uncertainty.array, [4, 9])
