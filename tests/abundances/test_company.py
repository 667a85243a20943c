"""A star gives the same, to the last bit, in any order and beside any other stars."""

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from regressors import make_regressor
from specutils import Spectrum

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import measure_catalogue, read_catalogue
from sk_payne.spectra import SpectrumSet, broaden, doppler_factor

N_STARS = 12

companies = st.lists(st.integers(0, N_STARS - 1), min_size=2, max_size=5)
few = settings(
    max_examples=4,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

FREE = {"vsini": (0.0, 40.0), "continuum_degree": 1}
OPTIONS = {
    "labels": {"velocity_range": None},
    "velocity": {},
    "everything": FREE,
    "integrated": {"integrate_pixels": True, "velocity_range": (-80, 80)},
    "weighed": {"clip": 4.0, "error_floor": "fit"},
    "correlated": {"error_length": "fit", "continuum_degree": 1},
    "mean": {"estimate": "mean", "velocity_range": (-80, 80)},
}


@pytest.fixture(scope="module")
def flux(emulator, draw_labels):
    """Plain flux and errors: masks and errors of all sizes; row 7 has no data."""
    rng = np.random.default_rng(3)
    flux = emulator.predict(draw_labels(N_STARS, seed=5, extent=0.9))
    sigma = rng.uniform(0.003, 0.1, (N_STARS, 1)) * rng.uniform(1, 2, flux.shape)
    flux = flux + sigma * rng.standard_normal(flux.shape)
    for row in range(0, N_STARS, 2):
        first = rng.integers(200)
        flux[row, first : first + 5 * row] = np.nan
    flux[3, 50] += 3.0  # a cosmic ray
    flux[7] = np.nan
    return flux, sigma


@pytest.fixture(scope="module")
def spectra(emulator, draw_labels):
    """Spectra of stars that have little in common; the last two have several arms."""
    rng = np.random.default_rng(4)
    grid, stars = emulator.wavelength_, []
    labels = draw_labels(N_STARS, seed=6, extent=0.9)
    for i, row in enumerate(labels):
        meta, power = {"medium": emulator.medium_}, None
        meta["resolving_power"] = emulator.resolving_power_
        if i % 4 == 1:
            power = 19_000.0 - 1000 * i
            meta["resolving_power"] = power
        velocity = rng.uniform(-40, 40)
        whole = broaden(
            emulator.predict(row[None]),
            grid,
            vsini=rng.uniform(0, 20),
            resolving_power=power,
            already=power and emulator.resolving_power_,
        )[0]
        seen = np.arange(rng.integers(0, 20), len(grid) - rng.integers(0, 60))
        if i % 3 == 0:
            first = rng.integers(60, 120)
            seen = np.delete(seen, np.arange(first, first + rng.integers(3, 40)))
        pixels = [seen] if i < N_STARS - 2 else np.array_split(seen, 2)
        arms = []
        for part in pixels:
            sigma = np.full(len(part), rng.uniform(0.003, 0.05))
            arm_meta = dict(meta)
            if i % 4 == 2:
                arm_meta["resolving_power"] = np.linspace(1.5e4, 1.8e4, len(part))
            arms.append(
                Spectrum(
                    flux=(whole[part] + sigma * rng.standard_normal(len(part))) * u.one,
                    spectral_axis=grid[part] * doppler_factor(velocity) * u.AA,
                    uncertainty=StdDevUncertainty(sigma),
                    mask=rng.uniform(size=len(part)) < 0.02 * (i % 2),
                    meta=arm_meta,
                )
            )
        stars.append(arms if len(arms) > 1 else arms[0])
    return stars


@pytest.fixture(scope="module")
def alone(emulator, flux, spectra):
    """Give a function that measures every star alone, once for each set of options."""
    known = {}

    def measured(kind, regressor, options):
        if (kind, options) not in known:
            known[kind, options] = [
                of_flux(regressor, flux, [i])
                if kind == "flux"
                else regressor.measure([spectra[i]])
                for i in range(N_STARS)
            ]
        return known[kind, options]

    return measured


def of_flux(regressor, flux, rows):
    return regressor.measure(flux[0][rows], uncertainty=flux[1][rows])


def assert_bits(table, expected, rows):
    """Every row of a table is that of the star alone."""
    for place, row in enumerate(rows):
        for name in expected[row].colnames:
            if name in table.colnames:
                np.testing.assert_array_equal(
                    np.asarray(table[name][place]),
                    np.asarray(expected[row][name][0]),
                    err_msg=f"{name} of star {row} in {rows}",
                )


@pytest.mark.parametrize("options", ["labels", "velocity", "everything", "weighed"])
@given(rows=companies)
@few
def test_plain_flux_in_any_company_gives_the_same_bits(
    emulator, flux, alone, options, rows
):
    regressor = make_regressor(emulator, **OPTIONS[options])
    expected = alone("flux", regressor, options)
    assert_bits(of_flux(regressor, flux, rows), expected, rows)


@pytest.mark.parametrize("options", ["velocity", "everything", "integrated", "weighed"])
@given(rows=companies)
@few
def test_spectra_in_any_company_give_the_same_bits(
    emulator, spectra, alone, options, rows
):
    regressor = make_regressor(emulator, **OPTIONS[options])
    expected = alone("spectra", regressor, options)
    assert_bits(regressor.measure([spectra[i] for i in rows]), expected, rows)


@given(rows=companies)
@few
def test_stars_that_lack_arms_beside_others_give_the_same_bits(
    emulator, spectra, alone, rows
):
    regressor = AbundanceRegressor(
        emulator, Observation(arm_offsets=(-5.0, 5.0), velocity_range=(-80, 80))
    )
    expected = alone("spectra", regressor, "arms")
    rows = [*rows, N_STARS - 1]
    assert_bits(regressor.measure([spectra[i] for i in rows]), expected, rows)


@given(rows=companies, chunk_size=st.integers(1, 4))
@few
def test_catalogue_of_any_chunks_has_the_same_bits(
    emulator, spectra, alone, rows, chunk_size, tmp_path_factory
):
    regressor = AbundanceRegressor(emulator)
    expected = alone("spectra", regressor, "velocity")
    folder = tmp_path_factory.mktemp("catalogue") / "stars"
    # arms go as the items they are
    stars = [spectra[i % (N_STARS - 2)] for i in rows]
    path = measure_catalogue(regressor, stars, folder, chunk_size=chunk_size, verbose=0)
    table = read_catalogue(path)
    assert_bits(table, expected, [i % (N_STARS - 2) for i in rows])


@given(rows=st.lists(st.integers(0, N_STARS - 1), min_size=2, max_size=3))
@settings(few, max_examples=2)
def test_means_in_any_company_have_the_same_bits(emulator, spectra, alone, rows):
    regressor = make_regressor(emulator, **OPTIONS["mean"])
    expected = {i: regressor.measure([spectra[i]]) for i in set(rows)}
    assert_bits(regressor.measure([spectra[i] for i in rows]), expected, rows)


@pytest.mark.parametrize("rows", [[9, 2, 0], [4, 11, 9]])
def test_limits_in_any_company_have_the_same_bits(emulator, spectra, rows):
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=(-80, 80)))
    expected = {i: regressor.limits([spectra[i]], ["Fe_H"]) for i in rows}
    table = regressor.limits([spectra[i] for i in rows], ["Fe_H"])
    assert_bits(table, expected, rows)


@pytest.mark.parametrize("rows", [[9, 2], [4, 11]])
def test_weighted_samples_in_any_company_have_the_same_bits(emulator, spectra, rows):
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=(-80, 80)))
    how = {"sampler": "importance", "n_draws": 50, "random_state": 2}
    together = regressor.posterior([spectra[i] for i in rows], **how)
    for place, i in enumerate(rows):
        one = regressor.posterior([spectra[i]], **how)
        np.testing.assert_array_equal(together.samples[place], one.samples[0])
        assert together.n_effective[place] == one.n_effective[0]


def test_star_beside_one_of_low_resolving_power_keeps_its_pixels(emulator, observe):
    def star(power):
        spectrum = observe((emulator.label_low_ + emulator.label_high_) / 2)
        spectrum.meta["resolving_power"] = power
        return spectrum

    regressor = AbundanceRegressor(emulator, Observation(velocity_range=(-50, 50)))
    sharp = emulator.resolving_power_ / 1.3
    expected = regressor.measure([star(sharp)])
    table = regressor.measure([star(2000.0), star(sharp)])
    assert table["n_pixels"][0] < table["n_pixels"][1]
    assert_bits(table[1:], [expected], [0])


def test_resolution_matrix_of_another_star_changes_nothing(emulator, flux):
    n = len(emulator.wavelength_)
    rows = [0, 1, 2]
    how = {"wavelength": emulator.wavelength_, "medium": emulator.medium_}
    bad = ~np.isfinite(flux[0][rows])
    values = np.where(bad, 0.0, flux[0][rows]), np.where(bad, 0, flux[1][rows] ** -2.0)
    powers = np.full((3, n), emulator.resolving_power_ / 1.5)
    three = np.broadcast_to([0.25, 0.5, 0.25], (1, n, 3))
    five = np.broadcast_to([0.1, 0.2, 0.4, 0.2, 0.1], (1, n, 5))
    sets = [
        SpectrumSet(*(v[:1] for v in values), **how, resolving_power=powers[:1]),
        SpectrumSet(*(v[1:2] for v in values), **how, resolution_matrix=three),
        SpectrumSet(*(v[2:] for v in values), **how, resolution_matrix=five),
    ]
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=(-50, 50)))
    expected = [regressor.measure(one) for one in sets]
    assert_bits(regressor.measure(SpectrumSet.concatenate(sets)), expected, rows)


def test_combinations_of_a_star_do_not_round_as_its_company_wants(emulator, flux):
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=None))
    how = {"combinations": {"Mg_Fe": {"Mg_H": 1 / 3, "Fe_H": -1 / 7}}}
    table = regressor.measure(flux[0], uncertainty=flux[1], **how)
    for i in range(N_STARS):
        one = regressor.measure(flux[0][[i]], uncertainty=flux[1][[i]], **how)
        assert_bits(table[i : i + 1], [one], [0])


def test_stars_on_several_threads_give_the_same_bits(emulator, flux):
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=None))
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        table = of_flux(regressor, flux, list(range(N_STARS)))
        assert torch.get_num_threads() == 3
        expected = [of_flux(regressor, flux, [i]) for i in range(N_STARS)]
    finally:
        torch.set_num_threads(n_threads)
    assert_bits(table, expected, range(N_STARS))
