"""
How many spectra are enough?
============================

The error of an emulator against the number of spectra it was trained on, with
scikit-learn's ``LearningCurveDisplay``: an emulator is a regressor like any other. The
spectra are toys (:func:`~sk_payne.datasets.make_spectra`); what real grids need is told
in :doc:`/data_efficiency`.
"""

# %%
# Spectra or steps
# ----------------
#
# Trainings are counted in optimisation steps, so each point of a curve costs the same.
# All are judged on the same 200 spectra. Some of these lie beyond the few spectra of
# the first points, which is no news here.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import LearningCurveDisplay

from sk_payne import SpectrumEmulator
from sk_payne.datasets import make_spectra
from sk_payne.exceptions import ExtrapolationWarning

warnings.simplefilter("ignore", ExtrapolationWarning)
grid = make_spectra(600, random_state=0)
train, test = np.arange(400), np.arange(400, 600)
sizes = [50, 100, 200, 400]

_, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for max_steps in (100, 300):
    emulator = SpectrumEmulator(
        arch="payne",
        wavelength=grid.wavelength,
        medium=grid.medium,
        label_names=grid.label_names,
        max_steps=max_steps,
        random_state=0,
    )
    LearningCurveDisplay.from_estimator(
        emulator,
        grid.data,
        grid.target,
        train_sizes=sizes,
        cv=[(train, test)],
        scoring="neg_mean_absolute_error",
        negate_score=True,
        score_type="test",
        score_name="mean absolute error",
        std_display_style=None,
        line_kw={"marker": "o"},
        ax=ax,
    )
ax.set(xscale="log", yscale="log", xlabel="training spectra")
ax.set_xticks(sizes, sizes)
ax.set_xticks([], minor=True)
ax.legend(ax.get_lines(), ["100 steps", "300 steps"])

# %%
# A straight line on these axes is a power law. Where a curve flattens, more spectra do
# not help: the network is too small, or has had too few steps.

plt.show()
