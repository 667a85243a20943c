"""An observed spectrum, the model that fits it best, and what is left.

It is here because nobody believes a number without having seen its fit.
"""

import numpy as np

from sk_payne.inspection._axes import (
    broken_lines,
    import_pyplot,
    wavelength_label,
    with_error,
)
from sk_payne.spectra import as_spectra, doppler_factor

__all__ = ["SpectrumFitDisplay"]


class SpectrumFitDisplay:
    """One star: data, model, and residuals in units of the error.

    Parameters
    ----------
    wavelength : ndarray of shape (n_pixels,)
        Å, or pixel numbers.
    flux, error, model : ndarray of shape (n_pixels,)
        Observed flux, its standard deviation, and the fit.
    mask : ndarray of shape (n_pixels,), bool, default=None
        True for pixels that were not used.
    medium : {"air", "vacuum"} or None
        Of the wavelengths; None for pixels.
    velocity : float, default=0.0
        Radial velocity in km/s, by which lines are marked where they are seen.
    title : str, default=""
        Shown above.

    Attributes
    ----------
    ax_ : tuple of matplotlib Axes
        Of the spectra and of the residuals.
    lines_ : list of matplotlib LineCollection
        Marks of spectral lines.
    figure_ : matplotlib Figure
        All are set by :meth:`plot`.

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
            Fitted, or around a fitted emulator.
        spectrum : specutils.Spectrum
            Of one star, with uncertainty. Pixels that the fit does not use are masked.

        Returns
        -------
        display : SpectrumFitDisplay
            Not drawn yet; its title tells the first labels.

        Raises
        ------
        ValueError
            If it is not one star.

        Examples
        --------
        >>> from sk_payne import AbundanceRegressor, SpectrumEmulator
        >>> from sk_payne.datasets import make_spectra
        >>> from sk_payne.inspection import SpectrumFitDisplay
        >>> grid = make_spectra(300, random_state=0)
        >>> emulator = SpectrumEmulator(
        ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
        ...     label_names=grid.label_names, label_units=grid.label_units,
        ...     max_steps=400, random_state=0,
        ... ).fit(grid.data, grid.target)
        >>> star = emulator.to_spectra(grid.data[:1])
        >>> regressor = AbundanceRegressor(emulator, snr=100)
        >>> display = SpectrumFitDisplay.from_regressor(regressor, star)
        >>> bool(abs(display.residual[~display.mask]).max() < 0.1)
        True
        """
        stars = as_spectra(
            spectrum, medium=regressor.medium, snr=regressor.snr, uncertainty=None
        )
        if len(stars) != 1:
            raise ValueError(
                f"`spectrum` must be of one star; got {len(stars)}. Pass one of them."
            )
        table, model = regressor.measure(spectrum, return_model=True)
        names = [name for name in table.colnames if f"{name}_error" in table.colnames]
        shown = {name: (name, f"{name}_error") for name in names[:3]}
        told = ", ".join(
            f"{name} {with_error(*(table[column].value[0] for column in columns))}"
            for name, columns in shown.items()
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
            title=told,
        )

    @property
    def residual(self):
        """Data minus model in units of the error, NaN where masked."""
        residual = (self.flux - self.model) / self.error
        return np.where(self.mask, np.nan, np.round(residual, 12))

    def plot(self, ax=None, *, lines=None, data_kwargs=None, model_kwargs=None):
        """Draw data and model and, below, residuals.

        Parameters
        ----------
        ax : sequence of two matplotlib Axes, default=None
            If None, a new figure.
        lines : mapping of str to array-like of float, default=None
            Spectral lines to mark: names, such as "Mg", and wavelengths at rest in Å,
            in the medium of the spectrum.
        data_kwargs, model_kwargs : dict, default=None
            For the lines of data and model.

        Returns
        -------
        display : SpectrumFitDisplay
            Itself.
        """
        if ax is None:
            _, ax = import_pyplot().subplots(
                2,
                1,
                sharex=True,
                figsize=(9, 4.5),
                height_ratios=(3, 1),
                layout="constrained",
            )
        above, below = self.ax_ = tuple(ax)
        self.figure_ = above.figure
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
        """Draw ticks at lines, where the velocity of the star has moved them."""
        seen = np.asarray(wavelengths, dtype=float) * doppler_factor(self.velocity)
        inside = (seen >= np.min(self.wavelength)) & (seen <= np.max(self.wavelength))
        # heights are parts of the axes
        return ax.vlines(
            seen[inside],
            0.94,
            0.99,
            transform=ax.get_xaxis_transform(),
            color=color,
            lw=0.8,
            label=name,
        )


def _velocity(table):
    """Radial velocity of the first star, 0 if none was fitted."""
    if "radial_velocity" not in table.colnames:
        return 0.0
    return float(table["radial_velocity"].value[0])
