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
    "VELOCITY_AT_EDGE": (16, "a velocity is at the edge of where it was sought"),
    "UNCONSTRAINED": (32, "the error of a label exceeds half of the training box"),
    "BAD_FIT": (64, "chi2 per degree of freedom above 3: not such a star, or velocity"),
    "WIDTH_AT_EDGE": (
        128,
        "vsini or vmac is at an end of its limits: errors hold on one side",
    ),
    "BAD_CONTINUUM": (256, "the fitted continuum is not positive at every good pixel"),
    "PARAMETER_AT_EDGE": (512, "a parameter of a stage is at an end of its limits"),
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
"""Names of the quality flags, with their bits and what they mean."""

# Fall of chi2 that is missed, above which a fit counts as not converged: a tenth of a
# standard deviation.
_MISSED = 0.01

# Standard deviations by which chi2 may be below the degrees of freedom, and the
# fraction of them that it must be below as well.
_LOW, _HALF = 5.0, 0.5

# Standard deviations by which chi2 may be above the degrees of freedom, if errors that
# are no noise are larger by the root of two.
_HIGH = 5.0

# Probability below which residuals are no noise.
_NO_NOISE = 0.001


def set_flags(results, parameters):
    """Set the flags of measured stars.

    Parameters
    ----------
    results : Measurements
        Changed in place.
    parameters : Parameters
        Their parameters.
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
        "NOT_CONVERGED": ~results.converged & ~(results.expected_fall <= _MISSED),
        "BAD_CONTINUUM": results.bad_continuum,
        "BAD_FIT": results.chi2 > 3 * dof,
        "UNCONSTRAINED": _is_unconstrained(results, parameters).any(axis=1),
        "LOW_CHI2": results.chi2
        < np.minimum(dof - _LOW * np.sqrt(2 * dof), _HALF * dof),
        "HIGH_CHI2": results.chi2
        > dof + results.n_systematic + _HIGH * np.sqrt(2 * dof),
        "CORRELATED_RESIDUALS": results.residual_p < _NO_NOISE,
    }
    for name, where in found.items():
        results.flags[where] |= FLAGS[name][0]


def flag_by_posterior(results, proposals):
    """Set the flags that follow from neural posteriors.

    Parameters
    ----------
    results : Measurements
        Of n stars; changed in place.
    proposals : list of Proposal or None
        What the posterior says of each star; None if there is none.
    """
    for row, proposal in enumerate(proposals or ()):
        if results.n_pixels[row] == 0:
            continue
        if proposal.is_novel:
            results.flags[row] |= FLAGS["NOVEL_SPECTRUM"][0]
        if proposal.disagrees(results.parameters[row]):
            results.flags[row] |= FLAGS["POSTERIOR_DISAGREES"][0]


def describe_labels(results, parameters):
    """Name the labels that are at an edge or not constrained.

    Parameters
    ----------
    results : Measurements
        Results of n stars.
    parameters : Parameters
        Their parameters.

    Returns
    -------
    described : list of str
        Such as "C_H: edge; O_H: edge, unconstrained"; "-" if there is none.
    """
    n_labels = parameters.n_labels
    marks = {
        "edge": results.at_edge[:, :n_labels],
        "unconstrained": _is_unconstrained(results, parameters),
    }
    described = []
    for row in range(len(results.flags)):
        told = []
        for i, name in enumerate(parameters.names[:n_labels]):
            words = [word for word, where in marks.items() if where[row, i]]
            if words:
                told.append(f"{name}: {', '.join(words)}")
        described.append("; ".join(told) or "-")
    return described


def warn_unmeasured(results):
    """Warn of stars without data, and of fits that did not converge.

    Parameters
    ----------
    results : Measurements
        Results of n stars, with flags.

    Warns
    -----
    ConvergenceWarning
        If there are such stars, naming the first rows.
    """
    for name, doing in (
        ("NO_DATA", "have no good pixel and get NaN"),
        ("NOT_CONVERGED", "did not converge"),
    ):
        rows = np.flatnonzero(results.flags & FLAGS[name][0])
        if name == "NOT_CONVERGED":
            rows = rows[results.n_pixels[rows] > 0]
        if len(rows):
            shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
            warnings.warn(
                f"{len(rows)} of {len(results.flags)} stars {doing}: rows {shown}. "
                "`measure` tells more.",
                ConvergenceWarning,
                stacklevel=3,
            )


def _is_unconstrained(results, parameters):
    """Whether the error of each label exceeds half of its range."""
    n_labels = parameters.n_labels
    half = (parameters.high - parameters.low)[:n_labels] / 2
    return results.errors > half
