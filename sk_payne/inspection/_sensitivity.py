"""Sensitivity: derivatives of the flux by labels, for every architecture."""

import numpy as np
from sklearn.utils import Bunch

from sk_payne.inspection._axes import (
    broken_lines,
    chosen_labels,
    covered_lines,
    mark_lines,
    wavelength_label,
)
from sk_payne.inspection._display import BunchDisplay
from sk_payne.inspection._opened import open_emulator, varied_labels, wavelength_axis

__all__ = ["SensitivityDisplay", "sensitivity"]


def sensitivity(emulator, P):
    """Compute the derivatives of the flux by each label at each wavelength.

    They are exact derivatives of the network, in float64, for every architecture.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted emulator.
    P : array-like of shape (n_spectra, n_labels)
        Stellar parameters.

    Returns
    -------
    sensitivity : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        derivative : ndarray of shape (n_spectra, n_labels, n_wavelengths)
            Derivative of the flux per unit of the label. NaN for labels that never
            varied in training.
        flux : ndarray of shape (n_spectra, n_wavelengths)
            Flux, as from `predict`.
        wavelength : ndarray of shape (n_wavelengths,)
            Wavelengths in Å, or pixel numbers.
        medium : {"air", "vacuum"} or None
            Medium of the wavelengths; None for pixels.
        label_names, label_units : list of str
            Names and units of the labels.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If the stellar parameters do not fit the emulator.

    See Also
    --------
    cramer_rao : Smallest errors of labels, from these derivatives.

    Examples
    --------
    >>> import sk_payne
    >>> from sk_payne.inspection import sensitivity
    >>> emulator = sk_payne.load("dwarfs-4500-4600")
    >>> P = [(emulator.label_low_ + emulator.label_high_) / 2]
    >>> sensitivity(emulator, P).derivative.shape
    (1, 19, 2198)
    """
    module, labels = open_emulator(emulator, P)
    flux, jacobian = module.network.evaluate_with_jacobian(
        labels, module.log_wavelength.to(labels.device)
    )
    per_unit = module.flux_scale / module.scaling.label_half_width
    derivative = jacobian.cpu().numpy() * per_unit[:, None]
    derivative[:, ~varied_labels(emulator)] = np.nan
    wavelength, medium = wavelength_axis(emulator)
    return Bunch(
        derivative=derivative,
        flux=module.unscale(flux).cpu().numpy(),
        wavelength=wavelength,
        medium=medium,
        label_names=list(emulator.label_names_),
        label_units=list(emulator.label_units_),
    )


class SensitivityDisplay(BunchDisplay):
    """Mean derivative of the flux by labels, one panel for each label.

    Parameters
    ----------
    sensitivity : Bunch
        Result of :func:`sensitivity`.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (n_labels,)
        One panel for each label.
    lines_ : dict of str to matplotlib LineCollection
        Marks of spectral lines, by label.
    figure_ : matplotlib Figure
        Figure of the plot; :meth:`plot` sets all.

    Examples
    --------
    >>> import sk_payne
    >>> from sk_payne.inspection import SensitivityDisplay
    >>> emulator = sk_payne.load("dwarfs-4500-4600")
    >>> P = [(emulator.label_low_ + emulator.label_high_) / 2]
    >>> display = SensitivityDisplay.from_estimator(emulator, P)
    >>> display.mean_derivative.shape
    (19, 2198)
    """

    _compute = staticmethod(sensitivity)

    def __init__(self, sensitivity):
        self.sensitivity = sensitivity

    @property
    def mean_derivative(self):
        """Mean derivative over spectra, of shape (n_labels, n_wavelengths)."""
        return self.sensitivity.derivative.mean(axis=0)

    def plot(self, ax=None, *, labels=None, lines=None, line_kwargs=None):
        """Draw one panel for each label.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            Axes for each label. If None, a new figure.
        labels : list of str, default=None
            Labels to draw; if None, all that varied in training.
        lines : mapping of str to array-like of float, default=None
            Elements, and the wavelengths of their lines in Å. Lines of "Fe" are marked
            in the panel of "Fe_H".
        line_kwargs : dict, default=None
            Style of the lines of derivatives.

        Returns
        -------
        display : SensitivityDisplay
            Itself.
        """
        s = self.sensitivity
        if labels is None:
            varied = np.isfinite(self.mean_derivative[:, 0])
            labels = [n for n, v in zip(s.label_names, varied, strict=True) if v]
        labels = chosen_labels(labels, s.label_names)
        n = len(labels)
        self._on_panels(ax, n, sharex=True, figsize=(10, 0.85 * n + 0.8))
        self.lines_ = {}
        style = {"color": "0.15", "lw": 0.6} | (line_kwargs or {})
        for panel, name in zip(self.ax_, labels, strict=True):
            i = s.label_names.index(name)
            panel.axhline(0, color="0.7", lw=0.6, zorder=0)
            at = covered_lines((lines or {}).get(_element_of(name), ()), s.wavelength)
            if len(at):
                self.lines_[name] = mark_lines(
                    *(panel, at), color="C1", lw=0.8, alpha=0.6, zorder=0
                )
            panel.plot(*broken_lines(s.wavelength, self.mean_derivative[i]), **style)
            unit = s.label_units[i] and f"[1/{s.label_units[i]}]"
            panel.set_ylabel(f"{name}\n{unit}".strip(), fontsize="small")
            panel.tick_params(axis="y", labelsize="x-small")
            panel.locator_params(axis="y", nbins=3)
            panel.margins(x=0)
        self.ax_[0].set_title("mean derivative of the flux by each label", fontsize=9)
        self.ax_[-1].set_xlabel(wavelength_label(s.medium))
        self.figure_.align_ylabels(self.ax_)
        return self


def _element_of(label):
    """Element in the name of a label, such as "Fe_H" or "[Fe/H]"."""
    return label.strip("[]").replace("/", "_").partition("_")[0]
