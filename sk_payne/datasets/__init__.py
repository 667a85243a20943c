"""Training grids without a download: one is shipped, one is computed in milliseconds.

Examples and tests use them.
"""

from sk_payne.datasets._make_spectra import make_spectra
from sk_payne.datasets._sme_grid import load_sme_grid

__all__ = ["load_sme_grid", "make_spectra"]
