"""Tests of the figure of a mock recovery, on the numbers that its artists hold."""

import numpy as np
import pytest
from sklearn.utils import Bunch

from sk_payne import AbundanceRegressor, Observation
from sk_payne.inspection import MockRecoveryDisplay
from sk_payne.recovery import mock_recovery, recovery_table

N_STARS = 103


@pytest.fixture
def recovery():
    """Stars with right errors, but for those of Mg, which are half of what they are."""
    rng = np.random.default_rng(0)
    true = np.array([5000.0, 0.0, 0.0]) + rng.uniform(-1, 1, (N_STARS, 3)) * [500, 1, 1]
    error = np.ones((3, N_STARS, 3)) * [20.0, 0.05, 0.1]
    error /= np.array([1.0, 2.0, 6.0])[:, None, None]
    noise = error * rng.standard_normal((N_STARS, 3)) * [1, 1, 2]
    return Bunch(
        snr=np.array([50.0, 100.0, 300.0]),
        label_names=["teff", "Fe_H", "Mg_H"],
        label_units=["K", "dex", "dex"],
        true=true,
        measured=true + noise,
        error=error,
        flags=np.zeros((3, N_STARS), dtype=int),
    )


def bars(panel, label):
    """Give x, y and the half lengths of the error bars of that name."""
    (found,) = [c for c in panel.containers if c.get_label() == label]
    ends = np.array(found[2][0].get_segments())
    return ends[:, 0, 0], ends[:, :, 1].mean(axis=1), np.diff(ends[:, :, 1])[:, 0] / 2


def line(panel, label):
    (found,) = [line for line in panel.lines if line.get_label() == label]
    return found.get_xdata(), found.get_ydata()


def rows_of(recovery, name, **options):
    table = recovery_table(recovery, **options)
    return table[table["label"] == name]


def test_first_panel_has_bias_scatter_and_error(recovery, pyplot):
    display = MockRecoveryDisplay(recovery).plot()
    assert display.ax_.shape == (3, 3)
    rows = rows_of(recovery, "Fe_H")
    panel = display.ax_[0, 1]
    x, bias, scatter = bars(panel, "scatter")
    np.testing.assert_array_equal(x, recovery.snr)
    np.testing.assert_allclose(bias, rows["bias"])
    np.testing.assert_allclose(scatter, rows["scatter"])
    np.testing.assert_allclose(bars(panel, "bias")[2], rows["bias_error"])
    np.testing.assert_array_equal(line(panel, "error claimed")[1], rows["error"])
    assert panel.get_title() == "Fe_H [dex]"
    low, high = panel.get_ylim()
    assert low == -high
    assert (np.abs(rows["bias"]) + rows["scatter"]).max() < high


def test_second_panel_has_the_widths_of_pulls(recovery, pyplot):
    panels = MockRecoveryDisplay(recovery).plot().ax_[1]
    rows = rows_of(recovery, "Mg_H")
    x, y, error = bars(panels[2], "pulls: standard deviation")
    np.testing.assert_array_equal(x, recovery.snr)
    np.testing.assert_allclose(y, rows["pull_std"])
    np.testing.assert_allclose(error, 1 / np.sqrt(2 * N_STARS))
    np.testing.assert_allclose(
        bars(panels[2], "pulls: robust spread")[1], rows["pull_spread"]
    )
    for panel in panels:
        assert panel.get_ylim() == panels[0].get_ylim()
        assert panel.get_ylim()[1] > rows["pull_std"].max() > 1.7


def test_third_panel_has_the_coverage_in_percent(recovery, pyplot):
    panel = MockRecoveryDisplay(recovery).plot().ax_[2, 2]
    rows = rows_of(recovery, "Mg_H")
    _, y, error = bars(panel, "within 1 error")
    np.testing.assert_allclose(y, 100 * rows["coverage_68"])
    np.testing.assert_allclose(error, 100 * rows["coverage_68_error"])
    _, y, _ = bars(panel, "within 2 errors")
    np.testing.assert_allclose(y, 100 * rows["coverage_95"])
    assert (y < 85).all()


def test_signal_to_noise_ratios_are_the_ticks_in_any_order(recovery, pyplot):
    order = [2, 0, 1]
    for name in ("snr", "measured", "error", "flags"):
        recovery[name] = recovery[name][order]
    display = MockRecoveryDisplay(recovery).plot()
    panel = display.ax_[2, 0]
    np.testing.assert_array_equal(bars(panel, "within 1 error")[0], [50, 100, 300])
    assert [t.get_text() for t in panel.get_xticklabels()] == ["50", "100", "300"]


def test_chosen_labels_are_drawn_in_that_order(recovery, pyplot):
    display = MockRecoveryDisplay(recovery).plot(labels=["Mg_H", "teff"])
    titles = [panel.get_title() for panel in display.ax_[0]]
    assert titles == ["Mg_H [dex]", "teff [K]"]


def test_axes_of_the_caller_are_used(recovery, pyplot):
    figure, ax = pyplot.subplots(3, 2)
    display = MockRecoveryDisplay(recovery).plot(ax, labels=["Mg_H", "teff"])
    assert display.figure_ is figure
    assert display.ax_[2, 1] is ax[2, 1]
    assert not figure.legends


def test_many_labels_go_in_blocks(recovery, pyplot):
    for name in ("true", "measured", "error"):
        recovery[name] = np.tile(recovery[name], 3)
    recovery.label_names = [f"label_{i}" for i in range(9)]
    recovery.label_units = [""] * 9
    display = MockRecoveryDisplay(recovery).plot()
    assert display.ax_.shape == (3, 9)
    assert [panel.get_title() for panel in display.ax_[0]] == recovery.label_names
    assert len(display.figure_.axes) == 27
    (legend,) = display.figure_.legends
    assert "error claimed" in [text.get_text() for text in legend.get_texts()]


def test_against_a_label_are_bins_of_it(recovery, pyplot):
    display = MockRecoveryDisplay(recovery).plot_against("Fe_H", snr=100, n_bins=4)
    rows = rows_of(recovery, "teff", by="Fe_H", n_bins=4)
    rows = rows[rows["snr"] == 100]
    x, y, scatter = bars(display.ax_[0, 0], "scatter")
    np.testing.assert_allclose(x, rows["by_median"])
    np.testing.assert_allclose(y, rows["bias"])
    np.testing.assert_allclose(scatter, rows["scatter"])
    assert display.figure_.get_supxlabel() == "Fe_H [dex], at S/N 100"


def test_against_a_label_is_at_the_largest_snr_unless_said(recovery, pyplot):
    display = MockRecoveryDisplay(recovery).plot_against("Fe_H")
    assert display.figure_.get_supxlabel().endswith("at S/N 300")


def test_against_self_is_against_each_label(recovery, pyplot):
    display = MockRecoveryDisplay(recovery).plot_against("self")
    for panel, true in zip(display.ax_[2], recovery.true.T, strict=True):
        x, _, _ = bars(panel, "within 1 error")
        assert true.min() < x.min() < x.max() < true.max()


def test_of_a_regressor_is_its_mock_recovery(fitted, tiny_grid, pyplot):
    regressor = AbundanceRegressor(fitted["payne"], Observation(velocity_range=None))
    options = {"snr": (20, 50), "random_state": 0}
    labels = tiny_grid.data[:5]
    display = MockRecoveryDisplay.from_regressor(regressor, labels, **options)
    expected = mock_recovery(regressor, labels, **options)
    np.testing.assert_array_equal(display.recovery.measured, expected.measured)
    assert display.plot().ax_.shape == (3, 5)


def test_unknown_names_are_errors(recovery, pyplot):
    display = MockRecoveryDisplay(recovery)
    with pytest.raises(ValueError, match=r"got 'Fe_h'\. Did you mean 'Fe_H'"):
        display.plot(labels=["Fe_h"])
    with pytest.raises(ValueError, match=r"`by` must be .* got 'Fe_h'"):
        display.plot_against("Fe_h")
    with pytest.raises(ValueError, match=r"`snr` must be one of \[50.0, .* got 70"):
        display.plot_against("Fe_H", snr=70)
