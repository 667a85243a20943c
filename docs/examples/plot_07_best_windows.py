"""
Where to observe for an element
===============================

The derivatives of an emulator tell the smallest error that any measurement can have
(Cramér and Rao), before a star is observed. Here for cool dwarfs, 4500-4600 Å.
"""

# %%
# The emulator that comes with the package, and stars like the Sun.

import matplotlib.pyplot as plt
import numpy as np

import sk_payne
from sk_payne.inspection import (
    BestWindowsDisplay,
    CramerRaoDisplay,
    SensitivityDisplay,
    cramer_rao,
)

emulator = sk_payne.load("dwarfs-4500-4600")
names = emulator.label_names_
rng = np.random.default_rng(0)
stars = np.zeros((20, len(names)))
stars[:, 0], stars[:, 1] = rng.uniform(5400, 5900, 20), 4.4
stars[:, 2:] = rng.uniform(-0.3, 0.3, (20, 17))

# %%
# What moves the flux
# -------------------
#
# The derivative of the flux of one star by some of its labels.

SensitivityDisplay.from_estimator(emulator, stars[:1]).plot(
    labels=["teff", "Fe_H", "Ti_H"]
)

# %%
# The smallest errors
# -------------------
#
# From the whole range at S/N 100, with all labels free.

CramerRaoDisplay.from_estimator(emulator, stars, snr=100).plot()

# %%
# Knowing Teff and log g from elsewhere helps.

free = cramer_rao(emulator, stars, snr=100)
known = cramer_rao(emulator, stars, snr=100, fixed=["teff", "logg"])
for name in ("Fe_H", "Ti_H", "Ba_H"):
    i = names.index(name)
    print(name, *(f"{np.median(b.error[:, i]):.3f} dex" for b in (free, known)))

# %%
# The best windows for barium
# ---------------------------
#
# Each window of 5 Å alone, with all other labels to be found from the same 5 Å, or
# known. The two that stand out hold the lines of Ba II at 4554 and 4525 Å, of which the
# emulator was not told.

BestWindowsDisplay.from_estimator(emulator, stars, "Ba_H", n_best=2).plot()
plt.show()
