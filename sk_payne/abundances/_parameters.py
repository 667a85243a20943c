"""Parameters of a fit: name, unit, limits, scale; and their order in a vector."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sk_payne.abundances._flags import FLAGS
from sk_payne.inputs import without_unit

__all__ = ["VELOCITY", "Parameter", "Parameters", "read_limits"]

VELOCITY = "radial_velocity"
"""Name of the radial velocity of a star."""


@dataclass(frozen=True)
class Parameter:
    """One number that is fitted to each star.

    Parameters
    ----------
    name : str
        Name of its column in the table of results.
    unit : str
        Unit, as astropy reads it; "" for none.
    low, high : float
        Limits of the fit; the parameter is fixed if they are equal.
    start : float or tuple of float, default=None
        First guess; the middle between the limits if None. Of several guesses, each
        star gets the one with the lowest chi2.
    zero, scale : float, default=0.0 and 1.0
        The fit uses (value - zero) / scale. `scale` should be a typical change, so that
        all parameters are of order one.
    prior : tuple of float, default=None
        Mean and standard deviation of a Gaussian prior, unless `priors` of the
        regressor names the parameter.
    flag : str, default="PARAMETER_AT_EDGE"
        Name of the quality flag of stars for which the parameter ends at a limit.

    Raises
    ------
    ValueError
        If limits are not finite or in the wrong order, the scale is not positive, or
        the flag is unknown.

    Examples
    --------
    >>> from sk_payne.abundances import Parameter
    >>> Parameter("stray_light", "", 0.0, 0.3, start=0.0).start
    0.0
    """

    name: str
    unit: str
    low: float
    high: float
    start: float | tuple | None = None
    zero: float = 0.0
    scale: float = 1.0
    prior: tuple | None = None
    flag: str = "PARAMETER_AT_EDGE"

    def __post_init__(self):
        if not (np.isfinite([self.low, self.high]).all() and self.low <= self.high):
            raise ValueError(
                f"The limits of the parameter {self.name!r} must be finite, `low` not "
                f"above `high`; got {self.low} and {self.high}."
            )
        if not self.scale > 0:
            raise ValueError(
                f"`scale` of the parameter {self.name!r} must be positive; got "
                f"{self.scale}."
            )
        if self.flag not in FLAGS:
            raise ValueError(
                f"`flag` of the parameter {self.name!r} must be one of {list(FLAGS)}; "
                f"got {self.flag!r}."
            )
        if self.start is None:
            object.__setattr__(self, "start", (self.low + self.high) / 2)


class Parameters:
    """Parameters of a fit, in the order of its vector.

    Only this class knows the order; other code uses names.

    Parameters
    ----------
    parameters : iterable of Parameter
        Labels of the emulator first, then all others.
    n_labels : int
        Number of labels.
    """

    def __init__(self, parameters, n_labels):
        self.every = tuple(parameters)
        self.n_labels = n_labels
        self._place = {p.name: i for i, p in enumerate(self.every)}

    def __len__(self):
        return len(self.every)

    def __iter__(self):
        return iter(self.every)

    def __contains__(self, name):
        return name in self._place

    def index(self, name):
        """Return the column of a parameter."""
        return self._place[name]

    def columns(self, names):
        """Return the columns of parameters, as an array."""
        return np.array([self._place[name] for name in names], dtype=np.intp)

    def some(self, columns):
        """Return the parameters of some columns, which include those of all labels."""
        return Parameters([self.every[i] for i in columns], self.n_labels)

    @cached_property
    def names(self):
        """Names of all parameters."""
        return [p.name for p in self.every]

    @cached_property
    def units(self):
        """Units of all parameters."""
        return [p.unit for p in self.every]

    @property
    def nuisances(self):
        """Names of the parameters that are no labels."""
        return self.names[self.n_labels :]

    @cached_property
    def low(self):
        """Lower limits, of shape (K,)."""
        return self._array("low")

    @cached_property
    def high(self):
        """Upper limits, of shape (K,)."""
        return self._array("high")

    @cached_property
    def start(self):
        """First guesses, of shape (K,); of several guesses the first one."""
        return np.array([np.ravel(p.start)[0] for p in self.every], dtype=np.float64)

    def choices(self):
        """Return columns and guesses of parameters with several first guesses."""
        return [(i, p.start) for i, p in enumerate(self.every) if np.ndim(p.start)]

    @cached_property
    def zero(self):
        """Values at which the variables of the fit are zero, of shape (K,)."""
        return self._array("zero")

    @cached_property
    def scale(self):
        """Changes of values for one unit of the variables of the fit, of shape (K,)."""
        return self._array("scale")

    def to_fit(self, values):
        """Convert values in their units to the variables of the fit."""
        return (values - self.zero) / self.scale

    def from_fit(self, variables):
        """Convert variables of the fit to values in their units."""
        return self.zero + self.scale * variables

    def _array(self, name):
        return np.array([getattr(p, name) for p in self.every], dtype=np.float64)


def read_limits(value, argument, *, unit="", lowest):
    """Read a fixed value, or the limits of a fitted one.

    Parameters
    ----------
    value : float, quantity, or pair of them
        Value or limits, as given by the user.
    argument : str
        Name for messages.
    unit : str, default=""
        Unit to convert to.
    lowest : float
        Smallest value allowed.

    Returns
    -------
    low, high : float
        Limits, equal if the value is fixed.

    Raises
    ------
    ValueError
        If `value` is not a number or increasing limits of at least `lowest`.

    Examples
    --------
    >>> from sk_payne.abundances._parameters import read_limits
    >>> read_limits(3, "`vsini`", lowest=0), read_limits((0, 9), "`vsini`", lowest=0)
    ((3.0, 3.0), (0.0, 9.0))
    """
    plain = without_unit(value, argument=argument.strip("`"), unit=unit)
    try:
        pair = np.atleast_1d(np.asarray(plain, dtype=np.float64))
    except (TypeError, ValueError):  # words, or ragged lists
        pair = np.array([np.nan])
    pair = pair.repeat(2) if pair.shape == (1,) else pair
    good = pair.shape == (2,) and np.isfinite(pair).all()
    if not good or not lowest <= pair[0] <= pair[1]:
        raise ValueError(
            f"{argument} must be a number of at least {lowest:g}, or a smallest and a "
            f"largest one; got {value!r}."
        )
    return float(pair[0]), float(pair[1])
