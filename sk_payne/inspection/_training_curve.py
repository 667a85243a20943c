"""TrainingCurveDisplay: losses of a training against its steps."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_payne.inspection._display import Display

__all__ = ["TrainingCurveDisplay"]


class TrainingCurveDisplay(Display):
    """Loss on training and on held-out spectra against optimisation steps.

    Parameters
    ----------
    step : ndarray of shape (n_epochs,)
        Optimisation steps at the end of each epoch.
    train_loss : ndarray of shape (n_epochs,)
        Mean loss of the batches of the epoch, in scaled flux.
    valid_loss : ndarray of shape (n_epochs,), default=None
        Loss of the held-out spectra; None if there are none.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with a logarithmic loss.
    lines_ : list of matplotlib Line2D
        Lines of training and, if there are any, held-out spectra.
    figure_ : matplotlib Figure
        Figure of the plot; :meth:`plot` sets all.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Scores against the number of spectra.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.inspection import TrainingCurveDisplay
    >>> grid = make_spectra(50, random_state=0)
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=50, random_state=0)
    >>> emulator = emulator.fit(grid.data, grid.target)
    >>> display = TrainingCurveDisplay.from_estimator(emulator)
    >>> int(display.step[-1])
    50
    """

    def __init__(self, *, step, train_loss, valid_loss=None):
        self.step = step
        self.train_loss = train_loss
        self.valid_loss = valid_loss

    @classmethod
    def from_estimator(cls, emulator):
        """Make a display of the history of an emulator.

        Parameters
        ----------
        emulator : SpectrumEmulator
            Fitted or loaded emulator.

        Returns
        -------
        display : TrainingCurveDisplay
            The display, not drawn yet.

        Raises
        ------
        NotFittedError
            If the emulator is not fitted.
        """
        check_is_fitted(emulator)

        def losses(name):
            return np.array([epoch.get(name, np.nan) for epoch in emulator.history_])

        valid = losses("valid_loss")
        return cls(
            step=np.array([epoch["step"] for epoch in emulator.history_]),
            train_loss=losses("train_loss"),
            valid_loss=valid if np.isfinite(valid).any() else None,
        )

    def plot(self, ax=None, *, line_kwargs=None):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            If None, a new figure.
        line_kwargs : dict, default=None
            Style of both lines.

        Returns
        -------
        display : TrainingCurveDisplay
            Itself.
        """
        ax = self._on_axes(ax, (6, 3.4))
        # markers, as a short training may have a single point
        style = {"lw": 1.2, "marker": "." if len(self.step) < 50 else ""}
        style |= line_kwargs or {}
        self.lines_ = ax.plot(
            self.step, self.train_loss, **{"color": "C0", "label": "training"} | style
        )
        if self.valid_loss is not None:
            style = {"color": "C1", "label": "held out"} | style
            self.lines_ += ax.plot(self.step, self.valid_loss, **style)
        ax.set(yscale="log", xlabel="step", ylabel="loss (scaled flux)")
        ax.legend()
        return self
