"""Training on a grid larger than memory, beside the same training in memory.

The grid is a folder of 20 GB that `open_grid` opens, of 22 315 wavelengths in float32:
512 analytic spectra again and again, with noise of their own. It is made once, in
blocks; an interrupted making goes on. `fit(grid)` streams it; `fit(P, F)` has a subset
of it in memory. Both train the same network with the same batch size, each in a process
of its own whose memory is limited by a cgroup: anonymous memory and page cache together
may take 4 GB, or the process is killed. Where there is no writable cgroup, RLIMIT_DATA
limits the anonymous memory alone, which the record tells.

Steps a second are those after the first ones. Before the first step the file is dropped
from the page cache, and what was read from the disk during the steps is in the record,
as is the largest anonymous memory (RssAnon, every 20 ms). Time before the first step,
when all flux is looked at twice, is given on its own; the ratio does not hold it, nor
held-out spectra, 1 % of both, which are looked at once, at the end. In memory is
measured before and after.

    python benchmarks/out_of_core.py FOLDER [--gigabytes 20] [--steps 300] [--limit 4]
"""

import contextlib
import functools
import json
import mmap
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from record import parser, table, write
from timing import Clock
from tqdm.auto import tqdm

from sk_payne import SpectrumEmulator
from sk_payne.datasets import make_spectra
from sk_payne.grids import open_grid

N_WAVELENGTHS = 22_315
N_DIFFERENT = 512
SNR = 300
WARM_UP = 20
IN_MEMORY_GB = 0.4


def main():
    options = parser(__doc__)
    options.add_argument("folder", type=Path, help="of the grid; made if it is new")
    options.add_argument("--gigabytes", type=float, default=20)
    options.add_argument("--limit", type=float, default=4, help="of memory, in GB")
    options.add_argument("--steps", type=int, default=300)
    options.add_argument("--arch", nargs="+", default=["bigpayne", "payne"])
    options.add_argument("--make-only", action="store_true")
    options.add_argument("--child", choices=["memory", "disk"], help="do not use")
    arguments = options.parse_args()
    if arguments.child:
        print(json.dumps(train(arguments)))
        return
    make_grid(arguments.folder, int(arguments.gigabytes * 1e9 / 4 / N_WAVELENGTHS))
    if arguments.make_only:
        return
    rows = [
        {"arch": arch, "flux": where, **in_a_child(arguments, arch, where)}
        for arch in arguments.arch
        for where in ("memory", "disk", "memory")
    ]
    for row in rows:
        rates = [r["steps/s"] for r in rows if r["arch"] == row["arch"]]
        row["ratio"] = row["steps/s"] / np.mean([rates[0], rates[-1]])
    table(rows)
    record = {
        name: getattr(arguments, name) for name in ("gigabytes", "limit", "steps")
    }
    write("out_of_core", {**record, "n_wavelengths": N_WAVELENGTHS, "rows": rows})


# The grid ------------------------------------------------------------------------


def make_grid(folder, n_spectra):
    """Write what is missing of the grid, block by block."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "grid.json"
    if not manifest.exists():
        lay_out(folder, n_spectra)
    status = np.load(folder / "status.npy", mmap_mode="r+")
    if len(status) != n_spectra:
        sys.exit(f"{folder} holds a grid of {len(status)} spectra, not {n_spectra}.")
    if status.all():
        return
    flux = np.load(folder / "flux.npy", mmap_mode="r+")
    base = base_grid().target.astype(np.float32)
    for start in tqdm(range(0, n_spectra, N_DIFFERENT), unit="block"):
        stop = min(start + N_DIFFERENT, n_spectra)
        if status[start:stop].all():
            continue
        rng = np.random.default_rng(start)
        block = rng.standard_normal(base.shape, dtype=np.float32) / SNR + base
        flux[start:stop] = block[: stop - start]
        flux.flush()
        status[start:stop] = 1
        forget(flux, folder)
    status.flush()


def lay_out(folder, n_spectra):
    """Write the small files, and one for the flux that is empty."""
    grid = base_grid()
    labels = np.resize(grid.data, (n_spectra, grid.data.shape[1]))
    np.save(folder / "labels.npy", labels)
    np.save(folder / "wavelength.npy", grid.wavelength)
    np.save(folder / "status.npy", np.zeros(n_spectra, np.uint8))
    shape = (n_spectra, N_WAVELENGTHS)
    np.lib.format.open_memmap(folder / "flux.npy", "w+", np.float32, shape)
    description = {
        "format": "sk_payne grid",
        "format_version": 1,
        "medium": grid.medium,
        "label_names": grid.label_names,
        "label_units": grid.label_units,
        "fixed": {},
        "provenance": {"made by": Path(__file__).name},
        "versions": {"numpy": np.__version__},
    }
    (folder / "grid.json").write_text(json.dumps(description))


@functools.cache
def base_grid():
    return make_spectra(N_DIFFERENT, n_wavelengths=N_WAVELENGTHS, random_state=0)


def forget(flux, folder):
    """Drop the flux from the page cache, out of which nothing mapped is dropped."""
    flux._mmap.madvise(mmap.MADV_DONTNEED)
    with open(folder / "flux.npy", "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# Training ------------------------------------------------------------------------


class Forgetting(Clock):
    """Drops the flux from the page cache before the first step."""

    def __init__(self, grid, folder):
        super().__init__()
        self.grid, self.folder = grid, folder

    def on_train_begin(self, net, **kwargs):
        forget(self.grid.target, self.folder)
        super().on_train_begin(net, **kwargs)


def train(arguments):
    """Train one network, and tell how fast and in how much memory."""
    grid = open_grid(arguments.folder)
    spectra, clock = (grid,), Forgetting(grid, arguments.folder)
    if arguments.child == "memory":
        n = int(IN_MEMORY_GB * 1e9 / 4 / N_WAVELENGTHS)
        spectra, clock = (grid.data[:n], np.array(grid.target[:n])), Clock()
    disk = Clock(bytes_read)
    emulator = SpectrumEmulator(
        arch=arguments.arch[0],
        max_steps=WARM_UP + arguments.steps,
        recipe={"validate_every": WARM_UP + arguments.steps},
        validation_fraction=0.01,
        callbacks=[clock, disk],
        device="cpu",
        random_state=0,
    )
    with largest_memory() as peak:
        start = time.perf_counter()
        emulator.fit(*spectra)
        seconds = time.perf_counter() - start
    took = clock.times_[-1] - clock.times_[WARM_UP - 1]
    read = disk.times_[-1] - disk.times_[WARM_UP - 1]
    return {
        "n_spectra": len(spectra[0].data),
        "batch": emulator.recipe_.batch_size,
        "steps/s": arguments.steps / took,
        "read MB/s": 1e-6 * read / took,
        "peak GB": peak[0],
        "s before": clock.times_[0] - start,
        "s in all": seconds,
        "mae": float(emulator.held_out_mae_.mean()),
    }


def bytes_read():
    """Bytes that this process had from the disk so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith("read_bytes"))


@contextlib.contextmanager
def largest_memory():
    """Watch the anonymous memory of this process, in GB, in a list of one."""
    peak, done = [0.0], threading.Event()

    def watch():
        while not done.wait(0.02):
            text = Path("/proc/self/status").read_text()
            anonymous = text.split("RssAnon:")[1].split()[0]
            peak[0] = max(peak[0], int(anonymous) * 1024e-9)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield peak
    done.set()
    watcher.join()


# The limit -----------------------------------------------------------------------


def in_a_child(arguments, arch, where):
    """Train in a process of limited memory."""
    command = [sys.executable, __file__, arguments.folder, "--child", where]
    command += ["--steps", str(arguments.steps), "--arch", arch]
    with memory_group(arguments.limit) as group:
        limited = "all memory" if group else "anonymous memory"

        def enter():
            if group:
                (group / "cgroup.procs").write_text(str(os.getpid()))
            else:
                n_bytes = int(arguments.limit * 1e9)
                resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, n_bytes))

        print(f"{arch}, flux in {where} ...", file=sys.stderr)
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, preexec_fn=enter, check=True
        )
    row = {**json.loads(done.stdout.splitlines()[-1]), "limited": limited}
    print(row, file=sys.stderr)
    return row


@contextlib.contextmanager
def memory_group(limit):
    """Make a cgroup of limited memory, of either version, if that is allowed."""
    n_bytes = str(int(limit * 1e9))
    for root, name in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = root / f"sk_payne_{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if not (group / name).exists():
                continue
            (group / name).write_text(n_bytes)
            yield group
        finally:
            group.rmdir()
        return
    yield None


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    main()
