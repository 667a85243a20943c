"""Evaluation of a network at any number of wavelengths within bounded memory.

It is here because predicting, validating and measuring stars all need the same loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sk_payne.networks._architecture import Architecture

# Pixels (stars x wavelengths) in flight: activations that fit a CPU's cache, or
# enough work for an accelerator.
_PIXELS_CPU = 4096
_PIXELS_ACCELERATOR = 2**18


def evaluate(
    network: Architecture, labels: Tensor, log_wavelength: Tensor | None = None
) -> Tensor:
    """Scaled flux, in blocks for networks that hold much for each pixel.

    Parameters
    ----------
    network : Architecture
        Of either kind.
    labels : Tensor of shape (B, L)
        Scaled stellar parameters.
    log_wavelength : Tensor of shape (P,) or (B, P), float64, default=None
        log10 of the wavelength in Å; ignored by networks on a fixed grid.

    Returns
    -------
    flux : Tensor of shape (B, P)
        Differentiable if gradients are enabled, but then every block is kept.

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
    """Cut n things of a given size in pixels into blocks that fit the device.

    Parameters
    ----------
    n : int
        How many there are.
    size : int
        Pixels of each.
    device : torch.device
        Where they will be worked on.
    at_least : int, default=1
        Things in a block, however large they are.

    Yields
    ------
    block : slice
        Of that many, but for the last.

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
