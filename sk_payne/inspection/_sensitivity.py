"""What of a spectrum changes with which label.

It is here because derivatives, unlike tokens, mean the same for every architecture.
"""

import numpy as np
from sklearn.utils import Bunch

from sk_payne.inspection._axes import (
    broken_lines,
    chosen_labels,
    covered_lines,
    import_pyplot,
    wavelength_label,
)
from sk_payne.inspection._opened import open_emulator, varied_labels, wavelength_axis

__all__ = ["SensitivityDisplay", "sensitivity"]


def sensitivity(emulator, P):
    """Give the derivative of the flux by every label, against wavelength.

    Exact derivatives of the network, in float64, of any architecture.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted.
    P : array-like of shape (n_spectra, n_labels)
        Stellar parameters.

    Returns
    -------
    sensitivity : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        derivative : ndarray of shape (n_spectra, n_labels, n_wavelengths)
            Of the flux, per unit of the label. NaN for labels that never varied in
            training, of which the emulator knows nothing.
        flux : ndarray of shape (n_spectra, n_wavelengths)
            What `predict` gives.
        wavelength : ndarray of shape (n_wavelengths,)
            Å, or pixel numbers.
        medium : {"air", "vacuum"} or None
            Of the wavelengths; None for pixels.
        label_names, label_units : list of str
            Of the labels.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If the stellar parameters are not those of the emulator.

    See Also
    --------
    cramer_rao : The errors that follow from it.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import sensitivity
    >>> grid = make_spectra(50, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", label_names=grid.label_names, max_steps=50, random_state=0
    ... ).fit(grid.data, grid.target)
    >>> sensitivity(emulator, grid.data[:3]).derivative.shape
    (3, 5, 257)
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


class SensitivityDisplay:
    """Mean derivative of the flux by labels, one panel for each.

    Parameters
    ----------
    sensitivity : Bunch
        From :func:`sensitivity`.

    Attributes
    ----------
    ax_ : ndarray of matplotlib Axes, shape (n_labels,)
        One panel for each label.
    lines_ : dict of str to matplotlib LineCollection
        Marks of spectral lines, by label.
    figure_ : matplotlib Figure
        All are set by :meth:`plot`.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import SensitivityDisplay
    >>> grid = make_spectra(50, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", label_names=grid.label_names, max_steps=50, random_state=0
    ... ).fit(grid.data, grid.target)
    >>> display = SensitivityDisplay.from_estimator(emulator, grid.data)
    >>> display.mean_derivative.shape
    (5, 257)
    """

    def __init__(self, sensitivity):
        self.sensitivity = sensitivity

    @classmethod
    def from_estimator(cls, emulator, P):
        """Find the derivatives of an emulator.

        Parameters
        ----------
        emulator : SpectrumEmulator
            Fitted.
        P : array-like of shape (n_spectra, n_labels)
            Stars to average over.

        Returns
        -------
        display : SensitivityDisplay
            Not drawn yet.
        """
        return cls(sensitivity(emulator, P))

    @property
    def mean_derivative(self):
        """Mean over spectra, of shape (n_labels, n_wavelengths)."""
        return self.sensitivity.derivative.mean(axis=0)

    def plot(self, ax=None, *, labels=None, lines=None, line_kwargs=None):
        """Draw one panel for each label.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            As many as labels; if None, a new figure.
        labels : list of str, default=None
            Which labels; if None, all that varied in training.
        lines : mapping of str to array-like of float, default=None
            Lines to mark, in Å: those of "Fe" in the panel of "Fe_H", for instance.
        line_kwargs : dict, default=None
            For the derivatives.

        Returns
        -------
        display : SensitivityDisplay
            Itself.
        """
        s = self.sensitivity
        if labels is None:
            known = np.isfinite(self.mean_derivative[:, 0])
            labels = [n for n, k in zip(s.label_names, known, strict=True) if k]
        labels = chosen_labels(labels, s.label_names)
        if ax is None:
            _, ax = import_pyplot().subplots(
                len(labels),
                1,
                sharex=True,
                squeeze=False,
                figsize=(10, 0.85 * len(labels) + 0.8),
                layout="constrained",
            )
        self.ax_ = np.asarray(ax, dtype=object).ravel()
        self.figure_, self.lines_ = self.ax_[0].figure, {}
        style = {"color": "0.15", "lw": 0.6} | (line_kwargs or {})
        for panel, name in zip(self.ax_, labels, strict=True):
            i = s.label_names.index(name)
            panel.axhline(0, color="0.7", lw=0.6, zorder=0)
            at = covered_lines((lines or {}).get(_element_of(name), ()), s.wavelength)
            if len(at):
                self.lines_[name] = panel.vlines(
                    *(at, 0, 1),
                    transform=panel.get_xaxis_transform(),
                    color="C1",
                    lw=0.8,
                    alpha=0.6,
                    zorder=0,
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
    """Element that a label such as "Fe_H" or "[Fe/H]" is of."""
    return label.strip("[]").replace("/", "_").partition("_")[0]
