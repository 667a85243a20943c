"""Whether the errors of measured stars hold, at several S/N, on the shipped grid.

Stars drawn from the inner 80 % of the box of all labels, made by the emulator itself,
with rotation, velocity and a continuum of degree 2 to be found. Uses the emulator of
benchmarks/trained.py.

Writes results/pulls_ARCH.json; the same by thirds of each label is in results/raw.

    python benchmarks/pulls.py [--arch bigpayne] [--stars 1000] [--snr 50 100 300]
        [--vsini 0 50] [--degree 2] [--seed 0] [--priors | --means]

Labels that hardly show end at the edges of the box, where the errors of a fit cannot
hold. --priors tells the fit the mean and variance of the population of each label.
--means takes means and intervals of the posterior in the box that stars are from.
"""

import numpy as np
from record import parser, table, write
from timing import Timed
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import FLAGS
from sk_payne.recovery import joint_table, mock_recovery, recovery_table

SHOWN = ("label", "unit", "snr", "n", "bias", "scatter", "error", "pull_mean")
SHOWN += ("pull_std", "pull_spread", "coverage_68", "coverage_95")


def main():
    options = parser(__doc__)
    options.add_argument("--arch", default="bigpayne")
    options.add_argument("--stars", type=int, default=1000)
    options.add_argument("--snr", type=float, nargs="+", default=[50.0, 100.0, 300.0])
    options.add_argument("--vsini", type=float, nargs=2, default=[0.0, 50.0])
    options.add_argument("--degree", type=int, default=2)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--priors", action="store_true")
    options.add_argument("--means", action="store_true")
    arguments = options.parse_args()
    emulator = trained(arguments.arch)
    low, high = inner_box(emulator)
    box = np.stack([low, high], axis=1)
    regressor = AbundanceRegressor(
        emulator,
        Observation(vsini=arguments.vsini, continuum_degree=arguments.degree),
        estimate="mean" if arguments.means else "mode",
        bounds=box if arguments.means else None,
        priors=population(emulator) if arguments.priors else None,
        verbose=1,
    )
    with Timed() as took:
        recovery = mock_recovery(
            regressor,
            labels=draw(box, arguments) if arguments.means else None,
            snr=arguments.snr,
            n_stars=arguments.stars,
            random_state=arguments.seed,
        )
    rows = plain_rows(recovery_table(recovery))
    table([{name: row[name] for name in SHOWN} for row in rows])
    print(
        f"{arguments.stars} stars at {len(arguments.snr)} S/N in {took.wall:.1f} s; "
        f"standard errors: pull_std {rows[0]['pull_std_error']:.3f}, "
        f"coverage_68 {rows[0]['coverage_68_error']:.3f}"
    )
    print(*recovery.verdict, sep="\n")
    name = f"pulls_{arguments.arch}"
    name += "_priors" * arguments.priors + "_means" * arguments.means
    thirds = plain_rows(recovery_table(recovery, by="self"))
    write(f"raw/{name}", {**vars(arguments), "thirds": thirds})
    write(
        name,
        {
            **vars(arguments),
            "seconds": round(took.wall, 1),
            "median_reduced_chi2": np.nanmedian(
                recovery.chi2 / recovery.dof, axis=1
            ).tolist(),
            "flags": {
                name: np.mean((recovery.flags & bit) > 0, axis=1).tolist()
                for name, (bit, _) in FLAGS.items()
            },
            "rows": rows,
            "joint": plain_rows(joint_table(recovery)[: len(recovery.snr)]),
            "verdict": recovery.verdict,
        },
    )


def inner_box(emulator):
    """Give the inner 80 % of the box of all labels, in which stars are."""
    low, high = emulator.label_low_, emulator.label_high_
    return 0.9 * low + 0.1 * high, 0.1 * low + 0.9 * high


def draw(box, arguments):
    """Labels of stars that are anywhere in the box."""
    rng = np.random.default_rng(arguments.seed)
    return rng.uniform(*box.T, (arguments.stars, len(box)))


def population(emulator):
    """Gaussians with the mean and variance that stars are drawn with, uniformly."""
    low, high = inner_box(emulator)
    moments = zip((low + high) / 2, (high - low) / np.sqrt(12), strict=True)
    return dict(zip(emulator.label_names_, moments, strict=True))


def plain_rows(rows):
    """Rows of a table as dicts of what JSON knows, to four digits."""
    columns = {
        name: [float(f"{v:.4g}") if isinstance(v, float) else v for v in values]
        for name, values in ((name, rows[name].tolist()) for name in rows.colnames)
    }
    return [
        dict(zip(columns, values, strict=True))
        for values in zip(*columns.values(), strict=True)
    ]


if __name__ == "__main__":
    main()
