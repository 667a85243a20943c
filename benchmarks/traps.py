"""Which errors of a spectrum do chi2, the flags and the test of residuals notice?

Mock spectra of The Payne's network on the shipped grid, 4500-4600 Å, at S/N 30, 50,
100 and 300, each spoilt in one way: a gain that differs by 3 % (standard deviation)
between orders of 25 Å; a telluric line with an optical depth of 0.35 and a width of 3
km/s; a cosmic ray over six neighbouring pixels, 15 % of the continuum high; a second
star, 800 K cooler, with 10 % of the light, 30 km/s away; a resolving power of 35 000
that is taken for 50 000; wavelengths in air that are taken for those in vacuum, with
velocities sought within 100 and within 50 km/s of zero. They are measured with labels
and velocity free, without a continuum and with one of degree 2. Good mock spectra, with
errors of the emulator allowed for and without, and the test split of the grid, which
the emulator did not make, tell of false alarms.

Writes results/traps.json, one row for each case, S/N and degree; rows that are there
are kept.

    python benchmarks/traps.py [--stars 30] [--good 100] [--case "second star"]
        [--degree None 2]
"""

import numpy as np
from mocks import draw, noisy, observed, pulls, spectra_of_grid
from record import Rows, parser, table
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import FLAGS
from sk_payne.spectra import C_KMS, broaden, doppler_factor

SNRS, DEGREES = (30, 50, 100, 300), {"None": None, "2": 2}
# Flags that good stars have as well, and those this benchmark is about.
USUAL = ("LABEL_AT_EDGE", "UNCONSTRAINED", "LOW_CHI2")
OWN = ("HIGH_CHI2", "CORRELATED_RESIDUALS")


def gain(wavelength, flux, rng, **_):
    order = ((wavelength - wavelength[0]) // 25).astype(int)
    factor = 1 + 0.03 * rng.standard_normal((len(flux), order.max() + 1))
    return flux * factor[:, order]


def telluric_line(wavelength, flux, rng, **_):
    centre = rng.uniform(wavelength[0] + 5, wavelength[-1] - 5, (len(flux), 1))
    off = (wavelength - centre) / (centre * 3 / C_KMS)
    return flux * np.exp(-0.35 * np.exp(-(off**2) / 2))


def cosmic_ray(wavelength, flux, rng, **_):
    flux = flux.copy()
    for row, pixel in enumerate(rng.integers(100, len(wavelength) - 100, len(flux))):
        flux[row, pixel : pixel + 6] += 0.15
    return flux


def second_star(wavelength, flux, rng, emulator, labels):
    cooler = labels.copy()
    cooler[:, 0] = np.maximum(cooler[:, 0] - 800, emulator.label_low_[0])
    rest = wavelength / doppler_factor(30.0)
    other = [np.interp(rest, wavelength, f) for f in emulator.predict(cooler)]
    return (flux + 0.1 * np.array(other)) / 1.1


def wrong_power(wavelength, flux, rng, emulator, **_):
    own = emulator.resolving_power_
    return broaden(flux, wavelength, resolving_power=0.7 * own, already=own)


def unspoilt(wavelength, flux, rng, **_):
    return flux


CASES = {
    "good": (unspoilt, {}),
    "good, emulator exact": (unspoilt, {"emulator_error": False}),
    "gain": (gain, {}),
    "telluric line": (telluric_line, {}),
    "cosmic ray": (cosmic_ray, {}),
    "second star": (second_star, {}),
    "resolving power": (wrong_power, {}),
    "medium": (unspoilt, {"medium": "vacuum"}),
    "medium, velocity known": (
        unspoilt,
        {"medium": "vacuum", "velocity_range": (-50, 50)},
    ),
    "grid": (unspoilt, {"on_grid": True}),
    "grid, bigpayne": (unspoilt, {"on_grid": True, "arch": "bigpayne"}),
}
GOOD = ("good", "good, emulator exact", "grid", "grid, bigpayne")


def main():
    options = parser(__doc__)
    options.add_argument("--stars", type=int, default=30)
    options.add_argument("--good", type=int, default=100)
    options.add_argument("--case", nargs="+", default=list(CASES), choices=list(CASES))
    options.add_argument("--degree", nargs="+", default=list(DEGREES))
    arguments = options.parse_args()
    rows = Rows("traps")
    for case in arguments.case:
        for degree in arguments.degree:
            for snr in SNRS:
                key = {"case": case, "snr": snr, "continuum_degree": degree}
                n = arguments.good if case in GOOD else arguments.stars
                rows.add(key, judge, case, n, snr, DEGREES[degree])
    table(rows)


def judge(case, n, snr, degree):
    """Measure spoilt spectra; give the shares of them that are noticed."""
    spoil, options = CASES[case]
    emulator = trained(options.get("arch", "payne"))
    rng = np.random.default_rng(17)
    labels = draw(emulator, rng, n, 0.15, 0.85)
    if options.get("on_grid"):
        labels, flux = spectra_of_grid(n)
    else:
        flux = emulator.predict(labels).astype(np.float64)
    flux = spoil(emulator.wavelength_, flux, rng, emulator=emulator, labels=labels)
    flux = noisy(flux, snr, rng)
    velocity = rng.uniform(-15, 15, n)
    spectra = observed(emulator, flux, snr, velocity, options.get("medium"))
    observation = Observation(
        velocity_range=options.get("velocity_range", (-100, 100)),
        resolving_power="emulator",
        continuum_degree=degree,
        emulator_error=options.get("emulator_error", True),
    )
    found = AbundanceRegressor(emulator, observation).measure(spectra)
    return shares(found, emulator, labels)


def shares(found, emulator, labels):
    """Shares of the stars that each flag notices, and how wrong labels are."""
    flags = np.asarray(found["flags"])
    has = {name: (flags & bit) > 0 for name, (bit, _) in FLAGS.items()}
    existing = [has[name] for name in FLAGS if name not in (*USUAL, *OWN)]
    existing = np.any(existing, axis=0)
    noticed = existing | has["HIGH_CHI2"] | has["CORRELATED_RESIDUALS"]
    return {
        "n": len(found),
        "bad_fit": float(has["BAD_FIT"].mean()),
        "existing": float(existing.mean()),
        "high_chi2": float(has["HIGH_CHI2"].mean()),
        "correlated": float(has["CORRELATED_RESIDUALS"].mean()),
        "noticed": float(noticed.mean()),
        "chi2_per_dof": float(np.median(found["chi2"] / found["dof"])),
        "pull": float(np.median(np.abs(pulls(emulator, found, labels)[0]))),
        "flags": {n: float(w.mean()) for n, w in has.items() if w.any()},
    }


if __name__ == "__main__":
    main()
