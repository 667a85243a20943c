"""Trials of recipes and sizes, judged on held-out training spectra of the shipped grid.

One line per trial in results/recipes.jsonl: what was changed, and the error on a tenth
of the training split. The test split is never looked at. Trials that are in the file
are skipped. Times are only comparable if nothing else ran.

    python benchmarks/recipes.py TRIALS.json [--threads 1]

TRIALS.json is a list of dicts with "name", "arch" and, as wanted, "arch_params",
"recipe", "max_steps", and "n" for the first n spectra of the training split only, of
which a tenth is held out, too. The trials of the opacity network are in
opacity_trials.json and transformer_trials.json.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from record import RESULTS, machine

from sk_payne import SpectrumEmulator
from sk_payne.datasets import load_sme_grid

RECORD = RESULTS / "recipes.jsonl"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trials", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    done = {json.loads(line)["name"] for line in lines}
    grid = load_sme_grid()
    for trial in json.loads(arguments.trials.read_text()):
        if trial["name"] in done:
            continue
        result = json.dumps({**trial, **run(grid, **trial)})
        print(result, flush=True)
        with RECORD.open("a") as file:
            file.write(result + "\n")


def run(grid, *, name, arch, n=None, **changes):
    """Train one emulator on the training split; judge on its held-out tenth."""
    rows = grid.train_indices[:n]
    emulator = SpectrumEmulator(
        arch=arch,
        wavelength=grid.wavelength,
        medium=grid.medium,
        label_names=grid.label_names,
        random_state=0,
        **changes,
    )
    start = time.perf_counter()
    emulator.fit(grid.data[rows], grid.target[rows])
    return {
        "held_out_mae": round(float(emulator.held_out_mae_.mean()), 5),
        "held_out_rms": round(float(np.sqrt(np.mean(emulator.held_out_rms_**2))), 5),
        "seconds": round(time.perf_counter() - start, 1),
        "cpu": machine()["cpu"],
        "date": machine()["date"],
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()
