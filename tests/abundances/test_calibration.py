"""Tests of the joint tests of a recovery, on posteriors that are known exactly."""

import re

import numpy as np
import pytest
import scipy.stats
from astropy.table import QTable
from scipy.spatial.distance import mahalanobis
from sklearn.linear_model import LinearRegression
from sklearn.utils import Bunch

from sk_payne import AbundanceRegressor, Observation
from sk_payne.recovery import (
    joint_distance,
    joint_probability,
    joint_table,
    mock_recovery,
    rank_table,
    recovery_table,
    recovery_verdict,
)

N_STARS, N_LABELS, N_PIXELS = 400, 3, 8
NAMES = ["label_0", "label_1", "label_2"]
# One in ten thousand: below, a test of right errors is taken to fail.
RARE = 1e-4


class Exact(AbundanceRegressor):
    """Closed-form least squares of a linear emulator, with claims that may be wrong."""

    claim = "right"

    def measure(self, X, return_cov):
        value, covariance, dof = self.claimed(X)
        error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        table = QTable()
        for i, name in enumerate(NAMES):
            table[name], table[f"{name}_error"] = value[:, i], error[:, i]
        table["chi2"], table["dof"], table["flags"] = np.zeros((3, len(value)), int)
        if dof is not None:
            table["error_dof"] = dof
        return table, covariance

    def posterior(self, X, *, sampler, n_draws, random_state):
        value, covariance, _ = self.claimed(X)
        root = np.linalg.cholesky(covariance)
        draws = random_state.standard_normal((len(value), n_draws, N_LABELS))
        samples = value[:, None] + draws @ root.swapaxes(1, 2)
        return Bunch(samples=samples, label_names=NAMES)

    def claimed(self, X):
        matrix = self.emulator.coef_
        flux = X.flux - self.emulator.intercept_
        value = np.linalg.lstsq(matrix, flux.T)[0].T
        unit = np.linalg.inv(matrix.T @ matrix)
        covariance = unit / X.ivar[:, :1, None]
        if self.claim in ("t", "t taken as normal"):
            # the noise is taken from the residuals, of few degrees of freedom
            dof = np.full(len(value), N_PIXELS - N_LABELS)
            scatter = ((flux - value @ matrix.T) ** 2).sum(axis=1) / dof
            covariance = unit * scatter[:, None, None]
            if self.claim == "t taken as normal":
                return value, covariance, None
            return value, covariance * (dof / (dof - 2))[:, None, None], dof
        error = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        if self.claim == "small":
            covariance = covariance / 1.5**2
        if self.claim == "large":
            covariance = covariance * 1.5**2
        if self.claim == "shifted":
            value = value + error * [1.0, 0.0, 0.0]
        if self.claim == "valley":
            value[::8] += 20 * error[::8] * [0.0, 1.0, 0.0]
        if self.claim == "correlated":
            # the covariance of labels that all go together has the same errors
            together = error[:, :, None] * error[:, None]
            covariance = 0.2 * covariance + 0.8 * together
        return value, covariance, None


@pytest.fixture(scope="module")
def recover():
    """Give a function that makes, once, the recovery of a claim."""
    rng = np.random.default_rng(0)
    labels = rng.uniform(-1, 1, (50, N_LABELS))
    linear = LinearRegression().fit(labels, labels @ rng.uniform(-1, 1, (N_LABELS, 8)))
    known = {}

    def make(claim, **options):
        key = claim, *options.items()
        if key not in known:
            regressor = Exact(
                linear, Observation(velocity_range=None), bounds=[(-9, 9)] * N_LABELS
            )
            regressor.claim = claim
            options = {"snr": (100, 300), "n_stars": N_STARS} | options
            known[key] = mock_recovery(regressor, random_state=0, **options)
        return known[key]

    return make


def says(verdict, pattern):
    """Whether a sentence of a verdict matches."""
    return any(re.search(pattern, sentence) for sentence in verdict)


def uniform_p(level):
    return scipy.stats.kstest(level, "uniform").pvalue


# Distances -----------------------------------------------------------------------


def test_joint_distance_is_that_of_scipy_squared():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((7, 3, 3))
    covariance = root @ root.swapaxes(1, 2)
    true, measured = rng.standard_normal((2, 7, 3))
    distance, n_free = joint_distance(true, measured, covariance)
    expected = [
        mahalanobis(t, m, np.linalg.inv(c)) ** 2
        for t, m, c in zip(true, measured, covariance, strict=True)
    ]
    np.testing.assert_allclose(distance, expected, rtol=1e-9)
    np.testing.assert_array_equal(n_free, 3)


def test_joint_distance_leaves_out_known_unseen_and_missing_labels():
    covariance = np.array([[4.0, 1.0], [1.0, 2.0]])
    wide = np.full((5, 5), 0.5)
    wide[:2, :2] = covariance
    wide[2, :] = wide[:, 2] = 0.0  # known
    wide[3, 3] = np.inf  # not seen
    true, measured = np.zeros(5), np.array([1.0, -2.0, 0.0, 7.0, np.nan])
    distance, n_free = joint_distance(true, measured, wide)
    assert n_free == 2
    expected = mahalanobis(true[:2], measured[:2], np.linalg.inv(covariance)) ** 2
    assert distance == pytest.approx(expected, rel=1e-9)


def test_joint_distance_of_a_star_without_data_is_nan():
    nan = np.full(2, np.nan)
    distance, n_free = joint_distance(np.zeros(2), nan, np.full((2, 2), np.nan))
    assert np.isnan(distance)
    assert n_free == 0
    assert np.isnan(joint_probability(distance, n_free))


def test_joint_probability_of_normal_errors_is_that_of_chi2():
    distance, k = np.array([0.5, 3.0, 40.0]), np.array([1, 5, 19])
    np.testing.assert_allclose(
        joint_probability(distance, k), scipy.stats.chi2.cdf(distance, k)
    )


def test_joint_probability_of_t_errors_is_that_of_draws_of_scipy():
    shape = np.array([[4.0, 1.0], [1.0, 2.0]])
    draws = scipy.stats.multivariate_t.rvs(shape=shape, df=4, size=4001, random_state=0)
    covariance = 4 / (4 - 2) * shape
    distance, k = joint_distance(
        np.zeros(2), draws, np.broadcast_to(covariance, (4001, 2, 2))
    )
    assert uniform_p(joint_probability(distance, k, dof=4)) > RARE
    assert uniform_p(joint_probability(distance, k)) < RARE


def test_joint_probability_of_many_degrees_of_freedom_is_that_of_none():
    dof = np.array([1e9, np.inf])
    one, other = joint_probability(5.0, 3, dof)
    assert one == pytest.approx(other, rel=1e-6)


# Levels of known posteriors ------------------------------------------------------


def test_levels_of_right_errors_are_uniform(recover):
    recovery = recover("right", samples=99)
    for i in range(2):
        assert uniform_p(recovery.joint[i]) > RARE
        assert uniform_p(recovery.tarp[i]) > RARE
        for name in ("rank", "sample_rank"):
            for rank in recovery[name][i].T:
                assert uniform_p(rank) > RARE


def test_ranks_are_those_of_normal_pulls_and_agree_with_samples(recover):
    recovery = recover("right", samples=99)
    pull = (recovery.measured - recovery.true) / recovery.error
    np.testing.assert_allclose(recovery.rank, scipy.stats.norm.sf(pull), rtol=1e-9)
    # 99 draws tell a rank to 0.05
    assert np.std(recovery.sample_rank - recovery.rank) < 0.05


def test_covariance_and_degrees_of_freedom_are_those_claimed(recover):
    recovery = recover("correlated")
    assert recovery.covariance.shape == (2, N_STARS, 3, 3)
    variance = np.diagonal(recovery.covariance, axis1=2, axis2=3)
    np.testing.assert_allclose(variance, recovery.error**2)
    assert np.isinf(recovery.error_dof).all()
    assert (recover("t").error_dof == N_PIXELS - N_LABELS).all()
    assert recovery.n_labels == 3
    assert (recovery.n_free == 3).all()


@pytest.mark.parametrize("claim", ["small", "large", "shifted", "correlated"])
def test_wrong_claims_fail_the_joint_test_and_tarp(recover, claim):
    table = joint_table(recover(claim))
    assert (table["joint_p"] < RARE).all()
    assert (table["tarp_p"] < RARE).all()


@pytest.mark.parametrize("claim", ["small", "large", "correlated"])
def test_tarp_of_wrong_samples_fails(recover, claim):
    recovery = recover(claim, samples=99)
    assert (joint_table(recovery)["tarp_p"] < RARE).all()


@pytest.mark.parametrize("claim", ["small", "large"])
def test_ranks_of_wrong_widths_are_not_uniform(recover, claim):
    recovery = recover(claim, samples=99)
    for of in ("fit", "samples"):
        table = rank_table(recovery, of=of)
        assert (np.minimum(table["coverage_68_p"], table["rank_p"]) < RARE).all()


def test_ranks_of_a_shift_are_on_one_side(recover):
    table = rank_table(recover("shifted"))
    shifted = table["label"] == "label_0"
    assert (table["below_p"][shifted] < RARE).all()
    assert (table["n_below"][shifted] > 0.75 * N_STARS).all()
    assert (table["below_p"][~shifted] > RARE).all()


def test_ranks_do_not_see_a_wrong_correlation(recover):
    table = rank_table(recover("correlated"))
    assert (table["rank_p"] > RARE).all()


def test_errors_from_few_residuals_follow_t(recover):
    right, wrong = recover("t"), recover("t taken as normal")
    assert joint_table(right)["joint_p"].min() > RARE
    assert joint_table(right)["tarp_p"].min() > RARE
    assert rank_table(right)["rank_p"].min() > RARE
    assert joint_table(wrong)["joint_p"].max() < RARE
    assert joint_table(wrong)["tarp_p"].max() < 10 * RARE


# Tables --------------------------------------------------------------------------


def test_joint_table_counts_regions_and_tests_with_scipy(recover):
    recovery = recover("small")
    table = joint_table(recovery)
    assert table["snr"][:2].tolist() == [100, 300]
    level = recovery.joint[0]
    row = table[0]
    assert row["n"] == N_STARS
    assert row["coverage_68"] == np.mean(level < 0.6827)
    assert row["coverage_95"] == np.mean(level < 0.9545)
    tail = scipy.stats.binomtest(
        int((level < 0.6827).sum()), N_STARS, 0.6827, alternative="less"
    )
    assert row["coverage_68_p"] == pytest.approx(2 * tail.pvalue)
    found = scipy.stats.kstest(recovery.tarp[0], "uniform")
    assert row["tarp_distance"] == found.statistic
    assert row["tarp_p"] == pytest.approx(found.pvalue)


def test_joint_table_of_all_snr_counts_stars_once(recover):
    row = joint_table(recover("right"))[2]
    assert np.isnan(row["snr"])
    assert row["n"] == 2 * N_STARS
    assert row["coverage_68_error"] == pytest.approx(np.sqrt(0.6827 * 0.3173 / N_STARS))
    assert len(joint_table(recover("right", snr=50))) == 1


def test_rank_table_has_the_coverage_of_the_recovery_table(recover):
    recovery = recover("right")
    ranks, pulls = rank_table(recovery), recovery_table(recovery)
    for name in ("label", "snr", "n", "coverage_68"):
        assert ranks[name].tolist() == pulls[name].tolist()


def test_rank_table_says_what_is_not_there(recover):
    with pytest.raises(
        ValueError, match=r"without samples.*mock_recovery with samples"
    ):
        rank_table(recover("right"), of="samples")
    with pytest.raises(
        ValueError, match=r"`of` must be 'fit' or 'samples'; got 'ranks'"
    ):
        rank_table(recover("right"), of="ranks")


def test_number_of_samples_is_checked(recover):
    with pytest.raises(
        ValueError, match=r"`samples` must be None or an integer.*got 1"
    ):
        recover("right", samples=1)


# Verdict -------------------------------------------------------------------------


def test_verdict_on_right_errors_finds_nothing_and_says_what_it_cannot_see(recover):
    [sentence] = recover("right").verdict
    # 5 tests of three labels and 4 of all together, at two S/N
    assert sentence.startswith("Nothing wrong found in 32 tests of 400 stars: a 68 %")
    low, high = map(int, re.search(r"between (\d+) and (\d+) %", sentence).groups())
    # 3.5 standard errors of 0.023
    assert 58 <= low <= 62
    assert 74 <= high <= 78


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        ("small", r"^Errors of label_0 are too small by a factor of 1\.[45]"),
        ("large", r"^Errors of label_1 are too large by a factor of 1\.[456]"),
        (
            "shifted",
            r"^label_0 is measured too high at S/N .*of its error in the median",
        ),
        ("valley", r"^Errors of label_1 .* 1[23] % of the stars are further off"),
        (
            "small",
            r"^The 68 % region of all labels together holds [34]\d %, and the 95",
        ),
        ("small", r"^The expected coverage \(TARP\) of all labels is off the diagonal"),
        ("correlated", "Each label alone holds: correlations are wrong"),
    ],
)
def test_verdict_says_what_is_wrong(recover, claim, sentence):
    verdict = recover(claim).verdict
    assert says(verdict, sentence), verdict
    assert verdict[-1].startswith("Right errors fail any of these 32 tests")


def test_verdict_blames_nothing_else(recover):
    assert len(recover("shifted").verdict) == 4
    about = [sentence.split()[0] for sentence in recover("correlated").verdict]
    assert "label_0" not in about
    assert "Errors" not in about


def test_verdict_on_samples_says_where_ranks_pile_up(recover):
    small = recover("small", samples=99).verdict
    large = recover("large", samples=99).verdict
    assert says(small, "Ranks of label_2 under posterior samples pile up at both ends")
    assert says(large, "pile up in the middle.*samples are too wide")


def test_verdict_on_tails_names_the_stars_that_are_far_off():
    # as many within one error as of a normal distribution, but fewer within two
    t = scipy.stats.t(2)
    pull = t.ppf((np.arange(400) + 0.5) / 400) / t.ppf((1 + 0.6827) / 2)
    verdict = recovery_verdict(recovery_of(pull[None, :, None]))
    assert says(verdict, "Fe_H of too many stars is far off at S/N 100.* hold 68 %")
    short = recovery_verdict(recovery_of(np.clip(pull, -1.5, 1.5)[None, :, None]))
    assert says(short, "Fe_H of too few stars is far off for normal errors")


def test_verdict_on_no_star_says_so():
    nothing = recovery_of(np.full((1, 3, 1), np.nan))
    assert recovery_verdict(nothing) == ["No star was measured."]


def test_verdict_rarely_calls_right_errors_wrong():
    rng = np.random.default_rng(0)
    n_wrong = 0
    for _ in range(60):
        pull = rng.standard_normal((1, 50, 2))
        verdict = recovery_verdict(recovery_of(pull), significance=0.1)
        n_wrong += len(verdict) > 1
    assert n_wrong <= scipy.stats.binom.ppf(1 - RARE, 60, 0.1)


def recovery_of(pull):
    """Recovery of labels without covariance, with errors of one."""
    _, n_stars, n_labels = pull.shape
    return Bunch(
        snr=np.array([100.0]),
        label_names=["Fe_H", "Mg_H"][:n_labels],
        true=np.zeros((n_stars, n_labels)),
        measured=pull,
        error=np.ones_like(pull),
        error_dof=np.full((1, n_stars), np.inf),
        rank=scipy.stats.norm.sf(pull),
        sample_rank=None,
        joint=scipy.stats.chi2.cdf((pull**2).sum(axis=2), n_labels),
        tarp=np.linspace(0, 1, n_stars)[None],
    )
