"""Flux together with its exact derivatives by the labels and by wavelength.

It is here for measuring stars, which asks for all derivatives at every step.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import jvp, vmap

from sk_payne.networks._evaluate import pixel_blocks

if TYPE_CHECKING:
    from sk_payne.networks._architecture import Architecture

# torch keeps one level of forward mode for all threads.
_ONE_AT_A_TIME = threading.RLock()

# Tangents of networks that take the wavelength that count like one flux, on a CPU.
_AT_ONCE = 4


def evaluate_with_jacobian(
    network: Architecture,
    labels: Tensor,
    log_wavelength: Tensor | None = None,
    *,
    by_wavelength: bool = False,
) -> tuple[Tensor, Tensor]:
    """Scaled flux and its derivatives.

    Networks that know a way of their own use it: those on a fixed grid with a method
    ``jacobian(labels)``, those that take the wavelength with ``at_with_tangents``.
    Others go through torch's forward mode, all labels at once.

    Parameters
    ----------
    network : Architecture
        Of either kind.
    labels : Tensor of shape (B, L)
        Scaled stellar parameters.
    log_wavelength : Tensor of shape (P,) or (B, P), float64, default=None
        log10 of the wavelength in Å, for networks that take it.
    by_wavelength : bool, default=False
        Whether the derivative by `log_wavelength` is asked for, too.

    Returns
    -------
    flux : Tensor of shape (B, P)
        Scaled flux, without gradients.
    jacobian : Tensor of shape (B, L, P) or (B, L + 1, P)
        Derivatives by each label, and last by log10 of the wavelength.

    Raises
    ------
    ValueError
        If a network on a fixed grid is asked for the derivative by wavelength.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import Payne, evaluate_with_jacobian
    >>> flux, jacobian = evaluate_with_jacobian(Payne(3, 11), torch.zeros(2, 3))
    >>> flux.shape, jacobian.shape
    (torch.Size([2, 11]), torch.Size([2, 3, 11]))
    """
    if by_wavelength and not network.takes_wavelength:
        raise ValueError(
            "`by_wavelength` must be False for a network on a fixed grid; interpolate "
            "its flux instead."
        )
    with torch.no_grad():
        if network.takes_wavelength:
            return _at_wavelengths(network, labels, log_wavelength, by_wavelength)
        return network.jacobian(labels)


def jacobian_on_grid(network: Architecture, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Flux and derivatives of a network on a fixed grid, by torch's forward mode.

    Parameters
    ----------
    network : Architecture
        On a fixed grid.
    labels : Tensor of shape (B, L)
        Scaled stellar parameters.

    Returns
    -------
    flux : Tensor of shape (B, P)
        Scaled flux.
    jacobian : Tensor of shape (B, L, P)
        Derivatives by each label.
    """
    # a tangent is as large as the flux, so blocks shrink by their number
    size = labels.shape[1] * network.n_wavelengths
    blocks = [
        forward_mode(network, (labels[stars],), label_tangents(labels[stars]))
        for stars in pixel_blocks(len(labels), size, labels.device)
    ]
    flux, jacobian = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return flux, jacobian


def _at_wavelengths(network, labels, log_wavelength, by_wavelength):
    log_wavelength = log_wavelength.expand(len(labels), -1)
    n_tangents = labels.shape[1] + by_wavelength
    on_cpu = labels.device.type == "cpu"
    size = max(1, n_tangents // (_AT_ONCE if on_cpu else 1))
    rows = []
    for stars in pixel_blocks(
        len(labels), size * log_wavelength.shape[1], labels.device
    ):
        if network.has_tangents:
            context = forward_mode(
                network.context, (labels[stars],), label_tangents(labels[stars])
            )
        blocks = []
        for px in pixel_blocks(log_wavelength.shape[1], size, labels.device):
            inputs = labels[stars], log_wavelength[stars, px].contiguous()
            if network.has_tangents:
                block = network.at_with_tangents(
                    *context, inputs[1], by_wavelength=by_wavelength
                )
            else:
                tangents = _joint_tangents(*inputs, by_wavelength)
                block = forward_mode(network, inputs, tangents)
            blocks.append(block)
        rows.append([torch.cat(parts, dim=-1) for parts in zip(*blocks, strict=True)])
    flux, jacobian = (torch.cat(parts) for parts in zip(*rows, strict=True))
    return flux, jacobian


def forward_mode(function, inputs, tangents):
    """Push tangents through a function, whose value is computed once.

    Parameters
    ----------
    function : callable
        Of tensors; gives a tensor, or a tuple of them.
    inputs : tuple of Tensor
        Where it is evaluated.
    tangents : tuple of Tensor
        For each input, its changes along a new first axis.

    Returns
    -------
    value, derivatives : Tensor or tuple of Tensor
        The tangents are the second axis of the derivatives.
    """
    mapped = vmap(lambda *tangent: jvp(function, inputs, tangent), out_dims=(None, 1))
    with _ONE_AT_A_TIME:
        return mapped(*tangents)


def label_tangents(labels):
    """Give a unit change of each label.

    Parameters
    ----------
    labels : Tensor of shape (B, L)
        Scaled stellar parameters.

    Returns
    -------
    tangents : tuple of Tensor of shape (L, B, L)
        For :func:`forward_mode`.
    """
    n_labels = labels.shape[1]
    unit = torch.eye(n_labels, dtype=labels.dtype, device=labels.device)
    return (unit[:, None].expand(-1, len(labels), -1),)


def _joint_tangents(labels, log_wavelength, by_wavelength):
    (by_label,) = label_tangents(labels)
    wave = torch.zeros(
        len(by_label) + by_wavelength,
        *log_wavelength.shape,
        dtype=log_wavelength.dtype,
        device=log_wavelength.device,
    )
    if by_wavelength:
        wave[-1] = 1
        by_label = torch.cat([by_label, torch.zeros_like(by_label[:1])])
    return by_label, wave
