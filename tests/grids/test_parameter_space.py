"""Spaces of labels: designs fill them, nest and come back from JSON.

Evenness is judged by scipy's discrepancy; the published grids by numbers of others.
"""

import json
import warnings

import numpy as np
import pytest
from scipy.stats import qmc

from sk_payne.datasets import load_sme_grid
from sk_payne.grids import (
    ParameterSpace,
    paper_pretraining,
    paper_training,
    paper_wavelengths,
)

SAMPLERS = ["sobol", "uniform", "latin_hypercube"]
RANGES = {"teff": (4000, 6000), "Mg_H": (-0.2, 0.5), "Fe_H": (-2, 1), "vsini": (0, 9)}


@pytest.fixture
def space():
    return ParameterSpace(RANGES, around={"Mg_H": "Fe_H"}, fixed={"logg": 4.5})


# Samples ---------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sample_fills_the_ranges_and_follows_the_coupling(space, sampler):
    P = space.sample(1009, sampler=sampler, random_state=0)
    assert P.shape == (1009, 4)
    assert P.dtype == np.float64
    own = np.column_stack([P[:, 0], P[:, 1] - P[:, 2], P[:, 2], P[:, 3]])
    low, high = np.array(list(RANGES.values())).T
    cube = (own - low) / (high - low)
    assert np.all(cube >= -1e-12)
    assert np.all(cube <= 1 + 1e-12)
    # of a uniform distribution: mean and standard deviation, to 4 sigma of the mean
    np.testing.assert_allclose(cube.mean(axis=0), 0.5, atol=0.037)
    np.testing.assert_allclose(cube.std(axis=0), 12**-0.5, atol=0.02)
    correlation = np.corrcoef(own, rowvar=False) - np.eye(4)
    assert np.abs(correlation).max() < 0.13


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_gives_the_same_sample(space, sampler):
    one, two, other = (
        space.sample(53, sampler=sampler, random_state=seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).min() > 0


@pytest.mark.parametrize("sampler", ["sobol", "uniform"])
@pytest.mark.parametrize(("n", "larger"), [(1, 2), (64, 65), (101, 1000), (512, 513)])
def test_first_rows_of_a_larger_design_are_the_smaller_one(space, sampler, n, larger):
    small, large = (
        space.sample(k, sampler=sampler, random_state=5) for k in (n, larger)
    )
    np.testing.assert_array_equal(large[:n], small)


def test_a_latin_hypercube_has_one_star_in_each_slice(space):
    teff = space.sample(29, sampler="latin_hypercube", random_state=0)[:, 0]
    slices = np.floor((teff - 4000) / 2000 * 29).astype(int)
    assert sorted(slices) == list(range(29))


@pytest.mark.parametrize("n", [32, 64, 128, 300])
def test_nested_sobol_subsets_are_more_even_than_independent_draws(n):
    cube = ParameterSpace({name: (0, 1) for name in "abcde"})
    seeds = range(11)

    def discrepancies(sampler):
        return [
            qmc.discrepancy(cube.sample(512, sampler=sampler, random_state=s)[:n])
            for s in seeds
        ]

    assert max(discrepancies("sobol")) < 0.6 * min(discrepancies("uniform"))


def test_a_latin_hypercube_does_not_nest(space):
    small, large = (
        space.sample(n, sampler="latin_hypercube", random_state=0) for n in (16, 32)
    )
    assert not np.array_equal(large[:16], small)


def test_any_number_of_spectra_can_be_drawn_without_a_warning(space):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [len(space.sample(n, random_state=0)) for n in (1, 3, 7)] == [1, 3, 7]


def test_a_generator_goes_on_from_one_sample_to_the_next(space):
    rng = np.random.RandomState(0)
    one, two = (space.sample(5, random_state=rng) for _ in range(2))
    assert not np.array_equal(one, two)


def test_a_range_may_be_counted_from_a_fixed_value():
    space = ParameterSpace(
        {"O_H": (0.2, 0.4)}, around={"O_H": "Fe_H"}, fixed={"Fe_H": -1}
    )
    assert space.bounds == {"O_H": (-0.8, -0.6)}
    assert space.contains(space.sample(31, random_state=0)).all()
    assert not space.contains([[0.3]]).any()


# What it tells of itself ------------------------------------------------------------


def test_bounds_hold_every_sample_and_are_nearly_reached(space):
    P = space.sample(4096, random_state=0)
    low, high = np.array([space.bounds[name] for name in space.label_names]).T
    assert np.all((low <= P) & (high >= P))
    assert space.bounds["Mg_H"] == (-2.2, 1.5)
    np.testing.assert_allclose(np.ptp(P, axis=0), high - low, rtol=0.05)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_contains_holds_for_samples_also_in_single_precision(space, sampler):
    P = space.sample(997, sampler=sampler, random_state=0)
    assert space.contains(P).all()
    assert space.contains(P.astype(np.float32)).all()


def test_contains_sees_each_limit_the_coupling_and_nan(space):
    inside = [5000.0, -1.1, -1.0, 3.0]
    outside = [
        [3999.0, -1.1, -1.0, 3.0],
        [5000.0, -1.3, -1.0, 3.0],  # [Mg/Fe] = -0.3
        [5000.0, 1.2, 1.1, 3.0],
        [5000.0, -1.1, -1.0, 9.1],
        [np.nan, -1.1, -1.0, 3.0],
    ]
    assert space.contains([inside, *outside]).tolist() == [True] + 5 * [False]


def test_units_are_the_usual_ones_unless_given():
    space = ParameterSpace({**RANGES, "mass": (1, 2)}, units={"mass": "solMass"})
    assert space.label_names == ["teff", "Mg_H", "Fe_H", "vsini", "mass"]
    assert space.label_units == ["K", "dex", "dex", "km/s", "solMass"]
    assert ParameterSpace({"age": (1, 2)}).label_units == [""]


def test_a_space_comes_back_from_json_and_draws_the_same(space):
    again = ParameterSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space
    np.testing.assert_array_equal(
        again.sample(17, random_state=0), space.sample(17, random_state=0)
    )


def test_repr_is_python_that_makes_the_space_again(space):
    strange = ParameterSpace({"mass": (1, 2)}, units={"mass": "solMass"})
    for each in (space, strange, paper_pretraining()):
        assert eval(repr(each), {"ParameterSpace": ParameterSpace}) == each
    assert "units" not in repr(space)


def test_spaces_differ_by_the_order_of_their_columns():
    one = ParameterSpace({"a": (0, 1), "b": (0, 1)})
    assert one != ParameterSpace({"b": (0, 1), "a": (0, 1)})
    assert one != ParameterSpace({"a": (0, 1), "b": (0, 2)})
    assert one != "a"


def test_the_mappings_of_the_caller_are_left_alone(space):
    ranges, fixed = {"a": [0, 1]}, {"b": 2}
    made = ParameterSpace(ranges, fixed=fixed)
    made.ranges["c"] = made.fixed["c"] = 0
    assert (ranges, fixed) == ({"a": [0, 1]}, {"b": 2})


# Mistakes ---------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [(1, 1), (2, 1), (0, np.inf), (0, "x"), (0,), 3.0])
def test_a_range_that_is_none_is_refused(limits):
    with pytest.raises(ValueError, match=r"`ranges` .* 'teff' has .* into `fixed`"):
        ParameterSpace({"teff": limits})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({},), "`ranges` must map at least one label"),
        ((["teff"],), "`ranges` must map at least one label"),
        (({1: (0, 1)},), "`ranges` must have names as keys; got 1"),
    ],
)
def test_labels_must_be_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ParameterSpace(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fixed": {"teff": 5000}}, "`fixed` must not hold a label that varies"),
        ({"fixed": {"vmic": None}}, "`fixed` must hold finite .* 'vmic' has None"),
        ({"fixed": {"vmic": np.nan}}, "`fixed` must hold finite .* 'vmic' has nan"),
        ({"around": {"Mg_h": "Fe_H"}}, "`around` .* got 'Mg_h'. Did you mean 'Mg_H'?"),
        ({"around": {"Mg_H": "fe_H"}}, "'Mg_H' is relative to 'fe_H'. Did you mean"),
        ({"around": {"Mg_H": "Mg_H"}}, "'Mg_H' is relative to 'Mg_H'"),
        ({"around": {"Mg_H": "Fe_H", "Fe_H": "teff"}}, "is relative to 'Fe_H'"),
        ({"units": {"age": "Gyr"}}, "`units` must have keys among .* got 'age'"),
        ({"units": {"teff": 1}}, "`units` must hold strings, .* 'teff' has 1"),
    ],
)
def test_what_does_not_go_with_the_labels_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        ParameterSpace(RANGES, **options)


@pytest.mark.parametrize("n", [0, -1, 2.5, True, None])
def test_sample_refuses_what_is_no_number_of_spectra(space, n):
    with pytest.raises(ValueError, match=f"`n` must be a positive integer; got {n}"):
        space.sample(n)


def test_sample_names_the_samplers(space):
    with pytest.raises(ValueError, match=r"got 'sobal'. Did you mean 'sobol'\?"):
        space.sample(3, sampler="sobal")


@pytest.mark.parametrize("P", [[5000.0], [[5000.0, 0.0]], [[[0.0]]]])
def test_contains_refuses_other_columns(space, P):
    with pytest.raises(ValueError, match="`P` must have the columns"):
        space.contains(P)


@pytest.mark.parametrize("description", [{}, {"ranges": {}}, None])
def test_from_dict_refuses_what_to_dict_did_not_write(description):
    with pytest.raises(ValueError, match="`description` must have the keys"):
        ParameterSpace.from_dict(description)


# The published grids ----------------------------------------------------------------


def test_training_space_has_the_ranges_of_the_shipped_grid_and_helium():
    space, grid = paper_training(), load_sme_grid()
    assert [n for n in space.label_names if "He" not in n] == grid.label_names
    units = dict(zip(space.label_names, space.label_units, strict=True))
    assert units.pop("N_He/N_tot") == ""
    assert list(units.values()) == grid.label_units
    low, high = np.array([space.ranges[name] for name in grid.label_names]).T
    cube = (grid.data - low) / (high - low)
    np.testing.assert_allclose(cube.min(axis=0), 0, atol=0.002)
    np.testing.assert_allclose(cube.max(axis=0), 1, atol=0.002)
    assert space.fixed == {"vmic": 0.0}
    assert space.around == {}


def test_helium_reaches_twice_the_solar_value():
    # Asplund et al. (2009): A(He) = 10.93; metals are 0.1 % of all atoms.
    per_hydrogen = 10 ** (10.93 - 12.0)
    solar = per_hydrogen / (1.001 + per_hydrogen)
    low, high = paper_training().ranges["N_He/N_tot"]
    assert low == 0.0
    assert high == pytest.approx(2 * solar, rel=1e-3)


def test_pretraining_space_is_the_training_space_at_one_temperature_and_gravity():
    training, before = paper_training(), paper_pretraining()
    assert before.label_names == training.label_names[2:]
    assert all(before.ranges[n] == training.ranges[n] for n in before.label_names)
    assert before.fixed == {"teff": 5000.0, "logg": 4.5, "vmic": 0.0}


def test_other_elements_can_be_asked_for():
    assert paper_pretraining(["Li", "U"]).label_names == ["N_He/N_tot", "Li_H", "U_H"]
    with pytest.raises(ValueError, match="`elements` must be a sequence of names"):
        paper_training("Fe")


def test_wavelengths_are_as_many_as_published_at_a_resolving_power_of_100_000():
    wavelength = paper_wavelengths()
    assert len(wavelength) == 22_315
    assert wavelength[0] == 4000.0
    step = np.diff(wavelength)
    assert wavelength[-1] <= 5000.0 < wavelength[-1] + step[-1]
    middle = (wavelength[1:] + wavelength[:-1]) / 2
    np.testing.assert_allclose(middle / step, 1e5, rtol=1e-8)


def test_wavelengths_of_the_shipped_grid_are_spaced_in_the_same_way():
    shipped = load_sme_grid().wavelength
    np.testing.assert_allclose(np.diff(np.log(shipped)), 1e-5, rtol=1e-6)
