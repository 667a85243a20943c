"""Verdict on the errors of a recovery, in plain sentences."""

import numpy as np
from scipy import stats

from sk_payne.abundances import t_scale
from sk_payne.recovery._calibration import joint_table, rank_table
from sk_payne.recovery._uniformity import REGIONS, binomial_p

__all__ = ["recovery_verdict"]

# Columns of the p-values of each kind of test.
_WIDTH = ("coverage_68_p", "coverage_95_p")
_RANKS = (*_WIDTH, "below_p", "rank_p")
_JOINT = (*_WIDTH, "joint_p")

# Fraction of ranks that counts as one end.
_END = 0.2

# Meaning of an excess of ranks, by its place.
_MEANING = {
    "the errors claimed": {
        "at both ends": "errors are too small, or there is a second valley",
        "in the middle": "errors are too large",
        "at the low end": "values are too high",
        "at the high end": "values are too low",
    },
    "posterior samples": {
        "at both ends": "samples are too narrow, or miss a second valley",
        "in the middle": "samples are too wide",
        "at the low end": "samples are too high",
        "at the high end": "samples are too low",
    },
}


def recovery_verdict(recovery, *, significance=0.01):
    """Describe in plain sentences which errors of a recovery are wrong, and how.

    Parameters
    ----------
    recovery : Bunch
        Result of :func:`mock_recovery`.
    significance : float, default=0.01
        Probability that right errors fail any of the tests.

    Returns
    -------
    sentences : list of str
        One sentence for each parameter and each joint test that fails, with its
        p-value and the worst S/N, then one about the significance. If no test fails,
        one sentence that says so, and which coverage may have gone unnoticed.

    See Also
    --------
    joint_table, rank_table : Tables of the tests.

    Notes
    -----
    Coverage of the 68 and 95 % regions, and the number of stars measured too high, are
    tested by the binomial distribution; ranks, distances and TARP by the test of
    Kolmogorov and Smirnov. A test fails if its p-value is below `significance` divided
    by the number of tests (Bonferroni [1]_), which is valid for dependent tests too.
    The p-value in a sentence is that of the single test.

    References
    ----------
    .. [1] Dunn, "Multiple comparisons among means", Journal of the American Statistical
       Association 56, 52, 1961.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from sk_payne.recovery import recovery_verdict
    >>> pull = np.random.default_rng(0).standard_normal((1, 100, 1))
    >>> level = np.linspace(0.005, 0.995, 100)[None]
    >>> recovery = Bunch(
    ...     snr=np.array([100.0]), label_names=["Fe_H"], true=np.zeros((100, 1)),
    ...     measured=pull, error=1 + 0 * pull, error_dof=np.full((1, 100), np.inf),
    ...     rank=level[..., None], sample_rank=None, joint=level, tarp=level,
    ... )
    >>> print(*recovery_verdict(recovery))
    Nothing wrong found in 8 tests of 100 stars: ...
    """
    joint = joint_table(recovery)[: len(recovery.snr)]
    n = int(np.max(joint["n"], initial=0))
    if n == 0:
        return ["No star was measured."]
    fit, samples = rank_table(recovery), None
    n_tests = len(joint) * (1 + len(_JOINT)) + len(fit) * len(_RANKS)
    if recovery.sample_rank is not None:
        samples = rank_table(recovery, of="samples")
        n_tests += len(samples) * len(_RANKS)
    limit = significance / n_tests
    sentences = []
    for i, name in enumerate(recovery.label_names):
        rows, rank = fit[fit["label"] == name], recovery.rank[..., i]
        pull = _pulls(recovery, i)
        sentences += _describe_parameter(name, rows, pull, rank, limit, significance)
    labels_hold = not sentences
    if samples is not None:
        for i, name in enumerate(recovery.label_names):
            rows, rank = samples[samples["label"] == name], recovery.sample_rank[..., i]
            sentences += _describe_ranks(
                name, "posterior samples", rows, _RANKS, rank, limit
            )
    sentences += _describe_joint(joint, limit, labels_hold)
    if sentences:
        return [
            *sentences,
            f"Right errors fail any of these {n_tests} tests with a probability of "
            f"{100 * significance:g} % at most.",
        ]
    low, high = _unnoticed(n, REGIONS["68"], limit)
    return [
        f"Nothing wrong found in {n_tests} tests of {n} stars: a 68 % region that "
        f"holds between {low:.0f} and {high:.0f} % may go unnoticed, at a significance "
        f"of {100 * significance:g} % for all tests together."
    ]


# Parameters ----------------------------------------------------------------------


def _pulls(recovery, i):
    """Return pulls of a parameter, (n_snr, n_stars); t pulls are made normal."""
    error, dof = recovery.error[..., i], recovery.error_dof
    with np.errstate(divide="ignore", invalid="ignore"):
        pull = (recovery.measured[..., i] - recovery.true[:, i]) / error
    pull = np.where(np.isfinite(pull) & np.isfinite(error), pull, np.nan)
    size = np.abs(pull)
    # normal pulls are not converted: probabilities of their tails may underflow
    by_t = stats.norm.isf(stats.t.sf(t_scale(dof) * size, dof))
    size = np.where(np.isinf(dof), size, by_t)
    return np.sign(pull) * size


def _describe_parameter(name, rows, pull, rank, limit, significance):
    """Return sentences about the errors of one parameter."""
    sentences = []
    shift, where = _worst(rows, ("below_p",), limit)
    if where:
        sentences.append(_describe_shift(name, rows[shift], pull[shift], where))
    worst, where = _worst(rows, _WIDTH, limit)
    if where and not (sentences and _is_right(pull[worst], limit)):
        sentences.append(
            _describe_width(name, rows[worst], pull[worst], where, significance)
        )
    if sentences:
        return sentences
    return _describe_ranks(name, "the errors claimed", rows, ("rank_p",), rank, limit)


def _describe_shift(name, row, pull, where):
    size = np.nanmedian(pull)
    part = row["n_below"] / row["n"]
    side, part = ("high", part) if part > 0.5 else ("low", 1 - part)
    return (
        f"{name} is measured too {side} {where}, by {abs(size):.2g} of its error in "
        f"the median: so are {100 * part:.0f} % of {row['n']} stars "
        f"({_p(row, ('below_p',))})."
    )


def _is_right(pull, limit):
    """Return True if the width of pulls around their median is right."""
    pull = pull[np.isfinite(pull)]
    count = (np.abs(pull - np.median(pull)) < 1).sum()
    return binomial_p(count, len(pull), REGIONS["68"]) >= limit


def _describe_width(name, row, pull, where, significance):
    parts = {key: 100 * row[f"coverage_{key}"] for key in REGIONS}
    held = (
        f"{where}: the 68 % intervals hold {parts['68']:.0f} % of {row['n']} stars, "
        f"the 95 % intervals {parts['95']:.0f} % ({_p(row, _WIDTH)})."
    )
    size = np.abs(pull[np.isfinite(pull)])
    factor = np.quantile(size, REGIONS["68"])
    # errors are wrong; this decides whether of all stars or of a few
    p_scaled = binomial_p((size < 2 * factor).sum(), len(size), REGIONS["95"])
    if row["coverage_68_p"] >= significance and p_scaled < significance:
        if parts["95"] < 100 * REGIONS["95"]:
            return f"{name} of too many stars is far off {held} A second valley?"
        return f"{name} of too few stars is far off for normal errors {held}"
    if factor < 1:
        return f"Errors of {name} are too large by a factor of {1 / factor:.2g} {held}"
    found = f"Errors of {name} are too small by a factor of {factor:.2g} {held}"
    # largest of the same number of normal errors
    far = size > factor * stats.norm.isf(significance / 2 / len(size))
    if far.any():
        found += (
            f" {100 * far.mean():.2g} % of the stars are further off than that "
            "explains: a second valley, or errors that are not normal?"
        )
    return found


def _describe_ranks(name, claim, rows, columns, rank, limit):
    """Return a sentence about ranks under a claim that are not uniform."""
    worst, where = _worst(rows, columns, limit)
    if not where:
        return []
    row, pile = rows[worst], _pile(rank[worst])
    return [
        f"Ranks of {name} under {claim} pile up {pile} {where}: "
        f"{_MEANING[claim][pile]}; "
        f"the 68 % intervals hold {100 * row['coverage_68']:.0f} % of {row['n']} stars "
        f"({_p(row, columns)})."
    ]


def _pile(rank):
    """Return the place of an excess of ranks."""
    rank = rank[np.isfinite(rank)]
    low, high = np.mean(rank < _END) - _END, np.mean(rank > 1 - _END) - _END
    if low * high > 0:
        return "at both ends" if low > 0 else "in the middle"
    return "at the low end" if low > high else "at the high end"


# All labels together -------------------------------------------------------------


def _describe_joint(rows, limit, labels_hold):
    """Return sentences about the joint regions of all labels."""
    sentences = []
    worst, where = _worst(rows, _JOINT, limit)
    if where:
        row = rows[worst]
        why = " Each label alone holds: correlations are wrong." * labels_hold
        sentences.append(
            f"The 68 % region of all labels together holds "
            f"{100 * row['coverage_68']:.0f} %, and the 95 % region "
            f"{100 * row['coverage_95']:.0f} % of {row['n']} stars {where} "
            f"({_p(row, _JOINT)}).{why}"
        )
    worst, where = _worst(rows, ("tarp_p",), limit)
    if where:
        row = rows[worst]
        sentences.append(
            f"The expected coverage (TARP) of all labels is off the diagonal by up to "
            f"{row['tarp_distance']:.2f} {where} ({_p(row, ('tarp_p',))})."
        )
    return sentences


# Significance --------------------------------------------------------------------


def _worst(rows, columns, limit):
    """Return the row of the smallest p-value, and words for the S/N that fail."""
    p = np.min([rows[name] for name in columns], axis=0)
    worst = int(np.argmin(p))
    if not p[worst] < limit:
        return worst, ""
    others = [f"{snr:g}" for snr in rows["snr"][p < limit] if snr != rows["snr"][worst]]
    also = f" (and {', '.join(others)})" if others else ""
    return worst, f"at S/N {rows['snr'][worst]:g}{also}"


def _p(row, columns):
    p = min(row[name] for name in columns)
    return f"p = {p:.1g}" if p > 1e-99 else "p < 1e-99"


def _unnoticed(n, probability, limit):
    """Return the smallest and largest coverage in % that pass the test."""
    counts = np.arange(n + 1)
    passed = counts[binomial_p(counts, n, probability) >= limit]
    return 100 * passed[[0, -1]] / n
