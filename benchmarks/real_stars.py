"""Real stars, measured by the command `sk-payne` with the ready emulator.

The folder that SK_PAYNE_DATA names holds the Sun (sun_harps_4000_5000.npz) and files of
telescopes (real/). `sk-payne measure --dry-run` says of each file whether the emulator
covers it. Cool stars that it covers are measured, each with the command line that the
record keeps, and compared with published values.

Two numbers explain the fit of AB Doradus: the relative scatter of its flux on scales
below 1.2 Å, and that of a model of a star that rotates as AB Doradus does.

Writes results/real_stars.json and a figure of each fit.

    python benchmarks/real_stars.py [--figures docs/images]
"""

import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable
from record import RESULTS, data, parser, picture, table, write
from sun import GRID, read_sun, value_of
from timing import Timed

from sk_payne import load
from sk_payne.abundances import FLAGS
from sk_payne.inspection import SpectrumFitDisplay
from sk_payne.spectra import broaden, read_spectra

EMULATOR = "dwarfs-4500-4600"
LAMOST = "spec-55859-F5902_sp01-001_dr7.fits.gz"

# File, options of `sk-payne measure`, and the wavelengths (Å) of the figure.
STARS = {
    "the Sun": (
        "sun.ecsv",
        "--continuum-degree 3 --velocity-range -20,20 --vsini 1.9 --vmac 0,10 "
        "--error-floor fit --clip 4",
        (4540, 4552),
    ),
    "AB Doradus": (
        "eso_sdp_uves_ab_dor.fits",
        "--continuum-degree 2 --velocity-range -100,100 --vsini 0,150",
        (4502, 4520),
    ),
    "LAMOST J220848.54-020324.3": (LAMOST, "--continuum-degree 2", (4500, 4600)),
}

# Value, its error (None if not published), and where it is from.
PUBLISHED = {
    "the Sun": {
        "teff": (5771.0, 1.0, "Heiter et al. 2015"),
        "logg": (4.438, None, "Heiter et al. 2015"),
        "Fe_H": (0.0, None, "zero of the scale"),
        "radial_velocity": (0.0, None, "at rest"),
    },
    "AB Doradus": {"vsini": (80.0, None, "Collier 1982")},
}

# What each file shows, from its header or, for quasars, from the name of the object.
KINDS = {
    "1311230030010963.fits": "a star of GALAH, its red camera",
    "2101150001010011.fits": "a giant of GALAH (header: 4688 K, log g 2.19)",
    "PH957_f.fits": "a quasar (Q 0100+130)",
    "UM184.dat.gz": "a quasar",
    "WASP_69_hpf_stack.fits": "the star WASP-69",
    "XShooter_XQ100.fits.gz": "a quasar (BR J2349-3712)",
    "apStar-r6-2M03290406+3117075.fits": "a star of APOGEE",
    "eso_sdp_uves_ab_dor.fits": "the star AB Doradus",
    "hr2421.fit": "the star HR 2421, gamma Gem, of type A",
    "multispec_equispec.fits": "the giant HR 4659 (header: K2 III)",
    "spec-0266-51602-0031.fits": "a white dwarf (header: WD)",
    LAMOST: "a star (header: G7)",
    "spec-55859-F5902_sp01-013_dr8.fits.gz": "a star (header: A2)",
}
# Stars whose spectra the emulator covers, but which are not as those that it knows.
OUTSIDE = {
    "PH957_f.fits": "a quasar",
    "UM184.dat.gz": "a quasar",
    "hr2421.fit": "hotter than 6000 K; 8 Å a pixel",
    "spec-0266-51602-0031.fits": "a white dwarf",
    "spec-55859-F5902_sp01-013_dr8.fits.gz": "hotter than 6000 K",
}

# Å below which structure cannot be of a star that rotates by 80 km/s at 4510 Å.
SCALE, VSINI = 1.2, 80.0


def main():
    options = parser(__doc__)
    options.add_argument("--figures", type=Path, default=RESULTS)
    figures = options.parse_args().figures
    real = data("real")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for path in [p for p in real.iterdir() if p.name != "README.md"]:
            (folder / path.name).symlink_to(path)
        files = look_at(folder)
        write_sun(folder / "sun.ecsv")
        stars = [measured(name, folder, figures) for name in STARS]
        ripple = small_scatter(folder / STARS["AB Doradus"][0])
        velocities = chi2_of_velocities(folder, stars[-1], LAMOST)
    compared = [row for star in stars for row in compare(star, real)]
    sun = [
        {"label": name, "measured": value, "error": error}
        for name, (value, error) in stars[0]["labels"].items()
        if name.endswith("_H") and error < 0.4
    ]
    for rows in (files, compared, sun):
        table(rows)
    record = {"stars": stars, "compared": compared, "sun": sun, "files": files}
    record |= {"ripple": ripple, "velocities": velocities}
    write("real_stars", record)


def write_sun(path):
    """Write the Sun as a user would: wavelength, flux and error, S/N 200 guessed."""
    wavelength, flux = read_sun()
    QTable(
        {
            "wavelength": wavelength * u.AA,
            "flux": flux,
            "uncertainty": np.full(len(flux), np.median(flux) / 200),
        },
        meta={"medium": "air", "resolving_power": GRID, "frame": "rest"},
    ).write(path)


# The command ----------------------------------------------------------------------


def run(words, folder):
    """Run `sk-payne`; return its JSON, the command line, and seconds."""
    command = [sys.executable, "-m", "sk_payne", *words, "--json"]
    with Timed() as took:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False
        )
    if not done.stdout:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout), shlex.join(["sk-payne", *words]), took.wall


def look_at(folder):
    """Say of each file whether the emulator covers it."""
    words = ["measure", ".", "--emulator", EMULATOR, "--dry-run"]
    asked, _, _ = run(words, folder)
    # files that do not state their medium are looked at with one
    found, _, _ = run([*words, "--medium", "air"], folder)
    rows = []
    for before, after in zip(asked["spectra"], found["spectra"], strict=True):
        name = Path(after["file"]).name
        power = after["resolving_power"]
        rows.append(
            {
                "file": name,
                "kind": KINDS[name],
                "wavelengths": f"{after['low']:.0f}-{after['high']:.0f}",
                "medium": before.get("medium") or "not stated",
                "resolving power": f"{power:,.0f}" if power else "not stated",
                "pixels": after["n_pixels"],
                "measured": verdict(name, after["n_pixels"]),
            }
        )
    return sorted(rows, key=lambda row: (-row["pixels"], row["file"]))


def verdict(name, n_pixels):
    if not n_pixels:
        return "no: other wavelengths"
    return f"no: {OUTSIDE[name]}" if name in OUTSIDE else "yes"


def measured(name, folder, figures):
    """Measure a star by the command, and draw its fit."""
    file, options, limits = STARS[name]
    out = f"{file.split('.')[0]}_measured.ecsv"
    words = ["measure", file, "--emulator", EMULATOR, *options.split(), "--out", out]
    said, command, seconds = run(words, folder)
    if said["failed"]:
        raise SystemExit(f"{command}: {said['failed']}")
    row = QTable.read(folder / out)[0]
    draw(folder, file, options, limits, figures / f"real_{slug(name)}.png")
    fitted = [n for n in row.colnames if f"{n}_error" in row.colnames]
    flags = [key for key, (bit, _) in FLAGS.items() if int(row["flags"]) & bit]
    return {
        "star": name,
        "file": file,
        "command": command,
        "seconds": seconds,
        "labels": {n: [value_of(row, n), value_of(row, f"{n}_error")] for n in fitted},
        "pixels": int(row["n_pixels"]),
        "clipped": int(row["n_clipped"]),
        "chi2/dof": value_of(row, "chi2") / value_of(row, "dof"),
        "error_floor": value_of(row, "error_floor"),
        "flags": ", ".join(flags),
        "label_flags": str(row["label_flags"]),
        "unconstrained": str(row["label_flags"]).count("unconstrained"),
        "frame": str(row["frame"]),
    }


def chi2_of_velocities(folder, star, file):
    """Fit the star again with the velocity fixed, at the survey's and at ours."""
    survey = of_lamost(folder / file)["radial_velocity"][0]
    rows = []
    for of, velocity in {
        "the survey": survey,
        "the fit": star["labels"]["radial_velocity"][0],
    }.items():
        words = star["command"].split()[1:-2]
        words += ["--fixed", f"radial_velocity={velocity:.2f}", "--out", "fixed.ecsv"]
        run([*words, "--restart"], folder)
        row = QTable.read(folder / "fixed.ecsv")[0]
        rows.append(
            {
                "velocity of": of,
                "km/s": velocity,
                "chi2": float(row["chi2"]),
                "pixels": int(row["n_pixels"]),
            }
        )
    return rows


def slug(name):
    return {"the Sun": "sun", "AB Doradus": "ab_doradus"}.get(name, "lamost")


def draw(folder, file, options, limits, path):
    """Draw a part of a fit that can be read on a telephone."""
    import matplotlib.pyplot as plt

    display = fit_of(folder / file, options)
    with plt.rc_context({"font.size": 13}):
        _, axes = plt.subplots(
            2, 1, sharex=True, figsize=(6, 4.8), height_ratios=(3, 1),
            layout="constrained",
        )  # fmt: skip
        display.title = ""
        display.plot(axes, model_kwargs={"lw": 1.5}, data_kwargs={"lw": 2.5})
        axes[0].set_xlim(limits)
        axes[0].xaxis.set_major_locator(plt.MaxNLocator(5, integer=True))
        above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "frameon": False}
        axes[0].legend(ncols=2, **above)
        picture(display.figure_, path)
        plt.close(display.figure_)


def fit_of(path, options):
    """Fit of a star, with the options of the command."""
    from sk_payne.command._main import COMMANDS
    from sk_payne.command._regressor import make_regressor

    words = [str(path), "--emulator", EMULATOR, *options.split()]
    values = COMMANDS["measure"].make_context("measure", words).params
    regressor = make_regressor(load(EMULATOR), values)
    return SpectrumFitDisplay.from_regressor(regressor, [read_spectra(path)])


# What to compare with -------------------------------------------------------------


def compare(star, real):
    """Put measured values beside published ones."""
    published = PUBLISHED.get(star["star"]) or of_lamost(real / star["file"])
    for name, (value, error, source) in published.items():
        found, claimed = star["labels"][name]
        yield {
            "star": star["star"],
            "quantity": name,
            "measured": found,
            "error": claimed,
            "published": value,
            "published error": error,
            "source": source,
            "difference": (found - value) / np.hypot(claimed, error or 0.0),
        }


def of_lamost(path):
    """Velocity in km/s that the survey's pipeline wrote into the header."""
    from astropy.io import fits

    header = fits.getheader(path)
    to_kms = 299_792.458
    return {
        "radial_velocity": (
            header["Z"] * to_kms,
            header["Z_ERR"] * to_kms,
            "header of the file",
        )
    }


def small_scatter(path):
    """Relative scatter of the flux on small scales: observed, by errors, of a model."""
    star = read_spectra(path)
    wavelength, flux = star.wavelength.value, star.flux.value
    use = ~star.mask & (wavelength > 4500)
    error = star.uncertainty.array[use] / flux[use]
    emulator = load(EMULATOR)
    labels = [5000.0, 4.5] + [0.0] * (len(emulator.label_names_) - 2)
    model = broaden(emulator.predict([labels])[0], emulator.wavelength_, vsini=VSINI)
    inside = (emulator.wavelength_ > 4503) & (emulator.wavelength_ < 4520)
    rows = {
        "the spectrum": scatter_below(SCALE, wavelength[use], flux[use]),
        "the errors in the file": float(np.median(error)),
        f"a model of a K dwarf, rotating by {VSINI:.0f} km/s": scatter_below(
            SCALE, emulator.wavelength_[inside], model[inside]
        ),
    }
    return [{"of": name, "scatter": value} for name, value in rows.items()]


def scatter_below(scale, wavelength, flux):
    """Standard deviation of the flux over its running mean of a width in Å."""
    n = round(scale / np.median(np.diff(wavelength)))
    mean = np.convolve(flux, np.full(n, 1 / n), mode="valid")
    return float(np.std(flux[n // 2 :][: len(mean)] / mean))


if __name__ == "__main__":
    main()
