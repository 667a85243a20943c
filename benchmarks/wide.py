"""Time, memory and size of every architecture on the grid of the paper: 4000-5000 Å.

The grid is a folder of `build_grid` with the 22 315 wavelengths and 20 labels of
`paper_training`, of which the first spectra are used; a tenth of them is held out. Each
stage of each architecture runs in a process of its own, whose largest resident memory
is recorded:

fit       a few steps, then domain, held-out errors and, with 100 spectra or more,
          errors of labels, as any `fit`
save      load, then write the file again; its size is recorded
predict   flux of 100 stars at all wavelengths
window    labels and velocity of 5 stars, seen from 4500 to 4800 Å, S/N 100
whole     the same stars, seen from 4010 to 4990 Å

Times are seconds of one core, which other jobs beside it hardly change. The networks
are hardly trained: fits take more iterations than those of good emulators; they end
after 10 from each start, and their number is recorded.

Stages are not repeated if they are in the record: after an interruption, the same
command goes on.

    python benchmarks/wide.py FOLDER [--form payne ...] [--steps 20] [--spectra 110]
        [--without whole]
"""

import json
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
from astropy.nddata import StdDevUncertainty
from paper import FORMS
from record import RESULTS, parser, read, table, write
from timing import Timed
from trained import count_weights, emulator_of

from sk_payne import AbundanceRegressor, Observation, load
from sk_payne.grids import open_grid
from sk_payne.spectra import to_spectrum

STAGES = ("fit", "save", "predict", "window", "whole")
WINDOWS = {"window": (4500.0, 4800.0), "whole": (4010.0, 4990.0)}
FACTS = ("steps", "spectra")
N_PREDICTED, N_STARS, SNR, VELOCITY, N_ITERATIONS = 100, 5, 100, (-50, 50), 10


def main():
    arguments = parse()
    if arguments.stage:
        print(json.dumps(globals()[arguments.stage](arguments)))
        return
    rows = {row["form"]: row for row in read(arguments.name).get("rows", [])}
    facts = {name: getattr(arguments, name) for name in FACTS}
    for stage in STAGES:
        for form in arguments.form:
            row = rows.setdefault(form, facts | {"form": form})
            if f"{stage} s" not in row and stage not in arguments.without:
                row |= in_a_child(arguments, form, stage)
                print(row, file=sys.stderr)
                write(arguments.name, {"rows": list(rows.values())})
    for row in rows.values():
        table([row])


def parse():
    options = parser(__doc__)
    options.add_argument("folder", type=Path, help="of the grid")
    options.add_argument("--form", nargs="+", default=list(FORMS), choices=FORMS)
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--spectra", type=int, default=110)
    options.add_argument("--name", default="wide", help="of the record")
    options.add_argument("--without", nargs="+", default=[], choices=STAGES)
    options.add_argument("--stage", choices=STAGES, help="do not use")
    return options.parse_args()


def in_a_child(arguments, form, stage):
    """Run one stage in a process of its own."""
    command = [sys.executable, __file__, arguments.folder, "--stage", stage]
    command += ["--form", form, "--steps", str(arguments.steps)]
    command += ["--spectra", str(arguments.spectra), "--name", arguments.name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        return {f"{stage} failed": done.returncode}
    return json.loads(done.stdout.splitlines()[-1])


def measured(stage, function):
    """Result of a function, its core seconds, and the largest memory of the process."""
    with Timed() as took:
        result = function()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-9
    return result, {f"{stage} s": took.cpu, f"{stage} GB": peak}


# Stages --------------------------------------------------------------------------


def fit(arguments):
    grid = open_grid(arguments.folder)
    arch, arch_params = FORMS[arguments.form[0]]
    rows = slice(arguments.spectra)
    emulator = emulator_of(
        grid,
        arch=arch,
        arch_params=arch_params,
        max_steps=arguments.steps,
        random_state=0,
        device="cpu",
    )
    flux = np.array(grid.target[rows])
    _, row = measured("fit", lambda: emulator.fit(grid.data[rows], flux))
    emulator.save(path_of(arguments))
    return {"weights": count_weights(emulator), **row}


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
    regressor = AbundanceRegressor(
        emulator,
        Observation(velocity_range=VELOCITY),
        max_iterations=N_ITERATIONS,
    )
    spectra = to_spectrum(flux, grid.wavelength[seen], grid.medium)
    spectra.uncertainty = StdDevUncertainty(np.full(flux.shape, 1 / SNR))
    found, row = measured(stage, lambda: regressor.measure(spectra))
    return row | {f"{stage} iterations": int(np.sum(found["n_iterations"]))}


def path_of(arguments):
    return RESULTS / f"{arguments.name}_{arguments.form[0]}.safetensors"


if __name__ == "__main__":
    # an emulator of a few steps fits badly, and says so
    warnings.simplefilter("ignore")
    main()
