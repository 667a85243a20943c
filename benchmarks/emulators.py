"""Error and time of each architecture at its default recipe, on the shipped grid.

Trains on the training split, whose held-out part is all that a recipe may be chosen
by, and judges on the test split: errors, and which part of them is within the error
that the emulator claims, in all and in the quarters of the range of every label that do
worst. An architecture whose emulator is there is skipped, so that an interrupted run
goes on; --again trains it anew.

    python benchmarks/emulators.py [--arch payne ...] [--seed 0] [--again]
"""

import argparse
import json
import time
import warnings

import numpy as np
from record import RESULTS, machine, table, write

from sk_payne import SpectrumEmulator
from sk_payne.datasets import load_sme_grid
from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.networks import NETWORKS

warnings.simplefilter("ignore", ExtrapolationWarning)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=list(NETWORKS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true")
    arguments = parser.parse_args()
    path = RESULTS / "emulators.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    grid = load_sme_grid()
    for arch in arguments.arch:
        is_there = (RESULTS / f"{arch}.safetensors").exists()
        if is_there and not arguments.again:
            continue
        rows = [row for row in rows if row["arch"] != arch]
        rows.append(train_and_judge(arch, grid, arguments.seed))
        write("emulators", {"seed": arguments.seed, "rows": rows})
    table([{k: v for k, v in row.items() if k != "machine"} for row in rows])


def within_quarters(within, P, low, high):
    """Mean of `within` in each quarter of the range of each label."""
    quarter = np.clip((4 * (P - low) / (high - low)).astype(int), 0, 3)
    return [
        float(within[quarter[:, label] == i].mean())
        for label in range(P.shape[1])
        for i in range(4)
    ]


def train_and_judge(arch, grid, seed):
    """Fit one architecture; errors are in units of the continuum."""
    train, test = grid.train_indices, grid.test_indices
    emulator = SpectrumEmulator(
        arch=arch,
        wavelength=grid.wavelength,
        medium=grid.medium,
        label_names=grid.label_names,
        label_units=grid.label_units,
        random_state=seed,
        verbose=1,
    )
    start = time.perf_counter()
    emulator.fit(grid.data[train], grid.target[train])
    seconds = time.perf_counter() - start
    emulator.save(RESULTS / f"{arch}.safetensors", provenance={"grid": "load_sme_grid"})
    return {
        "arch": arch,
        "n_training": emulator.n_training_,
        "n_weights": sum(p.numel() for p in emulator.to_torch().parameters()),
        "steps": emulator.n_steps_,
        "seconds": round(seconds, 1),
        **judge(emulator, grid.data[test], grid.target[test]),
        "machine": machine(),
    }


def judge(emulator, P, F):
    """Errors on spectra that the emulator has not seen, and those that it claims."""
    flux, std = emulator.predict(P, return_std=True)
    error = flux - F
    within = (np.abs(error) < std).mean(axis=1)
    quarters = within_quarters(within, P, emulator.label_low_, emulator.label_high_)
    return {
        "held_out_mae": float(emulator.held_out_mae_.mean()),
        "test_mae": float(np.abs(error).mean()),
        "test_rmse": float(np.sqrt(np.mean(error**2))),
        "test_99": float(np.quantile(np.abs(error), 0.99)),
        "within_std": float(within.mean()),
        "within_std_lowest_quarter": min(quarters),
        "within_std_highest_quarter": max(quarters),
    }


if __name__ == "__main__":
    main()
