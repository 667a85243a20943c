"""
A network that reads spectra
============================

A neural posterior is trained once on mock spectra. Then it gives the distribution of
the labels of a star at once, and least-squares fits can start from it.
"""

# %%
# Training
# --------
#
# An emulator of toy spectra, and a small network that learns from mock spectra of the
# emulator. Both are trained for seconds only. (It needs ``sk_payne[neural]``.)

import matplotlib.pyplot as plt
import numpy as np

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator
from sk_payne.datasets import make_spectra
from sk_payne.neural_posterior import NeuralPosterior

grid = make_spectra(400, label_names=("teff", "Fe_H", "Mg_H"), random_state=0)
emulator = SpectrumEmulator(
    arch="payne",
    wavelength=grid.wavelength,
    medium=grid.medium,
    resolving_power=grid.resolving_power,
    label_names=grid.label_names,
    label_units=grid.label_units,
    max_steps=500,
    random_state=0,
).fit(grid.data, grid.target)
observation = Observation(velocity_range=(-30, 30), emulator_error=False)
posterior = NeuralPosterior(
    emulator,
    observation,
    n_directions=16,
    n_hidden=48,
    max_steps=300,
    batch_size=128,
    n_held_out=400,
    random_state=0,
).fit()

# %%
# Forty stars
# -----------
#
# Labels from the middle of the training box, noise of S/N 200. The posterior predicts
# medians and quantiles. The fits start from the posterior and compare each star with
# the emulator itself.

rng = np.random.default_rng(0)
middle = (emulator.label_low_ + emulator.label_high_) / 2
half = (emulator.label_high_ - emulator.label_low_) / 2
true = middle + half * rng.uniform(-0.7, 0.7, (40, 3))
flux = emulator.predict(true)
flux += rng.normal(scale=0.005, size=flux.shape)

quantiles = posterior.predict(flux, uncertainty=0.005, quantiles=[0.16, 0.5, 0.84])
low, median, high = np.moveaxis(quantiles, 2, 0)
regressor = AbundanceRegressor(emulator, observation, start=posterior)
table = regressor.measure(flux, uncertainty=0.005)
fitted = np.column_stack([np.asarray(table[name]) for name in grid.label_names])

_, axes = plt.subplots(1, 3, figsize=(7, 3.2), layout="constrained")
for i, (ax, name) in enumerate(
    zip(axes, ("Teff [K]", "[Fe/H]", "[Mg/H]"), strict=True)
):
    bars = np.abs([low[:, i] - median[:, i], high[:, i] - median[:, i]])
    difference = median[:, i] - true[:, i], fitted[:, i] - true[:, i]
    ax.errorbar(true[:, i], difference[0], bars, fmt="o", ms=3, lw=0.8, label="network")
    ax.plot(true[:, i], difference[1], "C1o", ms=3, zorder=3, label="fit")
    ax.axhline(0, color="k", lw=0.8)
    ax.set(xlabel=f"true {name}")
axes[0].set(ylabel="measured - true")
axes[0].legend(fontsize="small")
for who, values in (("network", median), ("fit", fitted)):
    rms = np.sqrt(np.mean((values - true) ** 2, axis=0))
    print(f"{who:7s}: {rms[0]:.0f} K, {rms[1]:.3f} dex, {rms[2]:.3f} dex")

# %%
# The network is less precise than the fits, and its intervals are wide: after so short
# a training they hold more than 68 % of the true values. More steps make them narrower
# (:doc:`/neural_posterior`).

inside = (low < true) & (true < high)
print("fraction inside the intervals:", *np.round(inside.mean(axis=0), 2))

# %%
# Samples of one star
# -------------------
#
# The joint distribution of two labels, with the true values and the fit.

samples = posterior.sample(flux[:1], 2000, uncertainty=0.005, random_state=0)[0]
_, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(*samples[:, :2].T, ".", ms=2, color="0.6", label="samples of the posterior")
ax.plot(*true[0, :2], "k*", ms=12, label="true")
ax.plot(*fitted[0, :2], "C1o", label="fit")
ax.set(xlabel="Teff [K]", ylabel="[Fe/H]")
ax.legend()
plt.show()
