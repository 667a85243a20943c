"""What is told about measured stars: values, errors, quality flags.

It is here so that a table of results explains itself wherever it goes.
"""

from dataclasses import dataclass

import numpy as np

from sk_payne.exceptions import did_you_mean

__all__ = [
    "FLAGS",
    "VELOCITY",
    "Measurements",
    "make_limits_table",
    "make_table",
    "nuisance_unit",
    "set_flags",
]

VELOCITY = "radial_velocity"
"""Name of the velocity among what is fitted besides labels."""

FLAGS = {
    "NO_DATA": (1, "no good pixel in the range of the emulator; values are NaN"),
    "FEW_PIXELS": (2, "fewer than ten good pixels for each parameter"),
    "NOT_CONVERGED": (4, "chi2 could still be lowered when the fit stopped"),
    "LABEL_AT_EDGE": (8, "a label is at the edge of the training box"),
    "VELOCITY_AT_EDGE": (16, "the velocity is at the edge of where it was sought"),
    "UNCONSTRAINED": (32, "the error of a label exceeds half of the training box"),
    "BAD_FIT": (64, "chi2 per degree of freedom above 3: not such a star, or velocity"),
    "WIDTH_AT_EDGE": (128, "vsini or vmac is at an end of its limits: one-sided"),
    "BAD_CONTINUUM": (256, "the fitted continuum is not positive at every good pixel"),
}
"""Names of the quality flags, with their bits and what they mean."""


def nuisance_unit(name):
    """Give the unit of what is fitted besides labels.

    Parameters
    ----------
    name : str
        Such as "vsini".

    Returns
    -------
    unit : str
        As astropy reads it.

    Examples
    --------
    >>> from sk_payne.abundances._results import nuisance_unit
    >>> nuisance_unit("vsini")
    'km / s'
    """
    return "" if name == "resolving_power" else "km / s"


@dataclass
class Measurements:
    """Results of n stars.

    Attributes
    ----------
    parameters : ndarray of shape (n, n_labels + n_nuisances)
        Labels, and then what else was fitted; NaN for stars without data.
    covariance : ndarray of shape (n, n_labels + n_nuisances, n_labels + n_nuisances)
        Of all of them, the continuum left free, too, if it was.
    is_fixed : ndarray of shape (n, n_labels + n_nuisances), bool
        Which of them were not fitted.
    n_labels : int
        How many are labels.
    nuisances : list of str
        Names of the others.
    n_continuum : ndarray of shape (n,), int
        Coefficients of the continuum.
    chi2 : ndarray of shape (n,)
        Smallest chi2.
    n_pixels : ndarray of shape (n,), int
        Good pixels used.
    n_clipped : ndarray of shape (n,), int
        Pixels left out as outliers.
    error_floor : ndarray of shape (n,)
        What was added to errors, in units of the continuum.
    n_iterations : ndarray of shape (n,), int
        Steps tried.
    converged : ndarray of shape (n,), bool
        Whether chi2 could not be lowered any more.
    flags : ndarray of shape (n,), int
        Sum of the bits of :data:`FLAGS`.
    bad_continuum : ndarray of shape (n,), bool
        Whether the continuum is negative or zero at some good pixel.
    at_edge : ndarray of shape (n, n_nuisances), bool
        Whether what is not a label is at its bounds, which only the fit knows.
    model : ndarray of shape (n, n_pixels) or None
        Flux of the best fit, NaN at pixels that were not used; None if not asked for.
    interval : ndarray of shape (n, n_labels + n_nuisances, 2) or None
        Between which values the middle 68 % of the posterior are; None for best fits.
    n_effective : ndarray of shape (n,) or None
        Independent samples of it.
    """

    parameters: np.ndarray
    covariance: np.ndarray
    is_fixed: np.ndarray
    n_labels: int
    nuisances: list
    n_continuum: np.ndarray
    chi2: np.ndarray
    n_pixels: np.ndarray
    n_clipped: np.ndarray
    error_floor: np.ndarray
    n_iterations: np.ndarray
    converged: np.ndarray
    flags: np.ndarray
    bad_continuum: np.ndarray
    at_edge: np.ndarray
    model: np.ndarray | None = None
    interval: np.ndarray | None = None
    n_effective: np.ndarray | None = None

    @classmethod
    def empty(cls, n, n_labels, nuisances=(), *, n_pixels=None, of_means=False):
        """Results of stars that are not measured yet, with a model of n_pixels."""
        n_parameters = n_labels + len(nuisances)
        return cls(
            parameters=np.full((n, n_parameters), np.nan),
            covariance=np.full((n, n_parameters, n_parameters), np.nan),
            is_fixed=np.zeros((n, n_parameters), dtype=bool),
            n_labels=n_labels,
            nuisances=list(nuisances),
            n_continuum=np.zeros(n, dtype=np.int64),
            chi2=np.full(n, np.nan),
            n_pixels=np.zeros(n, dtype=np.int64),
            n_clipped=np.zeros(n, dtype=np.int64),
            error_floor=np.full(n, np.nan),
            n_iterations=np.zeros(n, dtype=np.int64),
            converged=np.zeros(n, dtype=bool),
            flags=np.zeros(n, dtype=np.int64),
            bad_continuum=np.zeros(n, dtype=bool),
            at_edge=np.zeros((n, len(nuisances)), dtype=bool),
            model=None if n_pixels is None else np.full((n, n_pixels), np.nan),
            interval=np.full((n, n_parameters, 2), np.nan) if of_means else None,
            n_effective=np.full(n, np.nan) if of_means else None,
        )

    def put(self, rows, other, which=slice(None)):
        """Take over the results of other stars.

        Parameters
        ----------
        rows : ndarray of int
            Where they go.
        other : Measurements
            Of the same parameters.
        which : slice or ndarray of bool, default=slice(None)
            Of the other's stars.
        """
        for name, values in vars(self).items():
            if isinstance(values, np.ndarray):
                values[rows] = getattr(other, name)[which]

    def of_part(self, part):
        """Give the results of a part of the stars, and of its parameters.

        Parameters
        ----------
        part : Part
            Its stars and parameters are some of these.

        Returns
        -------
        found : Measurements
            Without model.
        """
        found = Measurements.empty(len(part), self.n_labels, part.nuisances)
        for name, values in vars(found).items():
            if isinstance(values, np.ndarray):
                values[:] = getattr(self, name)[self._places(part).get(name, part.rows)]
        return found

    def _places(self, part):
        """Where stars and parameters of a part are."""
        rows, columns = part.rows, part.columns
        extra = columns[self.n_labels :] - self.n_labels
        return {
            "parameters": (rows[:, None], columns),
            "is_fixed": (rows[:, None], columns),
            "covariance": (rows[:, None, None], columns[:, None], columns),
            "interval": (rows[:, None], columns),
            "at_edge": (rows[:, None], extra),
            "model": (rows[:, None], part.pixels),
        }

    def put_part(self, part, other):
        """Take over the results of a part of the stars.

        What the part lacks, offsets of arms that are absent, is as it was known
        before: fixed, or by a prior, or else 0 with an infinite error.

        Parameters
        ----------
        part : Part
            Its stars, pixels and parameters are some of these.
        other : Measurements
            Of the part.
        """
        rows = part.rows
        known = part.task.constraints.of(rows)
        has_data = np.where(other.n_pixels > 0, 1.0, np.nan)[:, None]
        values = np.where(known.is_fixed, known.value, known.mean)
        self.parameters[rows] = values * has_data
        error = np.where(known.is_fixed, 0.0, known.error) * has_data
        self.covariance[rows] = 0.0
        for i in range(self.n_parameters):
            self.covariance[rows, i, i] = error[:, i] ** 2
        self.is_fixed[rows] = True
        self.at_edge[rows] = False
        places = self._places(part)
        for name, values in vars(self).items():
            if isinstance(values, np.ndarray):
                values[places.get(name, rows)] = getattr(other, name)

    @property
    def labels(self):
        """Values of the labels, of shape (n, n_labels)."""
        return self.parameters[:, : self.n_labels]

    @property
    def label_covariance(self):
        """Covariance of the labels, of shape (n, n_labels, n_labels)."""
        return self.covariance[:, : self.n_labels, : self.n_labels]

    @property
    def all_errors(self):
        """One standard deviation of all parameters."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    @property
    def errors(self):
        """One standard deviation of the labels, of shape (n, n_labels)."""
        return self.all_errors[:, : self.n_labels]

    @property
    def n_parameters(self):
        """Parameters of each star, continuum aside."""
        return self.parameters.shape[1]

    @property
    def n_fitted(self):
        """Numbers fitted to each star, those of the continuum, too."""
        return self.n_parameters - self.is_fixed.sum(axis=1) + self.n_continuum

    @property
    def dof(self):
        """Degrees of freedom, of shape (n,)."""
        return self.n_pixels - self.n_fitted


def set_flags(results, *, low, high):
    """Set the flags of measured stars.

    Parameters
    ----------
    results : Measurements
        Changed in place.
    low, high : ndarray of shape (n_labels,)
        Bounds of the labels.
    """
    # steps are cut at the bounds exactly, but units are converted since
    slack = 1e-6 * (high - low)
    is_velocity = np.array([name == VELOCITY for name in results.nuisances], bool)
    found = {
        "NO_DATA": results.n_pixels == 0,
        "FEW_PIXELS": results.n_pixels < 10 * results.n_fitted,
        "NOT_CONVERGED": ~results.converged,
        "LABEL_AT_EDGE": (
            ((results.labels <= low + slack) | (results.labels >= high - slack))
            & ~results.is_fixed[:, : results.n_labels]
        ).any(axis=1),
        "VELOCITY_AT_EDGE": results.at_edge[:, is_velocity].any(axis=1),
        "WIDTH_AT_EDGE": results.at_edge[:, ~is_velocity].any(axis=1),
        "BAD_CONTINUUM": results.bad_continuum,
        "BAD_FIT": results.chi2 > 3 * np.maximum(results.dof, 1),
        "UNCONSTRAINED": (results.errors > (high - low) / 2).any(axis=1),
    }
    for name, where in found.items():
        results.flags[where] |= FLAGS[name][0]


def make_table(results, names, units, combinations=None):
    """Make an astropy table of results.

    Parameters
    ----------
    results : Measurements
        Of n stars.
    names, units : list of str
        Of the labels.
    combinations : mapping of str to mapping of str to float, default=None
        Further columns: names, and the factors of the parameters that are summed up.

    Returns
    -------
    table : astropy.table.QTable
        One row per star: each label and its error (`<name>_error`) with units, those
        of `vsini`, `vmac` and `radial_velocity` if fitted, combinations, `chi2`,
        `dof`, `n_pixels`, `n_clipped`, `error_floor`, `n_iterations`, `converged` and
        `flags`, whose bits are explained by :data:`FLAGS`, and in the description of
        the column, which FITS and VOTable files keep. Of means, also `<name>_p16`,
        `<name>_p84` and `n_effective`.
    """
    from astropy import units as u
    from astropy.table import QTable

    table = QTable()
    errors = results.all_errors
    names = [*names, *results.nuisances]
    units = [*units, *map(nuisance_unit, results.nuisances)]
    columns = {
        name: (results.parameters[:, i], errors[:, i], units[i])
        for i, name in enumerate(names)
    }
    for name, factors in (combinations or {}).items():
        if name in columns:
            raise ValueError(
                f"`combinations` must have names of their own; {name!r} is a parameter."
            )
        columns[name] = _combine(results, names, units, name, factors)
    for name, (values, error, unit) in columns.items():
        table[name] = values * u.Unit(unit)
        table[f"{name}_error"] = error * u.Unit(unit)
        if results.interval is not None and name in names:
            low, high = results.interval[:, names.index(name)].T
            table[f"{name}_p16"] = low * u.Unit(unit)
            table[f"{name}_p84"] = high * u.Unit(unit)
    table["chi2"] = results.chi2
    table["dof"] = results.dof
    table["n_pixels"] = results.n_pixels
    table["n_clipped"] = results.n_clipped
    table["error_floor"] = results.error_floor
    table["n_iterations"] = results.n_iterations
    if results.n_effective is not None:
        table["n_effective"] = results.n_effective
    table["converged"] = results.converged
    table["flags"] = results.flags
    table["flags"].description = " | ".join(
        f"{bit} {name}: {meaning}" for name, (bit, meaning) in FLAGS.items()
    )
    return table


def make_limits_table(limits, names, label_names, label_units, side):
    """Make an astropy table of limits.

    Parameters
    ----------
    limits : ndarray of shape (n, n_names)
        Of n stars.
    names : list of str
        Of the parameters.
    label_names, label_units : list of str
        Of all labels.
    side : str
        Ends the names of the columns.

    Returns
    -------
    table : astropy.table.QTable
        One row per star.
    """
    from astropy import units as u
    from astropy.table import QTable

    units = dict(zip(label_names, label_units, strict=True))
    return QTable(
        {
            f"{name}_{side}": limits[:, i]
            * u.Unit(units.get(name, nuisance_unit(name)))
            for i, name in enumerate(names)
        }
    )


def _combine(results, names, units, name, factors):
    """Values, errors and unit of a sum of parameters."""
    for part in factors:
        if part not in names:
            raise ValueError(
                f"`combinations` may sum up {names}; got {part!r} for {name!r}."
                f"{did_you_mean(part, names)}"
            )
    found = {units[names.index(part)] for part in factors}
    if len(found) != 1:
        raise ValueError(
            "`combinations` must sum up parameters of one unit; got "
            f"{sorted(map(str, found))} for {name!r}."
        )
    weights = np.array([factors.get(part, 0.0) for part in names])
    used = np.flatnonzero(weights)
    # term by term: products of matrices round one star as its company wants it
    values = sum(weights[i] * results.parameters[:, i] for i in used)
    variance = sum(
        weights[i] * weights[j] * results.covariance[:, i, j]
        for i in used
        for j in used
    )
    return values, np.sqrt(variance), found.pop()
