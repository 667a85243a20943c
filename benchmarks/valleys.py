"""Whether fits end in the deepest valley: chi2 along every label, the others refitted.

Mock stars are drawn by the emulator itself over its whole box, at S/N 50, 100 and 300,
with a velocity; the test spectra of the shipped grid, at S/N 100, are no spectra of the
emulator. Every star is measured. Then every label is fixed, one after the other, at six
values over its range, and all other parameters are fitted again, see `scan_labels`. A
star counts as wrong if chi2 is lower anywhere by more than 4. A thorough search scans
labels as well, at other values than these.

Writes results/valleys.json, one row for each search, architecture and S/N; rows that
are there are kept.

    python benchmarks/valleys.py [--arch payne bigpayne opacity] [--stars 334]
        [--search quick thorough]
"""

import argparse
import itertools
import json
import time
import warnings

import numpy as np
import torch
from record import RESULTS, machine, table, write
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances._fitted_emulator import fitted_emulator_of
from sk_payne.abundances._label_scan import scan_labels
from sk_payne.abundances._measure import each_block, measure_stars
from sk_payne.abundances._observed import observe_again
from sk_payne.abundances._plan import plan_fit
from sk_payne.abundances._search import fit_again
from sk_payne.datasets import load_sme_grid
from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.spectra import SpectrumSet, doppler_factor

warnings.simplefilter("ignore", ExtrapolationWarning)

POSITIONS = np.linspace(-0.98, 0.98, 6)
LOWER = 4.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["payne", "bigpayne", "opacity"])
    parser.add_argument("--stars", type=int, default=334, help="of each S/N")
    parser.add_argument("--search", nargs="+", default=["quick", "thorough"])
    parser.add_argument("--spectra", type=int, default=300, help="of the test split")
    arguments = parser.parse_args()
    path = RESULTS / "valleys.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    for search, arch in itertools.product(arguments.search, arguments.arch):
        emulator = trained(arch)
        for name, spectra in stars_of(emulator, arguments):
            key = {"search": search, "arch": arch, "stars": name}
            if any(key.items() <= row.items() for row in rows):
                continue
            rows.append(key | judge(emulator, spectra, search))
            write("valleys", {"rows": rows, "machine": machine()})
            print(rows[-1], flush=True)
    table(rows)


def stars_of(emulator, arguments):
    """Give names and spectra of all kinds of stars."""
    rng = np.random.default_rng(5)
    box = emulator.label_low_, emulator.label_high_
    for snr in (50, 100, 300) if arguments.stars else ():
        labels = rng.uniform(*box, (arguments.stars, len(box[0])))
        yield f"mocks, S/N {snr}", observed(emulator, emulator.predict(labels), snr)
    if arguments.spectra:
        grid = load_sme_grid()
        flux = grid.target[grid.test_indices[: arguments.spectra]]
        yield "test spectra, S/N 100", observed(emulator, flux, 100)


def observed(emulator, flux, snr, velocity=20.0):
    """Shift spectra on the grid of an emulator, and add noise."""
    noise = np.random.default_rng(6).standard_normal(flux.shape) / snr
    return SpectrumSet(
        flux + noise,
        np.full(flux.shape, float(snr) ** 2),
        wavelength=emulator.wavelength_ * doppler_factor(velocity),
        medium=emulator.medium_,
    )


def judge(emulator, spectra, search):
    """Measure stars and look for lower chi2."""
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
    start = time.perf_counter()
    found = measure_stars(plan)
    seconds = time.perf_counter() - start
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
        "stars_per_second": len(spectra) / seconds,
    }


@torch.no_grad()
def scan(block, found):
    """By how much chi2 is lower along every label of one star, at most."""
    problem, best = fit_again(observe_again(block, found.of_block(block)))
    _, rise = scan_labels(problem, best, 0, POSITIONS)
    return -rise.amin(1).numpy()[None]


if __name__ == "__main__":
    main()
