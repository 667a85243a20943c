"""Whether fits end in the deepest valley: chi2 along every label, the others refitted.

Mock stars are drawn by the emulator itself over its whole box, at S/N 50, 100 and 300,
with a velocity; the test spectra of the shipped grid, at S/N 100, are no spectra of the
emulator. Every star is measured. Then every label is fixed, one after the other, at six
values over its range, and all other parameters are fitted again, see `scan_labels`. A
star counts as wrong if chi2 is lower anywhere by more than 4. A thorough search scans
labels as well, at other values than these.

Writes results/valleys.json, one row for each search, architecture, S/N and seed; rows
that are there are kept.

    python benchmarks/valleys.py [--arch payne bigpayne opacity] [--stars 334]
        [--search quick thorough] [--seed 5]
"""

import itertools

import numpy as np
import torch
from mocks import draw, noisy, observed, spectra_of_grid
from record import Rows, parser, table
from timing import Timed
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances._fitted_emulator import fitted_emulator_of
from sk_payne.abundances._label_scan import scan_labels
from sk_payne.abundances._measure import each_block, measure_stars
from sk_payne.abundances._observed import observe_again
from sk_payne.abundances._plan import plan_fit
from sk_payne.abundances._search import fit_again

POSITIONS = np.linspace(-0.98, 0.98, 6)
LOWER, VELOCITY = 4.0, 20.0


def main():
    options = parser(__doc__)
    options.add_argument("--arch", nargs="+", default=["payne", "bigpayne", "opacity"])
    options.add_argument("--stars", type=int, default=334, help="of each S/N")
    options.add_argument("--search", nargs="+", default=["quick", "thorough"])
    options.add_argument("--spectra", type=int, default=300, help="of the test split")
    options.add_argument("--seed", type=int, default=5, help="of mock stars")
    arguments, rows = options.parse_args(), Rows("valleys")
    for search, arch in itertools.product(arguments.search, arguments.arch):
        emulator = trained(arch)
        for name, flux, snr in stars_of(emulator, arguments):
            seed = arguments.seed
            key = {"search": search, "arch": arch, "stars": name, "seed": seed}
            rows.add(key, judge, emulator, flux, snr, search, seed)
    table(rows)


def stars_of(emulator, arguments):
    """Give names, flux and S/N of all kinds of stars."""
    rng = np.random.default_rng(arguments.seed)
    for snr in (50, 100, 300) if arguments.stars else ():
        flux = emulator.predict(draw(emulator, rng, arguments.stars))
        yield f"mocks, S/N {snr}", flux, snr
    if arguments.spectra:
        yield "test spectra, S/N 100", spectra_of_grid(arguments.spectra)[1], 100


def judge(emulator, flux, snr, search, seed):
    """Measure stars and look for lower chi2."""
    flux = noisy(flux, snr, np.random.default_rng(seed + 1))
    spectra = observed(emulator, flux, snr, VELOCITY)
    observation = Observation(
        velocity_range=(-100, 100), resolving_power="emulator", emulator_error=True
    )
    regressor = AbundanceRegressor(emulator, observation)
    plan = plan_fit(
        fitted_emulator_of(regressor),
        spectra,
        observation,
        fixed=None,
        priors=None,
        estimate="mode",
        max_iterations=100,
        search=search,
    )
    with Timed() as took:
        found = measure_stars(plan)
    lower = np.full((len(spectra), plan.parameters.n_labels), np.nan)
    for block, result in each_block(plan, lambda b: scan(b, found)):
        lower[block.rows] = result
    wrong = lower.max(axis=1) > LOWER
    names = np.array(plan.parameters.names)[: lower.shape[1]]
    return {
        "n": len(spectra),
        "wrong": int(wrong.sum()),
        "right": float(1 - wrong.mean()),
        "deepest": float(lower.max()),
        "labels": sorted(
            {str(names[lower[i].argmax()]) for i in np.flatnonzero(wrong)}
        ),
        "stars_per_second": len(spectra) / took.wall,
    }


@torch.no_grad()
def scan(block, found):
    """By how much chi2 is lower along every label of one star, at most."""
    problem, best = fit_again(observe_again(block, found.of_block(block)))
    _, rise = scan_labels(problem, best, 0, POSITIONS)
    return -rise.amin(1).numpy()[None]


if __name__ == "__main__":
    main()
