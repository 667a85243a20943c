"""What is told about measured stars: values, errors, quality flags.

It is here so that a table of results explains itself wherever it goes.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["FLAGS", "Measurements", "make_table", "set_flags"]

FLAGS = {
    "NO_DATA": (1, "no good pixel in the range of the emulator; values are NaN"),
    "FEW_PIXELS": (2, "fewer than ten good pixels for each parameter"),
    "NOT_CONVERGED": (4, "chi2 could still be lowered when the fit stopped"),
    "LABEL_AT_EDGE": (8, "a label is at the edge of the training box"),
    "VELOCITY_AT_EDGE": (16, "the velocity is at the edge of where it was sought"),
    "UNCONSTRAINED": (32, "the error of a label exceeds half of the training box"),
    "BAD_FIT": (64, "chi2 per degree of freedom above 3: not such a star, or velocity"),
}
"""Names of the quality flags, with their bits and what they mean."""


@dataclass
class Measurements:
    """Results of n stars.

    Attributes
    ----------
    labels : ndarray of shape (n, n_labels)
        Values, NaN for stars without data.
    covariance : ndarray of shape (n, n_labels, n_labels)
        Of the labels, velocity and all other labels left free.
    velocity, velocity_error : ndarray of shape (n,) or None
        km/s; None if not fitted.
    chi2 : ndarray of shape (n,)
        Smallest chi2.
    n_pixels : ndarray of shape (n,), int
        Good pixels used.
    n_iterations : ndarray of shape (n,), int
        Steps tried.
    converged : ndarray of shape (n,), bool
        Whether chi2 could not be lowered any more.
    flags : ndarray of shape (n,), int
        Sum of the bits of :data:`FLAGS`.
    """

    labels: np.ndarray
    covariance: np.ndarray
    velocity: np.ndarray | None
    velocity_error: np.ndarray | None
    chi2: np.ndarray
    n_pixels: np.ndarray
    n_iterations: np.ndarray
    converged: np.ndarray
    flags: np.ndarray

    @classmethod
    def empty(cls, n, n_labels, with_velocity):
        """Results of stars that are not measured yet."""
        nothing = np.full(n, np.nan)
        return cls(
            labels=np.full((n, n_labels), np.nan),
            covariance=np.full((n, n_labels, n_labels), np.nan),
            velocity=nothing.copy() if with_velocity else None,
            velocity_error=nothing.copy() if with_velocity else None,
            chi2=nothing.copy(),
            n_pixels=np.zeros(n, dtype=np.int64),
            n_iterations=np.zeros(n, dtype=np.int64),
            converged=np.zeros(n, dtype=bool),
            flags=np.zeros(n, dtype=np.int64),
        )

    @property
    def errors(self):
        """One standard deviation of the labels, of shape (n, n_labels)."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    @property
    def n_parameters(self):
        """Parameters fitted to each star."""
        return self.labels.shape[1] + (self.velocity is not None)

    @property
    def dof(self):
        """Degrees of freedom, of shape (n,)."""
        return self.n_pixels - self.n_parameters


def set_flags(results, *, low, high, velocity_at_edge):
    """Set the flags of measured stars.

    Parameters
    ----------
    results : Measurements
        Changed in place.
    low, high : ndarray of shape (n_labels,)
        Bounds of the labels.
    velocity_at_edge : ndarray of shape (n,), bool
        Known only to the fit.
    """
    # steps are cut at the bounds exactly, but units are converted since
    slack = 1e-6 * (high - low)
    found = {
        "NO_DATA": results.n_pixels == 0,
        "FEW_PIXELS": results.n_pixels < 10 * results.n_parameters,
        "NOT_CONVERGED": ~results.converged,
        "LABEL_AT_EDGE": (
            (results.labels <= low + slack) | (results.labels >= high - slack)
        ).any(axis=1),
        "VELOCITY_AT_EDGE": velocity_at_edge,
        "BAD_FIT": results.chi2 > 3 * np.maximum(results.dof, 1),
        "UNCONSTRAINED": (results.errors > (high - low) / 2).any(axis=1),
    }
    for name, where in found.items():
        results.flags[where] |= FLAGS[name][0]


def make_table(results, names, units):
    """Make an astropy table of results.

    Parameters
    ----------
    results : Measurements
        Of n stars.
    names, units : list of str
        Of the labels.

    Returns
    -------
    table : astropy.table.QTable
        One row per star: each label and its error (`<name>_error`) with units,
        `radial_velocity` and its error if fitted, `chi2`, `dof`, `n_pixels`,
        `n_iterations`, `converged` and `flags`, whose bits are explained in
        ``table.meta["flags"]``.
    """
    from astropy import units as u
    from astropy.table import QTable

    table = QTable()
    errors = results.errors
    for i, (name, unit) in enumerate(zip(names, units, strict=True)):
        unit = u.Unit(unit)
        table[name] = results.labels[:, i] * unit
        table[f"{name}_error"] = errors[:, i] * unit
    if results.velocity is not None:
        table["radial_velocity"] = results.velocity * u.km / u.s
        table["radial_velocity_error"] = results.velocity_error * u.km / u.s
    table["chi2"] = results.chi2
    table["dof"] = results.dof
    table["n_pixels"] = results.n_pixels
    table["n_iterations"] = results.n_iterations
    table["converged"] = results.converged
    table["flags"] = results.flags
    table.meta["flags"] = {
        name: f"{bit}: {meaning}" for name, (bit, meaning) in FLAGS.items()
    }
    return table
