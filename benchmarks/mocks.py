"""Mock stars of the shipped grid, and how far off their measured labels are.

They are drawn up to the edges of what emulators know. Importing this file silences the
warnings that say so.
"""

import warnings

import numpy as np

from sk_payne.datasets import load_sme_grid
from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.spectra import SpectrumSet, doppler_factor

warnings.simplefilter("ignore", ExtrapolationWarning)


def draw(emulator, rng, n, low=0.0, high=1.0):
    """Labels of stars, uniform between two fractions of the range of each label."""
    start, end = emulator.label_low_, emulator.label_high_
    return start + (end - start) * rng.uniform(low, high, (n, len(start)))


def spectra_of_grid(n, drawn_by=None):
    """Labels and flux of the test split, or flux of an emulator at these labels."""
    grid = load_sme_grid()
    rows = grid.test_indices[:n]
    flux = grid.target[rows] if drawn_by is None else drawn_by.predict(grid.data[rows])
    return grid.data[rows], flux.astype(np.float64)


def noisy(flux, snr, rng):
    """Add noise of 1 / S/N of the continuum."""
    return flux + rng.standard_normal(flux.shape) / snr


def observed(emulator, flux, snr, velocity=0.0, medium=None, seen=True):
    """Give spectra on the pixels of an emulator, seen at velocities in km/s.

    Pixels that are not `seen` have no weight.
    """
    ivar = np.where(np.broadcast_to(seen, flux.shape), float(snr) ** 2, 0.0)
    factor = np.asarray(doppler_factor(velocity))[..., None]
    return SpectrumSet(
        flux,
        ivar,
        wavelength=emulator.wavelength_ * factor,
        medium=medium or emulator.medium_,
    )


def pulls(emulator, found, labels):
    """(measured - true) / error, and whether the spectrum constrains the label.

    It does if the error is below a tenth of the range of the label. Both are of shape
    (n_labels, n_stars).
    """
    names = emulator.label_names_
    value, error = (
        np.stack([found[f"{name}{end}"].value for name in names])
        for end in ("", "_error")
    )
    half = (emulator.label_high_ - emulator.label_low_) / 2
    return (value - labels.T) / error, error < 0.2 * half[:, None]
