"""`sk-payne demo`: from a grid of spectra to measured stars, in one go."""

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
from sk_payne.command._output import echo
from sk_payne.emulators import SpectrumEmulator, load
from sk_payne.exceptions import TrainingInterruptedWarning
from sk_payne.inspection import RecoveryDisplay
from sk_payne.networks import NETWORKS

__all__ = ["demo"]

_EXAMPLES = """\b
Examples:
  sk-payne demo
  sk-payne demo --grid grid.npz --medium air --arch payne --out run/

\b
Exit codes:
  0    all went well
  1    the input is at fault
  2    the command line is at fault
  130  Ctrl-C; during training, it stops there and goes on with what was learned
"""


@click.command(
    "demo",
    epilog=_EXAMPLES,
)
@click.option(
    "--arch",
    type=click.Choice(sorted(NETWORKS)),
    default="bigpayne",
    show_default=True,
    help="Architecture of the emulator.",
)
@click.option(
    "--grid",
    metavar="FILE",
    help="Your own grid, .npz, .h5 or .fits, with arrays labels (n, n_labels), flux "
    "(n, n_wavelengths), wavelength in Å, and if you like label_names, label_units, "
    "medium, resolving_power.",
)
@click.option(
    "--drop-bad",
    is_flag=True,
    help="Leave out spectra of --grid whose labels or flux are not finite.",
)
@click.option(
    "--medium",
    type=click.Choice(("air", "vacuum")),
    help="Medium of the wavelengths of --grid, if the file does not say.",
)
@click.option(
    "--emulator", metavar="FILE", help="Use a saved emulator, instead of training one."
)
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    default="sk_payne_run",
    show_default=True,
    help="Where emulator, table and picture go.",
)
@click.option(
    "--max-steps", type=int, metavar="N", help="Optimisation steps [default: recipe]."
)
@click.option(
    "--stars",
    type=int,
    default=100,
    metavar="N",
    show_default=True,
    help="Held-out stars to measure, at most.",
)
@click.option(
    "--snr",
    type=float,
    default=100.0,
    show_default=True,
    help="Signal-to-noise ratio per pixel of these.",
)
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, ...")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of all randomness."
)
def demo(**options):
    """Train an emulator, and measure stars with it.

    The error of the emulator is shown on spectra that it has not seen; some of these
    are measured with noise added, and compared with the truth. Without --grid, this is
    done with the shipped grid (4500-4600 Å, 19 labels).
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
