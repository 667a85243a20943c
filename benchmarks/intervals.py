"""Whether 68 % intervals hold: errors of best fits, profiles of chi2, and posteriors.

The test split of the shipped grid, which BigPayne never saw, and spectra that it drew
itself at the same labels, are measured at S/N 50 and 100 with labels and velocity free,
by each of the three estimates. For each label the fraction of stars is counted whose
true value lies in the interval; for profiles also how many intervals are from the
profile of chi2, and how many hold among the stars where they are.

Writes results/intervals.json; rows that are there are kept.

    python benchmarks/intervals.py [--arch bigpayne] [--spectra 300]
"""

import numpy as np
from calibration import ONE, observed
from mocks import spectra_of_grid
from record import Rows, parser, table
from timing import Timed
from trained import trained

from sk_payne import AbundanceRegressor, Observation

ESTIMATES = ("mode", "profile", "mean")


def main():
    options = parser(__doc__)
    options.add_argument("--arch", default="bigpayne")
    options.add_argument("--spectra", type=int, default=300)
    options.add_argument("--estimate", nargs="+", default=ESTIMATES, choices=ESTIMATES)
    options.add_argument("--snr", nargs="+", type=int, default=[100, 50])
    arguments = options.parse_args()
    rows = Rows("intervals")
    emulator = trained(arguments.arch)
    for snr in arguments.snr:
        for spectra in ("test spectra", "drawn by the emulator"):
            for estimate in arguments.estimate:
                key = {"arch": arguments.arch, "snr": snr, "spectra": spectra}
                key["estimate"] = estimate
                own = spectra != "test spectra"
                rows.add(key, judge, emulator, arguments.spectra, snr, own, estimate)
    table(rows)


def judge(emulator, n, snr, own, estimate):
    """Measure spectra by one estimate, and count which intervals hold the truth."""
    labels, flux = spectra_of_grid(n, drawn_by=emulator if own else None)
    spectra, options = observed(emulator, flux, snr, None, 0.0)
    observation = Observation(
        velocity_range=(-100, 100), emulator_error=not own, **options
    )
    regressor = AbundanceRegressor(emulator, observation, estimate=estimate, verbose=1)
    with Timed() as took:
        measured = regressor.measure(spectra)
    holds, special, among = {}, {}, {}
    for i, name in enumerate(emulator.label_names_):
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
        "n": len(labels),
        "mean": float(values.mean()),
        "lowest": float(values.min()),
        "highest": float(values.max()),
        "farthest": max(holds, key=lambda name: abs(holds[name] - ONE)),
        "C": holds["C_H"],
        "O": holds["O_H"],
        "holds": holds,
        "from_profile": special,
        "holds_from_profile": among,
        "stars_per_second": n / took.wall,
    }


if __name__ == "__main__":
    main()
