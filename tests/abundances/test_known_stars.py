"""Tests of the stars of a recovery: in several arms, or brought by the user."""

import warnings

import numpy as np
import pytest
import scipy.stats
from astropy import units as u
from regressors import make_regressor
from specutils import SpectrumList

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import SecondStar, Stage
from sk_payne.exceptions import ResolutionWarning
from sk_payne.recovery import joint_table, mock_recovery
from sk_payne.spectra import SpectrumSet

N_STARS = 7
# One in ten thousand: below, a test of right errors is taken to fail.
RARE = 1e-4


class Watched(AbundanceRegressor):
    """Keeps what it is asked to measure."""

    seen = None

    def measure(self, X, **options):
        Watched.seen = X
        return super().measure(X, **options)


@pytest.fixture(scope="module")
def arms(emulator):
    """Wavelengths of two arms that overlap."""
    return [emulator.wavelength_[:150], emulator.wavelength_[130:]]


@pytest.fixture(scope="module")
def labels(draw_labels):
    return draw_labels(N_STARS)


@pytest.fixture
def regressor(emulator):
    return make_regressor(
        emulator, cls=Watched, velocity_range=None, resolving_power="emulator"
    )


@pytest.fixture(scope="module")
def make_set(emulator, labels):
    """Give a function that makes spectra of the stars, with noise if S/N is given."""

    def make(snr=None, seed=0, rows=slice(None)):
        flux = emulator.predict(labels)[rows]
        noise = np.random.default_rng(seed).standard_normal(flux.shape)
        return SpectrumSet(
            flux if snr is None else flux + noise / snr,
            np.full(flux.shape, 1.0 if snr is None else snr**2),
            wavelength=emulator.wavelength_,
            medium=emulator.medium_,
            has_uncertainty=snr is not None,
        )

    return make


# Arms ----------------------------------------------------------------------------


def test_stars_of_two_arms_have_offsets_that_are_measured(emulator, arms):
    regressor = AbundanceRegressor(
        emulator, Observation(velocity_range=(-30, 30), arm_offsets=(-5, 5))
    )
    recovery = mock_recovery(
        regressor, n_stars=60, snr=100, wavelength=arms, random_state=0
    )
    assert recovery.label_names[-2:] == ["radial_velocity", "velocity_offset_1"]
    assert recovery.label_units[-1] == "km / s"
    offset = recovery.true[:, -1]
    # the inner 80 % of the limits
    assert -4 <= offset.min() < -3
    assert 3 < offset.max() <= 4
    for rank in recovery.rank[0].T:
        assert scipy.stats.kstest(rank, "uniform").pvalue > RARE
    table = joint_table(recovery)
    assert table["joint_p"][0] > RARE
    assert table["tarp_p"][0] > RARE


def test_covariance_is_that_of_the_parameters_by_name(emulator, arms):
    regressor = AbundanceRegressor(
        emulator, Observation(velocity_range=(-30, 30), arm_offsets=(-5, 5))
    )
    recovery = mock_recovery(
        regressor, n_stars=2, snr=100, wavelength=arms, random_state=0
    )
    variance = np.diagonal(recovery.covariance, axis1=2, axis2=3)
    np.testing.assert_allclose(np.sqrt(variance), recovery.error)


def test_spectra_of_arms_are_those_of_each_alone_but_for_the_offset(emulator, arms):
    options = {"labels": [[5500.0, -0.3, -0.3]], "snr": 1e9, "random_state": 0}
    regressor = make_regressor(emulator, cls=Watched, velocity_range=(-9, 9))
    mock_recovery(regressor, wavelength=arms, velocity=3.0, **options)
    both = Watched.seen
    np.testing.assert_array_equal(both.arm, np.repeat([0, 1], [len(a) for a in arms]))
    for number, arm in enumerate(arms):
        mock_recovery(regressor, wavelength=arm, velocity=3.0, **options)
        np.testing.assert_allclose(
            both.flux[:, both.arm == number], Watched.seen.flux, atol=1e-7
        )


def test_offset_of_an_arm_shifts_it_alone(emulator, arms):
    options = {"labels": [[5500.0, -0.3, -0.3]], "snr": 1e9, "random_state": 0}
    regressor = make_regressor(
        emulator, cls=Watched, velocity_range=(-9, 9), arm_offsets=(-8.0, 8.0)
    )
    found = mock_recovery(regressor, wavelength=arms, velocity=1.0, **options)
    both, offset = Watched.seen, found.true[0, -1]
    assert abs(offset) > 0.1
    for number, velocity in enumerate((1.0, 1.0 + offset)):
        mock_recovery(regressor, wavelength=arms[number], velocity=velocity, **options)
        alone, own = Watched.seen, both.arm == number
        good = (alone.ivar > 0) & (both.ivar[:, own] > 0)
        np.testing.assert_allclose(both.flux[:, own][good], alone.flux[good], atol=1e-7)


def test_overlapping_arms_of_an_emulator_that_takes_wavelengths(emulators, arms):
    regressor = AbundanceRegressor(
        emulators["transformer"], Observation(velocity_range=(-30, 30))
    )
    recovery = mock_recovery(
        regressor, n_stars=11, snr=1000, wavelength=arms, random_state=0
    )
    chi2, dof = recovery.chi2.sum(), recovery.dof.sum()
    assert abs(chi2 - dof) < 5 * np.sqrt(2 * dof)


def test_each_arm_has_a_continuum_of_its_own(emulator, arms, labels):
    regressor = make_regressor(
        emulator, cls=Watched, velocity_range=(-9, 9), continuum_degree=1
    )
    recovery = mock_recovery(
        regressor, labels, snr=1e7, velocity=0.0, wavelength=arms, random_state=0
    )
    assert (recovery.chi2 < 2 * recovery.dof).all()
    model = np.hstack(
        [emulator.predict(labels)[:, :150], emulator.predict(labels)[:, 130:]]
    )
    continuum = Watched.seen.flux / model
    # the same wavelength, at the end of one arm and in the other
    assert np.abs(continuum[:, 149] / continuum[:, 150 + 19] - 1).max() > 0.05


def test_wavelengths_of_arms_may_be_quantities_and_one_arm_is_none(emulator, arms):
    regressor = make_regressor(emulator, cls=Watched, velocity_range=(-9, 9))
    options = {"n_stars": 2, "snr": 100, "random_state": 0}
    plain = mock_recovery(regressor, wavelength=arms, **options)
    nm = mock_recovery(
        regressor, wavelength=[(a * u.AA).to("nm") for a in arms], **options
    )
    assert (np.abs(nm.measured - plain.measured) < 1e-3 * plain.error).all()
    mock_recovery(regressor, wavelength=arms[:1], **options)
    assert Watched.seen.arm is None


# Spectra that are brought --------------------------------------------------------


def test_spectra_with_errors_are_measured_as_they_are(regressor, make_set, labels):
    spectra = make_set(snr=80)
    recovery = mock_recovery(regressor, labels, spectra=spectra, random_state=0)
    table = regressor.measure(spectra)
    np.testing.assert_array_equal(recovery.measured[0, :, 0], table["teff"].value)
    np.testing.assert_array_equal(recovery.error[0, :, 1], table["Fe_H_error"].value)
    np.testing.assert_array_equal(recovery.true, labels)
    assert recovery.snr == pytest.approx(
        [np.median(spectra.flux * np.sqrt(spectra.ivar))]
    )


def test_spectra_without_errors_are_given_noise_at_each_snr(
    regressor, make_set, labels
):
    recovery = mock_recovery(
        regressor, labels, spectra=make_set(), snr=(50, 200), random_state=0
    )
    assert recovery.measured.shape == (2, N_STARS, 3)
    noise = (Watched.seen.flux - make_set().flux) * 200
    assert scipy.stats.kstest(noise.ravel(), "norm").pvalue > RARE
    np.testing.assert_array_equal(Watched.seen.ivar, 200**2)


def test_error_of_the_emulator_counts_for_spectra_that_are_brought(
    emulator, make_set, labels
):
    with_error, without = (
        mock_recovery(
            make_regressor(
                emulator,
                velocity_range=None,
                resolving_power="emulator",
                emulator_error=counts,
            ),
            labels,
            spectra=make_set(snr=1000),
        )
        for counts in (True, False)
    )
    assert (with_error.error > 1.2 * without.error).all()


def test_lists_of_arms_are_spectra_too(regressor, make_set, labels):
    spectra = make_set(snr=100)
    parts = [
        SpectrumSet(
            spectra.flux[:, pixels],
            spectra.ivar[:, pixels],
            wavelength=spectra.wavelength[pixels],
            medium=spectra.medium,
        )
        for pixels in (slice(0, 100), slice(100, None))
    ]
    stars = [
        SpectrumList(star)
        for star in zip(*(part.to_specutils() for part in parts), strict=True)
    ]
    one = mock_recovery(regressor, labels, spectra=stars)
    other = mock_recovery(regressor, labels, spectra=SpectrumSet.join_arms(parts))
    np.testing.assert_allclose(one.measured, other.measured, rtol=1e-6)


def test_velocity_that_is_not_known_is_not_judged(emulator, make_set, labels):
    regressor = make_regressor(
        emulator, velocity_range=(-20, 20), resolving_power="emulator"
    )
    unknown = mock_recovery(regressor, labels, spectra=make_set(snr=100))
    assert unknown.label_names == ["teff", "Fe_H", "Mg_H"]
    known = mock_recovery(
        regressor, labels, spectra=make_set(snr=100), velocity=np.zeros(N_STARS)
    )
    assert known.label_names[-1] == "radial_velocity"
    np.testing.assert_array_equal(known.true[:, -1], 0)
    np.testing.assert_array_equal(known.measured[..., :3], unknown.measured)


def test_spectra_that_state_no_resolving_power_are_told_as_by_measure(
    emulator, make_set, labels
):
    regressor = make_regressor(emulator, velocity_range=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mock_recovery(regressor, labels, spectra=make_set(snr=100))
    assert ResolutionWarning in {one.category for one in caught}


def test_samples_of_spectra_with_errors_have_ranks(regressor, make_set, labels):
    recovery = mock_recovery(
        regressor, labels, spectra=make_set(snr=100), samples=49, random_state=0
    )
    assert recovery.sample_rank.shape == (1, N_STARS, 3)
    assert np.abs(recovery.sample_rank - recovery.rank).max() < 0.3


def test_fixed_label_has_no_rank_and_does_not_count(emulator, make_set, labels):
    regressor = AbundanceRegressor(
        emulator,
        Observation(velocity_range=None, resolving_power="emulator"),
        fixed={"teff": labels[:, 0]},
    )
    recovery = mock_recovery(regressor, labels, spectra=make_set(snr=100), samples=9)
    assert (recovery.n_free == 2).all()
    for ranks in (recovery.rank, recovery.sample_rank):
        np.testing.assert_array_equal(
            np.isnan(ranks[0]).all(axis=0), [True, False, False]
        )
    assert np.isfinite(recovery.joint).all()


# Covariances of a table ----------------------------------------------------------


def test_measure_gives_covariances_of_all_parameters(emulator, make_set):
    regressor = make_regressor(
        emulator, velocity_range=(-20, 20), resolving_power="emulator"
    )
    spectra = make_set(snr=100)
    table, cov = regressor.measure(spectra, return_cov=True)
    assert cov.shape == (N_STARS, 4, 4)
    _, expected = regressor.predict(spectra, return_cov=True)
    np.testing.assert_array_equal(cov[:, :3, :3], expected)
    np.testing.assert_allclose(cov[:, 3, 3], table["radial_velocity_error"].value ** 2)
    _, model, same = regressor.measure(spectra, return_model=True, return_cov=True)
    assert model.shape == spectra.shape
    np.testing.assert_array_equal(same, cov)


# Bad input -----------------------------------------------------------------------


class Nothing(Stage):
    """An effect that does nothing."""


def test_what_mock_spectra_cannot_have_is_named(emulator):
    for name, value in (
        ("integrate_pixels", True),
        ("stages", [Nothing()]),
        ("resolving_power", (5000, 9000)),
    ):
        regressor = AbundanceRegressor(emulator, Observation(**{name: value}))
        with pytest.raises(ValueError, match=f"`{name}` of the .* bring spectra"):
            mock_recovery(regressor, n_stars=2)
    second = AbundanceRegressor(emulator, Observation(second_star=SecondStar()))
    with pytest.raises(ValueError, match="`second_star` of the observation must be"):
        mock_recovery(second, n_stars=2)


def test_bad_spectra_are_named(regressor, make_set, labels):
    spectra = make_set(snr=100)
    mixed = SpectrumSet.concatenate([make_set(snr=9, rows=[0]), make_set(rows=[1])])
    for options, message in (
        ({"labels": None, "spectra": spectra}, "`labels` must be given with `spectra`"),
        (
            {"labels": labels[:2], "spectra": spectra},
            "for each of the 7 spectra; got 2",
        ),
        ({"labels": labels[:2], "spectra": mixed}, "got 1 of 2 that have one"),
        ({"spectra": spectra, "flux": spectra.flux}, "must be None with `spectra`"),
        (
            {"spectra": spectra, "velocity": (0, 9)},
            r"of the 7 spectra in km/s, .*\(0, 9",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            mock_recovery(regressor, **({"labels": labels} | options))


def test_bad_wavelengths_of_arms_are_named(emulator):
    with pytest.raises(ValueError, match=r"a list with those of each arm; got"):
        mock_recovery(
            AbundanceRegressor(emulator), n_stars=2, wavelength=[[4500.0, 4501.0], []]
        )
