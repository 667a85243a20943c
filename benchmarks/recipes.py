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

import json
from pathlib import Path

import numpy as np
import torch
from record import Lines, parser
from timing import Timed
from trained import emulator_of

from sk_payne.datasets import load_sme_grid


def main():
    options = parser(__doc__)
    options.add_argument("trials", type=Path)
    options.add_argument("--threads", type=int, default=1)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = Lines("recipes")
    grid = load_sme_grid()
    for trial in json.loads(arguments.trials.read_text()):
        rows.add({"name": trial.pop("name")}, run, grid, trial)


def run(grid, trial):
    """Train one emulator on the training split; judge on its held-out tenth."""
    rows = grid.train_indices[: trial.get("n")]
    changes = {key: value for key, value in trial.items() if key != "n"}
    emulator = emulator_of(grid, random_state=0, **changes)
    with Timed() as took:
        emulator.fit(grid.data[rows], grid.target[rows])
    return trial | {
        "held_out_mae": round(float(emulator.held_out_mae_.mean()), 5),
        "held_out_rms": round(float(np.sqrt(np.mean(emulator.held_out_rms_**2))), 5),
        "seconds": round(took.wall, 1),
    }


if __name__ == "__main__":
    main()
