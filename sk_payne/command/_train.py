"""`sk-payne train`: a grid of spectra becomes an emulator."""

import time
import warnings
from pathlib import Path

import click
import numpy as np
import torch

from sk_payne.command._config import (
    config_option,
    save_config,
    save_config_option,
)
from sk_payne.command._grid import grid_options, named_grid
from sk_payne.command._output import with_output
from sk_payne.command._training_options import training_options
from sk_payne.command._values import TABLE, VALUE
from sk_payne.emulators import SpectrumEmulator
from sk_payne.exceptions import TrainingInterruptedWarning
from sk_payne.networks import build_network, default_recipe

__all__ = ["train"]

_EXAMPLES = """\b
Examples:
  sk-payne train grid.npz --medium air --out emulator.safetensors
  sk-payne train grid.h5 --out emulator/ --recipe "lr=1e-3" --check
  sk-payne train shipped --arch payne --out payne.safetensors

\b
Exit codes:
  0    the emulator is trained and written
  1    the grid or an option is at fault
  2    the command line is at fault
  130  Ctrl-C; the emulator is written as far as it is trained, and the same
       command continues the training
"""


@click.command("train", epilog=_EXAMPLES)
@click.argument("grid")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Where the emulator is written: a file .safetensors, or a folder, which "
    "has a model card.",
)
@training_options
@click.option(
    "--arch-params",
    type=TABLE,
    default=None,
    help='Options of the architecture, such as "n_hidden=300 n_layers=3".',
)
@click.option(
    "--recipe",
    type=TABLE,
    default=None,
    help='Entries of the training recipe, such as "lr=1e-3 batch_size=64".',
)
@grid_options
@click.option(
    "--resolving-power",
    type=VALUE,
    default=None,
    help="Resolving power of the spectra, if the grid does not state it.",
)
@click.option(
    "--validation-fraction",
    type=float,
    default=0.1,
    show_default=True,
    help="Fraction of the spectra held out of the training, to determine the error.",
)
@click.option("--check", is_flag=True, help="Print what would be done; train nothing.")
@save_config_option
@config_option
@with_output
@click.pass_context
def train(ctx, grid, out, output, **values):
    """Train an emulator on GRID.

    GRID is a file (.npz, .h5, .fits), a folder that `sk-payne build` made, or
    "shipped", the training spectra that come with sk_payne. After Ctrl-C or a crash,
    the same command continues the training.
    """
    name, grid = grid, named_grid(grid, values["medium"], values["drop_bad"])
    if values["save_config"] is not None:
        save_config(ctx, values["save_config"])
    checkpoint = out.with_suffix(".checkpoint")
    emulator = SpectrumEmulator(
        arch=values["arch"],
        arch_params=values["arch_params"],
        wavelength=grid.wavelength,
        medium=grid.medium,
        resolving_power=_power(grid, values["resolving_power"]),
        label_names=grid.label_names,
        label_units=grid.label_units,
        max_steps=values["max_steps"],
        recipe=values["recipe"],
        validation_fraction=values["validation_fraction"],
        checkpoint=checkpoint,
        device=values["device"],
        random_state=values["seed"],
        verbose=int(output.shows_progress),
    )
    if values["check"]:
        _tell_plan(emulator, grid, name, output)
        return
    start, was_interrupted = time.monotonic(), False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weights = {key: grid.get(key) for key in ("mask", "uncertainty")}
        weights = {key: one for key, one in weights.items() if one is not None}
        emulator.fit(grid.data, grid.target, **weights)
    for warning in caught:
        was_interrupted |= issubclass(warning.category, TrainingInterruptedWarning)
        output.note(f"Note: {warning.message}")
    emulator.save(out, provenance={"grid": name})
    _tell_result(emulator, out, time.monotonic() - start, output)
    if was_interrupted:
        output.note(f"Run the command again to go on from '{checkpoint}'.")
        raise click.Abort


def _power(grid, given):
    stated = grid.get("resolving_power")
    if stated is not None and given is not None:
        raise ValueError(
            f"--resolving-power says {given}, but the grid says {stated}. Leave it out."
        )
    return given if stated is None else stated


def _tell_plan(emulator, grid, name, output):
    n_spectra, n_labels = grid.data.shape
    with torch.random.fork_rng(devices=[]):
        network, _ = build_network(
            emulator.arch,
            n_labels,
            torch.from_numpy(np.log10(grid.wavelength)),
            emulator.arch_params,
        )
    recipe = default_recipe(emulator.arch)
    held_out = int(n_spectra * emulator.validation_fraction)
    plan = {
        "grid": name,
        "spectra": n_spectra,
        "held_out": held_out,
        "labels": list(grid.label_names),
        "wavelengths": len(grid.wavelength),
        "medium": grid.medium,
        "resolving_power": emulator.resolving_power,
        "arch": emulator.arch,
        "weights": sum(one.numel() for one in network.parameters()),
        "steps": emulator.max_steps or recipe.max_steps,
    }
    for key, value in plan.items():
        told = ", ".join(value) if isinstance(value, list) else value
        output.say(f"{key.replace('_', ' '):<16} {told}")
    output.result(plan)


def _tell_result(emulator, out, seconds, output):
    error = emulator.held_out_mae_
    error = None if error is None else float(np.mean(error))
    told = (
        "no held-out spectra" if error is None else f"{error:.5f} on held-out spectra"
    )
    output.say(
        f"Trained {emulator.arch}, {emulator.n_steps_} steps on {emulator.device_}, in "
        f"{seconds:.0f} s; mean absolute error: {told}"
    )
    output.say(f"Wrote {out}")
    output.result(
        {
            "out": str(out),
            "steps": emulator.n_steps_,
            "seconds": round(seconds, 3),
            "held_out_error": error,
        }
    )
