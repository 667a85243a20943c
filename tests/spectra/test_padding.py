"""Padding is found where no data is, and nowhere else."""

import numpy as np
import pytest
from astropy.table import Table

from sk_payne.spectra import read_spectra
from sk_payne.spectra._padding import find_padding

FLUX = np.random.default_rng(0).uniform(0.5, 1.5, 101)
ERROR = np.full(101, 0.05)


def found(flux, error=None):
    return np.flatnonzero(find_padding(flux, error)).tolist()


def with_value(value, pixels):
    flux = FLUX.copy()
    flux[pixels] = value
    return flux


@pytest.mark.parametrize("pixels", [slice(3), slice(40, 43), slice(98, 101)])
def test_three_zeros_that_are_neighbours_are_padding(pixels):
    assert found(with_value(0.0, pixels)) == list(range(101))[pixels]


@pytest.mark.parametrize("pixels", [slice(40, 42), [10, 12, 14]])
def test_zeros_that_may_be_measured_are_not(pixels):
    assert found(with_value(0.0, pixels), ERROR) == []


def test_zero_with_a_tiny_error_is_padding():
    error = ERROR.copy()
    error[[7, 9]] = 1e-4
    assert found(with_value(0.0, [7]), error) == [7]


def test_zeros_with_a_tiny_error_are_padding_also_where_they_are_most_pixels():
    is_zero = np.arange(101) % 3 > 0  # in pairs
    flux, error = np.where(is_zero, 0.0, FLUX), np.where(is_zero, 1e-4, ERROR)
    assert found(flux, error) == np.flatnonzero(is_zero).tolist()
    assert found(flux, ERROR) == []


@pytest.mark.parametrize("value", [1.0, -999.0, 1e-30])
@pytest.mark.parametrize("pixels", [slice(10), slice(91, 101)])
def test_end_of_one_value_is_padding(value, pixels):
    assert found(with_value(value, pixels)) == list(range(101))[pixels]


def test_end_of_one_value_is_none_where_such_stretches_are_everywhere():
    # continuum of a synthetic spectrum, and flux of two digits
    flux = np.ones(101)
    flux[[20, 60]] = 0.4
    assert found(flux) == []
    assert found(np.full(101, 1.0)) == []
    assert found(with_value(1.0, slice(9))) == []


def test_spectrum_of_zeros_is_padding():
    assert len(found(np.zeros(101))) == 101
    assert found(np.array([0.7])) == []


@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_padding_is_masked_and_said_whoever_wrote_it(tmp_path, suffix):
    columns = {
        "wavelength": 5000.0 + np.arange(101),
        "flux": with_value(0.0, slice(90, 101)),
        "error": ERROR,
    }
    table = Table(columns, units={"wavelength": "Angstrom"}, meta={"medium": "air"})
    table.write(tmp_path / f"star.{suffix}")
    star = read_spectra(tmp_path / f"star.{suffix}")
    assert np.flatnonzero(star.mask).tolist() == list(range(90, 101))
    assert star.meta["n_padding"] == 11
    np.testing.assert_array_equal(star.flux.value, columns["flux"])


def test_error_of_padded_text_is_compared_with_flux_that_was_measured(tmp_path):
    flux = with_value(0.0, slice(60))
    np.savetxt(
        tmp_path / "star.txt",
        np.c_[5000.0 + np.arange(101), flux, ERROR],
        header="medium: air",
    )
    star = read_spectra(tmp_path / "star.txt")
    assert star.meta["n_padding"] == 60
    np.testing.assert_allclose(star.uncertainty.array, ERROR)
