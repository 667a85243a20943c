"""Tests of where fits start: velocities from correlation, labels from regression."""

import numpy as np
import pytest
import torch

from sk_payne.abundances._start import (
    LabelGuess,
    resample_roughly,
    scan_velocity,
    template_parameters,
)
from sk_payne.datasets import make_spectra
from sk_payne.spectra import C_KMS, doppler_factor

LABEL_NAMES = ("teff", "Fe_H", "Mg_H", "Ca_H", "Si_H", "Ni_H")
N_STARS = 7


@pytest.fixture(scope="module")
def templates():
    """31 spectra at 919 wavelengths, 4.3 km/s apart."""
    return make_spectra(
        31,
        n_wavelengths=919,
        wavelength_range=(4500.0, 4560.0),
        label_names=LABEL_NAMES,
        random_state=0,
    )


@pytest.fixture(scope="module")
def fine():
    """Other stars of the same lines, oversampled and over a wider range."""
    return make_spectra(
        N_STARS,
        n_wavelengths=9001,
        wavelength_range=(4480.0, 4590.0),
        label_names=LABEL_NAMES,
        random_state=1,
    )


def pixel(templates):
    return C_KMS * np.log(templates.wavelength[1] / templates.wavelength[0])


def shifted(fine, observed, velocities):
    """Flux of the stars, seen at wavelengths `observed` with velocities."""
    return np.stack(
        [
            np.interp(observed / doppler_factor(v), fine.wavelength, flux)
            for flux, v in zip(fine.target, velocities, strict=True)
        ]
    )


def scan(templates, observed, flux, ivar, velocity_range=(-500.0, 500.0), **options):
    velocity, excess, step = scan_velocity(
        np.broadcast_to(observed, flux.shape),
        flux,
        ivar,
        templates.wavelength,
        templates.target,
        velocity_range,
        **options,
    )
    assert (excess[:, 0] == 1).all()
    assert (excess[:, 1:] >= 1).all()
    return (velocity if options.get("n_best") else velocity[:, 0]), step


VELOCITIES = np.array([-499.0, -211.3, -17.7, 0.0, 41.9, 307.1, 499.0])


# (first and last wavelength in Å, number of pixels)
OBSERVATIONS = {
    "same range": (4500.0, 4560.0, 769),
    "finer": (4503.0, 4557.0, 2003),
    "coarser": (4500.0, 4560.0, 521),
    "wider": (4490.0, 4570.0, 1009),
    "narrow": (4515.0, 4540.0, 331),
    "partial overlap": (4520.0, 4580.0, 769),
}


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_velocity_is_found_to_within_a_pixel(templates, fine, name):
    observed = np.linspace(*OBSERVATIONS[name])
    flux = shifted(fine, observed, VELOCITIES)
    flux += np.random.default_rng(2).normal(scale=0.01, size=flux.shape)
    velocity, step = scan(templates, observed, flux, np.full_like(flux, 1e4))
    assert step == pytest.approx(pixel(templates))
    coarsest = max(step, C_KMS * (observed[1] - observed[0]) / observed[0])
    np.testing.assert_allclose(velocity, VELOCITIES, atol=coarsest)


def test_velocity_is_found_at_any_level_of_the_flux(templates, fine):
    observed = np.linspace(4500.0, 4560.0, 769)
    level = np.array([1e-3, 0.5, 0.9, 1.0, 1.1, 20.0, 1e4])[:, None]
    flux = level * shifted(fine, observed, VELOCITIES)
    ivar = np.broadcast_to(1e4 / level**2, flux.shape)
    velocity, step = scan(templates, observed, flux, ivar, free_level=True)
    np.testing.assert_allclose(velocity, VELOCITIES, atol=step)


def test_further_velocities_are_worse_and_apart(templates, fine):
    observed = np.linspace(4500.0, 4560.0, 769)
    flux = shifted(fine, observed, VELOCITIES)
    ivar = np.full_like(flux, 1e4)
    best, _ = scan(templates, observed, flux, ivar)
    three, step = scan(templates, observed, flux, ivar, n_best=3)
    assert three.shape == (N_STARS, 3)
    np.testing.assert_array_equal(three[:, 0], best)
    for i in range(3):
        apart = np.abs(three[:, i] - three[:, (i + 1) % 3])
        assert (apart > 8 * step).all()


def test_velocity_is_found_with_masked_pixels(templates, fine):
    observed = np.linspace(4500.0, 4560.0, 769)
    flux = shifted(fine, observed, VELOCITIES)
    rng = np.random.default_rng(3)
    bad = rng.uniform(size=flux.shape) < 0.1
    bad[:, 101:211] = True
    flux[bad] = rng.uniform(-100, 100, bad.sum())
    velocity, step = scan(templates, observed, flux, np.where(bad, 0.0, 1e4))
    np.testing.assert_allclose(velocity, VELOCITIES, atol=step)


def test_masked_flux_does_not_matter(templates, fine):
    observed = np.linspace(4500.0, 4560.0, 769)
    flux = shifted(fine, observed, VELOCITIES)
    ivar = np.full_like(flux, 1e4)
    ivar[:, 31:37] = 0.0
    spoiled = np.where(ivar == 0, 1e9, flux)
    np.testing.assert_array_equal(
        scan(templates, observed, flux, ivar)[0],
        scan(templates, observed, spoiled, ivar)[0],
    )


@pytest.mark.parametrize(
    "velocity_range", [(-499.0, -100.0), (30.0, 61.0), (0.0, 0.0), (7.0, 8.0)]
)
def test_velocity_stays_in_its_range(templates, fine, velocity_range):
    observed = np.linspace(4500.0, 4560.0, 769)
    flux = shifted(fine, observed, VELOCITIES)
    velocity, step = scan(
        templates, observed, flux, np.full_like(flux, 1e4), velocity_range
    )
    # of a range narrower than a step, the nearest step
    slack = step if np.ptp(velocity_range) < step else 0.0
    assert velocity.min() >= velocity_range[0] - slack
    assert velocity.max() <= velocity_range[1] + slack


def test_velocity_of_a_star_does_not_depend_on_its_batch(templates, fine):
    observed = np.linspace(4500.0, 4560.0, 769)
    flux = shifted(fine, observed, VELOCITIES)
    ivar = np.full_like(flux, 1e4)
    together, _ = scan(templates, observed, flux, ivar)
    for i in range(N_STARS):
        alone, _ = scan(templates, observed, flux[[i]], ivar[[i]])
        assert alone[0] == together[i]


def test_star_without_data_gets_some_velocity_in_the_range(templates):
    velocity, _ = scan(
        templates, np.linspace(4500, 4560, 769), np.zeros((1, 769)), np.zeros((1, 769))
    )
    assert np.isfinite(velocity).all()
    assert abs(velocity[0]) <= 500


def test_resampling_interpolates_and_forgets_bad_pixels_and_their_neighbours():
    wavelength = np.arange(5000.0, 5011.0)
    flux = 0.1 * np.arange(11.0)
    ivar = np.full(11, 4.0)
    flux[7], ivar[7] = 1e9, 0.0
    grid = np.array([4999.0, 5000.0, 5001.5, 5005.9, 5006.1, 5007.0, 5008.0, 5011.0])
    new_flux, new_ivar = resample_roughly(
        wavelength[None], flux[None], ivar[None], grid
    )
    assert new_ivar[0].tolist() == [0.0, 4.0, 4.0, 4.0, 0.0, 0.0, 4.0, 0.0]
    good = new_ivar[0] > 0
    expected = torch.tensor([0.0, 0.15, 0.59, 0.8], dtype=torch.float64)
    torch.testing.assert_close(new_flux[0][good], expected)


@pytest.mark.parametrize("n_templates", [2, 31, 64, 257])
def test_templates_are_the_middle_and_well_spread_others(n_templates):
    parameters = template_parameters(5, n_templates)
    assert parameters.shape == (n_templates, 5)
    assert (parameters[0] == 0).all()
    assert np.abs(parameters).max() <= 0.9
    assert len(np.unique(parameters, axis=0)) == n_templates


def test_templates_are_the_same_every_time():
    np.random.seed(5)  # noqa: NPY002 - the global state must not matter
    first = template_parameters(3, 61)
    np.random.seed(7)  # noqa: NPY002
    np.testing.assert_array_equal(first, template_parameters(3, 61))
    assert not np.array_equal(first, template_parameters(3, 61, seed=1))


def test_templates_cover_the_box_evenly():
    parameters = template_parameters(3, 257)[1:]
    # 256 Sobol points fall into equal slices of each axis in equal numbers
    counts = [np.histogram(column, 8, (-0.9, 0.9))[0] for column in parameters.T]
    np.testing.assert_array_equal(counts, np.full((3, 8), 32))


@pytest.fixture(scope="module")
def linear_guess():
    """A guess learnt on flux that is linear in two labels, and that flux."""
    rng = np.random.default_rng(8)
    design = torch.from_numpy(rng.normal(size=(2, 31)))
    parameters = torch.from_numpy(template_parameters(2, 61))

    def flux(p):
        return 1 + p @ design

    return LabelGuess(parameters, flux(parameters)), flux


def test_guess_of_linear_flux_is_nearly_exact(linear_guess):
    guess, flux = linear_guess
    truth = torch.tensor([[0.3, -0.7], [0.0, 0.0], [-0.5, 0.11]], dtype=torch.float64)
    found = guess(flux(truth), torch.ones(3, 31, dtype=torch.float64))
    # the ridge is 0.01 per template, the flux has variance 0.3 per pixel, 31 pixels
    torch.testing.assert_close(found, truth, rtol=0, atol=5e-3)


def test_guess_stays_within_the_box(linear_guess):
    guess, flux = linear_guess
    truth = torch.tensor([[7.0, -7.0]], dtype=torch.float64)
    found = guess(flux(truth), torch.ones(1, 31, dtype=torch.float64))
    assert found.tolist() == [[0.95, -0.95]]


def test_guess_fills_bad_pixels_from_the_best_template(linear_guess):
    guess, flux = linear_guess
    truth = torch.from_numpy(template_parameters(2, 61)[[17, 31]])
    spectrum, ivar = flux(truth), torch.ones(2, 31, dtype=torch.float64)
    whole = guess(spectrum, ivar)
    ivar[:, [3, 5, 7, 23]] = 0
    spectrum[:, [3, 5, 7, 23]] = 1e6
    # the star is a template, so what is filled in is what was there
    torch.testing.assert_close(guess(spectrum, ivar), whole)


def test_guess_without_any_data_is_inside_the_box(linear_guess):
    guess, _ = linear_guess
    found = guess(torch.zeros(1, 31).double(), torch.zeros(1, 31).double())
    assert torch.isfinite(found).all()
    assert found.abs().max() <= 0.95
