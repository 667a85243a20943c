"""ErrorModel: 1 sigma error of the emulated flux by wavelength and star.

Errors grow several-fold towards the edges of the training box, and towards cool and
carbon-rich stars: one error per wavelength would be wrong for most stars.
"""

from dataclasses import dataclass, replace

import numpy as np

from sk_payne.trained._blocks import row_blocks

__all__ = ["ErrorModel"]

# Fraction of normal errors within one standard deviation.
_ONE_SIGMA = 0.6827

# With fewer held-out spectra, all stars have the same error.
_MIN_SPECTRA = 10

# Largest sample to which the growth is fitted: enough for its few hundred coefficients,
# and neighbouring wavelengths hold the same information.
_MAX_SPECTRA, _MAX_WAVELENGTHS = 4096, 2048

_N_FOLDS = 5

# Smallest error of a star, in units of the median star.
_FLOOR = 1e-3

_PENALTIES = np.logspace(-3, 5, 33)
# Powers of the weights of labels; a large one removes products of weak labels.
_POWERS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class ErrorModel:
    """Standard deviation of the error of an emulator: scale(wavelength) · growth(P).

    The whole state is arrays: ``ErrorModel(**vars(model))`` is a copy.

    Parameters
    ----------
    label_low, label_high : ndarray of shape (n_labels,)
        Limits of the training box, in the units of the labels.
    label_weight : ndarray of shape (n_labels,)
        Weight of each label in the growth, at most 1.
    coefficients : ndarray of shape (1 + n_features,)
        Constant of the logarithm of the growth, then the coefficients of the features.
    log_growth_range : ndarray of shape (2,)
        Smallest and largest logarithm of the growth.
    scale : ndarray of shape (n_wavelengths,)
        1 sigma error at each wavelength for a star with growth one, in the unit of the
        flux; 0 where the emulator was exact.

    Notes
    -----
    ``scale`` is the 68.27 % quantile of absolute errors, each divided by the growth of
    its star: for normal errors it is the standard deviation, and it is robust against
    outliers. The logarithm of the growth is a ridge regression on the Legendre
    polynomials of order one and two of each scaled label, and on the products of two
    labels. The prior variance of a coefficient is a power of the variance that its
    labels explain in a fit without products (an adaptive ridge), so that Teff and [C/H]
    interact freely while labels without effect stay out. Penalty and power minimise the
    leave-one-out error. Penalties are large if there are few spectra.

    One common factor makes 68.27 % of the held-out errors smaller than the model in
    five-fold cross-validation. Beyond the box the growth is that at the nearest edge,
    which is too small there: see :class:`Domain`.

    References
    ----------
    .. [1] Zou, "The Adaptive Lasso and Its Oracle Properties", JASA 101, 1418 (2006),
       for weights from a first fit.
    .. [2] Hastie, Tibshirani & Friedman, "The Elements of Statistical Learning", eq.
       7.64, for the leave-one-out error of a linear fit.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.trained import ErrorModel
    >>> rng = np.random.default_rng(0)
    >>> P = rng.uniform([4000, 4], [6000, 5], (200, 2))
    >>> true = 0.01 * np.exp((5000 - P[:, :1]) / 1000)
    >>> residuals = true * rng.normal(size=(200, 50))
    >>> model = ErrorModel.from_held_out(P, residuals, P.min(axis=0), P.max(axis=0))
    >>> model.std(np.array([[4200.0, 4.5], [5800.0, 4.5]])).mean(axis=1).round(3)
    array([0.022, 0.005])
    """

    label_low: np.ndarray
    label_high: np.ndarray
    label_weight: np.ndarray
    coefficients: np.ndarray
    log_growth_range: np.ndarray
    scale: np.ndarray

    @classmethod
    def from_held_out(cls, labels, residuals, label_low, label_high):
        """Learn the errors from spectra that the emulator was not trained on.

        Parameters
        ----------
        labels : ndarray of shape (n_spectra, n_labels)
            Stellar parameters. From 10 spectra on, errors depend on the star.
        residuals : ndarray of shape (n_spectra, n_wavelengths)
            Predicted minus true flux; read in blocks, and not changed.
        label_low, label_high : ndarray of shape (n_labels,)
            Limits of the training box.

        Returns
        -------
        model : ErrorModel
            The model. Equal spectra give equal models.

        Raises
        ------
        ValueError
            If shapes do not agree, there is no spectrum, or a value is not finite.
        """
        labels, low, high = (
            np.asarray(array, np.float64) for array in (labels, label_low, label_high)
        )
        residuals = np.asarray(residuals)
        _check_held_out(labels, residuals, low, high)
        scaled = _scale_labels(labels, low, high)
        # shuffled, as every fifth star of a grid may be alike
        order = np.random.default_rng(0).permutation(len(labels))[:_MAX_SPECTRA]
        scale = _scale_of(residuals, np.ones(len(labels)))
        busy = np.flatnonzero(scale)
        busy = busy[:: max(1, -(-len(busy) // _MAX_WAVELENGTHS))]
        sample = np.abs(residuals[np.ix_(order, busy)].astype(np.float64))
        growth = _fit_growth(scaled[order], sample)
        factor = _cross_validated_factor(scaled[order], sample)
        scale = factor * _scale_of(residuals, _growth(scaled, *growth))
        return cls(low, high, *growth, scale)

    def slice_grid(self, pixels):
        """Return the errors at a part of the wavelengths.

        Parameters
        ----------
        pixels : slice
            The wavelengths.

        Returns
        -------
        model : ErrorModel
            The same errors there.
        """
        return replace(self, scale=self.scale[pixels])

    def growth(self, labels):
        """Return the growth of stars: their error relative to `scale`.

        Parameters
        ----------
        labels : ndarray of shape (n_spectra, n_labels)
            Stellar parameters.

        Returns
        -------
        growth : ndarray of shape (n_spectra,), float64
            Growth, positive.

        Raises
        ------
        ValueError
            If the number of labels is not that of the training.
        """
        labels = np.asarray(labels)
        if labels.ndim != 2 or labels.shape[1] != len(self.label_low):
            raise ValueError(
                f"`labels` must have shape (n_spectra, {len(self.label_low)}); got "
                f"{labels.shape}."
            )
        return _growth(
            _scale_labels(labels, self.label_low, self.label_high),
            self.label_weight,
            self.coefficients,
            self.log_growth_range,
        )

    def std(self, labels, grid=None, wavelength=None):
        """Return the standard deviation of the error of the flux.

        Parameters
        ----------
        labels : ndarray of shape (n_spectra, n_labels)
            Stellar parameters.
        grid : ndarray of shape (n_wavelengths,), default=None
            Wavelengths of the held-out spectra; needed with `wavelength`.
        wavelength : ndarray of shape (n,), default=None
            Wavelengths of the result, by linear interpolation; those of the held-out
            spectra if None.

        Returns
        -------
        std : ndarray of shape (n_spectra, n_wavelengths)
            Standard deviation in the unit of the flux; float32 for float32 labels, else
            float64.

        Raises
        ------
        ValueError
            If the number of labels is not that of the training.
        """
        labels = np.asarray(labels)
        dtype = np.float32 if labels.dtype == np.float32 else np.float64
        scale = self.scale
        if wavelength is not None:
            scale = np.interp(wavelength, grid, scale)
        growth = self.growth(labels).astype(dtype)
        return growth[:, None] * scale.astype(dtype)


def _check_held_out(labels, residuals, low, high):
    shapes_agree = (
        labels.ndim == residuals.ndim == 2
        and len(labels) == len(residuals) > 0
        and low.shape == high.shape == labels.shape[1:]
    )
    if not shapes_agree:
        raise ValueError(
            "`labels` (n_spectra, n_labels), `residuals` (n_spectra, n_wavelengths) "
            "and the box (n_labels,) do not agree, or are empty; got shapes "
            f"{labels.shape}, {residuals.shape}, {low.shape} and {high.shape}."
        )
    if not np.isfinite(labels).all():
        raise ValueError("`labels` must be finite.")
    for block in row_blocks(residuals.shape[1], len(residuals)):
        if not np.isfinite(residuals[:, block]).all():
            raise ValueError("`residuals` must be finite.")


def _scale_labels(labels, low, high):
    """Scale labels to -1..1 over the box, and clip them there."""
    half_width = np.where(high > low, (high - low) / 2, 1.0)
    return np.clip((labels - (low + high) / 2) / half_width, -1, 1)


def _scale_of(residuals, growth):
    """Return the 68.27 % quantile of absolute error / growth at each wavelength."""
    scale = np.empty(residuals.shape[1])
    for block in row_blocks(residuals.shape[1], len(residuals)):
        relative = np.abs(residuals[:, block]) / growth[:, None]
        scale[block] = np.quantile(relative, _ONE_SIGMA, axis=0, overwrite_input=True)
    return scale


def _features(scaled, weight):
    """Return Legendre polynomials and products of labels, times root weights."""
    first, second = np.triu_indices(scaled.shape[1], 1)
    root = np.sqrt(weight)
    linear = scaled * root
    quadratic = (1.5 * scaled**2 - 0.5) * root
    products = linear[:, first] * linear[:, second]
    return np.concatenate([linear, quadratic, products], axis=1)


def _growth(scaled, weight, coefficients, log_range):
    log_growth = coefficients[0] + _features(scaled, weight) @ coefficients[1:]
    return np.exp(np.clip(log_growth, *log_range))


def _fit_growth(scaled, errors):
    """Fit the growth: weights of labels, coefficients, and range of the logarithm."""
    n_labels = scaled.shape[1]
    weight = np.ones(n_labels)
    scale = np.quantile(errors, _ONE_SIGMA, axis=0)
    has_errors = scale > 0
    if len(scaled) < _MIN_SPECTRA or not has_errors.any():
        n_features = n_labels * (n_labels + 3) // 2
        return weight, np.zeros(1 + n_features), np.zeros(2)
    mean_error = (errors[:, has_errors] / scale[has_errors]).mean(axis=1)
    target = np.log(np.maximum(mean_error, _FLOOR * np.median(mean_error)))
    # variance that each label explains by itself, from those of Legendre polynomials
    additive = _features(scaled, weight)[:, : 2 * n_labels]
    slope = _ridge(additive, target)[1][1:]
    explained = slope[:n_labels] ** 2 / 3 + slope[n_labels:] ** 2 / 5
    if explained.max() > 0:
        weight = explained / explained.max()
    fits = [_ridge(_features(scaled, weight**power), target) for power in _POWERS]
    best = int(np.argmin([error for error, _ in fits]))
    log_range = np.array([target.min(), target.max()])
    return weight ** _POWERS[best], fits[best][1], log_range


def _ridge(features, target):
    """Return the least leave-one-out error, and the coefficients of its ridge fit."""
    center, mean = features.mean(axis=0), target.mean()
    left, singular, right = np.linalg.svd(features - center, full_matrices=False)
    projected = left.T @ (target - mean)
    # one column for each penalty
    square = singular[:, None] ** 2
    kept = square / (square + _PENALTIES)
    leverage = left**2 @ kept + 1 / len(target)
    fitted = left @ (kept * projected[:, None])
    left_out = (target[:, None] - mean - fitted) / np.maximum(1 - leverage, 1e-9)
    error = np.mean(left_out**2, axis=0)
    best = int(np.argmin(error))
    shrunk = singular / (singular**2 + _PENALTIES[best]) * projected
    slope = right.T @ shrunk
    return error[best], np.concatenate([[mean - center @ slope], slope])


def _cross_validated_factor(scaled, errors):
    """Return the ratio of true to modelled errors for stars that were left out."""
    n = len(scaled)
    if n < 2 or not errors.size:
        return 1.0
    ratio = np.empty_like(errors)
    fold = np.arange(n) % min(_N_FOLDS, n)
    for number in range(fold.max() + 1):
        out = fold == number
        growth = _fit_growth(scaled[~out], errors[~out])
        scale = _scale_of(errors[~out], _growth(scaled[~out], *growth))
        std = _growth(scaled[out], *growth)[:, None] * scale
        # where the other folds have no error, no factor is large enough
        beyond = np.where(errors[out] > 0, np.inf, 0.0)
        ratio[out] = np.divide(errors[out], std, out=beyond, where=std > 0)
    factor = np.quantile(ratio, _ONE_SIGMA, method="lower")
    return float(factor) if np.isfinite(factor) and factor > 0 else 1.0
