"""EmulationErrorDisplay: error of an emulator at each wavelength."""

import numpy as np

from sk_payne.inspection._axes import broken_lines, wavelength_label
from sk_payne.inspection._display import Display

__all__ = ["EmulationErrorDisplay"]


class EmulationErrorDisplay(Display):
    """Error of an emulator against wavelength, under the mean spectrum.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    wavelength : ndarray of shape (n_wavelengths,)
        Wavelengths in Å, or pixel numbers.
    mean_flux : ndarray of shape (n_wavelengths,)
        Mean of the true spectra.
    median_error, high_error : ndarray of shape (n_wavelengths,)
        Median and 95th percentile of the absolute error over spectra.
    mae : float
        Mean absolute error over spectra and wavelengths.
    medium : {"air", "vacuum"} or None
        Medium of the wavelengths; None for pixels.

    Attributes
    ----------
    ax_ : tuple of matplotlib Axes
        Axes of the mean spectrum and of the errors.
    figure_ : matplotlib Figure
        Figure of the plot; :meth:`plot` sets both.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import EmulationErrorDisplay
    >>> grid = make_spectra(50, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", max_steps=50, random_state=0
    ... ).fit(grid.data, grid.target)
    >>> display = EmulationErrorDisplay.from_estimator(
    ...     emulator, grid.data, grid.target, plot=False
    ... )
    >>> display.median_error.shape
    (257,)
    """

    def __init__(
        self, *, wavelength, mean_flux, median_error, high_error, mae, medium=None
    ):
        self.wavelength = wavelength
        self.mean_flux = mean_flux
        self.median_error = median_error
        self.high_error = high_error
        self.mae = mae
        self.medium = medium

    @classmethod
    def from_estimator(cls, emulator, X, y, *, plot=True, ax=None):
        """Compute the errors of an emulator on test spectra, and draw them.

        Parameters
        ----------
        emulator : SpectrumEmulator
            Fitted emulator.
        X : array-like of shape (n_spectra, n_labels)
            Stellar parameters.
        y : array-like of shape (n_spectra, n_wavelengths)
            True flux.
        plot : bool, default=True
            Whether to draw at once.
        ax : sequence of two matplotlib Axes, default=None
            As in :meth:`plot`.

        Returns
        -------
        display : EmulationErrorDisplay
            The display, drawn if `plot`.
        """
        y = np.asarray(y)
        error = np.abs(emulator.predict(X) - y)
        median, high = np.quantile(error, [0.5, 0.95], axis=0)
        grid = emulator.wavelength_
        display = cls(
            wavelength=np.arange(y.shape[1]) if grid is None else grid,
            mean_flux=y.mean(axis=0),
            median_error=median,
            high_error=high,
            mae=float(error.mean()),
            medium=emulator.medium_ if grid is not None else None,
        )
        return display.plot(ax=ax) if plot else display

    def plot(self, ax=None, *, line_kwargs=None, fill_kwargs=None):
        """Draw the mean spectrum and, below, the errors.

        Parameters
        ----------
        ax : sequence of two matplotlib Axes, default=None
            If None, a new figure.
        line_kwargs : dict, default=None
            Style of the line of the median error.
        fill_kwargs : dict, default=None
            Style of the area up to the 95th percentile.

        Returns
        -------
        display : EmulationErrorDisplay
            Itself.
        """
        self.ax_ = tuple(self._on_panels(ax, 2, sharex=True, figsize=(9, 4.5)))
        above, below = self.ax_
        wavelength, mean_flux, median_error, high_error = broken_lines(
            self.wavelength, self.mean_flux, self.median_error, self.high_error
        )
        above.plot(wavelength, mean_flux, color="0.2", lw=0.6)
        above.set_ylabel("mean flux")
        above.margins(x=0)
        below.fill_between(
            wavelength,
            0,
            high_error,
            **{"color": "C0", "alpha": 0.3, "lw": 0, "label": "95 % of spectra"}
            | (fill_kwargs or {}),
        )
        below.plot(
            wavelength,
            median_error,
            **{"color": "C0", "lw": 0.7, "label": "median"} | (line_kwargs or {}),
        )
        below.set(
            xlabel=wavelength_label(self.medium), ylabel="|error|", ylim=(0, None)
        )
        below.margins(x=0)
        below.legend(
            loc="upper right", ncols=2, title=f"mean absolute error {self.mae:.4f}"
        )
        return self
