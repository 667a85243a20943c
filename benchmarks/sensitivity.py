"""Derivatives of emulators against those of the synthesis code that made their grid.

PySME makes the spectra of two stars, and of the same stars with one label a little
higher and a little lower, for every label. Their central differences, which no emulator
had a part in, are compared with `sensitivity` of saved emulators, pixel by pixel and in
the Cramér-Rao errors that follow. Lines and atmospheres are line_list_4000_5000.csv.gz
and atlas9_k2.npz in the folder that the environment variable SK_PAYNE_DATA names. The
spectra go to results/raw/steps, where a run that was stopped goes on.

Writes results/sensitivity.json and a figure (results/sensitivity.png unless --figure
says where), of the first emulator and the first star.

    python benchmarks/sensitivity.py [PATH ...] [--figure docs/images/sensitivity.png]

PATHs are of files of `emulator.save`; all in results if left out.
"""

import warnings
from pathlib import Path

import numpy as np
from record import RESULTS, data, parser, picture, table, write

from sk_payne import load
from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.grids import AtmosphereGrid, PySMEEngine, build_grid, read_line_list
from sk_payne.inspection import sensitivity

RESOLVING_POWER = 50_000
STARS = {
    "Sun": {"teff": 5772.0, "logg": 4.438},
    "metal-poor dwarf": {"teff": 5200.0, "logg": 4.6, "others": -0.8}
    | dict.fromkeys(("O_H", "Mg_H", "Si_H", "Ca_H", "Ti_H"), -0.4),
}
STEPS = {"teff": 25.0}  # K; other labels in dex
STEP = 0.05
SNR = 100.0
SHOWN, WINDOW = ("teff", "logg", "Fe_H", "Mg_H", "Ti_H", "C_H"), (4550.0, 4582.0)


class Stencil:
    """Every star, and below it those with one label lower and one label higher."""

    def __init__(self, label_names, label_units):
        self.fixed = {}
        self.label_names, self.label_units = label_names, label_units
        self.step = np.array([STEPS.get(name, STEP) for name in label_names])
        self.stars = np.array(
            [
                [star.get(name, star.get("others", 0.0)) for name in label_names]
                for star in STARS.values()
            ]
        )

    def sample(self, n, random_state):
        change = np.diag(self.step)
        around = [[star[None], star - change, star + change] for star in self.stars]
        return np.concatenate([rows for star in around for rows in star])[:n]

    def derivatives(self, flux):
        """Central differences, of shape (n_stars, n_labels, n_wavelengths)."""
        n = len(self.label_names)
        by_star = flux.reshape(len(self.stars), 2 * n + 1, -1)
        lower, higher = by_star[:, 1 : n + 1], by_star[:, n + 1 :]
        return (higher - lower) / (2 * self.step[:, None])

    def to_dict(self):
        return {"stars": STARS, "step": self.step.tolist()}


def main():
    options = parser(__doc__)
    options.add_argument("paths", nargs="*", type=Path)
    options.add_argument("--figure", type=Path, default=RESULTS / "sensitivity.png")
    arguments = options.parse_args()
    paths = arguments.paths or sorted(RESULTS.glob("*.safetensors"))
    emulators = {path.stem: load(path) for path in paths}
    stencil, flux = synthesise(next(iter(emulators.values())))
    true = stencil.derivatives(flux)
    found = {
        name: sensitivity(emulator, stencil.stars).derivative
        for name, emulator in emulators.items()
    }
    rows = [
        {"emulator": name, "star": star, "label": label, **numbers}
        for name, derivative in found.items()
        for i, star in enumerate(STARS)
        for label, numbers in zip(
            stencil.label_names, compare(derivative[i], true[i]), strict=True
        )
    ]
    table(rows)
    steps = dict(zip(stencil.label_names, stencil.step.tolist(), strict=True))
    write("sensitivity", {"stars": STARS, "steps": steps, "snr": SNR, "rows": rows})
    first = next(iter(emulators.values()))
    draw(first, stencil, true, next(iter(found.values())), rows, arguments.figure)


def synthesise(emulator):
    """Make the stars and their neighbours, on the grid of an emulator."""
    lines = read_line_list(data("line_list_4000_5000.csv.gz"), medium="air")
    with np.load(data("atlas9_k2.npz")) as archive:
        names = ("metallicity", "log_g", "teff", "layers")
        atmospheres = AtmosphereGrid(*(archive[name] for name in names))
    engine = PySMEEngine(
        lines, atmospheres, medium="air", resolving_power=RESOLVING_POWER
    )
    stencil = Stencil(list(emulator.label_names_), list(emulator.label_units_))
    grid = build_grid(
        stencil,
        engine,
        len(STARS) * (2 * len(stencil.step) + 1),
        RESULTS / "raw" / "steps",
        wavelength=emulator.wavelength_,
        medium=emulator.medium_,
    )
    return stencil, np.asarray(grid.target, dtype=np.float64)


def compare(found, true):
    """Yield, label by label, how far derivatives of a star are from the true ones."""
    scale = np.sqrt(np.mean(true**2, axis=1))
    difference = np.sqrt(np.mean((found - true) ** 2, axis=1)) / scale
    errors, true_errors = cramer_rao(found), cramer_rao(true)
    for j, row in enumerate(true):
        yield {
            "rms": float(scale[j]),
            "largest": float(np.abs(row).max()),
            "correlation": float(np.corrcoef(found[j], row)[0, 1]),
            "relative_rms": float(difference[j]),
            "error": float(errors[j]),
            "true_error": float(true_errors[j]),
        }


def cramer_rao(derivative):
    """Smallest errors of the labels of a star, all of them free."""
    scale = np.sqrt(np.mean(derivative**2, axis=1))
    scaled = SNR * derivative / scale[:, None]
    return np.sqrt(np.diagonal(np.linalg.inv(scaled @ scaled.T))) / scale


def draw(emulator, stencil, true, found, rows, path):
    """Draw derivatives of the first star by some labels, in part of the range."""
    from matplotlib import pyplot

    labels = [name for name in SHOWN if name in stencil.label_names]
    figure, ax = pyplot.subplots(
        *(len(labels), 1),
        sharex=True,
        figsize=(9, 1.15 * len(labels) + 0.8),
        layout="constrained",
    )
    shown = (emulator.wavelength_ >= WINDOW[0]) & (emulator.wavelength_ <= WINDOW[1])
    x = emulator.wavelength_[shown]
    for panel, name in zip(ax, labels, strict=True):
        j = stencil.label_names.index(name)
        per = 100 if name == "teff" else 1
        style = {"color": "0.6", "lw": 2.4, "label": "synthesis, by differences"}
        panel.plot(x, per * true[0, j, shown], **style)
        panel.plot(x, per * found[0, j, shown], "C3", lw=0.9, label="emulator, exact")
        unit = f"({per} K)" if name == "teff" else stencil.label_units[j]
        panel.set_ylabel(f"∂F / ∂{name}\n[1/{unit}]", fontsize="small")
        panel.text(
            *(0.995, 0.05),
            f"r = {rows[j]['correlation']:.4f}, rms of the difference "
            f"{100 * rows[j]['relative_rms']:.1f} %",
            transform=panel.transAxes,
            fontsize="small",
            ha="right",
        )
        low, high = panel.get_ylim()
        panel.set_ylim(low - 0.2 * (high - low), high)
        panel.tick_params(labelsize="small")
        panel.locator_params(axis="y", nbins=4)
    ax[0].set_xlim(*WINDOW)
    ax[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    ax[0].set_title(f"{rows[0]['emulator']}, {rows[0]['star']}", loc="left")
    ax[-1].set_xlabel(f"wavelength in {emulator.medium_} [Å]")
    figure.align_ylabels(ax)
    picture(figure, path)


if __name__ == "__main__":
    warnings.simplefilter("ignore", ExtrapolationWarning)
    main()
