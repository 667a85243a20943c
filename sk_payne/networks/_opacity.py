"""OpacityPayne: lines are sums of opacities, and one curve of growth serves them all.

It is here because what a spectrum is made of is known, so need not be learned: it takes
a fraction of the spectra that networks without that knowledge take.
"""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_payne.networks._registry import register_network

# log10 of the solar number abundances of Asplund et al. 2009, hydrogen = 12.
_SOLAR = {"C": 8.43, "O": 8.69}

# Number abundance (hydrogen = 12) of an element that half of another can bind, if that
# is plenty: from bonds that break in hot stars to those that hold in cool ones.
_BONDS = (9.0, 7.0, 5.0)

# Scaled labels span -1 to 1; abundances of grids span about 3 dex.
_RATE = 1.5 * math.log(10)

# Of the first weights of g, in units of what keeps the scatter.
_FIRST = 0.3


@register_network("opacity")
class OpacityPayne(nn.Module):
    r"""Sums of opacities under a common curve of growth.

    The opacity of a line is the number of atoms or molecules in its lower level times
    a strength, and opacities add up. Each star has K *populations*
    :math:`n_k = \exp(a_k \cdot p + g_k(p))`, positive numbers that start as powers of
    single labels p, with a dense network g. Each wavelength has M sums of them,

    .. math:: \tau_{\lambda m} = \sum_k e^{s_{\lambda m k}}\,n_k ,

    M because a pixel covers parts of lines with different opacities. Flux is a small
    dense network of the :math:`\log\tau_{\lambda m}`, the same at every wavelength:
    a curve of growth, which a code of the star and one of the wavelength bend.

    What g is given are the labels, their exponentials (abundances as numbers) and, if
    both C and O are among the labels, what carbon monoxide leaves of each: it locks up
    the scarcer of the two, so that molecules appear and vanish where C = O.

    Parameters
    ----------
    n_labels : int
        Number of stellar parameters L.
    n_wavelengths : int
        Number of wavelengths P.
    n_populations : int, default=96
        K.
    n_sums : int, default=4
        M.
    n_hidden : int, default=256
        Neurons in each of the two layers of g.
    width : int, default=32
        Neurons in each of the two layers of the curve of growth.
    carbon, oxygen : sequence of float, default=None
        Number abundance (log10, hydrogen = 12) at the centre of the training box, and
        its change with each scaled label. :meth:`label_params` finds them.

    Notes
    -----
    With b the number of bonds that are broken when half of the molecules are, what is
    left of c carbon atoms by o oxygen atoms is the positive root of
    :math:`x^2 + (o - c + b)\,x - b c = 0` (law of mass action).

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import OpacityPayne
    >>> OpacityPayne(n_labels=3, n_wavelengths=11)(torch.zeros(2, 3)).shape
    torch.Size([2, 11])
    """

    takes_wavelength = False
    blockwise = True
    stars_at_once = 16  # all strengths are turned into numbers once for a block
    label_layers = ("powers", "from_labels", "from_exponentials")
    undecayed = ("strength", "wavelength_code", "offset")

    def __init__(
        self,
        n_labels: int,
        n_wavelengths: int,
        *,
        n_populations: int = 96,
        n_sums: int = 4,
        n_hidden: int = 256,
        width: int = 32,
        carbon: list[float] | None = None,
        oxygen: list[float] | None = None,
    ):
        super().__init__()
        self.n_wavelengths = n_wavelengths
        self.bonds = None
        if carbon is not None and oxygen is not None:
            self.bonds = _CarbonMonoxide(carbon, oxygen, n_hidden)
        self.from_labels = nn.Linear(n_labels, n_hidden)
        self.from_exponentials = nn.Linear(n_labels, n_hidden, bias=False)
        self.hidden = nn.Linear(n_hidden, n_hidden)
        self.powers = nn.Linear(n_labels, n_populations, bias=False)
        self.populations = nn.Linear(n_hidden, n_populations)
        self.strength = nn.Parameter(
            torch.randn(n_wavelengths, n_sums, n_populations) - 2
        )
        self.sums = nn.Linear(n_sums, width)
        self.wavelength_code = nn.Parameter(torch.zeros(n_wavelengths, width))
        self.star_code = nn.Linear(n_hidden, 2 * width)
        self.growth = nn.Linear(width, width)
        self.flux = nn.Linear(width, 1)
        self.offset = nn.Parameter(torch.zeros(n_wavelengths))
        with torch.no_grad():
            # every population is one of the labels, in turn
            labels = torch.arange(n_populations) % n_labels
            self.powers.weight.copy_(_RATE * F.one_hot(labels, n_labels))
            # small, so that labels that do not matter have little to unlearn
            for layer in self._first_layers():
                layer.weight.mul_(_FIRST)

    def forward(self, labels: Tensor) -> Tensor:
        """Scaled flux of shape (B, P) of scaled labels of shape (B, L)."""
        star = self._star(labels)
        population_BK = (self.powers(labels) + self.populations(star)).exp()
        strength = self.strength.exp().flatten(0, 1)
        tau_BPM = (population_BK @ strength.T).unflatten(1, self.strength.shape[:2])
        code, code_2 = self.star_code(star)[:, None].chunk(2, dim=-1)
        x_BPE = self.sums((tau_BPM + 1e-6).log())
        x_BPE = F.gelu(x_BPE + self.wavelength_code + code)
        x_BPE = F.gelu(self.growth(x_BPE) + code_2)
        return self.flux(x_BPE).squeeze(-1) + self.offset

    @classmethod
    def label_params(cls, label_names, center, half_width) -> dict:
        """Find carbon and oxygen among the labels, as [X/H] or as [X/Fe] with [Fe/H].

        Parameters
        ----------
        label_names : sequence of str
            Such as "C_H", "[C/H]" or "C_Fe".
        center, half_width : sequence of float
            Of the training box, in dex for these labels.

        Returns
        -------
        arch_params : dict
            "carbon" and "oxygen", or nothing.
        """
        found = {
            name: _abundance(element, list(label_names), center, half_width)
            for name, element in (("carbon", "C"), ("oxygen", "O"))
        }
        return found if None not in found.values() else {}

    def learning_rate_factors(self) -> list[tuple[str, float]]:
        """Let tables, of which a star moves all entries a little, learn faster."""
        return [(name, 4.0) for name in self.undecayed]

    def _first_layers(self):
        layers = [self.from_labels, self.from_exponentials]
        return layers if self.bonds is None else [*layers, self.bonds.left]

    def _star(self, labels):
        # zero for a label in the middle of its box, where fine-tuning wants it
        exponential = 2 * math.exp(-_RATE) * torch.expm1(_RATE * labels)
        first = self.from_labels(labels) + self.from_exponentials(exponential)
        if self.bonds is not None:
            first = first + self.bonds(labels)
        return F.gelu(self.hidden(F.gelu(first)))


class _CarbonMonoxide(nn.Module):
    """What carbon monoxide leaves of carbon and oxygen, at several temperatures."""

    def __init__(self, carbon: list[float], oxygen: list[float], n_hidden: int):
        super().__init__()
        for name, values in (("carbon", carbon), ("oxygen", oxygen)):
            self.register_buffer(name, torch.tensor(values), persistent=False)
        self.left = nn.Linear(2 * len(_BONDS), n_hidden, bias=False)

    def forward(self, labels: Tensor) -> Tensor:
        log_c = self.carbon[0] + labels @ self.carbon[1:]
        log_o = self.oxygen[0] + labels @ self.oxygen[1:]
        # in units of 1e-4 of hydrogen
        c, o = 10 ** (log_c - 8), 10 ** (log_o - 8)
        left = []
        for bond in _BONDS:
            b = 10 ** (bond - 8)
            for this, other in ((c, o), (o, c)):
                excess = other - this + b
                root = (excess.abs() + torch.sqrt(excess**2 + 4 * b * this)) / 2
                left.append(torch.where(excess > 0, b * this / root, root))
        return self.left(torch.stack(left, dim=-1).log10() / 3)


def _abundance(element, label_names, center, half_width):
    """Constant, and slope for each scaled label, of log10 of an abundance."""
    for reference in ("H", "Fe"):
        pattern = rf"\[?{element}[_/]{reference}\]?"
        columns = [i for i, n in enumerate(label_names) if re.fullmatch(pattern, n)]
        if reference == "Fe":
            iron = r"\[?Fe[_/]H\]?"
            columns += [i for i, n in enumerate(label_names) if re.fullmatch(iron, n)]
        if len(columns) == (2 if reference == "Fe" else 1):
            slopes = [0.0] * len(label_names)
            for i in columns:
                slopes[i] = float(half_width[i])
            return [_SOLAR[element] + float(sum(center[i] for i in columns)), *slopes]
    return None
