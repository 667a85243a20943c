"""Tests of model flux as a specutils spectrum."""

import numpy as np
import pytest
from astropy import units as u
from specutils import Spectrum

from sk_payne.spectra import as_spectra, to_spectrum

WAVELENGTH = np.array([5000.0, 5000.5, 5001.25, 5003.0, 5007.0])


@pytest.mark.parametrize("shape", [(5,), (1, 5), (3, 5), (5, 5), (7, 5)])
def test_spectrum_holds_flux_wavelength_and_medium(shape):
    flux = np.arange(np.prod(shape), dtype=float).reshape(shape)
    spectrum = to_spectrum(flux, WAVELENGTH, "air")
    assert isinstance(spectrum, Spectrum)
    assert spectrum.flux.unit == u.dimensionless_unscaled
    assert spectrum.spectral_axis.unit == u.AA
    np.testing.assert_array_equal(spectrum.flux.value, flux)
    np.testing.assert_array_equal(spectrum.spectral_axis.value, WAVELENGTH)
    assert spectrum.meta["medium"] == "air"
    assert spectrum.uncertainty is None


@pytest.mark.parametrize("shape", [(5,), (3, 5), (5, 5)])
def test_as_spectra_reads_what_was_put_in(shape):
    flux = np.random.default_rng(0).uniform(size=shape)
    spectra = as_spectra(to_spectrum(flux, WAVELENGTH, "vacuum"), snr=100)
    np.testing.assert_array_equal(spectra.flux, np.atleast_2d(flux))
    np.testing.assert_allclose(spectra.wavelength, WAVELENGTH, rtol=1e-15)
    assert spectra.medium == "vacuum"


def test_row_of_a_square_spectrum_is_one_star():
    flux = np.arange(25.0).reshape(5, 5)
    row = to_spectrum(flux, WAVELENGTH, "air")[2]
    np.testing.assert_array_equal(row.flux.value, flux[2])
    np.testing.assert_array_equal(row.spectral_axis.value, WAVELENGTH)


def test_arrays_are_copied():
    flux, wavelength = np.ones((2, 5)), WAVELENGTH.copy()
    spectrum = to_spectrum(flux, wavelength, "air")
    flux[:] = 7.0
    wavelength[0] = 1.0
    assert (spectrum.flux.value == 1).all()
    assert spectrum.spectral_axis.value[0] == 5000.0


def test_single_precision_flux_is_kept():
    spectrum = to_spectrum(np.ones(5, np.float32), WAVELENGTH, "air")
    assert spectrum.flux.dtype == np.float32


def test_integer_wavelengths_are_taken():
    spectrum = to_spectrum(np.ones(2), np.array([5000, 5001]), "air")
    np.testing.assert_array_equal(spectrum.spectral_axis.value, [5000.0, 5001.0])


@pytest.mark.parametrize("medium", [None, "Air", "helium"])
def test_unknown_medium_is_an_error(medium):
    with pytest.raises(ValueError, match="must be 'air' or 'vacuum'; got"):
        to_spectrum(np.ones(5), WAVELENGTH, medium)
