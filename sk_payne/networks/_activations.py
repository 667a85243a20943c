"""Nonlinearities of networks, by name.

They are here so that networks of other codes find the one they were trained with.
"""

from __future__ import annotations

from functools import partial

import torch
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


def value_and_slope(activation: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Evaluate an activation and its derivative.

    Parameters
    ----------
    activation : nn.Module
        That acts on each number by itself.
    x : Tensor
        Of any shape.

    Returns
    -------
    value, slope : Tensor
        Of the same shape, without gradients.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks._activations import build_activation, value_and_slope
    >>> _, slope = value_and_slope(build_activation("gelu"), torch.zeros(1))
    >>> slope
    tensor([0.5000])
    """
    if isinstance(activation, nn.GELU):
        # a sixth of the time of the general way, which counts for a single star
        slope = torch.ops.aten.gelu_backward(
            torch.ones_like(x), x, approximate=activation.approximate
        )
        return activation(x), slope
    with torch.enable_grad():
        before = x.detach().requires_grad_()
        after = activation(before)
        (slope,) = torch.autograd.grad(after.sum(), before)
    return after.detach(), slope
