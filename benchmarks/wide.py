"""Time, memory and size of every architecture on the grid of the paper: 4000-5000 Å.

The grid is a folder of `build_grid` with the 22 315 wavelengths and 20 labels of
`paper_training`, of which the first spectra are used; a tenth of them is held out. Each
stage of each architecture runs in a process of its own, whose largest resident memory
is recorded:

fit       a few steps, then domain, held-out errors and errors of labels, as any `fit`
save      load, then write the file again; its size is recorded
predict   flux of 100 stars at all wavelengths
window    labels and velocity of 5 stars, seen from 4500 to 4800 Å, S/N 100
whole     the same stars, seen from 4010 to 4990 Å

The networks are hardly trained, so that numbers of iterations, and the times of the
last two stages, are those of poor fits: times are given for each iteration too.

    python benchmarks/wide.py FOLDER [--arch payne ...] [--steps 30] [--spectra 160]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from astropy.nddata import StdDevUncertainty
from record import RESULTS, table, write

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator, load
from sk_payne.grids import open_grid
from sk_payne.networks import NETWORKS
from sk_payne.spectra import to_spectrum

ARCHITECTURES = [name for name in NETWORKS if name != "cannon"]
STAGES = ("fit", "save", "predict", "window", "whole")
WINDOWS = {"window": (4500.0, 4800.0), "whole": (4010.0, 4990.0)}
N_PREDICTED, N_STARS, SNR, VELOCITY = 100, 5, 100, (-50, 50)


def main():
    arguments = parse()
    if arguments.stage:
        print(json.dumps(globals()[arguments.stage](arguments)))
        return
    rows = []
    for arch in arguments.arch:
        row = {"arch": arch}
        for stage in STAGES:
            row |= in_a_child(arguments, arch, stage)
            print(row, file=sys.stderr)
        rows.append(row)
    table(rows)
    names = ("steps", "spectra")
    facts = {name: getattr(arguments, name) for name in names}
    write(arguments.name, {**facts, "n_predicted": N_PREDICTED, "rows": rows})


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the grid")
    parser.add_argument("--arch", nargs="+", default=ARCHITECTURES)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--spectra", type=int, default=160)
    parser.add_argument("--name", default="wide", help="of the record")
    parser.add_argument("--stage", choices=STAGES, help="do not use")
    return parser.parse_args()


def in_a_child(arguments, arch, stage):
    """Run one stage in a process of its own; time and memory of a failed one too."""
    command = [sys.executable, __file__, arguments.folder, "--stage", stage]
    command += ["--arch", arch, "--steps", str(arguments.steps)]
    command += ["--spectra", str(arguments.spectra), "--name", arguments.name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return {f"{stage} failed": done.returncode}
    return json.loads(done.stdout.splitlines()[-1])


def measured(stage, function):
    """Result of a function; its seconds, and the largest memory of this process."""
    start = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-9
    return result, {f"{stage} s": seconds, f"{stage} GB": peak}


# Stages --------------------------------------------------------------------------


def fit(arguments):
    grid = open_grid(arguments.folder)
    rows = slice(arguments.spectra)
    emulator = SpectrumEmulator(
        arch=arguments.arch[0],
        wavelength=grid.wavelength,
        medium=grid.medium,
        label_names=grid.label_names,
        label_units=grid.label_units,
        max_steps=arguments.steps,
        random_state=0,
        device="cpu",
    )
    flux = np.array(grid.target[rows])
    _, row = measured("fit", lambda: emulator.fit(grid.data[rows], flux))
    emulator.save(path_of(arguments))
    weights = sum(w.numel() for w in emulator.to_torch().parameters())
    return {"weights": weights, **row}


def save(arguments):
    path = path_of(arguments)
    emulator, row = measured("load", lambda: load(path))
    row |= measured("save", lambda: emulator.save(path))[1]
    return {**row, "MB": os.path.getsize(path) * 1e-6}


def predict(arguments):
    emulator = load(path_of(arguments))
    labels = open_grid(arguments.folder).data[:N_PREDICTED].astype(np.float32)
    return measured("predict", lambda: emulator.predict(labels))[1]


def window(arguments):
    return measure(arguments, "window")


def whole(arguments):
    return measure(arguments, "whole")


def measure(arguments, stage):
    emulator, grid = load(path_of(arguments)), open_grid(arguments.folder)
    low, high = WINDOWS[stage]
    seen = (grid.wavelength >= low) & (grid.wavelength <= high)
    rng = np.random.default_rng(0)
    flux = np.array(grid.target[:N_STARS])[:, seen].astype(float)
    flux += rng.standard_normal(flux.shape) / SNR
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=VELOCITY))
    spectra = to_spectrum(flux, grid.wavelength[seen], grid.medium)
    spectra.uncertainty = StdDevUncertainty(np.full(flux.shape, 1 / SNR))
    found, row = measured(stage, lambda: regressor.measure(spectra))
    return row | {f"{stage} iterations": int(np.sum(found["n_iterations"]))}


def path_of(arguments):
    return RESULTS / f"{arguments.name}_{arguments.arch[0]}.safetensors"


if __name__ == "__main__":
    # an emulator of a few steps fits badly, and says so
    warnings.simplefilter("ignore")
    main()
