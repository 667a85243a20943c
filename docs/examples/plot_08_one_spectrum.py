"""
One star, from counts to labels
===============================

A spectrum as it comes from a telescope: in counts, in motion, of a rotating star, with
a cosmic ray and a bad column. It is measured with an emulator that comes with the
package.
"""

# %%
# A spectrum in counts
# --------------------
#
# The star is a synthetic spectrum of the shipped grid, from the part that no emulator
# was trained on. It rotates with 12 km/s and recedes with 37 km/s. The spectrograph
# adds a curved response, noise of S/N 100, a cosmic ray, and a bad column of 20 pixels.

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from specutils import Spectrum

import sk_payne
from sk_payne import AbundanceRegressor, Observation
from sk_payne.datasets import load_sme_grid
from sk_payne.inspection import SpectrumFitDisplay
from sk_payne.spectra import broaden, doppler_factor

grid = load_sme_grid()
row = grid.test_indices[1]
flux = broaden(grid.target[[row]], grid.wavelength, vsini=12)[0]
position = np.linspace(-1, 1, flux.size)
response = 12000 * (1 - 0.5 * (position - 0.2) ** 2)
error = np.sqrt(response * response.max()) / 100
rng = np.random.default_rng(0)
counts = response * flux + rng.normal(scale=error)
counts[700:703] += 6000
counts[1500:1520] = 0

star = Spectrum(
    flux=counts * u.ct,
    spectral_axis=grid.wavelength * doppler_factor(37) * u.AA,
    uncertainty=StdDevUncertainty(error * u.ct),
    mask=counts == 0,
    meta={"medium": "air", "resolving_power": 50_000},
)
_, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.plot(star.wavelength, np.where(star.mask, np.nan, counts), "k", lw=0.6)
ax.set(xlabel="wavelength in air [Å]", ylabel="counts")
ax.margins(x=0)

# %%
# What is known, and what is fitted
# ---------------------------------
#
# Pairs of numbers are limits. The polynomial of the continuum has degree 3, and pixels
# more than five errors away are clipped. All 19 labels are fitted, too.

emulator = sk_payne.load("dwarfs-4500-4600")
observation = Observation(
    velocity_range=(-100, 100), vsini=(0, 40), continuum_degree=3, clip=5
)
regressor = AbundanceRegressor(emulator, observation)
table = regressor.measure(star)
for name, true in (("radial_velocity", 37), ("vsini", 12)):
    value, uncertainty = table[name][0], table[f"{name}_error"][0]
    print(f"{name}: {value:.2f}, error {uncertainty:.2f}; true value {true}")
print(f"chi2 {table['chi2'][0]:.0f} of {table['dof'][0]:.0f} degrees of freedom")
print(f"clipped pixels: {table['n_clipped'][0]}")

# %%
# The fit
# -------
#
# The model follows the counts, since it is multiplied by the fitted continuum. Gaps are
# the bad column and the clipped cosmic ray.

display = SpectrumFitDisplay.from_regressor(regressor, star).plot()
display.figure_.set_size_inches(7, 4)
display.ax_[0].set(xlim=(4525, 4575), title="")

# %%
# Labels
# ------
#
# Measured minus true, with the errors of the fit. Labels that this spectrum hardly
# constrains have long bars. ``label_flags`` names those that are at an edge of the
# training box, or unconstrained.

names = emulator.label_names_
difference = [table[n][0].value - t for n, t in zip(names, grid.data[row], strict=True)]
errors = [table[f"{name}_error"][0].value for name in names]
print(f"Teff: {difference[0]:+.0f} K, error {errors[0]:.0f} K")
print(table["label_flags"][0])
_, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.errorbar(names[1:], difference[1:], errors[1:], fmt="o", capsize=3)
ax.axhline(0, color="k", lw=0.8)
ax.set(ylabel="measured - true [dex]")
ax.tick_params(axis="x", rotation=60)
plt.show()
