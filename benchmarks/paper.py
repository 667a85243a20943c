"""Learning curves on the grid of the paper, 4000-5000 Å, at equal cost of training.

The grid is a folder of `build_grid` with the 22 315 wavelengths and 20 labels of
`paper_training`. Its rows are a Sobol design, and are taken in order: of the first
--spectra, the last 30 are the test, and the first n are trained on, all of them. With
--window it is the shipped grid, 4500-4600 Å, with its training and its test split.

Each training takes --seconds of one core: the time of a step is measured first, and
the number of steps follows. Recipes are the defaults but for this number, and for
batches of 8 spectra of networks on a fixed grid, which allow more steps.

Every training is a line of results/paper.jsonl and is not repeated: after an
interruption, the same command goes on.

    python benchmarks/paper.py FOLDER [--spectra 190] [--seconds 60]
        [--form opacity bigpayne] [--sizes 160 50 100] [--seeds 0]
    python benchmarks/paper.py --window --sizes 300 3000
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from record import RESULTS, machine, table
from skorch.callbacks import Callback

from sk_payne import SpectrumEmulator
from sk_payne.datasets import load_sme_grid
from sk_payne.grids import open_grid
from sk_payne.networks import NETWORKS

FORMS = {
    "opacity, rank 64": ("opacity", {"rank": 64}),
    "opacity": ("opacity", None),
    "bigpayne": ("bigpayne", None),
    "transformer": ("transformer", None),
    "payne": ("payne", None),
    "convolutional": ("convolutional", None),
}
# What tells one training from another.
KEYS = ("grid", "form", "n", "seconds", "seed")
N_TEST, N_BINS, BATCH = 30, 10, 8
# Steps whose time is measured, after the first ones.
FIRST, TIMED = 2, 4


def main():
    arguments = parse()
    path = RESULTS / "paper.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {tuple(row[key] for key in KEYS) for row in rows}
    grid, training, test = read(arguments)
    for job in jobs(arguments):
        if tuple(job[key] for key in KEYS) in done:
            continue
        row = job | run(grid, training, test, job)
        rows.append(row)
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print({key: row[key] for key in (*KEYS, "steps", "mae")}, flush=True)
    names = (*KEYS, "steps", "cpu_seconds", "weights", "mae", "train_mae")
    table([{name: row[name] for name in names} for row in rows])


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", help="of the grid")
    parser.add_argument("--window", action="store_true", help="the shipped grid")
    parser.add_argument("--spectra", type=int, default=190)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--form", nargs="+", default=list(FORMS), choices=FORMS)
    parser.add_argument("--sizes", nargs="+", type=int, default=[160, 50, 100])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    return parser.parse_args()


def read(arguments):
    """Grid, and labels and flux of its training and of its test spectra."""
    if arguments.window:
        grid = load_sme_grid()
        rows = grid.train_indices, grid.test_indices
    else:
        grid = open_grid(arguments.folder)
        last = arguments.spectra - N_TEST
        rows = np.arange(last), np.arange(last, arguments.spectra)
    return grid, *((grid.data[r], np.array(grid.target[r])) for r in rows)


def jobs(arguments):
    """All trainings, the largest sizes of every form first."""
    for seed in arguments.seeds:
        for n in arguments.sizes:
            for form in arguments.form:
                yield {
                    "grid": "window" if arguments.window else "range",
                    "form": form,
                    "n": n,
                    "seconds": arguments.seconds,
                    "seed": seed,
                }


def run(grid, training, test, job):
    """Train one emulator for a number of seconds, and judge it on the test spectra."""
    P, F = (values[: job["n"]] for values in training)
    clock = Clock()
    make(grid, job, FIRST + TIMED, [clock]).fit(P, F)
    steps = max(1, round(job["seconds"] / clock.step))
    start = time.process_time()
    emulator = make(grid, job, steps).fit(P, F)
    seconds = time.process_time() - start
    error = errors(emulator, *test)
    by_wavelength = error.mean(axis=0, dtype=np.float64)
    edges = np.linspace(grid.wavelength[0], grid.wavelength[-1], N_BINS + 1)
    bins = np.searchsorted(edges, grid.wavelength).clip(1, N_BINS) - 1
    offset = F.mean(axis=0, dtype=np.float64)
    return {
        "mae": float(by_wavelength.mean()),
        "n_test": len(error),
        "mean_mae": float(np.abs(test[1] - offset).mean()),
        "train_mae": float(errors(emulator, P[:N_TEST], F[:N_TEST]).mean()),
        "bins": [float(by_wavelength[bins == i].mean()) for i in range(N_BINS)],
        "steps": steps,
        "weights": sum(w.numel() for w in emulator.to_torch().parameters()),
        "cpu_seconds": round(seconds, 1),
        **{key: machine()[key] for key in ("date", "cpu", "torch_threads", "torch")},
    }


def make(grid, job, steps, callbacks=None):
    arch, arch_params = FORMS[job["form"]]
    recipe = {} if NETWORKS[arch].takes_wavelength else {"batch_size": BATCH}
    return SpectrumEmulator(
        arch=arch,
        arch_params=arch_params,
        recipe=recipe,
        max_steps=steps,
        wavelength=grid.wavelength,
        medium=grid.medium,
        label_names=grid.label_names,
        label_units=grid.label_units,
        validation_fraction=0,
        callbacks=callbacks,
        device="cpu",
        random_state=job["seed"],
    )


def errors(emulator, labels, flux):
    return np.abs(emulator.predict(labels.astype(np.float32)) - flux)


class Clock(Callback):
    """Seconds of one core that a step takes."""

    def on_train_begin(self, net, **kwargs):
        self.times_ = []

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.times_.append(time.process_time())

    @property
    def step(self):
        return float(np.median(np.diff(self.times_)[FIRST - 1 :]))


if __name__ == "__main__":
    # the box of few spectra is smaller than that of the test
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main()
