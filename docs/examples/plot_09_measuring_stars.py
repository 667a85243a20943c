"""
Measuring stars, with velocity and rotation
===========================================

Stars with noise, in motion, rotating, and not normalised: what
:class:`~sk_payne.AbundanceRegressor` finds of them.
"""

# %%
# An emulator of three labels over 60 Å of toy spectra. It is told the resolving power
# of its spectra, so that broadening is added to what they have.

import matplotlib.pyplot as plt
import numpy as np
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from specutils import Spectrum

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator
from sk_payne.datasets import make_spectra
from sk_payne.inspection import RecoveryDisplay, SpectrumFitDisplay
from sk_payne.spectra import broaden, doppler_factor

grid = make_spectra(
    400,
    n_wavelengths=769,
    wavelength_range=(4500, 4560),
    label_names=("teff", "Fe_H", "Mg_H"),
    random_state=0,
)
emulator = SpectrumEmulator(
    arch="payne",
    wavelength=grid.wavelength,
    medium=grid.medium,
    resolving_power=grid.resolving_power,
    label_names=grid.label_names,
    label_units=grid.label_units,
    max_steps=600,
    random_state=0,
).fit(grid.data, grid.target)

# %%
# Thirty stars
# ------------
#
# Each has a velocity and a rotation of its own, a sloping continuum of some thousand
# counts, and noise of S/N 100.

rng = np.random.default_rng(1)
n = 30
labels = np.stack(
    [rng.uniform(4300, 5700, n), rng.uniform(-1, 0.5, n), rng.uniform(-1, 0.5, n)],
    axis=1,
)
vsini, velocity = rng.uniform(5, 40, n), rng.uniform(-100, 100, n)
stars = []
for p, rotation, v in zip(labels, vsini, velocity, strict=True):
    flux = broaden(emulator.predict([p]), grid.wavelength, vsini=rotation)[0]
    counts = np.linspace(3000, 4000, flux.size) * flux
    error = counts.max() / 100
    counts += rng.normal(scale=error, size=flux.size)
    stars.append(
        Spectrum(
            flux=counts * u.ct,
            spectral_axis=grid.wavelength * doppler_factor(v) * u.AA,
            uncertainty=StdDevUncertainty(np.full(flux.size, error) * u.ct),
            meta={"medium": "air", "resolving_power": grid.resolving_power},
        )
    )

# %%
# The fit
# -------
#
# A pair of numbers for ``vsini`` are the limits between which it is sought. The
# polynomial of the continuum is solved for at every step.

regressor = AbundanceRegressor(
    emulator, Observation(velocity_range=(-200, 200), vsini=(0, 60), continuum_degree=1)
)
lines = {
    element: grid.lines["wavelength"][
        (grid.lines["element"] == element) & (grid.lines["strength"] > 0.5)
    ]
    for element in ("Fe", "Mg")
}
display = SpectrumFitDisplay.from_regressor(regressor, stars[0]).plot(lines=lines)
display.figure_.set_size_inches(7, 4)

# %%
# The table has values, errors, chi2 and flags of every star.

table = regressor.measure(stars)
columns = ["teff", "teff_error", "Fe_H", "Fe_H_error", "vsini", "radial_velocity"]
for name in columns:
    table[name].info.format = ".2f"
print(*table[[*columns, "flags"]][:5].pformat(max_width=-1), sep="\n")

# %%
# Against the truth
# -----------------

names = [*grid.label_names, "vsini", "radial_velocity"]
true = np.column_stack([labels, vsini, velocity])
_, axes = plt.subplots(2, 3, figsize=(7, 5), layout="constrained")
axes[1, 2].remove()
RecoveryDisplay.from_table(table, true, names).plot(ax=axes.flat[:5])
plt.show()
