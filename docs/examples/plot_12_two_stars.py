"""
Two stars in one spectrum
=========================

The lines of a close binary move against each other as the stars orbit. Each spectrum is
fitted with one star and, where a second one shows, with two.
"""

# %%
# Twelve spectra of one binary
# ----------------------------
#
# A star of 5600 K and a companion of 4700 K, whose continuum has half of its flux, on
# circular orbits. The emulator, of toy spectra, also makes the spectra of S/N 100: a
# fit of real stars is harder.

import matplotlib.pyplot as plt
import numpy as np

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator
from sk_payne.abundances import SecondStar
from sk_payne.datasets import make_spectra
from sk_payne.spectra import SpectrumSet, doppler_factor

grid = make_spectra(
    400,
    n_wavelengths=769,
    wavelength_range=(4500, 4560),
    label_names=("teff", "logg", "Fe_H", "Mg_H"),
    random_state=0,
)
emulator = SpectrumEmulator(
    arch="payne",
    wavelength=grid.wavelength,
    medium=grid.medium,
    label_names=grid.label_names,
    label_units=grid.label_units,
    max_steps=500,
    random_state=0,
).fit(grid.data, grid.target)
wavelength = grid.wavelength[60:-60]


def light(labels, velocity):
    """Return the flux of one star at the observed wavelengths."""
    rest = wavelength / doppler_factor(velocity)
    return emulator.predict([labels], wavelength=rest)[0]


def orbits(phase):
    """Return the velocities of both stars in km/s."""
    return 15 + np.multiply.outer([45, -55], np.sin(2 * np.pi * phase))


phase = np.arange(12) / 12
first, second = [5600, 4.4, -0.2, 0.0], [4700, 4.6, -0.2, 0.0]
flux = np.stack(
    [(light(first, v) + 0.5 * light(second, w)) / 1.5 for v, w in orbits(phase).T]
)
flux += np.random.default_rng(0).normal(scale=0.01, size=flux.shape)
spectra = SpectrumSet(
    flux, np.full(flux.shape, 1e4), wavelength=wavelength, medium=grid.medium
)

# %%
# At phase 0 the lines of both stars coincide, at phase 0.25 they are split.

_, axes = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
for ax, i in zip(axes, (0, 3), strict=True):
    ax.plot(wavelength, flux[i], "k", lw=0.8)
    ax.set(ylabel="flux", xlim=(4525, 4540))
    ax.set_title(f"phase {phase[i]:.2f}", fontsize="medium", loc="left")
axes[1].set(xlabel="wavelength in air [Å]")

# %%
# Measured
# --------
#
# The second star has its own Teff, log g and velocity, and shares the abundances of the
# first. It is accepted only if it lowers the Bayesian information criterion by more
# than 10.

observation = Observation(velocity_range=(-100, 100), second_star=SecondStar())
table = AbundanceRegressor(emulator, observation).measure(spectra)
is_double = np.asarray(table["n_stars"] == 2)
print("number of stars:", *table["n_stars"])
for name, true in (("teff", 5600), ("teff_2", 4700), ("flux_ratio", 0.5)):
    median, error = (
        np.median(np.asarray(table[column])[is_double])
        for column in (name, f"{name}_error")
    )
    print(f"{name}: median {median:.2f}, error {error:.2f}; true value {true}")

# %%
# Velocities
# ----------
#
# Lines are the true orbits. Where the velocities coincide, one star fits as well as
# two.

at = np.linspace(0, 1, 200)
velocity, velocity_2 = (
    np.asarray(table[name]) for name in ("radial_velocity", "radial_velocity_2")
)
_, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for true, color in zip(orbits(at), ("C0", "C1"), strict=True):
    ax.plot(at, true, color, lw=1)
ax.plot(phase[is_double], velocity[is_double], "C0o", label="first star")
ax.plot(phase[is_double], velocity_2[is_double], "C1o", label="second star")
ax.plot(phase[~is_double], velocity[~is_double], "ks", label="one star")
ax.set(xlabel="phase", ylabel="radial velocity [km/s]", ylim=(-50, 105))
ax.legend(loc="upper center", ncols=3)
plt.show()
