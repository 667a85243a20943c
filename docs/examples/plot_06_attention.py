"""
What a transformer attends to
=============================

TransformerPayne turns the stellar parameters into a few tokens, and every wavelength
attends to them. Both can be looked at. The transformer is a toy, on toy spectra.
"""

# %%
# A small transformer
# -------------------
#
# Its errors are not needed here, so no spectra are held out to learn them.

import matplotlib.pyplot as plt
import numpy as np

from sk_payne import SpectrumEmulator
from sk_payne.datasets import make_spectra
from sk_payne.inspection import (
    AttentionDisplay,
    TokenResponseDisplay,
    attention_maps,
    head_element_scores,
)

grid = make_spectra(500, random_state=0)
P_test, F_test = grid.data[400:], grid.target[400:]
transformer = SpectrumEmulator(
    arch="transformer",
    arch_params={"width": 32, "n_layers": 2, "n_heads": 4, "n_tokens": 8},
    wavelength=grid.wavelength,
    medium=grid.medium,
    label_names=grid.label_names,
    label_units=grid.label_units,
    max_steps=200,
    validation_fraction=0,
    random_state=0,
).fit(grid.data[:400], grid.target[:400])
error = np.abs(transformer.predict(P_test) - F_test).mean()
print(f"mean absolute error {error:.4f}")

# %%
# What the tokens hold
# --------------------
#
# How much each token depends on each label, as a mean over stars. Tokens that do the
# same work are neighbours.

TokenResponseDisplay.from_estimator(transformer, P_test).plot()

# %%
# Where each head looks
# ---------------------

attention = attention_maps(transformer, P_test)
display = AttentionDisplay(attention)
display.plot_overview()

# %%
# Do heads mark elements?
# -----------------------
#
# Heads are scored by how much more they attend at the lines of an element than
# elsewhere, against the same pattern of lines shifted along the spectrum. Only strong
# lines are passed. Read :doc:`/inspection` before believing a row.

strong = grid.lines[grid.lines["strength"] > 0]
lines = {
    element: strong["wavelength"][strong["element"] == element]
    for element in ("Fe", "Mg", "Ca")
}
best = head_element_scores(attention, lines).table[0]
for name in best.dtype.names:
    print(name, best[name])

# %%
# The head of that row, above the mean spectrum and the lines.

display.plot(best["layer"], best["head"], lines=lines)
plt.show()
