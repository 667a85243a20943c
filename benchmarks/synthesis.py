"""PySME as an engine: spectra it made before, a grid that is killed, and the Sun.

Three parts, each of which is recorded by itself, from the lines and atmospheres in the
folder that the environment variable SK_PAYNE_DATA names. They need PySME.

--agreement: spectra of window_training.npz, which another script computed with PySME,
are computed again. What that script did beyond what is written of it was found on the
spectrum of row 0, one thing after the other, and each of these steps is recorded. Of
rows 1000, 2000 and 3000, the first then differed by 1.6e-4 at its blue end; with row
72, lines up to 10 Å away became lines up to 8 Å away. Three others, which nobody had
looked at, judge.

--sun: the Sun, from its labels, against the HARPS spectrum of sunlight in
sun_harps_4000_5000.npz: a continuum of degree 3, velocity and macroturbulence are
fitted, rotation is 1.9 km/s.

--grid: spectra of the training space of TransformerPayne by `build_grid`, in a process
that is killed twice at random moments and started again; rows that were finished must
not change.

Writes results/synthesis.json, and a figure of the Sun.

    python benchmarks/synthesis.py --agreement --sun [--figure results/synthesis.png]
    python benchmarks/synthesis.py --grid [--n 200] [--n-jobs 2] [--beside "nothing"]
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from record import RESULTS, data, machine, parser, table, update
from scipy.interpolate import make_interp_spline
from scipy.optimize import least_squares
from timing import Timed

from sk_payne.grids import (
    AtmosphereGrid,
    PySMEEngine,
    build_grid,
    open_grid,
    paper_training,
    paper_wavelengths,
    read_grid,
    read_line_list,
)
from sk_payne.spectra import broaden, doppler_factor

FIRST, LAST = 4500.0, 4600.0
RESOLVING_POWER = 50_000
# Of window_training.npz: 52 depths from the fifth to the 67th of the 72 of ATLAS9,
# steps of half a pixel, a Gaussian of R = 50 000 for light that makes 300 000 km/s, and
# lines up to 8 Å away, H beta not among them.
WINDOW_DEPTHS = np.linspace(4, 66, 52)
WINDOW_STEP = 5e-6
WINDOW_RESOLVING_POWER = 50_000 * 299_792.458 / 300_000
WINDOW_MARGIN = 8.0
TUNED_ON, JUDGED_ON = (0, 72), (1500, 2500, 3500)
SUN = {"teff": 5772.0, "logg": 4.438, "vmic": 1.0, "Fe_H": 0.0}
HARPS, VSINI = 115_000, 1.9


def main():
    options = parser(__doc__)
    for name in PARTS:
        options.add_argument(f"--{name}", action="store_true")
    options.add_argument("--n", type=int, default=200)
    options.add_argument("--n-jobs", type=int, default=2)
    options.add_argument("--beside", default="not told", help="other jobs, to record")
    options.add_argument("--figure", type=Path, default=RESULTS / "synthesis.png")
    options.add_argument("--build-into", type=Path, help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.build_into:
        build(arguments.build_into, arguments)
        return
    for name, run in PARTS.items():
        if getattr(arguments, name):
            about = {"machine": machine(), "beside": arguments.beside}
            update("synthesis", **{name: about | run(arguments)})


def read_atmospheres(depths=None):
    """Models at all depths, or interpolated to some, counted from 0 at the surface."""
    with np.load(data("atlas9_k2.npz")) as file:
        nodes = [file[name] for name in ("metallicity", "log_g", "teff")]
        layers = file["layers"].astype(float)
    if depths is not None:
        there = np.arange(layers.shape[3])
        spline = make_interp_spline(there, np.log(layers), k=3, axis=3)
        layers = np.exp(spline(depths))
    return AtmosphereGrid(*nodes, layers)


def read_lines():
    return read_line_list(data("line_list_4000_5000.csv.gz"), medium="air")


# Agreement -----------------------------------------------------------------------


def agreement(_):
    grid = read_grid(data("window_training.npz"))
    settings = {
        "lines": read_lines(),
        "atmospheres": read_atmospheres(),
        "resolving_power": RESOLVING_POWER,
    }
    rows = judge("defaults", settings, grid, TUNED_ON + JUDGED_ON)
    settings["step"] = WINDOW_STEP
    rows += judge("+ steps of half a pixel", settings, grid, TUNED_ON)
    settings["atmospheres"] = read_atmospheres(WINDOW_DEPTHS)
    rows += judge("+ 52 depths", settings, grid, TUNED_ON)
    settings["resolving_power"] = WINDOW_RESOLVING_POWER
    rows += judge("+ R = 49 965", settings, grid, TUNED_ON)
    settings["lines"] = window_lines()
    rows += judge("+ their lines", settings, grid, TUNED_ON + JUDGED_ON)
    table(rows)
    return {"tuned_on": list(TUNED_ON), "judged_on": list(JUDGED_ON), "rows": rows}


def window_lines():
    """Lines that the script of the shared grid gave to PySME."""
    lines = read_lines()
    wavelength = lines["wavelength"].to_value("AA")
    near = wavelength >= FIRST - WINDOW_MARGIN
    near &= wavelength <= LAST + WINDOW_MARGIN
    return lines[near & (lines["species"] != "H 1")]


def judge(name, settings, grid, rows):
    """Differences of some spectra to those of the grid."""
    options = dict(settings)
    lines, atmospheres = options.pop("lines"), options.pop("atmospheres")
    engine = PySMEEngine(lines, atmospheres, medium="air", **options)
    return [{"settings": name, "row": i, **compare(engine, grid, i)} for i in rows]


def compare(engine, grid, row):
    """Difference to one spectrum of the grid, in units of the continuum."""
    star = dict(zip(grid.label_names, grid.data[row].tolist(), strict=True))
    with Timed() as took:
        difference = engine(star, grid.wavelength) - grid.target[row]
    return {
        "mean": float(abs(difference).mean()),
        "largest": float(abs(difference).max()),
        "median, with sign": float(np.median(difference)),
        "seconds": took.wall,
    }


# The Sun -------------------------------------------------------------------------


def sun(arguments):
    engine = PySMEEngine(read_lines(), read_atmospheres(), medium="air")
    fine = np.exp(np.arange(np.log(FIRST - 2), np.log(LAST + 2), 2e-6))
    with Timed() as took:
        synthetic = engine(SUN, fine)
    with np.load(data("sun_harps_4000_5000.npz")) as file:
        window = (file["wavelength"] > FIRST) & (file["wavelength"] < LAST)
        wavelength = file["wavelength"][window]
        flux = file["flux"][window].astype(float)
    flux = flux / np.median(flux)
    x = np.linspace(-1, 1, len(wavelength))

    def model(p):
        vmac, velocity, *coefficients = p
        seen = broaden(synthetic, fine, vsini=VSINI, vmac=vmac, resolving_power=HARPS)
        there = fine * doppler_factor(velocity)
        continuum = np.polynomial.chebyshev.chebval(x, coefficients)
        return continuum, np.interp(wavelength, there, seen)

    def residual(p):
        continuum, normalised = model(p)
        return continuum * normalised - flux

    fit = least_squares(
        residual,
        [3.0, 0.0, 1.2, 0.0, 0.0, 0.0],
        bounds=([0.0, -5.0] + [-3.0] * 4, [10.0, 5.0] + [3.0] * 4),
        loss="soft_l1",
        f_scale=0.02,
    )
    continuum, normalised = model(fit.x)
    observed = flux / continuum
    result = {
        "labels": SUN,
        "correlation": float(np.corrcoef(observed, normalised)[0, 1]),
        "median absolute residual": float(np.median(abs(observed - normalised))),
        "mean absolute residual": float(abs(observed - normalised).mean()),
        "vsini": VSINI,
        "vmac": float(fit.x[0]),
        "velocity": float(fit.x[1]),
        "pixels": len(wavelength),
        "seconds of synthesis": took.wall,
    }
    print(result)
    draw(wavelength, observed, normalised, arguments.figure)
    return result


def draw(wavelength, observed, normalised, path):
    """A fifth of the window: all of it is too dense to look at."""
    from matplotlib import pyplot

    figure, (top, bottom) = pyplot.subplots(
        2, sharex=True, figsize=(10, 5), height_ratios=(3, 1), layout="constrained"
    )
    top.plot(wavelength, observed, color="black", lw=0.8, label="HARPS")
    top.plot(wavelength, normalised, color="tab:red", lw=0.8, label="PySME")
    bottom.plot(wavelength, observed - normalised, color="black", lw=0.8)
    bottom.axhline(0, color="tab:red", lw=0.8)
    top.set(xlim=(4540, 4560), ylim=(0, 1.1), ylabel="flux / continuum")
    top.legend(loc="lower left")
    bottom.set(ylim=(-0.65, 0.4), ylabel="difference", xlabel="wavelength (air) [Å]")
    figure.savefig(path, dpi=120)


# The grid ------------------------------------------------------------------------


def build(folder, arguments):
    wavelength = paper_wavelengths()
    wavelength = wavelength[(wavelength >= FIRST) & (wavelength <= LAST)]
    engine = PySMEEngine(
        read_lines(),
        read_atmospheres(),
        medium="air",
        resolving_power=RESOLVING_POWER,
    )
    warnings.simplefilter("ignore", UserWarning)  # of failures, which are counted below
    build_grid(
        paper_training(),
        engine,
        arguments.n,
        folder,
        wavelength=wavelength,
        medium="air",
        n_jobs=arguments.n_jobs,
        verbose=0,
    )


def grid(arguments):
    rng, n_made = np.random.default_rng(), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "grid")
        seconds, killed, kept = [], [], []
        for is_killed in (True, True, False):
            with Timed() as took:
                child = start_building(path, arguments)
                if is_killed:
                    left = arguments.n - n_made
                    wait_until_made(path, child, n_made + left * rng.uniform(0.1, 0.6))
                    time.sleep(rng.uniform(0, 5))  # wherever it is in its work
                    os.killpg(child.pid, signal.SIGKILL)
                code = child.wait()
            seconds.append(took.wall)
            status = np.load(path / "status.npy")
            if is_killed:
                n_made = int((status == 1).sum())
                killed.append({"rows made": n_made, "code": code})
                kept.append((status == 1, np.load(path / "flux.npy")[status == 1]))
            print(f"{seconds[-1]:.0f} s, exit code {code}, {np.bincount(status)}")
        made = open_grid(path)
        flux = np.load(path / "flux.npy")
    result = {
        "n": arguments.n,
        "n_jobs": arguments.n_jobs,
        "kills": killed,
        "made": int((made.status == 1).sum()),
        "failed": len(made.failures),
        "missing": int((made.status == 0).sum()),
        "failures": {str(row): reason for row, reason in made.failures.items()},
        "changed after a kill": sum(
            int((flux[rows] != before).any(axis=1).sum()) for rows, before in kept
        ),
        "seconds": seconds,
        "spectra/hour": 3600 * arguments.n / sum(seconds),
        "lowest flux": float(flux[made.status == 1].min()),
        "highest flux": float(flux[made.status == 1].max()),
    }
    print(result)
    return result


def start_building(path, arguments):
    """Start a process, and its workers, that can be killed together."""
    command = [sys.executable, __file__, "--build-into", str(path)]
    command += ["--n", str(arguments.n), "--n-jobs", str(arguments.n_jobs)]
    return subprocess.Popen(command, start_new_session=True)


def wait_until_made(path, child, n):
    """Wait until so many spectra are there, as long as the process runs."""
    while child.poll() is None:
        time.sleep(1)
        status = path / "status.npy"
        if status.exists() and (np.load(status) > 0).sum() >= n:
            return


PARTS = {"agreement": agreement, "sun": sun, "grid": grid}

if __name__ == "__main__":
    main()
