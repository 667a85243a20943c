r"""The network from represented spectra to a mixture of Gaussian distributions.

Three parts are learned: a guess of the coordinates from the spectrum; an emulator of
its principal components from the coordinates, small and fast; and a mixture that
corrects what Gauss-Newton steps make of these two.
"""

import torch
from torch import nn
from torch.nn import functional as F

from sk_payne.networks import RANDOM_STATE
from sk_payne.neural_posterior._gauss_newton import ComponentEmulator, gauss_newton

__all__ = ["PosteriorNetwork", "import_zuko"]

# Variances of the noise, in units of the signal, below which less makes no difference.
_LEAST_NOISE = 1e-6

# Gauss-Newton steps.
_N_STEPS = 4

# Standard deviation of the coordinate of the velocity a priori; others have one.
_WIDE = 3.0


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

    Residuals are projected on principal components of model spectra. Where a spectrum
    has no data, its residuals are those that the projections foretell, after Wiener's
    filter: a projection of unit variance among model spectra, whose noise has the
    variance v for the errors of this spectrum, is divided by 1 + v.

    A first network guesses the coordinates z. A second one, f(z), is an emulator of the
    projections y with an error e. Some Gauss-Newton steps from the guess find the
    maximum of

    .. math:: -\frac{1}{2} \sum_k \frac{(y_k - f_k(z))^2}{v_k + e_k^2}
        - \frac{1}{2} \sum_i \frac{z_i^2}{s_i^2}

    and the covariance there. A third network gives a mixture in units of this
    covariance, around this maximum.

    Parameters
    ----------
    n_bins, n_parameters : int
        Bins of a spectrum, and parameters.
    n_directions, n_components : int
        Principal components of spectra, and components of the mixture.
    n_hidden, n_layers : int
        Neurons of a layer, and layers, of each network.
    velocity : int or None
        Coordinate of the velocity.
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
        velocity=None,
    ):
        super().__init__()
        zuko = import_zuko()
        self.register_buffer("directions", torch.zeros(n_directions, n_bins))
        # spectra of unit projections
        self.register_buffer("spectra", torch.zeros(n_directions, n_bins))
        precision = torch.ones(n_parameters)
        if velocity is not None:
            precision[velocity] = _WIDE**-2
        self.register_buffer("precision", precision)
        self.guess = _Residual(2 * n_directions, n_hidden, n_layers, n_parameters)
        self.linear = nn.Linear(n_directions, n_parameters, bias=False)
        self.emulator = ComponentEmulator(
            n_parameters, n_directions, n_hidden=256, n_layers=3
        )
        n_context = 2 * n_parameters + 2 * n_directions + 1
        self.correction = _Residual(n_context, n_hidden, n_layers, None)
        self.mixture = zuko.mixtures.GMM(
            n_parameters,
            context=n_hidden,
            components=n_components,
            hidden_features=(),
        )

    def features(self, residual, variance):
        """Give projections, their filter, and variances of their noise.

        Parameters
        ----------
        residual, variance : Tensor of shape (n, n_bins)
            As :class:`Represented` has them.

        Returns
        -------
        projection, shrunk, noise : Tensor of shape (n, n_directions)
            Projections, the same after the filter, and variances.
        """
        noise = F.linear(variance, self.directions**2)
        shrunk = F.linear(residual, self.directions) / (1 + noise)
        filled = torch.where(variance > 0, residual, shrunk @ self.spectra)
        projection = F.linear(filled, self.directions)
        return projection, projection / (1 + noise), noise

    def first_losses(self, residual, variance, coordinates):
        """Give losses (n,) of the guess and of the emulator of projections."""
        projection, shrunk, noise = self.features(residual, variance)
        guess = self._guess(shrunk, noise)
        squares = ((guess - coordinates) ** 2).mean(1)
        variances = noise + self.emulator.error2
        off = (projection - self.emulator(coordinates)) ** 2 / variances
        return squares + (off + variances.log()).mean(1) / 2

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
        return self.posterior(*self.context(*self.features(residual, variance)))

    def context(self, projection, shrunk, noise):
        """Give middles, Cholesky factors of covariances, and the last hidden layer."""
        with torch.no_grad():
            middle, root, chi2 = gauss_newton(
                self.emulator,
                projection,
                noise + self.emulator.error2,
                self._guess(shrunk, noise),
                self.precision,
                n_steps=_N_STEPS,
            )
            inputs = [
                middle,
                root.diagonal(dim1=1, dim2=2).log(),
                shrunk,
                (noise + _LEAST_NOISE).log() / 4,
                chi2[:, None].clamp_min(1e-3).log(),
            ]
            inputs = torch.cat([part.float() for part in inputs], dim=1)
        return middle, root, self.correction(inputs)

    def posterior(self, middle, root, hidden):
        """Give the mixture in coordinates of that in units of the covariance."""
        around = self.mixture(hidden)
        root, base = root.float()[:, None], around.base
        loc = middle.float()[:, None] + (root @ base.loc[..., None])[..., 0]
        moved = type(base)(loc, scale_tril=root @ base.scale_tril, validate_args=False)
        return type(around)(moved, around.logits)

    def left(self, residual, variance, projection):
        """Give reduced chi2 of what the principal components leave, of shape (n,)."""
        good = variance > 0
        off = (residual - projection @ self.spectra) ** 2
        pull2 = torch.where(good, off / variance, 0.0)
        return pull2.sum(1) / good.sum(1).clamp_min(1)

    @torch.no_grad()
    def begin(self, directions, spectra, regression, seed):
        """Set the first weights: a linear regression, and random numbers.

        Parameters
        ----------
        directions : Tensor of shape (n_directions, n_bins)
            Principal components, scaled to projections of unit variance.
        spectra : Tensor of shape (n_directions, n_bins)
            Spectra of unit projections.
        regression : Tensor of shape (n_parameters, n_directions)
            Coordinates that follow from filtered projections.
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
        self.linear.weight.copy_(regression)
        self.guess.leave.weight.mul_(0.1)
        last = self.mixture.hyper[-1]
        # components near the Gauss-Newton covariance, and each a little elsewhere
        last.weight.mul_(0.05)
        last.bias.mul_(0.1)

    def _guess(self, shrunk, noise):
        log_noise = (noise + _LEAST_NOISE).log() / 4
        inputs = torch.cat([shrunk, log_noise], dim=1)
        return self.guess(inputs) + self.linear(shrunk)


class _Residual(nn.Module):
    """Dense layers that each add to what was there before."""

    def __init__(self, n_in, n_hidden, n_layers, n_out):
        super().__init__()
        self.enter = nn.Linear(n_in, n_hidden)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(n_hidden),
                nn.Linear(n_hidden, n_hidden),
                nn.GELU(),
                nn.Linear(n_hidden, n_hidden),
            )
            for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(n_hidden)
        self.leave = None if n_out is None else nn.Linear(n_hidden, n_out)

    def forward(self, x):
        x = self.enter(x)
        for layer in self.layers:
            x = x + layer(x)
        x = self.norm(x)
        return x if self.leave is None else self.leave(x)
