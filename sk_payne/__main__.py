"""`python -m sk_payne`: from a grid of spectra to measured stars, in one go.

It is here so that the whole job can be seen at work before a line of code is written.
"""

import argparse
import io
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from sk_payne import AbundanceRegressor, SpectrumEmulator, load
from sk_payne.datasets import load_sme_grid
from sk_payne.exceptions import ExtrapolationWarning, TrainingInterruptedWarning
from sk_payne.grids import read_grid
from sk_payne.inspection import (
    EmulationErrorDisplay,
    RecoveryDisplay,
    SpectrumFitDisplay,
)
from sk_payne.networks import NETWORKS

# Labels shown in the picture, at most.
_N_PANELS = 8


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments; if None, those of the command line.

    Returns
    -------
    status : int
        0 if all went well, 1 if the input was at fault, 130 after Ctrl-C.
    """
    arguments = _parser().parse_args(argv)
    try:
        _run(arguments)
    except (ValueError, TypeError, OSError) as error:
        print(f"sk_payne: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsk_payne: interrupted", file=sys.stderr)
        return 130
    return 0


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m sk_payne",
        description=(
            "Train an emulator on a grid of synthetic spectra, show its error on "
            "spectra it has not seen, measure some of these with noise added, and "
            "compare with the truth. Without --grid, on the shipped grid (4500-4600 Å, "
            "19 labels)."
        ),
        epilog=(
            "Ctrl-C during training stops it there and goes on with what was learned; "
            "at any other time it ends the run."
        ),
    )
    parser.add_argument(
        "--arch",
        choices=sorted(NETWORKS),
        default="bigpayne",
        help="architecture of the emulator (default: %(default)s)",
    )
    parser.add_argument(
        "--grid",
        metavar="FILE",
        help="your own grid, .npz, .h5 or .fits, with arrays labels (n, n_labels), "
        "flux (n, n_wavelengths), wavelength in Å, and if you like label_names, "
        "label_units, medium, resolving_power",
    )
    parser.add_argument(
        "--drop-bad",
        action="store_true",
        help="leave out spectra of --grid whose labels or flux are not finite",
    )
    parser.add_argument(
        "--medium",
        choices=("air", "vacuum"),
        help="of the wavelengths of --grid, if the file does not say",
    )
    parser.add_argument(
        "--emulator",
        metavar="FILE",
        help="use an emulator that was saved, instead of training one",
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        default="sk_payne_run",
        type=Path,
        help="where emulator, table and picture go (default: %(default)s)",
    )
    parser.add_argument(
        "--max-steps",
        type=int,
        metavar="N",
        help="optimisation steps (default: recipe)",
    )
    parser.add_argument(
        "--stars",
        type=int,
        default=100,
        metavar="N",
        help="held-out stars to measure, at most (default: %(default)s)",
    )
    parser.add_argument(
        "--snr",
        type=float,
        default=100.0,
        help="signal-to-noise ratio per pixel of these (default: %(default)s)",
    )
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, ... (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of all randomness (default: %(default)s)"
    )
    return parser


def _run(arguments):
    if not arguments.snr > 0:
        raise ValueError(f"--snr must be positive; got {arguments.snr}.")
    if arguments.stars < 1:
        raise ValueError(f"--stars must be at least 1; got {arguments.stars}.")
    grid, train, test = _read(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(
        f"Grid: {len(train)} spectra to learn from and {len(test)} to judge by, "
        f"{grid.data.shape[1]} labels, {grid.target.shape[1]} wavelengths."
    )
    emulator = _emulator(arguments, grid, train)
    quality = _judge(emulator, grid, test)
    stars = test[: arguments.stars]
    spectra, table, seconds = _measure(arguments, emulator, grid, stars)
    recovery = RecoveryDisplay.from_table(
        table, grid.data[stars], emulator.label_names_
    )
    _print_recovery(recovery, table, seconds)
    _write_table(arguments.out / "stars.ecsv", table, recovery)
    _draw(arguments, emulator, quality, recovery, spectra, table)


def _read(arguments):
    """Read the grid; choose the rows to train on and those to test on."""
    if arguments.grid is None:
        grid = load_sme_grid()
        return grid, grid.train_indices, grid.test_indices
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        grid = read_grid(arguments.grid, drop_bad=arguments.drop_bad)
    for warning in caught:
        print(f"Note: {warning.message}")
    bad = _bad_pixels(grid)
    if bad is not None and bad.any():
        print(
            f"Note: the grid marks {np.count_nonzero(bad)} flux values as bad; "
            "they have no part in the training."
        )
    if arguments.medium is not None:
        if grid.medium not in (None, arguments.medium):
            raise ValueError(
                f"--medium says {arguments.medium}, but {arguments.grid} says "
                f"{grid.medium}. Leave it out."
            )
        grid.medium = arguments.medium
    if grid.wavelength is not None and grid.medium is None:
        raise ValueError(
            f"{arguments.grid} does not say whether its wavelengths are in air or "
            "vacuum. Pass --medium."
        )
    rows = np.random.default_rng(arguments.seed).permutation(len(grid.data))
    n_test = min(300, len(rows) // 10)
    if n_test < 1:
        raise ValueError(
            f"{arguments.grid} must hold at least 10 spectra, to train on nine tenths "
            f"and test on the rest; got {len(rows)}."
        )
    if bad is not None:
        # spectra with bad pixels can be learned from, but not judged by
        rows = rows[np.argsort(bad[rows].any(axis=1), kind="stable")]
        if bad[rows[:n_test]].any():
            raise ValueError(
                f"{arguments.grid} must hold at least {n_test} spectra without bad "
                "pixels, to test on. Repair some, or leave out the mask."
            )
    return grid, np.sort(rows[n_test:]), np.sort(rows[:n_test])


def _bad_pixels(grid):
    """Mask of the flux, True for bad pixels; None if the grid has none."""
    if grid.uncertainty is None:
        return grid.mask
    bad = ~np.isfinite(grid.uncertainty)
    return bad if grid.mask is None else bad | grid.mask


def _emulator(arguments, grid, train):
    if arguments.emulator is not None:
        emulator = load(arguments.emulator)
        _check_grid_of(emulator, grid)
        print(f"Emulator: {arguments.emulator}")
        return emulator
    emulator = SpectrumEmulator(
        arch=arguments.arch,
        wavelength=grid.wavelength,
        medium=grid.medium,
        resolving_power=grid.resolving_power,
        label_names=grid.label_names,
        label_units=grid.label_units,
        max_steps=arguments.max_steps,
        device=arguments.device,
        random_state=arguments.seed,
        verbose=1,
    )
    start = time.monotonic()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TrainingInterruptedWarning)
        emulator.fit(grid.data[train], grid.target[train], **_weights(grid, train))
    for warning in caught:
        print(f"Note: {warning.message}")
    print(
        f"Trained {arguments.arch}, {emulator.n_steps_} steps on {emulator.device_}, "
        f"in {time.monotonic() - start:.0f} s."
    )
    path = arguments.out / "emulator.safetensors"
    emulator.save(path, provenance={"grid": arguments.grid or "load_sme_grid"})
    print(f"Wrote {path}")
    return emulator


def _weights(grid, rows):
    """Mask and uncertainty of the training flux, as far as the grid has them."""
    known = {name: grid.get(name) for name in ("mask", "uncertainty")}
    return {name: array[rows] for name, array in known.items() if array is not None}


def _check_grid_of(emulator, grid):
    """Refuse a grid that the emulator cannot be judged by."""
    same = {
        "labels": emulator.n_features_in_ == grid.data.shape[1],
        "wavelengths": np.array_equal(emulator.wavelength_, grid.wavelength),
        "medium": emulator.medium_ == grid.medium,
    }
    others = [name for name, is_same in same.items() if not is_same]
    if others:
        raise ValueError(
            f"--emulator and the grid differ in {' and '.join(others)}. Pass the grid "
            "that it was trained on as --grid, with its --medium."
        )


def _judge(emulator, grid, test):
    """Error of the emulator on the test spectra."""
    with warnings.catch_warnings():
        # a random test set has stars a hair outside the box of a random training set
        warnings.simplefilter("ignore", ExtrapolationWarning)
        quality = EmulationErrorDisplay.from_estimator(
            emulator, grid.data[test], grid.target[test], plot=False
        )
    spread = np.abs(grid.target[test] - grid.target[test].mean(axis=0)).mean()
    print(
        f"\nMean absolute error of the emulator on the {len(test)} test spectra: "
        f"{quality.mae:.4f} of the continuum (the mean spectrum: {spread:.4f})."
    )
    return quality


def _measure(arguments, emulator, grid, stars):
    """Measure test spectra with Gaussian noise."""
    noise = np.random.default_rng(arguments.seed).normal(
        scale=1 / arguments.snr, size=(len(stars), grid.target.shape[1])
    )
    observed = grid.target[stars] + noise
    regressor = AbundanceRegressor(emulator, snr=arguments.snr, verbose=1)
    start = time.monotonic()
    table = regressor.measure(observed)
    return observed, table, time.monotonic() - start


def _print_recovery(recovery, table, seconds):
    summary = recovery.summary()
    print(
        f"\nMeasured {len(table)} test spectra in {seconds:.1f} s. The errors claimed "
        "come from the noise and the\nheld-out error of the emulator; pulls are "
        "(measured - true) / error."
    )
    print(
        f"\n{'label':>8} {'unit':>5} {'error':>9} {'bias':>9} {'scatter':>9} "
        f"{'pull':>7} {'spread':>7} {'in 1σ':>6}"
    )
    for i, name in enumerate(recovery.label_names):
        print(
            f"{name:>8} {recovery.label_units[i]:>5} {summary['error'][i]:9.3g} "
            f"{summary['bias'][i]:9.2g} {summary['scatter'][i]:9.3g} "
            f"{summary['pull_mean'][i]:7.2f} {summary['pull_std'][i]:7.2f} "
            f"{100 * summary['within_1_sigma'][i]:5.0f}%"
        )
    print(
        f"\nThe first star: {'true':>10} {'measured':>12}   {'error':<10} {'pull':>6}"
    )
    for i, name in enumerate(recovery.label_names):
        print(
            f"{name:>15} {recovery.true[0, i]:10.3f} {recovery.measured[0, i]:12.3f} "
            f"± {recovery.error[0, i]:<10.3f} {recovery.pulls[0, i]:6.1f}"
        )


def _write_table(path, table, recovery):
    table = table.copy()
    for i, name in enumerate(recovery.label_names):
        unit = table[name].unit
        table[f"{name}_true"] = recovery.true[:, i] * unit
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    path.write_text(text.getvalue(), encoding="utf-8")
    print(f"\nWrote {path}")


def _draw(arguments, emulator, quality, recovery, spectra, table):
    """One picture: a star and its fit, the error of the emulator, the recovery."""
    try:
        import matplotlib
    except ImportError:
        print("No picture: matplotlib is missing; pip install 'sk_payne[plot]'.")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = recovery.label_names
    spread = np.ptp(recovery.true, axis=0)
    spread[spread == 0] = np.inf  # one star
    order = np.argsort(recovery.summary()["scatter"] / spread)
    shown = [names[i] for i in sorted(order[:_N_PANELS])]
    figure = pyplot.figure(figsize=(12, 13), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(1.1, 1, 1.5))
    star = int(np.argsort(np.asarray(table["chi2"]))[len(table) // 2])
    _fit_display(emulator, recovery, spectra, table, star, arguments.snr).plot(
        top.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    )
    quality.plot(middle.subplots(2, 1, sharex=True))
    middle.suptitle(f"{emulator.arch}: error on spectra it has not seen")
    columns = min(4, len(shown))
    panels = bottom.subplots(-(-len(shown) // columns), columns, squeeze=False).ravel()
    for unused in panels[len(shown) :]:
        unused.remove()
    recovery.plot(panels[: len(shown)], labels=shown)
    bottom.supxlabel("true")
    bottom.supylabel("measured")
    bottom.suptitle(
        f"{len(table)} such spectra with noise (S/N {arguments.snr:g}), measured"
    )
    path = arguments.out / "result.png"
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    print(f"Wrote {path}")


def _fit_display(emulator, recovery, spectra, table, star, snr):
    labels = recovery.measured[[star]]
    on_pixels = emulator.wavelength_ is None
    wavelength = np.arange(spectra.shape[1]) if on_pixels else emulator.wavelength_
    errors = dict(zip(recovery.label_names, recovery.error[star], strict=True))
    told = ", ".join(
        f"{name} {labels[0, i]:.4g} ± {errors[name]:.3g}"
        for i, name in enumerate(recovery.label_names[:2])
    )
    return SpectrumFitDisplay(
        wavelength=wavelength,
        flux=spectra[star],
        error=np.full(spectra.shape[1], 1 / snr),
        model=emulator.predict(labels)[0],
        medium=emulator.medium_,
        title=f"A star that the emulator has not seen: {told}",
    )


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        # a terminal that lacks a letter gets a "?"
        stream.reconfigure(errors="replace")
    sys.exit(main())
