"""LowRankTables: tables of the opacity network that wavelengths share.

Full tables have hundreds of numbers for each wavelength, more than there are spectra
to learn them from.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["LowRankTables"]

# First logarithm of the strengths, as in full tables.
_FAINT = -2.0


class LowRankTables(nn.Module):
    r"""Strengths, codes and remaining flux as linear functions of a few numbers.

    Each wavelength has R numbers u. As matrices with a row for each wavelength, all
    tables together have the rank R, apart from a constant row:

    .. math:: s_{\lambda m k} = \sum_r u_{\lambda r} v_{r m k} + v_{0 m k} .

    Wavelengths with lines of the same element and excitation have nearly the same u,
    up to their strength, and learn v from each other.

    Parameters
    ----------
    n_smeared : int
        Wavelengths, those beyond both ends included.
    reach : int
        Wavelengths beyond either end, without a remaining flux.
    rank : int
        Numbers R of each wavelength.
    n_sums, n_populations : int
        Sums of opacities M, and populations K.
    width : int
        Length E of the code of a wavelength.
    n_hidden : int
        Neurons H that the remaining flux is linear in.

    Examples
    --------
    >>> from sk_payne.networks._opacity_tables import LowRankTables
    >>> tables = LowRankTables(
    ...     11, 2, rank=5, n_sums=4, n_populations=9, width=3, n_hidden=6
    ... )
    >>> tables.strength().shape
    torch.Size([11, 4, 9])
    """

    def __init__(
        self,
        n_smeared: int,
        reach: int,
        *,
        rank: int,
        n_sums: int,
        n_populations: int,
        width: int,
        n_hidden: int,
    ):
        super().__init__()
        self.reach, self.shape = reach, (n_sums, n_populations)
        self.numbers = nn.Parameter(torch.randn(n_smeared, rank))
        self.to_strength = nn.Linear(rank, n_sums * n_populations)
        self.to_code = nn.Linear(rank, width, bias=False)
        self.to_rest = nn.Linear(n_hidden, rank, bias=False)
        # strengths start with the scatter of full tables; the others start at zero
        nn.init.normal_(self.to_strength.weight, std=1 / math.sqrt(rank))
        nn.init.constant_(self.to_strength.bias, _FAINT)
        nn.init.zeros_(self.to_code.weight)
        nn.init.zeros_(self.to_rest.weight)

    def strength(self) -> Tensor:
        """Logarithms of the strengths, of shape (P, M, K)."""
        return self.to_strength(self.numbers).unflatten(1, self.shape)

    def wavelength_code(self) -> Tensor:
        """Codes of the wavelengths, of shape (P, E)."""
        return self.to_code(self.numbers)

    def rest(self, star: Tensor) -> Tensor:
        """Remaining flux (..., P) of the last hidden layer (..., H) of stars."""
        inner = self.numbers[self.reach : len(self.numbers) - self.reach]
        return self.to_rest(star) @ inner.T
