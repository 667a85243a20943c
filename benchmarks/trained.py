"""Emulators of the shipped grid that other benchmarks share, each trained once.

Every emulator is trained on the training split of the shipped grid with the default
recipe of its architecture, and kept as results/ARCH_SEED.safetensors.

    python benchmarks/trained.py bigpayne:0 bigpayne:1 opacity:0
"""

import argparse
import time

from record import RESULTS

from sk_payne import SpectrumEmulator, load
from sk_payne.datasets import load_sme_grid


def trained(arch, seed=0):
    """Give the emulator of an architecture and a seed; train it if it is not kept."""
    path = RESULTS / f"{arch}_{seed}.safetensors"
    if path.exists():
        return load(path)
    grid = load_sme_grid()
    emulator = SpectrumEmulator(
        arch=arch,
        wavelength=grid.wavelength,
        medium=grid.medium,
        resolving_power=grid.resolving_power,
        label_names=grid.label_names,
        label_units=grid.label_units,
        random_state=seed,
    ).fit(grid.data[grid.train_indices], grid.target[grid.train_indices])
    emulator.save(path, provenance={"grid": "load_sme_grid"})
    return emulator


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("emulator", nargs="+", help="ARCH:SEED")
    for name in parser.parse_args().emulator:
        arch, seed = name.split(":")
        start = time.perf_counter()
        trained(arch, int(seed))
        print(f"{name} {time.perf_counter() - start:.0f} s", flush=True)
