"""Error against the number of training spectra, from scratch and fine-tuned.

scikit-learn's `learning_curve` over nested subsets of the training split of the shipped
grid, judged on its test split. Fine-tuned emulators start from one that was trained on
the pre-training grid (Teff 5000 K and log g 4.5 fixed), window_pretraining.npz in the
folder that the environment variable SK_PAYNE_DATA names; rehearsed ones keep that grid
in their training. All given spectra are trained on, none is held out; the recipes are
the defaults of sk_payne, of which --budget takes a part of the steps. Seeds change
subsets, weights and batches.

Every training is a line of results/data_efficiency.jsonl and is not repeated: after an
interruption, the same command goes on. At the end it writes a table and a figure; that
of the documentation is made with --figure docs/images/data_efficiency.png.

    python benchmarks/data_efficiency.py             # everything: hours on a CPU
    python benchmarks/data_efficiency.py --reduced   # a tenth of the steps, two sizes
    python benchmarks/data_efficiency.py --arch bigpayne opacity --sizes 300 1000
"""

import warnings
from pathlib import Path

import numpy as np
from record import RESULTS, Lines, as_json, data, parser, table
from sklearn.model_selection import learning_curve
from timing import Timed
from trained import count_weights, emulator_of

from sk_payne import FineTunedEmulator
from sk_payne.datasets import load_sme_grid
from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.grids import read_grid
from sk_payne.networks import NETWORKS, default_recipe

warnings.simplefilter("ignore", ExtrapolationWarning)

STARTS = ("scratch", "fine-tuned", "rehearsed")


def main():
    arguments = parse()
    rows = Lines(arguments.name)
    grid = load_sme_grid()
    for job in jobs(arguments):
        rows.add(job, run, grid, **job)
    summary = summarise(rows.find({"budget": arguments.budget}))
    table(summary)
    (RESULTS / f"{arguments.name}.json").write_text(as_json(summary) + "\n")
    draw(summary, arguments.figure or RESULTS / f"{arguments.name}.png")


def parse():
    options = parser(__doc__)
    options.add_argument("--arch", nargs="+", default=list(NETWORKS))
    options.add_argument("--start", nargs="+", default=list(STARTS), choices=STARTS)
    options.add_argument("--sizes", nargs="+", type=int)
    options.add_argument("--seeds", nargs="+", type=int)
    options.add_argument("--budget", type=float)
    options.add_argument("--reduced", action="store_true")
    options.add_argument("--figure", type=Path, help="default: beside the table")
    arguments = options.parse_args()
    full = {"sizes": [100, 300, 1000, 2000, 3425], "seeds": [0, 1, 2], "budget": 1.0}
    reduced = {"sizes": [100, 1000], "seeds": [0], "budget": 0.1}
    for name, value in (reduced if arguments.reduced else full).items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    reduced = "_reduced" if arguments.reduced else ""
    arguments.name = f"data_efficiency{reduced}"
    return arguments


def jobs(arguments):
    """All trainings, the quick architectures of every seed first."""
    for arch in arguments.arch:
        for seed in arguments.seeds:
            for start in arguments.start:
                # polynomials have nothing to start from
                if start != "scratch" and not hasattr(NETWORKS[arch], "label_layers"):
                    continue
                for n in arguments.sizes:
                    yield {
                        "arch": arch,
                        "start": start,
                        "budget": arguments.budget,
                        "n": n,
                        "seed": seed,
                    }


def run(grid, *, arch, start, budget, n, seed):
    """Train one emulator on n spectra by `learning_curve`; judge on the test split."""
    emulator = make(arch, start, budget, seed, grid)
    metrics = Metrics()
    with Timed() as took:
        learning_curve(
            emulator,
            grid.data,
            grid.target,
            train_sizes=[n],
            cv=[(grid.train_indices, grid.test_indices)],
            scoring=metrics,
            shuffle=True,
            random_state=seed,
        )
    return {
        **metrics.test,
        "train_mae": metrics.train["mae"],
        "steps": metrics.steps,
        "n_weights": metrics.n_weights,
        "seconds": round(took.wall, 1),
        "cpu_seconds": round(took.cpu, 1),
    }


def make(arch, start, budget, seed, grid):
    """Give an emulator with a part of the steps of its default recipe."""
    common = {"validation_fraction": 0, "random_state": seed, "verbose": 1}
    if start == "scratch":
        steps = n_steps(arch, budget)
        return emulator_of(grid, arch=arch, max_steps=steps, **common)
    max_steps = n_steps(arch, budget) // 2
    if start == "rehearsed":
        old = pretraining_grid()
        common["rehearse"] = (old.data, old.target)
        # it learns several times as many spectra
        max_steps = n_steps(arch, budget)
    tuned = FineTunedEmulator(pretrained(arch, budget), **common)
    return tuned.set_params(max_steps=max_steps)


def n_steps(arch, budget):
    return max(1, round(budget * default_recipe(arch).max_steps))


def pretrained(arch, budget):
    """Path of the emulator of the pre-training grid, trained if there is none yet."""
    path = RESULTS / f"pretrained_{arch}_{budget:g}.safetensors"
    if path.exists():
        return path
    grid = pretraining_grid()
    emulator = emulator_of(
        grid,
        arch=arch,
        medium="air",
        label_units=["K"] + ["dex"] * (len(grid.label_names) - 1),
        max_steps=n_steps(arch, budget),
        random_state=0,
        verbose=1,
    ).fit(grid.data, grid.target)
    emulator.save(path, provenance={"grid": "window_pretraining.npz"})
    return path


def pretraining_grid():
    """Spectra in which only abundances vary; its labels are those of the other grid."""
    return read_grid(data("window_pretraining.npz"))


class Metrics:
    """A scorer that returns minus the mean absolute error, and keeps the rest."""

    def __call__(self, emulator, P, F):
        error = np.abs(emulator.predict(P.astype(np.float32)) - F)
        found = {
            "mae": float(error.mean(dtype=np.float64)),
            "rmse": float(np.sqrt(np.mean(error**2, dtype=np.float64))),
            "p99": float(np.quantile(error, 0.99)),
        }
        # the test split is scored first
        if not hasattr(self, "test"):
            self.test = found
        self.train = found
        self.steps = emulator.n_steps_
        self.n_weights = count_weights(emulator)
        return -found["mae"]


def summarise(rows):
    """Mean and extremes over seeds, one line per architecture, start and size."""
    groups = {}
    for row in rows:
        groups.setdefault((row["arch"], row["start"], row["n"]), []).append(row)
    lines = []
    for (arch, start, n), group in groups.items():
        mae = [row["mae"] for row in group]
        lines.append(
            {
                "arch": arch,
                "start": start,
                "n": n,
                "seeds": len(group),
                "mae": float(np.mean(mae)),
                "mae_low": min(mae),
                "mae_high": max(mae),
                "rmse": float(np.mean([row["rmse"] for row in group])),
                "p99": float(np.mean([row["p99"] for row in group])),
                "train_mae": float(np.mean([row["train_mae"] for row in group])),
                "cpu_seconds": float(np.mean([row["cpu_seconds"] for row in group])),
            }
        )
    return sorted(lines, key=lambda line: (line["arch"], line["start"], line["n"]))


def draw(summary, path):
    """Learning curves: solid from scratch, dashed fine-tuned, dotted with rehearsal."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.8), layout="constrained")
    archs = [arch for arch in NETWORKS if any(line["arch"] == arch for line in summary)]
    for arch, color in zip(archs, pyplot.cm.tab10.colors, strict=False):
        for start, style in zip(STARTS, ("-", "--", ":"), strict=True):
            lines = [r for r in summary if (r["arch"], r["start"]) == (arch, start)]
            if not lines:
                continue
            n, mae, low, high = (
                np.array([line[key] for line in lines])
                for key in ("n", "mae", "mae_low", "mae_high")
            )
            axes.errorbar(
                n,
                mae,
                (mae - low, high - mae),
                color=color,
                linestyle=style,
                marker={"-": "o", "--": "s", ":": "^"}[style],
                markersize=4,
                capsize=2,
                label=f"{arch}, {start}",
            )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="number of training spectra",
        ylabel="mean absolute error of test spectra [continuum]",
    )
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
