"""Errors and pulls of stars measured at S/N 100, on the shipped grid.

Twice: noise drawn on the emulator's own spectra, where errors must hold; and on the
test spectra of the grid, where the error of the emulator comes in. Uses the emulator of
benchmarks/trained.py.

    python benchmarks/recovery.py [--arch bigpayne] [--stars 300] [--snr 100]
"""

import numpy as np
from mocks import spectra_of_grid
from record import parser, table, write
from timing import Timed
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.inspection import RecoveryDisplay


def main():
    options = parser(__doc__)
    options.add_argument("--arch", default="bigpayne")
    options.add_argument("--stars", type=int, default=300)
    options.add_argument("--snr", type=float, default=100.0)
    arguments = options.parse_args()
    emulator = trained(arguments.arch)
    P, true_flux = spectra_of_grid(arguments.stars)
    P = np.clip(P, emulator.label_low_, emulator.label_high_)
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
    with Timed() as took:
        measured = regressor.measure(flux)
    names = [*emulator.label_names_, "radial_velocity"]
    true = np.column_stack([P, np.zeros(len(P))])
    summary = RecoveryDisplay.from_table(measured, true, names).summary()
    rows = [
        {"label": label, **{key: float(values[i]) for key, values in summary.items()}}
        for i, label in enumerate(names)
    ]
    print(f"\n{name}: {len(P)} stars in {took.wall:.1f} s")
    table(rows)
    return {
        "seconds": took.wall,
        "converged": float(np.mean(measured["converged"])),
        "median_reduced_chi2": float(np.median(measured["chi2"] / measured["dof"])),
        "rows": rows,
    }


if __name__ == "__main__":
    main()
