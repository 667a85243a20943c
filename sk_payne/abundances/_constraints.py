"""What is known of stars before their spectra are looked at: fixed values and priors.

It is here to translate what users say by name into numbers for every star.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sk_payne.exceptions import did_you_mean

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
    def from_mappings(cls, names, n, fixed, priors, low, high):
        """Take what a user says.

        Parameters
        ----------
        names : list of str
            Of the parameters.
        n : int
            Stars.
        fixed : mapping of str to float or array-like of shape (n,), or None
            Values; NaN leaves the parameter of a star free.
        priors : mapping of str to tuple of float or array-like of shape (n,), or None
            Mean and standard deviation.
        low, high : ndarray of shape (n_parameters,)
            Within which fixed values must be.

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
        for name, value in _items("fixed", fixed, names):
            i = names.index(name)
            column = _per_star(f"fixed[{name!r}]", value, n)
            outside = (column < low[i]) | (column > high[i])
            if outside.any():
                raise ValueError(
                    f"`fixed[{name!r}]` must be between {low[i]:g} and {high[i]:g}, "
                    f"where the model is known; got {column[outside][0]:g}."
                )
            found.value[:, i] = column
        for name, value in _items("priors", priors, names):
            i = names.index(name)
            if not isinstance(value, list | tuple) or len(value) != 2:
                raise ValueError(
                    f"`priors[{name!r}]` must be a mean and a standard deviation; got "
                    f"{value!r}. Limits go into `bounds`."
                )
            mean = _per_star(f"priors[{name!r}]", value[0], n)
            error = _per_star(f"priors[{name!r}]", value[1], n)
            good = np.isfinite(mean) & (error > 0) | np.isinf(error)
            if not good.all():
                raise ValueError(
                    f"`priors[{name!r}]` must have finite means and positive standard "
                    f"deviations, infinite for none; got {mean[~good][0]:g} and "
                    f"{error[~good][0]:g}."
                )
            found.mean[:, i] = np.where(np.isinf(error), 0.0, mean)
            found.error[:, i] = error
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


def _items(argument, mapping, names):
    """Check names."""
    if mapping is None:
        return []
    if not isinstance(mapping, Mapping):
        raise TypeError(
            f"`{argument}` must map names of parameters to values; got "
            f"{type(mapping).__name__}. Parameters are {names}."
        )
    for name in mapping:
        if name not in names:
            raise ValueError(
                f"`{argument}` must name parameters of the fit, {names}; got {name!r}."
                f"{did_you_mean(str(name), names)}"
            )
    return list(mapping.items())


def _per_star(argument, value, n):
    value = np.asarray(value, dtype=np.float64)
    if value.shape not in ((), (n,)):
        raise ValueError(
            f"`{argument}` must be one number, or one for each of the {n} stars; got "
            f"the shape {value.shape}."
        )
    return np.broadcast_to(value, (n,))
