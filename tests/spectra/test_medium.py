"""Tests of air and vacuum wavelengths, against specutils."""

import numpy as np
import pytest
from astropy import units
from specutils.utils.wcs_utils import air_to_vac, vac_to_air

from sk_payne.spectra import check_medium, convert_medium

WAVELENGTH = np.linspace(2001.0, 25000.0, 1009)


def test_convert_medium_to_air_is_that_of_specutils():
    expected = vac_to_air(WAVELENGTH * units.AA, method="Morton2000").value
    np.testing.assert_array_equal(convert_medium(WAVELENGTH, "vacuum", "air"), expected)


def test_convert_medium_to_vacuum_agrees_with_the_other_schemes_of_specutils():
    # Piskunov's fit is good to 1e-8 Å, the single step to 2e-4 Å.
    found = convert_medium(WAVELENGTH, "air", "vacuum")
    for scheme, tolerance in (("piskunov", 1e-7), ("inversion", 2e-4)):
        expected = air_to_vac(WAVELENGTH * units.AA, scheme=scheme).value
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_convert_medium_round_trip_closes():
    there = convert_medium(WAVELENGTH, "air", "vacuum")
    back = convert_medium(there, "vacuum", "air")
    # A few spacings of float64 numbers at 25000 Å.
    np.testing.assert_allclose(back, WAVELENGTH, rtol=0, atol=2e-11)
    assert np.all(there > WAVELENGTH)


@pytest.mark.parametrize("to_medium", ["air", "vacuum"])
def test_convert_medium_leaves_the_array_of_the_caller_alone(to_medium):
    wavelength = WAVELENGTH.copy()
    convert_medium(wavelength, "air", to_medium)[:] = 0.0
    np.testing.assert_array_equal(wavelength, WAVELENGTH)


def test_convert_medium_keeps_shapes_of_scalars_and_of_nothing():
    assert convert_medium(5000.0, "air", "vacuum").shape == ()
    assert convert_medium(np.zeros((0, 3)), "air", "vacuum").shape == (0, 3)


@pytest.mark.parametrize("wavelength", [1999.0, [5000.0, np.nan], np.inf, -1.0])
def test_convert_medium_refuses_wavelengths_without_a_refractive_index(wavelength):
    with pytest.raises(ValueError, match="`wavelength` must be finite and at least"):
        convert_medium(wavelength, "vacuum", "air")


def test_convert_medium_names_the_argument_with_the_wrong_medium():
    with pytest.raises(ValueError, match=r"`to_medium` .* got 'vac'"):
        convert_medium(WAVELENGTH, "air", "vac")


@pytest.mark.parametrize("medium", [None, "Air", 3, ["air"]])
def test_check_medium_refuses_other_words(medium):
    with pytest.raises(ValueError, match="`grid_medium` must be 'air' or 'vacuum'"):
        check_medium(medium, "grid_medium")
