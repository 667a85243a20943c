"""Scaling of labels and flux for a network."""

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Scaling"]


@dataclass(frozen=True)
class Scaling:
    """Scaling of labels to -1..1 over the box, of flux to zero mean and unit scatter.

    Parameters
    ----------
    label_center : ndarray of shape (n_labels,)
        Middle of the training box, in the units of the labels.
    label_half_width : ndarray of shape (n_labels,)
        Half width of the training box, or 1 for a label that does not vary.
    flux_offset : ndarray of shape (n_wavelengths,) or (1,)
        Mean flux: of each wavelength for networks on a fixed grid, of all wavelengths
        for networks that take the wavelength.
    flux_scale : float
        Standard deviation of the flux about the offset.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.trained import Scaling
    >>> scaling = Scaling(np.array([5000.0]), np.array([1000.0]), np.array([0.9]), 0.1)
    >>> scaling.scale_labels(np.array([[5500.0]])), scaling.scale_flux(np.array([1.0]))
    (array([[0.5]]), array([1.]))
    """

    label_center: np.ndarray
    label_half_width: np.ndarray
    flux_offset: np.ndarray
    flux_scale: float

    @classmethod
    def from_training(cls, labels, flux, *, per_wavelength):
        """Measure the scaling on a training set.

        Parameters
        ----------
        labels : ndarray of shape (n_spectra, n_labels)
            Stellar parameters.
        flux : TrainingFlux of shape (n_spectra, n_wavelengths)
            Flux; masked pixels do not count.
        per_wavelength : bool
            Whether every wavelength has its own offset.

        Returns
        -------
        scaling : Scaling
            The scaling. Sums are in float64: a mean of 1e5 spectra in float32 has an
            error as large as that of a good emulator.
        """
        offset = flux.mean_spectrum
        if not per_wavelength:
            offset = offset.mean(keepdims=True)
        scale = _scatter(flux, offset)
        low = labels.min(axis=0).astype(np.float64)
        high = labels.max(axis=0).astype(np.float64)
        return cls(
            label_center=(low + high) / 2,
            label_half_width=np.where(high > low, (high - low) / 2, 1.0),
            flux_offset=offset,
            flux_scale=scale if scale > 0 else 1.0,
        )

    def slice_grid(self, pixels):
        """Return the scaling of a part of the wavelengths.

        Parameters
        ----------
        pixels : slice
            The wavelengths.

        Returns
        -------
        scaling : Scaling
            The same scaling, with their offsets.
        """
        if len(self.flux_offset) == 1:
            return self
        return replace(self, flux_offset=self.flux_offset[pixels])

    def describe_labels(self, names):
        """Return names and scale of the labels, for `build_network`.

        Parameters
        ----------
        names : list of str
            Names of the labels.

        Returns
        -------
        label_scale : tuple
            Names, centres and half widths.
        """
        return names, self.label_center.tolist(), self.label_half_width.tolist()

    def scale_labels(self, labels):
        """Scale labels to the training box.

        Parameters
        ----------
        labels : ndarray of shape (n_spectra, n_labels)
            Stellar parameters.

        Returns
        -------
        scaled : ndarray of shape (n_spectra, n_labels)
            Scaled labels, -1 to 1 in the box.
        """
        return (labels - self.label_center) / self.label_half_width

    def scale_flux(self, flux):
        """Scale flux to the output of the network.

        Parameters
        ----------
        flux : ndarray of shape (n_spectra, n_wavelengths)
            Physical flux.

        Returns
        -------
        scaled : ndarray of shape (n_spectra, n_wavelengths)
            Scaled flux.
        """
        return (flux - self.flux_offset) / self.flux_scale


def _scatter(flux, offset, n_rows=256):
    """Measure the standard deviation of the flux about the offset, in blocks."""
    squares, weights = [], []
    for rows in np.array_split(np.arange(len(flux)), max(1, len(flux) // n_rows)):
        rows = slice(rows[0], rows[-1] + 1)
        square = (flux[rows] - offset) ** 2
        bad = flux.bad_pixels(rows)
        if bad is None:
            squares.append(np.mean(square))
            weights.append(1.0)
        elif not bad.all():
            squares.append(np.mean(square[~bad]))
            weights.append(np.mean(~bad))
    return float(np.sqrt(np.average(squares, weights=weights)))
