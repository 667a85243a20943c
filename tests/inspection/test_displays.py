"""Tests of the displays, on the numbers and artists that they hold."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from sk_payne import AbundanceRegressor, Observation, inspection
from sk_payne.inspection import (
    EmulationErrorDisplay,
    RecoveryDisplay,
    SpectrumFitDisplay,
)


def recovery(**changes):
    true = np.array([[5000.0, 0.0], [5100.0, -1.0], [5200.0, 0.5]])
    measured = true + np.array([[10.0, 0.1], [-20.0, -0.2], [30.0, 0.05]])
    arguments = {
        "true": true,
        "measured": measured,
        "error": np.tile([10.0, 0.1], (3, 1)),
        "label_names": ["teff", "Fe_H"],
        "label_units": ["K", "dex"],
    }
    return RecoveryDisplay(**(arguments | changes))


def test_emulation_error_is_that_of_predict(fitted, tiny_grid):
    emulator = fitted["payne"]
    display = EmulationErrorDisplay.from_estimator(
        emulator, tiny_grid.data, tiny_grid.target, plot=False
    )
    error = np.abs(emulator.predict(tiny_grid.data) - tiny_grid.target)
    assert display.mae == pytest.approx(error.mean())
    np.testing.assert_allclose(display.median_error, np.median(error, axis=0))
    np.testing.assert_allclose(display.high_error, np.quantile(error, 0.95, axis=0))


def test_emulation_error_draws_its_numbers(fitted, tiny_grid, pyplot):
    display = EmulationErrorDisplay.from_estimator(
        fitted["payne"], tiny_grid.data, tiny_grid.target
    )
    (mean_line,) = display.ax_[0].lines
    (error_line,) = display.ax_[1].lines
    np.testing.assert_array_equal(mean_line.get_ydata(), display.mean_flux)
    np.testing.assert_array_equal(error_line.get_ydata(), display.median_error)
    np.testing.assert_array_equal(error_line.get_xdata(), tiny_grid.wavelength)
    assert display.ax_[1].get_xlabel() == "wavelength in air [Å]"
    assert f"{display.mae:.4f}" in display.ax_[1].get_legend().get_title().get_text()


def test_emulation_error_without_wavelengths_counts_pixels(
    make_tiny, tiny_grid, pyplot
):
    emulator = make_tiny(wavelength=None, medium=None)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    display = EmulationErrorDisplay.from_estimator(
        emulator, tiny_grid.data, tiny_grid.target
    )
    assert display.ax_[1].get_xlabel() == "pixel"
    np.testing.assert_array_equal(display.wavelength, np.arange(61))


def test_recovery_summary_equals_hand_computed_statistics():
    summary = recovery().summary()
    # differences of Teff: 10, -20, 30 with errors of 10
    assert summary["bias"][0] == 10
    assert summary["scatter"][0] == pytest.approx(1.4826 * 20)
    assert summary["error"][0] == 10
    assert summary["pull_mean"][0] == pytest.approx(2 / 3)
    assert summary["pull_std"][0] == pytest.approx(np.std([1, -2, 3]))
    assert summary["pull_spread"][0] == pytest.approx(1.4826 * 2)
    assert summary["within_1_sigma"][0] == pytest.approx(1 / 3)


def test_recovery_leaves_out_stars_that_were_not_measured():
    display = recovery()
    display.measured[1] = np.nan
    summary = display.summary()
    assert summary["bias"][0] == 20
    assert summary["within_1_sigma"][0] == pytest.approx(1 / 2)


def test_recovery_of_a_table_takes_values_errors_and_units():
    table = QTable(
        {
            "teff": [5000.0, 5100.0] * u.K,
            "teff_error": [10.0, 20.0] * u.K,
            "Fe_H": [0.0, 0.1],
            "Fe_H_error": [0.01, 0.02],
        }
    )
    true = np.array([[5010.0, 0.0], [5100.0, 0.0]])
    display = RecoveryDisplay.from_table(table, true, ["teff", "Fe_H"])
    np.testing.assert_allclose(display.pulls, [[-1, 0], [0, 5]])
    assert display.label_units[0] == "K"


def test_recovery_draws_one_panel_for_each_chosen_label(pyplot):
    display = recovery().plot(labels=["Fe_H"])
    assert len(display.ax_) == 1
    assert display.ax_[0].get_title() == "Fe_H [dex]"
    (container,) = display.ax_[0].containers
    np.testing.assert_array_equal(container[0].get_ydata(), display.measured[:, 1])


def test_spectrum_fit_draws_residuals_in_sigma_and_hides_masked_pixels(pyplot):
    flux = np.array([1.0, 0.8, 9.9, 1.1, 1.0])
    display = SpectrumFitDisplay(
        wavelength=np.linspace(5000, 5001, 5),
        flux=flux,
        error=np.full(5, 0.1),
        model=np.ones(5),
        mask=np.array([False, False, True, False, False]),
        medium="vacuum",
        title="a star",
    ).plot(model_kwargs={"color": "k"})
    observed, model = display.ax_[0].lines
    np.testing.assert_array_equal(
        observed.get_ydata(), np.where(display.mask, np.nan, flux)
    )
    assert model.get_color() == "k"
    np.testing.assert_allclose(
        display.ax_[1].lines[-1].get_ydata(), [0, -2, np.nan, 1, 0]
    )
    assert display.ax_[1].get_xlabel() == "wavelength in vacuum [Å]"


def test_spectrum_fit_of_a_regressor_is_of_one_star(fitted, tiny_grid):
    regressor = AbundanceRegressor(fitted["payne"], snr=100)
    stars = fitted["payne"].to_spectra(tiny_grid.data[:2])
    with pytest.raises(ValueError, match=r"must be of one star; got 2.*\[\[arm, arm"):
        SpectrumFitDisplay.from_regressor(regressor, stars)


def test_spectrum_fit_of_a_regressor_masks_what_is_not_used(fitted, tiny_grid):
    emulator = fitted["payne"]
    star = emulator.to_spectra(tiny_grid.data[:1])
    star.mask = np.arange(61)[None] == 17
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=None), snr=100)
    display = SpectrumFitDisplay.from_regressor(regressor, star)
    np.testing.assert_array_equal(display.mask, star.mask[0])
    np.testing.assert_array_equal(display.wavelength, emulator.wavelength_)
    table, model = regressor.measure(star, return_model=True)
    np.testing.assert_array_equal(display.model, model[0])
    value, error = table["teff"].value[0], table["teff_error"].value[0]
    assert display.title.startswith(f"teff {value:.0f} ± {error:.0f}, ")


def test_lines_are_marked_where_the_velocity_has_moved_them():
    display = SpectrumFitDisplay(
        wavelength=np.linspace(5000, 5010, 11),
        flux=np.ones(11),
        error=np.ones(11),
        model=np.ones(11),
        velocity=30.0,
    ).plot(lines={"Mg": [5002.0, 5020.0], "Fe": [5007.0]})
    magnesium, iron = display.lines_
    (seen,) = [segment[0, 0] for segment in magnesium.get_segments()]
    # the line beyond the spectrum is left out
    assert seen == pytest.approx(5002.0 * (1 + 30 / 299792.458), abs=1e-4)
    assert len(iron.get_segments()) == 1
    legend = [text.get_text() for text in display.ax_[0].get_legend().get_texts()]
    assert legend == ["observed", "fit", "Mg", "Fe"]


def test_plotting_without_matplotlib_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'sk_payne\[plot\]'"):
        recovery().plot()


def test_displays_are_imported_and_drawn_without_a_screen():
    code = (
        "import sys, numpy as np\n"
        "from sk_payne.inspection import TrainingCurveDisplay\n"
        "assert 'matplotlib' not in sys.modules\n"
        "x = np.arange(1, 4)\n"
        "display = TrainingCurveDisplay(step=x, train_loss=1 / x).plot()\n"
        "display.figure_.canvas.draw()\n"
        "import matplotlib\n"
        "print(matplotlib.get_backend())"
    )
    screen = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    environment = {k: v for k, v in os.environ.items() if k not in screen}
    # an old matplotlib calls what is deprecated in newer packages
    strict = ("-W", "error", "-W", "ignore::DeprecationWarning")
    done = subprocess.run(
        [sys.executable, *strict, "-c", code],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().lower() == "agg"


def test_every_display_is_drawn_by_a_test():
    tests = "".join(
        path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*")
    )
    for name in inspection.__all__:
        if name.endswith("Display"):
            assert re.search(rf"\b{name}(\.from_\w+)?\(", tests), name
            assert hasattr(getattr(inspection, name), "plot")
