"""Attention of wavelengths over the tokens of a star.

It is here, apart from the transformer, so that the weights can be looked at.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class CrossAttention(nn.Module):
    r"""Every wavelength looks at the tokens of its star, and at nothing else.

    :math:`A = \mathrm{softmax}(s\,Q K^\top)`, output :math:`A V` through a last linear
    layer. Shape letters: B stars, P wavelengths, T tokens, E width, H heads, D = E / H.

    Parameters
    ----------
    width : int
        E.
    n_heads : int
        H; must divide the width.
    scale : {"sqrt", "linear"}
        The factor s: ``D ** -0.5``, as usual, or ``1 / D``, as muP wants it.
    bias : bool
        Whether the linear layers have biases.
    """

    def __init__(self, width: int, n_heads: int, *, scale: str, bias: bool):
        super().__init__()
        if width % n_heads:
            raise ValueError(
                f"`width` (={width}) must be divisible by `n_heads` (={n_heads})."
            )
        self.n_heads = n_heads
        head = width // n_heads
        self.scale = 1 / head if scale == "linear" else 1 / math.sqrt(head)
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, wave_BPE: Tensor, memory: tuple[Tensor, ...]) -> Tensor:
        """Attend to what :meth:`memory` made of the tokens."""
        weights_BPS = self._weights(wave_BPE, memory).flatten(-2)
        mixed_BPE = weights_BPS @ memory[-1]
        return mixed_BPE if self.out.bias is None else mixed_BPE + self.out.bias

    def push(
        self,
        wave_BPE: Tensor,
        tangent_BKPE: Tensor,
        memory: tuple[Tensor, ...],
        memory_tangents: tuple[Tensor, ...],
    ) -> tuple[Tensor, Tensor]:
        """Attend as :meth:`forward` does, and push K tangents along."""
        weights_BPHT = self._weights(wave_BPE, memory)
        weights_BPS = weights_BPHT.flatten(-2)
        # of the logits, then of the weights
        tangent = _each(tangent_BKPE, memory[0])
        tangent += wave_BPE[:, None] @ memory_tangents[0]
        if len(memory) == 3:
            tangent += memory_tangents[1]
        tangent = tangent.unflatten(-1, weights_BPHT.shape[-2:])
        weights_B1PHT = weights_BPHT[:, None]
        tangent -= (tangent * weights_B1PHT).sum(-1, keepdim=True)
        tangent *= weights_B1PHT
        mixed_BKPE = _each(tangent.flatten(-2), memory[-1])
        mixed_BKPE += weights_BPS[:, None] @ memory_tangents[-1]
        mixed_BPE = weights_BPS @ memory[-1]
        if self.out.bias is not None:
            mixed_BPE = mixed_BPE + self.out.bias
        return mixed_BPE, mixed_BKPE

    def memory(self, tokens_BTE: Tensor) -> tuple[Tensor, ...]:
        r"""Keys and values, once per star, with the layers on their other side.

        A wavelength meets :math:`W_Q^\top K` and :math:`V W_O^\top` at once, S = H T
        columns and rows, instead of four matrices of size E or T.

        Returns
        -------
        look : Tensor of shape (B, E, S)
            Keys times the weights of the queries and s.
        offset : Tensor of shape (B, 1, S)
            Keys times the bias of the queries and s; only if there is one.
        give : Tensor of shape (B, S, E)
            Values after the last layer, but for its bias.
        """
        key_BHTD, value_BHTD = (
            linear(tokens_BTE).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for linear in (self.key, self.value)
        )
        key_BHTD = self.scale * key_BHTD
        query_HDE = self.query.weight.unflatten(0, (self.n_heads, -1))
        out_HDE = self.out.weight.mT.unflatten(0, (self.n_heads, -1))
        look = (key_BHTD @ query_HDE).flatten(1, 2).mT
        give = (value_BHTD @ out_HDE).flatten(1, 2)
        if self.query.bias is None:
            return look, give
        bias_HD1 = self.query.bias.view(self.n_heads, -1, 1)
        return look, (key_BHTD @ bias_HD1).flatten(1)[:, None], give

    def attention_weights(self, wave_BPE: Tensor, memory: tuple[Tensor, ...]) -> Tensor:
        """Compute the matrix A of shape (B, H, P, T); each row sums to one."""
        return self._weights(wave_BPE, memory).transpose(1, 2)

    def _weights(self, wave_BPE: Tensor, memory: tuple[Tensor, ...]) -> Tensor:
        logits_BPS = wave_BPE @ memory[0]
        if len(memory) == 3:
            logits_BPS = logits_BPS + memory[1]
        return torch.softmax(logits_BPS.unflatten(-1, (self.n_heads, -1)), dim=-1)


def _each(tangent_BKPE: Tensor, matrix_BES: Tensor) -> Tensor:
    """Multiply the tangents of each star by its matrix."""
    product = tangent_BKPE.flatten(1, 2) @ matrix_BES
    return product.unflatten(1, tangent_BKPE.shape[1:3])
