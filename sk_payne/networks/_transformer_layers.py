"""Layers of TransformerPayne: attention and feed-forward, in both published forms.

Functions and methods that begin with "push" compute a value together with directional
derivatives of shape (B, K, P, E), K of them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import jvp
from torch.nn import functional as F

from sk_payne.networks._activations import build_activation
from sk_payne.networks._attention import CrossAttention

__all__ = [
    "PreNormLayer",
    "TwoStreamLayer",
    "feed_forward_layers",
    "push_mlp",
    "push_rms_norm",
    "rms_norm",
]


class PreNormLayer(nn.Module):
    """h + c attention(norm h), then h + c feed-forward(norm h)."""

    def __init__(
        self,
        attention: CrossAttention,
        feed_forward: nn.Module,
        *,
        factor: float,
        norm_eps: float | None,
    ):
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward
        self.factor = factor
        self.norm_eps = norm_eps

    def forward(self, h_BPE: Tensor, memory: tuple[Tensor, ...]) -> Tensor:
        normed_BPE = rms_norm(h_BPE, self.norm_eps)
        h_BPE = h_BPE + self.factor * self.attention(normed_BPE, memory)
        normed_BPE = rms_norm(h_BPE, self.norm_eps)
        return h_BPE + self.factor * self.feed_forward(normed_BPE)

    def push(
        self,
        h_BPE: Tensor,
        h_BKPE: Tensor,
        memory: tuple[Tensor, ...],
        memory_tangents: tuple[Tensor, ...],
    ) -> Tensor:
        """Output of `forward`; the derivatives `h_BKPE` are updated in place."""
        normed = push_rms_norm(h_BPE, h_BKPE, self.norm_eps)
        more, tangent = self.attention.push(*normed, memory, memory_tangents)
        h_BPE = h_BPE + self.factor * more
        h_BKPE.add_(tangent, alpha=self.factor)
        normed = push_rms_norm(h_BPE, h_BKPE, self.norm_eps)
        more, tangent = push_mlp(self.feed_forward, *normed)
        h_BKPE.add_(tangent, alpha=self.factor)
        return h_BPE + self.factor * more

    def memory(self, tokens_BTE: Tensor) -> tuple[Tensor, ...]:
        return self.attention.memory(tokens_BTE)


class TwoStreamLayer(nn.Module):
    """Two streams: one is normalised after each sub-layer, one is the plain sum."""

    def __init__(self, attention: CrossAttention, feed_forward: nn.Module, width: int):
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward
        self.token_norm = nn.LayerNorm(width)
        self.attention_norm = nn.LayerNorm(width)
        self.feed_forward_norm = nn.LayerNorm(width)

    def forward(
        self, total_BPE: Tensor, h_BPE: Tensor, memory: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        a_BPE = h_BPE + self.attention(h_BPE, memory)
        total_BPE = total_BPE + a_BPE
        h_BPE = self.attention_norm(a_BPE)
        a_BPE = h_BPE + self.feed_forward(h_BPE)
        return total_BPE + a_BPE, self.feed_forward_norm(a_BPE)

    def memory(self, tokens_BTE: Tensor) -> tuple[Tensor, ...]:
        return self.attention.memory(self.token_norm(tokens_BTE))


def feed_forward_layers(
    width: int, factor: int, activation: str, *, bias: bool
) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, factor * width, bias=bias),
        build_activation(activation),
        nn.Linear(factor * width, width, bias=bias),
    )


def rms_norm(x: Tensor, eps: float | None) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], eps=eps)


def push_rms_norm(
    h_BPE: Tensor, h_BKPE: Tensor, eps: float | None
) -> tuple[Tensor, Tensor]:
    """RMS norm of the stream and its derivatives; `h_BKPE` itself is not changed."""
    y_BPE = rms_norm(h_BPE, eps)
    eps = torch.finfo(h_BPE.dtype).eps if eps is None else eps
    inverse_BP1 = (h_BPE.square().mean(-1, keepdim=True) + eps).rsqrt()
    # (t - y mean(y t)) / rms
    along_BKP = torch.einsum("bkpe,bpe->bkp", h_BKPE, y_BPE / h_BPE.shape[-1])
    tangent_BKPE = torch.addcmul(h_BKPE, along_BKP[..., None], y_BPE[:, None], value=-1)
    return y_BPE, tangent_BKPE.mul_(inverse_BP1[:, None])


def push_mlp(
    mlp: nn.Sequential, x_BPE: Tensor, x_BKPE: Tensor
) -> tuple[Tensor, Tensor]:
    """Value and derivatives after two linear layers with an activation between."""
    first, activation, last = mlp
    hidden = first(x_BPE)
    hidden, slope = jvp(activation, (hidden,), (torch.ones_like(hidden),))
    tangent = F.linear(x_BKPE, first.weight).mul_(slope[:, None])
    return last(hidden), F.linear(tangent, last.weight)
