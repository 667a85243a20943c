"""The Sun as a star: labels from its observed spectrum, which nobody computed.

An emulator is trained on the shipped grid and inverted on the HARPS spectrum of
sunlight in sun_harps_4000_5000.npz, in the folder that the environment variable
SK_PAYNE_DATA names: 4500-4600 Å, not normalised. It is smeared from a resolving power
of 115 000 to the 50 000 of the grid. The continuum, a polynomial of degree 3, velocity
and macroturbulence are free; rotation is 1.9 km/s. The line list is the limit, not
noise: errors, of S/N 200, get a floor that is fitted, and pixels beyond four of them
are left out.

Writes results/sun.json and a figure (results/sun.png unless --figure says where).

    python benchmarks/sun.py [--arch bigpayne] [--figure docs/images/sun.png]
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from record import RESULTS, table, write
from specutils import Spectrum

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator, load
from sk_payne.datasets import load_sme_grid
from sk_payne.inspection import SpectrumFitDisplay
from sk_payne.spectra import broaden

HARPS, GRID = 115_000, 50_000
# Of the Sun: IAU 2015 resolution B3, and the composition that [X/H] refers to.
SUN = {"teff": 5772.0, "logg": 4.438}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="bigpayne")
    parser.add_argument("--figure", type=Path, default=RESULTS / "sun.png")
    arguments = parser.parse_args()
    emulator = train(arguments.arch)
    regressor = AbundanceRegressor(
        emulator,
        Observation(
            continuum_degree=3,
            velocity_range=(-20, 20),
            vsini=1.9,
            vmac=(0, 10),
            error_floor="fit",
            clip=4,
        ),
    )
    wavelength, flux = read()
    star = spectrum(wavelength, flux)
    start = time.perf_counter()
    measured, model = regressor.measure(star, return_model=True)
    seconds = time.perf_counter() - start
    rows = [
        {
            "label": name,
            "measured": float(measured[name][0].value),
            "error": float(measured[f"{name}_error"][0].value),
            "Sun": SUN.get(name, 0.0),
        }
        for name in emulator.label_names_
    ]
    table(rows)
    rest = {
        name: float(measured[name][0].value) for name in ("radial_velocity", "vmac")
    }
    rest |= {
        "scatter": float(np.nanstd(flux - model[0]) / np.median(flux)),
        "floor": float(measured["error_floor"][0]),
        "pixels": int(measured["n_pixels"][0]),
        "clipped": int(measured["n_clipped"][0]),
        "iterations": int(measured["n_iterations"][0]),
        "chi2/dof": float(measured["chi2"][0] / measured["dof"][0]),
        "flags": int(measured["flags"][0]),
        "seconds": seconds,
    }
    print(rest)
    write("sun", {"arch": arguments.arch, "rows": rows, **rest})
    draw(regressor, star, arguments.figure)


def train(arch):
    """Give an emulator of the training split of the shipped grid, trained once."""
    path = RESULTS / f"sun_{arch}.safetensors"
    if path.exists():
        return load(path)
    grid = load_sme_grid()
    emulator = SpectrumEmulator(
        arch=arch,
        wavelength=grid.wavelength,
        medium=grid.medium,
        resolving_power=grid.resolving_power,
        label_names=grid.label_names,
        label_units=grid.label_units,
        random_state=0,
        verbose=1,
    ).fit(grid.data[grid.train_indices], grid.target[grid.train_indices])
    emulator.save(path)
    return emulator


def read():
    """Give the spectrum of the Sun at the resolving power of the grid."""
    folder = os.environ.get("SK_PAYNE_DATA")
    if not folder:
        raise SystemExit("Set SK_PAYNE_DATA to the folder of sun_harps_4000_5000.npz.")
    with np.load(Path(folder, "sun_harps_4000_5000.npz")) as file:
        wavelength, flux = file["wavelength"], file["flux"].astype(float)
    flux = broaden(flux, wavelength, resolving_power=GRID, already=HARPS)
    window = (wavelength > 4500) & (wavelength < 4600)
    # every fourth pixel, 0.04 Å, samples what is left twice per resolution element
    return wavelength[window][::4], flux[window][::4]


def spectrum(wavelength, flux):
    return Spectrum(
        flux=flux * u.dimensionless_unscaled,
        spectral_axis=wavelength * u.AA,
        uncertainty=StdDevUncertainty(np.full(len(flux), np.median(flux) / 200)),
        meta={"medium": "air"},
    )


def draw(regressor, star, path):
    """Draw a fifth of the window: all of it is too dense to look at."""
    import matplotlib

    matplotlib.use("agg")
    display = SpectrumFitDisplay.from_regressor(regressor, star).plot()
    display.ax_[0].set_xlim(4540, 4560)
    display.figure_.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
