"""Attention of wavelengths over the tokens of a star.

It is here, apart from the transformer, so that the weights can be looked at.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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

    def forward(self, wave_BPE: Tensor, memory: tuple[Tensor, Tensor]) -> Tensor:
        """Attend to keys and values that :meth:`memory` made of the tokens."""
        key_BHTD, value_BHTD = memory
        query_BHPD = self._split(self.query(wave_BPE))
        key_BHTD = key_BHTD.expand(len(query_BHPD), -1, -1, -1)
        mixed_BHPD = F.scaled_dot_product_attention(
            query_BHPD, key_BHTD, value_BHTD, scale=self.scale
        )
        return self.out(mixed_BHPD.transpose(1, 2).flatten(2))

    def memory(self, tokens_BTE: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of shape (B, H, T, D), once per star."""
        return self._split(self.key(tokens_BTE)), self._split(self.value(tokens_BTE))

    def attention_weights(
        self, wave_BPE: Tensor, memory: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Compute the matrix A of shape (B, H, P, T); each row sums to one."""
        logits = self._split(self.query(wave_BPE)) @ memory[0].mT
        return torch.softmax(self.scale * logits, dim=-1)

    def _split(self, x_BNE: Tensor) -> Tensor:
        return x_BNE.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
