"""WavelengthEncoding: sines of log wavelength with many periods, in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["WavelengthEncoding", "float64_device"]


def float64_device(device: str | torch.device) -> torch.device:
    """Device for float64 tensors that accompany tensors on a device.

    Parameters
    ----------
    device : str or torch.device
        Device of the other tensors.

    Returns
    -------
    device : torch.device
        The same device; the CPU for "mps", which has no float64.

    Examples
    --------
    >>> from sk_payne.networks import float64_device
    >>> float64_device("mps"), float64_device("cuda")
    (device(type='cpu'), device(type='cuda'))
    """
    device = torch.device(device)
    return torch.device("cpu") if device.type == "mps" else device


class WavelengthEncoding(nn.Module):
    r"""Sines of log10 of the wavelength, with log-spaced periods.

    .. math:: e_j = \sin(2\pi (w - w_0) / T_j), \qquad
        w = \log_{10}(\lambda / \mathrm{Å})

    The number of turns :math:`w/T_j` reaches 10^6, so the phase is reduced to one turn
    in float64 and only then given the precision of the network.

    Parameters
    ----------
    width : int
        Number of periods E.
    shortest_period, longest_period : float
        Shortest and longest period T in units of w (dex of wavelength).
    origin : float, default=0.0
        Zero point :math:`w_0`.
    linear : bool, default=False
        Whether w is the wavelength in Å instead of its logarithm.

    References
    ----------
    .. [1] Różański, Ting & Jabłońska, "TransformerPayne", arXiv:2407.05751.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import WavelengthEncoding
    >>> encoding = WavelengthEncoding(3, 1e-5, 1e-1)
    >>> encoding(torch.tensor([3.65, 3.66], dtype=torch.float64)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        width: int,
        shortest_period: float,
        longest_period: float,
        *,
        origin: float = 0.0,
        linear: bool = False,
    ):
        super().__init__()
        if not 0 < shortest_period <= longest_period:
            raise ValueError(
                "`shortest_period` must be positive and not above `longest_period`; "
                f"got {shortest_period} and {longest_period}."
            )
        ends = math.log(shortest_period), math.log(longest_period)
        self.origin = origin
        self.linear = linear
        # a plain attribute: moving the network to float32 must not round it
        self.periods = torch.linspace(
            *ends, width, dtype=torch.float64, device="cpu"
        ).exp()
        # has the device and the precision of the network
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def forward(self, log_wavelength: Tensor) -> Tensor:
        """Code of shape (..., E) of log10 wavelengths of shape (...), float64."""
        w = log_wavelength.to(float64_device(log_wavelength.device)).double()
        if self.linear:
            w = 10**w
        turns = (w - self.origin)[..., None] / self.periods.to(w.device)
        phase = (2 * math.pi) * (turns - turns.round())
        return torch.sin(phase.to(self.like))
