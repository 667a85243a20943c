"""The Sun as a star: labels from its observed spectrum, which nobody computed.

Emulators of the shipped grid, five trainings of BigPayne's network and three of the
opacity network that differ by their seeds, are inverted on the HARPS spectrum of
sunlight in sun_harps_4000_5000.npz, in the folder that the environment variable
SK_PAYNE_DATA names: 4500-4600 Å, not normalised. It is smeared from a resolving power
of 115 000 to the 50 000 of the grid. The continuum, a polynomial of degree 3, velocity
and macroturbulence are free; rotation is 1.9 km/s. The line list is the limit, not
noise: errors, of S/N 200, get a floor that is fitted, and pixels beyond four of them
are left out.

Writes results/sun.json and two figures: the fit, and labels of all trainings.

    python benchmarks/sun.py [--emulators bigpayne:0 ...] [--figures docs/images]
"""

from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from record import RESULTS, data, parser, plain, table, write
from specutils import Spectrum
from timing import Timed
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.inspection import SpectrumFitDisplay
from sk_payne.spectra import broaden

HARPS, GRID = 115_000, 50_000
# Of the Sun: IAU 2015 resolution B3, and the composition that [X/H] refers to.
SUN = {"teff": 5772.0, "logg": 4.438}
EMULATORS = [f"bigpayne:{i}" for i in range(5)] + [f"opacity:{i}" for i in range(3)]
OBSERVATION = Observation(
    continuum_degree=3,
    velocity_range=(-20, 20),
    resolving_power="emulator",
    vsini=1.9,
    vmac=(0, 10),
    error_floor="fit",
    clip=4,
)
# Labels with errors above this, in dex, are not drawn.
WEAK = 0.4


def main():
    options = parser(__doc__)
    options.add_argument("--emulators", nargs="+", default=EMULATORS)
    options.add_argument("--figures", type=Path, default=RESULTS)
    arguments = options.parse_args()
    wavelength, flux = read_sun()
    star, stars = spectrum(wavelength, flux), []
    for name in arguments.emulators:
        arch, seed = name.split(":")
        emulator = trained(arch, int(seed))
        regressor = AbundanceRegressor(emulator, OBSERVATION, search="thorough")
        with Timed() as took:
            measured, model = regressor.measure(star, return_model=True)
        stars.append(
            {"arch": arch, "seed": int(seed), "seconds": took.wall}
            | row_of(emulator, measured[0], flux, model[0])
        )
        print(plain(stars[-1]), flush=True)
        if len(stars) == 1:
            draw_fit(regressor, star, arguments.figures / "sun.png")
    summary = summarise(stars)
    table(summary)
    write("sun", {"stars": stars, "summary": summary})
    draw_seeds(stars, arguments.figures / "sun_seeds.png")


def row_of(emulator, measured, flux, model):
    """Labels and quality of one fit."""
    return {
        "labels": {
            name: [value_of(measured, name), value_of(measured, f"{name}_error")]
            for name in emulator.label_names_
        },
        "radial_velocity": value_of(measured, "radial_velocity"),
        "vmac": value_of(measured, "vmac"),
        "scatter": float(np.nanstd(flux - model) / np.median(flux)),
        "floor": value_of(measured, "error_floor"),
        "pixels": int(measured["n_pixels"]),
        "clipped": int(measured["n_clipped"]),
        "iterations": int(measured["n_iterations"]),
        "chi2/dof": float(measured["chi2"] / measured["dof"]),
        "flags": int(measured["flags"]),
        "label_flags": str(measured["label_flags"]),
    }


def value_of(row, name):
    """Give a value of a row of a table, without its unit."""
    return float(getattr(row[name], "value", row[name]))


def summarise(stars):
    """Mean, spread over seeds and claimed error of each label and architecture."""
    rows = []
    for name in stars[0]["labels"]:
        row = {"label": name, "Sun": SUN.get(name, 0.0)}
        for arch in dict.fromkeys(star["arch"] for star in stars):
            pairs = [s["labels"][name] for s in stars if s["arch"] == arch]
            value, error = np.transpose(pairs)
            row |= {
                f"{arch} mean": float(value.mean()),
                f"{arch} spread": float(value.std(ddof=1)) if len(value) > 1 else 0.0,
                f"{arch} range": float(np.ptp(value)),
                f"{arch} error": float(np.median(error)),
            }
        rows.append(row)
    return rows


def read_sun():
    """Give the spectrum of the Sun at the resolving power of the grid."""
    with np.load(data("sun_harps_4000_5000.npz")) as file:
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


def draw_fit(regressor, star, path):
    """Draw a fifth of the window, without a title: the page has all labels."""
    display = SpectrumFitDisplay.from_regressor(regressor, star).plot()
    display.ax_[0].set_title("")
    display.ax_[0].set_xlim(4540, 4560)
    display.figure_.savefig(path, dpi=120)


def draw_seeds(stars, path):
    """Draw abundances of all trainings, those that the window constrains."""
    import matplotlib.pyplot as plt

    names = [
        name
        for name in stars[0]["labels"]
        if name.endswith("_H") and max(star["labels"][name][1] for star in stars) < WEAK
    ]
    figure, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    archs = list(dict.fromkeys(star["arch"] for star in stars))
    for i, star in enumerate(stars):
        value, error = np.transpose([star["labels"][name] for name in names])
        place = np.arange(len(names)) + (i - (len(stars) - 1) / 2) * 0.08
        color = f"C{archs.index(star['arch'])}"
        first = i == [s["arch"] for s in stars].index(star["arch"])
        label = star["arch"] if first else None
        ax.errorbar(place, value, error, fmt="o", ms=3, color=color, label=label, lw=1)
    ax.axhline(0, color="0.6", lw=1, zorder=0)
    ax.set_xticks(range(len(names)), [name.removesuffix("_H") for name in names])
    ax.set_ylabel("[X/H] of the Sun")
    ax.legend(title="each point a training", ncols=2)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
