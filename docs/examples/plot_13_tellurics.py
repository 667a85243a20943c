"""
Lines of the Earth's atmosphere
===============================

Telluric lines cover lines of the star. They can be ignored, masked, or fitted with a
template that multiplies the model. The same stars are measured in all three ways.
"""

# %%
# Stars behind an atmosphere
# --------------------------
#
# An emulator of toy spectra, and ten of its stars. Each has a velocity and noise of
# S/N 100. The template of the atmosphere is invented, too: sixty lines, whose optical
# depth differs from star to star by a common factor.

import matplotlib.pyplot as plt
import numpy as np

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator
from sk_payne.abundances import Telluric
from sk_payne.datasets import make_spectra
from sk_payne.spectra import SpectrumSet, doppler_factor

grid = make_spectra(
    400,
    n_wavelengths=513,
    wavelength_range=(4500, 4540),
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

n_stars = 10
rng = np.random.default_rng(1)
wavelength = grid.wavelength[20:-20]
lines, strength = rng.uniform(4500, 4540, (60, 1)), rng.uniform(0.1, 0.6, (60, 1))
depth = (strength * np.exp(-(((wavelength - lines) / 0.12) ** 2))).sum(axis=0)

middle, half = grid.data.mean(axis=0), np.ptp(grid.data, axis=0) / 2
labels = middle + half * rng.uniform(-0.6, 0.6, (n_stars, 4))
velocity, amount = rng.uniform(-40, 40, n_stars), rng.uniform(0.5, 2, n_stars)
clear = np.stack(
    [
        emulator.predict([p], wavelength=wavelength / doppler_factor(v))[0]
        for p, v in zip(labels, velocity, strict=True)
    ]
)
flux = clear * np.exp(-amount[:, None] * depth)
flux += rng.normal(scale=0.01, size=flux.shape)
stars = SpectrumSet(
    flux, np.full(flux.shape, 1e4), wavelength=wavelength, medium=grid.medium
)

_, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.plot(wavelength, flux[0], "0.6", lw=2.5, label="observed")
ax.plot(wavelength, clear[0], "C0", lw=1, label="star alone")
ax.plot(wavelength, 0.3 + np.exp(-amount[0] * depth), "C1", lw=1, label="air + 0.3")
ax.set(xlim=(4510, 4525), ylim=(None, 1.6))
ax.set(xlabel="wavelength in air [Å]", ylabel="flux")
ax.legend(loc="upper center", ncols=3)

# %%
# Three fits
# ----------
#
# The mask leaves out pixels where the template absorbs more than 1 %. The template is a
# stage of the observation, and its optical depth is fitted for each star.

telluric = Telluric(wavelength, np.exp(-depth), medium=grid.medium, velocity=0.0)
plain = AbundanceRegressor(emulator, Observation(velocity_range=(-60, 60)))
fitted = AbundanceRegressor(
    emulator, Observation(velocity_range=(-60, 60), stages=[telluric])
)
masked = stars.replace(ivar=np.where(depth < 0.01, stars.ivar, 0.0))
tables = {
    "ignored": plain.measure(stars),
    "masked": plain.measure(masked),
    "fitted": fitted.measure(stars),
}
true = labels[:, grid.label_names.index("Fe_H")]
difference = {name: np.asarray(t["Fe_H"]) - true for name, t in tables.items()}
error = {name: np.asarray(t["Fe_H_error"]) for name, t in tables.items()}
print("[Fe/H] in dex: root mean square of measured - true, median of the errors")
for name in tables:
    rms = np.sqrt(np.mean(difference[name] ** 2))
    print(f"{name:8s} {rms:.3f}  {np.median(error[name]):.3f}")

# %%
# Iron, star by star
# ------------------
#
# With ignored telluric lines, iron is off by many of its errors (the scales differ). A
# mask makes it right, at the price of pixels. The template keeps them, and the errors
# are smaller.

_, axes = plt.subplots(3, 1, figsize=(7, 5), sharex=True, layout="constrained")
for ax, name in zip(axes, tables, strict=True):
    ax.errorbar(true, difference[name], error[name], fmt="o", ms=4, lw=1)
    ax.axhline(0, color="k", lw=0.8)
    ax.set_title(name, fontsize="medium", loc="left")
axes[1].set(ylabel="measured - true [dex]")
axes[2].set(xlabel="true [Fe/H]")
plt.show()
