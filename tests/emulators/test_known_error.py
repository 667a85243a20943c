"""Tests of what an emulator knows of itself: its error, and where it has been."""

import pickle

import numpy as np
import pytest

import sk_payne
from sk_payne.datasets import make_spectra
from sk_payne.exceptions import ExtrapolationWarning, WavelengthMismatchError


@pytest.fixture(scope="module")
def emulator(make_tiny, grid):
    return make_tiny("payne", max_steps=211).fit(grid.data[:400], grid.target[:400])


@pytest.fixture(scope="module")
def grid():
    return make_spectra(800, n_wavelengths=61, random_state=3)


@pytest.fixture(scope="module")
def stars(emulator, grid):
    """Labels and flux that the emulator has not seen, within its box."""
    rest, flux = grid.data[400:], grid.target[400:]
    inside = (rest >= emulator.label_low_) & (rest <= emulator.label_high_)
    return rest[inside.all(axis=1)], flux[inside.all(axis=1)]


def test_return_std_gives_the_same_flux_and_a_std_of_its_shape(emulator, stars):
    flux, std = emulator.predict(stars[0], return_std=True)
    np.testing.assert_array_equal(flux, emulator.predict(stars[0]))
    assert std.shape == flux.shape
    assert (std > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_std_is_in_the_precision_of_the_labels(emulator, stars, dtype):
    flux, std = emulator.predict(stars[0][:3].astype(dtype), return_std=True)
    assert flux.dtype == std.dtype == dtype


def test_std_holds_for_two_thirds_of_the_flux_of_other_spectra(emulator, stars):
    flux, std = emulator.predict(stars[0], return_std=True)
    within = (np.abs(flux - stars[1]) < std).mean()
    # 40 held-out spectra say it to about 5 %
    assert 0.60 < within < 0.76


def test_std_differs_from_star_to_star_as_their_errors_do(emulator, stars):
    flux, std = emulator.predict(stars[0], return_std=True)
    error = np.abs(flux - stars[1]).mean(axis=1)
    order = np.argsort(std.mean(axis=1))
    quarter = len(order) // 4
    assert error[order[-quarter:]].mean() > 1.3 * error[order[:quarter]].mean()


def test_std_between_the_wavelengths_lies_between_that_of_the_neighbours(
    emulator, stars
):
    wavelength = emulator.wavelength_
    middle = (wavelength[1:] + wavelength[:-1]) / 2
    _, std = emulator.predict(stars[0][:5], return_std=True)
    flux, between = emulator.predict(stars[0][:5], wavelength=middle, return_std=True)
    assert flux.shape == between.shape == (5, len(middle))
    np.testing.assert_allclose(between, (std[:, 1:] + std[:, :-1]) / 2, rtol=1e-9)


def test_std_outside_the_wavelengths_is_an_error(emulator, stars):
    with pytest.raises(WavelengthMismatchError):
        emulator.predict(stars[0][:2], wavelength=[1000.0], return_std=True)


def test_std_without_held_out_spectra_says_what_to_do(make_tiny, tiny_grid):
    emulator = make_tiny(validation_fraction=0).fit(tiny_grid.data, tiny_grid.target)
    with pytest.raises(ValueError, match="Hold some spectra out"):
        emulator.predict(tiny_grid.data[:2], return_std=True)


def test_domain_is_inside_for_training_spectra(emulator, grid):
    assert set(emulator.domain(grid.data[:400])) == {"inside"}


def test_domain_beyond_the_box_is_edge_and_then_outside(emulator):
    center = (emulator.label_low_ + emulator.label_high_) / 2
    width = emulator.label_high_ - emulator.label_low_
    stars = np.stack([center] * 3)
    stars[1, 0] = emulator.label_high_[0] + 0.005 * width[0]
    stars[2, 0] = emulator.label_high_[0] + 0.1 * width[0]
    assert emulator.domain(stars).tolist() == ["inside", "edge", "outside"]


def test_predict_in_an_empty_corner_of_the_box_warns_and_names_the_pair(make_tiny):
    grid = make_spectra(1000, n_wavelengths=61, random_state=0)
    seen = grid.data[:, 0] / 1000 + grid.data[:, 1] < 10
    emulator = make_tiny().fit(grid.data[seen], grid.target[seen])
    star = [[5900.0, 4.9, 0.0, 0.0, 0.0]]
    assert emulator.domain(star) == ["outside"]
    with pytest.warns(ExtrapolationWarning, match="teff = 5900 with logg = 4.9") as w:
        emulator.predict(star)
    assert w[0].filename == __file__


@pytest.mark.parametrize("how", ["save", "pickle"])
def test_error_and_domain_travel_with_the_model(emulator, stars, how, tmp_path):
    if how == "save":
        emulator.save(tmp_path / "model.safetensors")
        again = sk_payne.load(tmp_path / "model.safetensors")
    else:
        again = pickle.loads(pickle.dumps(emulator))
    for found, expected in zip(
        again.predict(stars[0], return_std=True),
        emulator.predict(stars[0], return_std=True),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    out = stars[0] * 1.1
    np.testing.assert_array_equal(again.domain(out), emulator.domain(out))
