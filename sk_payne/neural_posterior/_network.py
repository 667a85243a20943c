"""The network from represented spectra to a mixture of Gaussian distributions."""

import torch
from torch import nn
from torch.nn import functional as F

from sk_payne.networks import RANDOM_STATE

__all__ = ["PosteriorNetwork", "import_zuko"]

# Variances of the noise, in units of the signal, from which on more make no difference.
_LEAST_NOISE = 1e-6

# Largest deviation of a bin from its reconstruction in bins without data, in signal.
_N_FILLED = 1


def import_zuko():
    """Import zuko, which has the distributions.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import zuko
    except ImportError as error:
        raise ImportError(
            "NeuralPosterior needs zuko. Install it with: pip install "
            "'sk_payne[neural]'."
        ) from error
    return zuko


class PosteriorNetwork(nn.Module):
    r"""A mixture of Gaussian distributions of parameters, given a spectrum.

    Residuals are projected on directions, at first principal components and regression
    vectors of model spectra. A projection of unit variance among model spectra, whose
    noise has the variance v for the errors of this spectrum, is divided by 1 + v, as
    Wiener's filter does; log v is a second input. Where a spectrum has no data, its
    residuals are those that the projections foretell. Gated layers follow, and the
    mixture is around a linear regression on the projections.

    Parameters
    ----------
    n_bins, n_parameters : int
        Bins of a spectrum, and parameters.
    n_directions, n_components : int
        Directions, and components of the mixture.
    n_hidden, n_layers : int
        Neurons of a layer, and layers.
    n_principal : int
        Directions, the first, that are principal components.
    """

    def __init__(
        self,
        n_bins,
        n_parameters,
        *,
        n_directions,
        n_principal,
        n_components,
        n_hidden,
        n_layers,
    ):
        super().__init__()
        zuko = import_zuko()
        self.directions = nn.Parameter(torch.zeros(n_directions, n_bins))
        # spectra of unit projections, to fill bins without data
        self.register_buffer("spectra", torch.zeros(n_principal, n_bins))
        self.enter = nn.Linear(2 * n_directions, n_hidden)
        self.layers = nn.ModuleList(_Gated(n_hidden) for _ in range(n_layers))
        self.norm = nn.LayerNorm(n_hidden)
        self.mixture = zuko.mixtures.GMM(
            n_parameters,
            context=n_hidden,
            components=n_components,
            hidden_features=(),
        )
        self.linear = nn.Linear(n_directions, n_parameters, bias=False)

    def features(self, residual, variance):
        """Give projections and the logarithm of their noise, both (n, n_directions)."""
        noise = F.linear(variance, self.directions**2)
        good = variance > 0
        shrunk = F.linear(residual, self.directions) / (1 + noise)
        n = len(self.spectra)
        for _ in range(_N_FILLED if n else 0):
            filled = torch.where(good, residual, shrunk[:, :n] @ self.spectra)
            shrunk = F.linear(filled, self.directions) / (1 + noise)
        return shrunk, (noise + _LEAST_NOISE).log() / 4

    def forward(self, residual, variance):
        """Give the posterior of n spectra.

        Parameters
        ----------
        residual, variance : Tensor of shape (n, n_bins)
            As :class:`Represented` has them.

        Returns
        -------
        posterior : zuko.distributions.Mixture
            Of the coordinates, with the batch shape (n,).
        """
        shrunk, log_noise = self.features(residual, variance)
        return self.posterior(self.hidden(shrunk, log_noise), shrunk)

    def hidden(self, shrunk, log_noise):
        """Give the output of the last hidden layer, of shape (n, n_hidden)."""
        hidden = self.enter(torch.cat([shrunk, log_noise], dim=1))
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        return self.norm(hidden)

    def posterior(self, hidden, shrunk):
        """Give the mixture around what follows linearly from the projections."""
        around = self.mixture(hidden)
        loc = around.base.loc + self.linear(shrunk)[:, None]
        base = type(around.base)(
            loc, scale_tril=around.base.scale_tril, validate_args=False
        )
        return type(around)(base, around.logits)

    def left(self, residual, variance, shrunk):
        """Give reduced chi2 of what the first directions leave, of shape (n,)."""
        found = shrunk[:, : len(self.spectra)] @ self.spectra
        good = variance > 0
        pull2 = torch.where(good, (residual - found) ** 2 / variance, 0.0)
        return pull2.sum(1) / good.sum(1).clamp_min(1)

    @torch.no_grad()
    def begin(self, directions, spectra, regression, spread, seed):
        """Set the first weights: a linear regression, and small random numbers.

        Parameters
        ----------
        directions : Tensor of shape (n_directions, n_bins)
            First directions.
        spectra : Tensor of shape (n_principal, n_bins)
            Spectra of unit projections on the first of them.
        regression : Tensor of shape (n_parameters, n_directions)
            Coordinates that follow from projections.
        spread : Tensor of shape (n_parameters,)
            Standard deviations of what the regression leaves.
        seed : int
            Of the random numbers.
        """
        self.directions.copy_(directions)
        self.spectra.copy_(spectra)
        with RANDOM_STATE, torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    module.reset_parameters()
        for layer in self.layers:
            layer.leave.weight.mul_(0.1)
        self.linear.weight.copy_(regression)
        last = self.mixture.hyper[-1]
        last.weight.mul_(0.1)
        last.bias.mul_(0.1)
        n, k = len(spread), self.mixture.components
        # of the logarithms of the diagonals, behind weights and means
        for start in range(k + k * n, k + 2 * k * n, n):
            last.bias[start : start + n] += spread.log()


class _Gated(nn.Module):
    """A gated layer [1]_: one half of the neurons multiplies the other.

    References
    ----------
    .. [1] Shazeer, "GLU variants improve Transformer", arXiv:2002.05202, 2020.
    """

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, width)

    def forward(self, x):
        gate, value = self.enter(self.norm(x)).chunk(2, dim=-1)
        return self.leave(F.silu(gate) * value)
