"""Errors of labels where errors of pixels go together along the spectrum.

Mock spectra of The Payne's network on the shipped grid, S/N 100, have further errors of
1 % of the continuum, drawn from a dense covariance with an exponential kernel of 10 or
50 km/s, or a squared exponential one of 10 km/s, which is not the kernel of the fit.
They are measured with labels and a continuum of degree 1 free, without
`error_length` and with "fit". Pulls are of labels whose error is below a fifth of half
of their range.

With --sun, five windows of 20 Å of the spectrum of the Sun are measured apart, as in
sun.py: the scatter of each label between windows is compared with the errors claimed.

Writes results/correlated.json; rows that are there are kept.

    python benchmarks/correlated.py [--stars 300] [--sun] [--arch bigpayne opacity]
"""

import argparse
import json
import warnings
from itertools import pairwise

import numpy as np
from record import RESULTS, machine, table, write
from sun import OBSERVATION, read, spectrum
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.spectra import C_KMS, SpectrumSet

warnings.simplefilter("ignore", ExtrapolationWarning)

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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=int, default=300)
    parser.add_argument("--kernel", nargs="+", default=list(KERNELS))
    parser.add_argument("--sun", action="store_true")
    parser.add_argument("--arch", nargs="+", default=["bigpayne", "opacity"])
    arguments = parser.parse_args()
    path = RESULTS / "correlated.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    mocks, sun = record.get("mocks", []), record.get("sun", [])

    def add(rows, key, function, *given):
        if any(key.items() <= row.items() for row in rows):
            return
        rows.append(key | function(*given))
        write("correlated", {"mocks": mocks, "sun": sun, "machine": machine()})
        print({k: v for k, v in rows[-1].items() if not isinstance(v, dict)})

    if arguments.sun:
        for arch in arguments.arch:
            for length in LENGTHS:
                key = {"arch": arch, "error_length": str(length)}
                add(sun, key, of_sun, arch, length)
    else:
        for kernel in arguments.kernel:
            for length in LENGTHS:
                key = {"kernel": kernel, "error_length": str(length)}
                add(mocks, key, of_mocks, kernel, length, arguments.stars)
    plain = {row["arch"]: row for row in sun if row["error_length"] == "None"}
    for row in sun:
        judge_sun(row, plain[row["arch"]])
    write("correlated", {"mocks": mocks, "sun": sun, "machine": machine()})
    for rows in (mocks, sun):
        table([{k: v for k, v in r.items() if not isinstance(v, dict)} for r in rows])


def of_mocks(kernel, length, n):
    """Pulls of labels of mock stars."""
    emulator, rng = trained("payne"), np.random.default_rng(23)
    low, high = emulator.label_low_, emulator.label_high_
    labels = low + (high - low) * rng.uniform(0.2, 0.8, (n, len(low)))
    flux = emulator.predict(labels).astype(np.float64)
    flux += rng.standard_normal(flux.shape) / SNR
    velocity = C_KMS * np.log(emulator.wavelength_)
    scale, function = KERNELS[kernel]
    if np.isfinite(scale):
        off = np.abs(velocity[:, None] - velocity) / scale
        root = np.linalg.cholesky(function(off) + 1e-10 * np.eye(len(off)))
        flux += SIZE * rng.standard_normal(flux.shape) @ root.T
    spectra = SpectrumSet(
        flux,
        np.full(flux.shape, float(SNR) ** 2),
        wavelength=emulator.wavelength_,
        medium=emulator.medium_,
    )
    observation = Observation(
        velocity_range=None,
        resolving_power="emulator",
        continuum_degree=1,
        emulator_error=False,
        error_length=length,
    )
    found = AbundanceRegressor(emulator, observation).measure(spectra)
    pulls, within = {}, []
    for i, name in enumerate(emulator.label_names_):
        error = found[f"{name}_error"].value
        good = error < 0.2 * (high - low)[i] / 2
        if good.sum() > 0.5 * n:
            off = (found[name].value - labels[:, i])[good]
            pulls[name] = float(np.std(off / error[good]))
            within.append(np.mean(np.abs(off) < error[good]))

    has = found["correlated_error"] > 0
    lengths = found["error_length"].value[has]

    return {
        "n": n,
        "labels": len(pulls),
        "pull_std": float(np.sqrt(np.mean(np.square(list(pulls.values()))))),
        "pull_std_low": min(pulls.values()),
        "pull_std_high": max(pulls.values()),
        "within_1": float(np.mean(within)),
        "stars_with_errors": float(np.mean(has)),
        "correlated_error": float(np.median(found["correlated_error"])),
        "fitted_length": float(np.median(lengths)) if len(lengths) else None,
        "pulls": pulls,
    }


def of_sun(arch, length):
    """Scatter of labels between windows of the Sun, and the errors claimed."""
    emulator = trained(arch)
    wavelength, flux = read()
    observation = Observation(
        **OBSERVATION.get_params(deep=False) | {"error_length": length}
    )
    regressor = AbundanceRegressor(emulator, observation)
    values, errors, others = [], [], []
    for low, high in pairwise(EDGES):
        seen = (wavelength >= low) & (wavelength < high)
        [found] = regressor.measure(spectrum(wavelength[seen], flux[seen]))
        names = emulator.label_names_
        values.append([getattr(found[n], "value", found[n]) for n in names])
        errors.append(
            [getattr(found[f"{n}_error"], "value", found[f"{n}_error"]) for n in names]
        )
        columns = ("error_floor", "correlated_error", "chi2", "dof")
        columns += ("error_length",) * (length is not None)
        others.append({n: float(getattr(found[n], "value", found[n])) for n in columns})
    return {
        "values": dict(zip(names, np.transpose(values).tolist(), strict=True)),
        "errors": dict(zip(names, np.transpose(errors).tolist(), strict=True)),
        "windows": {"rows": others},
    }


def judge_sun(row, plain):
    """Compare the scatter between windows with the errors claimed.

    A window counts for a label if the error with independent pixels is below a fifth of
    half of the label's range, and the value not at an end of it; labels with three
    windows count.
    """
    emulator, rms = trained(row["arch"]), {}
    for i, name in enumerate(emulator.label_names_):
        low, high = emulator.label_low_[i], emulator.label_high_[i]
        half = (high - low) / 2
        value, error = np.array(row["values"][name]), np.array(row["errors"][name])
        good = np.array(plain["errors"][name]) < 0.2 * half
        good &= np.minimum(value - low, high - value) > 1e-3 * half
        if good.sum() < 3:
            continue
        value, weight = value[good], error[good] ** -2.0
        off = value - np.average(value, weights=weight)
        rms[name] = float(np.sqrt((off**2 * weight).sum() / (good.sum() - 1)))
    every = np.array(list(rms.values()))
    row |= {
        "labels": len(rms),
        "pull_rms": float(np.sqrt((every**2).mean())),
        "pull_median": float(np.median(every)),
        "rms": rms,
    }


if __name__ == "__main__":
    main()
