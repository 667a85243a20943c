"""From physical labels and flux to the numbers a network likes, and back.

It is here so that scaling is decided once, is invertible, and travels with the model.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Scaling"]


@dataclass(frozen=True)
class Scaling:
    """Labels in -1..1 over the training box; flux around zero with unit scatter.

    Attributes
    ----------
    label_low, label_high : ndarray of shape (n_labels,)
        The training box, in the units of the labels.
    flux_offset : ndarray of shape (n_wavelengths,) or (1,)
        Mean flux, per wavelength for networks on a fixed grid, over all for those
        that take the wavelength.
    flux_scale : float
        Scatter of the flux about that mean.
    """

    label_low: np.ndarray
    label_high: np.ndarray
    flux_offset: np.ndarray
    flux_scale: float

    @classmethod
    def from_training(cls, labels, flux, *, per_wavelength):
        """Measure the scaling on a training set.

        Parameters
        ----------
        labels : ndarray of shape (n_spectra, n_labels)
            Stellar parameters.
        flux : ndarray of shape (n_spectra, n_wavelengths)
            Flux, float32 or float64.
        per_wavelength : bool
            Whether every wavelength has its own offset.

        Returns
        -------
        scaling : Scaling
            Sums are taken in float64: in float32 the mean of 1e5 spectra is off by
            as much as a good emulator.
        """
        offset = flux.mean(axis=0, dtype=np.float64)
        if not per_wavelength:
            offset = offset.mean(keepdims=True)
        square = np.mean([np.mean((block - offset) ** 2) for block in _blocks(flux)])
        scale = float(np.sqrt(square))
        return cls(
            label_low=labels.min(axis=0).astype(np.float64),
            label_high=labels.max(axis=0).astype(np.float64),
            flux_offset=offset,
            flux_scale=scale if scale > 0 else 1.0,
        )

    @property
    def label_center(self):
        """Middle of the box, of shape (n_labels,)."""
        return (self.label_low + self.label_high) / 2

    @property
    def label_half_width(self):
        """Half of the range, or one for a label that does not vary."""
        half = (self.label_high - self.label_low) / 2
        return np.where(half > 0, half, 1.0)

    def scale_labels(self, labels):
        """Labels in units of the box."""
        return (labels - self.label_center) / self.label_half_width

    def scale_flux(self, flux):
        """Flux as the network gives it."""
        return (flux - self.flux_offset) / self.flux_scale


def _blocks(flux, rows=256):
    return np.array_split(flux, max(1, len(flux) // rows))
