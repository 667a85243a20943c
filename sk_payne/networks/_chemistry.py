"""What the abundances of a star say of its molecules and of its electrons.

It is here because two sums of many labels rule cool stars, and no network finds them in
a few hundred spectra: what carbon monoxide leaves over, and who gives electrons.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

__all__ = ["Chemistry", "find_abundances"]

# log10 of the solar number abundance (Asplund et al. 2009; hydrogen = 12), and the
# energy in eV that takes the first electron away (NIST).
_ELEMENTS = {
    "C": (8.43, 11.26),
    "O": (8.69, 13.62),
    "Na": (6.24, 5.14),
    "Mg": (7.60, 7.65),
    "Al": (6.45, 5.99),
    "Si": (7.51, 8.15),
    "K": (5.03, 4.34),
    "Ca": (6.34, 6.11),
    "Sc": (3.15, 6.56),
    "Ti": (4.95, 6.83),
    "V": (3.93, 6.75),
    "Cr": (5.64, 6.77),
    "Mn": (5.43, 7.43),
    "Fe": (7.50, 7.90),
    "Co": (4.99, 7.88),
    "Ni": (6.22, 7.64),
    "Ba": (2.18, 5.21),
}

# Number abundance (hydrogen = 12) of an element that half of another can bind, if that
# is plenty: from bonds that break in hot stars to those that hold in cool ones.
_BONDS = (9.0, 7.0, 5.0)

# Energies in eV below which electrons are free, from cool stars to hot ones, and how
# sharply: first Na and K, then Al and Ca as well, then Mg, Si and Fe.
_ENERGIES = (5.6, 7.2, 8.6)
_SOFTNESS = 0.35


class Chemistry(nn.Module):
    r"""Molecules and electrons of stars, as logarithms of order one.

    With b the number of bonds that are broken when half of the molecules are, what o
    oxygen atoms leave of c carbon atoms is the positive root x of
    :math:`x^2 + (o - c + b)\,x - b c = 0` (law of mass action). Electrons are
    the sum of abundances, each times the part :math:`1/(1 + e^{(\chi - E)/s})` that is
    ionised, with ionisation energies :math:`\chi`.

    Parameters
    ----------
    abundances : mapping of str to sequence of float
        For each element log10 of its number abundance at the centre of the training
        box (hydrogen = 12), and the change of that with each scaled label.

    Attributes
    ----------
    n_features : int
        Carbon and oxygen left over by three strengths of the bond, and electrons below
        three energies; zero where the abundances are not known.
    """

    n_features = 2 * len(_BONDS) + len(_ENERGIES)

    def __init__(self, abundances: Mapping[str, Sequence[float]]):
        super().__init__()
        self.has_bonds = "C" in abundances and "O" in abundances
        donors = [name for name in abundances if name not in ("C", "O")]
        energy = torch.tensor([_ELEMENTS[name][1] for name in donors])
        below = torch.tensor(_ENERGIES)[:, None] - energy
        # not saved: they follow from the options
        tables = {
            "ionised": nn.functional.logsigmoid(below / _SOFTNESS) / math.log(10),
            "donors": torch.tensor([abundances[name] for name in donors]),
            "partners": torch.tensor([abundances[n] for n in "CO"])
            if self.has_bonds
            else torch.zeros(0),
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def forward(self, labels: Tensor) -> Tensor:
        """Features of shape (B, n_features) of scaled labels of shape (B, L)."""
        bonds = labels.new_zeros(len(labels), 2 * len(_BONDS))
        electrons = labels.new_zeros(len(labels), len(_ENERGIES))
        if self.has_bonds:
            bonds = self._left_over(*_log_abundance(self.partners, labels).T)
        if len(self.donors):
            log_n = _log_abundance(self.donors, labels)[:, None] - 6 + self.ionised
            electrons = torch.logsumexp(math.log(10) * log_n, -1) / math.log(10)
        return torch.cat([bonds, electrons], dim=1)

    def _left_over(self, log_carbon, log_oxygen):
        # in units of 1e-4 of hydrogen
        carbon, oxygen = 10 ** (log_carbon - 8), 10 ** (log_oxygen - 8)
        left = []
        for bond in _BONDS:
            b = 10 ** (bond - 8)
            for this, other in ((carbon, oxygen), (oxygen, carbon)):
                excess = other - this + b
                # the root without a difference of large numbers
                root = (excess.abs() + torch.sqrt(excess**2 + 4 * b * this)) / 2
                left.append(torch.where(excess > 0, b * this / root, root))
        return torch.stack(left, dim=-1).log10() / 3


def find_abundances(
    label_names: Sequence[str], center: Sequence[float], half_width: Sequence[float]
) -> dict[str, list[float]]:
    """Express the abundance of each element by the labels of a grid.

    Parameters
    ----------
    label_names : sequence of str
        Such as "C_H" or "[C/H]"; "C_Fe" with "Fe_H" or "M_H". Elements that are not
        among the labels follow "Fe_H" or "M_H".
    center, half_width : sequence of float
        Of the training box, in dex for these labels.

    Returns
    -------
    abundances : dict of str to list of float
        As :class:`Chemistry` takes them; empty if the labels tell nothing.

    Examples
    --------
    >>> from sk_payne.networks._chemistry import find_abundances
    >>> find_abundances(["teff", "C_H"], [5000, -0.5], [1000, 1.5])
    {'C': [7.93, 0.0, 1.5]}
    """
    columns = {}
    for i, name in enumerate(label_names):
        match = re.fullmatch(r"\[?([A-Z][a-z]?)[_/](H|Fe|M)\]?", name)
        if match:
            columns[match.groups()] = i
    metals = columns.get(("Fe", "H"), columns.get(("M", "H")))
    found = {}
    for element, (solar, _) in _ELEMENTS.items():
        relative = columns.get((element, "Fe"), columns.get((element, "M")))
        if (element, "H") in columns:
            parts = [columns[element, "H"]]
        elif metals is None:
            continue
        else:
            parts = [metals] if relative is None else [metals, relative]
        form = [solar + float(sum(center[i] for i in parts))]
        slopes = [0.0] * len(label_names)
        for i in parts:
            slopes[i] = float(half_width[i])
        found[element] = form + slopes
    return found


def _log_abundance(forms: Tensor, labels: Tensor) -> Tensor:
    """Values of linear forms (N, 1 + L) of labels (B, L), of shape (B, N)."""
    return forms[:, 0] + labels @ forms[:, 1:].T
