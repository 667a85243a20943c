"""The Payne and BigPayne: dense networks with one output for each wavelength.

They are published baselines and the fastest networks at prediction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sk_payne.networks._activations import build_activation, value_and_slope
from sk_payne.networks._architecture import Architecture
from sk_payne.networks._recipe import Recipe
from sk_payne.networks._registry import register_network
from sk_payne.networks._rows import keep_rows

# Layers after the last linear one, for each value of `output`.
_OUTPUTS = {"linear": (), "sigmoid": (nn.Sigmoid,)}


class _Dense(Architecture):
    """Linear layers with activations between them: base of Payne and BigPayne."""

    label_layers = ("layers.0",)

    def __init__(
        self,
        n_labels: int,
        n_wavelengths: int,
        n_hidden: int,
        n_layers: int,
        activation: str,
        output: str = "linear",
    ):
        super().__init__()
        if output not in _OUTPUTS:
            raise ValueError(
                f"`output` must be one of {', '.join(_OUTPUTS)}; got {output!r}."
            )
        if n_hidden < 1 or n_layers < 1:
            raise ValueError(
                f"`n_hidden` and `n_layers` must be at least 1; got {n_hidden} and "
                f"{n_layers}."
            )
        layers: list[nn.Module] = []
        width = n_labels
        for _ in range(n_layers):
            layers += [nn.Linear(width, n_hidden), build_activation(activation)]
            width = n_hidden
        layers.append(nn.Linear(width, n_wavelengths))
        self.layers = nn.Sequential(*layers, *(layer() for layer in _OUTPUTS[output]))
        self.flux_layer = f"layers.{2 * n_layers}"

    def forward(self, labels: Tensor) -> Tensor:
        """Scaled flux of shape (B, P) of scaled labels of shape (B, L)."""
        return self.layers(labels)

    def slice_grid(self, pixels: slice) -> Architecture:
        """Network of some wavelengths, with their outputs of the last layer."""
        rows = {f"{self.flux_layer}.{name}": pixels for name in ("weight", "bias")}
        return keep_rows(self, rows)

    def jacobian(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled flux (B, P) and its derivatives (B, L, P) by the scaled labels.

        Derivatives by all labels go through the layers together, so that the slope of
        an activation is computed once; torch's forward mode computes it once per label.
        """
        tangents = None
        for layer in self.layers:
            if not isinstance(layer, nn.Linear):
                labels, slope = value_and_slope(layer, labels)
                tangents = tangents * slope[:, None]
            elif tangents is None:
                labels, tangents = layer(labels), layer.weight.T
                tangents = tangents.expand(len(labels), *tangents.shape)
            else:
                # one product for flux and derivatives, as weights are read once
                both = torch.cat([labels[:, None], tangents], dim=1) @ layer.weight.T
                labels, tangents = both[:, 0] + layer.bias, both[:, 1:]
        return labels, tangents


@register_network("payne")
class Payne(_Dense):
    r"""The Payne: a dense network with two hidden layers.

    .. math:: f = W_3\,g(W_2\,g(W_1 p + b_1) + b_2) + b_3

    Two layers, GELU and one output per wavelength are those of [2]_; 300 neurons are
    those of the public code of [1]_, which used a leaky ReLU.

    Parameters
    ----------
    n_labels : int
        Number of stellar parameters L.
    n_wavelengths : int
        Number of wavelengths P.
    n_hidden : int, default=300
        Neurons in each hidden layer.
    n_layers : int, default=2
        Hidden layers.
    activation : str, default="gelu"
        The function g: "gelu", "gelu_tanh" (its approximation, which JAX takes),
        "leaky_relu", "relu", "sigmoid", "silu", "squared_relu" or "tanh".
    output : {"linear", "sigmoid"}, default="linear"
        "sigmoid" keeps the output between 0 and 1, for networks of other codes whose
        output is the flux itself. Networks trained here give flux of mean zero.

    References
    ----------
    .. [1] Ting et al., "The Payne: self-consistent ab initio fitting of stellar
       spectra", ApJ 879, 69, 2019.
    .. [2] Różański, Ting & Jabłońska, "TransformerPayne", arXiv:2407.05751.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import Payne
    >>> Payne(n_labels=3, n_wavelengths=11)(torch.zeros(2, 3)).shape
    torch.Size([2, 11])
    """

    recipe = Recipe(max_steps=6000, loss="mae", lr=3e-3, weight_decay=1e-2)

    def __init__(
        self,
        n_labels: int,
        n_wavelengths: int,
        *,
        n_hidden: int = 300,
        n_layers: int = 2,
        activation: str = "gelu",
        output: str = "linear",
    ):
        super().__init__(
            n_labels, n_wavelengths, n_hidden, n_layers, activation, output
        )


@register_network("bigpayne")
class BigPayne(_Dense):
    """BigPayne: The Payne with more layers and more neurons.

    The paper [1]_ does not publish its sizes. Four hidden layers of 1024 neurons are
    ours: three of 2048 did worse on held-out spectra of the shipped grid.

    Parameters
    ----------
    n_labels : int
        Number of stellar parameters L.
    n_wavelengths : int
        Number of wavelengths P.
    n_hidden : int, default=1024
        Neurons in each hidden layer.
    n_layers : int, default=4
        Hidden layers.
    activation : str, default="gelu"
        The nonlinearity, as in :class:`Payne`.

    References
    ----------
    .. [1] Różański, Ting & Jabłońska, "TransformerPayne", arXiv:2407.05751.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import BigPayne
    >>> BigPayne(n_labels=3, n_wavelengths=11, n_hidden=13)(torch.zeros(2, 3)).shape
    torch.Size([2, 11])
    """

    recipe = Recipe(max_steps=4000, loss="mae", lr=2e-3, weight_decay=0.1)

    def __init__(
        self,
        n_labels: int,
        n_wavelengths: int,
        *,
        n_hidden: int = 1024,
        n_layers: int = 4,
        activation: str = "gelu",
    ):
        super().__init__(n_labels, n_wavelengths, n_hidden, n_layers, activation)
