"""Thirty stars that share nothing give the same bits in any company, order and padding.

They differ in resolving power, gaps, arms, length, masks, S/N and continuum; some are
double, and one has no data.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import SecondStar, Telluric, measure_catalogue, read_catalogue
from sk_payne.spectra import SpectrumSet, broaden, doppler_factor

pytestmark = pytest.mark.filterwarnings("ignore::sk_payne.exceptions.ResolutionWarning")

N_STARS, EMPTY, DOUBLE = 30, 7, (5, 16, 22)

few = settings(
    max_examples=3,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
some_rows = st.lists(st.integers(0, N_STARS - 1), min_size=2, max_size=6)

KINDS = ["broad", "double", "telluric", "weighed"]


@pytest.fixture(scope="module")
def regressors(emulator, grid):
    """Regressors with options of each kind."""
    wavelength = np.linspace(grid.wavelength[80], grid.wavelength[160], 900)
    depth = np.exp(-(((wavelength - wavelength[300:601:150, None]) / 0.1) ** 2)).sum(0)
    telluric = Telluric(wavelength, np.exp(-0.1 * depth), medium="air")
    options = {
        "broad": {"vsini": (0.0, 30.0), "integrate_pixels": True},
        "double": {"second_star": SecondStar(flux_ratio=(0.05, 1.0))},
        "telluric": {"stages": [telluric], "arm_offsets": [(-5.0, 5.0)]},
        "weighed": {"clip": 4.0, "error_floor": "fit"},
    }
    common = {"velocity_range": (-90, 90), "continuum_degree": 1}
    return {
        kind: AbundanceRegressor(emulator, Observation(**common, **options[kind]))
        for kind in KINDS
    }


@pytest.fixture(scope="module")
def stars(emulator, draw_labels):
    """Sets of one star each."""
    rng = np.random.default_rng(8)
    labels = draw_labels(2 * N_STARS, seed=4, extent=0.8).reshape(2, N_STARS, 1, 3)
    return [star(emulator, i, *labels[:, i], rng) for i in range(N_STARS)]


def star(emulator, i, labels, companion, rng):
    """Make one star, whose number tells what it is like."""
    grid, own = emulator.wavelength_, emulator.resolving_power_
    powers = [own, own / 1.3, np.linspace(0.6, 0.9, len(grid)) * own, np.nan]
    power = np.broadcast_to(powers[i % 4], len(grid)).copy()
    if i % 8 == 6:
        power[rng.integers(len(grid), size=3)] = np.nan
    flux = emulator.predict(labels)[0]
    if i in DOUBLE:
        other = emulator.predict(companion)[0]
        flux = (flux + 0.7 * np.interp(grid, grid * doppler_factor(60), other)) / 1.7
    if i % 4 == 1:
        flux = broaden(flux[None], grid, resolving_power=power[0], already=own)[0]
    seen = np.arange(rng.integers(20), len(grid) - rng.integers(60))
    if i % 5 == 1:
        first = rng.integers(60, 120)
        seen = np.delete(seen, np.arange(first, first + rng.integers(3, 40)))
    parts = [seen] if i % 6 else [seen[:110], seen[90:]]
    wavelength = grid * doppler_factor(rng.uniform(-40, 40))
    arms = []
    for pixels in parts:
        level = np.linspace(*rng.uniform(1, 3, 2), len(pixels)) * 10.0 ** (i % 3)
        error = level / rng.choice([10, 30, 100, 300])
        noise = error * rng.standard_normal(len(pixels))
        is_bad = rng.uniform(size=len(pixels)) < 0.03 * (i % 2)
        matrix = None
        if i % 10 == 9:
            row = [0.1, 0.2, 0.4, 0.2, 0.1]
            matrix = np.broadcast_to(row, (1, len(pixels), 5))
        arms.append(
            SpectrumSet(
                [level * flux[pixels] + noise],
                [np.where(is_bad | (i == EMPTY), 0.0, error**-2)],
                wavelength=wavelength[pixels],
                medium="air",
                resolving_power=power[None, pixels],
                resolution_matrix=matrix,
            )
        )
    return SpectrumSet.join_arms(arms)


@pytest.fixture(scope="module")
def alone(regressors, stars):
    """Tables of every star alone, by kind of options and star."""
    return {
        kind: [regressor.measure(one) for one in stars]
        for kind, regressor in regressors.items()
    }


def padded(sets, n_more):
    """Join sets of stars, with more padding than they need."""
    width = max(one.shape[1] for one in sets) + n_more
    nothing = SpectrumSet(
        *np.zeros((2, 1, width)), wavelength=4000.0 + np.arange(width), medium="air"
    )
    return SpectrumSet.concatenate([*sets, nothing])[:-1]


def assert_bits(table, expected, rows):
    """Every row of a table is that of the star alone."""
    assert len(table) == len(rows)
    for place, row in enumerate(rows):
        for name in expected[row].colnames:
            np.testing.assert_array_equal(
                np.asarray(table[name][place]),
                np.asarray(expected[row][name][0]),
                err_msg=f"{name} of star {row} in {rows}",
            )


def test_stars_are_as_unlike_as_they_should_be(alone):
    tables = [table for kind in KINDS for table in alone[kind]]
    assert all(len(table) == 1 for table in tables)
    for kind in KINDS:
        n_pixels = [int(table["n_pixels"][0]) for table in alone[kind]]
        assert n_pixels[EMPTY] == 0
        assert len(set(n_pixels)) > 15
    n_stars = np.array([table["n_stars"][0] for table in alone["double"]])
    assert set(np.flatnonzero(n_stars == 2)) & set(DOUBLE)
    n_arms = np.array([table["n_segments"][0] for table in alone["telluric"]])
    assert set(n_arms) >= {0, 1, 2}
    assert any(table["n_clipped"][0] > 0 for table in alone["weighed"])


@pytest.mark.parametrize("kind", KINDS)
def test_all_stars_together_in_another_order(regressors, stars, alone, kind):
    rows = np.random.default_rng(1).permutation(N_STARS).tolist()
    table = regressors[kind].measure(padded([stars[i] for i in rows], 0))
    assert_bits(table, alone[kind], rows)


@pytest.mark.parametrize("kind", KINDS)
@given(rows=some_rows, n_more=st.integers(0, 50))
@few
def test_any_stars_with_any_padding(regressors, stars, alone, kind, rows, n_more):
    table = regressors[kind].measure(padded([stars[i] for i in rows], n_more))
    assert_bits(table, alone[kind], rows)


@pytest.mark.parametrize("kind", KINDS)
@given(rows=some_rows, chunk_size=st.integers(1, 4), n_together=st.integers(1, 3))
@few
def test_any_stars_in_any_chunks(
    regressors, stars, alone, kind, rows, chunk_size, n_together, tmp_path_factory
):
    sets = [stars[i] for i in rows]
    items = [
        padded(sets[first : first + n_together], first)
        for first in range(0, len(sets), n_together)
    ]
    folder = tmp_path_factory.mktemp("catalogue") / "stars"
    how = {"chunk_size": chunk_size, "verbose": 0}
    path = measure_catalogue(regressors[kind], items, folder, **how)
    table = read_catalogue(path)
    assert_bits(table, alone[kind], rows)
