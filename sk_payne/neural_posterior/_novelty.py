"""Novelty: whether a spectrum looks like any that the network was trained on."""

from dataclasses import dataclass

import numpy as np
from sklearn.covariance import ledoit_wolf

__all__ = ["Novelty"]

# Bins of the signal-to-noise ratio in which measures are judged.
_N_BINS = 8

# Part of held-out spectra that count as novel.
_PART = 1e-3

# A robust standard deviation is this times the median absolute deviation.
_ROBUST = 1.4826


@dataclass(frozen=True)
class Novelty:
    """Judge of spectra by two measures, each compared with held-out spectra.

    The first is chi2 of what the principal components leave of the spectrum, in units
    of its pixels; the second is the Mahalanobis distance of the output of the last
    hidden layer from its mean. Both are logarithms, minus their medians at the
    signal-to-noise ratio of the spectrum, in units of the standard deviation there. The
    score is the larger one.

    Attributes
    ----------
    mean : ndarray of shape (n_hidden,)
        Mean output of the last hidden layer.
    whitening : ndarray of shape (n_hidden, n_hidden)
        Cholesky factor of the inverse of its covariance.
    log_snr : ndarray of shape (n_bins,)
        Logarithms of signal-to-noise ratios.
    middle, spread : ndarray of shape (n_bins, 2)
        Medians and standard deviations of the measures there.
    threshold : float
        Score that one in a thousand held-out spectra exceeds.
    """

    mean: np.ndarray
    whitening: np.ndarray
    log_snr: np.ndarray
    middle: np.ndarray
    spread: np.ndarray
    threshold: float

    @classmethod
    def learn(cls, hidden, left, log_snr):
        """Learn from held-out spectra.

        Parameters
        ----------
        hidden : ndarray of shape (n, n_hidden)
            Output of the last hidden layer.
        left : ndarray of shape (n,)
            Reduced chi2 of what principal components leave.
        log_snr : ndarray of shape (n,)
            Logarithm of the signal-to-noise ratio.
        """
        mean = hidden.mean(axis=0)
        covariance, _ = ledoit_wolf(hidden - mean, assume_centered=True)
        whitening = np.linalg.cholesky(np.linalg.inv(covariance))
        n_bins = int(np.clip(len(left) // 50, 1, _N_BINS))
        edges = np.quantile(log_snr, np.linspace(0, 1, n_bins + 1))
        number = np.clip(np.searchsorted(edges, log_snr) - 1, 0, n_bins - 1)
        measures = _measures(hidden, left, mean, whitening)
        places, middle, spread = [], [], []
        for i in range(n_bins):
            own = measures[number == i]
            places.append(log_snr[number == i].mean())
            middle.append(np.median(own, axis=0))
            spread.append(_ROBUST * np.median(np.abs(own - middle[-1]), axis=0))
        arrays = np.array(places), np.array(middle), np.maximum(spread, 1e-9)
        found = cls(mean, whitening, *arrays, 0.0)
        scores = found.score(hidden, left, log_snr)
        return cls(mean, whitening, *arrays, float(np.quantile(scores, 1 - _PART)))

    def score(self, hidden, left, log_snr):
        """Give the scores of spectra, of shape (n,); arguments as in :meth:`learn`."""
        measures = _measures(hidden, left, self.mean, self.whitening)
        found = [
            (measure - np.interp(log_snr, self.log_snr, middle))
            / np.interp(log_snr, self.log_snr, spread)
            for measure, middle, spread in zip(
                measures.T, self.middle.T, self.spread.T, strict=True
            )
        ]
        return np.maximum(*found)


def _measures(hidden, left, mean, whitening):
    """Give the logarithms of both measures, of shape (n, 2)."""
    distance2 = (((hidden - mean) @ whitening) ** 2).sum(axis=1)
    both = np.stack([left, distance2], axis=1)
    return np.log(np.maximum(both, 1e-12))
