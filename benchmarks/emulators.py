"""Error and time of each architecture at its default recipe, on the shipped grid.

Trains on the training split, whose held-out part is all that a recipe may be chosen
by, and judges on the test split. An architecture already in the record is skipped, so
an interrupted run resumes; --again starts over.

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
    rows = []
    if path.exists() and not arguments.again:
        rows = json.loads(path.read_text())["rows"]
    grid = load_sme_grid()
    for arch in arguments.arch:
        if any(row["arch"] == arch for row in rows):
            continue
        rows.append(train_and_judge(arch, grid, arguments.seed))
        write("emulators", {"seed": arguments.seed, "rows": rows})
    table([{k: v for k, v in row.items() if k != "machine"} for row in rows])


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
    error = emulator.predict(grid.data[test]) - grid.target[test]
    return {
        "arch": arch,
        "n_training": emulator.n_training_,
        "n_weights": sum(p.numel() for p in emulator.to_torch().parameters()),
        "steps": emulator.n_steps_,
        "seconds": round(seconds, 1),
        "held_out_mae": float(emulator.held_out_mae_.mean()),
        "test_mae": float(np.abs(error).mean()),
        "test_rmse": float(np.sqrt(np.mean(error**2))),
        "test_99": float(np.quantile(np.abs(error), 0.99)),
        "machine": machine(),
    }


if __name__ == "__main__":
    main()
