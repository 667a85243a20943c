"""What an accelerator gives, in one command of less than eight minutes.

1. tests: those of the suite whose names have "device", run on this device.
2. steps: optimisation steps a second in bfloat16, for three sizes of transformer and
   BigPayne on the shipped grid, and their share of the limit: the rate of a large
   product of bfloat16 matrices. Floating-point operations are those of the matrix
   products, three times as many for a step as for a forward pass.
3. predictions: spectra a second at the 2198 wavelengths of the shipped grid.
4. trainings: OpacityPayne and BigPayne by their default recipes on the shipped grid,
   with errors on held-out and test spectra. Where the time is too short for all steps,
   "steps" is less than "recipe_steps", and the errors are larger than they could be.
5. stars: stars a second with these two emulators, all labels, velocity, vsini and a
   continuum of degree 2 free, S/N 100.

The record is written after each part, so that an interruption keeps what is done. A
part that fails leaves its message in the record, and the next one begins.

    python benchmarks/gpu.py [--device cuda] [--minutes 7.5] [--parts tests steps ...]
    python benchmarks/gpu.py --device cpu --small    # shares of the limit mean nothing
"""

import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from emulators import judge
from record import parser, table, write
from timing import Timed, least_seconds
from trained import emulator_of
from training import flop_per_star

from sk_payne.datasets import load_sme_grid
from sk_payne.networks import default_recipe

ROOT = Path(__file__).parents[1]
CASES = {
    "transformer 64 x 4": {"width": 64, "n_layers": 4, "batch": 128, "drawn": 256},
    "transformer 128 x 8": {"width": 128, "n_layers": 8, "batch": 64, "drawn": 256},
    "transformer 256 x 16": {"width": 256, "n_layers": 16, "batch": 32, "drawn": 256},
    "bigpayne, batch 64": {"n_hidden": 1024, "n_layers": 4, "batch": 64},
    "bigpayne, batch 2048": {"n_hidden": 1024, "n_layers": 4, "batch": 2048},
}
SMALL_CASES = {
    "transformer 32 x 1": {"width": 32, "n_layers": 1, "batch": 4, "drawn": 32},
    "transformer 32 x 2": {"width": 32, "n_layers": 2, "batch": 4, "drawn": 32},
    "transformer 64 x 2": {"width": 64, "n_layers": 2, "batch": 4, "drawn": 32},
    "bigpayne, batch 4": {"n_hidden": 64, "n_layers": 4, "batch": 4},
}
SMALL_ARCH_PARAMS = {
    "opacity": {"n_populations": 8, "n_hidden": 16, "width": 8},
    "bigpayne": {"n_hidden": 32},
    "transformer": {"width": 32, "n_layers": 1},
}


class Bench:
    """Device, grid and sizes, and what several parts need.

    Attributes
    ----------
    trained : dict of str to SpectrumEmulator
        By architecture.
    """

    def __init__(self, arguments):
        self.device, self.small = arguments.device, arguments.small
        self.deadline = time.perf_counter() + 60 * arguments.minutes
        self.grid = load_sme_grid()
        self.trained = {}

    @property
    def left(self):
        """Seconds until the deadline."""
        return self.deadline - time.perf_counter()

    def synchronize(self):
        """Wait for the device."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)

    def seconds(self, call, repeat=3):
        """Time a call, best of some, after one that allocates."""

        def finished():
            call()
            self.synchronize()

        return least_seconds(finished, repeat)

    def fit(self, arch, max_steps, arch_params=None, recipe=None, held_out=0.0):
        """Train on the training split, or on part of it; return seconds, too."""
        rows = self.grid.train_indices[: 200 if self.small else None]
        if arch_params is None and self.small:
            arch_params = SMALL_ARCH_PARAMS[arch]
        emulator = emulator_of(
            self.grid,
            arch=arch,
            arch_params=arch_params,
            resolving_power=self.grid.resolving_power,
            max_steps=max_steps,
            recipe=recipe,
            validation_fraction=held_out,
            device=self.device,
            random_state=0,
        )
        with Timed() as took:
            emulator.fit(self.grid.data[rows], self.grid.target[rows])
            self.synchronize()
        return emulator, took.wall

    def step_seconds(self, arch, budget, **options):
        """Seconds of a step: two trainings differ by steps only."""
        few, many = (2, 6) if self.small else (10, 60)
        self.fit(arch, few, **options)  # the first one compiles and allocates
        _, short = self.fit(arch, few, **options)
        _, long = self.fit(arch, many, **options)
        step = max(long - short, 1e-9) / (many - few)
        n = int(np.clip(budget / step, many, 2000))
        if self.small or n < 2 * many:
            return step
        _, longest = self.fit(arch, few + n, **options)
        return (longest - short) / n


def run_tests(bench):
    """Run the tests of devices in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "tests", "-k", "device"]
    # where "device" is an argument or a file
    for name in ("common", "layers", "public_api"):
        command.append(f"--ignore=tests/test_{name}.py")
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider"],
            cwd=ROOT,
            env={**os.environ, "SK_PAYNE_DEVICE": bench.device},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=min(bench.left, 150),
            check=False,
        )
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        status, output = "timed out", error.stdout or b""
    lines = output.decode().splitlines()
    return {
        "exit status": status,
        "seconds": round(time.perf_counter() - start, 1),
        "summary": lines[-1] if lines else "",
        "failed": [line for line in lines if line.startswith(("FAILED", "ERROR"))],
    }


def measure_steps(bench):
    """Steps a second, and the part of the limit that they reach."""
    limit = matrix_product_rate(bench)
    rows = []
    for name, case in (SMALL_CASES if bench.small else CASES).items():
        arch = name.split(",")[0].split()[0]
        params = {k: v for k, v in case.items() if k not in ("batch", "drawn")}
        if arch == "transformer":  # tokens as `flop_per_star` counts them
            params |= {"token_hidden": case["width"], "token_bias": False}
            params |= {"n_tokens": 16}
        recipe = {
            "batch_size": case["batch"],
            "n_wavelengths": case.get("drawn"),
            "optimizer": "AdamW",
            "precision": "bfloat16",
        }
        step = bench.step_seconds(arch, 6, arch_params=params, recipe=recipe)
        drawn = case.get("drawn", len(bench.grid.wavelength))
        labels = bench.grid.data.shape[1]
        flop = (
            3 * case["batch"] * flop_per_star({"arch": arch, **params}, labels, drawn)
        )
        rows.append(
            {
                "network": name,
                "batch": case["batch"],
                "wavelengths": drawn,
                "steps/s": 1 / step,
                "TFLOP/s": 1e-12 * flop / step,
                "of limit": 1e-12 * flop / step / limit,
            }
        )
    table(rows)
    return {"limit TFLOP/s": limit, "rows": rows}


def matrix_product_rate(bench):
    """Best rate of a product of bfloat16 matrices, in TFLOP/s."""
    n = 512 if bench.small else 8192
    a, b = (
        torch.randn(n, n, device=bench.device, dtype=torch.bfloat16) for _ in range(2)
    )
    return 2e-12 * n**3 / bench.seconds(lambda: a @ b, repeat=10)


def measure_predictions(bench):
    """Spectra a second, single stars and many, from numpy to numpy."""
    rng = np.random.default_rng(0)
    rows = []
    for arch in ("bigpayne", "opacity", "transformer"):
        emulator, _ = bench.fit(arch, 1)
        for n in (1, 16 if bench.small else 2048):
            shape = (n, bench.grid.data.shape[1])
            P = rng.uniform(emulator.label_low_, emulator.label_high_, shape)
            P = P.astype(np.float32)
            seconds = bench.seconds(lambda e=emulator, P=P: e.predict(P))
            rows.append({"arch": arch, "stars": n, "spectra/s": n / seconds})
    table(rows)
    return {"rows": rows}


def train_fully(bench):
    """Default recipes on the shipped grid, judged on the test split."""
    rows = []
    test = bench.grid.test_indices[: 20 if bench.small else None]
    for i, arch in enumerate(("bigpayne", "opacity")):
        wanted = default_recipe(arch).max_steps
        step = bench.step_seconds(arch, 3)
        # stars come last and want a minute
        time_left = max(bench.left - 60, 20) / (2 - i)
        steps = 20 if bench.small else min(wanted, int(time_left / step))
        emulator, seconds = bench.fit(arch, steps, held_out=0.1)
        bench.trained[arch] = emulator
        rows.append(
            {
                "arch": arch,
                "recipe_steps": wanted,
                "steps": emulator.n_steps_,
                "seconds": seconds,
                **judge(emulator, bench.grid.data[test], bench.grid.target[test]),
            }
        )
        table(rows[-1:])
    return {"rows": rows}


def measure_stars(bench):
    """Stars a second with everything free, made by the emulators themselves."""
    from inversion import Stars, measure

    from sk_payne.inspection import RecoveryDisplay

    rows = []
    archs = ("bigpayne",) if bench.small else ("bigpayne", "opacity")
    for i, arch in enumerate(archs):
        emulator = bench.trained.get(arch)
        if emulator is None:
            emulator, _ = bench.fit(arch, 20 if bench.small else 500, held_out=0.1)
        labels = bench.grid.data[bench.grid.test_indices][: 2 if bench.small else 256]
        labels = np.clip(labels, emulator.label_low_, emulator.label_high_)
        stars = Stars.of(emulator, labels, 100.0, everything=True)
        measure(emulator, stars, slice(2))  # first calls allocate
        with Timed() as pilot:
            measure(emulator, stars, slice(16))
        pilot = pilot.wall / 16
        n = int(np.clip(bench.left / (len(archs) - i) / 2 / pilot, 16, len(labels)))
        with Timed() as took:
            found = measure(emulator, stars, slice(n))
            bench.synchronize()
        pulls = RecoveryDisplay.from_table(found, stars.true[:n], stars.names).pulls
        rows.append(
            {
                "arch": arch,
                "stars": len(found),
                "pixels": int(stars.good.sum()),
                "stars/s": len(found) / took.wall,
                "converged": float(np.mean(found["converged"])),
                "median |pull|": float(np.nanmedian(np.abs(pulls))),
            }
        )
    table(rows)
    return {"rows": rows}


PARTS = {
    "tests": run_tests,
    "steps": measure_steps,
    "predictions": measure_predictions,
    "trainings": train_fully,
    "stars": measure_stars,
}


def hardware(device):
    """Describe the device itself."""
    if not device.startswith("cuda"):
        return {"device": device}
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": device,
        "name": properties.name,
        "memory GiB": properties.total_memory / 2**30,
        "multiprocessors": properties.multi_processor_count,
        "compute capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
    }


def main():
    options = parser(__doc__)
    options.add_argument("--device", default="cuda")
    options.add_argument(
        "--small", action="store_true", help="only to see that it runs"
    )
    options.add_argument("--minutes", type=float, default=7.5)
    options.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    arguments = options.parse_args()
    bench = Bench(arguments)
    record = {"hardware": hardware(bench.device), **vars(arguments), "seconds": {}}
    name = "gpu_small" if bench.small else "gpu"
    write(name, record)
    for part in arguments.parts:
        print(f"\n{part}, {bench.left:.0f} s left", flush=True)
        start = time.perf_counter()
        try:
            if bench.left < 20:
                raise TimeoutError("no time was left")
            record[part] = PARTS[part](bench)
        except Exception:
            record[part] = {"error": traceback.format_exc()}
            traceback.print_exc()
        record["seconds"][part] = round(time.perf_counter() - start, 1)
        if bench.device.startswith("cuda"):
            peak = torch.cuda.max_memory_allocated(bench.device) / 2**30
            record["peak memory GiB"] = peak
        write(name, record)


if __name__ == "__main__":
    main()
