"""
An effect of your own
=====================

Young stars shine through the light of gas that falls on them. This light has no lines
here, so the lines of the star look too weak: the spectrum is veiled. The fit does not
know of veiling, and a class of a few lines teaches it.
"""

# %%
# The class
# ---------
#
# A :class:`~sk_payne.abundances.Stage` names its parameters and changes the flux of the
# model. With r times the light of the star, flux f becomes (f + r) / (1 + r). See
# :doc:`/add_a_stage` for the rules.

import matplotlib.pyplot as plt
import numpy as np

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator
from sk_payne.abundances import Parameter, Stage
from sk_payne.datasets import make_spectra
from sk_payne.spectra import SpectrumSet


class Veiling(Stage):
    """Light without lines that is added to that of the star."""

    def parameters(self):
        """Return the ratio of this light to the continuum of the star."""
        return [Parameter("veiling", "", 0.0, 3.0, start=0.0)]

    def apply(self, flux, wavelength, values):
        """Return veiled flux."""
        ratio = values["veiling"][:, None]
        return (flux + ratio) / (1 + ratio)


# %%
# Thirty veiled stars
# -------------------
#
# Toy spectra of 4500 K with different abundances, and noise of S/N 200.

grid = make_spectra(400, label_names=("teff", "Fe_H", "Mg_H"), random_state=0)
emulator = SpectrumEmulator(
    arch="payne",
    wavelength=grid.wavelength,
    medium=grid.medium,
    label_names=grid.label_names,
    label_units=grid.label_units,
    max_steps=500,
    random_state=0,
).fit(grid.data, grid.target)

rng = np.random.default_rng(0)
veiling = rng.uniform(0, 1, (30, 1))
labels = np.column_stack([np.full(30, 4500), rng.uniform(-0.4, 0.2, (30, 2))])
flux = (emulator.predict(labels) + veiling) / (1 + veiling)
flux += rng.normal(scale=0.005, size=flux.shape)
spectra = SpectrumSet(
    flux, np.full(flux.shape, 200.0**2), wavelength=grid.wavelength, medium=grid.medium
)

# %%
# With and without it
# -------------------

with_veiling = Observation(velocity_range=(-50, 50), stages=[Veiling()])
table = AbundanceRegressor(emulator, with_veiling).measure(spectra)
without = Observation(velocity_range=(-50, 50))
plain = AbundanceRegressor(emulator, without).measure(spectra)

_, (left, right) = plt.subplots(1, 2, figsize=(7, 3.7), layout="constrained")
left.errorbar(veiling[:, 0], table["veiling"], table["veiling_error"], fmt="o", ms=4)
left.axline((0, 0), slope=1, color="k", lw=0.8)
left.set(xlabel="true veiling", ylabel="fitted veiling")
for result, name in ((plain, "without"), (table, "with the stage")):
    difference = np.asarray(result["Fe_H"]) - labels[:, 1]
    right.plot(veiling[:, 0], difference, "o", ms=4, label=name)
right.axhline(0, color="k", lw=0.8)
right.set(xlabel="true veiling", ylabel="[Fe/H], measured - true [dex]")
right.legend()

# %%
# Without the stage, iron comes out lower the more a star is veiled. With it, iron is
# right, and its error is larger, since veiling and abundances both change the depth of
# lines. The new parameter has a column and an error like any other.

for name in ("Fe_H", "Fe_H_error", "veiling", "veiling_error"):
    table[name].info.format = ".3f"
print(table["Fe_H", "Fe_H_error", "veiling", "veiling_error"][:3])
for name, result in (("without", plain), ("with", table)):
    error = np.median(np.asarray(result["Fe_H_error"]))
    print(f"error of [Fe/H] {name} the stage: {error:.3f} dex")
plt.show()
