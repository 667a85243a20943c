"""Errors of labels where errors of pixels go together along the spectrum.

Mock spectra of The Payne's network on the shipped grid, S/N 100, have further errors of
1 % of the continuum, drawn from a dense covariance with an exponential kernel of 10 or
50 km/s, or a squared exponential one of 10 km/s, which is not the kernel of the fit.
They are measured with labels and a continuum of degree 1 free, without
`error_length` and with "fit". Pulls are of labels whose error is below a fifth of half
of their range.

With --sun, five windows of 20 Å of the spectrum of the Sun are measured apart, as in
sun.py: the scatter of each label between windows is compared with the errors claimed.
Labels of each window are in results/raw.

Writes results/correlated.json; rows that are there are kept.

    python benchmarks/correlated.py [--stars 300] [--sun] [--arch bigpayne opacity]
"""

from itertools import pairwise

import numpy as np
from mocks import draw, noisy, observed, pulls
from record import Rows, parser, read, table, update
from sun import OBSERVATION, read_sun, spectrum, value_of
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.spectra import C_KMS

SNR, SIZE = 100, 0.01
KERNELS = {
    "none": (np.inf, lambda x: np.eye(len(x))),
    "exponential, 10 km/s": (10.0, lambda x: np.exp(-x)),
    "exponential, 50 km/s": (50.0, lambda x: np.exp(-x)),
    "squared exponential, 10 km/s": (10.0, lambda x: np.exp(-(x**2) / 2)),
}
LENGTHS = (None, "fit")
EDGES = np.arange(4500.0, 4601.0, 20.0)


def main():
    options = parser(__doc__)
    options.add_argument("--stars", type=int, default=300)
    options.add_argument("--kernel", nargs="+", default=list(KERNELS))
    options.add_argument("--sun", action="store_true")
    options.add_argument("--arch", nargs="+", default=["bigpayne", "opacity"])
    arguments = options.parse_args()
    if arguments.sun:
        rows = Rows("raw/correlated_sun")
        for arch in arguments.arch:
            for length in LENGTHS:
                key = {"arch": arch, "error_length": str(length)}
                rows.add(key, of_sun, arch, length)
        update("correlated", sun=judge_sun(rows))
    else:
        rows = Rows("correlated", "mocks")
        for kernel in arguments.kernel:
            for length in LENGTHS:
                key = {"kernel": kernel, "error_length": str(length)}
                rows.add(key, of_mocks, kernel, length, arguments.stars)
    table(read("correlated")["sun" if arguments.sun else "mocks"])


def of_mocks(kernel, length, n):
    """Pulls of labels of mock stars."""
    emulator, rng = trained("payne"), np.random.default_rng(23)
    labels = draw(emulator, rng, n, 0.2, 0.8)
    flux = noisy(emulator.predict(labels).astype(np.float64), SNR, rng)
    velocity = C_KMS * np.log(emulator.wavelength_)
    scale, function = KERNELS[kernel]
    if np.isfinite(scale):
        off = np.abs(velocity[:, None] - velocity) / scale
        root = np.linalg.cholesky(function(off) + 1e-10 * np.eye(len(off)))
        flux += SIZE * rng.standard_normal(flux.shape) @ root.T
    observation = Observation(
        velocity_range=None,
        resolving_power="emulator",
        continuum_degree=1,
        emulator_error=False,
        error_length=length,
    )
    regressor = AbundanceRegressor(emulator, observation)
    found = regressor.measure(observed(emulator, flux, SNR))
    of_label = {
        name: pull[good]
        for name, pull, good in zip(
            emulator.label_names_, *pulls(emulator, found, labels), strict=True
        )
        if good.sum() > 0.5 * n
    }
    std = {name: float(np.std(pull)) for name, pull in of_label.items()}
    within = [np.mean(np.abs(pull) < 1) for pull in of_label.values()]
    has = found["correlated_error"] > 0
    lengths = found["error_length"].value[has]
    return {
        "n": n,
        "labels": len(std),
        "pull_std": float(np.sqrt(np.mean(np.square(list(std.values()))))),
        "pull_std_low": min(std.values()),
        "pull_std_high": max(std.values()),
        "within_1": float(np.mean(within)),
        "stars_with_errors": float(np.mean(has)),
        "correlated_error": float(np.median(found["correlated_error"])),
        "fitted_length": float(np.median(lengths)) if len(lengths) else None,
        "pulls": std,
    }


def of_sun(arch, length):
    """Labels of the Sun, window by window, and the errors claimed."""
    emulator = trained(arch)
    wavelength, flux = read_sun()
    observation = Observation(
        **OBSERVATION.get_params(deep=False) | {"error_length": length}
    )
    regressor = AbundanceRegressor(emulator, observation)
    values, errors, others = [], [], []
    for low, high in pairwise(EDGES):
        seen = (wavelength >= low) & (wavelength < high)
        [found] = regressor.measure(spectrum(wavelength[seen], flux[seen]))
        names = emulator.label_names_
        values.append([value_of(found, n) for n in names])
        errors.append([value_of(found, f"{n}_error") for n in names])
        columns = ("error_floor", "correlated_error", "chi2", "dof")
        columns += ("error_length",) * (length is not None)
        others.append({n: value_of(found, n) for n in columns})
    return {
        "values": dict(zip(names, np.transpose(values).tolist(), strict=True)),
        "errors": dict(zip(names, np.transpose(errors).tolist(), strict=True)),
        "windows": {"rows": others},
    }


def judge_sun(rows):
    """Compare the scatter between windows with the errors claimed.

    A window counts for a label if the error with independent pixels is below a tenth of
    the label's range, and the value not at an end of it; labels with three windows
    count.
    """
    summary = []
    for row in rows:
        key = {name: row[name] for name in ("arch", "error_length")}
        [independent] = rows.find(key | {"error_length": "None"})
        summary.append(key | found_in(row) | scatter(row, independent))
    return summary


def found_in(row):
    """Smallest and largest of the correlated errors and lengths of the windows."""
    if row["error_length"] == "None":
        return {}
    return {
        f"{name}_{end}": choose(window[name] for window in row["windows"]["rows"])
        for name in ("correlated_error", "error_length")
        for end, choose in (("low", min), ("high", max))
    }


def scatter(row, independent):
    """Scatter of the labels of one emulator, in errors claimed."""
    emulator, rms = trained(row["arch"]), {}
    for i, name in enumerate(emulator.label_names_):
        low, high = emulator.label_low_[i], emulator.label_high_[i]
        half = (high - low) / 2
        value, error = np.array(row["values"][name]), np.array(row["errors"][name])
        good = np.array(independent["errors"][name]) < 0.2 * half
        good &= np.minimum(value - low, high - value) > 1e-3 * half
        if good.sum() < 3:
            continue
        value, weight = value[good], error[good] ** -2.0
        off = value - np.average(value, weights=weight)
        rms[name] = float(np.sqrt((off**2 * weight).sum() / (good.sum() - 1)))
    every = np.array(list(rms.values()))
    return {
        "labels": len(rms),
        "pull_rms": float(np.sqrt((every**2).mean())),
        "pull_median": float(np.median(every)),
        "rms": rms,
    }


if __name__ == "__main__":
    main()
