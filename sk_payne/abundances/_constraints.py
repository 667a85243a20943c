"""Fixed values and Gaussian priors of the parameters of each star."""

from dataclasses import dataclass

import numpy as np

from sk_payne.inputs import read_mapping, to_floats

__all__ = ["Constraints"]


@dataclass
class Constraints:
    """Fixed parameters and Gaussian priors of n stars.

    Attributes
    ----------
    value : ndarray of shape (n, n_parameters)
        Values of fixed parameters, NaN for free ones.
    mean, error : ndarray of shape (n, n_parameters)
        Means and standard deviations of the priors; infinite without a prior.
    """

    value: np.ndarray
    mean: np.ndarray
    error: np.ndarray

    @classmethod
    def of_stars(cls, parameters, n, fixed, priors):
        """Read the arguments `fixed` and `priors`.

        Parameters
        ----------
        parameters : Parameters
            Parameters of the fit; equal limits fix one, and one may have a prior.
        n : int
            Number of stars.
        fixed : mapping of str to float or array-like of shape (n,), or None
            Values; NaN or masked values leave the parameter of a star free.
        priors : mapping of str to tuple of float or array-like of shape (n,), or None
            Mean and standard deviation; masked values mean no prior for that star.

        Returns
        -------
        constraints : Constraints
            Constraints of all stars.

        Raises
        ------
        ValueError
            If a name is unknown, or a value is not allowed.
        """
        shape, names = (n, len(parameters)), parameters.names
        result = cls(np.full(shape, np.nan), np.zeros(shape), np.full(shape, np.inf))
        for i, parameter in enumerate(parameters):
            if parameter.low >= parameter.high:
                result.value[:, i] = parameter.low
            if parameter.prior is not None:
                argument = f"prior of the parameter {parameter.name!r}"
                result._set_prior(i, argument, parameter.prior, parameter.unit)
        for name, value in read_mapping(fixed, argument="fixed", names=names).items():
            i = parameters.index(name)
            result._fix(i, f"fixed[{name!r}]", value, parameters.every[i])
        for name, value in read_mapping(priors, argument="priors", names=names).items():
            i = parameters.index(name)
            unit = parameters.every[i].unit
            result._set_prior(i, f"priors[{name!r}]", value, unit)
        return result

    def of(self, rows):
        """Return the constraints of some stars."""
        return Constraints(self.value[rows], self.mean[rows], self.error[rows])

    def only(self, columns):
        """Return the constraints of some parameters."""
        return Constraints(*(v[:, columns] for v in vars(self).values()))

    @property
    def is_fixed(self):
        """True for fixed parameters, of shape (n, n_parameters)."""
        return np.isfinite(self.value)

    def _fix(self, i, argument, value, parameter):
        low, high = parameter.low, parameter.high
        column = _per_star(argument, value, len(self.value), parameter.unit)
        outside = (column < low) | (column > high)
        if outside.any():
            raise ValueError(
                f"`{argument}` must be between {low:g} and {high:g}, where the model "
                f"is known; got {np.extract(outside, column)[0]:g}."
            )
        self.value[:, i] = np.where(np.isnan(column), self.value[:, i], column)

    def _set_prior(self, i, argument, value, unit):
        if not isinstance(value, list | tuple | np.ndarray) or len(value) != 2:
            raise ValueError(
                f"`{argument}` must be a mean and a standard deviation; got "
                f"{value!r}. Limits go into `bounds`."
            )
        n = len(self.value)
        mean = _per_star(argument, value[0], n, unit)
        error = _per_star(argument, value[1], n, unit, is_difference=True)
        # NaN for all stars is a mistake, NaN among many values means no prior
        unknown = np.zeros(n, dtype=bool)
        for column in (mean, error):
            unknown |= np.isnan(column) & (column.ndim == 1)
        none = unknown | np.isinf(error)
        good = none | np.isfinite(mean) & (error > 0)
        if not good.all():
            mean, error = (
                np.broadcast_to(column, n)[~good] for column in (mean, error)
            )
            raise ValueError(
                f"`{argument}` must have finite means and positive standard "
                f"deviations, infinite for none; got {mean[0]:g} and {error[0]:g}."
            )
        self.mean[:, i] = np.where(none, 0.0, mean)
        self.error[:, i] = np.where(none, np.inf, error)


def _per_star(argument, value, n, unit, **options):
    """Read one number, or one per star; masked values become NaN."""
    try:
        value = to_floats(
            value, argument=argument, unit=unit, missing=np.nan, **options
        )
    except TypeError as error:
        raise ValueError(str(error)) from error
    if value.shape not in ((), (n,)):
        raise ValueError(
            f"`{argument}` must be one number, or one for each of the {n} stars; got "
            f"the shape {value.shape}."
        )
    return value
