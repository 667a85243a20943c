"""Stars per second against scipy's curve_fit, and whether the answers agree.

The same network (The Payne, 30 labels, 22 315 wavelengths), spectra (its own, S/N 100),
bounds and start, in one run. curve_fit (method "trf") gets one star at a time, bounds,
errors, and no derivatives, through a forward pass in plain numpy, as users of The Payne
do it.

    python benchmarks/inversion.py [--stars 64] [--peer-stars 4] [--wavelengths 22315]
"""

import argparse
import time

import numpy as np
from record import table, write
from scipy.optimize import curve_fit
from scipy.special import erf

from sk_payne import AbundanceRegressor, SpectrumEmulator
from sk_payne.datasets import make_spectra

ELEMENTS = "C O Na Mg Al Si K Ca Sc Ti V Cr Mn Fe Co Ni Ba".split()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=int, default=64)
    parser.add_argument("--peer-stars", type=int, default=4)
    parser.add_argument("--wavelengths", type=int, default=22_315)
    parser.add_argument("--snr", type=float, default=100.0)
    arguments = parser.parse_args()
    emulator, truth = trained(arguments.wavelengths)
    rng = np.random.default_rng(2)
    truth = truth[: arguments.stars]
    flux = emulator.predict(truth)
    flux += rng.normal(scale=1 / arguments.snr, size=flux.shape)

    regressor = AbundanceRegressor(
        emulator, snr=arguments.snr, velocity_range=None, emulator_error=False
    )
    regressor.predict(flux[:2])  # first calls allocate
    start = time.perf_counter()
    ours, error = regressor.predict(flux, return_std=True)
    our_rate = len(flux) / (time.perf_counter() - start)

    n = arguments.peer_stars
    start = time.perf_counter()
    theirs, their_error = curve_fit_stars(emulator, flux[:n], 1 / arguments.snr)
    their_rate = n / (time.perf_counter() - start)

    off = np.abs(ours[:n] - theirs) / error[:n]
    rows = [
        {
            "method": "sk_payne",
            "stars/s": our_rate,
            "median |pull|": float(np.median(np.abs(ours - truth) / error)),
        },
        {
            "method": "curve_fit",
            "stars/s": their_rate,
            "median |pull|": float(np.median(np.abs(theirs - truth[:n]) / their_error)),
        },
    ]
    table(rows)
    print(f"\n{our_rate / their_rate:.0f} times as many stars a second.")
    print(f"Differences in units of the error: median {np.median(off):.1e}, ", end="")
    print(f"largest {off.max():.1e}; ratio of errors ", end="")
    print(f"{np.median(error[:n] / their_error):.4f}.")
    write(
        "inversion",
        {
            "n_wavelengths": arguments.wavelengths,
            "n_labels": truth.shape[1],
            "n_stars": len(flux),
            "n_peer_stars": n,
            "ratio": our_rate / their_rate,
            "largest_difference_sigma": float(off.max()),
            "median_difference_sigma": float(np.median(off)),
            "error_ratio": float(np.median(error[:n] / their_error)),
            "rows": rows,
        },
    )


def trained(n_wavelengths):
    """The Payne on toy spectra with 30 labels, and labels of further stars.

    Two sets of analytic spectra, of 19 and of 11 labels, from two windows, multiplied.
    """
    span = np.exp(1e-5 * (n_wavelengths - 1))
    parts = []
    for start, n_labels, seed in ((4000.0, 19, 0), (5500.0, 11, 1)):
        names = ("teff", "logg", *(f"{element}_H" for element in ELEMENTS))
        part = make_spectra(
            1064,
            n_wavelengths=n_wavelengths,
            wavelength_range=(start, start * span),
            label_names=names[:n_labels],
            resolving_power=50_000,
            random_state=seed,
        )
        parts.append(part)
    labels = np.hstack([part.data for part in parts])
    flux = parts[0].target * parts[1].target
    emulator = SpectrumEmulator(
        arch="payne",
        wavelength=parts[0].wavelength,
        medium="air",
        max_steps=1500,
        random_state=0,
        verbose=1,
    ).fit(labels[:1000], flux[:1000])
    inside = np.clip(labels[1000:], emulator.label_low_, emulator.label_high_)
    return emulator, inside


def curve_fit_stars(emulator, flux, sigma):
    """Fit stars one by one with scipy, from the middle of the box."""
    module = emulator.to_torch()
    linear = [layer for layer in module.network.layers if hasattr(layer, "weight")]
    weights = [(w.weight.double().numpy(), w.bias.double().numpy()) for w in linear]
    offset = emulator._scaling.flux_offset
    scale = emulator._scaling.flux_scale
    low, high = emulator.label_low_, emulator.label_high_
    center, half = (low + high) / 2, (high - low) / 2

    def model(_, *scaled):
        hidden = np.array(scaled)
        for matrix, bias in weights[:-1]:
            hidden = matrix @ hidden + bias
            hidden = 0.5 * hidden * (1 + erf(hidden / np.sqrt(2)))
        return offset + scale * (weights[-1][0] @ hidden + weights[-1][1])

    labels, errors = [], []
    for star in flux:
        best, covariance = curve_fit(
            model,
            np.arange(len(star)),
            star,
            p0=np.zeros(len(low)),
            sigma=np.full(len(star), sigma),
            absolute_sigma=True,
            bounds=(-1, 1),
            method="trf",
        )
        labels.append(center + half * best)
        errors.append(half * np.sqrt(np.diag(covariance)))
    return np.array(labels), np.array(errors)


if __name__ == "__main__":
    main()
