"""Error and time of each architecture at its default recipe, on the shipped grid.

Trains on the training split, whose held-out part is all that a recipe may be chosen
by, and judges on the test split: errors, and which part of them is within the error
that the emulator claims, in all and in the quarters of the range of every label that do
worst. Emulators are kept for benchmarks/trained.py.

Writes results/emulators.json, one row for each architecture; rows that are there are
kept, --again replaces them.

    python benchmarks/emulators.py [--arch payne ...] [--seed 0] [--again]
"""

import numpy as np
from mocks import spectra_of_grid
from record import Rows, machine, parser, table
from timing import Timed
from trained import count_weights, train

from sk_payne.networks import NETWORKS


def main():
    options = parser(__doc__)
    options.add_argument("--arch", nargs="+", default=list(NETWORKS))
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--again", action="store_true")
    arguments = options.parse_args()
    rows = Rows("emulators", seed=arguments.seed)
    for arch in arguments.arch:
        key = {"arch": arch}
        if arguments.again:
            rows.drop(key)
        rows.add(key, train_and_judge, arch, arguments.seed)
    table(rows)


def within_quarters(within, P, low, high):
    """Mean of `within` in each quarter of the range of each label."""
    quarter = np.clip((4 * (P - low) / (high - low)).astype(int), 0, 3)
    return [
        float(within[quarter[:, label] == i].mean())
        for label in range(P.shape[1])
        for i in range(4)
    ]


def train_and_judge(arch, seed):
    """Fit one architecture; errors are in units of the continuum."""
    with Timed() as took:
        emulator = train(arch, seed, verbose=1)
    return {
        "n_training": emulator.n_training_,
        "n_weights": count_weights(emulator),
        "steps": emulator.n_steps_,
        "seconds": round(took.wall, 1),
        **judge(emulator, *spectra_of_grid(None)),
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
