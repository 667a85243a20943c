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

import time
import warnings
from pathlib import Path

import numpy as np
import torch
from record import Lines, parser, table
from timing import Clock, Timed
from trained import count_weights, emulator_of

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
N_TEST, N_BINS, BATCH = 30, 10, 8
# Steps whose time is measured, after the first ones.
FIRST, TIMED = 2, 4


def main():
    arguments = parse()
    rows = Lines("paper")
    grid, training, test = read(arguments)
    for job in jobs(arguments):
        rows.add(job, run, grid, training, test, job)
    table(rows)


def parse():
    options = parser(__doc__)
    options.add_argument("folder", type=Path, nargs="?", help="of the grid")
    options.add_argument("--window", action="store_true", help="the shipped grid")
    options.add_argument("--spectra", type=int, default=190)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--form", nargs="+", default=list(FORMS), choices=FORMS)
    options.add_argument("--sizes", nargs="+", type=int, default=[160, 50, 100])
    options.add_argument("--seeds", nargs="+", type=int, default=[0])
    return options.parse_args()


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
    clock = Clock(time.process_time)
    make(grid, job, FIRST + TIMED, [clock]).fit(P, F)
    step = float(np.median(np.diff(clock.times_)[FIRST - 1 :]))
    steps = max(1, round(job["seconds"] / step))
    with Timed() as took:
        emulator = make(grid, job, steps).fit(P, F)
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
        "weights": count_weights(emulator),
        "cpu_seconds": round(took.cpu, 1),
    }


def make(grid, job, steps, callbacks=None):
    arch, arch_params = FORMS[job["form"]]
    recipe = {} if NETWORKS[arch].takes_wavelength else {"batch_size": BATCH}
    return emulator_of(
        grid,
        arch=arch,
        arch_params=arch_params,
        recipe=recipe,
        max_steps=steps,
        validation_fraction=0,
        callbacks=callbacks,
        device="cpu",
        random_state=job["seed"],
    )


def errors(emulator, labels, flux):
    return np.abs(emulator.predict(labels.astype(np.float32)) - flux)


if __name__ == "__main__":
    # the box of few spectra is smaller than that of the test
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main()
