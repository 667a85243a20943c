"""The Cannon: flux at every wavelength is a quadratic polynomial of the labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sk_payne.networks._architecture import Architecture
from sk_payne.networks._recipe import Recipe
from sk_payne.networks._registry import register_network
from sk_payne.networks._rows import keep_rows


@register_network("cannon")
class Cannon(Architecture):
    r"""The Cannon [1]_: a quadratic polynomial for each wavelength.

    .. math:: f_\lambda = \theta_{\lambda 0} + \sum_i \theta_{\lambda i}\,p_i
        + \sum_{i \le j} \theta_{\lambda ij}\,p_i p_j

    Parameters
    ----------
    n_labels : int
        Number of stellar parameters L.
    n_wavelengths : int
        Number of wavelengths P.

    References
    ----------
    .. [1] Ness et al., "The Cannon: a data-driven approach to stellar label
       determination", ApJ 808, 16, 2015.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import Cannon
    >>> Cannon(n_labels=3, n_wavelengths=11)(torch.zeros(2, 3)).shape
    torch.Size([2, 11])
    """

    recipe = Recipe(max_steps=2000, loss="mae", lr=1e-2)

    def __init__(self, n_labels: int, n_wavelengths: int):
        super().__init__()
        self.n_wavelengths = n_wavelengths
        pairs = torch.triu_indices(n_labels, n_labels)
        # not saved, as it follows from the number of labels
        self.register_buffer("pairs", pairs, persistent=False)
        self.polynomial = nn.Linear(n_labels + pairs.shape[1], n_wavelengths)

    def forward(self, labels: Tensor) -> Tensor:
        """Scaled flux of shape (B, P) of scaled labels of shape (B, L)."""
        first, second = self.pairs
        products = labels[:, first] * labels[:, second]
        return self.polynomial(torch.cat([labels, products], dim=1))

    def slice_grid(self, pixels: slice) -> Cannon:
        """Cannon of some wavelengths, with their coefficients."""
        part = keep_rows(self, {"polynomial.weight": pixels, "polynomial.bias": pixels})
        part.n_wavelengths = pixels.stop - pixels.start
        return part
