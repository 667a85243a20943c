"""Figures and windows of grids with gaps: nothing is drawn or claimed across them."""

import matplotlib
import numpy as np
import pytest

from sk_payne.exceptions import WavelengthMismatchError
from sk_payne.inspection import (
    AttentionDisplay,
    BestWindowsDisplay,
    EmulationErrorDisplay,
    EmulationQualityDisplay,
    SensitivityDisplay,
    SpectrumFitDisplay,
    attention_maps,
    best_windows,
    cramer_rao,
)

matplotlib.use("Agg")
ARMS = np.r_[0:25, 38:61]


@pytest.fixture(scope="module")
def make_arms(make_tiny, tiny_grid):
    """Give a function that fits a tiny emulator to two arms."""

    def make(arch="payne", **changes):
        emulator = make_tiny(arch, wavelength=tiny_grid.wavelength[ARMS], **changes)
        return emulator.fit(tiny_grid.data, tiny_grid.target[:, ARMS])

    return make


@pytest.fixture(scope="module")
def arms(make_arms):
    return make_arms()


def crosses(line, low, high):
    """Whether a line is drawn from one side of a gap to the other."""
    x, y = line.get_xdata(), line.get_ydata()
    known = np.isfinite(x) & np.isfinite(y)
    both = known[1:] & known[:-1]
    return bool((both & (x[:-1] <= low) & (x[1:] >= high)).any())


def test_no_line_crosses_a_gap(arms, tiny_grid):
    P, F = tiny_grid.data[:20], tiny_grid.target[:20, ARMS]
    gap = tiny_grid.wavelength[[24, 38]]
    star = SpectrumFitDisplay(
        wavelength=tiny_grid.wavelength[ARMS],
        flux=F[0],
        error=np.full(48, 0.01),
        model=F[1],
    )
    quality = EmulationQualityDisplay.from_estimator(arms, P, F)
    displays = [
        EmulationErrorDisplay.from_estimator(arms, P, F),
        SensitivityDisplay.from_estimator(arms, P).plot(),
        star.plot(),
        quality.plot(),
    ]
    for display in displays:
        for panel in display.ax_:
            # those of axhline are in units of the axes
            lines = [line for line in panel.lines if len(line.get_xdata()) > 2]
            assert not any(crosses(line, *gap) for line in lines)
            assert lines
            for area in panel.collections:
                for path in area.get_paths():
                    x = path.vertices[:, 0]
                    assert not ((x < gap[0]).any() and (x > gap[1]).any())
    for panel in quality.plot_worst().ax_:
        lines = [line for line in panel.lines if len(line.get_xdata()) > 2]
        assert not any(crosses(line, *gap) for line in lines)


def test_lines_of_pixels_without_wavelengths_are_whole(make_tiny, tiny_grid):
    emulator = make_tiny(wavelength=None, medium=None)
    emulator.fit(tiny_grid.data, tiny_grid.target)

    display = EmulationErrorDisplay.from_estimator(
        emulator, tiny_grid.data, tiny_grid.target
    )

    assert np.isfinite(display.ax_[0].lines[0].get_xdata()).all()


def test_windows_lie_within_segments(arms, tiny_grid):
    width = 3.5 * np.diff(tiny_grid.wavelength[:2])[0]
    found = best_windows(arms, tiny_grid.data[:3], "Fe_H", width=width)

    low, high = tiny_grid.wavelength[[24, 38]]
    slack = 1e-6
    before = found.windows[:, 1] <= low + slack
    behind = found.windows[:, 0] >= high - slack
    assert (before | behind).all()
    assert before.any()
    assert behind.any()
    display = BestWindowsDisplay(found).plot()
    assert not any(
        crosses(line, display.center[before].max(), display.center[behind].min())
        for line in display.ax_.lines[:2]
    )


def test_window_wider_than_a_segment_is_refused(arms, tiny_grid):
    grid = tiny_grid.wavelength
    with pytest.raises(ValueError, match="covers without a gap"):
        best_windows(arms, tiny_grid.data[:3], "Fe_H", width=grid[30] - grid[0])


def test_window_in_a_gap_is_refused_with_the_segments(arms, tiny_grid):
    grid = tiny_grid.wavelength
    with pytest.raises(ValueError, match=rf"{grid[0]:.2f}-{grid[24]:.2f}, .* Å"):
        cramer_rao(arms, tiny_grid.data[:1], 100, (grid[27], grid[30]))


def test_attention_is_not_drawn_in_gaps(make_arms, tiny_grid):
    transformer = make_arms("transformer")
    grid = tiny_grid.wavelength
    with pytest.raises(WavelengthMismatchError, match="the segments of the emulator"):
        attention_maps(transformer, tiny_grid.data[:1], [grid[3], grid[30]])

    display = AttentionDisplay(attention_maps(transformer, tiny_grid.data[:2]))
    lines = {"Fe": grid[[3, 30]]}
    display.plot(0, 0, lines=lines)

    assert len(display.lines_[0].get_segments()) == 1
    display.figure_.canvas.draw()
    shown = ~np.ma.getmaskarray(display.images_[0].get_array())
    np.testing.assert_array_equal(np.flatnonzero(~shown.all(axis=0)), [25, 26])
