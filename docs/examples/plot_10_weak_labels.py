"""
Labels that hardly show
=======================

The error of a fit is that of a parabola of chi2. A label that the spectrum hardly
constrains has no parabola, and one number does not describe its error. The profile of
chi2 shows it, and ``estimate="profile"`` gives an interval instead.
"""

# %%
# Aluminium in a noisy spectrum
# -----------------------------
#
# A star of 5000 K and solar abundances at S/N 40, made by the emulator of the package.
# In its wavelengths titanium has many lines, aluminium hardly any. To keep the example
# short, all labels but five are taken as known, and the emulator as exact.

import matplotlib.pyplot as plt
import numpy as np

import sk_payne
from sk_payne import AbundanceRegressor, Observation

emulator = sk_payne.load("dwarfs-4500-4600")
names = emulator.label_names_
free = ["teff", "logg", "Fe_H", "Ti_H", "Al_H"]
known = {name: 0.0 for name in names if name not in free}
observation = Observation(
    velocity_range=None, resolving_power="emulator", emulator_error=False
)

star = np.zeros((1, len(names)))
star[0, :2] = 5000, 4.5
flux = emulator.predict(star)
flux += np.random.default_rng(0).normal(scale=1 / 40, size=flux.shape)

# %%
# Errors and intervals
# --------------------
#
# ``estimate="profile"`` adds the columns ``<name>_p16`` and ``<name>_p84``, a 68 %
# interval. ``profile_intervals`` names the labels whose interval is not that of the
# parabola.

regressor = AbundanceRegressor(emulator, observation, fixed=known, estimate="profile")
table = regressor.measure(flux, uncertainty=1 / 40)
found = {
    label: [
        float(np.asarray(table[f"{label}{suffix}"])[0])
        for suffix in ("", "_error", "_p16", "_p84")
    ]
    for label in ("Ti_H", "Al_H")
}
for label, (value, error, low, high) in found.items():
    print(f"{label}: {value:.2f} ± {error:.2f}, interval {low:.2f} to {high:.2f}")
print("not parabolas:", table["profile_intervals"][0])

# %%
# The profile of chi2
# -------------------
#
# ``fixed`` may have one value for each star. The same spectrum is measured 11 times,
# each time with the label fixed at another value and the other labels free.


def profile(label, values):
    """Return chi2 of the best fit for each value of a label."""
    regressor = AbundanceRegressor(emulator, observation, fixed=known | {label: values})
    repeated = np.repeat(flux, len(values), axis=0)
    return np.asarray(regressor.measure(repeated, uncertainty=1 / 40)["chi2"])


_, axes = plt.subplots(1, 2, figsize=(7, 3.7), sharey=True, layout="constrained")
for ax, (label, (value, error, low, high)) in zip(axes, found.items(), strict=True):
    i = names.index(label)
    edges = emulator.label_low_[i], emulator.label_high_[i]
    values = np.linspace(
        max(value - 3 * error, edges[0]), min(value + 3 * error, edges[1]), 11
    )
    rise = profile(label, values) - table["chi2"][0]
    ax.axvspan(low, high, color="0.88", label="68 % interval")
    ax.plot(values, rise, "C0o-", ms=4, label="profile")
    dense = np.linspace(values[0], values[-1], 200)
    ax.plot(dense, ((dense - value) / error) ** 2, "C1--", label="parabola")
    ax.axhline(1, color="k", lw=0.8, ls=":")
    ax.axvline(0, color="k", lw=0.8)
    ax.set(xlabel=f"[{label[:2]}/H]", ylim=(-0.3, 6))
axes[0].set(ylabel="rise of chi2")
axes[1].legend(loc="upper left", fontsize="small")

# %%
# For titanium the parabola is right. For aluminium chi2 rises steeply to one side and
# slowly to the other: the spectrum says how much aluminium there is at most. The
# vertical lines are the true values.

plt.show()
