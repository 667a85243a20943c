"""Speed of predicting at 22 315 wavelengths, and what the estimator adds to torch.

Each architecture, with weights as first drawn, 30 labels, in float32; one star and 64
at a time. Beside the estimator runs the same network in plain torch, scaled and moved
to numpy alike. The peak of memory is that of a fresh process, beyond what it had before
it predicted.

    python benchmarks/predict.py [--arch payne ...] [--repeat 7] [--device cpu]
"""

import subprocess
import sys
import threading

import numpy as np
import torch
from record import parser, table, write
from timing import Timed

from sk_payne import SpectrumEmulator
from sk_payne.networks import NETWORKS, evaluate

N_LABELS, N_WAVELENGTHS = 30, 22_315


def main():
    options = parser(__doc__)
    options.add_argument("--arch", nargs="+", default=list(NETWORKS))
    options.add_argument("--repeat", type=int, default=7)
    options.add_argument("--device", default="cpu")
    options.add_argument("--only-memory", type=int, metavar="BATCH")
    arguments = options.parse_args()
    if arguments.only_memory:
        print(peak_memory(untrained(arguments.arch[0], arguments.device), arguments))
        return
    rows = []
    for arch in arguments.arch:
        emulator = untrained(arch, arguments.device)
        for n in (1, 64):
            rows.append({"arch": arch, "batch": n, **compare(emulator, n, arguments)})
            rows[-1]["peak MB"] = memory_of_a_fresh_process(arch, n, arguments.device)
            table(rows[-1:])
    print()
    table(rows)
    write(
        "predict", {"n_labels": N_LABELS, "n_wavelengths": N_WAVELENGTHS, "rows": rows}
    )


def untrained(arch, device):
    """An emulator after a single step: speed does not depend on the weights."""
    rng = np.random.default_rng(0)
    return SpectrumEmulator(
        arch=arch,
        wavelength=4000 * np.exp(1e-5 * np.arange(N_WAVELENGTHS)),
        medium="air",
        max_steps=1,
        validation_fraction=0,
        device=device,
        random_state=0,
    ).fit(
        rng.uniform(-1, 1, (4, N_LABELS)),
        rng.uniform(0, 1, (4, N_WAVELENGTHS)).astype(np.float32),
    )


def compare(emulator, n, arguments):
    """Time estimator and plain torch by turns; take the best of each."""
    rng = np.random.default_rng(1)
    low, high = emulator.label_low_, emulator.label_high_
    P = rng.uniform(low, high, (n, N_LABELS)).astype(np.float32)
    module = emulator.to_torch()
    center, half = module.label_center.cpu(), module.label_half_width.cpu()

    @torch.inference_mode()
    def plain():
        scaled = ((torch.from_numpy(P) - center) / half).to(arguments.device)
        wave = module.log_wavelength.to(arguments.device)
        flux = evaluate(module.network, scaled, wave)
        return (module.flux_offset + module.flux_scale * flux).cpu().numpy()

    seconds = []
    for _ in range(arguments.repeat):
        with Timed() as theirs:
            plain()
        with Timed() as ours:
            emulator.predict(P)
        seconds.append((ours.wall, theirs.wall))
    ours, theirs = np.min(seconds, axis=0).tolist()
    np.testing.assert_allclose(emulator.predict(P), plain(), rtol=1e-4, atol=1e-5)
    return {
        "spectra/s": n / ours,
        "plain torch": n / theirs,
        "added": f"{100 * (ours / theirs - 1):.1f} %",
    }


def memory_of_a_fresh_process(arch, n, device):
    command = [sys.executable, __file__, "--arch", arch, "--device", device]
    done = subprocess.run(
        [*command, "--only-memory", str(n)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def peak_memory(emulator, arguments):
    """Largest growth of memory while a batch is predicted, in MB."""
    rng = np.random.default_rng(1)
    shape = (arguments.only_memory, N_LABELS)
    P = rng.uniform(emulator.label_low_, emulator.label_high_, shape)
    P = P.astype(np.float32)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        emulator.predict(P)
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    before, peak, done = resident(), [0], threading.Event()

    def watch():
        while not done.wait(0.0005):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    emulator.predict(P)
    peak[0] = max(peak[0], resident())
    done.set()
    watcher.join()
    return round(max(peak[0] - before, 0) / 2**20, 1)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


if __name__ == "__main__":
    main()
