"""What is known of stars before their spectra are looked at: fixed values and priors.

It is here to translate what users say by name into numbers for every star.
"""

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
        Of fixed parameters, NaN for the others.
    mean, error : ndarray of shape (n, n_parameters)
        Of the priors; an infinite error is none.
    """

    value: np.ndarray
    mean: np.ndarray
    error: np.ndarray

    @classmethod
    def from_mappings(cls, names, units, n, fixed, priors, low, high):
        """Take what a user says.

        Parameters
        ----------
        names, units : list of str
            Of the parameters.
        n : int
            Stars.
        fixed : mapping of str to float or array-like of shape (n,), or None
            Values; NaN and masked ones leave the parameter of a star free.
        priors : mapping of str to tuple of float or array-like of shape (n,), or None
            Mean and standard deviation; stars for which one is masked have none.
        low, high : ndarray of shape (n_parameters,)
            Within which fixed values must be. A parameter whose limits are alike is
            fixed.

        Returns
        -------
        constraints : Constraints
            Of every star.

        Raises
        ------
        ValueError
            If a name is unknown, or a value is not allowed.
        """
        shape = n, len(names)
        found = cls(np.full(shape, np.nan), np.zeros(shape), np.full(shape, np.inf))
        found.value[:, low >= high] = low[low >= high]
        for name, value in read_mapping(fixed, argument="fixed", names=names).items():
            i = names.index(name)
            found._fix(i, f"fixed[{name!r}]", value, units[i], low[i], high[i])
        for name, value in read_mapping(priors, argument="priors", names=names).items():
            i = names.index(name)
            found._set_prior(i, f"priors[{name!r}]", value, units[i])
        return found

    def of(self, rows):
        """Constraints of some of the stars."""
        return Constraints(self.value[rows], self.mean[rows], self.error[rows])

    def only(self, columns):
        """Constraints of some of the parameters."""
        return Constraints(*(v[:, columns] for v in vars(self).values()))

    @property
    def is_fixed(self):
        """Which parameters are fixed, of shape (n, n_parameters)."""
        return np.isfinite(self.value)

    def _fix(self, i, argument, value, unit, low, high):
        column = _per_star(argument, value, len(self.value), unit)
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
        # one NaN for all stars is a slip, one among many says that it is not known
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
    """Give one number, or one for each star, with NaN for what is masked."""
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
