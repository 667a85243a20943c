"""Novelty: whether a spectrum looks like any that the network was trained on."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict

__all__ = ["Novelty"]

# Bins of the signal-to-noise ratio in which measures are judged.
_N_BINS = 8

# Part of held-out spectra that count as novel.
_PART = 1e-3

# Ridges of the regression, and parts of the spectra that are left out in turn.
_RIDGES, _N_FOLDS = (1.0, 10.0, 100.0, 1000.0), 5

# A robust standard deviation is this times the median absolute deviation.
_ROBUST = 1.4826


@dataclass(frozen=True)
class Novelty:
    """Judge of spectra by two measures, each compared with held-out spectra.

    The first is chi2 of what the principal components leave of the spectrum, in units
    of its pixels, over what is usual for such a star: sharp lines leave more. That
    follows by a linear regression of its logarithm on the output of the last hidden
    layer. The second is the Mahalanobis distance of this output from its mean. Both are
    logarithms, minus their medians at the signal-to-noise ratio of the spectrum, in
    units of the standard deviation there. The score is the larger one.

    Attributes
    ----------
    mean : ndarray of shape (n_hidden,)
        Mean output of the last hidden layer.
    whitening : ndarray of shape (n_hidden, n_hidden)
        Cholesky factor of the inverse of its covariance.
    usual : ndarray of shape (n_hidden + 1,)
        Coefficients of the regression on the whitened output, and its intercept.
    log_snr : ndarray of shape (n_bins,)
        Logarithms of signal-to-noise ratios.
    middle, spread : ndarray of shape (n_bins, 2)
        Medians and standard deviations of the measures there.
    threshold : float
        Score that one in a thousand held-out spectra exceeds.
    """

    mean: np.ndarray
    whitening: np.ndarray
    usual: np.ndarray
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
        white, log_left = (hidden - mean) @ whitening, _log(left)
        regression = RidgeCV(_RIDGES)
        # as for stars that the regression does not know
        expected = cross_val_predict(regression, white, log_left, cv=_N_FOLDS)
        regression.fit(white, log_left)
        usual = np.append(regression.coef_, regression.intercept_)
        measures = np.stack([log_left - expected, _log((white**2).sum(axis=1))], axis=1)
        n_bins = int(np.clip(len(left) // 50, 1, _N_BINS))
        edges = np.quantile(log_snr, np.linspace(0, 1, n_bins + 1))
        number = np.clip(np.searchsorted(edges, log_snr) - 1, 0, n_bins - 1)
        places, middle, spread = [], [], []
        for i in range(n_bins):
            own = measures[number == i]
            places.append(log_snr[number == i].mean())
            middle.append(np.median(own, axis=0))
            spread.append(_ROBUST * np.median(np.abs(own - middle[-1]), axis=0))
        arrays = np.array(places), np.array(middle), np.maximum(spread, 1e-9)
        found = cls(mean, whitening, usual, *arrays, 0.0)
        scores = found._scores(measures, log_snr)
        return replace(found, threshold=float(np.quantile(scores, 1 - _PART)))

    def score(self, hidden, left, log_snr):
        """Give the scores of spectra, of shape (n,); arguments as in :meth:`learn`."""
        white = (hidden - self.mean) @ self.whitening
        expected = white @ self.usual[:-1] + self.usual[-1]
        distance = _log((white**2).sum(axis=1))
        measures = np.stack([_log(left) - expected, distance], axis=1)
        return self._scores(measures, log_snr)

    def _scores(self, measures, log_snr):
        """Give the larger of both measures (n, 2) in standard deviations."""
        found = [
            (measure - np.interp(log_snr, self.log_snr, middle))
            / np.interp(log_snr, self.log_snr, spread)
            for measure, middle, spread in zip(
                measures.T, self.middle.T, self.spread.T, strict=True
            )
        ]
        return np.maximum(*found)


def _log(values):
    return np.log(np.maximum(values, 1e-12))
