"""Results of the demonstration: numbers, a table and a picture."""

import io
import warnings

import numpy as np

from sk_payne.command._output import echo
from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.inspection import EmulationErrorDisplay, SpectrumFitDisplay

__all__ = ["draw_results", "judge", "tell_recovery", "write_stars"]

# Labels shown in the picture, at most.
_N_PANELS = 8


def judge(emulator, grid, test):
    """Print the error of the emulator on the test spectra.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted.
    grid : Bunch
        Labels and flux.
    test : ndarray of int
        Rows of the test spectra.

    Returns
    -------
    quality : EmulationErrorDisplay
        Not drawn yet.
    """
    with warnings.catch_warnings():
        # a random test set has stars a hair outside the box of a random training set
        warnings.simplefilter("ignore", ExtrapolationWarning)
        quality = EmulationErrorDisplay.from_estimator(
            emulator, grid.data[test], grid.target[test], plot=False
        )
    spread = np.abs(grid.target[test] - grid.target[test].mean(axis=0)).mean()
    echo(
        f"\nMean absolute error of the emulator on the {len(test)} test spectra: "
        f"{quality.mae:.4f} of the continuum (the mean spectrum: {spread:.4f})."
    )
    return quality


def tell_recovery(recovery, table, seconds):
    """Print errors, bias, scatter and pulls of the labels.

    Parameters
    ----------
    recovery : RecoveryDisplay
        True and measured labels.
    table : astropy.table.QTable
        Table of measured stars.
    seconds : float
        Time that measuring took.
    """
    summary = recovery.summary()
    echo(
        f"\nMeasured {len(table)} test spectra in {seconds:.1f} s. The errors claimed "
        "come from the noise and the\nheld-out error of the emulator; pulls are "
        "(measured - true) / error."
    )
    echo(
        f"\n{'label':>8} {'unit':>5} {'error':>9} {'bias':>9} {'scatter':>9} "
        f"{'pull':>7} {'spread':>7} {'in 1σ':>6}"
    )
    for i, name in enumerate(recovery.label_names):
        echo(
            f"{name:>8} {recovery.label_units[i]:>5} {summary['error'][i]:9.3g} "
            f"{summary['bias'][i]:9.2g} {summary['scatter'][i]:9.3g} "
            f"{summary['pull_mean'][i]:7.2f} {summary['pull_std'][i]:7.2f} "
            f"{100 * summary['within_1_sigma'][i]:5.0f}%"
        )
    echo(f"\nThe first star: {'true':>10} {'measured':>12}   {'error':<10} {'pull':>6}")
    for i, name in enumerate(recovery.label_names):
        echo(
            f"{name:>15} {recovery.true[0, i]:10.3f} {recovery.measured[0, i]:12.3f} "
            f"± {recovery.error[0, i]:<10.3f} {recovery.pulls[0, i]:6.1f}"
        )


def write_stars(path, table, recovery):
    """Write the table of the stars, with their true labels.

    Parameters
    ----------
    path : pathlib.Path
        ECSV file.
    table : astropy.table.QTable
        Table of measured stars.
    recovery : RecoveryDisplay
        True labels.
    """
    table = table.copy()
    for i, name in enumerate(recovery.label_names):
        unit = table[name].unit
        table[f"{name}_true"] = recovery.true[:, i] * unit
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    path.write_text(text.getvalue(), encoding="utf-8")
    echo(f"\nWrote {path}")


def draw_results(arguments, emulator, quality, recovery, spectra, table):
    """Draw a star and its fit, the error of the emulator, and the recovery.

    Parameters
    ----------
    arguments : namespace
        Options `out` and `snr`.
    emulator : SpectrumEmulator
        Fitted.
    quality : EmulationErrorDisplay
        Errors of the emulator.
    recovery : RecoveryDisplay
        True and measured labels.
    spectra : ndarray of shape (n_stars, n_wavelengths)
        Flux that was measured.
    table : astropy.table.QTable
        Table of measured stars.
    """
    try:
        import matplotlib
    except ImportError:
        echo("No picture: matplotlib is missing; pip install 'sk_payne[plot]'.")
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
    echo(f"Wrote {path}")


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
