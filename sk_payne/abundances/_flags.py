"""Quality flags of measured stars."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

__all__ = [
    "FLAGS",
    "describe_labels",
    "flag_by_posterior",
    "set_flags",
    "warn_unmeasured",
]

FLAGS = {
    "NO_DATA": (1, "no good pixel in the range of the emulator; values are NaN"),
    "FEW_PIXELS": (2, "fewer than ten good pixels for each parameter"),
    "NOT_CONVERGED": (4, "chi2 could still fall by more than 0.01, see expected_fall"),
    "LABEL_AT_EDGE": (8, "a label is at the edge of the training box"),
    "VELOCITY_AT_EDGE": (
        16,
        "a velocity is at the edge of the range of the search",
    ),
    "UNCONSTRAINED": (32, "the error of a label exceeds half of the training box"),
    "BAD_FIT": (
        64,
        "chi2 per degree of freedom is above 3: another type of star, or a wrong "
        "velocity",
    ),
    "WIDTH_AT_EDGE": (
        128,
        "vsini, vmac or a fitted resolving power is at an end of its limits: errors "
        "hold on one side",
    ),
    "BAD_CONTINUUM": (256, "the fitted continuum is not positive at every good pixel"),
    "PARAMETER_AT_EDGE": (
        512,
        "a parameter of a stage, or of a second star, is at an end of its limits",
    ),
    "LOW_CHI2": (
        1024,
        "chi2 is far below the degrees of freedom: errors are too large",
    ),
    "HIGH_CHI2": (
        2048,
        "chi2 is far above the degrees of freedom: errors are too small, or the model "
        "is wrong",
    ),
    "CORRELATED_RESIDUALS": (
        4096,
        "residuals are correlated along the spectrum: the model lacks something, and "
        "errors are too small",
    ),
    "NOVEL_SPECTRUM": (
        8192,
        "the spectrum is unlike all spectra that the neural posterior was trained on",
    ),
    "POSTERIOR_DISAGREES": (
        16384,
        "the fit is where the neural posterior has almost no probability",
    ),
}
"""Names of the quality flags, with their bits and meanings."""

# Largest expected fall of chi2 of a converged fit: a tenth of a standard deviation.
_LARGEST_FALL = 0.01

# LOW_CHI2: chi2 is below the degrees of freedom by this number of standard deviations,
# and below this fraction of the degrees of freedom.
_LOW, _HALF = 5.0, 0.5

# HIGH_CHI2: standard deviations by which chi2 exceeds the degrees of freedom, even if
# the variances of systematic errors are twice as large.
_HIGH = 5.0

# CORRELATED_RESIDUALS: largest probability of the test of residuals.
_LARGEST_P = 0.001


def set_flags(results, parameters):
    """Set the flags of measured stars.

    Parameters
    ----------
    results : Measurements
        Results, changed in place.
    parameters : Parameters
        Parameters of the results.
    """
    edge = results.at_edge
    at_edge = {
        name: edge[:, [p.flag == name for p in parameters]].any(axis=1)
        for name in FLAGS
    }
    dof = np.maximum(results.dof, 1)
    found = at_edge | {
        "NO_DATA": results.n_pixels == 0,
        "FEW_PIXELS": results.n_pixels < 10 * results.n_fitted,
        "NOT_CONVERGED": ~results.converged & ~(results.expected_fall <= _LARGEST_FALL),
        "BAD_CONTINUUM": results.bad_continuum,
        "BAD_FIT": results.chi2 > 3 * dof,
        "UNCONSTRAINED": _is_unconstrained(results, parameters).any(axis=1),
        "LOW_CHI2": results.chi2
        < np.minimum(dof - _LOW * np.sqrt(2 * dof), _HALF * dof),
        "HIGH_CHI2": results.chi2
        > dof + results.n_systematic + _HIGH * np.sqrt(2 * dof),
        "CORRELATED_RESIDUALS": results.residual_p < _LARGEST_P,
    }
    for name, where in found.items():
        results.flags[where] |= FLAGS[name][0]


def flag_by_posterior(results, proposals):
    """Set the flags that follow from neural posteriors.

    Parameters
    ----------
    results : Measurements
        Results of n stars, changed in place.
    proposals : list of Proposal or None
        Neural posteriors of the stars; None without neural posterior.
    """
    for row, proposal in enumerate(proposals or ()):
        if results.n_pixels[row] == 0:
            continue
        if proposal.is_novel:
            results.flags[row] |= FLAGS["NOVEL_SPECTRUM"][0]
        if proposal.disagrees(results.parameters[row]):
            results.flags[row] |= FLAGS["POSTERIOR_DISAGREES"][0]


def describe_labels(results, parameters):
    """Name labels at an edge of the training box, and unconstrained labels.

    Parameters
    ----------
    results : Measurements
        Results of n stars.
    parameters : Parameters
        Parameters of the results.

    Returns
    -------
    described : list of str
        Text for each star, such as "C_H: edge; O_H: edge, unconstrained"; "-" without
        such labels.
    """
    n_labels = parameters.n_labels
    marks = {
        "edge": results.at_edge[:, :n_labels],
        "unconstrained": _is_unconstrained(results, parameters),
    }
    described = []
    for row in range(len(results.flags)):
        parts = []
        for i, name in enumerate(parameters.names[:n_labels]):
            words = [word for word, where in marks.items() if where[row, i]]
            if words:
                parts.append(f"{name}: {', '.join(words)}")
        described.append("; ".join(parts) or "-")
    return described


def warn_unmeasured(results):
    """Warn about stars without data, and fits that did not converge.

    Parameters
    ----------
    results : Measurements
        Results of n stars, with flags.

    Warns
    -----
    ConvergenceWarning
        If there are any; the message names the first rows.
    """
    for name, problem in (
        ("NO_DATA", "have no good pixel and get NaN"),
        ("NOT_CONVERGED", "did not converge"),
    ):
        rows = np.flatnonzero(results.flags & FLAGS[name][0])
        if name == "NOT_CONVERGED":
            rows = rows[results.n_pixels[rows] > 0]
        if len(rows):
            shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
            warnings.warn(
                f"{len(rows)} of {len(results.flags)} stars {problem}: rows {shown}. "
                "The table of `measure` has their flags.",
                ConvergenceWarning,
                stacklevel=3,
            )


def _is_unconstrained(results, parameters):
    """Check whether errors of labels exceed half of their range, (n, n_labels)."""
    n_labels = parameters.n_labels
    half = (parameters.high - parameters.low)[:n_labels] / 2
    return results.errors > half
