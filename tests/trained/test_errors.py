"""Tests of the error model, against errors drawn from a known one."""

import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import load, save

from sk_payne.trained import ErrorModel, error_by_quartile

LOW = np.array([4000.0, 4.0, -2.0, -2.0, -2.0])
HIGH = np.array([6000.0, 5.0, 1.0, 1.0, 1.0])


def draw_stars(rng, n):
    return rng.uniform(LOW, HIGH, (n, len(LOW)))


def true_std(labels, n_wavelengths):
    """Errors that grow to cool stars, to both ends of a label, and by a product."""
    scaled = 2 * (labels - LOW) / (HIGH - LOW) - 1
    growth = -0.8 * scaled[:, 0] + 0.6 * scaled[:, 2] ** 2
    growth += 0.5 * scaled[:, 0] * scaled[:, 2]
    return np.exp(growth)[:, None] * np.geomspace(1e-4, 1e-2, n_wavelengths)


def draw_errors(rng, labels, n_wavelengths):
    std = true_std(labels, n_wavelengths)
    return std * rng.normal(size=std.shape)


def fit(labels, residuals):
    return ErrorModel.from_held_out(labels, residuals, LOW, HIGH)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def held_out():
    rng = np.random.default_rng(1)
    labels = draw_stars(rng, 307)
    return labels, draw_errors(rng, labels, 101)


@pytest.fixture(scope="module")
def model(held_out):
    return fit(*held_out)


def test_std_of_new_stars_is_the_one_that_errors_were_drawn_from(model, rng):
    stars = draw_stars(rng, 503)
    ratio = model.std(stars) / true_std(stars, 101)
    assert np.abs(np.log(ratio)).mean() < 0.1
    assert np.median(ratio) == pytest.approx(1, abs=0.03)


def test_scale_follows_the_wavelengths(model):
    slope = np.polyfit(np.log(np.geomspace(1e-4, 1e-2, 101)), np.log(model.scale), 1)
    assert slope[0] == pytest.approx(1, abs=0.02)


def test_coverage_of_new_stars_is_even_over_every_label(model, rng):
    stars = draw_stars(rng, 2003)
    within = np.abs(draw_errors(rng, stars, 101)) <= model.std(stars)
    assert within.mean() == pytest.approx(0.6827, abs=0.02)
    quarter = (4 * (stars - LOW) / (HIGH - LOW)).astype(int)
    for label in range(len(LOW)):
        for number in range(4):
            coverage = within[quarter[:, label] == number].mean()
            assert coverage == pytest.approx(0.6827, abs=0.05)


def test_outliers_do_not_rule_the_scale(held_out, model):
    labels, residuals = held_out
    spoiled = residuals.copy()
    spoiled[5::50] *= 1e4
    ratio = fit(labels, spoiled).scale / model.scale
    assert ratio.max() < 1.5


def test_errors_that_are_the_same_for_all_stars_do_not_grow(rng):
    stars = draw_stars(rng, 211)
    model = fit(stars, 0.01 * rng.normal(size=(211, 307)))
    growth = model.growth(draw_stars(rng, 503))
    assert growth.max() / growth.min() < 1.15


@pytest.mark.parametrize("n", [10, 13, 29])
def test_few_spectra_give_moderate_growth_and_fair_coverage(n, rng):
    coverage = []
    for _ in range(10):
        labels = draw_stars(rng, n)
        model = fit(labels, draw_errors(rng, labels, 101))
        stars = draw_stars(rng, 503)
        growth = model.growth(stars)
        true = true_std(stars, 1)[:, 0]
        assert growth.max() / growth.min() < 2 * true.max() / true.min()
        errors = draw_errors(rng, stars, 101)
        coverage.append(np.mean(np.abs(errors) <= model.std(stars)))
    assert np.mean(coverage) == pytest.approx(0.6827, abs=0.05)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_fewer_than_ten_spectra_give_all_stars_the_same_error(n, rng):
    labels = draw_stars(rng, n)
    model = fit(labels, draw_errors(rng, labels, 13))
    assert (model.growth(draw_stars(rng, 101)) == 1).all()
    assert (model.scale > 0).all()


def test_wavelengths_without_errors_have_none_and_change_no_other(held_out, model, rng):
    labels, residuals = held_out
    wider = np.zeros((len(labels), 151))
    wider[:, 25:126] = residuals
    # a wavelength where few stars are wrong is exact for most
    wider[:7, 0] = 0.1
    stars = draw_stars(rng, 13)
    std = fit(labels, wider).std(stars)
    assert (std[:, :25] == 0).all()
    assert (std[:, 126:] == 0).all()
    np.testing.assert_allclose(std[:, 25:126], model.std(stars), rtol=1e-12)


def test_emulator_without_any_error_has_a_std_of_zero(rng):
    labels = draw_stars(rng, 31)
    assert (fit(labels, np.zeros((31, 7))).std(labels) == 0).all()


def test_star_without_any_error_leaves_the_model_finite(held_out):
    labels, residuals = held_out
    spoiled = residuals.copy()
    spoiled[17] = 0
    std = fit(labels, spoiled).std(labels)
    assert np.isfinite(std).all()
    assert (std > 0).all()


def test_growth_beyond_the_box_is_that_of_its_edge(model):
    edge = np.array([[4000.0, 4.5, 1.0, 0.0, 0.0]])
    beyond = np.array([[3000.0, 4.5, 7.0, 0.0, 0.0]])
    np.testing.assert_array_equal(model.growth(beyond), model.growth(edge))


def test_growth_stays_within_that_of_the_held_out_spectra(model, rng):
    corners = LOW + (HIGH - LOW) * rng.integers(0, 2, (503, len(LOW)))
    low, high = np.exp(model.log_growth_range)
    growth = model.growth(corners)
    assert low <= growth.min() < growth.max() <= high


def test_label_that_does_not_vary_is_ignored(held_out, rng):
    labels, residuals = held_out
    constant = np.concatenate([labels, np.full((len(labels), 1), 4.4)], axis=1)
    low, high = np.append(LOW, 4.4), np.append(HIGH, 4.4)
    stars = draw_stars(rng, 13)
    wider = np.concatenate([stars, np.full((13, 1), 4.4)], axis=1)
    std = ErrorModel.from_held_out(constant, residuals, low, high).std(wider)
    np.testing.assert_allclose(std, fit(labels, residuals).std(stars), rtol=1e-6)


def test_std_is_float64_but_float32_for_float32_labels(model, rng):
    stars = draw_stars(rng, 13)
    double, single = model.std(stars), model.std(stars.astype(np.float32))
    assert double.dtype == np.float64
    assert single.dtype == np.float32
    assert double.shape == (13, 101)
    np.testing.assert_allclose(single, double, rtol=1e-4)


def test_float32_residuals_give_the_same_model(held_out, model, rng):
    stars = draw_stars(rng, 13)
    single = fit(held_out[0], held_out[1].astype(np.float32))
    np.testing.assert_allclose(single.std(stars), model.std(stars), rtol=1e-4)


def test_unit_of_the_flux_is_that_of_the_std(held_out, model, rng):
    stars = draw_stars(rng, 13)
    tiny = fit(held_out[0], 1e-12 * held_out[1])
    np.testing.assert_allclose(tiny.std(stars), 1e-12 * model.std(stars), rtol=1e-9)


def test_arrays_of_a_model_survive_a_file(model, rng):
    again = ErrorModel(**load(save(dict(vars(model)))))
    stars = draw_stars(rng, 13)
    np.testing.assert_array_equal(again.std(stars), model.std(stars))


def test_fitting_twice_gives_the_same_and_leaves_the_residuals_alone(held_out, model):
    kept = [array.copy() for array in held_out]
    np.testing.assert_array_equal(fit(*held_out).scale, model.scale)
    for now, before in zip(held_out, kept, strict=True):
        np.testing.assert_array_equal(now, before)


def test_many_residuals_are_never_copied_as_a_whole(monkeypatch, rng):
    monkeypatch.setattr("sk_payne.trained._blocks._FLUX_BLOCK", 2**16)
    monkeypatch.setattr("sk_payne.trained._errors._MAX_WAVELENGTHS", 20)
    monkeypatch.setattr("sk_payne.trained._errors._MAX_SPECTRA", 200)
    labels = draw_stars(rng, 1009)
    residuals = draw_errors(rng, labels, 2003)
    tracemalloc.start()
    try:
        model = fit(labels, residuals)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < residuals.nbytes / 2
    # and yet every wavelength is seen
    ratio = model.scale / np.geomspace(1e-4, 1e-2, 2003)
    assert ratio.std() / ratio.mean() < 0.1


@pytest.mark.parametrize(
    ("labels", "residuals", "message"),
    [
        (np.zeros((3, 4)), np.zeros((3, 7)), "do not agree"),
        (np.zeros((3, 5)), np.zeros((2, 7)), "do not agree"),
        (np.zeros((3, 5)), np.zeros(3), "do not agree"),
        (np.zeros((0, 5)), np.zeros((0, 7)), "empty"),
        (np.full((3, 5), np.nan), np.zeros((3, 7)), "`labels` must be finite"),
        (np.zeros((3, 5)), np.full((3, 7), np.inf), "`residuals` must be finite"),
    ],
)
def test_from_held_out_rejects_what_does_not_fit(labels, residuals, message):
    with pytest.raises(ValueError, match=message):
        fit(labels, residuals)


@pytest.mark.parametrize("shape", [(5,), (3, 4)])
def test_std_rejects_another_number_of_labels(model, shape):
    with pytest.raises(ValueError, match=r"\(n_spectra, 5\)"):
        model.std(np.zeros(shape))


# quarters of labels


def test_error_by_quartile_is_the_mean_over_the_stars_of_each_quarter(held_out):
    pandas = pytest.importorskip("pandas")
    # so many that no star is on an edge
    labels, residuals = (array[:300] for array in held_out)
    edges, mae = error_by_quartile(labels, residuals)
    error = np.abs(residuals).mean(axis=1)
    for column, of_label, found in zip(labels.T, edges, mae, strict=True):
        quarter, expected_edges = pandas.qcut(column, 4, labels=False, retbins=True)
        np.testing.assert_allclose(of_label, expected_edges, rtol=1e-12)
        expected = pandas.Series(error).groupby(quarter).mean()
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_quarters_of_a_label_with_two_values_may_be_empty():
    edges, mae = error_by_quartile(
        [[0.0], [0], [1], [1]], np.array([[1.0], [1], [2], [4]])
    )
    assert edges.tolist() == [[0, 0, 0.5, 1, 1]]
    np.testing.assert_array_equal(mae, [[np.nan, 1, np.nan, 3]])
