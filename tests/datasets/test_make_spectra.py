"""Analytic spectra behave like spectra: lines, growth, widths, noise.

It is here because other tests and the tutorials trust them to.
"""

import numpy as np
import pytest

from sk_payne.datasets import make_spectra
from sk_payne.datasets._make_spectra import _equivalent_width, _flux, _line_list

WAVELENGTH = np.geomspace(4500, 4520, 257)


def flux_of(**labels):
    """Flux of one star with chosen labels."""
    names = [name for name in labels if name.endswith("_H")]
    columns = {name: np.array([[value]]) for name, value in labels.items()}
    lines = _line_list(4498, 4522, names)
    return _flux(columns, WAVELENGTH, lines, 20000)[0]


def test_shapes_follow_the_arguments():
    stars = make_spectra(11, n_wavelengths=53, label_names=("teff", "Ti_H"))
    assert stars.data.shape == (11, 2)
    assert stars.target.shape == (11, 53)
    assert stars.wavelength.shape == (53,)
    assert stars.uncertainty is None
    assert stars.medium == "air"


def test_flux_is_above_zero_and_at_most_one():
    stars = make_spectra(199, random_state=0)
    assert stars.target.min() > 0
    assert stars.target.max() <= 1


def test_lines_are_neither_absent_nor_black():
    deepest = make_spectra(199, random_state=0).target.min(axis=1)
    assert np.median(deepest) < 0.8
    assert deepest.min() > 0.05


def test_labels_fill_their_ranges():
    data = make_spectra(997, random_state=0).data
    # The extreme of 997 uniform draws is within 1 % of the end with p = 1 - 5e-5.
    ends = np.array([[4000, 4, -2, -2, -2], [6000, 5, 1, 1, 1]])
    lowest, highest = (data - ends[0]).min(axis=0), (ends[1] - data).min(axis=0)
    assert (lowest >= 0).all()
    assert (highest >= 0).all()
    assert (np.maximum(lowest, highest) < 0.01 * (ends[1] - ends[0])).all()


def test_wavelength_has_equal_steps_of_its_logarithm():
    wavelength = make_spectra(2, wavelength_range=(5100, 5130)).wavelength
    np.testing.assert_allclose(wavelength[[0, -1]], [5100, 5130])
    steps = np.diff(np.log(wavelength))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)


def test_same_random_state_gives_the_same_spectra():
    first, second = (make_spectra(7, snr=50, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first.data, second.data)
    np.testing.assert_array_equal(first.target, second.target)


def test_line_list_does_not_depend_on_random_state():
    first, second = (make_spectra(7, random_state=seed).lines for seed in (0, 1))
    np.testing.assert_array_equal(first, second)


def test_lines_of_an_element_do_not_depend_on_the_other_elements():
    alone = make_spectra(2, label_names=("Fe_H",)).lines
    among = make_spectra(2, label_names=("Ca_H", "Fe_H")).lines
    np.testing.assert_array_equal(among[among["element"] == "Fe"], alone)


def test_flux_does_not_depend_on_where_the_window_ends():
    wide = make_spectra(5, wavelength_range=(4490, 4530), random_state=0)
    middle = np.flatnonzero((wide.wavelength > 4500) & (wide.wavelength < 4520))
    narrow = make_spectra(
        5,
        n_wavelengths=len(middle),
        wavelength_range=tuple(wide.wavelength[middle[[0, -1]]]),
        random_state=0,
    )
    # Both grids round the same wavelengths, to 1e-12 Å.
    np.testing.assert_allclose(narrow.target, wide.target[:, middle], atol=1e-9)


@pytest.mark.parametrize("name", ["teff", "logg", "Fe_H", "Mg_H", "Ca_H"])
def test_flux_is_smooth_in(name):
    star = {"teff": 4700.0, "logg": 4.3, "Fe_H": 0.1, "Mg_H": -0.4, "Ca_H": 0.3}
    step = 0.2 if name == "teff" else 2e-4

    def slope(h):
        high, low = ({**star, name: star[name] + sign * h} for sign in (1, -1))
        return (flux_of(**high) - flux_of(**low)) / (2 * h)

    assert abs(slope(step)).max() > 1e-6
    # Central differences of a smooth function differ by O(h**2).
    np.testing.assert_allclose(slope(2 * step), slope(step), rtol=1e-3, atol=1e-6)


def test_an_abundance_changes_flux_near_lines_of_its_element_only():
    change = abs(flux_of(Fe_H=0.5, Ca_H=0.0) - flux_of(Fe_H=0.0, Ca_H=0.0))
    iron = _line_list(4498, 4522, ["Fe_H"])["wavelength"]
    distance = abs(WAVELENGTH[:, None] - iron).min(axis=1)
    assert change[distance < 0.05].min() > 1e-3
    assert change[distance > 0.6].max() < 2e-3


def test_growth_is_linear_then_flat_then_a_square_root():
    eta = 10.0 ** np.array([-4, -3, 1, 2, 6, 7])
    growth = np.diff(np.log10(_equivalent_width(eta, 1.0)))[::2]
    np.testing.assert_allclose(growth, [1, 0.4, 0.5], atol=0.1)


def test_lines_of_low_excitation_fade_in_hot_stars():
    lines = _line_list(4498, 4522, ["Fe_H"])
    # Weak lines, which saturation does not hide.
    ratio = np.log(flux_of(teff=5800.0, Fe_H=-2.0) / flux_of(teff=4200.0, Fe_H=-2.0))
    at_lines = np.interp(lines["wavelength"], WAVELENGTH, ratio)
    inside = (lines["wavelength"] > 4500) & (lines["wavelength"] < 4520)
    low, high = lines["excitation"] < 2, lines["excitation"] > 4
    assert at_lines[low & inside].min() > 0
    assert at_lines[high & inside].max() < 0


def test_gravity_deepens_the_wings():
    change = flux_of(logg=5.0, Fe_H=0.5) - flux_of(logg=4.0, Fe_H=0.5)
    iron = _line_list(4498, 4522, ["Fe_H"])["wavelength"]
    distance = abs(WAVELENGTH[:, None] - iron).min(axis=1)
    assert change[distance > 0.3].max() < 0


def test_lower_resolving_power_makes_shallower_lines():
    deepest = [
        make_spectra(5, resolving_power=R, random_state=0).target.min()
        for R in (5000, 20000, 80000)
    ]
    assert deepest[0] > deepest[1] > deepest[2]


def test_noise_has_the_stated_uncertainty():
    clean = make_spectra(101, random_state=0)
    noisy = make_spectra(101, snr=50, random_state=0)
    np.testing.assert_array_equal(noisy.data, clean.data)
    np.testing.assert_array_equal(noisy.uncertainty, np.full((101, 257), 0.02))
    # 25957 draws know their standard deviation to 0.4 %.
    scatter = np.std((noisy.target - clean.target) / noisy.uncertainty)
    assert scatter == pytest.approx(1, abs=0.02)


def test_return_X_y_gives_stellar_parameters_and_flux():
    stars = make_spectra(3, random_state=0)
    P, F = make_spectra(3, random_state=0, return_X_y=True)
    np.testing.assert_array_equal(P, stars.data)
    np.testing.assert_array_equal(F, stars.target)


def test_description_says_that_these_are_toys():
    assert "toys" in make_spectra(2).DESCR
    assert "not physics" in make_spectra(2).DESCR


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_spectra": 0}, "`n_spectra` must be an integer of at least 1; got 0"),
        ({"n_spectra": 2.0}, "`n_spectra` must be an integer of at least 1; got 2.0"),
        ({"n_spectra": True}, "`n_spectra` must be an integer"),
        ({"n_wavelengths": 1}, "`n_wavelengths` must be an integer of at least 2"),
        ({"resolving_power": 0}, "`resolving_power` must be a positive"),
        ({"snr": -3}, "`snr` must be a positive.*got -3. Pass None"),
        ({"snr": "high"}, "`snr` must be a positive.*got 'high'"),
        ({"wavelength_range": (4520, 4500)}, r"`wavelength_range`.*\(4520, 4500\)"),
        ({"wavelength_range": 4500}, "`wavelength_range` must be two increasing"),
        ({"wavelength_range": (0, 1, 2)}, "`wavelength_range` must be two increasing"),
        ({"label_names": "Fe_H"}, r"`label_names`.*Pass \('Fe_H',\) instead"),
        ({"label_names": ("teff", "Xx_H")}, r"`label_names`.*got \['Xx_H'\]"),
        ({"label_names": ("Fe_H", "Fe_H")}, "`label_names` must not repeat"),
        ({"label_names": ("teff", "logg")}, "`label_names`.*at least one abundance"),
    ],
)
def test_wrong_arguments_are_named_with_their_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_spectra(**arguments)
