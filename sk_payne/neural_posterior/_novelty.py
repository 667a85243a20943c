"""Novelty: scores of spectra that are unlike all training spectra."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict

__all__ = ["Novelty"]

# Largest number of bins of the signal-to-noise ratio for medians and standard
# deviations.
_N_BINS = 8

# Fraction of held-out spectra above the threshold.
_PART = 1e-3

# Ridges of the regression; folds of its cross-validation.
_RIDGES, _N_FOLDS = (1.0, 10.0, 100.0, 1000.0), 5

# Standard deviation of a Gaussian variable over its median absolute deviation.
_ROBUST = 1.4826


@dataclass(frozen=True)
class Novelty:
    """Novelty scores of spectra: the larger of two measures.

    The first measure is the logarithm of chi2 per pixel of the residuals from principal
    components, minus its expectation, since residuals of sharp lines are larger. The
    expectation is a linear regression on the output of the last hidden layer. The
    second measure is the logarithm of the squared Mahalanobis distance of this output
    from its mean. From each, the median of held-out spectra with the same
    signal-to-noise ratio is subtracted; the result is divided by their standard
    deviation.

    Attributes
    ----------
    mean : ndarray of shape (n_hidden,)
        Mean output of the last hidden layer.
    whitening : ndarray of shape (n_hidden, n_hidden)
        Cholesky factor of the inverse of its covariance.
    usual : ndarray of shape (n_hidden + 1,)
        Coefficients of the regression on the whitened output, and its intercept.
    log_snr : ndarray of shape (n_bins,)
        Natural logarithms of signal-to-noise ratios.
    middle, spread : ndarray of shape (n_bins, 2)
        Medians and robust standard deviations of the measures at these ratios.
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
        """Derive regression, medians and threshold from held-out spectra.

        Parameters
        ----------
        hidden : ndarray of shape (n, n_hidden)
            Output of the last hidden layer.
        left : ndarray of shape (n,)
            Reduced chi2 of the residuals from principal components.
        log_snr : ndarray of shape (n,)
            Natural logarithm of the signal-to-noise ratio.
        """
        mean = hidden.mean(axis=0)
        covariance, _ = ledoit_wolf(hidden - mean, assume_centered=True)
        whitening = np.linalg.cholesky(np.linalg.inv(covariance))
        white, log_left = (hidden - mean) @ whitening, _log(left)
        regression = RidgeCV(_RIDGES)
        # expectation for spectra outside the regression
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
        """Compute scores, of shape (n,); arguments as in :meth:`learn`."""
        white = (hidden - self.mean) @ self.whitening
        expected = white @ self.usual[:-1] + self.usual[-1]
        distance = _log((white**2).sum(axis=1))
        measures = np.stack([_log(left) - expected, distance], axis=1)
        return self._scores(measures, log_snr)

    def _scores(self, measures, log_snr):
        """Return the larger of both measures (n, 2) in standard deviations."""
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
