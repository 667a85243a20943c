"""An emulator of principal components, and Gauss-Newton steps with its derivatives."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["ComponentEmulator", "gauss_newton"]

# Largest change of a coordinate in one step, and largest coordinate.
_LONGEST, _FARTHEST = 1.0, 4.5

# Part of the diagonal of the normal matrix that is added to it in the first steps.
_DAMPING = 0.03

# Square of the error of the emulator from which training starts.
_FIRST_ERROR2 = 0.05


class ComponentEmulator(nn.Module):
    """Dense network from coordinates to projections, with its error.

    Parameters
    ----------
    n_parameters, n_directions : int
        Coordinates and projections.
    n_hidden, n_layers : int
        Neurons of a layer, and hidden layers.
    """

    def __init__(self, n_parameters, n_directions, *, n_hidden, n_layers):
        super().__init__()
        sizes = [n_parameters] + n_layers * [n_hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.last = nn.Linear(n_hidden, n_directions)
        first = torch.full((n_directions,), _FIRST_ERROR2).log()
        self.log_error2 = nn.Parameter(first)

    @property
    def error2(self):
        """Squares of the errors of projections, of shape (n_directions,)."""
        return self.log_error2.exp()

    def forward(self, x):
        """Give projections (n, n_directions) of coordinates (n, n_parameters)."""
        for layer in self.layers:
            x = F.silu(layer(x))
        return self.last(x)

    def linearize(self, x):
        """Give projections (n, D) and their derivatives (n, n_parameters, D)."""
        tangent = None
        for layer in self.layers:
            x = layer(x)
            tangent = (
                layer.weight.mT.expand(len(x), -1, -1)
                if tangent is None
                else F.linear(tangent, layer.weight)
            )
            sigmoid = torch.sigmoid(x)
            slope = sigmoid * (1 + x * (1 - sigmoid))
            tangent = tangent * slope[:, None]
            x = x * sigmoid
        return self.last(x), F.linear(tangent, self.last.weight)


def gauss_newton(emulator, projection, variance, start, precision, *, n_steps):
    """Find the coordinates of spectra, and their covariances, by least squares.

    Parameters
    ----------
    emulator : ComponentEmulator
        Of the projections.
    projection, variance : Tensor of shape (n, D)
        Projections and their variances, errors of the emulator included.
    start : Tensor of shape (n, K)
        First guess.
    precision : Tensor of shape (K,)
        Inverse variances of the coordinates a priori, whose means are zero.
    n_steps : int
        Steps, all of which are taken.

    Returns
    -------
    middle : Tensor of shape (n, K), float64
        Coordinates.
    root : Tensor of shape (n, K, K), float64
        Lower Cholesky factors of their covariances.
    chi2 : Tensor of shape (n,)
        Chi2 before the last step, in units of the number of projections.
    """
    z = start.clamp(-_FARTHEST, _FARTHEST)
    for step in range(n_steps):
        found, jacobian = emulator.linearize(z)
        weighted = jacobian / variance[:, None]
        left = projection - found
        normal = (weighted @ jacobian.mT).double() + torch.diag(precision).double()
        slope = (weighted @ left[..., None])[..., 0].double() - precision * z
        damped = normal
        if step < n_steps - 1:
            diagonal = normal.diagonal(dim1=1, dim2=2)
            damped = normal + torch.diag_embed(_DAMPING * diagonal)
        factor = torch.linalg.cholesky(damped)
        change = torch.cholesky_solve(slope[..., None], factor)[..., 0]
        z = z + change.clamp(-_LONGEST, _LONGEST).to(z)
        z = z.clamp(-_FARTHEST, _FARTHEST)
    covariance = torch.cholesky_inverse(factor)
    root = torch.linalg.cholesky((covariance + covariance.mT) / 2)
    return z.double(), root, (left**2 / variance).mean(1)
