"""Statistics of measured against true values, and of the errors claimed for them.

It is here so that every table and every figure of a recovery means the same by a pull.
"""

import warnings

import numpy as np

from sk_payne.abundances import FLAGS
from sk_payne.exceptions import did_you_mean

__all__ = ["recovery_statistics", "recovery_table"]

# Makes the median absolute deviation of a Gaussian its standard deviation.
_MAD = 1.4826

# Standard errors of the median and of the scaled median absolute deviation of n values
# from a Gaussian, times sqrt(n), in standard deviations.
_MEDIAN_ERROR, _MAD_ERROR = 1.2533, 1.1664

# Part of a Gaussian within one and two standard deviations.
_COVERAGE = {"coverage_68": (1, 0.6827), "coverage_95": (2, 0.9545)}


def recovery_statistics(true, measured, error, interval=None):
    r"""Judge measurements of stars whose parameters are known.

    A pull is :math:`(measured - true) / error`. If errors are right, pulls have a mean
    of 0 and a standard deviation of 1, 68 % of the stars are within one error of the
    truth, and 95 % within two.

    Parameters
    ----------
    true : array-like of shape (..., n_stars, n_parameters)
        Known values.
    measured, error : array-like of shape (..., n_stars, n_parameters)
        Measured values, NaN for stars to leave out, and the standard deviations
        claimed for them.
    interval : array-like of shape (..., n_stars, n_parameters, 2), default=None
        Lower and upper ends of the middle 68 % claimed. If None, one error to both
        sides.

    Returns
    -------
    statistics : dict of str to ndarray of shape (..., n_parameters)
        - "n": stars that were measured;
        - "bias": median of measured - true;
        - "scatter": 1.4826 times the median absolute deviation of it;
        - "error": median of the errors claimed;
        - "pull_mean", "pull_std": mean and standard deviation of the pulls;
        - "pull_spread": 1.4826 times their median absolute deviation, which a few
          stars in a wrong valley do not change;
        - "coverage_68", "coverage_95": part of the stars within one and two errors of
          the truth, 0.683 and 0.954 of a Gaussian; with `interval`, the first is the
          part of the stars whose truth is in theirs;
        - each of these but "n" and "error" with "_error" after its name: the standard
          error that n stars leave it, if the errors claimed are right and Gaussian.

    Notes
    -----
    Standard errors: :math:`1.2533\,s/\sqrt n` of a median, :math:`1.1664\,s/\sqrt n` of
    a scaled median absolute deviation (its efficiency is 37 % [1]_), s being the
    scatter, and 1 for pulls; :math:`1/\sqrt n` and :math:`1/\sqrt{2n}` of mean and
    standard deviation of pulls; :math:`\sqrt{p(1-p)/n}` of a part p.

    References
    ----------
    .. [1] Rousseeuw & Croux, "Alternatives to the median absolute deviation", Journal
       of the American Statistical Association 88, 1273, 1993.

    Examples
    --------
    >>> from sk_payne.recovery import recovery_statistics
    >>> statistics = recovery_statistics(
    ...     true=[[0.0], [0.0], [0.0]], measured=[[1.0], [-1.0], [3.0]],
    ...     error=[[1.0], [1.0], [1.0]],
    ... )
    >>> statistics["pull_mean"], statistics["scatter"]
    (array([1.]), array([2.9652]))
    """
    measured, error = np.asarray(measured, float), np.asarray(error, float)
    true = np.asarray(true, float)
    difference = measured - true
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = difference / error
    pull = np.where(np.isfinite(pull), pull, np.nan)
    n = np.isfinite(difference).sum(axis=-2)
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        # of no star at all, everything is NaN
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        bias, scatter = _median_and_spread(difference)
        root = np.sqrt(n)
        statistics = {
            "n": n,
            "bias": bias,
            "bias_error": _MEDIAN_ERROR * scatter / root,
            "scatter": scatter,
            "scatter_error": _MAD_ERROR * scatter / root,
            "error": np.nanmedian(error, axis=-2),
            "pull_mean": np.nanmean(pull, axis=-2),
            "pull_mean_error": 1 / root,
            "pull_std": np.nanstd(pull, axis=-2),
            "pull_std_error": np.sqrt(0.5) / root,
            "pull_spread": _median_and_spread(pull)[1],
            "pull_spread_error": _MAD_ERROR / root,
        }
        for name, (n_sigma, expected) in _COVERAGE.items():
            within = (np.abs(difference) <= n_sigma * error).sum(axis=-2)
            statistics[name] = within / n
            statistics[f"{name}_error"] = np.sqrt(expected * (1 - expected) / n)
        if interval is not None:
            low, high = np.moveaxis(np.asarray(interval, float), -1, 0)
            within = ((low <= true) & (true <= high)).sum(axis=-2)
            statistics["coverage_68"] = within / n
    return statistics


def recovery_table(recovery, by=None, n_bins=3):
    """Bias, scatter, pulls and coverage of each parameter at each S/N.

    Parameters
    ----------
    recovery : Bunch
        From :func:`mock_recovery`.
    by : str, default=None
        Parameter whose true value sorts the stars into bins; "self" for each
        parameter's own.
    n_bins : int, default=3
        Bins with as many stars each, as far as their number allows.

    Returns
    -------
    table : astropy.table.QTable
        One row for each parameter, S/N and bin: "label", "unit", "snr"; if there are
        bins, "by" and the smallest, median and largest true value of it, "by_low",
        "by_median", "by_high"; "n_no_data", stars that had no data and are left
        out; and the statistics of :func:`recovery_statistics` over the others.
        "bias", "scatter" and "error" are in the unit of the row.

    Raises
    ------
    ValueError
        If `by` is not a parameter, or there are more bins than stars.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from sk_payne.recovery import recovery_table
    >>> recovery = Bunch(
    ...     snr=np.array([100.0]), label_names=["Fe_H"], label_units=["dex"],
    ...     true=np.array([[0.0], [-1.0]]), measured=np.array([[[0.5], [-1.5]]]),
    ...     error=np.full((1, 2, 1), 0.5), flags=np.zeros((1, 2), int),
    ... )
    >>> print(recovery_table(recovery, by="Fe_H", n_bins=2)["by_median", "bias"])
    by_median bias
    --------- ----
         -1.0 -0.5
          0.0  0.5
    """
    from astropy.table import QTable

    names, true = recovery.label_names, recovery.true
    if by not in (None, "self", *names):
        raise ValueError(
            f'`by` must be None, "self" or one of {names}; got {by!r}.'
            f"{did_you_mean(by, names)}"
        )
    n_bins = 1 if by is None else n_bins
    if not 1 <= n_bins <= len(true):
        raise ValueError(
            f"`n_bins` must be between 1 and the {len(true)} stars; got {n_bins}."
        )
    interval = recovery.get("interval")
    no_data = (recovery.flags & FLAGS["NO_DATA"][0]) > 0
    rows = []
    for i, name in enumerate(names):
        of = name if by in (None, "self") else by
        sorted_by = true[:, names.index(of)]
        bins = np.array_split(np.argsort(sorted_by, kind="stable"), n_bins)
        for s, snr in enumerate(recovery.snr):
            for stars in bins:
                row = {"label": name, "unit": recovery.label_units[i], "snr": snr}
                if by is not None:
                    row |= {"by": of, **_ends(sorted_by[stars])}
                found = recovery_statistics(
                    true[stars, i, None],
                    recovery.measured[s, stars, i, None],
                    recovery.error[s, stars, i, None],
                    None if interval is None else interval[s, stars, i, None],
                )
                row["n_no_data"] = no_data[s, stars].sum()
                rows.append(row | {key: value[0] for key, value in found.items()})
    return QTable(rows=rows)


def _ends(values):
    return {
        "by_low": values.min(),
        "by_median": np.median(values),
        "by_high": values.max(),
    }


def _median_and_spread(values):
    """Median over stars, and the scaled median absolute deviation from it."""
    median = np.nanmedian(values, axis=-2, keepdims=True)
    spread = _MAD * np.nanmedian(np.abs(values - median), axis=-2)
    return median[..., 0, :], spread
