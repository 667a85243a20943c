"""Tests of the scan for radial velocities."""

import numpy as np
import pytest

from sk_payne.abundances._velocity_scan import VelocityScan
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
    n_best = options.pop("n_best", 1)
    finder = VelocityScan(
        templates.wavelength, templates.target, velocity_range, **options
    )
    wavelength = np.broadcast_to(observed, flux.shape)
    velocity, excess = finder(wavelength, flux, ivar, n_best)
    assert (excess[:, 0] == 1).all()
    assert (excess[:, 1:] >= 1).all()
    return (velocity if n_best > 1 else velocity[:, 0]), finder.step


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


@pytest.mark.parametrize("free_level", [False, True])
def test_excess_is_that_of_chi2_added_up_pixel_by_pixel(templates, fine, free_level):
    """Of the second velocity, against all templates on all shifted grids."""
    grid = templates.wavelength
    step = np.log(grid[1] / grid[0])
    shifts = np.arange(-30, 31)
    flux = shifted(fine, grid, 13 * C_KMS * step * np.ones(N_STARS))
    flux += np.random.default_rng(2).normal(scale=0.01, size=flux.shape)
    ivar = np.random.default_rng(3).uniform(0.5e4, 1.5e4, flux.shape)
    finder = VelocityScan(
        grid,
        templates.target,
        (-C_KMS * 31 * step, C_KMS * 31 * step),
        free_level=free_level,
    )
    velocity, excess = finder(np.broadcast_to(grid, flux.shape), flux, ivar, 2)
    for star in range(N_STARS):
        chi2 = []
        for shift in shifts:
            seen = slice(max(shift, 0), len(grid) + min(shift, 0))
            inside = slice(max(-shift, 0), len(grid) + min(-shift, 0))
            d, w, m = flux[star, seen], ivar[star, seen], templates.target[:, inside]
            level = (
                (w * d * m).sum(1) / (w * m**2).sum(1) if free_level else np.ones(31)
            )
            chi2.append((w * (d - level[:, None] * m) ** 2).sum(1).min() / w.sum())
        chi2 = np.array(chi2)
        first, second = np.rint(np.arctanh(velocity[star] / C_KMS) / step).astype(int)
        assert first == shifts[chi2.argmin()]
        found = chi2[shifts == second] / chi2.min()
        np.testing.assert_allclose(excess[star, 1], found, rtol=0.02)


@pytest.mark.parametrize("free_level", [False, True])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e17, 1e20, 1e30])
def test_scan_is_the_same_in_any_unit_of_the_flux(templates, fine, scale, free_level):
    observed = np.linspace(4500.0, 4560.0, 769)
    wavelength = np.broadcast_to(observed, (N_STARS, 769))
    flux = shifted(fine, observed, VELOCITIES)
    ivar = np.full_like(flux, 1e4)
    prior = np.full(N_STARS, 10.0), np.full(N_STARS, 300.0)

    def scanned(scale):
        finder = VelocityScan(
            templates.wavelength,
            scale * templates.target,
            (-500.0, 500.0),
            free_level=free_level,
        )
        return finder(wavelength, scale * flux, ivar / scale**2, 2, prior=prior)

    velocity, excess = scanned(scale)
    expected = scanned(1.0)
    np.testing.assert_array_equal(velocity[:, 0], expected[0][:, 0])
    np.testing.assert_allclose(excess, expected[1], rtol=0.02)


def test_units_that_are_powers_of_two_change_no_bit(templates, fine):
    observed = np.linspace(4500.0, 4560.0, 769)
    flux = shifted(fine, observed, VELOCITIES)
    wavelength, ivar = np.broadcast_to(observed, flux.shape), np.full_like(flux, 1e4)
    results = [
        VelocityScan(templates.wavelength, scale * templates.target, (-500.0, 500.0))(
            wavelength, scale * flux, ivar / scale**2, 3
        )
        for scale in (1.0, 2.0**60)
    ]
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_prior_adds_its_penalty_to_chi2(templates, fine):
    """Both are added up pixel by pixel, on a grid that is not resampled."""
    grid = np.geomspace(4500.0, 4560.0, 919)
    models = np.stack(
        [np.interp(grid, templates.wavelength, m) for m in templates.target]
    )
    flux = shifted(fine, grid, VELOCITIES)
    flux += np.random.default_rng(4).normal(scale=0.2, size=flux.shape)
    finder = VelocityScan(grid, models, (-500.0, 500.0))
    wavelength, ivar = np.broadcast_to(grid, flux.shape), np.full_like(flux, 25.0)
    # rounding decides whether the ends are on the grid
    ivar[:, :2] = ivar[:, -2:] = 0
    prior = np.full(N_STARS, 40.0), np.full(N_STARS, 30.0)
    velocity, excess = finder(wavelength, flux, ivar, 3, prior=prior)
    shift = np.rint(np.arctanh(velocity / C_KMS) / np.log(grid[1] / grid[0]))
    expected = np.empty_like(excess)
    for star, rank in np.ndindex(expected.shape):
        k = int(shift[star, rank])
        seen = slice(max(k, 0), len(grid) + min(k, 0))
        inside = slice(max(-k, 0), len(grid) + min(-k, 0))
        difference = flux[star, seen] - models[:, inside]
        weight = ivar[star, seen]
        chi2 = (weight * difference**2).sum(1).min() * ivar[star].sum() / weight.sum()
        far = max(abs(velocity[star, rank] - 40) - finder.step / 2, 0)
        expected[star, rank] = chi2 + (far / 30) ** 2
    np.testing.assert_allclose(excess, expected / expected[:, :1], rtol=5e-3)
    # the penalties that were proven are much larger than what was allowed
    assert ((velocity - 40) ** 2 / 900 / expected).max() > 0.02


def test_prior_narrows_what_is_scanned(templates):
    noise = 1 + np.random.default_rng(5).normal(scale=0.3, size=(50, 919))
    finder = VelocityScan(templates.wavelength, templates.target, (-500.0, 500.0))
    wavelength = np.broadcast_to(templates.wavelength, noise.shape)
    # errors that are stated far too small: chi2 alone would never yield
    ivar = np.full_like(noise, 1e6)
    mean = np.linspace(-600, 600, 50)
    error = np.where(np.arange(50) % 3 == 0, np.inf, 2.0)
    velocity, _ = finder(wavelength, noise, ivar, prior=(mean, error))
    nearest = mean.clip(-500, 500)
    far = np.abs(velocity[:, 0] - nearest) > 20 + 2 * finder.step
    assert not far[np.isfinite(error)].any()
    without, _ = finder(wavelength, noise, ivar)
    np.testing.assert_array_equal(velocity[np.isinf(error)], without[np.isinf(error)])


def test_prior_of_a_star_without_data_is_where_it_starts(templates):
    finder = VelocityScan(templates.wavelength, templates.target, (-500.0, 500.0))
    nothing = np.zeros((1, 919))
    velocity, _ = finder(
        templates.wavelength[None], nothing, nothing, prior=([70.0], [1.0])
    )
    assert abs(velocity[0, 0] - 70) <= finder.step


def test_flux_of_bad_pixels_may_be_anything(templates, fine):
    observed = np.linspace(4500.0, 4560.0, 769)
    flux = shifted(fine, observed, VELOCITIES)
    ivar = np.full_like(flux, 1e4)
    ivar[:, 31:37] = 0.0
    spoiled = np.where(ivar == 0, 1e300, flux)
    np.testing.assert_array_equal(
        scan(templates, observed, flux, ivar)[0],
        scan(templates, observed, spoiled, ivar)[0],
    )
