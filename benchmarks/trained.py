"""Emulators of the shipped grid that other benchmarks share, each trained once.

Every emulator is trained on the training split of the shipped grid with the default
recipe of its architecture, and kept as results/ARCH_SEED.safetensors.

    python benchmarks/trained.py bigpayne:0 bigpayne:1 opacity:0
"""

from record import RESULTS, parser
from timing import Timed

from sk_payne import SpectrumEmulator, load
from sk_payne.datasets import load_sme_grid


def trained(arch, seed=0):
    """Give the emulator of an architecture and a seed; train it if it is not kept."""
    path = path_of(arch, seed)
    return load(path) if path.exists() else train(arch, seed)


def train(arch, seed=0, **options):
    """Train the emulator of an architecture and a seed, and keep it."""
    grid = load_sme_grid()
    emulator = emulator_of(
        grid,
        arch=arch,
        resolving_power=grid.resolving_power,
        random_state=seed,
        **options,
    ).fit(grid.data[grid.train_indices], grid.target[grid.train_indices])
    emulator.save(path_of(arch, seed), provenance={"grid": "load_sme_grid"})
    return emulator


def path_of(arch, seed=0):
    return RESULTS / f"{arch}_{seed}.safetensors"


def emulator_of(grid, **options):
    """Give an emulator, to be trained, with wavelengths and labels of a grid."""
    names = ("wavelength", "medium", "label_names", "label_units")
    return SpectrumEmulator(**{name: getattr(grid, name) for name in names} | options)


def count_weights(emulator):
    return sum(weight.numel() for weight in emulator.to_torch().parameters())


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("emulator", nargs="+", help="ARCH:SEED")
    for name in arguments.parse_args().emulator:
        arch, seed = name.split(":")
        with Timed() as took:
            trained(arch, int(seed))
        print(f"{name} {took.wall:.0f} s", flush=True)
