"""
Fine-tuning on few spectra
==========================

A grid in which only abundances vary is cheap to make, as all its spectra share one
atmosphere. :class:`~sk_payne.FineTunedEmulator` starts from an emulator of such a grid
and learns, from few spectra more, what temperature and gravity do.
"""

# %%
# Two grids
# ---------
#
# Ten elements in both. In the first, Teff is 5000 K and log g 4.5; in the second they
# vary, too.

import warnings

import matplotlib.pyplot as plt
import numpy as np

from sk_payne import FineTunedEmulator, SpectrumEmulator
from sk_payne.datasets import make_spectra
from sk_payne.exceptions import ExtrapolationWarning

elements = ["Fe", "Mg", "Ca", "Ti", "Ni", "Cr", "Si", "Na", "C", "Mn"]
abundances = [f"{element}_H" for element in elements]
window = {"n_wavelengths": 257, "wavelength_range": (4500, 4520)}
cheap = make_spectra(1000, label_names=abundances, random_state=0, **window)
wanted = make_spectra(
    700, label_names=["teff", "logg", *abundances], random_state=1, **window
)
P_test, F_test = wanted.data[300:], wanted.target[300:]

# the labels of the cheap grid, as columns in the order of the wanted one
P_cheap = np.column_stack([np.tile([5000, 4.5], (1000, 1)), cheap.data])
settings = {
    "arch": "payne",
    "wavelength": wanted.wavelength,
    "medium": wanted.medium,
    "label_names": wanted.label_names,
    "random_state": 0,
}
base = SpectrumEmulator(max_steps=300, **settings).fit(P_cheap, cheap.target)

# %%
# Three ways to train
# -------------------
#
# From scratch, from the base, and from the base with its spectra rehearsed. Some test
# stars lie beyond the 30 spectra of the first point, which is no news here.

warnings.simplefilter("ignore", ExtrapolationWarning)
tuning = {"max_steps": 200, "recipe": {"lr": 3e-3}, "random_state": 0}
sizes = [30, 100, 300]
error = {"from scratch": [], "fine-tuned": [], "fine-tuned, rehearsing": []}
for n in sizes:
    P, F = wanted.data[:n], wanted.target[:n]
    emulators = [
        SpectrumEmulator(max_steps=200, **settings),
        FineTunedEmulator(base, **tuning),
        FineTunedEmulator(base, rehearse=(P_cheap, cheap.target), **tuning),
    ]
    for way, emulator in zip(error, emulators, strict=True):
        residual = emulator.fit(P, F).predict(P_test) - F_test
        error[way].append(np.abs(residual).mean())

_, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for way, values in error.items():
    ax.plot(sizes, values, "o-", label=way)
ax.set(
    xscale="log",
    yscale="log",
    xlabel="spectra of the wanted grid",
    ylabel="mean absolute error",
)
ax.set_xticks(sizes, sizes)
ax.set_xticks([], minor=True)
ax.legend()

# %%
# With enough spectra of its own an emulator need not remember the others. How much
# there is to win on a real grid is told in :doc:`/data_efficiency`.

plt.show()
