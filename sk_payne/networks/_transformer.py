"""TransformerPayne: each wavelength attends to tokens of the star.

Both published forms: 2024 with two residual streams, 2025 with pre-norm and muP.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.func import jvp

from sk_payne.networks._activations import build_activation
from sk_payne.networks._architecture import Architecture
from sk_payne.networks._attention import CrossAttention
from sk_payne.networks._encoding import WavelengthEncoding
from sk_payne.networks._recipe import Recipe
from sk_payne.networks._registry import register_network
from sk_payne.networks._transformer_layers import (
    PreNormLayer,
    TwoStreamLayer,
    feed_forward_layers,
    push_mlp,
    push_rms_norm,
    rms_norm,
)

# Width and depth at which the muP factors are one: the smallest worth using.
_REFERENCE_WIDTH = 64
_REFERENCE_LAYERS = 4


@register_network("transformer")
class TransformerPayne(Architecture):
    r"""TransformerPayne [1]_: every wavelength attends to tokens of the star.

    The stellar parameters become a few tokens. A wavelength becomes a code of sines,
    and every wavelength, on its own, attends to the tokens in each layer; the tokens
    stay as they are. So flux is defined at any wavelength, and what the network
    learns at one line serves all others.

    Shape letters: B stars, L labels, P wavelengths, T tokens, E width.

    Parameters
    ----------
    n_labels : int
        Number of stellar parameters L.
    n_wavelengths : int
        Not used: the network takes any number of wavelengths.
    residual : {"pre", "post"}, default="pre"
        - "pre": the form of 2025. RMS norm without weights before each sub-layer,
          logits q·k/D, no biases in the layers, sub-layers scaled by (layers/4)^-1/2,
          muP learning rates. The best learning rate does not depend on the width.
        - "post": the form of February 2024, with two streams, LayerNorm and biases.
    width : int, default=64
        Channels E of a wavelength and of a token. The released models have 128 or 256.
    n_layers : int, default=4
        Layers of attention and feed-forward. The released models have 8 or 16.
    n_heads : int, default=None
        Attention heads. If None, heads of 32 channels as in the released models
        (one head if the width is not a multiple of 32).
    n_tokens : int, default=16
        Tokens T of each star.
    token_hidden : int, default=None
        Neurons between labels and tokens; four times the width if None.
    token_bias : bool, default=True
        Whether the layers from labels to tokens have biases. Released models of the
        "pre" form have none, and `token_hidden` equal to the width. Tokens are
        normalised: without biases they hardly depend on the distance of a star from
        the centre of the box, and errors are larger.
    feed_forward : int, default=4
        Width of the feed-forward layer in units of the width.
    shortest_period, longest_period : float
        Periods of the wavelength code in dex of wavelength. :meth:`grid_params` sets
        them from the training grid: two of its steps, and twice its range. The paper
        has 1e-6 and 10.
    origin : float, default=0.0
        Zero point of the wavelength code, see :class:`WavelengthEncoding`.
    linear : bool, default=False
        Whether the wavelength code takes Å instead of log10 of it.
    activation : str, default="gelu"
        The nonlinearity of all layers, as in :class:`Payne`.
    bias : bool, default=False
        Only for "pre": whether the layers have biases.
    factor : float, default=None
        Only for "pre": factor of the sub-layers. If None, (layers/4)^-1/2.
    norm_eps : float, default=None
        Only for "pre": added to the mean square in the RMS norm. If None, the machine
        epsilon of the precision.
    zero_init : bool, default=True
        Only for "pre": start with queries and the last layers of attention,
        feed-forward and head at zero, so that all wavelengths start alike.

    References
    ----------
    .. [1] Różański, Ting & Jabłońska, "TransformerPayne: enhancing spectral emulation
       accuracy and data efficiency by capturing long-range correlations",
       arXiv:2407.05751.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import TransformerPayne
    >>> network = TransformerPayne(3, 11, width=8, shortest_period=1e-5,
    ...                            longest_period=1e-2)
    >>> wavelength = torch.linspace(4500, 4501, 7, dtype=torch.float64)
    >>> network(torch.zeros(2, 3), wavelength.log10()).shape
    torch.Size([2, 7])
    """

    recipe = Recipe(
        max_steps=10_000,
        batch_size=128,
        n_wavelengths=32,
        loss="mae",
        optimizer="SOAP",
        optimizer_params={"max_precondition_dim": 512},
        lr=1e-2,
        weight_decay=0.1,
    )
    takes_wavelength = True
    label_layers = ("tokens.0",)

    def __init__(
        self,
        n_labels: int,
        n_wavelengths: int,
        *,
        residual: str = "pre",
        width: int = 64,
        n_layers: int = 4,
        n_heads: int | None = None,
        n_tokens: int = 16,
        token_hidden: int | None = None,
        token_bias: bool = True,
        feed_forward: int = 4,
        shortest_period: float = 1e-6,
        longest_period: float = 10.0,
        origin: float = 0.0,
        linear: bool = False,
        activation: str = "gelu",
        bias: bool = False,
        factor: float | None = None,
        norm_eps: float | None = None,
        zero_init: bool = True,
    ):
        super().__init__()
        if residual not in ("pre", "post"):
            raise ValueError(f"`residual` must be 'pre' or 'post'; got {residual!r}.")
        token_hidden = 4 * width if token_hidden is None else token_hidden
        for name, size in (
            ("width", width),
            ("n_layers", n_layers),
            ("n_tokens", n_tokens),
            ("token_hidden", token_hidden),
            ("feed_forward", feed_forward),
        ):
            if size < 1:
                raise ValueError(f"`{name}` must be at least 1; got {size}.")
        if n_heads is None:
            n_heads = 1 if width % 32 else width // 32
        self.residual = residual
        self.width = width
        self.n_layers = n_layers
        pre = residual == "pre"
        self.norm_eps = norm_eps
        self.encoding = WavelengthEncoding(
            width, shortest_period, longest_period, origin=origin, linear=linear
        )
        self.tokens = nn.Sequential(
            nn.Linear(n_labels, token_hidden, bias=token_bias),
            build_activation(activation),
            nn.Linear(token_hidden, n_tokens * width, bias=token_bias),
            nn.Unflatten(-1, (n_tokens, width)),
        )
        bias = bias or not pre
        if factor is None:
            factor = (n_layers / _REFERENCE_LAYERS) ** -0.5
        self.layers = nn.ModuleList(
            PreNormLayer(
                CrossAttention(width, n_heads, scale="linear", bias=bias),
                feed_forward_layers(width, feed_forward, activation, bias=bias),
                factor=factor,
                norm_eps=norm_eps,
            )
            if pre
            else TwoStreamLayer(
                CrossAttention(width, n_heads, scale="sqrt", bias=bias),
                feed_forward_layers(width, feed_forward, activation, bias=bias),
                width,
            )
            for _ in range(n_layers)
        )
        if not pre:
            self.head_norm = nn.LayerNorm(width)
        self.head = nn.Sequential(
            nn.Linear(width, width, bias=bias),
            build_activation(activation),
            nn.Linear(width, 1, bias=bias),
        )
        self._initialize(zero=zero_init and pre)

    @property
    def has_tangents(self) -> bool:
        """True if :meth:`at_with_tangents` serves this form."""
        return self.residual == "pre"

    def forward(self, labels: Tensor, log_wavelength: Tensor) -> Tensor:
        """Scaled flux of shape (B, P).

        Parameters
        ----------
        labels : Tensor of shape (B, L)
            Scaled stellar parameters.
        log_wavelength : Tensor of shape (P,) or (B, P), float64
            log10 of the wavelength in Å.
        """
        return self.at(self.context(labels), log_wavelength)

    def context(self, labels: Tensor) -> list[tuple[Tensor, ...]]:
        """Keys and values of every layer, which depend on the star only."""
        tokens_BTE = self.tokens(labels)
        if self.residual == "pre":
            tokens_BTE = rms_norm(tokens_BTE, self.norm_eps)
        return [layer.memory(tokens_BTE) for layer in self.layers]

    def at(self, context: list[tuple[Tensor, ...]], log_wavelength: Tensor) -> Tensor:
        """Scaled flux of shape (B, P) at wavelengths of shape (P,) or (B, P)."""
        if log_wavelength.ndim == 1:
            log_wavelength = log_wavelength[None]
        stream = self.encoding(log_wavelength)
        n_stars = context[0][0].shape[0]
        stream = stream.expand(n_stars, -1, -1)
        if self.residual == "pre":
            for layer, memory in zip(self.layers, context, strict=True):
                stream = layer(stream, memory)
            return self.head(rms_norm(stream, self.norm_eps)).squeeze(-1)
        total = stream
        for layer, memory in zip(self.layers, context, strict=True):
            total, stream = layer(total, stream, memory)
        return self.head(self.head_norm(total) + stream).squeeze(-1)

    def at_with_tangents(
        self,
        context: list[tuple[Tensor, ...]],
        context_tangents: list[tuple[Tensor, ...]],
        log_wavelength: Tensor,
        *,
        by_wavelength: bool,
    ) -> tuple[Tensor, Tensor]:
        """Flux as :meth:`at` gives it, and its derivatives; only for "pre".

        Twice as fast as forward mode: factors common to all derivatives, such as the
        slopes of activations, are computed once.

        Parameters
        ----------
        context : list of tuple of Tensor
            Result of :meth:`context`.
        context_tangents : list of tuple of Tensor
            Derivatives of the context by each label, along a new second axis.
        log_wavelength : Tensor of shape (B, P), float64
            log10 of the wavelength in Å.
        by_wavelength : bool
            Whether to append the derivative by `log_wavelength`.

        Returns
        -------
        flux : Tensor of shape (B, P)
            Scaled flux.
        jacobian : Tensor of shape (B, K, P)
            Derivatives by each label, and last by log10 of the wavelength.
        """
        h_BPE, slope_BPE = jvp(
            self.encoding, (log_wavelength,), (torch.ones_like(log_wavelength),)
        )
        n_labels = context_tangents[0][0].shape[1]
        h_BKPE = h_BPE.new_zeros(len(h_BPE), n_labels + by_wavelength, *h_BPE.shape[1:])
        if by_wavelength:
            h_BKPE[:, -1] = slope_BPE
            context_tangents = [
                [torch.cat([part, torch.zeros_like(part[:, :1])], 1) for part in parts]
                for parts in context_tangents
            ]
        for parts in zip(self.layers, context, context_tangents, strict=True):
            layer, memory, tangents = parts
            h_BPE = layer.push(h_BPE, h_BKPE, memory, tangents)
        normed = push_rms_norm(h_BPE, h_BKPE, self.norm_eps)
        flux, jacobian = push_mlp(self.head, *normed)
        return flux.squeeze(-1), jacobian.squeeze(-1)

    @classmethod
    def grid_params(cls, log_wavelength: Tensor) -> dict:
        """Periods of the wavelength code: two steps and twice the range of the grid."""
        if len(log_wavelength) < 2:
            return {}
        step = float(torch.diff(log_wavelength).median())
        covered = float(log_wavelength[-1] - log_wavelength[0])
        return {
            "shortest_period": 2 * step,
            "longest_period": 2 * max(covered, step),
        }

    def learning_rate_factors(self) -> list[tuple[str, float]]:
        """Factors of muP for the "pre" form; none for "post"."""
        if self.residual == "post":
            return []
        w = self.width / _REFERENCE_WIDTH
        depth = math.sqrt(self.n_layers / _REFERENCE_LAYERS)
        return [
            ("tokens.2.weight", 1 / w),
            ("layers.*", 1 / (w * depth)),
            ("head.*", 1 / w),
        ]

    def _initialize(self, *, zero: bool) -> None:
        """Draw truncated normal weights of variance 1 / fan-in (LeCun); zero biases.

        Biases of the token layers are random: tokens start with a part common to all
        stars.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                # 0.8796: standard deviation of a unit normal truncated at two sigma
                std = module.in_features**-0.5 / 0.8796
                nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.tokens[0].bias is not None:
            nn.init.uniform_(self.tokens[0].bias, -1, 1)
            nn.init.normal_(self.tokens[2].bias)
        if zero:
            for layer in self.layers:
                for linear in (
                    layer.attention.query,
                    layer.attention.out,
                    layer.feed_forward[2],
                ):
                    nn.init.zeros_(linear.weight)
            nn.init.zeros_(self.head[2].weight)
