"""LabelErrors: covariance of fitted labels that the error of an emulator causes.

Errors of an emulator are correlated along a spectrum. They resemble changes of labels,
and displace the labels of a fit. The covariance is measured on the held-out spectra.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from sk_payne.trained._label_displacements import LABEL_PRIOR, LabelDisplacements

__all__ = ["FEWEST_SPECTRA", "LabelErrors"]

# Smallest number of held-out spectra from which the covariance is measured.
FEWEST_SPECTRA = 10

# Smallest number of spectra for which errors of single labels are adjusted.
_MIN_ADJUSTED = 50

# Lognormal priors: median and standard deviation of the mean scatter (in half widths)
# and of the mean inflation, and standard deviation of labels around these means.
_SCATTER, _INFLATION, _AROUND = (0.02, 1.5), (2.0, 1.0), 0.7
# Normal prior of the exponent: mean and standard deviation.
_EXPONENT = (0.8, 0.2)

# Standard deviation of the normal prior of coefficients of the growth; median and
# standard deviation of the lognormal prior of the degrees of freedom beyond 4.
_GROWTH, _FREEDOM = 0.3, (10.0, 1.0)

_MAX_ITERATIONS = 150

# Limits of the logarithms of parameters, and of the exponent itself.
_LIMITS = {
    "scatter": (-12.0, 2.0),
    "inflation": (-4.0, 6.0),
    "exponent": (0.0, 2.0),
    "freedom": (-2.0, 6.0),
}
_LARGEST_GROWTH = 6.0

# Added to variances, as the displacement of a label may be zero.
_LEAST = 1e-10

# Fractions of a Gaussian within one and two standard deviations.
_ONE_SIGMA, _TWO_SIGMA = 0.6827, 0.9545

# Values of `independence` that are tried.
_INDEPENDENCE = np.linspace(0.0, 1.0, 101)

# Limits of the factors by which errors of single labels are adjusted.
_SMALLEST, _LARGEST = 0.5, 2.0


@dataclass(frozen=True)
class LabelErrors:
    r"""Covariance of fitted labels that the error of an emulator causes.

    The whole state is arrays: ``LabelErrors(**vars(errors))`` is a copy. Labels are in
    half widths of the training box.

    Parameters
    ----------
    scatter : ndarray of shape (n_labels,)
        Standard deviation s of an error that does not depend on the spectrum.
    inflation : ndarray of shape (n_labels,)
        Factor d on the errors of labels for independent errors of the flux.
    exponent : ndarray of shape (1,)
        Exponent :math:`\gamma` of the fraction of wavelengths that is used.
    growth : ndarray of shape (2 * n_labels,)
        Coefficients of the logarithm of the variance for Legendre polynomials of order
        one and two of each label.
    log_growth_range : ndarray of shape (2,)
        Smallest and largest logarithm of the variance.
    degrees_of_freedom : ndarray of shape (1,)
        Degrees of freedom of the multivariate t distribution of displacements.
    independence : ndarray of shape (1,), default=[0]
        Fraction :math:`\lambda` of the variances that is not correlated between
        labels; 0 in files of earlier versions.

    Notes
    -----
    For a star with labels p, fitted on a fraction f of the wavelengths, displacements
    have the covariance

    .. math:: E = (1 - \lambda) M + \lambda\,\mathrm{diag}(M), \quad
        M = g(p) \left(\mathrm{diag}(s^2) + f^\gamma D B D\right), \quad
        B = \left(J S^{-2} J^T + 1\right)^{-1} ,

    with the growth g, :math:`D = \mathrm{diag}(d)`, derivatives J of the flux by the
    labels at these wavelengths and at the resolution of the emulator, and the 1 sigma
    errors S of the flux (:class:`ErrorModel`). B is the covariance for independent
    errors of pixels; it is large for labels with weak lines. As E follows from J, it
    holds for any wavelength range, mask and resolving power, and for any set of free
    labels.

    The parameters maximise the likelihood of the displacements
    :math:`(J W J^T)^{-1} J W e` from the errors e of held-out spectra, over all
    wavelengths and over windows of a third and a half of them, under a multivariate t
    distribution [1]_ with weak priors. Scatter and inflation of each label are then
    adjusted so that the geometric mean of the 68.27 % and half the 95.45 % quantile of
    its displacements is one standard deviation. Errors of the emulator resemble changes
    of labels less perfectly than B says: correlations are reduced by the factor
    :math:`1 - \lambda` of the largest likelihood. Both steps use displacements of fits,
    which exceed the linear ones for weak labels.

    References
    ----------
    .. [1] Lange, Little & Taylor, "Robust statistical modeling using the t
       distribution", JASA 84, 881, 1989.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.trained import LabelErrors
    >>> errors = LabelErrors(
    ...     scatter=np.array([0.03, 0.0]),
    ...     inflation=np.array([2.0, 2.0]),
    ...     exponent=np.array([0.8]),
    ...     growth=np.zeros(4),
    ...     log_growth_range=np.zeros(2),
    ...     degrees_of_freedom=np.array([15.0]),
    ... )
    >>> information = np.diag([2499.0, 99.0])[None]
    >>> covariance = errors.covariance(np.zeros((1, 2)), information, np.ones(1))
    >>> np.sqrt(np.diagonal(covariance[0])).round(2)
    array([0.05, 0.2 ])
    """

    scatter: np.ndarray
    inflation: np.ndarray
    exponent: np.ndarray
    growth: np.ndarray
    log_growth_range: np.ndarray
    degrees_of_freedom: np.ndarray
    independence: np.ndarray = field(default_factory=lambda: np.zeros(1))

    @classmethod
    def measure(cls, module, error_model, labels, flux, rows):
        """Measure the covariance on held-out spectra.

        Parameters
        ----------
        module : TorchEmulator
            The trained emulator.
        error_model : ErrorModel
            1 sigma errors of its flux.
        labels : ndarray of shape (n_held_out, n_labels)
            Stellar parameters of the held-out spectra.
        flux : TrainingFlux of shape (n_spectra, n_wavelengths)
            Flux of all spectra.
        rows : ndarray of shape (n_held_out,), int
            Rows of the held-out spectra.

        Returns
        -------
        errors : LabelErrors or None
            None if there are fewer than ten spectra, or the emulator is exact on them.
        """
        if len(rows) < FEWEST_SPECTRA or not error_model.scale.any():
            return None
        return cls.from_displacements(
            LabelDisplacements.measure(module, error_model, labels, flux, rows)
        )

    @classmethod
    def from_displacements(cls, displacements):
        """Fit the covariance to displacements of held-out spectra.

        Parameters
        ----------
        displacements : LabelDisplacements
            Displacements of labels.

        Returns
        -------
        errors : LabelErrors
            The most likely covariance.
        """
        errors = _most_likely(displacements)
        if len(displacements) >= _MIN_ADJUSTED:
            errors = errors._adjusted(displacements)
            errors = errors._less_correlated(displacements)
        return errors

    def covariance(self, labels, information, part):
        """Return the covariance of the labels of stars.

        Parameters
        ----------
        labels : ndarray of shape (n, n_labels)
            Labels in half widths of the training box from its middle.
        information : ndarray of shape (n, n_labels, n_labels)
            Fisher information :math:`J S^{-2} J^T` over the wavelengths that are used;
            zero for labels that are not free.
        part : ndarray of shape (n,)
            Fraction of all wavelengths that is used.

        Returns
        -------
        covariance : ndarray of shape (n, n_labels, n_labels)
            Covariance in half widths of the training box.
        """
        unit = np.eye(information.shape[-1])
        # rounding in single precision may make eigenvalues negative
        value, vector = np.linalg.eigh(information)
        value = 1 / (value.clip(0) + LABEL_PRIOR) * part[:, None] ** self.exponent
        independent = (vector * value[:, None]) @ vector.transpose(0, 2, 1)
        both = self.inflation[:, None] * independent * self.inflation
        both = both + self.scatter**2 * unit
        log_growth = np.clip(_features(labels) @ self.growth, *self.log_growth_range)
        return _reduced(np.exp(log_growth)[:, None, None] * both, self.independence)

    def _adjusted(self, displacements):
        """Adjust errors of single labels to quantiles of their displacements."""
        sample = displacements.fitted
        covariance = self.covariance(sample.labels, sample.information, sample.part)
        variance = np.diagonal(covariance, axis1=1, axis2=2)
        independent = np.diagonal(sample.independent, axis1=1, axis2=2)
        factor = np.ones(len(self.scatter))
        for _ in range(10):
            std = np.sqrt(factor**2 * variance + independent)
            ratio = np.abs(sample.displacement) / std
            one, two = np.quantile(ratio, (_ONE_SIGMA, _TWO_SIGMA), axis=0)
            factor = np.clip(factor * np.sqrt(one * two / 2), _SMALLEST, _LARGEST)
        return LabelErrors(
            **vars(self)
            | {
                "scatter": factor * self.scatter,
                "inflation": factor * self.inflation,
            }
        )

    def _less_correlated(self, displacements):
        """Reduce correlations until displacements of fits are most likely."""
        sample = displacements.fitted
        covariance = self.covariance(sample.labels, sample.information, sample.part)
        displacement = torch.from_numpy(sample.displacement)
        freedom = torch.from_numpy(self.degrees_of_freedom)
        likelihood = []
        for independence in _INDEPENDENCE:
            total = _reduced(covariance, independence) + sample.independent
            density = _log_density(displacement, torch.from_numpy(total), freedom)
            likelihood.append(float(density.mean()))
        independence = _INDEPENDENCE[[np.argmax(likelihood)]]
        return LabelErrors(**vars(self) | {"independence": independence})


def _reduced(covariance, independence):
    """Reduce correlations by a factor of one minus `independence`."""
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    uncorrelated = variance[:, :, None] * np.eye(covariance.shape[-1])
    return covariance + independence * (uncorrelated - covariance)


def _features(labels):
    """Return Legendre polynomials (order one and two) of labels, clipped to the box."""
    labels = np.clip(labels, -1, 1)
    return np.concatenate([labels, 1.5 * labels**2 - 0.5], axis=1)


def _most_likely(displacements):
    """Maximise the posterior probability of all parameters."""
    stars = _Stars(displacements.samples())
    n_labels = displacements.labels.shape[1]
    start = {
        "scatter": np.full(n_labels, math.log(_SCATTER[0])),
        "inflation": np.full(n_labels, math.log(_INFLATION[0])),
        "exponent": np.array(_EXPONENT[0]),
        "growth": np.zeros(2 * n_labels),
        "freedom": np.array(math.log(_FREEDOM[0])),
    }
    values = {k: torch.from_numpy(v).requires_grad_() for k, v in start.items()}
    optimizer = torch.optim.LBFGS(
        list(values.values()), max_iter=_MAX_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def objective():
        optimizer.zero_grad()
        likelihood = stars.log_likelihood(_parameters(values))
        loss = _penalty(values) / len(displacements) - stars.weight @ likelihood
        loss.backward()
        return loss

    optimizer.step(objective)
    with torch.no_grad():
        parameters = _parameters(values)
    parameters = {k: np.atleast_1d(v.detach().numpy()) for k, v in parameters.items()}
    log_growth = _features(displacements.labels) @ parameters["growth"]
    log_growth_range = np.array([log_growth.min(), log_growth.max()])
    return LabelErrors(**parameters, log_growth_range=log_growth_range)


def _parameters(values):
    """Return parameters from their logarithms, within limits."""
    log = {k: values[k].clamp(*limits) for k, limits in _LIMITS.items()}
    return {
        "scatter": log["scatter"].exp(),
        "inflation": log["inflation"].exp(),
        "exponent": log["exponent"],
        "growth": values["growth"],
        # above 4, so that squared distances have a variance
        "degrees_of_freedom": 4 + log["freedom"].exp(),
    }


class _Stars:
    """Displacements of the stars of all samples, and constants of their likelihood."""

    def __init__(self, samples):
        labels, self.displacement, self.noise, information, part = (
            torch.from_numpy(np.concatenate(values))
            for values in zip(*samples, strict=True)
        )
        # mean over the stars of a sample, then over samples
        weight = [np.full(len(s.part), 1 / len(s.part)) for s in samples]
        self.weight = torch.from_numpy(np.concatenate(weight) / len(samples))
        self.features = torch.from_numpy(_features(labels.numpy()))
        self.unit = torch.from_numpy(np.eye(len(information[0])))
        self.independent = torch.linalg.inv(information + LABEL_PRIOR * self.unit)
        self.log_part = part.log()

    def log_likelihood(self, values):
        """Return the log density (multivariate t) of each star, up to a constant."""
        inflation = values["inflation"]
        shrunk = (values["exponent"] * self.log_part).exp()[:, None, None]
        covariance = inflation[:, None] * self.independent * inflation * shrunk
        covariance = covariance + torch.diag(values["scatter"] ** 2)
        log_growth = self.features @ values["growth"]
        log_growth = log_growth.clamp(-_LARGEST_GROWTH, _LARGEST_GROWTH)
        covariance = log_growth.exp()[:, None, None] * covariance + self.noise
        return _log_density(self.displacement, covariance, values["degrees_of_freedom"])


def _log_density(displacement, covariance, freedom):
    """Return the log density (multivariate t) of each star, up to a constant."""
    n = displacement.shape[1]
    unit = displacement.new_ones(n).diag()
    root = torch.linalg.cholesky(covariance + _LEAST * unit)
    white = torch.linalg.solve_triangular(root, displacement[..., None], upper=False)
    distance = (white**2).sum((1, 2))
    log_size = root.diagonal(dim1=1, dim2=2).log().sum(1)
    return (
        torch.lgamma((freedom + n) / 2)
        - torch.lgamma(freedom / 2)
        - n / 2 * (freedom - 2).log()
        - log_size
        - (freedom + n) / 2 * torch.log1p(distance / (freedom - 2))
    )


def _penalty(values):
    """Return minus the logarithm of the priors, up to a constant."""
    total = ((values["exponent"] - _EXPONENT[0]) / _EXPONENT[1]) ** 2
    total = total + (values["growth"] / _GROWTH).square().sum()
    total = total + ((values["freedom"] - math.log(_FREEDOM[0])) / _FREEDOM[1]) ** 2
    for name, (median, spread) in (("scatter", _SCATTER), ("inflation", _INFLATION)):
        mean = values[name].mean()
        total = total + ((mean - math.log(median)) / spread) ** 2
        total = total + ((values[name] - mean) / _AROUND).square().sum()
    return total / 2
