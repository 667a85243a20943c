"""Flux together with its exact derivatives by the labels and by wavelength."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import jvp, vmap

from sk_payne.networks._evaluate import pixel_blocks

if TYPE_CHECKING:
    from sk_payne.networks._architecture import Architecture

# torch has one level of forward mode for all threads, so they take turns.
_FORWARD_MODE = threading.RLock()

# On a CPU, derivatives of a network that takes wavelengths are counted as a quarter of
# a flux each when blocks are cut.
_DERIVATIVES_PER_FLUX = 4


def evaluate_with_jacobian(
    network: Architecture,
    labels: Tensor,
    log_wavelength: Tensor | None = None,
    *,
    by_wavelength: bool = False,
) -> tuple[Tensor, Tensor]:
    """Scaled flux and its derivatives.

    A network on a fixed grid computes them by its method ``jacobian``, and a network
    that takes wavelengths by ``at_with_tangents`` if it has that method. Otherwise
    torch's forward mode does, for all labels at once.

    Parameters
    ----------
    network : Architecture
        Network on a fixed grid or at any wavelengths.
    labels : Tensor of shape (B, L)
        Scaled stellar parameters.
    log_wavelength : Tensor of shape (P,) or (B, P), float64, default=None
        log10 of the wavelength in Å, for networks that take it.
    by_wavelength : bool, default=False
        Whether to append the derivative by `log_wavelength`.

    Returns
    -------
    flux : Tensor of shape (B, P)
        Scaled flux, without gradients.
    jacobian : Tensor of shape (B, L, P) or (B, L + 1, P)
        Derivatives by each label, and last by log10 of the wavelength.

    Raises
    ------
    ValueError
        If `by_wavelength` is True for a network on a fixed grid.

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
        Network on a fixed grid.
    labels : Tensor of shape (B, L)
        Scaled stellar parameters.

    Returns
    -------
    flux : Tensor of shape (B, P)
        Scaled flux.
    jacobian : Tensor of shape (B, L, P)
        Derivatives by each label.
    """
    # each derivative is as large as the flux, so blocks hold fewer stars
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
    size = max(1, n_tangents // (_DERIVATIVES_PER_FLUX if on_cpu else 1))
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
    """Compute a function once, and its derivatives along several directions.

    Parameters
    ----------
    function : callable
        Maps tensors to a tensor or to a tuple of tensors.
    inputs : tuple of Tensor
        Arguments of the function.
    tangents : tuple of Tensor
        Directions: for each input its changes, along a new first axis.

    Returns
    -------
    value, derivatives : Tensor or tuple of Tensor
        The second axis of the derivatives counts directions.
    """
    mapped = vmap(lambda *tangent: jvp(function, inputs, tangent), out_dims=(None, 1))
    with _FORWARD_MODE:
        return mapped(*tangents)


def label_tangents(labels):
    """Directions of derivatives by each label: unit changes.

    Parameters
    ----------
    labels : Tensor of shape (B, L)
        Scaled stellar parameters.

    Returns
    -------
    tangents : tuple of Tensor of shape (L, B, L)
        Argument of :func:`forward_mode`.
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
