"""Whether fits end in the deepest valley: chi2 along every label, the others refitted.

Mock stars are drawn by the emulator itself over its whole box, at S/N 50, 100 and 300,
with a velocity; the test spectra of the shipped grid, at S/N 100, are no spectra of the
emulator. Every star is measured. Then every label is fixed, one after the other, at six
values over its range, and all other parameters are fitted again. They start where the
parabola around the best fit has its minimum for that value. A star counts as wrong if
chi2 is lower anywhere by more than 4. A point is not followed further if its chi2 is
above the best fit by more than 1000 after two steps, by more than 100 after five, or by
more than 30 times the fall that a full step from there predicts.

Writes results/valleys.json, one row for each architecture and S/N; rows that are there
are kept.

    python benchmarks/valleys.py [--arch payne bigpayne opacity] [--stars 334]
"""

import argparse
import json
import time
import warnings

import numpy as np
import torch
from record import RESULTS, machine, table, write
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances._fitted_emulator import fitted_emulator_of
from sk_payne.abundances._least_squares import fit_least_squares
from sk_payne.abundances._measure import each_block, measure_stars
from sk_payne.abundances._normal_matrix import free_covariance
from sk_payne.abundances._observed import observe
from sk_payne.abundances._plan import plan_fit
from sk_payne.abundances._search import fit_again
from sk_payne.datasets import load_sme_grid
from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.spectra import SpectrumSet, doppler_factor

warnings.simplefilter("ignore", ExtrapolationWarning)

POSITIONS = np.linspace(-0.98, 0.98, 6)
LOWER = 4.0
# Steps of each point, and the largest chi2 above the best fit of points that go on.
ROUNDS = (2, np.inf), (3, 1000.0), (5, 100.0), (50, 100.0)
FALLS = 30.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", nargs="+", default=["payne", "bigpayne", "opacity"])
    parser.add_argument("--stars", type=int, default=334, help="of each S/N")
    parser.add_argument("--spectra", type=int, default=300, help="of the test split")
    arguments = parser.parse_args()
    path = RESULTS / "valleys.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    for arch in arguments.arch:
        emulator = trained(arch)
        for name, spectra in stars_of(emulator, arguments):
            if any((r["arch"], r["stars"]) == (arch, name) for r in rows):
                continue
            rows.append({"arch": arch, "stars": name, **judge(emulator, spectra)})
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


def judge(emulator, spectra):
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
    observed = observe(block, previous=found.of_block(block).parameters)
    problem, best = fit_again(observed)
    n_labels, n = block.parameters.n_labels, len(POSITIONS)
    low, high, start = (
        values.repeat(n_labels * n, 1)
        for values in (problem.low, problem.high, best.parameters)
    )
    center, half = (low + high) / 2, (high - low) / 2
    free = (problem.low < best.parameters) & (best.parameters < problem.high)
    for label in range(n_labels):
        rows = slice(label * n, (label + 1) * n)
        at = center[rows, label] + half[rows, label] * torch.from_numpy(POSITIONS)
        moving = free.clone()
        moving[0, label] = True
        covariance = free_covariance(best.normal_matrix, moving)[0]
        along = (covariance[label] / covariance[label, label]).nan_to_num(0.0, 0.0, 0.0)
        start[rows] += (at - start[rows, label])[:, None] * along
        start[rows, label] = low[rows, label] = high[rows, label] = at
    everything = {
        "model": Repeated(problem.model),
        "flux": problem.flux.expand(len(low), -1),
        "ivar": problem.ivar.expand(len(low), -1),
        "low": low,
        "high": high,
        "prior": tuple(part.expand_as(low).clone() for part in problem.prior),
    }
    chi2 = torch.full((len(low),), -torch.inf, dtype=torch.float64)
    fall = torch.full_like(chi2, torch.inf)
    for n_steps, above in ROUNDS:
        followed = chi2 - best.chi2 < (FALLS * fall).clip(max=above)
        near = torch.nonzero(followed)[:, 0]
        if not len(near):
            break
        fit = fit_least_squares(
            start=start, max_iterations=n_steps, rows=near, **everything
        )
        start[near], chi2[near] = fit.parameters[near], fit.chi2[near]
        fall[near] = fit.expected_fall[near]
    return (best.chi2 - chi2).reshape(1, n_labels, n).amax(2).numpy()


class Repeated:
    """The model of one star, for many fits of it."""

    def __init__(self, model):
        self.model = model

    def flux(self, rows, variables):
        return self.model.flux(torch.zeros_like(rows), variables)

    def linearize(self, rows, variables):
        return self.model.linearize(torch.zeros_like(rows), variables)


if __name__ == "__main__":
    main()
