"""Tests of masks and uncertainties of training flux: bad pixels have no part in it."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import cross_val_score, learning_curve

from sk_payne import FineTunedEmulator, SpectrumEmulator
from sk_payne.grids import RowView

ARCHITECTURES = ["payne", "convolutional", "cannon", "opacity", "transformer"]


@pytest.fixture(scope="module")
def spoiled(tiny_grid):
    """Flux with nonsense at some pixels of most spectra, and its mask."""
    mask = np.zeros(tiny_grid.target.shape, bool)
    mask[:70, 20:35] = True
    mask[40:, 50:] = np.random.default_rng(1).random((61, 11)) < 0.3
    return np.where(mask, 99.0, tiny_grid.target), mask


def assert_same_bits(found, expected, P):
    np.testing.assert_array_equal(found.predict(P), expected.predict(P))
    np.testing.assert_array_equal(found.held_out_rms_, expected.held_out_rms_)
    assert found.history_ == expected.history_


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_values_under_the_mask_do_not_matter(make_tiny, tiny_grid, spoiled, arch):
    P, (F, mask) = tiny_grid.data, spoiled
    emulator = make_tiny(arch, max_steps=13)
    found = clone(emulator).fit(P, F, mask=mask)
    for value in (0.0, np.nan, np.inf, -1e30):
        other = clone(emulator).fit(P, np.where(mask, value, F), mask=mask)
        assert_same_bits(found, other, P)
    assert found.predict(P)[:, 20:35].max() < 2


def test_masked_training_learns_the_masked_pixels_from_the_other_spectra(
    make_tiny, tiny_grid, spoiled
):
    P, (F, mask) = tiny_grid.data, spoiled
    found = make_tiny(max_steps=400).fit(P, F, mask=mask)
    whole = make_tiny(max_steps=400).fit(P, tiny_grid.target)
    masked = mask[:70, 20:35]

    def error(emulator):
        return np.abs(emulator.predict(P) - tiny_grid.target)[:70, 20:35][masked].mean()

    # a third of the spectra has to do
    assert error(found) < 3 * error(whole)


def test_masked_array_is_a_mask(make_tiny, tiny_grid, spoiled):
    from astropy.utils.masked import Masked

    P, (F, mask) = tiny_grid.data, spoiled
    expected = make_tiny().fit(P, F, mask=mask)
    for flux in (np.ma.array(F, mask=mask), Masked(F, mask=mask)):
        assert_same_bits(make_tiny().fit(P, flux), expected, P)


def test_mask_of_an_array_and_the_argument_add_up(make_tiny, tiny_grid, spoiled):
    P, (F, mask) = tiny_grid.data, spoiled
    half = mask.copy()
    half[:, 40:] = False
    found = make_tiny().fit(P, np.ma.array(F, mask=half), mask=mask & ~half)
    assert_same_bits(found, make_tiny().fit(P, F, mask=mask), P)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_uncertainty_that_is_not_finite_is_a_mask(make_tiny, tiny_grid, spoiled, bad):
    P, (F, mask) = tiny_grid.data, spoiled
    found = make_tiny().fit(P, F, uncertainty=np.where(mask, bad, 0.01))
    expected = make_tiny().fit(P, F, mask=mask)
    # the harmonic mean of equal uncertainties is rounded
    np.testing.assert_allclose(found.predict(P), expected.predict(P), atol=1e-5)


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_equal_uncertainties_change_nothing(make_tiny, fitted, tiny_grid, arch):
    P, F = tiny_grid.data, tiny_grid.target
    found = make_tiny(arch).fit(P, F, uncertainty=np.full(F.shape, 0.25))
    assert_same_bits(found, fitted[arch], P)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_noisy_spectra_count_less(make_tiny, tiny_grid, loss):
    P, rng = tiny_grid.data, np.random.default_rng(0)
    sigma = np.where(np.arange(101) % 2 == 0, 1e-3, 0.3)[:, None]
    sigma = np.broadcast_to(sigma, tiny_grid.target.shape)
    noisy = tiny_grid.target + sigma * rng.normal(size=sigma.shape)
    recipe = {"loss": loss}
    weighed = make_tiny(max_steps=400, recipe=recipe).fit(P, noisy, uncertainty=sigma)
    plain = make_tiny(max_steps=400, recipe=recipe).fit(P, noisy)

    def error(emulator):
        return np.abs(emulator.predict(P) - tiny_grid.target).mean()

    assert error(weighed) < 0.7 * error(plain)


def test_unit_of_flux_and_uncertainty_does_not_matter(make_tiny, tiny_grid):
    from astropy import units

    P, F = tiny_grid.data, tiny_grid.target
    sigma = np.where(F < 0.9, 0.02, 0.01)
    expected = make_tiny().fit(P, F, uncertainty=sigma)
    found = make_tiny().fit(
        P, 100 * F * units.percent, uncertainty=1000 * sigma * units.Unit("1e-3")
    )
    np.testing.assert_allclose(found.predict(P), expected.predict(P), atol=1e-5)


def test_flux_in_another_unit_is_refused(make_tiny, tiny_grid):
    from astropy import units

    with pytest.raises(ValueError, match=r"`y`.*erg"):
        make_tiny().fit(tiny_grid.data, tiny_grid.target * units.erg)


@pytest.mark.parametrize("arch", ["payne", "transformer"])
@pytest.mark.parametrize("where", ["all on disk", "flux on disk", "weights on disk"])
def test_weights_on_disk_give_the_bits_of_weights_in_memory(
    make_tiny, tiny_grid, spoiled, tmp_path, arch, where
):
    P, (F, mask) = tiny_grid.data, spoiled
    sigma = np.where(mask, 1.0, 0.01 + 0.01 * F)

    def stored(name, array):
        if where == "weights on disk" and name == "flux":
            return array
        if where == "flux on disk" and name != "flux":
            return array
        np.save(tmp_path / f"{name}.npy", array)
        return np.load(tmp_path / f"{name}.npy", mmap_mode="r")

    emulator = make_tiny(arch, recipe={"n_wavelengths": 13}, max_steps=13)
    expected = clone(emulator).fit(P, F, mask=mask, uncertainty=sigma)
    found = clone(emulator).fit(
        P,
        stored("flux", F),
        mask=stored("mask", mask),
        uncertainty=stored("sigma", sigma),
    )
    assert_same_bits(found, expected, P)


def test_held_out_errors_are_those_of_the_good_pixels(make_tiny, tiny_grid, spoiled):
    P, (F, mask) = tiny_grid.data, spoiled
    emulator = make_tiny(validation_fraction=0.4).fit(P, F, mask=mask)
    residual = np.ma.array(emulator.predict(P) - F, mask=mask)
    state = emulator.trained_.training.state
    assert state["settings"]["validation_fraction"] == 0.4
    # the held-out rows are those whose errors these are
    order = np.random.RandomState(0)
    order.randint(2**31 - 1)
    rows = np.sort(order.permutation(101)[:40])
    expected = np.abs(residual[rows]).mean(axis=0)
    np.testing.assert_allclose(emulator.held_out_mae_, expected, atol=1e-6)


def test_wavelength_masked_in_all_held_out_spectra_is_warned_of(make_tiny, tiny_grid):
    order = np.random.RandomState(0)
    order.randint(2**31 - 1)
    rows = order.permutation(101)[:10]
    mask = np.zeros(tiny_grid.target.shape, bool)
    mask[rows, 17] = True
    with pytest.warns(UserWarning, match="1 of 61 wavelengths .* column 17"):
        emulator = make_tiny().fit(tiny_grid.data, tiny_grid.target, mask=mask)
    assert np.isfinite(emulator.predict(tiny_grid.data, return_std=True)[1]).all()


def test_wavelength_masked_everywhere_is_an_error(make_tiny, tiny_grid):
    mask = np.zeros(tiny_grid.target.shape, bool)
    mask[:, [3, 30]] = True
    with pytest.raises(ValueError, match="2 wavelengths have none, the first is col"):
        make_tiny().fit(tiny_grid.data, tiny_grid.target, mask=mask)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"mask": np.zeros((101, 60), bool)}, r"`mask` must have the shape of `y`"),
        ({"mask": np.full((101, 61), 0.5)}, "`mask` must be of booleans"),
        ({"uncertainty": np.ones(61)}, r"`uncertainty` must have the shape of `y`"),
        ({"uncertainty": np.zeros((101, 61))}, "positive .* got 0 in row 0, column 0"),
        ({"uncertainty": -np.ones((101, 61))}, "positive .* got -1 in row 0"),
    ],
)
def test_weights_that_cannot_be_are_named(make_tiny, tiny_grid, weights, message):
    with pytest.raises(ValueError, match=message):
        make_tiny().fit(tiny_grid.data, tiny_grid.target, **weights)


def test_nan_beside_the_mask_is_still_an_error(make_tiny, tiny_grid, spoiled):
    F, mask = spoiled[0].copy(), spoiled[1]
    F[90, 3] = np.nan
    with pytest.raises(ValueError, match="first is row 90"):
        make_tiny().fit(tiny_grid.data, F, mask=mask)


def test_arrays_of_the_caller_stay_as_they_are(make_tiny, tiny_grid, spoiled):
    F, mask = spoiled[0].copy(), spoiled[1].copy()
    sigma = np.where(mask, np.nan, 0.01)
    kept = F.copy(), mask.copy(), sigma.copy()
    make_tiny(max_steps=3).fit(tiny_grid.data, F, mask=mask, uncertainty=sigma)
    for now, before in zip((F, mask, sigma), kept, strict=True):
        np.testing.assert_array_equal(now, before)


def test_interrupted_training_with_a_mask_goes_on(make_tiny, tiny_grid, spoiled):
    from skorch.callbacks import Callback

    from sk_payne.exceptions import TrainingInterruptedWarning

    class Stop(Callback):
        def on_batch_end(self, net, training=False, **kwargs):
            if training and net.n_steps == 17:
                raise KeyboardInterrupt

    P, (F, mask) = tiny_grid.data, spoiled
    recipe = {"validate_every": 7}
    expected = make_tiny(recipe=recipe).fit(P, F, mask=mask)
    found = make_tiny(recipe=recipe, callbacks=[Stop()])
    with pytest.warns(TrainingInterruptedWarning):
        found.fit(P, F, mask=mask)
    found.set_params(callbacks=None)
    with pytest.raises(ValueError, match="`X` and `y` must be those of the interrup"):
        found.partial_fit(P, F)
    assert_same_bits(found.partial_fit(P, F, mask=mask), expected, P)


@pytest.mark.parametrize("rehearsed", [False, True])
def test_fine_tuning_takes_a_mask(fitted, tiny_grid, spoiled, rehearsed):
    P, (F, mask) = tiny_grid.data, spoiled
    old = (P, np.ma.array(F, mask=mask)) if rehearsed else None

    def tune(flux):
        tuned = FineTunedEmulator(
            fitted["payne"], rehearse=old, max_steps=20, random_state=0
        )
        return tuned.fit(P, flux, mask=mask)

    found = tune(F)
    assert found.predict(P)[:, 20:35].max() < 2
    assert_same_bits(tune(np.where(mask, -7.0, F)), found, P)


# metadata routing


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.filterwarnings("ignore::sk_payne.exceptions.ExtrapolationWarning")
@pytest.mark.usefixtures("routing")
def test_learning_curve_hands_each_training_its_rows_of_the_mask(
    make_tiny, tiny_grid, spoiled
):
    P, (F, mask) = tiny_grid.data, spoiled
    split = [(np.arange(80), np.arange(80, 101))]
    emulator = make_tiny().set_fit_request(mask=True)
    emulator.set_partial_fit_request(mask=True)
    how = {"cv": split, "train_sizes": [80], "scoring": "neg_mean_absolute_error"}
    scores = learning_curve(
        emulator, P, np.where(mask, 99.0, F), params={"mask": mask}, **how
    )[2]
    expected = make_tiny().fit(P[:80], F[:80], mask=mask[:80])
    residual = expected.predict(P[80:]) - np.where(mask, 99.0, F)[80:]
    np.testing.assert_allclose(scores, -np.abs(residual).mean())


@pytest.mark.filterwarnings("ignore::sk_payne.exceptions.ExtrapolationWarning")
@pytest.mark.usefixtures("routing")
def test_cross_validation_takes_an_uncertainty_on_disk(make_tiny, tiny_grid):
    P, F = tiny_grid.data, tiny_grid.target
    sigma = 0.01 + 0.1 * (F < 0.9)
    emulator = make_tiny(max_steps=7).set_fit_request(uncertainty=True)
    expected = cross_val_score(emulator, P, F, cv=2, params={"uncertainty": sigma})
    found = cross_val_score(
        emulator, P, RowView(F), cv=2, params={"uncertainty": RowView(sigma)}
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_score_leaves_masked_flux_out(fitted, tiny_grid, spoiled):
    P, (F, mask) = tiny_grid.data, spoiled
    emulator = fitted["payne"]
    found = emulator.score(P, np.ma.array(F, mask=mask))
    residual = np.ma.array((emulator.predict(P) - F) ** 2, mask=mask)
    scatter = np.ma.array(F, mask=mask)
    scatter = (scatter - scatter.mean(axis=0)) ** 2
    assert found == pytest.approx(1 - residual.sum() / scatter.sum(), rel=1e-9)


def test_emulator_without_wavelengths_takes_a_mask():
    P = np.linspace(0, 1, 23)[:, None]
    F = np.hstack([P, 1 - P])
    mask = np.zeros(F.shape, bool)
    mask[3:7, 1] = True
    emulator = SpectrumEmulator(
        arch="cannon", recipe={"lr": 0.1}, max_steps=300, device="cpu", random_state=0
    ).fit(P, np.where(mask, 1e6, F), mask=mask)
    np.testing.assert_allclose(emulator.predict(P), F, atol=0.1)
