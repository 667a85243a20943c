"""Whether 68 % intervals hold: errors of best fits, profiles of chi2, and posteriors.

The test split of the shipped grid, which BigPayne never saw, and spectra that it drew
itself at the same labels, are measured at S/N 50 and 100 with labels and velocity free,
by each of the three estimates. For each label the fraction of stars is counted whose
true value lies in the interval; for profiles also how many intervals are from the
profile of chi2, and how many hold among the stars where they are.

Writes results/intervals.json; rows that are there are kept.

    python benchmarks/intervals.py [--arch bigpayne] [--spectra 300]
"""

import argparse
import json
import time
import warnings

import numpy as np
from calibration import ONE, observed
from record import RESULTS, machine, table, write
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.datasets import load_sme_grid
from sk_payne.exceptions import ExtrapolationWarning

warnings.simplefilter("ignore", ExtrapolationWarning)

ESTIMATES = ("mode", "profile", "mean")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="bigpayne")
    parser.add_argument("--spectra", type=int, default=300)
    parser.add_argument("--estimate", nargs="+", default=ESTIMATES, choices=ESTIMATES)
    parser.add_argument("--snr", nargs="+", type=int, default=[100, 50])
    arguments = parser.parse_args()
    path = RESULTS / "intervals.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    emulator = trained(arguments.arch)
    for snr in arguments.snr:
        for spectra in ("test spectra", "drawn by the emulator"):
            for estimate in arguments.estimate:
                case = {"arch": arguments.arch, "snr": snr, "spectra": spectra}
                case["estimate"] = estimate
                if any(case.items() <= row.items() for row in rows):
                    continue
                own = spectra != "test spectra"
                found = judge(emulator, arguments.spectra, snr, own, estimate)
                rows.append({**case, **found})
                write("intervals", {"rows": rows, "machine": machine()})
    table([{k: v for k, v in row.items() if not isinstance(v, dict)} for row in rows])


def judge(emulator, n, snr, own, estimate):
    """Measure spectra by one estimate, and count which intervals hold the truth."""
    grid = load_sme_grid()
    rows = grid.test_indices[:n]
    labels, flux = grid.data[rows], grid.target[rows].astype(np.float64)
    if own:
        flux = emulator.predict(labels).astype(np.float64)
    spectra, options = observed(emulator, flux, snr, None, 0.0)
    observation = Observation(
        velocity_range=(-100, 100), emulator_error=not own, **options
    )
    regressor = AbundanceRegressor(emulator, observation, estimate=estimate, verbose=1)
    start = time.perf_counter()
    measured = regressor.measure(spectra)
    seconds = time.perf_counter() - start
    holds, special, among = {}, {}, {}
    for i, name in enumerate(grid.label_names):
        value = measured[name].value
        if estimate == "mode":
            error = measured[f"{name}_error"].value
            low, high = value - error, value + error
        else:
            low, high = (measured[f"{name}_{end}"].value for end in ("p16", "p84"))
        inside = (low <= labels[:, i]) & (labels[:, i] <= high)
        holds[name] = float(inside.mean())
        if estimate == "profile":
            named = [name in row.split() for row in measured["profile_intervals"]]
            special[name] = float(np.mean(named))
            among[name] = float(inside[named].mean()) if any(named) else None
    values = np.array(list(holds.values()))
    return {
        "n": len(rows),
        "mean": float(values.mean()),
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "farthest": max(holds, key=lambda name: abs(holds[name] - ONE)),
        "C": holds["C_H"],
        "O": holds["O_H"],
        "holds": holds,
        "from_profile": special,
        "holds_from_profile": among,
        "stars_per_second": n / seconds,
    }


if __name__ == "__main__":
    main()
