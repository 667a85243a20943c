"""Many stars: a catalogue that two processes measure, and that is killed on the way.

Mock stars of The Payne of benchmarks/trained.py, uniform in labels and velocity over
the whole box, at S/N 100, are written to files of 1000 stars each. Two processes of one
thread share a catalogue (sk_payne.abundances.measure_catalogue), in parts of one file.
When a third of the parts exists, both are killed (SIGKILL); then two others finish it.
With --everything, rotation and a continuum of degree 2 are free as well. With
--learn-start, fits start from a neural posterior that one of the processes trains.

Stars a second are those of all seconds in which processes ran, training, start of the
processes and what the kill destroyed included. Seconds of reading and fitting are sums
over both processes; those of writing are of all parts, timed alone. Memory is the peak
of the larger process, when 10, 50 and 100 % of the parts exist. 200 random stars are
measured again without a catalogue and compared to the last bit. "plan" is what the same
stars would take if there were 10 million: time and space are proportional to stars.

An interrupted run goes on where it stopped. Writes results/many_stars.json, one row for
each case. Files are kept in results/many_stars/, and may be removed.

    python benchmarks/many_stars.py [--stars 100000] [--everything] [--learn-start]
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from copy import copy
from pathlib import Path

import numpy as np
import torch
from record import RESULTS, Rows, machine, parser, table
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import ForwardModel, measure_catalogue, read_catalogue
from sk_payne.neural_posterior import NeuralPosterior
from sk_payne.spectra import SpectrumSet, doppler_factor

SNR, TILT, N_SAMPLED, N_PROCESSES = 100.0, 0.1, 200, 2
MARGIN = 200.0  # km/s from the ends of the emulator, without data
MARKS = {"10 %": 0.1, "50 %": 0.5}  # parts of the catalogue, for the memory
PLANNED = 10_000_000
FREE = {
    "labels and velocity": {},
    "everything": {"vsini": (0.0, 40.0), "continuum_degree": 2},
}


def main():
    arguments = parsed()
    torch.set_num_threads(1)
    survey = Survey(arguments)
    if arguments.measure:
        threading.Thread(target=end_with_parent, daemon=True).start()
        survey.measure()
        return
    survey.make_files()
    state = Run(survey, arguments).finish()
    row = survey.row() | state
    row["plan"] = plan(row)
    rows = Rows("many_stars")
    rows.drop({name: row[name] for name in ("free", "start")})
    rows.append({**row, "machine": machine()})
    rows.save()
    table(rows)


def parsed():
    options = parser(__doc__)
    options.add_argument("--stars", type=int, default=100_000)
    options.add_argument("--per-file", type=int, default=1000, help="stars of a file")
    options.add_argument("--everything", action="store_true", help="is free")
    options.add_argument("--learn-start", action="store_true")
    options.add_argument("--steps", type=int, default=2500, help="of the training")
    options.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    return options.parse_args()


class Survey:
    """Files of mock stars, and the call that measures them."""

    def __init__(self, arguments):
        self.free = "everything" if arguments.everything else "labels and velocity"
        self.n, self.per_file = arguments.stars, arguments.per_file
        self.emulator = trained("payne")
        self.observation = Observation(
            velocity_range=(-100.0, 100.0),
            resolving_power="emulator",
            emulator_error=False,
            **FREE[self.free],
        )
        self.regressor = AbundanceRegressor(self.emulator, self.observation)
        self.untrained = None
        if arguments.learn_start:
            self.untrained = NeuralPosterior.of(
                self.regressor, max_steps=arguments.steps, random_state=0
            )
        root = RESULTS / "many_stars"
        self.spectra = root / f"{self.free.split()[0]}_{self.n}_{self.per_file}"
        end = "learned" if arguments.learn_start else "plain"
        self.folder = root / f"{self.spectra.name}_{end}"
        n_files = -(-self.n // self.per_file)
        self.files = [self.spectra / f"{i:06d}.npy" for i in range(n_files)]

    def make_files(self):
        """Write spectra, unless they are there."""
        self.spectra.mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(self.files):
            if not file.exists():
                partial = file.with_suffix(".partial.npy")
                np.save(partial, self._flux(number))
                partial.replace(file)

    def _flux(self, number):
        rng = np.random.default_rng([0, number])
        n = min(self.per_file, self.n - number * self.per_file)
        model = ForwardModel(self.emulator, self.observation)
        low, high = model.parameters.low, model.parameters.high
        labels = rng.uniform(low, high, (n, len(low)))
        flux = model.star(0).flux(labels).double().numpy()
        flux += rng.standard_normal(flux.shape) / SNR
        if self.observation.continuum_degree is not None:
            x = np.linspace(-1, 1, flux.shape[1])
            tilt = rng.uniform(-TILT, TILT, (n, 3))
            flux *= 1 + tilt @ np.polynomial.chebyshev.chebvander(x, 2).T
        return flux.astype(np.float32)

    def read(self, path):
        """Read the stars of a file."""
        grid = self.emulator.wavelength_
        low, high = grid[[0, -1]] * doppler_factor(np.array([MARGIN, -MARGIN]))
        flux = np.load(path).astype(np.float64)
        ivar = np.where((grid > low) & (grid < high), SNR**2, 0.0)
        return SpectrumSet(
            flux,
            np.tile(ivar, (len(flux), 1)),
            wavelength=grid,
            medium=self.emulator.medium_,
        )

    def measure(self):
        """Measure all stars, as one of several processes, and log what takes time."""
        read = timed(self.read, self.folder, "reading")
        fit = AbundanceRegressor.measure
        AbundanceRegressor.measure = timed(fit, self.folder, "fitting")
        measure_catalogue(
            self.regressor,
            self.files,
            self.folder / "catalogue",
            reader=read,
            chunk_size=1,
            learn_start=self.untrained,
            verbose=0,
        )

    def row(self):
        """Check the finished catalogue."""
        stars = read_catalogue(self.folder / "catalogue")
        counts = np.bincount(stars["item"], minlength=len(self.files))
        sizes = np.full(len(self.files), self.per_file)
        sizes[-1] = self.n - self.per_file * (len(sizes) - 1)
        parts = sorted((self.folder / "catalogue").glob("part-*"))
        seconds = {"reading": 0.0, "fitting": 0.0, "writing": write_time(parts)}
        for line in (self.folder / "log").read_text().splitlines():
            name, value = line.split()
            seconds[name] += float(value)
        return {
            "free": self.free,
            "start": "scan" if self.untrained is None else "learned",
            "stars": self.n,
            "processes": N_PROCESSES,
            "once": int(sizes[counts == sizes].sum()),
            "equal": self._n_equal(stars),
            "sampled": min(N_SAMPLED, self.n),
            **{f"seconds, {name}": value for name, value in seconds.items()},
            "bytes a star, spectra": sum(f.stat().st_size for f in self.files) / self.n,
            "bytes a star, catalogue": sum(p.stat().st_size for p in parts) / self.n,
        }

    def _n_equal(self, stars):
        """Count stars of a sample that a direct call measures equally, to the bit."""
        regressor = self.regressor
        if self.untrained is not None:
            file = self.folder / "catalogue" / "start.safetensors"
            regressor = AbundanceRegressor(
                self.emulator, self.observation, start=copy(self.untrained).load(file)
            )
        rng = np.random.default_rng(1)
        sample = np.sort(rng.choice(self.n, min(N_SAMPLED, self.n), replace=False))
        n_equal = 0
        for i in sample:
            spectra = self.read(self.files[i // self.per_file])[[i % self.per_file]]
            alone = regressor.measure(spectra)
            same = [
                np.array_equal(
                    np.asarray(alone[name]),
                    np.asarray(stars[name][[i]]),
                    equal_nan=alone[name].dtype.kind == "f",
                )
                for name in alone.colnames
            ]
            n_equal += all(same)
        return n_equal


def timed(function, folder, name):
    """Log the seconds of every call of a function; a kill loses at most one."""

    def call(*args, **kwargs):
        begin = time.perf_counter()
        result = function(*args, **kwargs)
        with open(folder / "log", "ab", buffering=0) as log:
            log.write(f"{name} {time.perf_counter() - begin:.6f}\n".encode())
        return result

    return call


def end_with_parent():
    """End this process when the one that has started it ends."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def write_time(parts):
    """Seconds in which all parts are written, from those of one."""
    from astropy.table import QTable

    one = QTable.read(parts[0], format="ascii.ecsv")
    begin = time.perf_counter()
    one.write(parts[0].parent.parent / "written", format="ascii.ecsv", overwrite=True)
    return (time.perf_counter() - begin) * len(parts)


class Run:
    """Processes that measure a survey, and what is known of them, kept in a file."""

    def __init__(self, survey, arguments):
        self.survey, self.command = survey, [sys.executable, __file__, *sys.argv[1:]]
        self.command.append("--measure")
        self.folder = survey.folder
        self.folder.mkdir(exist_ok=True)
        self.path = self.folder / "run.json"
        self.state = {"seconds": 0.0, "killed": None, "training": None, "memory": {}}
        self.state |= {"peak": 0.0, "done": False}
        if self.path.exists():
            self.state = json.loads(self.path.read_text())

    def finish(self):
        """Run until the catalogue is complete; kill once on the way."""
        while not self.state["done"]:
            self._round()
        state = self.state
        return {
            "seconds": state["seconds"],
            "stars/s": self.survey.n / state["seconds"],
            "seconds, training": state["training"] or 0.0,
            "parts at the kill": state["killed"],
            **{f"MB at {k}": v for k, v in state["memory"].items()},
            "MB at 100 %": state["peak"],
        }

    def _round(self):
        """Run processes until they end, or are killed at a third of the parts."""
        processes = [subprocess.Popen(self.command) for _ in range(N_PROCESSES)]
        last = time.perf_counter()
        try:
            while any(one.poll() is None for one in processes):
                time.sleep(0.2)
                now = time.perf_counter()
                self.state["seconds"] += now - last
                last = now
                n_parts = len(list(self.folder.glob("catalogue/part-*.ecsv")))
                self._note(n_parts / len(self.survey.files), processes)
                if self.state["killed"] is None and 3 * n_parts >= len(
                    self.survey.files
                ):
                    self.state["killed"] = n_parts
                    for one in processes:
                        one.send_signal(signal.SIGKILL)
                    return
        finally:
            for one in processes:
                one.kill()
                one.wait()
            self._keep()
        codes = [one.returncode for one in processes]
        if any(codes):
            raise RuntimeError(f"Processes ended with {codes}.")
        self.state["done"] = True
        self._keep()

    def _note(self, part, processes):
        """Note the end of the training, and peaks of the memory."""
        if self.survey.untrained is not None and self.state["training"] is None:
            if (self.folder / "catalogue" / "start.safetensors").exists():
                self.state["training"] = self.state["seconds"]
        # 0 after their end
        self.state["peak"] = max(map(peak_memory, processes)) or self.state["peak"]
        for name, mark in MARKS.items():
            if part >= mark and name not in self.state["memory"]:
                self.state["memory"][name] = self.state["peak"]
        self._keep()

    def _keep(self):
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.state))
        os.replace(partial, self.path)


def peak_memory(process):
    """Largest resident memory of a process so far, in MB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(found[0]) / 1024 if found else 0.0


def plan(row):
    """What 10 million such stars take."""
    hours = PLANNED / row["stars/s"] * row["processes"] / 3600
    return {
        "stars": PLANNED,
        "core hours": hours,
        "cores for a day": hours / 24,
        "TB of spectra": PLANNED * row["bytes a star, spectra"] / 1e12,
        "GB of catalogue": PLANNED * row["bytes a star, catalogue"] / 1e9,
        "GB of memory a process": max(
            value for name, value in row.items() if name.startswith("MB at")
        )
        / 1e3,
    }


if __name__ == "__main__":
    main()
