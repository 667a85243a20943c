"""Training grids that are there at once: one shipped, one computed on the spot.

They are here so that every example and test starts without a download.
"""

from sk_payne.datasets._make_spectra import make_spectra
from sk_payne.datasets._sme_grid import load_sme_grid

__all__ = ["load_sme_grid", "make_spectra"]
