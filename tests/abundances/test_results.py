"""Tests of what is reported: flags, table, units, and the way to a file and back."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from sk_payne.abundances import FLAGS
from sk_payne.abundances._flags import set_flags
from sk_payne.abundances._parameters import Parameter, Parameters
from sk_payne.abundances._results import Measurements
from sk_payne.abundances._table import make_table

LABELS = [
    Parameter("teff", "K", 4000.0, 6000.0, flag="LABEL_AT_EDGE"),
    Parameter("Fe_H", "dex", -2.0, 1.0, flag="LABEL_AT_EDGE"),
]
VELOCITY = Parameter("radial_velocity", "km / s", -9, 99, flag="VELOCITY_AT_EDGE")
AT_REST, MOVING = Parameters(LABELS, 2), Parameters([*LABELS, VELOCITY], 2)


def good_results(n=3, *, with_velocity=True):
    """Results of stars to whom nothing happened."""
    results = Measurements.empty(n, MOVING if with_velocity else AT_REST)
    results.covariance[:] = 0
    results.labels[:] = [5000.0, -0.3]
    results.label_covariance[:] = [[400.0, 0.2], [0.2, 0.01]]
    if with_velocity:
        results.parameters[:, 2] = 17.0
        results.covariance[:, 2, 2] = 0.3**2
    results.chi2[:] = 101.0
    results.n_pixels[:] = 127
    results.n_iterations[:] = 5
    results.converged[:] = True
    return results


def flags_of(results):
    set_flags(results, MOVING)
    return [
        {name for name, (bit, _) in FLAGS.items() if flag & bit}
        for flag in results.flags
    ]


def test_bits_of_the_flags_are_distinct_powers_of_two():
    bits = [bit for bit, _ in FLAGS.values()]
    assert sorted(bits) == [2**i for i in range(len(bits))]
    assert all(meaning for _, meaning in FLAGS.values())


def test_good_star_has_no_flag():
    results = good_results()
    assert flags_of(results) == [set(), set(), set()]
    assert (results.flags == 0).all()


def _no_data(results):
    empty = Measurements.empty(3, MOVING)
    for name, values in vars(results).items():
        if isinstance(values, np.ndarray):
            values[1] = getattr(empty, name)[1]


def _few_pixels(results):
    results.n_pixels[1] = 10 * 3 - 1
    results.chi2[1] = 29.0


def _not_converged(results):
    results.converged[1] = False
    results.expected_fall[1] = 0.02


def _label_at_edge(results):
    results.at_edge[1, 1] = True


def _velocity_at_edge(results):
    results.at_edge[1, 2] = True


def _too_good(results):
    results.chi2[1] = 40.0


def _unconstrained(results):
    results.covariance[1, 1, 1] = 1.51**2


def _bad_fit(results):
    results.chi2[1] = 3.01 * (127 - 3)


def _high_chi2(results):
    results.n_systematic[1] = 20.0
    results.chi2[1] = 124 + 20 + 5.01 * np.sqrt(2 * 124)


def _not_high_chi2(results):
    results.n_systematic[1] = 20.0
    results.chi2[1] = 124 + 20 + 4.99 * np.sqrt(2 * 124)


def _correlated(results):
    results.residual_p[1] = 0.0009


def _blind(results):
    results.covariance[1, 0, 0] = np.inf


def _bad_continuum(results):
    results.bad_continuum[1] = True


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_bad_continuum, {"BAD_CONTINUUM"}),
        (_no_data, {"NO_DATA", "FEW_PIXELS", "NOT_CONVERGED"}),
        (_few_pixels, {"FEW_PIXELS"}),
        (_not_converged, {"NOT_CONVERGED"}),
        (_label_at_edge, {"LABEL_AT_EDGE"}),
        (_velocity_at_edge, {"VELOCITY_AT_EDGE"}),
        (_too_good, {"LOW_CHI2"}),
        (_unconstrained, {"UNCONSTRAINED"}),
        (_blind, {"UNCONSTRAINED"}),
        (_bad_fit, {"BAD_FIT"}),
        (_high_chi2, {"HIGH_CHI2"}),
        (_not_high_chi2, set()),
        (_correlated, {"CORRELATED_RESIDUALS"}),
    ],
)
def test_flag_is_set_for_its_star_only(spoil, expected):
    results = good_results()
    spoil(results)
    assert flags_of(results) == [set(), expected, set()]


def test_labels_are_named_that_are_at_an_edge_or_not_constrained():
    results = good_results()
    _label_at_edge(results)
    _unconstrained(results)
    results.at_edge[2, 0] = True
    table = make_table(results, MOVING)
    assert table["label_flags"].tolist() == [
        "-",
        "Fe_H: edge, unconstrained",
        "teff: edge",
    ]


def test_parameter_with_an_unknown_flag_is_refused():
    with pytest.raises(ValueError, match="`flag` of the parameter 'x' must be one of"):
        Parameter("x", "", 0, 1, flag="WIDE")


@pytest.mark.parametrize(
    ("change", "is_flagged"),
    [
        ({"n_pixels": 30, "chi2": 29.0}, False),
        ({"converged": False, "expected_fall": 0.009}, False),
        ({"chi2": 50.0}, False),
        ({"chi2": 2.99 * (127 - 3)}, False),
    ],
    ids=["just enough pixels", "all but converged", "low", "just good enough"],
)
def test_limits_of_the_flags_are_not_flagged(change, is_flagged):
    results = good_results()
    for name, value in change.items():
        getattr(results, name)[:] = value
    assert any(flags_of(results)) == is_flagged


def test_table_has_values_errors_and_units():
    results = good_results()
    flags_of(results)
    table = make_table(results, MOVING)
    assert isinstance(table, QTable)
    assert table.colnames == [
        "teff",
        "teff_error",
        "Fe_H",
        "Fe_H_error",
        "radial_velocity",
        "radial_velocity_error",
        "chi2",
        "dof",
        "n_pixels",
        "n_clipped",
        "n_segments",
        "error_floor",
        "correlated_error",
        "error_length",
        "residual_p",
        "error_dof",
        "n_iterations",
        "expected_fall",
        "converged",
        "flags",
        "label_flags",
    ]
    assert table["teff"].unit == table["teff_error"].unit == u.K
    assert table["Fe_H"].unit == table["Fe_H_error"].unit == u.dex
    assert table["radial_velocity"].unit == u.km / u.s
    assert table["radial_velocity_error"].unit == u.km / u.s
    np.testing.assert_allclose(table["teff_error"].value, 20.0)
    np.testing.assert_allclose(table["Fe_H_error"].value, 0.1)
    assert (table["dof"] == 127 - 3).all()
    assert table["converged"].dtype == bool
    assert table["flags"].dtype.kind == "i"


def test_combinations_have_the_errors_of_their_covariance():
    results = good_results()
    results.parameters[:, 1:] = [-0.3, 0.2]
    results.covariance[:, 1:, 1:] = [[0.01, 0.006], [0.006, 0.0064]]
    results.n_labels = 3
    three = Parameters([*LABELS, Parameter("Mg_H", "dex", -2.0, 1.0)], 3)
    wanted = {"Mg_Fe": {"Mg_H": 1, "Fe_H": -1}, "alpha": {"Mg_H": 0.5}}
    table = make_table(results, three, combinations=wanted)
    np.testing.assert_allclose(table["Mg_Fe"].to_value("dex"), 0.5)
    # 0.01 + 0.0064 - 2 * 0.006
    np.testing.assert_allclose(table["Mg_Fe_error"].to_value("dex"), 0.0044**0.5)
    np.testing.assert_allclose(table["alpha_error"].to_value("dex"), 0.04)


@pytest.mark.parametrize(
    ("combinations", "message"),
    [
        ({"x": {"Fe_h": 1}}, r"got 'Fe_h' for 'x'. Did you mean 'Fe_H'\?"),
        ({"x": {"Fe_H": 1, "teff": 1}}, r"parameters of one unit; got .*'K', 'dex'"),
        ({"teff": {"Fe_H": 1}}, "must have names of their own; 'teff'"),
    ],
)
def test_bad_combinations_are_errors(combinations, message):
    with pytest.raises(ValueError, match=message):
        make_table(good_results(), MOVING, combinations=combinations)


@pytest.mark.parametrize("name", ["chi2", "flags", "label_flags", "teff_error"])
def test_label_and_column_of_one_name_are_refused(name):
    label = Parameter(name, "", 0.0, 1.0, flag="LABEL_AT_EDGE")
    parameters = Parameters([LABELS[0], label], 2)
    with pytest.raises(ValueError, match=f"'{name}' is there twice. Rename"):
        make_table(Measurements.empty(3, parameters), parameters)


def test_table_without_velocity_has_no_such_columns():
    table = make_table(good_results(with_velocity=False), AT_REST)
    assert not any("velocity" in name for name in table.colnames)
    assert (table["dof"] == 127 - 2).all()
    assert table["Fe_H"].unit == u.dex


def test_description_of_the_flags_explains_each_bit():
    table = make_table(good_results(), MOVING)
    said = table["flags"].description.split(" | ")
    assert said == [
        f"{bit} {name}: {meaning}" for name, (bit, meaning) in FLAGS.items()
    ]


def test_table_survives_the_way_to_an_ecsv_file_and_back(tmp_path):
    results = good_results()
    _no_data(results)
    results.covariance[2, 0, 0] = np.inf
    flags_of(results)
    table = make_table(results, MOVING)
    table.write(tmp_path / "stars.ecsv")
    back = QTable.read(tmp_path / "stars.ecsv")
    assert back.colnames == table.colnames
    assert back["flags"].description == table["flags"].description
    for name in table.colnames:
        assert back[name].dtype == table[name].dtype
        assert getattr(back[name], "unit", None) == getattr(table[name], "unit", None)
        np.testing.assert_array_equal(
            np.asarray(back[name]), np.asarray(table[name]), err_msg=name
        )
