"""SpectrumFitDisplay: an observed spectrum, the best-fit model, and residuals."""

import numpy as np

from sk_payne.inspection._axes import (
    broken_lines,
    mark_lines,
    wavelength_label,
    with_error,
)
from sk_payne.inspection._display import Display
from sk_payne.spectra import as_spectra, doppler_factor

__all__ = ["SpectrumFitDisplay"]


class SpectrumFitDisplay(Display):
    """Data and model of one star, and residuals in units of the 1 sigma error.

    Parameters
    ----------
    wavelength : ndarray of shape (n_pixels,)
        Wavelengths in Å, or pixel numbers.
    flux, error, model : ndarray of shape (n_pixels,)
        Observed flux, its 1 sigma error, and flux of the model.
    mask : ndarray of shape (n_pixels,), bool, default=None
        True for pixels that the fit did not use.
    medium : {"air", "vacuum"} or None
        Medium of the wavelengths; None for pixels.
    velocity : float, default=0.0
        Radial velocity in km/s, by which marks of lines are shifted.
    title : str, default=""
        Title of the plot.

    Attributes
    ----------
    ax_ : tuple of matplotlib Axes
        Axes of the spectra and of the residuals.
    lines_ : list of matplotlib LineCollection
        Marks of spectral lines.
    figure_ : matplotlib Figure
        Figure of the plot; :meth:`plot` sets all.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.inspection import SpectrumFitDisplay
    >>> display = SpectrumFitDisplay(
    ...     wavelength=np.arange(3), flux=np.array([1.0, 0.5, 1.1]),
    ...     error=np.full(3, 0.1), model=np.ones(3),
    ... )
    >>> display.residual
    array([ 0., -5.,  1.])
    """

    def __init__(
        self,
        *,
        wavelength,
        flux,
        error,
        model,
        mask=None,
        medium=None,
        velocity=0.0,
        title="",
    ):
        self.wavelength = wavelength
        self.flux = flux
        self.error = error
        self.model = model
        self.mask = np.zeros(len(flux), dtype=bool) if mask is None else mask
        self.medium = medium
        self.velocity = velocity
        self.title = title

    @classmethod
    def from_regressor(cls, regressor, spectrum):
        """Measure a star and show the fit.

        Parameters
        ----------
        regressor : AbundanceRegressor
            Fitted, or with a fitted emulator.
        spectrum : specutils.Spectrum
            Spectrum of one star, with uncertainty, or its arms as ``[[arm, arm]]``.
            Pixels that the fit does not use are masked in the display.

        Returns
        -------
        display : SpectrumFitDisplay
            The display, not drawn yet; its title holds the first three labels.

        Raises
        ------
        ValueError
            If the spectrum is of more than one star.

        Examples
        --------
        >>> import sk_payne
        >>> from sk_payne.inspection import SpectrumFitDisplay
        >>> emulator = sk_payne.load("dwarfs-4500-4600")
        >>> P = [(emulator.label_low_ + emulator.label_high_) / 2]
        >>> star = emulator.to_spectra(P)
        >>> regressor = sk_payne.AbundanceRegressor(emulator, snr=100)
        >>> display = SpectrumFitDisplay.from_regressor(regressor, star)
        >>> bool(abs(display.residual[~display.mask]).max() < 0.1)
        True
        """
        stars = as_spectra(
            spectrum, medium=regressor.medium, snr=regressor.snr, uncertainty=None
        )
        if len(stars) != 1:
            raise ValueError(
                f"`spectrum` must be of one star; got {len(stars)}. Pass one of them, "
                "or [[arm, arm, ...]] if they are arms of one star."
            )
        table, model = regressor.measure(spectrum, return_model=True)
        names = [name for name in table.colnames if f"{name}_error" in table.colnames]
        values = [
            [table[column].value[0] for column in (name, f"{name}_error")]
            for name in names[:3]
        ]
        title = ", ".join(
            f"{name} {with_error(*pair)}"
            for name, pair in zip(names, values, strict=False)
        )
        wavelength = stars.wavelength
        if wavelength is not None:
            wavelength = np.broadcast_to(wavelength, stars.shape)[0]
        with np.errstate(divide="ignore"):
            error = stars.ivar[0] ** -0.5
        return cls(
            wavelength=np.arange(stars.shape[1]) if wavelength is None else wavelength,
            flux=stars.flux[0],
            error=error,
            model=model[0],
            mask=np.isnan(model[0]),
            medium=stars.medium,
            velocity=_velocity(table),
            title=title,
        )

    @property
    def residual(self):
        """Data minus model in units of the 1 sigma error; NaN for masked pixels."""
        residual = (self.flux - self.model) / self.error
        return np.where(self.mask, np.nan, np.round(residual, 12))

    def plot(self, ax=None, *, lines=None, data_kwargs=None, model_kwargs=None):
        """Draw data and model and, below, residuals.

        Parameters
        ----------
        ax : sequence of two matplotlib Axes, default=None
            If None, a new figure.
        lines : mapping of str to array-like of float, default=None
            Spectral lines to mark: names, such as "Mg", and rest wavelengths in Å, in
            the medium of the spectrum.
        data_kwargs, model_kwargs : dict, default=None
            Styles of the lines of data and model.

        Returns
        -------
        display : SpectrumFitDisplay
            Itself.
        """
        self._on_panels(ax, 2, sharex=True, figsize=(9, 4.5), height_ratios=(3, 1))
        above, below = self.ax_ = tuple(self.ax_)
        wavelength, flux, model, residual = broken_lines(
            self.wavelength,
            np.where(self.mask, np.nan, self.flux),
            self.model,
            self.residual,
        )
        above.plot(
            wavelength,
            flux,
            **{"color": "0.65", "lw": 1.8, "label": "observed"} | (data_kwargs or {}),
        )
        above.plot(
            wavelength,
            model,
            **{"color": "C3", "lw": 0.6, "label": "fit"} | (model_kwargs or {}),
        )
        above.set(ylabel="flux", title=self.title)
        above.margins(x=0)
        self.lines_ = [
            self._mark(above, name, wavelengths, f"C{i}")
            for i, (name, wavelengths) in enumerate((lines or {}).items())
        ]
        above.legend(loc="lower right", ncols=2 + len(self.lines_))
        below.axhline(0, color="C3", lw=0.7)
        below.plot(wavelength, residual, color="0.2", lw=0.5)
        below.set(xlabel=wavelength_label(self.medium), ylabel="residual [σ]")
        below.margins(x=0)
        return self

    def _mark(self, ax, name, wavelengths, color):
        """Draw ticks at lines, shifted by the radial velocity of the star."""
        at = np.asarray(wavelengths, dtype=float) * doppler_factor(self.velocity)
        inside = (at >= np.min(self.wavelength)) & (at <= np.max(self.wavelength))
        return mark_lines(ax, at[inside], 0.94, 0.99, color=color, lw=0.8, label=name)


def _velocity(table):
    """Radial velocity of the first star, 0 if none was fitted."""
    if "radial_velocity" not in table.colnames:
        return 0.0
    return float(table["radial_velocity"].value[0])
