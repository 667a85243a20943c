"""Errors and pulls of stars measured at S/N 100, on the shipped grid.

Twice: noise drawn on the emulator's own spectra, where errors must hold; and on the
test spectra of the grid, where the error of the emulator comes in. Uses the emulator
that benchmarks/emulators.py wrote.

    python benchmarks/recovery.py [--arch bigpayne] [--stars 300] [--snr 100]
"""

import argparse
import time
import warnings

import numpy as np
from record import RESULTS, table, write

from sk_payne import AbundanceRegressor, Observation, load
from sk_payne.datasets import load_sme_grid
from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.inspection import RecoveryDisplay

warnings.simplefilter("ignore", ExtrapolationWarning)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="bigpayne")
    parser.add_argument("--stars", type=int, default=300)
    parser.add_argument("--snr", type=float, default=100.0)
    arguments = parser.parse_args()
    emulator = load(RESULTS / f"{arguments.arch}.safetensors")
    grid = load_sme_grid()
    P = grid.data[grid.test_indices][: arguments.stars]
    P = np.clip(P, emulator.label_low_, emulator.label_high_)
    true_flux = grid.target[grid.test_indices][: arguments.stars]
    record = {"arch": arguments.arch, "snr": arguments.snr, "n_stars": len(P)}
    cases = {
        "own spectra, errors of the noise": (emulator.predict(P), False),
        "grid spectra, errors of the noise": (true_flux, False),
        "grid spectra, errors of noise and emulator": (true_flux, True),
    }
    for name, (flux, emulator_error) in cases.items():
        noise = np.random.default_rng(3).normal(
            scale=1 / arguments.snr, size=flux.shape
        )
        record[name] = measure(
            name, emulator, P, flux + noise, emulator_error, arguments
        )
    write(f"recovery_{arguments.arch}", record)


def measure(name, emulator, P, flux, emulator_error, arguments):
    """Fit labels and velocity of all stars; the velocity is zero in truth."""
    regressor = AbundanceRegressor(
        emulator, Observation(emulator_error=emulator_error), snr=arguments.snr
    )
    start = time.perf_counter()
    measured = regressor.measure(flux)
    seconds = time.perf_counter() - start
    names = [*emulator.label_names_, "radial_velocity"]
    true = np.column_stack([P, np.zeros(len(P))])
    summary = RecoveryDisplay.from_table(measured, true, names).summary()
    rows = [
        {"label": label, **{key: float(values[i]) for key, values in summary.items()}}
        for i, label in enumerate(names)
    ]
    print(f"\n{name}: {len(P)} stars in {seconds:.1f} s")
    table(rows)
    return {
        "seconds": seconds,
        "converged": float(np.mean(measured["converged"])),
        "median_reduced_chi2": float(np.median(measured["chi2"] / measured["dof"])),
        "rows": rows,
    }


if __name__ == "__main__":
    main()
