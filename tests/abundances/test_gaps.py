"""Grids of several segments: what was observed in a gap of them is not compared."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from regressors import make_regressor
from specutils import Spectrum

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator
from sk_payne.abundances._starts import resample_roughly
from sk_payne.abundances._velocity_scan import VelocityScan
from sk_payne.datasets import make_spectra
from sk_payne.exceptions import WavelengthMismatchError
from sk_payne.recovery import mock_recovery
from sk_payne.spectra import GridInterpolator, doppler_factor

# Of a grid of 257 pixels, those of two arms and of three pixels alone.
ARMS = np.r_[0:110, 140:200, 215:218, 235:257]
SEGMENTS = slice(0, 110), slice(110, 170), slice(170, 173), slice(173, 195)
ERROR = 0.01


@pytest.fixture(scope="module")
def arms(grid, make_emulator):
    """An emulator of four segments; don't change it."""
    emulator = make_emulator(wavelength=grid.wavelength[ARMS], max_steps=307)
    return emulator.fit(grid.data, grid.target[:, ARMS])


@pytest.fixture(scope="module")
def observe(arms, grid):
    """Give a function that observes stars of the emulator with a spectrograph."""
    step = grid.wavelength[1] - grid.wavelength[0]
    wavelength = np.arange(grid.wavelength[0] - 20, grid.wavelength[-1] + 20, step)

    def observe(labels, velocities, *, in_gaps=0.5, mask_gaps=False, seed=0):
        rng = np.random.default_rng(seed)
        stars = []
        for flux, v in zip(arms.predict(labels), velocities, strict=True):
            rest = wavelength / doppler_factor(v)
            seen = np.full(len(wavelength), in_gaps)
            inside = np.zeros(len(wavelength), dtype=bool)
            for pixels in SEGMENTS:
                grid_part = arms.wavelength_[pixels]
                mine = (rest >= grid_part[0]) & (rest <= grid_part[-1])
                seen[mine] = GridInterpolator(grid_part)(flux[pixels], rest[mine])
                inside |= mine
            seen = seen + ERROR * rng.normal(size=len(seen))
            stars.append(
                Spectrum(
                    flux=seen * u.one,
                    spectral_axis=wavelength * u.AA,
                    uncertainty=StdDevUncertainty(np.full(len(seen), ERROR)),
                    mask=~inside if mask_gaps else None,
                    meta={
                        "medium": grid.medium,
                        "resolving_power": grid.resolving_power,
                    },
                )
            )
        return stars

    return observe


@pytest.fixture(scope="module")
def labels(draw_labels):
    return draw_labels(5)


def assert_agree(one, other):
    """Agree within an error: the scan may start a step apart, at other pixels."""
    for name in ("teff", "Fe_H", "Mg_H", "radial_velocity"):
        distance = np.abs(one[name].value - other[name].value)
        assert (distance < one[f"{name}_error"].value).all()
    assert (np.abs(one["n_pixels"] - other["n_pixels"]) <= 8).all()


VELOCITIES = [-60.0, -10.0, 0.0, 33.0, 80.0]


def test_what_lies_in_gaps_changes_nothing(arms, observe, labels):
    regressor = AbundanceRegressor(arms)

    one, other, masked = (
        regressor.measure(observe(labels, VELOCITIES, **how))
        for how in ({"in_gaps": 0.5}, {"in_gaps": 1.5}, {"mask_gaps": True})
    )

    for table in (other, masked):
        assert_agree(one, table)
    assert (one["flags"] == 0).all()
    assert (one["chi2"] / one["dof"] < 1.4).all()


@pytest.mark.parametrize(
    "how",
    [
        {"continuum_degree": 1},
        {"vsini": (0.0, 20.0)},
        {"velocity_range": (-100, 100), "integrate_pixels": True},
        {"resolving_power": 15_000},
    ],
)
def test_what_lies_in_gaps_changes_nothing_in_fits_of_all_kinds(
    arms, observe, labels, how
):
    regressor = make_regressor(arms, **how)
    tables = [
        regressor.measure(observe(labels[:2], VELOCITIES[:2], in_gaps=level))
        for level in (0.8, 0.9)
    ]

    assert_agree(*tables)


def test_what_lies_in_gaps_reaches_no_pixel_by_a_resolution_matrix(
    arms, observe, labels
):
    row = np.array([0.1, 0.2, 0.4, 0.2, 0.1])
    regressor = AbundanceRegressor(arms, Observation(velocity_range=(-100, 100)))
    tables = []
    for level in (0.8, 0.9):
        stars = observe(labels[:2], VELOCITIES[:2], in_gaps=level)
        for star in stars:
            diagonals = np.repeat(row[:, None], len(star.flux), axis=1)
            star.meta["resolution_matrix"] = diagonals
        tables.append(regressor.measure(stars))

    assert_agree(*tables)
    unsmeared = regressor.measure(observe(labels[:2], VELOCITIES[:2]))
    # two pixels at each of eight ends of segments
    assert (tables[0]["n_pixels"] < unsmeared["n_pixels"]).all()
    assert (tables[0]["n_pixels"] > unsmeared["n_pixels"] - 50).all()


def test_pixels_are_used_if_one_segment_holds_all_that_may_be_brought_in(
    arms, observe, labels
):
    still = AbundanceRegressor(arms, Observation(velocity_range=None))
    stars = observe(labels[:1], [0.0])
    grid = arms.wavelength_
    wavelength = stars[0].spectral_axis.value

    model = still.measure(stars, return_model=True)[1][0]

    inside = np.zeros(len(wavelength), dtype=bool)
    for part in SEGMENTS:
        first, last = grid[part][[0, -1]]
        inside |= (wavelength >= first) & (wavelength <= last)
    np.testing.assert_array_equal(np.isfinite(model), inside)


def test_pixel_at_the_end_of_a_segment_is_used(arms, labels):
    flux = arms.predict(labels[:1])
    star = Spectrum(
        flux=flux[0] * u.one,
        spectral_axis=arms.wavelength_ * u.AA,
        uncertainty=StdDevUncertainty(np.full(flux.shape[1], ERROR)),
        meta={"medium": arms.medium_, "resolving_power": arms.resolving_power_},
    )

    table = AbundanceRegressor(arms, Observation(velocity_range=None)).measure(star)

    assert table["n_pixels"][0] == len(arms.wavelength_)


def test_stars_that_were_observed_in_a_gap_only_are_refused_with_the_segments(
    arms, grid
):
    gap = np.linspace(grid.wavelength[120], grid.wavelength[130], 50)
    star = Spectrum(
        flux=np.ones(50) * u.one,
        spectral_axis=gap * u.AA,
        uncertainty=StdDevUncertainty(np.full(50, ERROR)),
        meta={
            "medium": grid.medium,
            "resolving_power": grid.resolving_power,
        },
    )

    first, last = arms.wavelength_[[0, 109]]
    with pytest.raises(WavelengthMismatchError, match=f"{first:.1f}-{last:.1f}, "):
        AbundanceRegressor(arms, Observation(velocity_range=(-10, 10))).measure(star)


def test_gap_of_the_observation_alone_costs_its_pixels_only(emulator, grid, labels):
    flux = emulator.predict(labels)
    flux = flux + ERROR * np.random.default_rng(1).normal(size=flux.shape)
    whole, part = (
        [
            Spectrum(
                flux=row[pixels] * u.one,
                spectral_axis=grid.wavelength[pixels] * u.AA,
                uncertainty=StdDevUncertainty(np.full(len(row[pixels]), ERROR)),
                mask=mask,
                meta={
                    "medium": grid.medium,
                    "resolving_power": grid.resolving_power,
                },
            )
            for row in flux
        ]
        for pixels, mask in (
            (np.arange(257), ~np.isin(np.arange(257), ARMS)),
            (ARMS, None),
        )
    )
    regressor = AbundanceRegressor(emulator)

    expected, found = regressor.measure(whole), regressor.measure(part)

    for name in ("teff", "Fe_H", "Mg_H", "radial_velocity", "n_pixels"):
        np.testing.assert_allclose(found[name].value, expected[name].value, rtol=1e-5)


def test_mock_stars_of_segments_have_pulls_of_one(arms):
    regressor = AbundanceRegressor(
        arms, Observation(emulator_error=False, velocity_range=(-60, 60))
    )

    recovery = mock_recovery(regressor, n_stars=40, snr=100, random_state=0)

    pulls = (recovery.measured - recovery.true) / recovery.error
    assert 0.85 < np.std(pulls) < 1.15


# Parts ---------------------------------------------------------------------------


def test_scan_does_not_compare_gaps():
    grid = make_spectra(
        31,
        n_wavelengths=919,
        wavelength_range=(4500.0, 4560.0),
        label_names=("teff", "Fe_H"),
        random_state=0,
    )
    arms = np.r_[0:300, 500:919]
    scan = VelocityScan(grid.wavelength[arms], grid.target[:, arms], (-200, 200))
    flux = grid.target[:1].copy()
    flux[:, 305:495] = np.random.default_rng(0).uniform(size=190)
    seen = grid.wavelength[None] * doppler_factor(50.0)

    velocity, _ = scan(seen, flux, np.ones_like(flux))

    assert abs(velocity[0, 0] - 50.0) < scan.step


def test_scan_of_short_segments_is_not_led_to_where_little_is_left(arms, draw_labels):
    stars = draw_labels(60, extent=0.9)
    flux = arms.predict(stars) + ERROR * np.random.default_rng(3).normal(size=(60, 195))
    templates = arms.predict(draw_labels(64, seed=1, extent=0.9))
    scan = VelocityScan(arms.wavelength_, templates, (-500, 500))

    velocity, _ = scan(
        np.broadcast_to(arms.wavelength_, flux.shape), flux, np.full(flux.shape, 1e4)
    )

    assert (np.abs(velocity[:, 0]) < 3 * scan.step).mean() > 0.95


def test_rough_resampling_has_no_information_in_gaps():
    wavelength = np.r_[4500:4510:0.1, 4512:4520:0.1][None]
    grid = np.arange(4499.95, 4521, 0.1)

    _, ivar = resample_roughly(
        wavelength, np.ones_like(wavelength), np.ones_like(wavelength), grid
    )

    known = ivar[0].numpy() > 0
    expected = ((grid > 4500) & (grid < 4509.9)) | ((grid > 4512) & (grid < 4519.9))
    np.testing.assert_array_equal(known, expected)


# Resolving power of segments -----------------------------------------------------


def with_power(emulator, *powers):
    """The emulator, as if each of its segments had a resolving power of its own."""
    trained = emulator.trained_
    power = np.repeat(powers, [110, 60, 3, 22]).astype(float)
    description = replace(trained.description, resolving_power=power)
    return SpectrumEmulator.from_trained(replace(trained, description=description))


def test_instrument_of_each_segment_is_what_it_lacks(arms, observe, labels):
    stars = observe(labels[:2], [0.0, 0.0])
    own = with_power(arms, 20_000, 20_000, 30_000, 15_000)
    alone = AbundanceRegressor(arms, Observation(resolving_power=None))
    power = np.full(len(stars[0].flux), 20_000.0)
    wavelength = stars[0].spectral_axis.value
    # changing somewhere in the gaps
    power[wavelength > arms.wavelength_[[169, 169, 170]].mean()] = 30_000
    power[wavelength > arms.wavelength_[[172, 173, 173]].mean()] = 15_000

    found = AbundanceRegressor(own, Observation(resolving_power=power)).measure(stars)

    expected = alone.measure(stars)
    for name in ("teff", "Fe_H", "Mg_H", "n_pixels"):
        np.testing.assert_allclose(found[name].value, expected[name].value, rtol=1e-6)


def test_one_resolving_power_broadens_segments_that_are_sharper(arms, observe, labels):
    stars = observe(labels[:2], [0.0, 0.0])
    same = with_power(arms, 20_000, 20_000, 20_000, 20_000)
    sharper = with_power(arms, 20_000, 40_000, 20_000, 20_000)
    how = {"resolving_power": 20_000, "velocity_range": (-50, 50)}

    one = make_regressor(same, **how).measure(stars)
    other = make_regressor(sharper, **how).measure(stars)

    assert (other["n_pixels"] < one["n_pixels"]).all()
    assert (np.abs(other["chi2"] - one["chi2"]) > 1).any()


def test_resolving_power_above_that_of_one_segment_is_refused_with_both(
    arms, observe, labels
):
    own = with_power(arms, 20_000, 20_000, 20_000, 15_000)
    with pytest.raises(ValueError, match="got 20000 for a spectrum of 15000"):
        AbundanceRegressor(own, Observation(resolving_power=20_000)).measure(
            observe(labels[:1], [0.0])
        )


def test_resolving_power_that_is_found_needs_an_emulator_of_one(arms, observe, labels):
    own = with_power(arms, 40_000, 40_000, 40_000, 30_000)
    with pytest.raises(ValueError, match="`resolving_power` must not be a tuple"):
        AbundanceRegressor(own, Observation(resolving_power=(10_000, 20_000))).measure(
            observe(labels[:1], [0.0])
        )


def test_mock_stars_need_an_emulator_of_one_resolving_power_for_another(arms):
    own = with_power(arms, 40_000, 40_000, 40_000, 30_000)
    regressor = AbundanceRegressor(own, Observation(resolving_power=20_000))
    with pytest.raises(
        ValueError, match="must be None for an emulator whose resolving"
    ):
        mock_recovery(regressor, n_stars=2)


def test_resolving_power_a_per_cent_too_high_is_taken_as_that_of_the_emulator(
    emulator, labels
):
    flux = emulator.predict(labels)
    power = emulator.resolving_power_

    same, rounded = (
        AbundanceRegressor(
            emulator, Observation(resolving_power=given), snr=100
        ).measure(flux)
        for given in (power, 1.009 * power)
    )

    np.testing.assert_array_equal(same["teff"].value, rounded["teff"].value)
    with pytest.raises(ValueError, match="must not be above that of the spectrum"):
        AbundanceRegressor(
            emulator, Observation(resolving_power=1.02 * power), snr=100
        ).measure(flux)
