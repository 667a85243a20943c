"""Fits that start from a neural posterior: same answers, in fewer steps, with flags."""

import numpy as np
import pytest

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import FLAGS
from sk_payne.spectra import SpectrumSet

NOVEL, DISAGREES = (FLAGS[n][0] for n in ("NOVEL_SPECTRUM", "POSTERIOR_DISAGREES"))


@pytest.fixture(scope="module")
def regressors(emulator, observation, posterior):
    """Regressors without and with a start."""
    return [
        AbundanceRegressor(emulator, observation, start=start)
        for start in (None, posterior)
    ]


def test_fits_are_as_good_as_without(regressors, stars):
    spectra, _, _ = stars(60, seed=11)
    ivar = spectra.ivar.copy()
    # which pixels near the ends count depends on the velocity of the start
    ivar[:, :25] = ivar[:, -25:] = 0
    spectra = spectra.replace(ivar=ivar)
    plain, started = (regressor.measure(spectra) for regressor in regressors)
    assert (started["n_pixels"] == plain["n_pixels"]).all()
    assert (started["chi2"] < plain["chi2"] + 0.01).all()
    same = np.abs(started["chi2"] - plain["chi2"]) < 1e-4
    assert same.mean() > 0.9
    for name in ("teff", "Fe_H", "Mg_H", "radial_velocity"):
        off = np.abs(started[name] - plain[name]) / plain[f"{name}_error"]
        assert off[same].max() < 0.05, name
    assert started["n_iterations"].sum() < plain["n_iterations"].sum()


def test_velocity_is_not_scanned_where_the_fit_is_good(regressors, stars, monkeypatch):
    from sk_payne.abundances._velocity_scan import VelocityScan

    spectra, _, _ = stars(5, seed=12)
    calls = []
    scan = VelocityScan.__call__

    def counted(self, *args, **kwargs):
        calls.append(1)
        return scan(self, *args, **kwargs)

    monkeypatch.setattr(VelocityScan, "__call__", counted)
    regressors[1].measure(spectra)
    assert not calls
    regressors[0].measure(spectra)
    assert calls


def test_good_fits_of_usual_spectra_have_no_flag(regressors, stars):
    spectra, _, _ = stars(60, seed=13)
    flags = regressors[1].measure(spectra)["flags"]
    assert ((flags & (NOVEL | DISAGREES)) > 0).mean() < 0.05
    # and never without a posterior
    assert not (regressors[0].measure(spectra)["flags"] & (NOVEL | DISAGREES)).any()


def test_spectrum_unlike_all_is_flagged(regressors, stars):
    spectra, _, _ = stars(4, seed=14)
    flux = spectra.flux.copy()
    flux[:, 100:110] = 0.3
    flags = regressors[1].measure(spectra.replace(flux=flux))["flags"]
    assert (flags & NOVEL > 0).all()


def test_fit_that_the_posterior_does_not_believe_is_flagged(
    emulator, observation, posterior, stars
):
    spectra, labels, _ = stars(3, seed=15)
    away = labels[:, 1] - np.sign(labels[:, 1])
    regressor = AbundanceRegressor(
        emulator, observation, fixed={"Fe_H": away.clip(-0.9, 0.4)}, start=posterior
    )
    assert (regressor.measure(spectra)["flags"] & DISAGREES > 0).all()


def test_fit_at_a_bound_where_the_posterior_has_its_tail_is_believed(
    regressors, emulator, stars
):
    # at S/N 20 some of these stars are fitted to an edge of the box
    spectra, _, _ = stars(40, seed=21, snr=20.0, extent=1.0)
    flags = regressors[1].measure(spectra)["flags"]
    at_edge = flags & FLAGS["LABEL_AT_EDGE"][0] > 0
    assert at_edge.sum() >= 3
    assert (flags[at_edge] & DISAGREES > 0).mean() < 0.2


def test_poor_fit_from_the_start_falls_back_to_the_scan(
    emulator, observation, posterior, stars, monkeypatch
):
    from sk_payne.neural_posterior._proposal import Proposal

    spectra, _, velocity = stars(3, seed=16)
    starts = Proposal.starts

    def misled(self):
        found = starts(self)
        found[:, 3] = np.where(found[:, 3] > 0, -29.0, 29.0)
        return found

    monkeypatch.setattr(Proposal, "starts", misled)
    table = AbundanceRegressor(emulator, observation, start=posterior).measure(spectra)
    pull = (table["radial_velocity"].value - velocity) / table["radial_velocity_error"]
    assert np.abs(pull.value).max() < 5


def test_a_star_gets_the_same_bits_in_any_company(regressors, stars):
    spectra, _, _ = stars(6, seed=17)
    together = regressors[1].measure(spectra)
    for rows in ([4, 1], [2]):
        table = regressors[1].measure(spectra[rows])
        for name in table.colnames:
            np.testing.assert_array_equal(
                np.asarray(table[name]), np.asarray(together[name][rows]), name
            )


def test_star_without_data_is_told(regressors, stars):
    spectra, _, _ = stars(2)
    ivar = spectra.ivar.copy()
    ivar[0] = 0
    plain, table = (one.measure(spectra.replace(ivar=ivar)) for one in regressors)
    assert table["flags"][0] == plain["flags"][0]
    assert table["flags"][0] & FLAGS["NO_DATA"][0]
    assert np.isfinite(table["teff"][1])


def test_flux_on_the_grid_of_the_emulator_has_the_same_answer(
    emulator, make_posterior, stars
):
    observation = Observation(velocity_range=None)
    posterior = make_posterior(observation=observation, max_steps=200).fit()
    labels = stars(5)[1]
    noise = np.random.default_rng(0).standard_normal((5, 257)) / 100
    flux = emulator.predict(labels) + noise
    plain, started = (
        AbundanceRegressor(emulator, observation, snr=100.0, start=start).predict(flux)
        for start in (None, posterior)
    )
    np.testing.assert_allclose(started, plain, rtol=1e-3, atol=2e-3)


def test_another_emulator_and_unknown_parameters_are_refused(
    make_emulator, emulator, observation, posterior, stars
):
    spectra, _, _ = stars(1)
    other = make_emulator(random_state=1, max_steps=20)
    with pytest.raises(ValueError, match="`start` must be a NeuralPosterior of the"):
        AbundanceRegressor(other, observation, start=posterior).measure(spectra)
    rotating = Observation(velocity_range=(-30, 30), vsini=(0, 30))
    with pytest.raises(ValueError, match=r"`start` must have all fitted .*vsini"):
        AbundanceRegressor(emulator, rotating, start=posterior).measure(spectra)


def test_stars_of_another_instrument_start_from_the_scan(
    emulator, observation, posterior, stars
):
    spectra, _, _ = stars(2, seed=18)
    power = np.full(spectra.shape, emulator.resolving_power_ / 2)
    blurred = SpectrumSet(
        spectra.flux,
        spectra.ivar,
        wavelength=spectra.wavelength,
        medium=spectra.medium,
        resolving_power=power,
    )
    plain, started = (
        AbundanceRegressor(emulator, observation, start=start).measure(blurred)
        for start in (None, posterior)
    )
    np.testing.assert_array_equal(plain["chi2"], started["chi2"])


def test_catalogue_that_was_begun_without_the_posterior_is_another_one(
    regressors, stars, tmp_path
):
    from sk_payne.abundances import measure_catalogue, read_catalogue

    spectra, _, _ = stars(4, seed=19)
    path = measure_catalogue(regressors[1], [spectra], tmp_path / "stars", verbose=0)
    expected = regressors[1].measure(spectra)
    np.testing.assert_array_equal(read_catalogue(path)["chi2"], expected["chi2"])
    with pytest.raises(ValueError, match="start"):
        measure_catalogue(regressors[0], [spectra], tmp_path / "stars", verbose=0)


def test_samples_of_the_posterior_are_weighted_to_those_of_the_likelihood(
    regressors, stars, monkeypatch
):
    from sk_payne.abundances import _weighted_proposals

    spectra, _, _ = stars(4, seed=20, snr=40.0)
    how = {"sampler": "importance", "n_draws": 1500, "random_state": 0}
    expected = regressors[0].posterior(spectra, **how)
    # as if samples around the best fit were never good enough
    monkeypatch.setattr(_weighted_proposals, "_FEW", np.inf)

    class Worthless(_weighted_proposals.Samples):
        n_effective = property(lambda self: self.weight.sum(1) * 0)

    sample = _weighted_proposals.with_proposals

    def from_posterior_alone(problem, found, seeds):
        return sample(problem, Worthless(found.samples, found.weight), seeds)

    from sk_payne.abundances import _means

    monkeypatch.setattr(_means, "with_proposals", from_posterior_alone)
    found = regressors[1].posterior(spectra, **how)
    assert (found.n_effective > 10).all()
    spread = expected.samples.std(axis=1)
    off = (found.samples.mean(axis=1) - expected.samples.mean(axis=1)) / spread
    assert np.abs(off).max() < 5 / np.sqrt(found.n_effective.min())
    ratio = found.samples.std(axis=1) / spread
    assert ((ratio > 0.5) & (ratio < 1.6)).all()
