"""Cross-attention of wavelengths over the tokens of a star."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class CrossAttention(nn.Module):
    r"""Multi-head attention of each wavelength over the tokens of its star.

    :math:`A = \mathrm{softmax}(s\,Q K^\top)`, output :math:`A V` through a last linear
    layer. Shape letters: B stars, P wavelengths, T tokens, E width, H heads, D = E / H.

    Parameters
    ----------
    width : int
        Channels E of a wavelength and of a token.
    n_heads : int
        Heads H; must divide the width.
    scale : {"sqrt", "linear"}
        The factor s: ``D ** -0.5``, the usual one, or ``1 / D``, that of muP.
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
        """Attend to the keys and values from :meth:`memory`."""
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
        """Attend as :meth:`forward` does, and compute K directional derivatives."""
        weights_BPHT = self._weights(wave_BPE, memory)
        weights_BPS = weights_BPHT.flatten(-2)
        # derivatives of the logits, then of the weights
        tangent = _multiply(tangent_BKPE, memory[0])
        tangent += wave_BPE[:, None] @ memory_tangents[0]
        if len(memory) == 3:
            tangent += memory_tangents[1]
        tangent = tangent.unflatten(-1, weights_BPHT.shape[-2:])
        weights_B1PHT = weights_BPHT[:, None]
        tangent -= (tangent * weights_B1PHT).sum(-1, keepdim=True)
        tangent *= weights_B1PHT
        mixed_BKPE = _multiply(tangent.flatten(-2), memory[-1])
        mixed_BKPE += weights_BPS[:, None] @ memory_tangents[-1]
        mixed_BPE = weights_BPS @ memory[-1]
        if self.out.bias is not None:
            mixed_BPE = mixed_BPE + self.out.bias
        return mixed_BPE, mixed_BKPE

    def memory(self, tokens_BTE: Tensor) -> tuple[Tensor, ...]:
        r"""Keys and values of a star, with query and output layers multiplied in.

        A wavelength is then multiplied by two matrices, :math:`W_Q^\top K` and
        :math:`V W_O^\top` with S = H T columns and rows, instead of four.

        Returns
        -------
        keys : Tensor of shape (B, E, S)
            Keys times the weights of the query layer and s.
        offset : Tensor of shape (B, 1, S)
            Keys times the bias of the query layer and s; only if it has a bias.
        values : Tensor of shape (B, S, E)
            Values times the weights of the output layer, without its bias.
        """
        key_BHTD, value_BHTD = (
            linear(tokens_BTE).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for linear in (self.key, self.value)
        )
        key_BHTD = self.scale * key_BHTD
        query_HDE = self.query.weight.unflatten(0, (self.n_heads, -1))
        out_HDE = self.out.weight.mT.unflatten(0, (self.n_heads, -1))
        keys = (key_BHTD @ query_HDE).flatten(1, 2).mT
        values = (value_BHTD @ out_HDE).flatten(1, 2)
        if self.query.bias is None:
            return keys, values
        bias_HD1 = self.query.bias.view(self.n_heads, -1, 1)
        return keys, (key_BHTD @ bias_HD1).flatten(1)[:, None], values

    def attention_weights(self, wave_BPE: Tensor, memory: tuple[Tensor, ...]) -> Tensor:
        """Compute the matrix A of shape (B, H, P, T); each row sums to one."""
        return self._weights(wave_BPE, memory).transpose(1, 2)

    def _weights(self, wave_BPE: Tensor, memory: tuple[Tensor, ...]) -> Tensor:
        logits_BPS = wave_BPE @ memory[0]
        if len(memory) == 3:
            logits_BPS = logits_BPS + memory[1]
        return torch.softmax(logits_BPS.unflatten(-1, (self.n_heads, -1)), dim=-1)


def _multiply(tangent_BKPE: Tensor, matrix_BES: Tensor) -> Tensor:
    """Multiply the derivatives of each star by the matrix of that star."""
    product = tangent_BKPE.flatten(1, 2) @ matrix_BES
    return product.unflatten(1, tangent_BKPE.shape[1:3])
