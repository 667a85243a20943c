"""Make the ready emulators of the package: sk_payne/emulators/data.

Each is trained on the training split of the shipped grid (or taken from results/, if it
is kept there), judged on the test split, and written as a folder with a model card and
fingerprint. The registry has its SHA-256. Nothing else writes into that folder.

    python benchmarks/make_ready.py
"""

import json
from pathlib import Path

import numpy as np
from record import machine, parser
from trained import trained

import sk_payne
from sk_payne.datasets import load_sme_grid
from sk_payne.recovery import recovery_statistics

DATA = Path(sk_payne.__file__).parent / "emulators" / "data"
LARGEST = 8e6  # bytes

NOT_VALIDATED_FOR = [
    "giants, subgiants, and stars hotter than 6000 K or cooler than 4000 K",
    "fits without continuum_degree of spectra that were normalised by fitting a "
    "continuum",
    "abundances of Al, Si, K, Mn and Sc, which hardly show between 4500 and 4600 Å",
    "departures from LTE, and microturbulence other than 1 km/s",
    "precision on real stars: its line list has wrong and missing lines, and its "
    "spectra agree with the observed Sun to a median of 0.014 of the continuum",
]

EMULATORS = {
    "dwarfs-4500-4600": {
        "arch": "opacity",
        "title": "Cool dwarfs, 4500-4600 Å in air, R = 50 000, 19 labels",
        "not_validated_for": NOT_VALIDATED_FOR,
    },
}


def calibration(emulator, grid, n_stars=100, snr=100):
    """Give errors on the test split, and pulls of test spectra measured with noise."""
    test = grid.test_indices
    difference = emulator.predict(grid.data[test]) - grid.target[test]
    stars = test[:n_stars]
    noise = np.random.default_rng(0).normal(size=(n_stars, grid.target.shape[1])) / snr
    regressor = sk_payne.AbundanceRegressor(
        emulator, sk_payne.Observation(velocity_range=None), snr=snr
    )
    measured, error = regressor.predict(grid.target[stars] + noise, return_std=True)
    statistics = recovery_statistics(grid.data[stars], measured, error)
    labels = {
        name: f"scatter {statistics['scatter'][i]:.3g}, error claimed "
        f"{statistics['error'][i]:.3g}, spread of the pulls "
        f"{statistics['pull_spread'][i]:.2f}"
        for i, name in enumerate(grid.label_names)
    }
    return {
        "test spectra": len(test),
        "mean absolute error": f"{np.abs(difference).mean():.5f}",
        "root mean square error": f"{np.sqrt(np.mean(difference**2)):.5f}",
        f"labels of {n_stars} test spectra at S/N {snr}, velocity known": labels,
    }


def card_of(about, grid, emulator):
    """Give the provenance, which the model card shows."""
    listed = "\n".join(f"- {one}" for one in about["not_validated_for"])
    return {
        "title": about["title"],
        "description": (
            "A ready emulator of sk_payne, trained on the shipped grid "
            f"`load_sme_grid`.\n\n**It is not validated for**\n\n{listed}"
        ),
        "license": "MIT",
        "solar_scale": "Asplund et al. (2009)",
        "citation": [
            "PySME: Wehrhahn, Piskunov & Ryabchikova (2023); Piskunov & Valenti (2017)",
            "ATLAS9 atmospheres: Castelli & Kurucz (2003)",
            "Line data: linemake, Placco et al. (2021)",
        ],
        "grid": "load_sme_grid",
        "calibration": calibration(emulator, grid),
        "machine": machine(),
    }


def entry_of(path, about, emulator):
    """Give the entry of the registry for a folder that was written."""
    size = sum(file.stat().st_size for file in path.iterdir())
    if size > LARGEST:
        raise ValueError(f"{path.name} has {size} bytes; {LARGEST:.0f} are allowed.")
    low, high = emulator.wavelength_[[0, -1]]
    ends = zip(emulator.label_low_, emulator.label_high_, strict=True)
    return {
        "title": about["title"],
        "arch": about["arch"],
        "wavelength_range": [round(float(low), 2), round(float(high), 2)],
        "medium": emulator.medium_,
        "resolving_power": float(emulator.resolving_power_),
        "label_ranges": {
            name: [round(float(one), 3) + 0.0 for one in pair]
            for name, pair in zip(emulator.label_names_, ends, strict=True)
        },
        "not_validated_for": about["not_validated_for"],
        "size": size,
        "sha256": sk_payne.check(path).sha256,
    }


def main():
    parser(__doc__).parse_args()
    grid = load_sme_grid()
    registry = {}
    for name, about in EMULATORS.items():
        emulator = trained(about["arch"])
        path = DATA / name
        emulator.save(path, provenance=card_of(about, grid, emulator))
        registry[name] = entry_of(path, about, emulator)
        print(f"{name}: {registry[name]['size']} bytes")
    text = json.dumps(registry, indent=1, ensure_ascii=False)
    (DATA / "registry.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
