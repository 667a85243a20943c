"""Nonlinearities of networks, by name.

They are here so that networks of other codes find the one they were trained with.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F


class SquaredReLU(nn.Module):
    """The square of what is positive."""

    def forward(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return F.relu(x).square()


ACTIVATIONS = {
    "gelu": nn.GELU,
    # the approximation that JAX takes by default; off by up to 5e-4
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "squared_relu": SquaredReLU,
    "tanh": nn.Tanh,
}


def build_activation(name: str) -> nn.Module:
    """Make the module that a name stands for.

    Parameters
    ----------
    name : str
        A key of `ACTIVATIONS`.

    Returns
    -------
    activation : nn.Module
        Without weights.

    Raises
    ------
    ValueError
        If there is no such name.

    Examples
    --------
    >>> from sk_payne.networks._activations import build_activation
    >>> build_activation("gelu_tanh")
    GELU(approximate='tanh')
    """
    if name not in ACTIVATIONS:
        raise ValueError(
            f"`activation` must be one of {sorted(ACTIVATIONS)}; got {name!r}."
        )
    return ACTIVATIONS[name]()
