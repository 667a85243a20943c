"""emulator_report: one page of pictures and tables that judges an emulator."""

import warnings
from pathlib import Path

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_payne.inspection._axes import segments_of, with_unit
from sk_payne.inspection._cramer_rao import CramerRaoDisplay, bound_of
from sk_payne.inspection._opened import label_array
from sk_payne.inspection._page import heading, page, picture, table_of, text
from sk_payne.inspection._quality import emulation_quality
from sk_payne.inspection._quality_display import EmulationQualityDisplay
from sk_payne.inspection._sensitivity import SensitivityDisplay, sensitivity
from sk_payne.inspection._token_response import TokenResponseDisplay
from sk_payne.inspection._training_curve import TrainingCurveDisplay
from sk_payne.networks import TransformerPayne
from sk_payne.spectra import describe_resolving_power

__all__ = ["emulator_report"]

# Largest numbers of spectra for mean derivatives, and of rows in the table of lines.
_MAX_STARS = 16
_MAX_LINES = 20


def emulator_report(
    emulator, P, F, path, *, lines=None, snr=100, title="Report on an emulator"
):
    """Write a page of pictures and tables that judges an emulator.

    One HTML file without scripts and links, to be opened in any browser: errors against
    wavelength, labels, the edge of the training box and spectral lines, the worst
    spectra, the training, derivatives, the smallest possible errors of labels and, for
    a transformer, the response of its tokens.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted or loaded emulator.
    P : array-like or table of shape (n_spectra, n_labels)
        Stellar parameters of test spectra; columns of a table are taken by name.
    F : array-like of shape (n_spectra, n_wavelengths)
        True flux of the test spectra.
    path : str or path-like
        File of the page; replaced if it exists.
    lines : mapping of str to array-like of float, default=None
        Elements, and the wavelengths of their lines in Å, in the medium of the
        emulator.
    snr : float, default=100
        Signal-to-noise ratio per pixel for the errors of labels.
    title : str, default="Report on an emulator"
        Title of the page.

    Returns
    -------
    path : pathlib.Path
        File of the page.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If shapes do not fit, or an argument is not allowed.

    Warns
    -----
    ExtrapolationWarning
        If stars are outside the domain of the emulator.

    See Also
    --------
    emulation_quality : The numbers.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import emulator_report
    >>> grid = make_spectra(100, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", label_names=grid.label_names, max_steps=100, random_state=0
    ... ).fit(grid.data[:80], grid.target[:80])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "report.html")
    ...     page = emulator_report(emulator, grid.data[:20], grid.target[:20], path)
    ...     page.read_text(encoding="utf-8")[:15]
    '<!DOCTYPE html>'
    """
    check_is_fitted(emulator)
    quality = emulation_quality(emulator, P, F, lines)
    P = label_array(emulator, P)
    with warnings.catch_warnings():
        # names of columns were checked above; arrays have no names
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        parts = [
            _summary(emulator, quality),
            *_errors(quality, P, emulator),
            *_training(emulator),
            *_labels(emulator, P[:_MAX_STARS], snr, lines),
            *_tokens(emulator, P[:_MAX_STARS]),
        ]
    path = Path(path)
    path.write_text(page(title, parts), encoding="utf-8")
    return path


# Sections ------------------------------------------------------------------------


def _summary(emulator, q):
    n_weights = sum(p.numel() for p in emulator.to_torch().parameters())
    arch = emulator.arch_
    domain = {name: int((q.domain == name).sum()) for name in np.unique(q.domain)}
    n, n_pixels = len(q.spectrum_mae), len(q.wavelength)
    parts = [q.wavelength[part] for part in segments_of(q.wavelength)]
    span = ", ".join(f"{part[0]:.2f} to {part[-1]:.2f}" for part in parts)
    rows = [
        ("architecture", arch if isinstance(arch, str) else arch.__qualname__),
        ("weights", f"{n_weights:,}"),
        ("trained on", f"{emulator.n_training_} spectra, {emulator.n_steps_} steps"),
        ("wavelengths", f"{n_pixels}, {span} {f'Å, {q.medium}' if q.medium else ''}"),
        (
            "resolving power",
            describe_resolving_power(emulator.resolving_power_, emulator.wavelength_),
        ),
        ("judged on", f"{n} spectra"),
        ("of which", ", ".join(f"{m} {name}" for name, m in domain.items())),
        ("mean absolute error", f"{q.mae:.5f}"),
        ("root mean square error", f"{q.rms:.5f}"),
        ("95 % of the spectra below", f"{np.quantile(q.spectrum_mae, 0.95):.5f}"),
        ("largest error of a pixel", f"{q.max_error:.4f}"),
    ]
    return table_of(None, rows)


def _errors(q, P, emulator):
    display = EmulationQualityDisplay(q)
    yield heading("Errors against wavelength")
    yield picture(lambda: display.plot().figure_, "median, 68 %, 95 % and worst error")
    yield heading("Errors against labels and towards the edge of the box")
    yield text(
        "Bins hold equally many spectra. The edge is at 0, the middle of the box at 1; "
        "dashed is the mean of all."
    )
    yield picture(lambda: display.plot_labels().figure_, "mean absolute error in bins")
    if q.element_names:
        yield heading("Errors at spectral lines")
        yield picture(
            lambda: display.plot_lines().figure_, "errors of lines and elements"
        )
        order = np.argsort(-q.line_mae)[:_MAX_LINES]
        yield text(
            f"The {len(order)} lines with the largest errors, of {len(q.line_mae)}."
        )
        yield table_of(
            ("line", "wavelength [Å]", "mean |error|", "bias", "depth"),
            [
                (
                    q.line_element[i],
                    f"{q.line_wavelength[i]:.3f}",
                    f"{q.line_mae[i]:.4f}",
                    f"{q.line_bias[i]:+.4f}",
                    f"{q.line_depth[i]:.3f}",
                )
                for i in order
            ],
        )
    yield heading("The worst spectra")
    yield picture(lambda: display.plot_worst().figure_, "true and predicted flux")
    names = [
        with_unit(*pair)
        for pair in zip(emulator.label_names_, emulator.label_units_, strict=True)
    ]
    rows = [
        (i, q.domain[i], f"{q.spectrum_mae[i]:.4f}", *map(_number, P[i]))
        for i in q.worst
    ]
    yield table_of(None, zip(("row", "domain", "error", *names), *rows, strict=True))


def _training(emulator):
    if emulator.history_:
        yield heading("Training")
        display = TrainingCurveDisplay.from_estimator(emulator)
        yield picture(lambda: display.plot().figure_, "loss against step")


def _labels(emulator, P, snr, lines):
    yield heading("Derivatives of the flux by the labels")
    derivatives = sensitivity(emulator, P)
    display = SensitivityDisplay(derivatives)
    yield picture(
        lambda: display.plot(lines=lines).figure_, "mean derivatives of the flux"
    )
    yield heading(f"Smallest possible errors of the labels at S/N {snr:g}")
    yield text(
        "Cramér-Rao: all labels free, velocity and continuum known, the emulator true. "
        f"Medians and 90 % of {len(P)} stars."
    )
    bound = bound_of(derivatives, snr)
    display = CramerRaoDisplay(bound)
    yield picture(lambda: display.plot().figure_, "Cramér-Rao errors")
    quantiles = np.quantile(bound.error, [0.5, 0.05, 0.95], axis=0, method="lower")
    rows = [
        (with_unit(name, bound.label_units[i]), *(f"{x:.3g}" for x in quantiles[:, i]))
        for i, name in enumerate(bound.label_names)
        if name in display.free_labels
    ]
    yield table_of(("label", "median", "5 %", "95 %"), rows)


def _tokens(emulator, P):
    if isinstance(emulator.to_torch().network, TransformerPayne):
        yield heading("Response of the tokens")
        display = TokenResponseDisplay.from_estimator(emulator, P)
        yield picture(lambda: display.plot().figure_, "tokens and labels")


def _number(x):
    """Text of abundances to 0.001 dex, of temperatures to 1 K; no minus before zero."""
    return f"{round(x, 3) + 0.0:.3f}" if abs(x) < 100 else f"{x:.0f}"
