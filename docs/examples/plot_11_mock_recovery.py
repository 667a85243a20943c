"""
Do the errors hold?
===================

An error is a claim: over many stars, what was measured should scatter by it around the
truth. :func:`~sk_payne.recovery.mock_recovery` draws stars, lets the emulator make
their spectra, adds noise, and measures them.
"""

# %%
# A regressor to be tested, as it would be used.

import matplotlib.pyplot as plt

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator
from sk_payne.datasets import make_spectra
from sk_payne.inspection import (
    CalibrationDisplay,
    LabelCovarianceDisplay,
    MockRecoveryDisplay,
)
from sk_payne.recovery import mock_recovery, recovery_table

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
regressor = AbundanceRegressor(emulator, Observation(velocity_range=(-100, 100)))

# %%
# Sixty stars at two signal-to-noise ratios
# -----------------------------------------

recovery = mock_recovery(regressor, snr=(30, 200), n_stars=60, random_state=0)
table = recovery_table(recovery)
columns = ["bias", "scatter", "error", "pull_std", "coverage_68"]
for name in columns:
    table[name].info.format = ".3g"
print(*table[["label", "snr", *columns]].pformat(max_width=-1, max_lines=-1), sep="\n")

# %%
# The first row of panels has bias and scatter with the error claimed (dotted), the
# second the width of the pulls, which should be 1, the third the part of the stars
# within one and two errors, which should be 68 and 95 %.

MockRecoveryDisplay(recovery).plot()

# %%
# All labels together
# -------------------
#
# Distances of all labels from the truth, ranks of the truth, and expected coverage
# (TARP), with the bands that right errors stay within; and the verdict of all tests.
# At S/N 30, log g hardly shows: many of its values end at the bounds, and are nearer
# to the truth than errors without bounds say. ``estimate="mean"`` is for such labels.

print(*recovery.verdict, sep="\n")
CalibrationDisplay.from_recovery(recovery).plot()

# %%
# Errors of labels go together
# ----------------------------
#
# The covariance of one star, as ellipses at one and two standard deviations.

star = make_spectra(
    1,
    n_wavelengths=513,
    wavelength_range=(4500, 4540),
    label_names=("teff", "logg", "Fe_H", "Mg_H"),
    snr=100,
    random_state=2,
)
LabelCovarianceDisplay.from_regressor(
    AbundanceRegressor(emulator, snr=100), star.target, true=star.data[0]
).plot()
plt.show()
