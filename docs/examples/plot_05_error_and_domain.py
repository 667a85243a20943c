"""
The error of an emulator, and its domain
========================================

An emulator is wrong by different amounts for different stars, and blind where its
training set was empty. It tells both: ``predict(P, return_std=True)`` and
``domain(P)``.
"""

# %%
# A training set with an empty corner
# -----------------------------------
#
# Stars near a main sequence: hot ones with low gravity do not occur.

import matplotlib.pyplot as plt
import numpy as np

from sk_payne import SpectrumEmulator
from sk_payne.datasets import make_spectra

grid = make_spectra(3000, random_state=0)
teff, logg = grid.data[:, 0], grid.data[:, 1]
near = np.abs(logg - (4.9 - (teff - 4000) / 2000 * 0.6)) < 0.25
P, F = grid.data[near][:800], grid.target[near][:800]
emulator = SpectrumEmulator(
    arch="payne",
    wavelength=grid.wavelength,
    medium=grid.medium,
    label_names=grid.label_names,
    label_units=grid.label_units,
    max_steps=800,
    random_state=0,
).fit(P, F)

# %%
# The domain
# ----------
#
# Categories are "inside", "edge" and "outside". A corner that a pair of labels leaves
# empty is outside, though each label alone is in its range.

rng = np.random.default_rng(0)
probe = rng.uniform(grid.data.min(axis=0), grid.data.max(axis=0), (4000, 5))
domain = emulator.domain(probe)
_, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for category, color in (("inside", "C0"), ("edge", "C1"), ("outside", "0.8")):
    which = domain == category
    ax.plot(*probe[which, :2].T, ".", ms=4, color=color, label=category)
ax.set(xlabel="Teff [K]", ylabel="log g", xlim=(6050, 3950), ylim=(5.05, 3.95))
ax.legend(loc="lower left", framealpha=1)

# %%
# The error
# ---------
#
# Stars that the emulator has not seen, inside its domain, sorted by the error that it
# claims for them. If the claim holds, 68 % of the flux values lie within it, in each
# group.

P_test, F_test = grid.data[near][800:], grid.target[near][800:]
inside = emulator.domain(P_test) == "inside"
P_test, F_test = P_test[inside], F_test[inside]
flux, std = emulator.predict(P_test, return_std=True)
within = (np.abs(flux - F_test) < std).mean(axis=1)
claimed = std.mean(axis=1)
actual = np.abs(flux - F_test).mean(axis=1)
groups = np.array_split(np.argsort(claimed), 6)

_, (left, right) = plt.subplots(1, 2, figsize=(7, 3.7), layout="constrained")
left.plot(claimed, actual, ".", ms=4)
left.set(
    xscale="log",
    yscale="log",
    xlabel="error claimed, mean over wavelengths",
    ylabel="mean absolute error",
)
left.tick_params(axis="x", which="minor", labelbottom=False)
means = np.array([[claimed[g].mean(), within[g].mean()] for g in groups])
right.plot(1e3 * means[:, 0], means[:, 1], "o")
right.axhline(0.683, color="k", lw=1, ls=":")
right.set(
    xlabel="error claimed, mean of a group [0.001]",
    ylabel="part of the flux within it",
    ylim=(0, 1),
)
plt.show()
