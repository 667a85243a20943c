"""Calibration of claimed errors: distances, ranks and expected coverage."""

import numpy as np

from sk_payne.abundances import joint_probability
from sk_payne.recovery._joint_distance import joint_distance
from sk_payne.recovery._truth_levels import claimed_ranks, sample_ranks, tarp_levels
from sk_payne.recovery._uniformity import (
    REGIONS,
    binomial_p,
    central,
    coverage,
    kolmogorov_smirnov,
)

__all__ = ["calibration_levels", "joint_table", "rank_table"]


def calibration_levels(
    true, measured, error, covariance, error_dof, samples, *, n_labels, rng
):
    """Compute probability levels of the truth under the claimed errors, at each S/N.

    Parameters
    ----------
    true : ndarray of shape (n_stars, K)
        True parameters; the labels come first.
    measured, error : ndarray of shape (n_snr, n_stars, K)
        Measured parameters and their claimed standard deviations.
    covariance : ndarray of shape (n_snr, n_stars, K, K)
        Claimed covariances.
    error_dof : ndarray of shape (n_snr, n_stars)
        Degrees of freedom of the claimed t distributions; infinite for normal errors.
    samples : list of ndarray of shape (n_stars, n, K), or None
        Posterior samples at each S/N.
    n_labels : int
        Number of labels.
    rng : numpy RandomState
        Source of random numbers.

    Returns
    -------
    levels : dict
        Entries "distance", "n_free", "joint", "rank", "sample_rank" and "tarp" of the
        result of :func:`mock_recovery`.
    """
    labels = slice(0, n_labels)
    parts = true[:, labels], measured[..., labels], covariance[..., labels, labels]
    distance, n_free = joint_distance(*parts)
    tarp = [
        tarp_levels(
            parts[0],
            parts[1][i],
            parts[2][i],
            dof=error_dof[i],
            rng=rng,
            samples=None if samples is None else samples[i][..., labels],
        )
        for i in range(len(measured))
    ]
    ranks = None
    if samples is not None:
        ranks = np.stack([sample_ranks(true, some, rng) for some in samples])
    return {
        "distance": distance,
        "n_free": n_free,
        "joint": joint_probability(distance, n_free, error_dof),
        "rank": claimed_ranks(true, measured, error, error_dof),
        "sample_rank": ranks,
        "tarp": np.stack(tarp),
    }


def joint_table(recovery):
    r"""Test the joint regions of all labels, and TARP, at each S/N.

    Parameters
    ----------
    recovery : Bunch
        Result of :func:`mock_recovery`.

    Returns
    -------
    table : astropy.table.QTable
        One row for each S/N. If there are several, one more row for all S/N together,
        whose "snr" is NaN. Columns:

        - "n": number of measured stars;
        - "coverage_68", "coverage_95": fraction of stars whose true labels lie in the
          joint region that should contain 68.27 and 95.45 % of them;
        - "coverage_68_error", "coverage_95_error": standard errors of these fractions,
          if the claimed errors are right;
        - "coverage_68_p", "coverage_95_p": two-sided binomial p-values;
        - "joint_p": p-value of a Kolmogorov-Smirnov test of the probabilities of
          distances;
        - "tarp_distance", "tarp_p": largest distance of the expected coverage from the
          diagonal, and its p-value in the same test.

    See Also
    --------
    rank_table : Tests of single parameters.
    recovery_verdict : The result of these tests in words.

    Notes
    -----
    A star has the same noise at every S/N, scaled. So all S/N together contain no more
    information than one of them: the p-values of their row assume `n` divided by the
    number of S/N independent stars.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from sk_payne.recovery import joint_table
    >>> level = np.array([[0.1, 0.3, 0.5, 0.99]])
    >>> table = joint_table(Bunch(snr=np.array([100.0]), joint=level, tarp=level))
    >>> float(table["coverage_68"][0]), float(table["tarp_distance"][0])
    (0.75, 0.25)
    """
    from astropy.table import QTable

    n_snr = len(recovery.snr)
    rows = [
        _joint_row(snr, joint, tarp, 1)
        for snr, joint, tarp in zip(
            recovery.snr, recovery.joint, recovery.tarp, strict=True
        )
    ]
    if n_snr > 1:
        every = recovery.joint.ravel(), recovery.tarp.ravel()
        rows.append(_joint_row(np.nan, *every, n_snr))
    return QTable(rows=rows)


def _joint_row(snr, joint, tarp, n_repeats):
    """Return the row of a table of joint tests."""
    n = int(np.isfinite(joint).sum())
    row = {"snr": snr, "n": n} | _coverages(joint, n_repeats)
    independent = max(1, n // n_repeats)
    row["joint_p"] = kolmogorov_smirnov(joint, independent)[1]
    row["tarp_distance"], row["tarp_p"] = kolmogorov_smirnov(tarp, independent)
    return row


def rank_table(recovery, *, of="fit"):
    """Test the errors of single parameters by the ranks of the truth.

    Parameters
    ----------
    recovery : Bunch
        Result of :func:`mock_recovery`.
    of : {"fit", "samples"}, default="fit"
        Ranks under the claimed errors, or among posterior samples.

    Returns
    -------
    table : astropy.table.QTable
        One row for each parameter and S/N: "label", "snr", "n"; "coverage_68" and
        "coverage_95" of the central intervals, with "_error" and "_p" as in
        :func:`joint_table`; "n_below", number of stars whose rank is below one half,
        which means that they are measured too high, and its p-value "below_p";
        "rank_distance" and "rank_p" of a Kolmogorov-Smirnov test of the ranks.

    Raises
    ------
    ValueError
        If `of` is "samples" and there are no samples.

    See Also
    --------
    recovery_table : Bias, scatter and pulls.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from sk_payne.recovery import rank_table
    >>> rank = np.linspace(0.01, 0.99, 50)[None, :, None]
    >>> table = rank_table(
    ...     Bunch(snr=np.array([100.0]), label_names=["Fe_H"], rank=rank)
    ... )
    >>> float(table["coverage_68"][0]), float(table["rank_p"][0].round(3))
    (0.68, 1.0)
    """
    from astropy.table import QTable

    if of not in ("fit", "samples"):
        raise ValueError(f"`of` must be 'fit' or 'samples'; got {of!r}.")
    ranks = recovery.rank if of == "fit" else recovery.sample_rank
    if ranks is None:
        raise ValueError(
            "`of` must be 'fit' for a recovery without samples; got 'samples'. Call "
            "mock_recovery with samples=100."
        )
    rows = []
    for i, name in enumerate(recovery.label_names):
        for snr, rank in zip(recovery.snr, ranks[..., i], strict=True):
            n_below, n = coverage(rank, 0.5)
            row = {"label": name, "snr": snr, "n": int(n)} | _coverages(central(rank))
            row |= {"n_below": int(n_below), "below_p": binomial_p(n_below, n, 0.5)}
            row["rank_distance"], row["rank_p"] = kolmogorov_smirnov(rank)
            rows.append(row)
    return QTable(rows=rows)


def _coverages(level, n_repeats=1):
    """Return the coverage of each region, its standard error and p-value.

    Each level stands `n_repeats` times among the levels.
    """
    columns = {}
    for name, expected in REGIONS.items():
        count, n = coverage(level, expected)
        independent = max(1, n // n_repeats)
        columns |= {
            f"coverage_{name}": count / n if n else np.nan,
            f"coverage_{name}_error": np.sqrt(expected * (1 - expected) / independent),
            f"coverage_{name}_p": binomial_p(
                np.round(count / n_repeats), n // n_repeats, expected
            ),
        }
    return columns
