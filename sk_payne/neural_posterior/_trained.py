"""Trained neural posterior: its parts, predictions and calibration."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from sk_payne.networks import fast_products
from sk_payne.neural_posterior._coordinates import Coordinates
from sk_payne.neural_posterior._mixture import Mixtures
from sk_payne.neural_posterior._novelty import Novelty
from sk_payne.neural_posterior._representation import Representation, Represented

__all__ = ["Answer", "Calibration", "TrainedPosterior"]

# Number of stars per matrix product. In a product of fixed shape, rounding of a row
# does not depend on the other rows.
_BLOCK = 64


@dataclass(frozen=True)
class Answer:
    """Output of the network for n spectra.

    Attributes
    ----------
    mixtures : Mixtures
        Posteriors in unbounded coordinates.
    start : ndarray of shape (n,)
        Velocities in km/s by which the spectra were shifted to rest.
    hidden : ndarray of shape (n, n_hidden)
        Output of the last hidden layer.
    left : ndarray of shape (n,)
        Reduced chi2 of the residuals from principal components.
    log_snr : ndarray of shape (n,)
        Natural logarithm of the median signal-to-noise ratio of the bins.
    has_data : ndarray of shape (n,), bool
        True for spectra with usable pixels.
    """

    mixtures: Mixtures
    start: np.ndarray
    hidden: np.ndarray
    left: np.ndarray
    log_snr: np.ndarray
    has_data: np.ndarray

    def __len__(self):
        return len(self.start)


@dataclass(frozen=True)
class Calibration:
    """Comparison of the posterior with held-out mock spectra.

    Attributes
    ----------
    probability : ndarray of shape (n, K)
        Marginal distribution functions at the true values, the limit of ranks [1]_ for
        many samples; uniform between 0 and 1 if the posterior is right.
    log_density : float
        Mean logarithm of the density at the true values, per unit of the coordinates.
    distance : float
        0.999 quantile of the Mahalanobis distance of true values from the nearest
        component.
    snr : ndarray of shape (n,)
        Signal-to-noise ratios of the spectra.

    References
    ----------
    .. [1] Talts et al., "Validating Bayesian inference algorithms with simulation-based
       calibration", arXiv:1804.06788, 2018.
    """

    probability: np.ndarray
    log_density: float
    distance: float
    snr: np.ndarray

    def coverage(self, part):
        """Compute the fraction of true values in central intervals, of shape (K,).

        Parameters
        ----------
        part : float
            Probability of the central intervals of the posteriors, such as 0.68.
        """
        inside = np.abs(self.probability - 0.5) < part / 2
        return inside.mean(axis=0)


@dataclass(frozen=True)
class TrainedPosterior:
    """Trained neural posterior.

    Attributes
    ----------
    network : PosteriorNetwork
        Network on the CPU, without gradients.
    representation : Representation
        Preprocessing of spectra.
    coordinates : Coordinates
        Coordinates of the K free parameters.
    names, units : list of str
        Names and units of the free parameters, labels first.
    n_labels : int
        Number of free labels.
    known : dict of str to float
        Values of fixed parameters.
    emulator : str
        Digest of the emulator.
    snr : tuple of float
        Smallest and largest signal-to-noise ratio of the training.
    width : tuple of float
        Smallest and largest standard deviation of the instrument in km/s, beyond that
        of the emulator, in training.
    options : dict
        Arguments of the network.
    history : list of dict
        Losses by step.
    n_steps : int
        Number of training steps.
    calibration : Calibration or None
        Comparison with held-out spectra.
    novelty : Novelty or None
        Novelty scores, scaled by held-out spectra.
    state : dict or None
        State of the training, to continue it; None if it was loaded.
    """

    network: Any
    representation: Representation
    coordinates: Coordinates
    names: list
    units: list
    n_labels: int
    known: dict
    emulator: str
    snr: tuple
    width: tuple
    options: dict
    history: list
    n_steps: int
    calibration: Calibration | None = None
    novelty: Novelty | None = None
    state: Any = field(default=None, repr=False)

    def answer(self, spectra, *, block=_BLOCK):
        """Evaluate the network for spectra.

        Parameters
        ----------
        spectra : Represented
            Preprocessed spectra of n stars.
        block : int, default=64
            Number of stars per matrix product. Results of a star do not depend on other
            stars, but their last bits may depend on this number.

        Returns
        -------
        answer : Answer
            Output of the network.
        """
        parts = [
            self._evaluate(spectra[slice(i, i + block)], block)
            for i in range(0, max(len(spectra), 1), block)
        ]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        log_weight, mean, root, hidden, left, log_snr = columns
        return Answer(
            Mixtures(log_weight, mean, root),
            self.representation.velocity(spectra.shift),
            hidden,
            left,
            log_snr,
            spectra.n_used.numpy() > 0,
        )

    def represent(self, flux, ivar, wavelength, arm, *, block=_BLOCK):
        """Preprocess spectra with the same pixels.

        Parameters
        ----------
        flux, ivar : ndarray of shape (n, P)
            Flux and inverse variances, 0 for bad pixels.
        wavelength, arm : ndarray of shape (P,) or None
            Wavelengths in Å in the medium of the emulator, and arms of the pixels.
        block : int, default=64
            As in :meth:`answer`.

        Returns
        -------
        spectra : Represented
            Input of the network.
        """
        # flux in cgs units exceeds the range of single precision
        unit = np.abs(np.where(ivar > 0, flux, 0.0)).max(axis=1, keepdims=True)
        if self.representation.degree is None:
            unit = np.ones_like(unit)
        unit = np.where(unit > 0, unit, 1.0)
        layout = self.representation.layout(wavelength, arm)
        parts = []
        for i in range(0, len(flux), block):
            rows = slice(i, i + block)
            n = len(unit[rows])
            values = (flux[rows] / unit[rows], ivar[rows] * unit[rows] ** 2)
            tensors = (
                torch.from_numpy(np.pad(v.astype(np.float32), ((0, block - n), (0, 0))))
                for v in values
            )
            parts.append(self.representation(*tensors, layout)[:n])
        return Represented.join(parts)

    def judge(self, answer):
        """Compute novelty scores of spectra, of shape (n,)."""
        return self.novelty.score(answer.hidden, answer.left, answer.log_snr)

    def calibrated(self, draws):
        """Create a copy with calibration and novelty from held-out spectra.

        Parameters
        ----------
        draws : Draws
            Held-out spectra.

        Returns
        -------
        trained : TrainedPosterior
            The copy.
        """
        answer, z = self.answer(draws.spectra), draws.coordinates.double().numpy()
        rows = range(len(draws))
        mixtures = answer.mixtures
        density = [mixtures.log_density(i, z[[i]])[0] for i in rows]
        distance = [np.sqrt(mixtures.distances(i, z[[i]]).min()) for i in rows]
        return replace(
            self,
            calibration=Calibration(
                mixtures.probability(z),
                float(np.mean(density)),
                float(np.quantile(distance, 0.999)),
                draws.snr,
            ),
            novelty=Novelty.learn(answer.hidden, answer.left, answer.log_snr),
        )

    @fast_products()
    @torch.no_grad()
    def _evaluate(self, spectra, block):
        """Evaluate at most `block` spectra, padded with zeros to `block` rows."""
        n = len(spectra)
        residual, variance = (
            torch.nn.functional.pad(values, (0, 0, 0, block - n))
            for values in (spectra.residual, spectra.variance)
        )
        network = self.network
        projection, log_noise = network.features(residual, variance)
        hidden = network.hidden(projection, log_noise)
        posterior = network.posterior(projection, hidden)
        left = network.left(residual, variance)
        good = variance > 0
        error = torch.where(good, variance, torch.nan).nanmedian(dim=1).values.sqrt()
        log_snr = -(error.nan_to_num(1.0) / self.representation.unit).log()
        columns = (
            posterior.logits.log_softmax(-1),
            posterior.base.loc,
            posterior.base.scale_tril,
            hidden,
            left,
            log_snr,
        )
        return [column[:n].double().numpy() for column in columns]
