"""`sk-payne demo`: trains an emulator on a grid, and measures stars with it."""

import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np

from sk_payne.abundances import AbundanceRegressor
from sk_payne.command._demo_grid import read_demo_grid, weights_of
from sk_payne.command._demo_results import (
    draw_results,
    judge,
    tell_recovery,
    write_stars,
)
from sk_payne.command._grid import grid_options
from sk_payne.command._output import echo
from sk_payne.command._training_options import training_options
from sk_payne.emulators import SpectrumEmulator, load
from sk_payne.exceptions import TrainingInterruptedWarning
from sk_payne.inspection import RecoveryDisplay

__all__ = ["demo"]

_EXAMPLES = """\b
Examples:
  sk-payne demo
  sk-payne demo --grid grid.npz --medium air --arch payne --out run/

\b
Exit codes:
  0    all went well
  1    the grid or an option is at fault
  2    the command line is at fault
  130  Ctrl-C; during training it ends only the training, and the emulator is
       judged and used as it is
"""


@click.command("demo", epilog=_EXAMPLES)
@click.option(
    "--grid",
    metavar="FILE",
    help="Your own grid, .npz, .h5 or .fits, with the arrays labels (n_spectra, "
    "n_labels), flux (n_spectra, n_wavelengths) and wavelength in Å; optional are "
    "label_names, label_units, medium and resolving_power. [default: the grid that "
    "comes with sk_payne]",
)
@grid_options
@training_options
@click.option("--emulator", metavar="FILE", help="Use this saved emulator; train none.")
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    default="sk_payne_run",
    show_default=True,
    help="Folder for the emulator, the table of stars and the picture.",
)
@click.option(
    "--stars",
    type=int,
    default=100,
    metavar="N",
    show_default=True,
    help="Largest number of test spectra that are measured.",
)
@click.option(
    "--snr",
    type=float,
    default=100.0,
    show_default=True,
    help="Signal-to-noise ratio per pixel of the test spectra.",
)
def demo(**options):
    """Train an emulator, and measure stars with it.

    The error of the emulator is determined on test spectra, which it was not trained
    on. Some of them are measured with noise added, and compared with their true labels.
    The default grid has 4500-4600 Å and 19 labels, and comes with sk_payne.
    """
    _run(SimpleNamespace(**options))


def _run(arguments):
    if not arguments.snr > 0:
        raise ValueError(f"--snr must be positive; got {arguments.snr}.")
    if arguments.stars < 1:
        raise ValueError(f"--stars must be at least 1; got {arguments.stars}.")
    grid, train, test = read_demo_grid(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    echo(
        f"Grid: {len(train)} spectra to learn from and {len(test)} to judge by, "
        f"{grid.data.shape[1]} labels, {grid.target.shape[1]} wavelengths."
    )
    emulator = _emulator(arguments, grid, train)
    quality = judge(emulator, grid, test)
    stars = test[: arguments.stars]
    spectra, table, seconds = _measure(arguments, emulator, grid, stars)
    recovery = RecoveryDisplay.from_table(
        table, grid.data[stars], emulator.label_names_
    )
    tell_recovery(recovery, table, seconds)
    write_stars(arguments.out / "stars.ecsv", table, recovery)
    draw_results(arguments, emulator, quality, recovery, spectra, table)


def _emulator(arguments, grid, train):
    if arguments.emulator is not None:
        emulator = load(arguments.emulator)
        _check_grid_of(emulator, grid)
        echo(f"Emulator: {arguments.emulator}")
        return emulator
    emulator = SpectrumEmulator(
        arch=arguments.arch,
        wavelength=grid.wavelength,
        medium=grid.medium,
        resolving_power=grid.resolving_power,
        label_names=grid.label_names,
        label_units=grid.label_units,
        max_steps=arguments.max_steps,
        device=arguments.device,
        random_state=arguments.seed,
        verbose=1,
    )
    start = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TrainingInterruptedWarning)
        emulator.fit(grid.data[train], grid.target[train], **weights_of(grid, train))
    for warning in caught:
        echo(f"Note: {warning.message}")
    echo(
        f"Trained {arguments.arch}, {emulator.n_steps_} steps on {emulator.device_}, "
        f"in {time.monotonic() - start:.0f} s."
    )
    path = arguments.out / "emulator.safetensors"
    emulator.save(path, provenance={"grid": arguments.grid or "load_sme_grid"})
    echo(f"Wrote {path}")
    return emulator


def _check_grid_of(emulator, grid):
    """Refuse a grid that the emulator cannot be judged by."""
    same = {
        "labels": emulator.n_features_in_ == grid.data.shape[1],
        "wavelengths": np.array_equal(emulator.wavelength_, grid.wavelength),
        "medium": emulator.medium_ == grid.medium,
    }
    others = [name for name, is_same in same.items() if not is_same]
    if others:
        raise ValueError(
            f"--emulator and the grid differ in {' and '.join(others)}. Pass the grid "
            "that it was trained on as --grid, with its --medium."
        )


def _measure(arguments, emulator, grid, stars):
    """Measure test spectra with Gaussian noise."""
    noise = np.random.default_rng(arguments.seed).normal(
        scale=1 / arguments.snr, size=(len(stars), grid.target.shape[1])
    )
    observed = grid.target[stars] + noise
    regressor = AbundanceRegressor(emulator, snr=arguments.snr, verbose=1)
    start = time.monotonic()
    table = regressor.measure(observed)
    return observed, table, time.monotonic() - start
