"""Tests of the figure of calibration, on the numbers that its artists hold."""

import numpy as np
import pytest
import scipy.stats
from sklearn.utils import Bunch

from sk_payne import AbundanceRegressor, Observation
from sk_payne.inspection import CalibrationDisplay
from sk_payne.recovery import mock_recovery, rank_table

N_STARS = 103


@pytest.fixture
def recovery():
    """Levels of right errors, but for those of Mg, which are too small, at S/N 100."""
    rng = np.random.default_rng(0)
    pull = rng.standard_normal((2, N_STARS, 3))
    pull[1, :, 2] *= 2
    return Bunch(
        snr=np.array([50.0, 100.0]),
        label_names=["teff", "Fe_H", "Mg_H"],
        rank=scipy.stats.norm.sf(pull),
        sample_rank=rng.uniform(size=pull.shape),
        joint=scipy.stats.chi2.cdf((pull**2).sum(axis=2), 3),
        tarp=rng.uniform(size=(2, N_STARS)),
    )


def line(panel, label):
    (found,) = [line for line in panel.lines if line.get_label() == label]
    return found.get_xdata(), found.get_ydata()


def test_first_panel_has_the_coverage_of_each_label_and_its_band(recovery, pyplot):
    panel = CalibrationDisplay.from_recovery(recovery).plot().ax_[0]
    table = rank_table(recovery)
    rows = table[table["snr"] == 100]
    for name in ("68", "95"):
        part, y = line(panel, f"{name} % intervals")
        np.testing.assert_allclose(part, 100 * rows[f"coverage_{name}"])
        np.testing.assert_array_equal(y, [0, 1, 2])
    assert [t.get_text() for t in panel.get_yticklabels()] == recovery.label_names
    bar = panel.containers[0][0]
    ends = scipy.stats.binom.interval(0.95, N_STARS, 0.6827)
    np.testing.assert_allclose(bar.get_x(), 100 * ends[0] / N_STARS)
    np.testing.assert_allclose(bar.get_x() + bar.get_width(), 100 * ends[1] / N_STARS)


def test_curves_of_levels_are_cumulative_distributions(recovery, pyplot):
    display = CalibrationDisplay.from_recovery(recovery).plot()
    for panel, levels in (
        (display.ax_[1], recovery.joint),
        (display.ax_[3], recovery.tarp),
    ):
        for snr, level in zip((50, 100), levels, strict=True):
            x, part = line(panel, f"S/N {snr}")
            expected = scipy.stats.ecdf(level).cdf.evaluate(x[1:-1])
            np.testing.assert_allclose(part[1:-1], expected)


def test_band_is_that_of_kolmogorov_and_smirnov(recovery, pyplot):
    panel = CalibrationDisplay.from_recovery(recovery).plot().ax_[2]
    outline = panel.collections[0].get_paths()[0].vertices
    half = scipy.stats.kstwo.ppf(0.95, N_STARS)
    assert outline[:, 1].max() == pytest.approx(half, rel=0.01)


def test_label_whose_ranks_leave_the_band_is_named(recovery, pyplot):
    panel = CalibrationDisplay.from_recovery(recovery).plot().ax_[2]
    named = [text.get_text() for text in panel.get_legend().get_texts()]
    assert named == ["Mg_H"]
    x, distance = line(panel, "Mg_H")
    found = scipy.stats.kstest(recovery.rank[1, :, 2], "uniform")
    assert np.abs(distance).max() == pytest.approx(found.statistic)
    # errors too small: first above zero, then below
    assert x[distance.argmax()] < 0.5 < x[distance.argmin()]


def test_no_label_is_named_if_all_are_right(recovery, pyplot):
    panel = CalibrationDisplay.from_recovery(recovery).plot(snr=50).ax_[2]
    assert panel.get_legend() is None
    assert panel.get_title(loc="left").endswith("S/N 50")


def test_ranks_of_samples_and_chosen_labels_are_drawn(recovery, pyplot):
    display = CalibrationDisplay.from_recovery(recovery, of="samples")
    panel = display.plot(labels=["Mg_H", "teff"]).ax_[0]
    table = rank_table(recovery, of="samples")
    rows = table[table["snr"] == 100]
    np.testing.assert_allclose(
        line(panel, "68 % intervals")[0], 100 * rows["coverage_68"][[2, 0]]
    )


def test_stars_without_data_are_left_out(recovery, pyplot):
    for name in ("rank", "joint", "tarp"):
        recovery[name][:, :40] = np.nan
    display = CalibrationDisplay.from_recovery(recovery).plot()
    x, part = line(display.ax_[1], "S/N 50")
    assert len(x) == N_STARS - 40 + 2
    assert part[-1] == 1
    assert np.isfinite(x).all()


def test_axes_of_the_caller_are_used(recovery, pyplot):
    figure, ax = pyplot.subplots(2, 2)
    display = CalibrationDisplay.from_recovery(recovery).plot(ax)
    assert display.figure_ is figure
    assert display.ax_[3] is ax[1, 1]


def test_of_an_estimator_is_its_mock_recovery(fitted, tiny_grid, pyplot):
    regressor = AbundanceRegressor(fitted["payne"], Observation(velocity_range=None))
    options = {"snr": (20, 50), "random_state": 0}
    labels = tiny_grid.data[:5]
    display = CalibrationDisplay.from_estimator(regressor, labels, **options)
    expected = mock_recovery(regressor, labels, **options)
    np.testing.assert_array_equal(display.rank, expected.rank)
    np.testing.assert_array_equal(display.tarp, expected.tarp)
    assert display.plot().ax_.shape == (4,)


def test_figure_is_narrow(recovery, pyplot):
    recovery.label_names = [f"label_{i}" for i in range(30)]
    recovery.rank = np.tile(recovery.rank, 10)
    figure = CalibrationDisplay.from_recovery(recovery).plot().figure_
    assert figure.get_figwidth() < 5


def test_unknown_names_are_errors(recovery, pyplot):
    display = CalibrationDisplay.from_recovery(recovery)
    with pytest.raises(ValueError, match=r"got 'Fe_h'\. Did you mean 'Fe_H'"):
        display.plot(labels=["Fe_h"])
    with pytest.raises(ValueError, match=r"`snr` must be one of \[50.0, .* got 70"):
        display.plot(snr=70)
    recovery.sample_rank = None
    with pytest.raises(ValueError, match="for a recovery without samples"):
        CalibrationDisplay.from_recovery(recovery, of="samples")
