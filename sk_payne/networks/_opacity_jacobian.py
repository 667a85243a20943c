"""Derivatives of the opacity network, much faster than by torch's forward mode.

The curve of growth depends on a few numbers at each wavelength: one backward pass
replaces a forward pass for each label.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sk_payne.networks._activations import value_and_slope
from sk_payne.networks._evaluate import pixel_blocks
from sk_payne.networks._jacobian import forward_mode, label_tangents

__all__ = ["opacity_jacobian"]

_GELU = nn.GELU()


def opacity_jacobian(network, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Flux and derivatives of an :class:`OpacityPayne`.

    Parameters
    ----------
    network : OpacityPayne
        The network.
    labels : Tensor of shape (B, L)
        Scaled stellar parameters.

    Returns
    -------
    flux : Tensor of shape (B, P)
        Scaled flux.
    jacobian : Tensor of shape (B, L, P)
        Derivatives by each label.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import OpacityPayne
    >>> from sk_payne.networks._opacity_jacobian import opacity_jacobian
    >>> with torch.no_grad():
    ...     flux, jacobian = opacity_jacobian(OpacityPayne(3, 11), torch.zeros(2, 3))
    >>> flux.shape, jacobian.shape
    (torch.Size([2, 11]), torch.Size([2, 3, 11]))
    """
    inputs, changes = (labels,), label_tangents(labels)
    if network.chemistry is not None:
        chemistry, by_label = _value_and_slopes(network.chemistry, labels)
        inputs, changes = (*inputs, chemistry), (*changes, by_label)
    values, tangents = forward_mode(network.star_numbers, inputs, changes)
    strength, wavelength_code = network.tables()
    shape = strength.shape[:2]
    tables = strength.exp().flatten(0, 1), wavelength_code, shape
    size = labels.shape[1] * shape.numel()
    blocks = [
        _block(
            network, [v[stars] for v in values], [t[stars] for t in tangents], *tables
        )
        for stars in pixel_blocks(len(labels), size, labels.device)
    ]
    flux, jacobian = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return flux, jacobian


def _block(network, values, tangents, strength, wavelength_code, shape):
    # B stars, L labels, P wavelengths, K populations, M sums, E neurons of the curve of
    # growth, H neurons of g
    (power_BK, code_BE, code_2_BE, star_BH) = values
    (power_BLK, code_BLE, code_2_BLE, star_BLH) = tangents
    population_BK = power_BK.exp()
    tau_BPM = (population_BK @ strength.T).unflatten(-1, shape) + 1e-6
    tau_BLPM = ((population_BK[:, None] * power_BLK) @ strength.T).unflatten(-1, shape)

    x_BPE = network.sums(tau_BPM.log()) + wavelength_code + code_BE[:, None]
    x_BPE, slope_BPE = value_and_slope(_GELU, x_BPE)
    x_BPE, slope_2_BPE = value_and_slope(
        _GELU, network.growth(x_BPE) + code_2_BE[:, None]
    )
    intrinsic_BP = network.flux(x_BPE).squeeze(-1)

    by_code_2_BPE = slope_2_BPE * network.flux.weight[0]
    by_code_BPE = (by_code_2_BPE @ network.growth.weight) * slope_BPE
    by_tau_BPM = (by_code_BPE @ network.sums.weight) / tau_BPM
    intrinsic_BLP = (tau_BLPM * by_tau_BPM[:, None]).sum(dim=-1)
    intrinsic_BLP = torch.baddbmm(intrinsic_BLP, code_BLE, by_code_BPE.mT)
    intrinsic_BLP = torch.baddbmm(intrinsic_BLP, code_2_BLE, by_code_2_BPE.mT)

    both = torch.cat([intrinsic_BP[:, None], intrinsic_BLP], dim=1)
    smeared = F.conv1d(both.flatten(0, 1)[:, None], network.profile[None, None])
    smeared = smeared.squeeze(1).unflatten(0, both.shape[:2])
    flux = smeared[:, 0] + network.offset + network.remaining(star_BH)
    return flux, smeared[:, 1:] + network.remaining(star_BLH)


def _value_and_slopes(chemistry, labels):
    """Features (B, F) and their derivatives (L, B, F), by one backward pass."""
    n_features = chemistry.n_features
    with torch.enable_grad():
        # a copy of the star for each feature
        copies = labels.detach().repeat_interleave(n_features, dim=0).requires_grad_()
        features = chemistry(copies).unflatten(0, (len(labels), n_features))
        own = features.diagonal(dim1=1, dim2=2)
        (slopes,) = torch.autograd.grad(own.sum(), copies)
    by_label = slopes.unflatten(0, (len(labels), n_features)).permute(2, 0, 1)
    return own.detach(), by_label
