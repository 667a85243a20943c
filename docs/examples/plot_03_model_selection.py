"""
Choose settings by cross-validation
===================================

Emulators and regressors are scikit-learn estimators, so its tools for choosing settings
work with them: here ``GridSearchCV``, first over the network of an emulator, then over
the continuum of a fit.
"""

# %%
# The size of a network
# ---------------------
#
# Three sizes of The Payne, judged by the error of flux on spectra that were left out.
# Entries of ``arch_params`` and ``recipe`` are searched by name.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator
from sk_payne.datasets import make_spectra
from sk_payne.exceptions import ExtrapolationWarning, FluxLevelWarning

# some spectra that are left out lie beyond the others, and some fits below need a
# continuum but have none
warnings.simplefilter("ignore", ExtrapolationWarning)
warnings.simplefilter("ignore", FluxLevelWarning)

grid = make_spectra(300, label_names=("teff", "Fe_H", "Mg_H"), random_state=0)
emulator = SpectrumEmulator(
    arch="payne",
    wavelength=grid.wavelength,
    medium=grid.medium,
    label_names=grid.label_names,
    label_units=grid.label_units,
    max_steps=200,
    random_state=0,
)
networks = GridSearchCV(
    emulator,
    {"arch_params__n_hidden": [10, 50, 250]},
    scoring="neg_mean_absolute_error",
    cv=2,
).fit(grid.data, grid.target)
sizes = np.asarray(networks.cv_results_["param_arch_params__n_hidden"], dtype=int)
errors = -networks.cv_results_["mean_test_score"]
for size, error in zip(sizes, errors, strict=True):
    print(f"{size:4d} neurons: mean absolute error {error:.4f}")

# %%
# The degree of a continuum
# -------------------------
#
# Twenty stars of known labels, whose flux has a curved continuum: how many coefficients
# must a fit have? ``GridSearchCV`` clones what it searches, which would reset the
# emulator; ``FrozenEstimator`` keeps it trained. Nothing is trained here, so ``cv``
# only says on which stars a fit is judged.

stars = make_spectra(20, label_names=grid.label_names, snr=100, random_state=1)
rng = np.random.default_rng(0)
position = np.linspace(-1, 1, grid.wavelength.size)
slope, curvature, wiggle = rng.uniform(-0.2, 0.2, (3, 20, 1))
curve = 1 + slope * position + curvature * position**2 + 0.3 * wiggle * position**3
flux = stars.target * curve

regressor = AbundanceRegressor(
    FrozenEstimator(networks.best_estimator_),
    Observation(velocity_range=None),
    snr=100,
)


def error_of_iron(regressor, flux, labels):
    """Return minus the median absolute error of [Fe/H]."""
    return -np.median(np.abs(regressor.predict(flux)[:, 1] - labels[:, 1]))


degrees = [None, 1, 2, 3, 5]
search = GridSearchCV(
    regressor,
    {"observation__continuum_degree": degrees},
    scoring=error_of_iron,
    cv=[(np.arange(2), np.arange(20))],
    refit=False,
).fit(flux, stars.data)

# %%
# Both searches in one figure
# ---------------------------

_, (left, right) = plt.subplots(1, 2, figsize=(7, 3.5), layout="constrained")
left.plot(sizes, errors, "o-")
left.set(
    xscale="log",
    yscale="log",
    xlabel="neurons in a layer",
    ylabel="mean absolute error of flux",
)
left.tick_params(axis="y", which="minor", labelleft=False)
right.plot(range(len(degrees)), -search.cv_results_["mean_test_score"], "o-")
right.set_xticks(range(len(degrees)), [str(degree) for degree in degrees])
right.set(
    yscale="log", xlabel="continuum_degree", ylabel="median error of [Fe/H] [dex]"
)
print("best:", networks.best_params_, search.best_params_)

# %%
# A larger network is better here. The continua are polynomials of degree 3: lower
# degrees displace [Fe/H], and more coefficients than needed cost little.

plt.show()
