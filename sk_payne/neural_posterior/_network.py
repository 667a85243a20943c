"""Network from preprocessed spectra to Gaussian mixtures."""

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["PosteriorNetwork", "import_zuko"]

# Variance that is added to the noise of projections before its logarithm is taken, in
# units of the variance among model spectra.
_NOISE_OFFSET = 1e-6

# Ridge of the first regression, in spectra; smallest standard deviation.
_RIDGE, _SMALLEST_SCALE = 2.0, 1e-3

# Iterations that fill bins without data.
_N_FILLED = 2


def import_zuko():
    """Import zuko, the package of the mixtures.

    Raises
    ------
    ImportError
        If zuko is not installed.
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
    r"""Network that computes a Gaussian mixture of coordinates for a spectrum.

    Residuals are projected on directions. These are initially principal components of
    model spectra and regression vectors, scaled to unit variance of the projections
    among model spectra. A projection is divided by 1 + v, with the variance v of its
    noise, as by a Wiener filter; log v is a second input. Residual blocks follow. The
    means of the mixture are the sum of their output and of a linear regression on the
    projections.

    Parameters
    ----------
    n_bins, n_parameters : int
        Number of bins of a spectrum, and of parameters.
    n_directions, n_components : int
        Number of directions, and of components of the mixture.
    n_hidden, n_layers : int
        Number of neurons per hidden layer, and of hidden layers.
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
        self.directions = nn.Parameter(torch.zeros(n_directions, n_bins, device="cpu"))
        # spectra with a projection of one on each initial direction
        self.register_buffer("spectra", torch.zeros(n_directions, n_bins, device="cpu"))
        self.register_buffer("noise_mean", torch.zeros(n_directions, device="cpu"))
        self.register_buffer("noise_scale", torch.ones(n_directions, device="cpu"))
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
        """Compute the posteriors of n spectra.

        Parameters
        ----------
        residual, variance : Tensor of shape (n, n_bins)
            Residuals and their variances, see :class:`Represented`.

        Returns
        -------
        posterior : zuko.distributions.Mixture
            Distributions of the coordinates, with the batch shape (n,).
        """
        projection, log_noise = self.features(residual, variance)
        return self.posterior(projection, self.hidden(projection, log_noise))

    def features(self, residual, variance):
        """Compute filtered projections, and the logarithm of their noise.

        Parameters
        ----------
        residual, variance : Tensor of shape (n, n_bins)
            Residuals and their variances, see :class:`Represented`.

        Returns
        -------
        projection, log_noise : Tensor of shape (n, n_directions)
            Projections after the filter, and the logarithm of v, scaled to mean 0 and
            variance 1 in training.
        """
        noise = F.linear(variance, self.directions**2)
        projection = F.linear(residual, self.directions) / (1 + noise)
        log_noise = (noise + _NOISE_OFFSET).log()
        return projection, (log_noise - self.noise_mean) / self.noise_scale

    def hidden(self, projection, log_noise):
        """Compute the output of the last hidden layer, of shape (n, n_hidden)."""
        x = self.enter(torch.cat([projection, log_noise], dim=1))
        for layer in self.layers:
            x = x + layer(x)
        return self.norm(x)

    def posterior(self, projection, hidden):
        """Compute the mixture; its means include a regression on the projections."""
        around = self.mixture(hidden)
        loc = around.base.loc + self.linear(projection)[:, None]
        base = type(around.base)(
            loc, scale_tril=around.base.scale_tril, validate_args=False
        )
        return type(around)(base, around.logits)

    def left(self, residual, variance):
        """Compute reduced chi2 of the residuals from principal components, (n,)."""
        own = self.spectra / (self.spectra**2).sum(1, keepdim=True).clamp_min(1e-30)
        good, noise = variance > 0, F.linear(variance, own**2)
        found = torch.zeros_like(residual)
        for _ in range(_N_FILLED):
            # missing bins get their prediction from the other bins
            filled = torch.where(good, residual, found)
            found = (F.linear(filled, own) / (1 + noise)) @ self.spectra
        off = (residual - found) ** 2
        pull2 = torch.where(good, off / variance, 0.0)
        return pull2.sum(1) / good.sum(1).clamp_min(1)

    @torch.no_grad()
    def begin(self, directions, spectra):
        """Set the initial directions.

        Parameters
        ----------
        directions : Tensor of shape (n_directions, n_bins)
            Directions, scaled to projections of unit variance.
        spectra : Tensor of shape (n_directions, n_bins)
            Spectra with a projection of one on each principal component; zero for the
            other directions.
        """
        self.directions.copy_(directions)
        self.spectra.copy_(spectra)

    @torch.no_grad()
    def regress(self, residual, variance, coordinates):
        """Initialise the linear regression, the spreads and the scale of the noise.

        Parameters
        ----------
        residual, variance : Tensor of shape (n, n_bins)
            Residuals of training spectra, and their variances.
        coordinates : Tensor of shape (n, n_parameters)
            Coordinates of the parameters of these spectra.
        """
        projection, log_noise = self.features(residual, variance)
        self.noise_mean.copy_(log_noise.mean(0))
        self.noise_scale.copy_(log_noise.std(0).clamp_min(_SMALLEST_SCALE))
        x, wanted = projection.double(), coordinates.double()
        normal = x.mT @ x
        normal.diagonal().add_(_RIDGE)
        solution = torch.linalg.solve(normal, x.mT @ wanted)
        spread = (wanted - x @ solution).std(0).clamp_min(_SMALLEST_SCALE).float()
        self.linear.weight.copy_(solution.mT)
        last = self.mixture.hyper[-1]
        last.weight.mul_(0.1)
        last.bias.mul_(0.1)
        # order of the outputs: weights, means, logarithms of the diagonals
        n, k = len(spread), self.mixture.components
        last.bias[k + k * n : k + 2 * k * n] += spread.log().repeat(k)


class _Layer(nn.Module):
    """Residual block: its output, initially zero, is added to its input."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, width)
        self.leave = nn.Linear(width, width)
        nn.init.zeros_(self.leave.weight)

    def forward(self, x):
        return self.leave(F.gelu(self.enter(self.norm(x))))
