"""Tests of the quality of an emulator, its report, and the curve of its training."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.table import QTable

import sk_payne
from sk_payne.inspection import (
    EmulationQualityDisplay,
    TrainingCurveDisplay,
    emulation_quality,
    emulator_report,
)

LINES = {"Fe": [4501.0, 4507.5, 4999.0], "Mg": [4512.0], "U": [6000.0]}


@pytest.fixture
def quality(fitted, tiny_grid):
    return emulation_quality(
        fitted["payne"], tiny_grid.data, tiny_grid.target, LINES, half_width=0.4
    )


@pytest.fixture
def residual(fitted, tiny_grid):
    return fitted["payne"].predict(tiny_grid.data) - tiny_grid.target


# Quality -------------------------------------------------------------------------


def test_errors_against_wavelength_are_those_of_predict(quality, residual):
    error = np.abs(residual)
    np.testing.assert_allclose(quality.median_error, np.median(error, axis=0))
    np.testing.assert_allclose(quality.error_95, np.quantile(error, 0.95, axis=0))
    np.testing.assert_allclose(quality.worst_error, error.max(axis=0))
    np.testing.assert_allclose(quality.bias, residual.mean(axis=0), atol=1e-12)
    below = (error <= quality.error_68).mean(axis=0)
    np.testing.assert_allclose(below, 0.68, atol=0.02)
    assert quality.mae == pytest.approx(error.mean())
    assert quality.rms == pytest.approx(np.sqrt(np.mean(residual**2)))


def test_worst_spectra_have_the_largest_errors(quality, residual, tiny_grid):
    mae = np.abs(residual).mean(axis=1)
    np.testing.assert_array_equal(quality.worst, np.argsort(mae)[::-1][:5])
    np.testing.assert_array_equal(quality.worst_flux, tiny_grid.target[quality.worst])
    difference = quality.worst_predicted - quality.worst_flux
    np.testing.assert_allclose(difference, residual[quality.worst])
    assert (quality.domain == "inside").all()


def test_bins_of_labels_hold_equally_many_spectra(quality, residual, tiny_grid):
    mae = np.abs(residual).mean(axis=1)
    assert quality.label_mae.shape == (5, 6)
    for x, edges, found, middle in zip(
        tiny_grid.data.T,
        quality.label_edges,
        quality.label_mae,
        quality.label_median,
        strict=True,
    ):
        first = (x >= edges[0]) & (x < edges[1])
        assert 16 <= first.sum() <= 17
        assert found[0] == pytest.approx(mae[first].mean())
        assert middle[0] == pytest.approx(np.median(mae[first]))
        last = x >= edges[-2]
        assert found[-1] == pytest.approx(mae[last].mean())


def test_distance_to_the_edge_is_one_in_the_middle_and_zero_at_a_face(
    fitted, tiny_grid
):
    emulator = fitted["payne"]
    low, high = emulator.label_low_, emulator.label_high_
    middle = (low + high) / 2
    at_face, halfway = middle.copy(), middle.copy()
    at_face[1] = high[1]
    halfway[3] -= (high - low)[3] / 4
    quality = emulation_quality(
        emulator, [middle, at_face, halfway], tiny_grid.target[:3], n_bins=2
    )
    np.testing.assert_allclose(quality.edge_distance, [1, 0, 0.5], atol=1e-12)


@pytest.mark.parametrize("kind", ["DataFrame", "QTable"])
def test_columns_of_a_table_go_by_name_and_unit(quality, fitted, tiny_grid, kind):
    columns = dict(zip(tiny_grid.label_names, tiny_grid.data.T, strict=True))
    table = pd.DataFrame(columns)[tiny_grid.label_names[::-1]]
    if kind == "QTable":
        table = QTable.from_pandas(table)
        table["teff"] = (table["teff"] * u.K).to(u.kK)
    found = emulation_quality(fitted["payne"], table, tiny_grid.target)
    np.testing.assert_allclose(found.label_edges, quality.label_edges)
    np.testing.assert_allclose(found.label_mae, quality.label_mae, atol=1e-6)


def test_report_of_a_table_is_that_of_the_array(fitted, tiny_grid, tmp_path, pyplot):
    frame = pd.DataFrame(tiny_grid.data[:31], columns=tiny_grid.label_names)
    pages = [
        emulator_report(fitted["payne"], P, tiny_grid.target[:31], tmp_path / name)
        for P, name in [(frame.to_numpy(), "a.html"), (frame.iloc[:, ::-1], "b.html")]
    ]
    tables = [re.findall(r"<td.*?</td>", p.read_text(encoding="utf-8")) for p in pages]
    assert tables[0]
    assert tables[0] == tables[1]


def test_lines_count_the_pixels_around_them(quality, residual, tiny_grid):
    assert quality.line_element.tolist() == ["Fe", "Fe", "Mg"]
    np.testing.assert_array_equal(quality.line_wavelength, [4501.0, 4507.5, 4512.0])
    near = [np.abs(tiny_grid.wavelength - w) <= 0.4 for w in (4501.0, 4507.5)]
    for i, pixels in enumerate(near):
        error = residual[:, pixels]
        assert quality.line_mae[i] == pytest.approx(np.abs(error).mean())
        assert quality.line_bias[i] == pytest.approx(error.mean(), abs=1e-12)
        depth = 1 - tiny_grid.target[:, pixels].min(axis=1).mean()
        assert quality.line_depth[i] == pytest.approx(depth)
    assert quality.element_names == ["Fe", "Mg"]
    iron = np.abs(residual[:, near[0] | near[1]]).mean()
    assert quality.element_mae[0] == pytest.approx(iron)


def test_labels_that_never_varied_have_no_bins(make_tiny, tiny_grid):
    P = tiny_grid.data.copy()
    P[:, 1] = 4.5
    emulator = make_tiny(max_steps=2).fit(P, tiny_grid.target)
    quality = emulation_quality(emulator, P, tiny_grid.target)
    assert quality.label_names == ["teff", "Fe_H", "Mg_H", "Ca_H"]
    assert quality.label_mae.shape == quality.label_median.shape == (4, 6)
    assert quality.line_mae.shape == (0,)


def test_bad_arguments_are_errors(fitted, tiny_grid):
    emulator, P, F = fitted["payne"], tiny_grid.data, tiny_grid.target
    with pytest.raises(ValueError, match=r"`F` must have the shape \(101, 61\)"):
        emulation_quality(emulator, P, F[:, :60])
    with pytest.raises(ValueError, match="`n_bins` must be at least 1; got 0"):
        emulation_quality(emulator, P, F, n_bins=0)
    with pytest.raises(ValueError, match="`half_width` must be positive"):
        emulation_quality(emulator, P, F, half_width=-1)


def test_figures_hold_the_numbers(quality, pyplot):
    display = EmulationQualityDisplay(quality).plot()
    drawn = [line.get_ydata() for line in display.ax_[1].lines]
    expected = [quality.median_error, quality.worst_error, quality.error_68]
    for found, line in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(found, line)
    display.plot_labels()
    assert len(display.ax_) == 6
    mean, median = (stairs.get_data() for stairs in display.ax_[2].patches)
    np.testing.assert_array_equal(mean.values, quality.label_mae[2])
    np.testing.assert_array_equal(median.values, quality.label_median[2])
    mean, _ = (stairs.get_data() for stairs in display.ax_[5].patches)
    np.testing.assert_array_equal(mean.edges, quality.edge_edges)
    display.plot_worst()
    assert len(display.ax_) == 6
    true, predicted = (line.get_ydata() for line in display.ax_[2].lines)
    np.testing.assert_array_equal(true, quality.worst_flux[1])
    difference = display.ax_[3].lines[-1].get_ydata()
    np.testing.assert_array_equal(difference, predicted - true)
    display.plot_lines()
    iron = display.ax_[0].lines[0]
    np.testing.assert_array_equal(iron.get_ydata(), quality.line_mae[:2])
    worst = np.argmax(quality.line_mae)
    assert display.names_[0].get_text() == (
        f" {quality.line_element[worst]} {quality.line_wavelength[worst]:.0f} "
    )
    heights = [bar.get_height() for bar in display.ax_[1].patches]
    np.testing.assert_array_equal(heights, np.sort(quality.element_mae)[::-1])


def test_axes_of_the_caller_are_used(quality, pyplot):
    figure, ax = pyplot.subplots(1, 6)
    display = EmulationQualityDisplay(quality).plot_labels(ax)
    assert display.figure_ is figure


def test_lines_cannot_be_drawn_without_lines(fitted, tiny_grid):
    display = EmulationQualityDisplay.from_estimator(
        fitted["payne"], tiny_grid.data, tiny_grid.target
    )
    with pytest.raises(ValueError, match="`quality` must have lines"):
        display.plot_lines()


# Report --------------------------------------------------------------------------


class Page(HTMLParser):
    """What a browser would see: tags, their attributes, and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize("arch", ["opacity", "transformer"])
def test_report_is_one_page_that_needs_nothing_else(
    arch, fitted, tiny_grid, tmp_path, pyplot
):
    P, F = tiny_grid.data[:31], tiny_grid.target[:31]
    lines = {"<b>Fe</b>": LINES["Fe"]}
    path = emulator_report(
        fitted[arch], P, F, tmp_path / "r.html", lines=lines, title="<i>a & b</i>"
    )
    text = path.read_text(encoding="utf-8")
    assert len(text) < 5e6
    page = Page(text)
    assert not page.open
    names = [tag for tag, _ in page.tags]
    # names are text, not tags
    assert not {"b", "i", "script", "link", "iframe"} & set(names)
    assert "<i>a & b</i>" in page.text
    assert "<b>Fe</b>" in page.text
    images = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 7 + (arch == "transformer")
    for source in images:
        kind, data = source.split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(b"\x89PNG")
    assert not re.search(r"https?://|url\(|@import", text)
    quality = emulation_quality(fitted[arch], P, F)
    assert f"{quality.mae:.5f}" in page.text
    assert str(quality.worst[0]) in page.text
    assert not pyplot.get_fignums()


def test_report_of_a_loaded_emulator_without_wavelengths(
    make_tiny, tiny_grid, tmp_path, pyplot
):
    emulator = make_tiny(wavelength=None, medium=None, max_steps=3)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    emulator.save(tmp_path / "e.safetensors")
    loaded = sk_payne.load(tmp_path / "e.safetensors")
    P, F = tiny_grid.data[:31], tiny_grid.target[:31]
    path = emulator_report(loaded, P, F, str(tmp_path / "r.html"))
    assert "Training" in path.read_text(encoding="utf-8")


def test_report_of_an_emulator_of_a_data_frame_says_nothing_of_names(
    make_tiny, tiny_grid, tmp_path, pyplot
):
    frame = pd.DataFrame(tiny_grid.data, columns=tiny_grid.label_names)
    emulator = make_tiny(label_names=None, max_steps=3).fit(frame, tiny_grid.target)
    path = tmp_path / "r.html"
    emulator_report(emulator, frame[:31], tiny_grid.target[:31], path)
    assert "Cramér-Rao" in path.read_text(encoding="utf-8")


# Training ------------------------------------------------------------------------


def test_training_curve_is_the_history(fitted, pyplot):
    emulator = fitted["payne"]
    display = TrainingCurveDisplay.from_estimator(emulator).plot()
    training, held_out = display.lines_
    history = emulator.history_
    np.testing.assert_array_equal(
        training.get_xydata(), [(e["step"], e["train_loss"]) for e in history]
    )
    np.testing.assert_array_equal(
        held_out.get_ydata(), [e["valid_loss"] for e in history]
    )
    assert history[-1]["step"] == 53
    assert display.ax_.get_yscale() == "log"


def test_training_without_held_out_spectra_is_one_curve(make_tiny, tiny_grid, pyplot):
    emulator = make_tiny(validation_fraction=0, max_steps=3)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    display = TrainingCurveDisplay.from_estimator(emulator)
    assert display.valid_loss is None
    assert len(display.plot().lines_) == 1
