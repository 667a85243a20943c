"""ParameterSpace: the labels of a training grid, their limits, and samples of them."""

from collections.abc import Mapping
from numbers import Real

import numpy as np
from scipy.stats import qmc
from sklearn.utils import check_random_state

from sk_payne.exceptions import did_you_mean

__all__ = ["ParameterSpace"]

_UNITS = {"teff": "K", "logg": "dex", "vmic": "km/s", "vmac": "km/s", "vsini": "km/s"}


class ParameterSpace:
    """Box of labels, absolute or relative to other labels, and fixed parameters.

    Parameters
    ----------
    ranges : mapping of str to (float, float)
        Lowest and highest value of each label, in the order of the columns of P.
    around : mapping of str to str, default=None
        Labels whose range is relative to another label: ``{"Mg_H": "Fe_H"}`` makes the
        range of "Mg_H" a range of [Mg/Fe]. The other label may be fixed, but not
        relative to a third. Labels not named here are independent.
    fixed : mapping of str to float, default=None
        Values that all spectra share, such as ``{"vmic": 1.0}``. They are not columns
        of P; synthesis gets them with the labels.
    units : mapping of str to str, default=None
        Units of labels, as astropy writes them. By default "K" for "teff", "dex" for
        "logg" and names that end in "_H", "km/s" for "vmic", "vmac" and "vsini", and
        "" for others.

    Attributes
    ----------
    ranges, around, fixed : dict
        The arguments, checked.
    label_names, label_units : list of str
        Names and units of the columns of P.

    Raises
    ------
    ValueError
        If a range is not two increasing numbers, or a name is unknown or used twice.

    See Also
    --------
    paper_training : Return the space of a published grid.

    Examples
    --------
    >>> from sk_payne.grids import ParameterSpace
    >>> space = ParameterSpace(
    ...     {"teff": (4000, 6000), "Fe_H": (-2, 1), "Mg_H": (-0.2, 0.5)},
    ...     around={"Mg_H": "Fe_H"}, fixed={"logg": 4.5},
    ... )
    >>> P = space.sample(8, random_state=0)
    >>> P.shape, space.label_units
    ((8, 3), ['K', 'dex', 'dex'])
    >>> mg_fe = P[:, 2] - P[:, 1]
    >>> bool(mg_fe.min() >= -0.2), bool(mg_fe.max() <= 0.5)
    (True, True)
    >>> space.bounds["Mg_H"]
    (-2.2, 1.5)
    >>> space.contains([[5000, -1.0, -0.7], [5000, -1.0, 0.0]])
    array([ True, False])
    """

    def __init__(self, ranges, *, around=None, fixed=None, units=None):
        self.ranges = _check_ranges(ranges)
        self.fixed = _check_fixed(fixed or {}, self.ranges)
        self.around = _check_around(around or {}, self.ranges, self.fixed)
        self.label_names = list(self.ranges)
        given = _check_units(units or {}, self.ranges)
        self.label_units = [given.get(n, _usual_unit(n)) for n in self.ranges]

    @property
    def bounds(self):
        """Lowest and highest absolute value of each label.

        A dict of (float, float), for the argument `bounds` of `AbundanceRegressor`.
        """
        limits = self.ranges | {name: (v, v) for name, v in self.fixed.items()}
        bounds = {}
        for name, (low, high) in self.ranges.items():
            origin = limits.get(self.around.get(name), (0.0, 0.0))
            bounds[name] = (low + origin[0], high + origin[1])
        return bounds

    def sample(self, n, *, sampler="sobol", random_state=None):
        """Draw the stellar parameters of a grid.

        Parameters
        ----------
        n : int
            Number of spectra.
        sampler : {"sobol", "uniform", "latin_hypercube"}, default="sobol"
            "sobol" is a scrambled Sobol sequence, which leaves fewer gaps and clumps
            than the independent draws of "uniform". Both nest: the first rows of a
            larger sample are the smaller sample, as growing grids and learning curves
            require. "latin_hypercube" puts one spectrum into each of `n` slices of
            every label; it does not nest.
        random_state : int, RandomState instance or None, default=None
            Seed. An int gives the same sample in every call.

        Returns
        -------
        P : ndarray of shape (n, n_labels), float64
            Stellar parameters, in the order of `label_names`.

        Raises
        ------
        ValueError
            If `n` is not a positive integer or `sampler` is unknown.

        Notes
        -----
        The samplers come from `scipy.stats.qmc`. A Sobol sequence is most even when `n`
        is a power of 2.

        References
        ----------
        Sobol (1967), USSR Comput. Math. Math. Phys. 7, 86; Owen (1998), ACM Trans.
        Model. Comput. Simul. 8, 71, for the scrambling.
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise ValueError(f"`n` must be a positive integer; got {n!r}.")
        if sampler not in _SAMPLERS:
            raise ValueError(
                f"`sampler` must be one of {list(_SAMPLERS)}; got {sampler!r}."
                + did_you_mean(sampler, _SAMPLERS)
            )
        seed = check_random_state(random_state).randint(2**31 - 1)
        cube = _SAMPLERS[sampler](int(n), len(self.ranges), seed)
        low, high = np.array(list(self.ranges.values())).T
        P = low + cube * (high - low)
        return P + self._origins(P)

    def contains(self, P):
        """Check which stars lie within the space, relative ranges included.

        Parameters
        ----------
        P : array-like of shape (n_spectra, n_labels)
            Stellar parameters, in the order of `label_names`.

        Returns
        -------
        inside : ndarray of shape (n_spectra,), bool
            True inside. Rounding to single precision is tolerated; NaN is outside.

        Raises
        ------
        ValueError
            If `P` does not have one column per label.
        """
        P = np.asarray(P, dtype=np.float64)
        if P.ndim != 2 or P.shape[1] != len(self.ranges):
            raise ValueError(
                f"`P` must have the columns {self.label_names}; got an array of shape "
                f"{P.shape}."
            )
        low, high = np.array(list(self.ranges.values())).T
        # rounding affects the absolute values, not the differences
        rounding = 1e-6 * np.abs(np.array(list(self.bounds.values()))).max(axis=1)
        relative = P - self._origins(P)
        is_inside = (relative >= low - rounding) & (relative <= high + rounding)
        return is_inside.all(axis=1)

    def to_dict(self):
        """Describe the space by values that JSON can hold.

        Returns
        -------
        description : dict
            Arguments of the space, for :meth:`from_dict`.
        """
        return {
            "ranges": {name: list(limits) for name, limits in self.ranges.items()},
            "around": dict(self.around),
            "fixed": dict(self.fixed),
            "units": dict(zip(self.label_names, self.label_units, strict=True)),
        }

    @classmethod
    def from_dict(cls, description):
        """Make a space from the description of :meth:`to_dict`.

        Parameters
        ----------
        description : mapping
            Result of :meth:`to_dict`, also after JSON.

        Returns
        -------
        space : ParameterSpace
            Equal to the described one.

        Raises
        ------
        ValueError
            If `description` has other keys than :meth:`to_dict` writes.
        """
        names = ["ranges", "around", "fixed", "units"]
        if not isinstance(description, Mapping) or set(description) != set(names):
            raise ValueError(
                f"`description` must have the keys {names}; got {description!r}. Pass "
                "the result of `to_dict`."
            )
        options = dict(description)
        return cls(options.pop("ranges"), **options)

    def __eq__(self, other):
        if not isinstance(other, ParameterSpace):
            return NotImplemented
        same_order = self.label_names == other.label_names
        return same_order and self.to_dict() == other.to_dict()

    __hash__ = None  # it holds dicts, which may change

    def __repr__(self):
        units = dict(zip(self.label_names, self.label_units, strict=True))
        unusual = {n: unit for n, unit in units.items() if unit != _usual_unit(n)}
        options = {"around": self.around, "fixed": self.fixed, "units": unusual}
        shown = "".join(f", {name}={value}" for name, value in options.items() if value)
        return f"ParameterSpace({self.ranges}{shown})"

    def _origins(self, P):
        """Return the origin of the range of each label; the shape is that of P."""
        origins = np.zeros_like(P)
        for name, other in self.around.items():
            column = self.label_names.index(name)
            if other in self.fixed:
                origins[:, column] = self.fixed[other]
            else:
                origins[:, column] = P[:, self.label_names.index(other)]
        return origins


def _draw_sobol(n, n_labels, seed):
    # draw the next power of 2: qmc warns about any other number
    points = qmc.Sobol(n_labels, seed=seed).random_base2((n - 1).bit_length())
    return points[:n]


def _draw_uniform(n, n_labels, seed):
    return np.random.default_rng(seed).random((n, n_labels))


def _draw_latin_hypercube(n, n_labels, seed):
    return qmc.LatinHypercube(n_labels, seed=seed).random(n)


_SAMPLERS = {
    "sobol": _draw_sobol,
    "uniform": _draw_uniform,
    "latin_hypercube": _draw_latin_hypercube,
}


def _usual_unit(name):
    return "dex" if name.endswith("_H") else _UNITS.get(name, "")


def _check_ranges(ranges):
    if not isinstance(ranges, Mapping) or not ranges:
        raise ValueError(
            "`ranges` must map at least one label to its limits, such as "
            f'{{"teff": (4000, 6000)}}; got {ranges!r}.'
        )
    return {_check_name(n, "ranges"): _check_range(n, v) for n, v in ranges.items()}


def _check_name(name, argument):
    if not isinstance(name, str) or not name:
        raise ValueError(f"`{argument}` must have names as keys; got {name!r}.")
    return name


def _check_range(name, limits):
    problem = ValueError(
        f"`ranges` must give each label two finite, increasing numbers; {name!r} has "
        f"{limits!r}. A label that does not vary goes into `fixed`."
    )
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        raise problem from None
    if not -np.inf < low < high < np.inf:
        raise problem
    return low, high


def _check_fixed(fixed, ranges):
    for name, value in fixed.items():
        _check_name(name, "fixed")
        if name in ranges:
            raise ValueError(
                f"`fixed` must not hold a label that varies; got {name!r}, which is in "
                "`ranges` as well. Drop one of them."
            )
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not np.isfinite(value):
            raise ValueError(
                f"`fixed` must hold finite numbers; {name!r} has {value!r}."
            )
    return {name: float(value) for name, value in fixed.items()}


def _check_around(around, ranges, fixed):
    origins = [n for n in [*ranges, *fixed] if n not in around]
    for name, other in around.items():
        _check_known(name, "around", ranges)
        if other not in origins:
            raise ValueError(
                f"`around` must name labels that are fixed or independent, {origins}; "
                f"{name!r} is relative to {other!r}.{did_you_mean(other, origins)}"
            )
    return dict(around)


def _check_units(units, ranges):
    for name, unit in units.items():
        _check_known(name, "units", ranges)
        if not isinstance(unit, str):
            raise ValueError(
                f"`units` must hold strings, such as 'dex'; {name!r} has {unit!r}."
            )
    return dict(units)


def _check_known(name, argument, ranges):
    if name not in ranges:
        raise ValueError(
            f"`{argument}` must have keys among the labels {list(ranges)}; got "
            f"{name!r}.{did_you_mean(name, ranges)}"
        )
