"""The network from represented spectra to a mixture of Gaussian distributions."""

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["PosteriorNetwork", "import_zuko"]

# Variances of the noise, in units of the signal, below which less makes no difference.
_LEAST_NOISE = 1e-6

# Ridge of the first regression, in spectra, and the smallest standard deviation.
_RIDGE, _LEAST_SCALE = 2.0, 1e-3

# How often bins without data are filled.
_N_FILLED = 2


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
    r"""A mixture of Gaussian distributions of coordinates, given a spectrum.

    Residuals are projected on directions, at first principal components of model
    spectra and regression vectors. A projection of unit variance among model spectra,
    whose noise has the variance v for the errors of this spectrum, is divided by 1 + v,
    as Wiener's filter does; log v is a second input. Dense layers follow that each add
    to what was there before, and a mixture around a linear regression on the
    projections.

    Parameters
    ----------
    n_bins, n_parameters : int
        Bins of a spectrum, and parameters.
    n_directions, n_components : int
        Directions, and components of the mixture.
    n_hidden, n_layers : int
        Neurons of a layer, and layers.
    """

    def __init__(
        self,
        n_bins,
        n_parameters,
        *,
        n_directions,
        n_components,
        n_hidden,
        n_layers,
    ):
        super().__init__()
        zuko = import_zuko()
        self.directions = nn.Parameter(torch.zeros(n_directions, n_bins))
        # spectra of unit projections, of the directions at first
        self.register_buffer("spectra", torch.zeros(n_directions, n_bins))
        self.register_buffer("noise_mean", torch.zeros(n_directions))
        self.register_buffer("noise_scale", torch.ones(n_directions))
        self.linear = nn.Linear(n_directions, n_parameters, bias=False)
        self.enter = nn.Linear(2 * n_directions, n_hidden)
        self.layers = nn.ModuleList(_Layer(n_hidden) for _ in range(n_layers))
        self.norm = nn.LayerNorm(n_hidden)
        self.mixture = zuko.mixtures.GMM(
            n_parameters,
            context=n_hidden,
            components=n_components,
            hidden_features=(),
        )

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
        projection, log_noise = self.features(residual, variance)
        return self.posterior(projection, self.hidden(projection, log_noise))

    def features(self, residual, variance):
        """Give filtered projections, and a measure of their noise.

        Parameters
        ----------
        residual, variance : Tensor of shape (n, n_bins)
            As :class:`Represented` has them.

        Returns
        -------
        projection, log_noise : Tensor of shape (n, n_directions)
            Projections after the filter, and the logarithm of v, of mean 0 and variance
            1 in training.
        """
        noise = F.linear(variance, self.directions**2)
        projection = F.linear(residual, self.directions) / (1 + noise)
        log_noise = (noise + _LEAST_NOISE).log()
        return projection, (log_noise - self.noise_mean) / self.noise_scale

    def hidden(self, projection, log_noise):
        """Give the output of the last hidden layer, of shape (n, n_hidden)."""
        x = self.enter(torch.cat([projection, log_noise], dim=1))
        for layer in self.layers:
            x = x + layer(x)
        return self.norm(x)

    def posterior(self, projection, hidden):
        """Give the mixture, around what follows linearly from the projections."""
        around = self.mixture(hidden)
        loc = around.base.loc + self.linear(projection)[:, None]
        base = type(around.base)(
            loc, scale_tril=around.base.scale_tril, validate_args=False
        )
        return type(around)(base, around.logits)

    def left(self, residual, variance):
        """Give reduced chi2 of what the principal components leave, of shape (n,)."""
        own = self.spectra / (self.spectra**2).sum(1, keepdim=True).clamp_min(1e-30)
        good, noise = variance > 0, F.linear(variance, own**2)
        found = torch.zeros_like(residual)
        for _ in range(_N_FILLED):
            # what is missing is as the rest foretells
            filled = torch.where(good, residual, found)
            found = (F.linear(filled, own) / (1 + noise)) @ self.spectra
        off = (residual - found) ** 2
        pull2 = torch.where(good, off / variance, 0.0)
        return pull2.sum(1) / good.sum(1).clamp_min(1)

    @torch.no_grad()
    def begin(self, directions, spectra):
        """Set the first directions.

        Parameters
        ----------
        directions : Tensor of shape (n_directions, n_bins)
            Scaled to projections of unit variance.
        spectra : Tensor of shape (n_directions, n_bins)
            Spectra of unit projections on principal components; zero for others.
        """
        self.directions.copy_(directions)
        self.spectra.copy_(spectra)

    @torch.no_grad()
    def regress(self, residual, variance, coordinates):
        """Start from a linear regression, and scale the noise.

        Parameters
        ----------
        residual, variance : Tensor of shape (n, n_bins)
            Training spectra.
        coordinates : Tensor of shape (n, n_parameters)
            Their coordinates.
        """
        projection, log_noise = self.features(residual, variance)
        self.noise_mean.copy_(log_noise.mean(0))
        self.noise_scale.copy_(log_noise.std(0).clamp_min(_LEAST_SCALE))
        x, wanted = projection.double(), coordinates.double()
        normal = x.mT @ x + _RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
        solution = torch.linalg.solve(normal, x.mT @ wanted)
        spread = (wanted - x @ solution).std(0).clamp_min(_LEAST_SCALE).float()
        self.linear.weight.copy_(solution.mT)
        last = self.mixture.hyper[-1]
        last.weight.mul_(0.1)
        last.bias.mul_(0.1)
        # logarithms of the diagonals come behind weights and means
        n, k = len(spread), self.mixture.components
        last.bias[k + k * n : k + 2 * k * n] += spread.log().repeat(k)


class _Layer(nn.Module):
    """A dense layer whose output is added to its input, zero at first."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, width)
        self.leave = nn.Linear(width, width)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x):
        return self.leave(F.gelu(self.enter(self.norm(x))))
