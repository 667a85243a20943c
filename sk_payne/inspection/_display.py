"""Display and BunchDisplay: bases of the displays, which keep numbers and draw them."""

import numpy as np

from sk_payne.inspection._axes import import_pyplot

__all__ = ["BunchDisplay", "Display"]


class Display:
    """Numbers that `plot` draws on axes of the caller or of a new figure.

    Methods that draw set `ax_` and `figure_` by one of the two methods below.
    """

    def _on_axes(self, ax, figsize):
        """Set `ax_` to single axes: those given, or of a new figure."""
        if ax is None:
            _, ax = import_pyplot().subplots(figsize=figsize, layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        return ax

    def _on_panels(self, ax, n_rows=1, n_columns=1, **options):
        """Set `ax_` to an array of axes: those given, or of a new figure.

        The array has one dimension; `options` are those of ``pyplot.subplots``.
        """
        if ax is None:
            _, ax = import_pyplot().subplots(
                n_rows, n_columns, squeeze=False, layout="constrained", **options
            )
        self.ax_ = np.asarray(ax, dtype=object).ravel()
        self.figure_ = self.ax_[0].figure
        return self.ax_


class BunchDisplay(Display):
    """Display of the Bunch that a function computes for an emulator.

    A subclass has a constructor that takes the Bunch, and the function as attribute
    `_compute`.
    """

    _compute = None

    @classmethod
    def from_estimator(cls, emulator, P, *args, **kwargs):
        """Compute the numbers for an emulator, and make a display of them.

        Parameters
        ----------
        emulator : SpectrumEmulator
            Fitted emulator.
        P : array-like of shape (n_spectra, n_labels)
            Stellar parameters.
        *args, **kwargs : object
            Further arguments of the function that computes the Bunch of the display.

        Returns
        -------
        display : BunchDisplay
            The display, not drawn yet.
        """
        return cls(cls._compute(emulator, P, *args, **kwargs))
