"""Evaluation of a network in blocks of stars and wavelengths, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sk_payne.networks._architecture import Architecture

# Pixels (stars x wavelengths) in a block: activations fit into the cache of a CPU, or
# are enough work for an accelerator.
_PIXELS_CPU = 4096
_PIXELS_ACCELERATOR = 2**18


def evaluate(
    network: Architecture, labels: Tensor, log_wavelength: Tensor | None = None
) -> Tensor:
    """Scaled flux, in blocks if the network needs much memory for each pixel.

    Parameters
    ----------
    network : Architecture
        Network on a fixed grid or at any wavelengths.
    labels : Tensor of shape (B, L)
        Scaled stellar parameters.
    log_wavelength : Tensor of shape (P,) or (B, P), float64, default=None
        log10 of the wavelength in Å; ignored by networks on a fixed grid.

    Returns
    -------
    flux : Tensor of shape (B, P)
        Flux; if gradients are enabled, it is differentiable, and activations of all
        blocks stay in memory.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import Payne, evaluate
    >>> evaluate(Payne(3, 11), torch.zeros(2, 3)).shape
    torch.Size([2, 11])
    """
    if not network.takes_wavelength:
        if not network.blockwise:
            return network(labels)
        blocks = pixel_blocks(
            len(labels),
            network.n_wavelengths,
            labels.device,
            at_least=network.stars_at_once,
        )
        return torch.cat([network(labels[stars]) for stars in blocks])
    shared = log_wavelength.ndim == 1
    rows = []
    for stars in pixel_blocks(len(labels), log_wavelength.shape[-1], labels.device):
        context = network.context(labels[stars])
        blocks = [
            network.at(
                context, log_wavelength[px] if shared else log_wavelength[stars, px]
            )
            for px in pixel_blocks(log_wavelength.shape[-1], 1, labels.device)
        ]
        rows.append(torch.cat(blocks, dim=-1))
    return torch.cat(rows)


def pixel_blocks(
    n: int, size: int, device: torch.device, *, at_least: int = 1
) -> Iterator[slice]:
    """Cut a sequence of items into blocks that suit the device.

    Parameters
    ----------
    n : int
        Number of items.
    size : int
        Pixels of one item.
    device : torch.device
        Device that computes.
    at_least : int, default=1
        Smallest number of items in a block.

    Yields
    ------
    block : slice
        Slices of equal length; the last may be shorter.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import pixel_blocks
    >>> list(pixel_blocks(5, 2048, torch.device("cpu")))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    pixels = _PIXELS_CPU if device.type == "cpu" else _PIXELS_ACCELERATOR
    step = max(at_least, pixels // max(size, 1))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
