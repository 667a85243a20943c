"""Chemistry: molecules and electrons of a star, computed from its labels.

Spectra of cool stars depend on two nonlinear functions of many labels: the carbon and
oxygen that carbon monoxide does not bind, and the electrons that the metals give. No
network learned them from a few hundred spectra.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Chemistry", "find_labels"]

# log10 of the solar number abundance (Asplund et al. 2009; hydrogen = 12), the first
# ionisation energy in eV, and the ratio of the statistical weights of the ground terms,
# ion to atom (NIST).
_ELEMENTS = {
    "H": (12.0, 13.60, 1 / 2),
    "C": (8.43, 11.26, 6 / 9),
    "O": (8.69, 13.62, 4 / 9),
    "Na": (6.24, 5.14, 1 / 2),
    "Mg": (7.60, 7.65, 2 / 1),
    "Al": (6.45, 5.99, 1 / 6),
    "Si": (7.51, 8.15, 6 / 9),
    "K": (5.03, 4.34, 1 / 2),
    "Ca": (6.34, 6.11, 2 / 1),
    "Sc": (3.15, 6.56, 15 / 10),
    "Ti": (4.95, 6.83, 28 / 21),
    "V": (3.93, 6.75, 25 / 28),
    "Cr": (5.64, 6.77, 6 / 7),
    "Mn": (5.43, 7.43, 7 / 6),
    "Fe": (7.50, 7.90, 30 / 25),
    "Co": (4.99, 7.88, 21 / 28),
    "Ni": (6.22, 7.64, 10 / 21),
    "Ba": (2.18, 5.21, 2 / 1),
}

_SOLAR_IRON = _ELEMENTS["Fe"][0]

# Strengths of a bond: number abundance (hydrogen = 12) of the free atoms of an element
# with which half of the atoms of another are bound. From weak bonds, as in hot stars,
# to strong ones, as in cool stars.
_BONDS = (9.0, 7.0, 5.0)

# Layers of an atmosphere: temperature in units of Teff; log10 of the gas pressure in
# dyn/cm2 at log g 4.5, [Fe/H] 0 and 5000 K; its derivatives by log g, [Fe/H] and Teff
# in 1000 K. Least-squares fit to the models of Castelli & Kurucz (2003), 4000-6000 K
# and log g 4-5; residuals scatter by 0.07 dex, and by 0.25 dex in the highest layer.
_LAYERS = (
    (1.00, 5.04, 0.59, -0.36, -0.25),
    (0.85, 4.47, 0.57, -0.38, -0.15),
    (0.75, 3.19, 0.48, -0.07, -0.19),
)

_LN10 = math.log(10)
_LOG_K = math.log10(1.380649e-16)  # Boltzmann's constant, erg/K

# log10 of 2 (2 pi m k / h^2)^1.5 in cm^-3 K^-1.5, and 1 / (k ln 10) in K/eV.
_LOG_SAHA = math.log10(2 * 2.41468e15)
_EV = 5039.78


class Chemistry(nn.Module):
    r"""Molecules and electrons of stars, as logarithms of order one.

    The number x of free atoms, among c atoms of carbon beside o of oxygen, is the
    positive root of :math:`x^2 + (o - c + b)\,x - b c = 0` (law of mass action), where
    b is the number of free oxygen atoms with which half of the carbon is bound.

    The number density of electrons in a layer solves the equation of Saha,

    .. math:: n_e = \sum_i n_i \frac{S_i}{S_i + n_e}, \qquad
        S_i = 2\,\frac{g_i^+}{g_i} \left(\frac{2\pi m k T}{h^2}\right)^{3/2}
        e^{-\chi_i/kT} .

    Parameters
    ----------
    linear : mapping of str to sequence of float
        Teff in K ("teff"), log g ("logg") and, for each element, log10 of its number
        abundance (hydrogen = 12), as linear functions of the scaled labels: the value
        at the centre of the training box, then the derivative by each label.

    Attributes
    ----------
    n_features : int
        Number of features: free carbon and oxygen for three strengths of the bond, and
        electrons in three layers of the atmosphere. Features are zero if the abundances
        that they need are unknown.
    """

    n_features = 2 * len(_BONDS) + len(_LAYERS)

    def __init__(self, linear: Mapping[str, Sequence[float]]):
        super().__init__()
        self.has_bonds = "C" in linear and "O" in linear
        self.has_donors = "teff" in linear and len(linear) > 1
        n_labels = len(next(iter(linear.values()))) - 1
        solar = {
            name: [value] + [0.0] * n_labels
            for name, value in (("logg", 4.5), ("H", 12.0), ("metals", _SOLAR_IRON))
        }
        functions = solar | dict(linear)
        functions["metals"] = linear.get("Fe", solar["metals"])
        donors = [name for name in functions if name in _ELEMENTS]
        tables = {
            "atmosphere": [
                functions[name]
                for name in ("teff", "logg", "metals")
                if name in functions
            ],
            "partners": [functions[name] for name in ("C", "O") if name in functions],
            "donors": [functions[name] for name in donors],
            "energy": [_ELEMENTS[name][1] for name in donors],
            "weight": [math.log10(_ELEMENTS[name][2]) for name in donors],
            "layers": _LAYERS,
        }
        for name, table in tables.items():
            # not saved, as it follows from the options
            self.register_buffer(name, torch.tensor(table), persistent=False)

    def forward(self, labels: Tensor) -> Tensor:
        """Features of shape (B, n_features) of scaled labels of shape (B, L)."""
        bonds = labels.new_zeros(labels.shape[0], 2 * len(_BONDS))
        electrons = labels.new_zeros(labels.shape[0], len(_LAYERS))
        if self.has_bonds:
            bonds = self._free_atoms(*_evaluate(self.partners, labels).T)
        if self.has_donors:
            electrons = self._electrons(labels)
        return torch.cat([bonds, electrons], dim=1)

    def _free_atoms(self, log_carbon, log_oxygen):
        """One third of log10 of free carbon and oxygen, in 1e-4 of hydrogen."""
        carbon, oxygen = 10 ** (log_carbon - 8), 10 ** (log_oxygen - 8)
        free = []
        for bond in _BONDS:
            b = 10 ** (bond - 8)
            for this, other in ((carbon, oxygen), (oxygen, carbon)):
                excess = other - this + b
                # the positive root, without a difference of large numbers
                root = (excess.abs() + torch.sqrt(excess**2 + 4 * b * this)) / 2
                free.append(torch.where(excess > 0, b * this / root, root))
        return torch.stack(free, dim=-1).log10() / 3

    def _electrons(self, labels):
        """log10 of electrons per hydrogen atom in each layer, in units of 1e-5."""
        teff, logg, metals = _evaluate(self.atmosphere, labels).T[..., None]
        # labels far outside the box must not give NaN
        temperature = teff.clamp(min=1000.0) * self.layers[:, 0]
        log_pressure = (
            self.layers[:, 1]
            + self.layers[:, 2] * (logg - 4.5)
            + self.layers[:, 3] * (metals - _SOLAR_IRON)
            + self.layers[:, 4] * (teff - 5000) / 1000
        )
        log_h = log_pressure - _LOG_K - temperature.log10()
        log_n = _evaluate(self.donors, labels)[:, None] - 12 + log_h[..., None]
        log_s = (
            _LOG_SAHA
            + 1.5 * temperature.log10()[..., None]
            + self.weight
            - self.energy * (_EV / temperature)[..., None]
        )
        log_e = log_h - 4
        # Newton's method in the logarithm, in which both sides are nearly linear
        for _ in range(8):
            ratio = _LN10 * (log_e[..., None] - log_s)  # ln of atoms over ions
            ions = _LN10 * log_n - F.softplus(ratio)
            total = torch.logsumexp(ions, -1) / _LN10
            slope = 1 + (torch.softmax(ions, -1) * torch.sigmoid(ratio)).sum(-1)
            log_e = log_e - (log_e - total) / slope
        return log_e - log_h + 5


def find_labels(
    label_names: Sequence[str], center: Sequence[float], half_width: Sequence[float]
) -> dict[str, list[float]]:
    """Express Teff, log g and abundances as linear functions of the scaled labels.

    Parameters
    ----------
    label_names : sequence of str
        Names of the labels: "teff", "logg", "C_H" or "[C/H]", or "C_Fe" with "Fe_H" or
        "M_H". Elements that are not among the labels follow "Fe_H" or "M_H".
    center, half_width : sequence of float
        Centre and half width of the training box, in K or dex.

    Returns
    -------
    linear : dict of str to list of float
        Argument of :class:`Chemistry`; empty if no label is an abundance.

    Examples
    --------
    >>> from sk_payne.networks._chemistry import find_labels
    >>> find_labels(["teff", "C_H"], [5000, -0.5], [1000, 1.5])
    {'teff': [5000.0, 1000.0, 0.0], 'C': [7.93, 0.0, 1.5]}
    """
    columns = {}
    for i, name in enumerate(label_names):
        match = re.fullmatch(r"\[?([A-Z][a-z]?)[_/](H|Fe|M)\]?", name)
        columns[match.groups() if match else name.lower().replace("_", "")] = i
    metals = columns.get(("Fe", "H"), columns.get(("M", "H")))
    parts = {name: [columns[name]] for name in ("teff", "logg") if name in columns}
    for element in _ELEMENTS.keys() - {"H"}:
        relative = columns.get((element, "Fe"), columns.get((element, "M")))
        if (element, "H") in columns:
            parts[element] = [columns[element, "H"]]
        elif metals is not None:
            parts[element] = [metals] if relative is None else [metals, relative]
    if not parts.keys() & _ELEMENTS.keys():
        return {}
    linear = {}
    for name in ("teff", "logg", *_ELEMENTS):
        if name in parts:
            value = sum(center[i] for i in parts[name])
            solar = _ELEMENTS[name][0] if name in _ELEMENTS else 0.0
            slopes = [0.0] * len(label_names)
            for i in parts[name]:
                slopes[i] = float(half_width[i])
            linear[name] = [solar + float(value), *slopes]
    return linear


def _evaluate(functions: Tensor, labels: Tensor) -> Tensor:
    """Values (B, N) of linear functions (N, 1 + L) of labels (B, L)."""
    return functions[:, 0] + labels @ functions[:, 1:].T
