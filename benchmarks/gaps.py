"""Pulls of stars measured with an emulator whose wavelengths have gaps.

An emulator is trained on analytic spectra of three arms between 4500 and 4600 Å. Stars
are analytic spectra too, not the emulator's own, at velocities of up to 200 km/s and
S/N 100. They are observed by a spectrograph without gaps, by one with the same gaps,
and by one whose arms reach beyond those of the emulator; nothing is masked by hand. The
standard deviation of pulls, (measured - true) / error, is 1 if what lies in the gaps
does not matter. Beside them are the same stars with a mask of all pixels that come from
the gaps.

Writes results/gaps.json, one row for each spectrograph and label.

    python benchmarks/gaps.py [--stars 200]
"""

import numpy as np
from record import parser, table, write
from trained import emulator_of

from sk_payne import AbundanceRegressor, Observation
from sk_payne.datasets import make_spectra
from sk_payne.spectra import SpectrumSet, doppler_factor

# Arms of the emulator, in pixels of its grid without gaps.
ARMS = (0, 300), (380, 640), (700, 1025)
FINE, SNR, FASTEST = 4, 100.0, 200.0
HOW = {"n_wavelengths": 1025, "wavelength_range": (4500.0, 4600.0)}


def main():
    options = parser(__doc__)
    options.add_argument("--stars", type=int, default=200)
    n_stars = options.parse_args().stars
    emulator = train()
    labels, flux, wavelength, velocities = draw(n_stars)
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=(-300, 300)))
    rows = []
    for name, mask in masks(wavelength, velocities).items():
        spectra = SpectrumSet(
            np.where(mask, 0.0, flux),
            np.where(mask, 0.0, np.full(flux.shape, SNR**2)),
            wavelength=wavelength,
            medium="air",
            resolving_power=np.full(flux.shape, emulator.resolving_power_),
        )
        found = regressor.measure(spectra)
        truth = dict(zip(emulator.label_names_, labels.T, strict=True))
        truth["radial_velocity"] = velocities
        for label, true in truth.items():
            error = found[f"{label}_error"].value
            pulls = (found[label].value - true) / error
            rows.append(
                {
                    "spectrograph": name,
                    "label": label,
                    "pull_std": float(pulls.std()),
                    "pull_mean": float(pulls.mean()),
                    "largest": float(np.abs(pulls).max()),
                    "error": float(np.median(error)),
                    "n_pixels": int(np.median(found["n_pixels"])),
                    "chi2/dof": float(np.median(found["chi2"] / found["dof"])),
                    "flagged": float((found["flags"] > 0).mean()),
                }
            )
    table(rows)
    write("gaps", {"stars": n_stars, "snr": SNR, "rows": rows})


def train():
    """Train an emulator on the arms."""
    grid = make_spectra(1000, random_state=0, **HOW)
    pixels = np.concatenate([np.arange(*arm) for arm in ARMS])
    return emulator_of(
        grid,
        arch="payne",
        wavelength=grid.wavelength[pixels],
        resolving_power=grid.resolving_power,
        max_steps=3000,
        random_state=0,
    ).fit(grid.data, grid.target[:, pixels])


def draw(n_stars):
    """Draw stars off the edges of the box: labels, noisy flux, wavelengths, km/s."""
    n_fine = FINE * (HOW["n_wavelengths"] - 1) + 1
    fine = make_spectra(8 * n_stars, random_state=1, **HOW | {"n_wavelengths": n_fine})
    low, high = fine.data.min(axis=0), fine.data.max(axis=0)
    unit = (fine.data - low) / (high - low)
    inside = np.flatnonzero(((unit > 0.1) & (unit < 0.9)).all(axis=1))[:n_stars]
    rng = np.random.default_rng(2)
    velocities = rng.uniform(-FASTEST, FASTEST, len(inside))
    wavelength = fine.wavelength[::FINE]
    flux = [
        np.interp(wavelength, fine.wavelength * doppler_factor(v), fine.target[row])
        for row, v in zip(inside, velocities, strict=True)
    ]
    flux = flux + rng.standard_normal((len(inside), len(wavelength))) / SNR
    return fine.data[inside], flux, wavelength, velocities


def masks(wavelength, velocities):
    """Give the pixels that each spectrograph does not have, by name."""
    reach = wavelength[0] * (doppler_factor(FASTEST) - 1)
    every = np.zeros(len(wavelength), dtype=bool)
    masks = {
        "no gaps": every,
        "the same gaps": ~in_arms(wavelength, wavelength, 0.0),
        "arms 3 Å longer": ~in_arms(wavelength, wavelength, reach),
    }
    rest = wavelength / doppler_factor(velocities)[:, None]
    masks["no gaps, masked by hand"] = ~in_arms(wavelength, rest, 0.0)
    return masks


def in_arms(grid, wavelength, margin):
    """Whether wavelengths are in an arm, or nearer to one than a margin in Å."""
    inside = np.zeros(wavelength.shape, dtype=bool)
    for first, end in ARMS:
        near = wavelength >= grid[first] - margin
        inside |= near & (wavelength <= grid[end - 1] + margin)
    return inside


if __name__ == "__main__":
    main()
