"""
A first emulator, and its error
===============================

An emulator learns stellar parameters to flux from a grid of synthetic spectra. Here it
is The Payne on 20 Å of the shipped grid, cool dwarfs with 19 labels, judged on the 300
test spectra, which it has not seen.
"""

# %%
# The grid
# --------
#
# A grid is an array of stellar parameters P, one row per star, and an array of flux F.
# To be quick, this emulator learns 4540-4560 Å from 1000 of 3425 training spectra.

import matplotlib.pyplot as plt
import numpy as np

from sk_payne import SpectrumEmulator
from sk_payne.datasets import load_sme_grid
from sk_payne.inspection import EmulationErrorDisplay, TrainingCurveDisplay

grid = load_sme_grid()
part = (grid.wavelength > 4540) & (grid.wavelength < 4560)
wavelength, flux = grid.wavelength[part], grid.target[:, part]
train, test = grid.train_indices[:1000], grid.test_indices
P, F = grid.data[train], flux[train]
P_test, F_test = grid.data[test], flux[test]
print(P.shape, F.shape, grid.label_names[:4])

# %%
# Training
# --------
#
# Names, units, wavelengths and their medium travel with the emulator. Leave out
# ``max_steps`` to train as long as the recipe of the architecture says.

emulator = SpectrumEmulator(
    arch="payne",
    wavelength=wavelength,
    medium=grid.medium,
    label_names=grid.label_names,
    label_units=grid.label_units,
    max_steps=800,
    random_state=0,
).fit(P, F)
TrainingCurveDisplay.from_estimator(emulator).plot()

# %%
# One star
# --------
#
# The one whose [Fe/H] is nearest to that of the Sun.

star = np.abs(P_test[:, grid.label_names.index("Fe_H")]).argmin()
predicted = emulator.predict(P_test[[star]])[0]
_, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.plot(wavelength, F_test[star], "k", lw=1, label="synthesis")
ax.plot(wavelength, predicted, "C1", lw=1, label="emulator")
ax.set(xlabel="wavelength in air [Å]", ylabel="normalised flux")
ax.legend()

# %%
# All test spectra
# ----------------
#
# The median error and, shaded, up to the error that 95 % of the stars stay below. The
# mean spectrum of the training set, instead of an emulator, is the number to beat.

display = EmulationErrorDisplay.from_estimator(emulator, P_test, F_test)
display.figure_.set_size_inches(7, 4)
nothing = np.abs(F_test - F.mean(axis=0)).mean()
print(f"mean absolute error {display.mae:.4f}, mean spectrum instead {nothing:.4f}")
plt.show()
