"""Whether errors of a recovery hold jointly: distances, ranks, expected coverage."""

import numpy as np

from sk_payne.recovery._joint_distance import joint_distance, joint_probability
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
    """Levels of the truth in what was claimed, at each S/N.

    Parameters
    ----------
    true : ndarray of shape (n_stars, K)
        Known parameters, the first of them labels.
    measured, error : ndarray of shape (n_snr, n_stars, K)
        Measured parameters and the standard deviations claimed.
    covariance : ndarray of shape (n_snr, n_stars, K, K)
        Covariances claimed.
    error_dof : ndarray of shape (n_snr, n_stars)
        Degrees of freedom of the claims.
    samples : list of ndarray of shape (n_stars, n, K), or None
        Samples of the posterior at each S/N.
    n_labels : int
        Number of labels.
    rng : numpy RandomState
        Source of random numbers.

    Returns
    -------
    levels : dict
        "distance", "n_free", "joint", "rank", "sample_rank" and "tarp", as
        :func:`mock_recovery` describes them.
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
    r"""Coverage of the joint region of all labels, and of TARP, at each S/N.

    Parameters
    ----------
    recovery : Bunch
        From :func:`mock_recovery`.

    Returns
    -------
    table : astropy.table.QTable
        One row for each S/N and, if there are several, one for all together, whose
        "snr" is NaN:

        - "n": stars that were measured;
        - "coverage_68", "coverage_95": part of the stars whose truth is in the region
          of labels that should hold 68.27 and 95.45 % of them;
        - "coverage_68_error", "coverage_95_error": their standard errors, if the claims
          are right;
        - "coverage_68_p", "coverage_95_p": two-sided binomial p-values;
        - "joint_p": of a Kolmogorov-Smirnov test of the probabilities of distances;
        - "tarp_distance", "tarp_p": largest distance of the expected coverage from the
          diagonal, and its p-value by the same test.

    See Also
    --------
    rank_table : The same for single parameters.
    recovery_verdict : What these numbers mean, in words.

    Notes
    -----
    The noise of a star is the same at every S/N but for its size. So all S/N together
    tell no more than one of them: p-values of that row are those of `n` divided by the
    number of S/N.

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


def _joint_row(snr, joint, tarp, n_alike):
    n = int(np.isfinite(joint).sum())
    row = {"snr": snr, "n": n} | _coverages(joint, n_alike)
    independent = max(1, n // n_alike)
    row["joint_p"] = kolmogorov_smirnov(joint, independent)[1]
    row["tarp_distance"], row["tarp_p"] = kolmogorov_smirnov(tarp, independent)
    return row


def rank_table(recovery, *, of="fit"):
    """Coverage of single parameters by ranks of the truth, and whether these are even.

    Parameters
    ----------
    recovery : Bunch
        From :func:`mock_recovery`.
    of : {"fit", "samples"}, default="fit"
        Ranks in the errors claimed, or under samples of the posterior.

    Returns
    -------
    table : astropy.table.QTable
        One row for each parameter and S/N: "label", "snr", "n"; "coverage_68" and
        "coverage_95" of the central intervals, with "_error" and "_p" as in
        :func:`joint_table`; "n_below", stars whose rank is below one half, since they
        are measured too high, and its p-value "below_p"; "rank_distance" and "rank_p"
        of the Kolmogorov-Smirnov test of the ranks.

    Raises
    ------
    ValueError
        If there are no samples.

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


def _coverages(level, n_alike=1):
    """Coverage of each region with its error and p-value, of which some are alike."""
    found = {}
    for name, expected in REGIONS.items():
        count, n = coverage(level, expected)
        independent = max(1, n // n_alike)
        found |= {
            f"coverage_{name}": count / n if n else np.nan,
            f"coverage_{name}_error": np.sqrt(expected * (1 - expected) / independent),
            f"coverage_{name}_p": binomial_p(
                np.round(count / n_alike), n // n_alike, expected
            ),
        }
    return found
