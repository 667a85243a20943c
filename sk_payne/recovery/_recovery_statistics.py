"""Statistics of measured against true values, and of the claimed errors.

All tables and figures of a recovery use these definitions.
"""

import warnings

import numpy as np

from sk_payne.abundances import FLAGS
from sk_payne.exceptions import did_you_mean

__all__ = ["recovery_statistics", "recovery_table"]

# Ratio of the standard deviation to the median absolute deviation of a Gaussian.
_MAD = 1.4826

# Standard errors of the median and of the scaled median absolute deviation of n
# Gaussian values, times sqrt(n), in standard deviations.
_MEDIAN_ERROR, _MAD_ERROR = 1.2533, 1.1664

# Number of standard deviations, and the fraction of a Gaussian within them.
_COVERAGE = {"coverage_68": (1, 0.6827), "coverage_95": (2, 0.9545)}


def recovery_statistics(true, measured, error, interval=None):
    r"""Compare measured with true parameters of stars.

    A pull is :math:`(measured - true) / error`. If errors are right, pulls have a mean
    of 0 and a standard deviation of 1, 68 % of the stars lie within one error of the
    truth, and 95 % within two.

    Parameters
    ----------
    true : array-like of shape (..., n_stars, n_parameters)
        True values.
    measured, error : array-like of shape (..., n_stars, n_parameters)
        Measured values, NaN for stars to leave out, and their claimed standard
        deviations.
    interval : array-like of shape (..., n_stars, n_parameters, 2), default=None
        Lower and upper ends of the claimed 68 % intervals. If None, they are one error
        below and above the measured value.

    Returns
    -------
    statistics : dict of str to ndarray of shape (..., n_parameters)
        - "n": number of measured stars;
        - "bias": median of measured - true;
        - "scatter": 1.4826 times the median absolute deviation of measured - true;
        - "error": median of the claimed errors;
        - "pull_mean", "pull_std": mean and standard deviation of the pulls;
        - "pull_spread": 1.4826 times the median absolute deviation of the pulls, which
          is insensitive to a few stars in a wrong valley;
        - "coverage_68", "coverage_95": fraction of stars within one and two errors of
          the truth, 0.683 and 0.954 for a Gaussian; with `interval`, "coverage_68" is
          the fraction of stars whose interval contains the truth;
        - "bias_error", "coverage_68_error" and so on, for all of these except "n" and
          "error": standard error of the statistic for n stars, if the claimed errors
          are right and Gaussian.

    Notes
    -----
    Standard errors: :math:`1.2533\,s/\sqrt n` of a median, :math:`1.1664\,s/\sqrt n` of
    a scaled median absolute deviation (its efficiency is 37 % [1]_), where s is the
    scatter, or 1 for pulls; :math:`1/\sqrt n` and :math:`1/\sqrt{2n}` of the mean and
    the standard deviation of pulls; :math:`\sqrt{p(1-p)/n}` of a fraction p.

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
        # without stars, all statistics are NaN
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
    """Make a table of bias, scatter, pulls and coverage of each parameter and S/N.

    Parameters
    ----------
    recovery : Bunch
        Result of :func:`mock_recovery`.
    by : str, default=None
        Parameter by whose true value stars are divided into bins; "self" for the
        parameter of each row. If None, there are no bins.
    n_bins : int, default=3
        Number of bins; each holds the same number of stars, or one more.

    Returns
    -------
    table : astropy.table.QTable
        One row for each parameter, S/N and bin. Columns: "label", "unit", "snr"; if
        there are bins, "by" and its smallest, median and largest true value, "by_low",
        "by_median" and "by_high"; "n_no_data", number of stars without data, which are
        left out; and the statistics of :func:`recovery_statistics` of the other stars.
        "bias", "scatter" and "error" are in the unit of the row.

    Raises
    ------
    ValueError
        If `by` is not a parameter, or `n_bins` exceeds the number of stars.

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
                statistics = recovery_statistics(
                    true[stars, i, None],
                    recovery.measured[s, stars, i, None],
                    recovery.error[s, stars, i, None],
                    None if interval is None else interval[s, stars, i, None],
                )
                row["n_no_data"] = no_data[s, stars].sum()
                rows.append(row | {key: value[0] for key, value in statistics.items()})
    return QTable(rows=rows)


def _ends(values):
    """Return the columns that describe a bin."""
    return {
        "by_low": values.min(),
        "by_median": np.median(values),
        "by_high": values.max(),
    }


def _median_and_spread(values):
    """Return the median over stars and the scaled median absolute deviation."""
    median = np.nanmedian(values, axis=-2, keepdims=True)
    spread = _MAD * np.nanmedian(np.abs(values - median), axis=-2)
    return median[..., 0, :], spread
