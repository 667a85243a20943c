"""NeuralPosterior: contract, samples, densities, training and what is refused."""

import pickle

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks

from sk_payne.exceptions import TrainingInterruptedWarning
from sk_payne.neural_posterior import NeuralPosterior


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_set_params,
    ],
)
def test_checks_of_scikit_learn_that_need_no_table_of_numbers_pass(
    make_posterior, check
):
    check("NeuralPosterior", make_posterior())


def test_parameters_survive_cloning_and_fitting(make_posterior):
    posterior = make_posterior(max_steps=2)
    before = posterior.get_params(deep=False)
    again = clone(posterior).get_params(deep=False)
    # the emulator is cloned, too
    assert {k: v for k, v in again.items() if k not in ("emulator", "observation")} == {
        k: v for k, v in before.items() if k not in ("emulator", "observation")
    }
    posterior.fit()
    assert posterior.get_params(deep=False) == before
    assert "NeuralPosterior" in repr(posterior)


def test_posterior_that_is_not_fitted_says_so(make_posterior, stars):
    with pytest.raises(NotFittedError):
        make_posterior().predict(stars(1)[0])


def test_names_are_those_of_labels_and_velocity(posterior):
    assert posterior.parameter_names_ == ["teff", "Fe_H", "Mg_H", "radial_velocity"]
    assert posterior.label_names_ == ["teff", "Fe_H", "Mg_H"]
    assert posterior.parameter_units_ == ["K", "dex", "dex", "km / s"]


def test_labels_and_velocities_are_found_within_the_spread_of_samples(posterior, stars):
    spectra, labels, velocity = stars(200, seed=1)
    samples = posterior.sample(spectra, 400, random_state=0)
    true = np.column_stack([labels, velocity])
    pull = (samples.mean(axis=1) - true) / samples.std(axis=1)
    assert np.abs(pull).max() < 6
    assert (pull.std(axis=0) < 1.3).all()
    # nearer than the prior by far
    width = posterior.emulator.label_high_ - posterior.emulator.label_low_
    off = np.median(samples, axis=1) - true
    assert (np.abs(off).mean(axis=0) < 0.05 * np.append(width, 60.0)).all()


def test_quantiles_are_those_of_samples_and_the_median_is_the_prediction(
    posterior, stars
):
    spectra, _, _ = stars(4)
    quantiles = posterior.predict(spectra, quantiles=[0.16, 0.5, 0.84])
    np.testing.assert_array_equal(quantiles[..., 1], posterior.predict(spectra))
    samples = posterior.sample(spectra, 20_000, random_state=0)[..., :3]
    expected = np.quantile(samples, [0.16, 0.5, 0.84], axis=1).transpose(1, 2, 0)
    spread = samples.std(axis=1)[..., None]
    assert (np.abs(quantiles - expected) < 0.05 * spread).all()


def test_samples_are_within_the_bounds_and_repeat(posterior, emulator, stars):
    spectra, _, _ = stars(3, snr=20.0, extent=1.0)
    samples = posterior.sample(spectra, 2000, random_state=1)
    labels = samples[..., :3]
    assert (labels >= emulator.label_low_).all()
    assert (labels <= emulator.label_high_).all()
    assert (np.abs(samples[..., 3]) <= 30).all()
    again = posterior.sample(spectra, 2000, random_state=1)
    np.testing.assert_array_equal(samples, again)


def test_density_is_that_of_the_samples(posterior, stars):
    spectra, _, _ = stars(1)
    samples = posterior.sample(spectra, 20_000, random_state=0)[0]
    labels = samples[:2000, :3]
    log_prob = np.concatenate(
        [posterior.log_prob(spectra, t[None]) for t in labels[:50]]
    )
    kernel = stats.gaussian_kde(samples[:, :3].T).logpdf(labels[:50].T)
    assert np.median(np.abs(log_prob - kernel)) < 0.5


def test_density_is_zero_outside_of_the_bounds(posterior, emulator, stars):
    spectra, labels, _ = stars(2)
    labels[0, 1] = emulator.label_high_[1] + 0.1
    found = posterior.log_prob(spectra, labels)
    assert found[0] == -np.inf
    assert np.isfinite(found[1])


def test_score_is_the_mean_density_and_true_values_beat_others(posterior, stars):
    spectra, labels, _ = stars(20)
    score = posterior.score(spectra, labels)
    assert score == pytest.approx(posterior.log_prob(spectra, labels).mean())
    assert score > posterior.score(spectra, labels[::-1])


def test_a_star_gets_the_same_bits_in_any_company(posterior, stars):
    spectra, _, _ = stars(70)
    together = posterior.predict(spectra)
    rows = [69, 3, 40]
    np.testing.assert_array_equal(posterior.predict(spectra[rows]), together[rows])
    np.testing.assert_array_equal(posterior.predict(spectra[[5]]), together[[5]])


def test_star_without_data_gets_nan(posterior, stars):
    spectra, labels, _ = stars(3)
    ivar = spectra.ivar.copy()
    ivar[1] = 0
    spectra = spectra.replace(ivar=ivar)
    for found in (
        posterior.predict(spectra),
        posterior.sample(spectra, 5)[:, 0],
        posterior.log_prob(spectra, labels)[:, None],
        posterior.novelty(spectra)[:, None],
    ):
        assert np.isnan(found[1]).all()
        assert np.isfinite(found[[0, 2]]).all()


def test_ranks_of_held_out_stars_are_kept_and_cover(posterior):
    calibration = posterior.calibration_
    assert calibration.probability.shape == (400, 4)
    coverage = calibration.coverage(0.68)
    # of 400 stars, four standard deviations
    assert (np.abs(coverage - 0.68) < 0.12).all()


def test_history_ends_at_the_last_step_and_falls(posterior):
    history = posterior.history_
    assert posterior.n_steps_ == history[-1]["step"] == 600
    assert history[-1]["valid_loss"] < history[0]["valid_loss"]


def test_novel_spectra_stand_out(posterior, stars):
    spectra, _, _ = stars(100, seed=5)
    usual = posterior.novelty(spectra)
    assert (usual < posterior.novelty_threshold_).mean() > 0.97
    flux = spectra.flux.copy()
    flux[:, 150:] *= 1.1  # a step of the gain
    flux[:, 100:104] = 0.3  # and a line that no star has
    odd = posterior.novelty(spectra.replace(flux=flux))
    assert (odd > posterior.novelty_threshold_).all()


def test_fixed_parameters_and_priors_are_respected(make_posterior, emulator):
    posterior = make_posterior(fixed={"teff": 5000.0}, priors={"Fe_H": (0.0, 0.01)})
    posterior.fit()
    assert posterior.parameter_names_ == ["Fe_H", "Mg_H", "radial_velocity"]
    noise = np.random.default_rng(0).standard_normal((5, 257)) / 30
    flux = emulator.predict([[5000.0, 0.0, 0.2]]) + noise
    samples = posterior.sample(flux, 500, uncertainty=1 / 30, random_state=0)
    # the spectrum alone says less than the prior
    assert (samples[..., 0].std(axis=1) < 0.012).all()
    assert np.abs(samples[..., 0]).max() < 0.06


@pytest.fixture(scope="module")
def whole(make_posterior):
    """A posterior after 150 steps without interruption; don't change it."""
    return make_posterior().fit()


def test_training_that_was_interrupted_goes_on_as_if_it_had_not_been(
    make_posterior, whole, stars, monkeypatch
):
    posterior = make_posterior()
    with pytest.warns(TrainingInterruptedWarning, match="of 150 steps"):
        interrupted(posterior.fit, monkeypatch, after=70)
    assert posterior.n_steps_ == 50
    posterior.partial_fit()
    spectra, _, _ = stars(3)
    np.testing.assert_array_equal(posterior.predict(spectra), whole.predict(spectra))
    assert posterior.history_ == whole.history_
    # a finished one stays as it is
    trained = posterior.trained_
    assert posterior.partial_fit().trained_ is trained


def test_checkpoint_goes_on_in_another_estimator(
    make_posterior, whole, stars, monkeypatch, tmp_path
):
    path = tmp_path / "state"
    first = make_posterior(checkpoint=path)
    with pytest.warns(TrainingInterruptedWarning):
        interrupted(first.fit, monkeypatch, after=110)
    assert path.exists()
    with pytest.raises(ValueError, match="`snr` must be those of the training in"):
        make_posterior(checkpoint=path, snr=(30, 90)).fit()
    second = make_posterior(checkpoint=path).fit()
    assert not path.exists()
    spectra, _, _ = stars(2)
    np.testing.assert_array_equal(second.predict(spectra), whole.predict(spectra))


def interrupted(call, monkeypatch, after):
    """Call something that Ctrl-C stops in the middle of an epoch."""
    from sk_payne.neural_posterior._simulation import Simulation

    batch = Simulation.batch

    def stopped(self, number, size):
        if number == after:
            raise KeyboardInterrupt
        return batch(self, number, size)

    with monkeypatch.context() as patch:
        patch.setattr(Simulation, "batch", stopped)
        return call()


def test_pickled_posterior_predicts_the_same(posterior, stars):
    again = pickle.loads(pickle.dumps(posterior))
    spectra, _, _ = stars(3)
    np.testing.assert_array_equal(again.predict(spectra), posterior.predict(spectra))


def test_training_on_observed_stars_takes_their_pixels(make_posterior, stars, emulator):
    pixels = emulator.wavelength_[::2]
    spectra, labels, _ = stars(3, wavelength=pixels)
    posterior = make_posterior(max_steps=100).fit(spectra)
    assert posterior.predict(spectra).shape == labels.shape
    assert posterior.trained_.width == (0.0, 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"snr": (100, 20)}, "`snr` must be a smallest and a largest"),
        ({"snr": 50.0}, "`snr` must be a smallest and a largest"),
        ({"max_steps": 0}, "`max_steps` must be an integer of at least 1; got 0"),
        ({"n_components": 1.5}, "`n_components` must be an integer"),
        ({"n_held_out": 10}, "`n_held_out` must be an integer of at least 100"),
        ({"lr": -1}, "`lr` must be between 0 and 1"),
        ({"fixed": {"tef": 5000}}, "tef"),
        ({"device": "abacus"}, "`device` must be"),
    ],
)
def test_bad_arguments_are_named(make_posterior, changes, message):
    with pytest.raises(ValueError, match=message):
        make_posterior(**changes).fit()


def test_bad_input_of_methods_is_named(posterior, stars):
    spectra, labels, _ = stars(2)
    with pytest.raises(ValueError, match="`quantiles` must be numbers between 0 and 1"):
        posterior.predict(spectra, quantiles=[0.5, 1.0])
    with pytest.raises(ValueError, match="`theta` must have the shape"):
        posterior.log_prob(spectra, labels[:, :2])


def test_second_star_is_refused(emulator):
    from sk_payne import Observation
    from sk_payne.abundances import SecondStar

    observation = Observation(second_star=SecondStar())
    with pytest.raises(ValueError, match="`second_star` of the observation must be"):
        NeuralPosterior(emulator, observation).fit()


def test_missing_zuko_says_how_to_install_it(make_posterior, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(ImportError, match=r"sk_payne\[neural\]"):
        make_posterior().fit()


def test_arguments_are_not_changed(make_posterior, stars):
    spectra, _, _ = stars(2)
    before = spectra.flux.copy(), spectra.ivar.copy()
    posterior = make_posterior(max_steps=2).fit(spectra)
    posterior.predict(spectra)
    np.testing.assert_array_equal(spectra.flux, before[0])
    np.testing.assert_array_equal(spectra.ivar, before[1])
