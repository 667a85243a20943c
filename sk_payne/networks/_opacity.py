"""OpacityPayne: sums of opacities under one curve of growth, common to all lines.

Because the structure of a spectrum is built in, the network needs a fraction of the
training spectra that others need.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_payne.networks._architecture import Architecture
from sk_payne.networks._chemistry import Chemistry, find_labels
from sk_payne.networks._opacity_jacobian import opacity_jacobian
from sk_payne.networks._opacity_tables import LowRankTables
from sk_payne.networks._recipe import Recipe
from sk_payne.networks._registry import register_network
from sk_payne.networks._rows import keep_rows

# Change of ln abundance with a scaled label: labels span -1 to 1, abundances 3 dex.
_RATE = 1.5 * math.log(10)

# Factor of the random first weights of g, relative to the default of torch.
_FIRST = 0.3

# Standard deviation of the initial instrument profile in pixels: its FWHM is two.
_PROFILE = 0.85

# Factors of the learning rate of tables with entries for each wavelength.
_FASTER = {
    "strength": 4.0,
    "wavelength_code": 4.0,
    "offset": 4.0,
    "low_rank.numbers": 10.0,
}


@register_network("opacity")
class OpacityPayne(Architecture):
    r"""Sums of opacities under a common curve of growth.

    The opacity of a line is the number of atoms or molecules in its lower level times
    a strength, and opacities add up. Each star has K *populations*
    :math:`n_k = \exp(a_k \cdot p + b_k \cdot c + g_k(p))`, positive numbers that start
    as powers of single labels p, with a dense network g and the chemistry c of the
    star, see below. Each wavelength has M sums of them,

    .. math:: \tau_{\lambda m} = \sum_k e^{s_{\lambda m k}}\,n_k ,

    M because a pixel covers parts of lines with different opacities. Flux is a small
    dense network of the :math:`\log\tau_{\lambda m}`, the same at every wavelength:
    a curve of growth, modified by a code of the star and a code of the wavelength. Then
    an instrument profile, learned and common to all wavelengths, smears flux over
    neighbouring pixels; it starts as a Gaussian. Last, a linear layer on top of g adds
    the remaining flux; it starts at zero.

    Inputs of g are the labels, their exponentials (abundances as numbers) and, if
    labels have names of abundances, the :class:`Chemistry` c: free carbon and oxygen
    besides carbon monoxide, and the electrons of the metals, which set the opacity of
    the continuum.

    With a `rank` R, each wavelength has R numbers, and its strengths, its code and its
    remaining flux are linear functions of them that all wavelengths share: R + 1
    instead of 673 weights for each wavelength, for few spectra or long ones.

    Parameters
    ----------
    n_labels : int
        Number of stellar parameters L.
    n_wavelengths : int
        Number of wavelengths P.
    n_populations : int, default=96
        Populations K of each star.
    n_sums : int, default=4
        Sums of opacities M at each wavelength.
    n_hidden : int, default=256
        Neurons in each of the two layers of g.
    width : int, default=32
        Neurons in each of the two layers of the curve of growth.
    reach : int, default=3
        Pixels of the instrument profile on either side of its centre; 0 for no
        instrument.
    rank : int, default=None
        Numbers R of each wavelength, such as 64. If None, all tables are independent.
    linear : mapping of str to sequence of float, default=None
        Teff, log g and abundances as linear functions of the labels, see
        :class:`Chemistry`; :meth:`label_params` derives them from the names of the
        labels. If None, the network has no chemistry.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import OpacityPayne
    >>> OpacityPayne(n_labels=3, n_wavelengths=11)(torch.zeros(2, 3)).shape
    torch.Size([2, 11])
    """

    recipe = Recipe(
        max_steps=8000, batch_size=32, loss="mae", lr=5e-3, weight_decay=0.1
    )
    blockwise = True
    stars_at_once = 16  # the exponential of all strengths is computed once per block
    label_layers = ("powers", "from_labels", "from_exponentials")

    def __init__(
        self,
        n_labels: int,
        n_wavelengths: int,
        *,
        n_populations: int = 96,
        n_sums: int = 4,
        n_hidden: int = 256,
        width: int = 32,
        reach: int = 3,
        rank: int | None = None,
        linear: Mapping[str, Sequence[float]] | None = None,
    ):
        super().__init__()
        self.n_wavelengths = n_wavelengths
        n_smeared = n_wavelengths + 2 * reach
        self.from_labels = nn.Linear(n_labels, n_hidden)
        self.from_exponentials = nn.Linear(n_labels, n_hidden, bias=False)
        first = [self.from_labels, self.from_exponentials]
        self.chemistry = None
        if linear:
            self.chemistry = Chemistry(linear)
            self.from_chemistry = nn.Linear(Chemistry.n_features, n_hidden, bias=False)
            first.append(self.from_chemistry)
            self.chemical_powers = nn.Linear(
                Chemistry.n_features, n_populations, bias=False
            )
            nn.init.zeros_(self.chemical_powers.weight)
        self.hidden = nn.Linear(n_hidden, n_hidden)
        self.powers = nn.Linear(n_labels, n_populations, bias=False)
        self.populations = nn.Linear(n_hidden, n_populations)
        self.low_rank = None
        if rank is None:
            self.strength = nn.Parameter(
                torch.randn(n_smeared, n_sums, n_populations) - 2
            )
            self.wavelength_code = nn.Parameter(torch.zeros(n_smeared, width))
            self.undecayed = ("strength", "wavelength_code", "offset")
        else:
            self.low_rank = LowRankTables(
                n_smeared,
                reach,
                rank=rank,
                n_sums=n_sums,
                n_populations=n_populations,
                width=width,
                n_hidden=n_hidden,
            )
            self.undecayed = ("low_rank.numbers", "offset")
        self.sums = nn.Linear(n_sums, width)
        self.star_code = nn.Linear(n_hidden, 2 * width)
        self.growth = nn.Linear(width, width)
        self.flux = nn.Linear(width, 1)
        profile = torch.exp(-((torch.arange(-reach, reach + 1) / _PROFILE) ** 2) / 2)
        self.profile = nn.Parameter(profile / profile.sum())
        self.offset = nn.Parameter(torch.zeros(n_wavelengths))
        if rank is None:
            self.rest = nn.Linear(n_hidden, n_wavelengths, bias=False)
            nn.init.zeros_(self.rest.weight)
        with torch.no_grad():
            # each population starts as a power of one label, in turn
            labels = torch.arange(n_populations) % n_labels
            self.powers.weight.copy_(_RATE * F.one_hot(labels, n_labels))
            # small, so that labels without influence need little training
            for layer in first:
                layer.weight.mul_(_FIRST)

    def forward(self, labels: Tensor) -> Tensor:
        """Scaled flux of shape (B, P) of scaled labels of shape (B, L)."""
        chemistry = None if self.chemistry is None else self.chemistry(labels)
        power_BK, code, code_2, star = self.star_numbers(labels, chemistry)
        population_BK = power_BK.exp()
        strength, wavelength_code = self.tables()
        tau_BPM = (population_BK @ strength.exp().flatten(0, 1).T).unflatten(
            1, strength.shape[:2]
        )
        x_BPE = self.sums((tau_BPM + 1e-6).log())
        x_BPE = F.gelu(x_BPE + wavelength_code + code[:, None])
        x_BPE = F.gelu(self.growth(x_BPE) + code_2[:, None])
        intrinsic = self.flux(x_BPE).transpose(1, 2)
        smeared = F.conv1d(intrinsic, self.profile[None, None]).squeeze(1)
        return smeared + self.offset + self.remaining(star)

    def slice_grid(self, pixels: slice) -> OpacityPayne:
        """Network of some wavelengths, with their rows of all tables."""
        # pixels beyond both ends, from which the instrument smears flux
        smeared = slice(pixels.start, pixels.stop + len(self.profile) - 1)
        rows = {"low_rank.numbers": smeared}
        if self.low_rank is None:
            rows = {"strength": smeared, "wavelength_code": smeared}
            rows["rest.weight"] = pixels
        part = keep_rows(self, {**rows, "offset": pixels})
        part.n_wavelengths = pixels.stop - pixels.start
        return part

    def jacobian(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled flux (B, P) and its derivatives (B, L, P) by the scaled labels."""
        return opacity_jacobian(self, labels)

    def tables(self) -> tuple[Tensor, Tensor]:
        """Logarithms of the strengths (P, M, K) and codes (P, E) of wavelengths."""
        if self.low_rank is None:
            return self.strength, self.wavelength_code
        return self.low_rank.strength(), self.low_rank.wavelength_code()

    def remaining(self, star: Tensor) -> Tensor:
        """Remaining flux (..., P) of the last hidden layer (..., H) of g."""
        return self.rest(star) if self.low_rank is None else self.low_rank.rest(star)

    def star_numbers(
        self, labels: Tensor, chemistry: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the numbers that depend on the star alone.

        From labels (B, L) and chemistry, if any: logarithms of the populations (B, K),
        the two codes of the star (B, E), and the last hidden layer of g (B, H).
        """
        star = self._star(labels, chemistry)
        power_BK = self.powers(labels) + self.populations(star)
        if chemistry is not None:
            power_BK = power_BK + self.chemical_powers(chemistry)
        code, code_2 = self.star_code(star).chunk(2, dim=-1)
        return power_BK, code, code_2, star

    @classmethod
    def label_params(cls, label_names, center, half_width) -> dict:
        """Find Teff, log g and abundances among the labels.

        Parameters
        ----------
        label_names : sequence of str
            Names of the labels, such as "teff", "logg", "C_H", "[C/H]" or "C_Fe".
        center, half_width : sequence of float
            Centre and half width of the training box, in K or dex.

        Returns
        -------
        arch_params : dict
            The option "linear"; empty if no label is an abundance.
        """
        linear = find_labels(label_names, center, half_width)
        return {"linear": linear} if linear else {}

    def learning_rate_factors(self) -> list[tuple[str, float]]:
        """Larger learning rates of the tables with entries for each wavelength."""
        return [(name, _FASTER[name]) for name in self.undecayed]

    def _star(self, labels, chemistry):
        # zero at the centre of the box, as fine-tuning on more labels requires
        exponential = 2 * math.exp(-_RATE) * torch.expm1(_RATE * labels)
        first = self.from_labels(labels) + self.from_exponentials(exponential)
        if chemistry is not None:
            first = first + self.from_chemistry(chemistry)
        return F.gelu(self.hidden(F.gelu(first)))
