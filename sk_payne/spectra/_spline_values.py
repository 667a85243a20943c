"""Values of quintic B-splines: weights of coefficients, and their places in tensors."""

import numpy as np
import torch

__all__ = [
    "SLOPES",
    "WEIGHTS",
    "picked",
    "polynomials",
    "reflected",
    "whole_pixels",
    "with_axes",
]

# Weights of the six quintic B-splines that overlap the interval between two nodes,
# as polynomials in the fraction t of the interval: row k belongs to the node k - 2,
# column j to t**j. de Boor (2001), A Practical Guide to Splines, chapter IX.
WEIGHTS = (
    np.array(
        [
            [1, -5, 10, -10, 5, -1],
            [26, -50, 20, 20, -20, 5],
            [66, 0, -60, 0, 30, -10],
            [26, 50, 20, -20, -20, 10],
            [1, 5, 10, 10, 5, -5],
            [0, 0, 0, 0, 0, 1],
        ]
    )
    / 120.0
)
SLOPES = WEIGHTS[:, 1:] * np.arange(1, 6)


def whole_pixels(u):
    """Return the pixels before u; a NaN must not become a place in memory."""
    return u.detach().floor().nan_to_num(0.0).long()


def with_axes(tensor, n_axes):
    """Insert axes before the last one until there are n_axes."""
    missing = (1,) * (n_axes - tensor.ndim)
    return tensor.reshape(*tensor.shape[:-1], *missing, tensor.shape[-1])


def picked(coefficients, place):
    """Return coefficients at places along the last axis, leading axes broadcast."""
    if place.shape[:-1].numel() == 1:
        return coefficients[..., place.flatten()]
    leading = torch.broadcast_shapes(coefficients.shape[:-1], place.shape[:-1])
    return torch.gather(
        coefficients.expand(*leading, -1), -1, place.expand(*leading, -1)
    )


def reflected(samples, n):
    """Return samples with n more at either end, much faster than by their index."""
    rows = samples.reshape(1, -1, samples.shape[-1])
    rows = torch.nn.functional.pad(rows, (n, n), mode="reflect")
    return rows.reshape(*samples.shape[:-1], -1)


def polynomials(table, x):
    """Return the polynomials of x whose coefficients are the rows of a table."""
    powers = [torch.ones_like(x)]
    for _ in range(table.shape[1] - 1):
        powers.append(powers[-1] * x)
    # One matrix product costs a fraction of evaluating them one after the other.
    table = torch.as_tensor(table, dtype=x.dtype, device=x.device)
    return torch.tensordot(table, torch.stack(powers), 1)
