"""Whether errors of labels hold on spectra that the emulator did not make.

The test split of the shipped grid, 300 spectra that were used neither for training nor
for calibration, is measured with labels and velocity free: at S/N 50, 100 and 300 and
without noise; in a window of 30 Å; with a third of the pixels masked; at R = 20 000;
with vsini = 20 km/s. Spectra that the emulator drew itself are measured as well, and
test spectra by means of the posterior instead of best fits.

For each label: how many true values lie within one and two of the errors claimed, and
the median error claimed over the robust scatter of the label (sharpness). For all
labels together: how many true values lie in the regions of 68.27 and 95.45 %, by the
rise of chi2 (`likelihood_ratio`), and by the ellipsoid of the covariance; and TARP, the
largest difference of expected and nominal coverage, of the claimed distributions, or of
the samples that means are from.

Writes results/calibration.json, one row for each architecture and case; rows that are
there are kept. --draw draws docs/images/calibration.png from it.

    python benchmarks/calibration.py [--arch bigpayne opacity transformer]
        [--case "S/N 100"] [--spectra 300] [--draw]
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from mocks import noisy, spectra_of_grid
from mocks import observed as spectra_of
from record import Rows, parser, table
from scipy.stats import binom
from timing import Timed
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances._fitted_emulator import fitted_emulator_of
from sk_payne.abundances._likelihood_ratio import rises_of_chi2
from sk_payne.abundances._measure import measure_stars
from sk_payne.abundances._plan import plan_fit
from sk_payne.abundances._posterior import weigh_posterior
from sk_payne.recovery import joint_distance, joint_probability
from sk_payne.recovery._truth_levels import tarp_levels
from sk_payne.recovery._uniformity import kolmogorov_smirnov
from sk_payne.spectra import broaden

VELOCITY = 20.0
ONE, TWO = 0.6827, 0.9545
# S/N that stands for no noise
EXACT = 1e5

CASES = {
    "S/N 50": {"snr": 50},
    "S/N 100": {"snr": 100},
    "S/N 300": {"snr": 300},
    "no noise": {"snr": EXACT},
    "window of 30 A": {"snr": 100, "window": (4535.0, 4565.0)},
    "third masked": {"snr": 100, "masked": 1 / 3},
    "R = 20 000": {"snr": 100, "resolving_power": 20_000.0},
    "vsini = 20 km/s": {"snr": 100, "vsini": 20.0},
    "drawn by the emulator": {"snr": 100, "own": True},
    # means and standard deviations of the posterior instead of best fits
    "means, S/N 50": {"snr": 50, "estimate": "mean"},
    "means, S/N 100": {"snr": 100, "estimate": "mean"},
    "means, S/N 300": {"snr": 300, "estimate": "mean"},
    # errors of single pixels only, as if they were independent
    "independent errors": {"snr": 100, "independent": True},
}


def main():
    options = parser(__doc__)
    options.add_argument("--arch", nargs="+", default=["bigpayne", "opacity"])
    options.add_argument("--case", nargs="+", default=list(CASES), choices=list(CASES))
    options.add_argument("--spectra", type=int, default=300)
    options.add_argument("--draw", action="store_true")
    arguments = options.parse_args()
    rows = Rows("calibration")
    for arch in arguments.arch:
        emulator = trained(arch)
        for case in arguments.case:
            key = {"arch": arch, "case": case}
            rows.add(key, judge, emulator, arguments.spectra, **CASES[case])
    table(rows)
    if arguments.draw:
        draw([row for row in rows if row["arch"] == arguments.arch[0]])


def draw(rows):
    """Draw how many stars lie within one and two errors of each label."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    by_case = {row["case"]: row for row in rows}
    for case, fill in (("independent errors", "none"), ("S/N 100", "full")):
        row = by_case[case]
        for name, probability, color in (
            ("within_1_sigma", ONE, "C0"),
            ("within_2_sigma", TWO, "C1"),
        ):
            part = row[name]
            ax.plot(list(part), list(part.values()), "o", c=color, fillstyle=fill)
            low, high = binom.interval(0.95, row["n"], probability)
            ax.axhspan(low / row["n"], high / row["n"], color="0.85", zorder=0)
            ax.axhline(probability, color="0.5", lw=0.8, zorder=0)
    ax.set(ylim=(0, 1), ylabel="part of the stars")
    ax.tick_params(axis="x", rotation=90)
    path = Path(__file__).parent.parent / "docs" / "images" / "calibration.png"
    figure.savefig(path, dpi=120)
    print("Wrote", path)


def judge(
    emulator,
    n,
    snr,
    own=False,
    independent=False,
    estimate="mode",
    window=None,
    masked=0.0,
    **width,
):
    """Measure test spectra in one case, and compare with their labels."""
    labels, flux = spectra_of_grid(n, drawn_by=emulator if own else None)
    spectra, options = observed(emulator, flux, snr, window, masked, **width)
    observation = Observation(
        velocity_range=(-100, 100), emulator_error=not own, **options
    )
    fitted = fitted_emulator_of(AbundanceRegressor(emulator, observation))
    if independent:
        fitted = replace(fitted, label_errors=None)
    plan = plan_fit(
        fitted,
        spectra,
        observation,
        fixed=None,
        priors=None,
        estimate=estimate,
        max_iterations=100,
    )
    with Timed() as took:
        found = measure_stars(plan, verbose=1)
    names = plan.parameters.names[: labels.shape[1]]
    off = found.labels - labels
    pulls = np.abs(off) / found.errors
    robust = np.quantile(np.abs(off), ONE, axis=0)
    rise, n_free = rises_of_chi2(plan, found, labels)
    probability = joint_probability(rise.clip(0), n_free, found.error_dof)
    distance, n_free = joint_distance(labels, found.labels, found.label_covariance)
    ellipsoid = joint_probability(distance, n_free, found.error_dof)
    samples = None
    if estimate == "mean":
        rng = np.random.RandomState(0)
        drawn = weigh_posterior(plan, found, n_draws=192, random_state=rng, verbose=0)
        samples = drawn.samples[:, :, : labels.shape[1]]
    tarp = tarp_levels(
        labels,
        found.labels,
        found.label_covariance,
        dof=found.error_dof,
        rng=np.random.RandomState(1),
        samples=samples,
    )
    per_label = {
        "within_1_sigma": (pulls < 1).mean(axis=0),
        "within_2_sigma": (pulls < 2).mean(axis=0),
        "sharpness": np.median(found.errors, axis=0) / robust,
    }
    return {
        "n": len(labels),
        **{
            name: dict(zip(names, part.tolist(), strict=True))
            for name, part in per_label.items()
        },
        **{
            f"{name}_{end}": float(of(per_label[f"within_{n}_sigma"]))
            for n, end in ((1, "68"), (2, "95"))
            for name, of in (("mean", np.mean), ("low", np.min), ("high", np.max))
        },
        "sharpness_max": float(per_label["sharpness"].max()),
        "joint_68": float((probability < ONE).mean()),
        "joint_95": float((probability < TWO).mean()),
        "ellipsoid_68": float((ellipsoid < ONE).mean()),
        "ellipsoid_95": float((ellipsoid < TWO).mean()),
        "tarp": float(kolmogorov_smirnov(tarp)[0]),
        "error_dof": float(np.median(found.error_dof)),
        "stars_per_second": len(labels) / took.wall,
    }


def observed(emulator, flux, snr, window, masked, vsini=None, resolving_power=None):
    """Shift, broaden and spoil spectra; give them and options of an observation."""
    rng = np.random.default_rng(8)
    wavelength, options = emulator.wavelength_, {"resolving_power": "emulator"}
    if vsini is not None:
        flux = broaden(flux, wavelength, vsini=vsini)
        options["vsini"] = (0.0, 40.0)
    if resolving_power is not None:
        own = emulator.resolving_power_
        flux = broaden(flux, wavelength, resolving_power=resolving_power, already=own)
        options["resolving_power"] = resolving_power
    flux = noisy(flux, snr, rng)
    seen = rng.random(flux.shape) >= masked
    if window is not None:
        seen &= (wavelength >= window[0]) & (wavelength <= window[1])
    return spectra_of(emulator, flux, snr, VELOCITY, seen=seen), options


if __name__ == "__main__":
    main()
