"""Convolutional network: a dense stem, then transposed convolutions.

The third baseline of the TransformerPayne paper; wavelengths share their weights.
"""

from __future__ import annotations

from torch import Tensor, nn

from sk_payne.networks._architecture import Architecture
from sk_payne.networks._recipe import Recipe
from sk_payne.networks._registry import register_network
from sk_payne.networks._rows import keep_rows


@register_network("convolutional")
class Convolutional(Architecture):
    """Dense stem to a few coarse pixels, then transposed convolutions to all.

    Each block triples the number of pixels: a transposed convolution, GELU, plus a
    strided linear path around it. The sizes of the emulator in the paper [1]_ are not
    published; 64 channels, kernel 11, stride 3 and a stem of a handful of pixels are
    those of the nearest public relative. The number of blocks follows from the number
    of wavelengths (6 for 2198 wavelengths, 8 for 22315); pixels beyond the grid are
    cropped.

    Parameters
    ----------
    n_labels : int
        Number of stellar parameters L.
    n_wavelengths : int
        Number of wavelengths P.
    n_channels : int, default=64
        Channels of every block.
    kernel_size : int, default=11
        Width in pixels of a transposed convolution; odd, at least 3.
    n_hidden : int, default=256
        Neurons of the stem.

    References
    ----------
    .. [1] Różański, Ting & Jabłońska, "TransformerPayne", arXiv:2407.05751.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import Convolutional
    >>> Convolutional(n_labels=3, n_wavelengths=101)(torch.zeros(2, 3)).shape
    torch.Size([2, 101])
    """

    recipe = Recipe(max_steps=3000, batch_size=32, loss="mae", lr=3e-3)
    blockwise = True
    label_layers = ("stem.0",)
    stride = 3

    def __init__(
        self,
        n_labels: int,
        n_wavelengths: int,
        *,
        n_channels: int = 64,
        kernel_size: int = 11,
        n_hidden: int = 256,
    ):
        super().__init__()
        if kernel_size < self.stride or kernel_size % 2 == 0:
            raise ValueError(
                f"`kernel_size` must be odd and at least {self.stride}; got "
                f"{kernel_size}."
            )
        n_blocks = 0
        while n_wavelengths >= self.stride ** (n_blocks + 2):
            n_blocks += 1
        self.n_wavelengths = n_wavelengths
        self.n_channels = n_channels
        self.n_coarse = -(-n_wavelengths // self.stride**n_blocks)
        self.stem = nn.Sequential(
            nn.Linear(n_labels, n_hidden),
            nn.GELU(),
            nn.Linear(n_hidden, n_channels * self.n_coarse),
            nn.GELU(),
        )
        self.blocks = nn.ModuleList(
            _Upsampling(n_channels, kernel_size, self.stride) for _ in range(n_blocks)
        )
        self.head = nn.Conv1d(n_channels, 1, kernel_size, padding=kernel_size // 2)
        self._keep(0, n_wavelengths)

    def forward(self, labels: Tensor) -> Tensor:
        """Scaled flux of shape (B, P) of scaled labels of shape (B, L)."""
        first, *others, last = self.kept
        flux = self.stem(labels).unflatten(1, (self.n_channels, self.n_coarse))
        flux = flux[..., first]
        for block, kept in zip(self.blocks, others, strict=True):
            flux = block(flux)[..., kept]
        return self.head(flux)[:, 0, last]

    def slice_grid(self, pixels: slice) -> Convolutional:
        """Network of some wavelengths; blocks compute no pixels that these ignore."""
        part = keep_rows(self, {})
        part._keep(self.first + pixels.start, self.first + pixels.stop)
        return part

    def _keep(self, first, end):
        """Find the pixels to keep of the stem, of each block and of the head.

        A pixel of a block sees pixels of the one before up to half a kernel away.
        """
        self.first, self.n_wavelengths = first, end - first
        half, stride = self.head.kernel_size[0] // 2, self.stride
        n = self.n_coarse * stride ** len(self.blocks)
        low, high = max(first - half, 0), min(end + half, n)
        kept = [slice(first - low, end - low)]
        for _ in self.blocks:
            n //= stride
            before = max((low - half) // stride, 0)
            after = min((high + half) // stride + 1, n)
            kept.append(slice(low - before * stride, high - before * stride))
            low, high = before, after
        self.kept = [slice(low, high), *reversed(kept)]


class _Upsampling(nn.Module):
    """Three pixels out of one: GELU of a transposed convolution, plus a linear path."""

    def __init__(self, n_channels: int, kernel_size: int, stride: int):
        super().__init__()
        self.convolution = nn.ConvTranspose1d(
            n_channels,
            n_channels,
            kernel_size,
            stride=stride,
            padding=(kernel_size - stride) // 2,
        )
        self.skip = nn.ConvTranspose1d(n_channels, n_channels, stride, stride=stride)
        self.activation = nn.GELU()

    def forward(self, flux: Tensor) -> Tensor:
        return self.activation(self.convolution(flux)) + self.skip(flux)
