"""Stars measured a second with The Payne on the shipped grid, 19 labels, S/N 100.

Three fits: labels alone; with the radial velocity; and with rotation and a continuum of
degree 2 as well. The emulator is trained for a few hundred steps; its error is part of
those of the pixels. With --arch, an emulator of benchmarks/trained.py is taken, whose
error is left out, as the stars are its own; then nothing is written. To compare two
versions of the package on one machine, call the script with the folder of each in
PYTHONPATH, in turns.

    python benchmarks/stars.py [--stars 64] [--threads 2] [--arch payne]
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from record import parser, table, write
from specutils import Spectrum
from timing import Timed
from trained import emulator_of, trained

import sk_payne
from sk_payne import AbundanceRegressor
from sk_payne.datasets import load_sme_grid

CASES = {
    "labels": {"velocity_range": None},
    "velocity": {},
    "everything": {"vsini": (0, 40), "continuum_degree": 2},
}


def main():
    options = parser(__doc__)
    options.add_argument("--stars", type=int, default=64)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--arch")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    emulator, stars = observed(arguments.stars, arguments.arch)
    rows = []
    for name, options in CASES.items():
        options = options | {"emulator_error": arguments.arch is None}
        regressor = regressor_of(emulator, options)
        regressor.measure(stars[:2])
        with Timed() as took:
            regressor.measure(stars)
        n = len(stars)
        rate, cpu = n / took.wall, 1e3 * took.cpu / n
        rows.append({"fit": name, "stars/s": rate, "CPU ms a star": cpu})
    table(rows)
    if arguments.arch:
        return
    folder = str(Path(sk_payne.__file__).parent.parent.name)
    write(
        "stars",
        {"stars": n, "threads": arguments.threads, "package": folder, "rows": rows},
    )


def regressor_of(emulator, options):
    """Give a regressor, also of versions that had no Observation."""
    if hasattr(sk_payne, "Observation"):
        return AbundanceRegressor(emulator, sk_payne.Observation(**options))
    return AbundanceRegressor(emulator, **options)


def observed(n, arch):
    """An emulator, and stars of it with noise."""
    grid = load_sme_grid()
    rows = grid.train_indices[:1000]
    emulator = trained(arch) if arch else quickly_trained(grid, rows)
    flux = emulator.predict(grid.data[rows[:n]])
    flux = np.random.default_rng(0).normal(flux, 0.01)
    stars = [
        Spectrum(
            flux=row * u.one,
            spectral_axis=grid.wavelength * u.AA,
            uncertainty=StdDevUncertainty(np.full(len(row), 0.01)),
            meta={"medium": grid.medium, "resolving_power": grid.resolving_power},
        )
        for row in flux
    ]
    return emulator, stars


def quickly_trained(grid, rows):
    """Train The Payne for a few hundred steps."""
    return emulator_of(
        grid,
        arch="payne",
        resolving_power=grid.resolving_power,
        max_steps=400,
        device="cpu",
        random_state=0,
    ).fit(grid.data[rows], grid.target[rows])


if __name__ == "__main__":
    main()
