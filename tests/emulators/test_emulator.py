"""Tests of what SpectrumEmulator promises, with one tiny network per architecture."""

import io
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, Checkpoint, EarlyStopping
from skorch.utils import noop
from torch import nn

from sk_payne import SpectrumEmulator
from sk_payne.exceptions import ExtrapolationWarning, TrainingInterruptedWarning
from sk_payne.networks import fast_products
from sk_payne.spectra import GridInterpolator

ARCHITECTURES = ["payne", "bigpayne", "convolutional", "transformer"]
ON_A_GRID = ["payne", "bigpayne", "convolutional"]


# Of a part of the spectra, the box is smaller than that of all.
part_of_the_box = pytest.mark.filterwarnings(
    "ignore::sk_payne.exceptions.ExtrapolationWarning"
)


class Linear(nn.Linear):
    """An architecture of a user's own."""

    def __init__(self, n_labels, n_wavelengths):
        super().__init__(n_labels, n_wavelengths)


class Stop(Callback):
    """Presses Ctrl-C after some steps."""

    def __init__(self, after):
        self.after = after

    def on_batch_end(self, net, training, **kwargs):
        self.after -= training
        if self.after == 0:
            raise KeyboardInterrupt


class Spy(Callback):
    """Keeps the scaled labels that the net was given."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.labels_ = X.labels.numpy().copy()
        self.net_ = net


@pytest.fixture(params=ARCHITECTURES)
def emulator(request, fitted):
    return fitted[request.param]


@pytest.fixture
def between(tiny_grid):
    """Wavelengths between those of the grid, as many as there are intervals."""
    return np.sqrt(tiny_grid.wavelength[1:] * tiny_grid.wavelength[:-1])


def double_module(emulator):
    return emulator.to_torch(dtype=torch.float64)


# fit


def test_fit_returns_the_estimator_and_learns(emulator, tiny_grid):
    assert isinstance(emulator, SpectrumEmulator)
    scatter = np.sqrt(np.mean((tiny_grid.target - tiny_grid.target.mean(axis=0)) ** 2))
    # few steps, but far better than the mean spectrum, also on held-out spectra
    assert np.sqrt(np.mean(emulator.held_out_rms_**2)) < 0.75 * scatter


def test_fit_sets_the_attributes_of_the_grid(emulator, tiny_grid):
    assert emulator.label_names_ == tiny_grid.label_names
    assert emulator.label_units_ == tiny_grid.label_units
    assert emulator.medium_ == "air"
    assert emulator.n_outputs_ == 61
    assert emulator.n_features_in_ == 5
    np.testing.assert_array_equal(emulator.wavelength_, tiny_grid.wavelength)
    np.testing.assert_array_equal(emulator.label_low_, tiny_grid.data.min(axis=0))
    np.testing.assert_array_equal(emulator.label_high_, tiny_grid.data.max(axis=0))


def test_fit_writes_down_the_losses(make_tiny, tiny_grid):
    emulator = make_tiny(recipe={"validate_every": 23})
    emulator.fit(tiny_grid.data, tiny_grid.target)
    assert [entry["step"] for entry in emulator.history_] == [23, 46, 53]
    for name in ("train_loss", "valid_loss"):
        losses = [entry[name] for entry in emulator.history_]
        assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("max_steps", [1, 12, 13, 14, 53])
@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_fit_takes_exactly_max_steps(make_tiny, tiny_grid, arch, max_steps):
    emulator = make_tiny(arch, max_steps=max_steps, recipe={"validate_every": 13})
    emulator.fit(tiny_grid.data, tiny_grid.target)
    assert emulator.n_steps_ == max_steps
    assert len(emulator.history_) == -(-max_steps // 13)


def test_fit_again_on_other_data_forgets_the_first(make_tiny, fitted, tiny_grid):
    emulator = make_tiny(wavelength=None, medium=None, label_names=None)
    emulator.set_params(label_units=None).fit(np.eye(3), np.eye(3)[:, :2])
    assert emulator.predict(np.eye(3)).shape == (3, 2)
    emulator.set_params(**fitted["payne"].get_params())
    emulator.fit(tiny_grid.data, tiny_grid.target)
    np.testing.assert_array_equal(
        emulator.predict(tiny_grid.data), fitted["payne"].predict(tiny_grid.data)
    )


def test_fit_with_constant_flux_and_a_constant_label_predicts_the_constant():
    P = np.column_stack([np.linspace(0, 1, 11), np.full(11, 7.0)])
    emulator = SpectrumEmulator(
        arch="payne", max_steps=211, recipe={"lr": 1e-2}, device="cpu", random_state=0
    )
    F = emulator.fit(P, np.full((11, 3), 0.5)).predict(P)
    # without scatter, the unit of flux is one
    np.testing.assert_allclose(F, 0.5, rtol=0, atol=0.01)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e20])
def test_fit_does_not_depend_on_the_unit_of_the_flux(make_tiny, tiny_grid, scale):
    # erg/s/cm2/Å are as good as normalised flux
    emulator = make_tiny().fit(tiny_grid.data, scale * tiny_grid.target)
    expected = make_tiny().fit(tiny_grid.data, tiny_grid.target)
    np.testing.assert_allclose(
        emulator.predict(tiny_grid.data) / scale,
        expected.predict(tiny_grid.data),
        rtol=1e-4,  # rounding to float32, grown in 53 steps
    )


@pytest.mark.parametrize("n_pixels", [1, 2, 7])
def test_fit_of_a_transformer_without_wavelengths_learns_the_first_pixel(
    make_tiny, tiny_grid, n_pixels
):
    # the code of a first pixel at zero would be zero, and so would be all gradients
    deepest_first = tiny_grid.target.var(axis=0).argsort()[::-1]
    F = tiny_grid.target[:, deepest_first[:n_pixels]]
    emulator = make_tiny(
        "transformer", wavelength=None, medium=None, max_steps=211
    ).fit(tiny_grid.data, F)
    error = emulator.predict(tiny_grid.data) - F
    ratio = (error**2).mean(axis=0) / F.var(axis=0)
    assert ratio[0] < 0.5


def test_fit_accepts_an_architecture_of_the_user(make_tiny, tiny_grid):
    emulator = make_tiny(Linear, max_steps=211).fit(tiny_grid.data, tiny_grid.target)
    assert isinstance(emulator.net_.module_, Linear)
    # and the network is linear indeed
    ends = emulator.predict(tiny_grid.data[:2])
    middle = emulator.predict(tiny_grid.data[:2].mean(axis=0, keepdims=True))
    np.testing.assert_allclose(middle[0], ends.mean(axis=0), rtol=0, atol=1e-12)


def test_fit_on_float32_flux_gives_what_float64_gives(make_tiny, fitted, tiny_grid):
    emulator = make_tiny().fit(tiny_grid.data, tiny_grid.target.astype(np.float32))
    np.testing.assert_allclose(
        emulator.predict(tiny_grid.data),
        fitted["payne"].predict(tiny_grid.data),
        rtol=0,
        atol=1e-4,  # rounding to float32, grown in 53 steps
    )


def test_fit_in_bfloat16_learns_as_well(make_tiny, tiny_grid):
    emulator = make_tiny(recipe={"precision": "bfloat16"})
    assert emulator.fit(tiny_grid.data, tiny_grid.target).score(
        tiny_grid.data, tiny_grid.target
    ) == pytest.approx(
        make_tiny()
        .fit(tiny_grid.data, tiny_grid.target)
        .score(tiny_grid.data, tiny_grid.target),
        abs=0.02,
    )


# held-out spectra


@pytest.mark.parametrize("fraction", [0.1, 0.29])
@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_held_out_errors_are_those_of_the_spectra_that_were_not_trained_on(
    make_tiny, tiny_grid, arch, fraction
):
    spy = Spy()
    emulator = make_tiny(arch, validation_fraction=fraction, callbacks=[spy])
    emulator.fit(tiny_grid.data, tiny_grid.target)
    P, F = tiny_grid.data, tiny_grid.target
    low, high = P.min(axis=0), P.max(axis=0)
    scaled = ((P - low) / (high - low) * 2 - 1).astype(np.float32)
    distance = np.abs(scaled[:, None] - spy.labels_).max(axis=2).min(axis=1)
    held_out = distance > 1e-5
    assert held_out.sum() == emulator.n_held_out_ == int(fraction * 101)
    assert emulator.n_training_ == 101 - held_out.sum() == len(spy.labels_)
    error = emulator.predict(P[held_out]) - F[held_out]
    # measured in float32
    np.testing.assert_allclose(
        emulator.held_out_mae_, np.abs(error).mean(axis=0), rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(
        emulator.held_out_rms_, np.sqrt((error**2).mean(axis=0)), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(("fraction", "n"), [(0, 101), (0.1, 7)])
def test_held_out_errors_are_none_if_nothing_is_held_out(
    make_tiny, tiny_grid, fraction, n
):
    emulator = make_tiny(validation_fraction=fraction, max_steps=3)
    emulator.fit(tiny_grid.data[:n], tiny_grid.target[:n])
    assert emulator.n_held_out_ == 0
    assert emulator.n_training_ == n
    assert emulator.held_out_mae_ is emulator.held_out_rms_ is None
    assert set(emulator.history_[0]) == {"step", "train_loss"}


# predict and score


def test_predict_is_in_the_precision_of_the_labels(emulator, tiny_grid):
    wide = emulator.predict(tiny_grid.data)
    narrow = emulator.predict(tiny_grid.data.astype(np.float32))
    assert wide.shape == narrow.shape == (101, 61)
    assert (wide.dtype, narrow.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(narrow, wide, rtol=0, atol=1e-5)
    assert not np.array_equal(narrow, wide)


@part_of_the_box
def test_predict_of_whole_numbers_and_lists_is_in_float64(fitted):
    labels = [[5000, 4, 0, 0, 0]]  # log g is just outside
    found = fitted["payne"].predict(labels)
    expected = fitted["payne"].predict(np.array(labels, dtype=np.float64))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected)


def test_predict_of_a_star_does_not_depend_on_its_neighbours(emulator, tiny_grid):
    together = emulator.predict(tiny_grid.data)
    alone = np.vstack([emulator.predict(row[None]) for row in tiny_grid.data[:13]])
    np.testing.assert_allclose(alone, together[:13], rtol=0, atol=1e-12)


def test_predict_twice_gives_the_same_bits(emulator, tiny_grid):
    np.testing.assert_array_equal(
        emulator.predict(tiny_grid.data), emulator.predict(tiny_grid.data)
    )


def test_predict_in_blocks_equals_predict_at_once(fitted, tiny_grid, monkeypatch):
    expected = fitted["payne"].predict(tiny_grid.data)
    monkeypatch.setattr("sk_payne.trained._blocks._FLUX_BLOCK", 7 * 61)
    found = fitted["payne"].predict(tiny_grid.data)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_score_is_the_part_of_the_variance_of_all_flux_values(emulator, tiny_grid):
    P, F = tiny_grid.data, tiny_grid.target
    residual = ((F - emulator.predict(P)) ** 2).sum()
    total = ((F - F.mean(axis=0)) ** 2).sum()
    assert emulator.score(P, F) == pytest.approx(1 - residual / total, rel=1e-12)


def test_score_weights_the_spectra(fitted, tiny_grid):
    P, F = tiny_grid.data, tiny_grid.target
    weight = np.zeros(101)
    weight[:29] = 1.0
    found = fitted["payne"].score(P, F, sample_weight=weight)
    assert found == pytest.approx(fitted["payne"].score(P[:29], F[:29]), rel=1e-12)


# other wavelengths


def test_predict_at_the_wavelengths_of_the_grid_is_predict(emulator, tiny_grid):
    found = emulator.predict(tiny_grid.data, wavelength=tiny_grid.wavelength)
    np.testing.assert_allclose(
        found, emulator.predict(tiny_grid.data), rtol=0, atol=1e-10
    )


def test_predict_in_float32_at_the_wavelengths_of_the_grid_is_predict(
    emulator, tiny_grid
):
    P = tiny_grid.data.astype(np.float32)
    found = emulator.predict(P, wavelength=tiny_grid.wavelength)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, emulator.predict(P), rtol=0, atol=1e-6)


@pytest.mark.parametrize("arch", ON_A_GRID)
def test_predict_between_the_wavelengths_of_the_grid_is_a_spline(
    fitted, tiny_grid, between, arch
):
    found = fitted[arch].predict(tiny_grid.data, wavelength=between)
    spline = GridInterpolator(tiny_grid.wavelength)
    flux = torch.from_numpy(fitted[arch].predict(tiny_grid.data))
    expected = spline(flux, torch.from_numpy(between)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_predict_of_a_transformer_between_the_wavelengths_is_the_network(
    fitted, tiny_grid, between
):
    emulator = fitted["transformer"]
    found = emulator.predict(tiny_grid.data, wavelength=between)
    low, high = emulator.label_low_, emulator.label_high_
    scaled = torch.from_numpy((tiny_grid.data - low) / (high - low) * 2 - 1)
    network = double_module(emulator).network
    expected = network(scaled, torch.from_numpy(np.log10(between))).numpy()
    # in units of the scatter about the mean over all spectra and wavelengths
    F = tiny_grid.target
    # the module keeps box and mean in float32
    np.testing.assert_allclose(found, F.mean() + F.std() * expected, rtol=0, atol=1e-6)


def test_predict_at_wavelengths_in_any_order_keeps_the_order(emulator, tiny_grid):
    some = tiny_grid.wavelength[[60, 7, 7, 0]]
    found = emulator.predict(tiny_grid.data[:3], wavelength=some)
    expected = emulator.predict(tiny_grid.data[:3])[:, [60, 7, 7, 0]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


# warnings


def test_predict_of_a_star_outside_the_box_warns_and_names_the_label(fitted, tiny_grid):
    P = tiny_grid.data[:7].copy()
    P[3, 0], P[5, 2] = 7001.0, -3.0
    low, high = tiny_grid.data.min(axis=0), tiny_grid.data.max(axis=0)
    expected = (
        "2 of 7 rows lie outside the training range of "
        rf"teff \({low[0]:g} to {high[0]:g}\), Fe_H \({low[2]:g} to {high[2]:g}\): "
        "rows 3, 5. The emulator extrapolates there."
    )
    with pytest.warns(ExtrapolationWarning, match=expected) as caught:
        fitted["payne"].predict(P)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_predict_of_many_stars_outside_the_box_names_five(fitted, tiny_grid):
    P = tiny_grid.data[:11].copy()
    P[:, 1] = 2.0
    with pytest.warns(
        ExtrapolationWarning,
        match=r"11 of 11 rows .*: rows 0, 1, 2, 3, 4 and 6 others\. The",
    ):
        fitted["payne"].predict(P)


def test_predict_on_the_edge_of_the_box_does_not_warn(fitted, tiny_grid):
    edges = np.array([tiny_grid.data.min(axis=0), tiny_grid.data.max(axis=0)])
    for dtype in (np.float64, np.float32):  # whose rounding may leave the box
        fitted["payne"].predict(edges.astype(dtype))


# randomness


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_fit_with_the_same_random_state_gives_the_same_bits(
    make_tiny, fitted, tiny_grid, arch
):
    again = make_tiny(arch).fit(tiny_grid.data, tiny_grid.target)
    np.testing.assert_array_equal(
        again.predict(tiny_grid.data), fitted[arch].predict(tiny_grid.data)
    )
    np.testing.assert_array_equal(again.held_out_mae_, fitted[arch].held_out_mae_)


def test_fit_with_a_random_state_instance_moves_on(make_tiny, tiny_grid):
    fluxes = []
    random_state = np.random.RandomState(5)
    for _ in range(2):
        emulator = make_tiny(max_steps=3, random_state=random_state)
        emulator.fit(tiny_grid.data, tiny_grid.target)
        fluxes.append(emulator.predict(tiny_grid.data))
    assert not np.array_equal(*fluxes)


def test_fit_does_not_depend_on_the_global_random_state(make_tiny, fitted, tiny_grid):
    with torch.random.fork_rng():
        torch.manual_seed(1234)
        again = make_tiny().fit(tiny_grid.data, tiny_grid.target)
    np.testing.assert_array_equal(
        again.predict(tiny_grid.data), fitted["payne"].predict(tiny_grid.data)
    )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_fit_and_predict_leave_the_global_random_state_alone(
    make_tiny, tiny_grid, arch
):
    ours = torch.get_rng_state()
    numpys = np.random.get_state()  # noqa: NPY002
    emulator = make_tiny(arch, max_steps=2).fit(tiny_grid.data, tiny_grid.target)
    emulator.predict(tiny_grid.data)
    emulator.to_torch()
    assert torch.equal(torch.get_rng_state(), ours)
    np.testing.assert_array_equal(np.random.get_state()[1], numpys[1])  # noqa: NPY002
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()


# arrays of the caller


@pytest.mark.parametrize("arch", ["payne", "transformer"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_fit_and_predict_leave_the_arrays_of_the_caller_alone(
    make_tiny, tiny_grid, arch, dtype
):
    P, F = tiny_grid.data.astype(dtype), tiny_grid.target.astype(dtype)
    wavelength = tiny_grid.wavelength.copy()
    kept = P.copy(), F.copy(), wavelength.copy()
    emulator = make_tiny(arch, max_steps=3, wavelength=wavelength).fit(P, F)
    emulator.predict(P, wavelength=wavelength)[:] = 0
    for now, before in zip((P, F, wavelength), kept, strict=True):
        np.testing.assert_array_equal(now, before)


def test_attributes_are_not_views_of_the_arrays_of_the_caller(make_tiny, tiny_grid):
    P, F = tiny_grid.data.copy(), tiny_grid.target.copy()
    wavelength = tiny_grid.wavelength.copy()
    emulator = make_tiny(max_steps=3, wavelength=wavelength).fit(P, F)
    expected = emulator.predict(tiny_grid.data)
    for array in (P, F, wavelength):
        array[:] = 0
    np.testing.assert_array_equal(emulator.predict(tiny_grid.data), expected)
    np.testing.assert_array_equal(emulator.wavelength_, tiny_grid.wavelength)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_fit_and_predict_accept_read_only_files_mapped_into_memory(
    make_tiny, fitted, tiny_grid, tmp_path, arch
):
    mapped = []
    for name in ("data", "target"):
        np.save(tmp_path / name, tiny_grid[name])
        mapped.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # torch warns of read-only memory only once
    try:
        emulator = make_tiny(arch).fit(*mapped)
        found = emulator.predict(mapped[0])
    finally:
        torch.set_warn_always(always)
    np.testing.assert_array_equal(found, fitted[arch].predict(tiny_grid.data))


# DataFrames


def test_fit_on_a_data_frame_takes_the_names_of_its_columns(make_tiny, tiny_grid):
    pandas = pytest.importorskip("pandas")
    P = pandas.DataFrame(tiny_grid.data, columns=tiny_grid.label_names)
    emulator = make_tiny(label_names=None, max_steps=3).fit(P, tiny_grid.target)
    assert emulator.label_names_ == tiny_grid.label_names
    assert list(emulator.feature_names_in_) == tiny_grid.label_names
    emulator.predict(P)
    other_order = P[list(reversed(tiny_grid.label_names))]
    np.testing.assert_array_equal(emulator.predict(other_order), emulator.predict(P))


def test_fit_without_names_numbers_the_labels(make_tiny, tiny_grid):
    emulator = make_tiny(label_names=None, label_units=None, max_steps=2)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    assert emulator.label_names_ == [f"label_{i}" for i in range(5)]
    assert emulator.label_units_ == [""] * 5
    assert not hasattr(emulator, "feature_names_in_")


# scikit-learn's tools


def test_clone_of_a_fitted_emulator_is_unfitted_and_fits_alike(fitted, tiny_grid):
    twin = clone(fitted["payne"])
    with pytest.raises(NotFittedError):
        twin.predict(tiny_grid.data)
    assert twin.get_params().keys() == fitted["payne"].get_params().keys()
    twin.fit(tiny_grid.data, tiny_grid.target)
    np.testing.assert_array_equal(
        twin.predict(tiny_grid.data), fitted["payne"].predict(tiny_grid.data)
    )


def test_clone_takes_callbacks_and_classes_along(make_tiny):
    twin = clone(make_tiny(Linear, callbacks=[Stop(3)]))
    assert twin.arch is Linear
    assert twin.callbacks[0].after == 3


def test_emulator_prints_in_a_terminal_and_in_a_notebook(fitted, make_tiny):
    for emulator in (fitted["payne"], make_tiny()):
        assert repr(emulator).startswith("SpectrumEmulator(arch='payne'")
        assert "SpectrumEmulator" in emulator._repr_html_()


@part_of_the_box
def test_grid_search_picks_the_better_network(make_tiny, tiny_grid):
    search = GridSearchCV(
        make_tiny(),
        {"arch_params": [{"n_hidden": 1}, {"n_hidden": 23}]},
        cv=3,
    ).fit(tiny_grid.data, tiny_grid.target)
    assert search.best_params_ == {"arch_params": {"n_hidden": 23}}
    assert search.best_estimator_.arch_params_ == {"n_hidden": 23}


@part_of_the_box
def test_grid_search_goes_over_architectures(make_tiny, tiny_grid):
    search = GridSearchCV(
        make_tiny(arch_params=None, max_steps=2),
        [
            {"arch": ["payne"], "recipe": [{"lr": 1e-3}, {"lr": 1e-2}]},
            {"arch": [Linear]},
        ],
        cv=2,
    ).fit(tiny_grid.data, tiny_grid.target)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.cv_results_["params"]) == 3


@part_of_the_box
def test_learning_curve_rises_with_the_number_of_spectra(make_tiny, tiny_grid):
    sizes, _, scores = learning_curve(
        make_tiny(),
        tiny_grid.data,
        tiny_grid.target,
        train_sizes=[5, 80],
        cv=[(np.arange(80), np.arange(80, 101))],
    )
    assert list(sizes) == [5, 80]
    assert scores[1].mean() > scores[0].mean()


@part_of_the_box
def test_cross_val_predict_is_what_each_fold_predicts(make_tiny, tiny_grid):
    P, F = tiny_grid.data, tiny_grid.target
    folds = [(np.arange(51), np.arange(51, 101)), (np.arange(51, 101), np.arange(51))]
    found = cross_val_predict(make_tiny(), P, F, cv=folds)
    for train, test in folds:
        expected = make_tiny().fit(P[train], F[train]).predict(P[test])
        np.testing.assert_array_equal(found[test], expected)


def test_pipeline_with_standardised_labels_is_as_good(make_tiny, fitted, tiny_grid):
    # the emulator scales by itself, so a scaler in front only rounds
    pipeline = make_pipeline(StandardScaler(), make_tiny())
    pipeline.fit(tiny_grid.data, tiny_grid.target)
    assert pipeline.score(tiny_grid.data, tiny_grid.target) == pytest.approx(
        fitted["payne"].score(tiny_grid.data, tiny_grid.target), abs=1e-4
    )


@part_of_the_box
def test_two_processes_give_the_same_scores_as_one(make_tiny, tiny_grid):
    arguments = (make_tiny("transformer", max_steps=13), tiny_grid.data)
    serial = cross_val_score(*arguments, tiny_grid.target, cv=2)
    parallel = cross_val_score(*arguments, tiny_grid.target, cv=2, n_jobs=2)
    # a process may add in another order
    np.testing.assert_allclose(parallel, serial, rtol=1e-5)


# specutils and torch


def test_to_spectra_holds_flux_wavelength_and_medium(emulator, tiny_grid):
    spectra = emulator.to_spectra(tiny_grid.data[:7])
    np.testing.assert_array_equal(
        spectra.flux.to_value(""), emulator.predict(tiny_grid.data[:7])
    )
    np.testing.assert_allclose(
        spectra.wavelength.to_value("angstrom"), tiny_grid.wavelength, rtol=1e-15
    )
    assert spectra.meta["medium"] == "air"


def test_to_spectra_of_as_many_stars_as_wavelengths_keeps_the_axes_apart(
    fitted, tiny_grid
):
    some = tiny_grid.wavelength[:3]
    spectra = fitted["payne"].to_spectra(tiny_grid.data[:3], wavelength=some)
    assert spectra.shape == (3, 3)
    np.testing.assert_array_equal(spectra.wavelength.to_value("angstrom"), some)
    np.testing.assert_array_equal(
        spectra.flux.to_value(""),
        fitted["payne"].predict(tiny_grid.data[:3], wavelength=some),
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_to_torch_gives_what_predict_gives(emulator, tiny_grid, between, dtype):
    labels = torch.tensor(tiny_grid.data, dtype=dtype)
    module = emulator.to_torch(dtype=dtype)
    with fast_products():  # as predict has them
        found = module(labels)
        at = module(labels, torch.from_numpy(between)).numpy()
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.numpy(), emulator.predict(labels.numpy()))
    np.testing.assert_array_equal(
        at, emulator.predict(labels.numpy(), wavelength=between)
    )


def test_to_torch_is_differentiable_in_the_labels(emulator, tiny_grid):
    module = double_module(emulator)
    labels = torch.tensor(tiny_grid.data[7:8])
    jacobian = torch.autograd.functional.jacobian(module, labels)[0, :, 0]
    box = emulator.label_high_ - emulator.label_low_
    for i, step in enumerate(1e-4 * box):
        shifted = [labels.clone(), labels.clone()]
        shifted[0][0, i] += step
        shifted[1][0, i] -= step
        with torch.no_grad():
            there, back = (module(x)[0] for x in shifted)
        by_difference = (there - back) / (2 * step)
        # third derivatives times the square of a step of 2e-4 half widths
        torch.testing.assert_close(
            jacobian[:, i] * box[i], by_difference * box[i], rtol=0, atol=1e-6
        )
        assert (jacobian[:, i] * box[i]).abs().max() > 1e-3


def test_to_torch_is_differentiable_in_the_wavelength(emulator, tiny_grid, between):
    module = double_module(emulator)
    labels = torch.tensor(tiny_grid.data[:2])
    wavelength = torch.from_numpy(between).requires_grad_()
    (slope,) = torch.autograd.grad(module(labels, wavelength)[0].sum(), wavelength)
    step = 1e-5
    with torch.no_grad():
        there, back = (module(labels, wavelength + s)[0] for s in (step, -step))
    # steps are 0.33 Å; flux is smooth over them
    torch.testing.assert_close(slope, (there - back) / (2 * step), rtol=0, atol=1e-5)


def test_to_torch_takes_wavelengths_of_each_star(emulator, tiny_grid, between):
    module = double_module(emulator)
    labels = torch.tensor(tiny_grid.data[:2])
    own = torch.from_numpy(np.stack([between, between + 0.05]))
    found = module(labels, own)
    for i in range(2):
        expected = module(labels[i : i + 1], own[i])
        torch.testing.assert_close(found[i : i + 1], expected, rtol=0, atol=1e-12)


def test_to_torch_gives_an_independent_copy_without_gradients(emulator, tiny_grid):
    before = emulator.predict(tiny_grid.data[:3])
    module = emulator.to_torch()
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not module.training
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(emulator.predict(tiny_grid.data[:3]), before)


# stopping, callbacks, progress


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_interruption_warns_and_leaves_a_usable_emulator(make_tiny, tiny_grid, arch):
    # what comes after the last look at the held-out spectra is dropped
    recipe = {"validate_every": 17}
    emulator = make_tiny(arch, callbacks=[Stop(after=23)], recipe=recipe)
    with pytest.warns(
        TrainingInterruptedWarning, match="stopped after 17 of 53 steps"
    ) as caught:
        emulator.fit(tiny_grid.data, tiny_grid.target)
    assert caught[0].filename == __file__
    assert emulator.n_steps_ == 17
    assert emulator.predict(tiny_grid.data).shape == (101, 61)
    assert np.isfinite(emulator.held_out_mae_).all()
    pickle.loads(pickle.dumps(emulator)).predict(tiny_grid.data)


def test_interruption_at_the_first_step_leaves_a_usable_emulator(make_tiny, tiny_grid):
    emulator = make_tiny(callbacks=[Stop(after=1)])
    with pytest.warns(TrainingInterruptedWarning, match="after 0 of 53 steps"):
        emulator.fit(tiny_grid.data, tiny_grid.target)
    assert emulator.n_steps_ == 0
    assert emulator.history_ == []
    assert np.isfinite(emulator.predict(tiny_grid.data)).all()


def test_interruption_warns_also_if_early_stopping_is_on(make_tiny, tiny_grid):
    recipe = {"patience": 100, "validate_every": 17}
    emulator = make_tiny(callbacks=[Stop(after=23)], recipe=recipe)
    with pytest.warns(TrainingInterruptedWarning, match="after 17 of 53 steps"):
        emulator.fit(tiny_grid.data, tiny_grid.target)


def test_early_stopping_keeps_the_best_weights_without_a_warning(make_tiny, tiny_grid):
    recipe = {"patience": 2, "validate_every": 5, "lr": 1.0, "decay": "constant"}
    emulator = make_tiny(max_steps=1009, recipe=recipe)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    assert emulator.n_steps_ < 1009
    losses = [entry["valid_loss"] for entry in emulator.history_]
    assert np.argmin(losses) == len(losses) - 3
    # the loss is of flux in units of its scatter about the mean spectrum
    F = tiny_grid.target
    scale = np.sqrt(np.mean((F - F.mean(axis=0)) ** 2))
    found = np.mean(emulator.held_out_rms_**2) / scale**2
    assert found == pytest.approx(min(losses), rel=1e-4)


def test_early_stopping_of_the_user_does_not_warn_either(make_tiny, tiny_grid):
    early = EarlyStopping(patience=2, threshold=1e9, threshold_mode="abs", sink=noop)
    emulator = make_tiny(callbacks=[early], recipe={"validate_every": 5})
    emulator.fit(tiny_grid.data, tiny_grid.target)
    assert emulator.n_steps_ == 15


def test_callbacks_of_skorch_are_called(make_tiny, tiny_grid, tmp_path):
    checkpoint = Checkpoint(dirname=tmp_path, monitor="valid_loss_best")
    emulator = make_tiny(callbacks=[checkpoint]).fit(tiny_grid.data, tiny_grid.target)
    state = torch.load(tmp_path / "params.pt", weights_only=True)
    expected = emulator.net_.module_.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, expected[name])


def test_callbacks_may_be_named_and_are_reached_from_the_net(make_tiny, tiny_grid):
    emulator = make_tiny(callbacks=[("spy", Spy())], max_steps=2)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    assert isinstance(dict(emulator.net_.callbacks_)["spy"], Spy)


def test_average_gives_other_weights_and_still_learns(make_tiny, fitted, tiny_grid):
    P, F = tiny_grid.data, tiny_grid.target
    emulator = make_tiny(recipe={"average": 0.1}).fit(P, F)
    assert not np.array_equal(emulator.predict(P), fitted["payne"].predict(P))
    assert emulator.score(P, F) == pytest.approx(fitted["payne"].score(P, F), abs=0.05)


@pytest.mark.parametrize("verbose", [0, 1])
def test_verbose_shows_a_progress_bar(make_tiny, tiny_grid, capsys, verbose):
    emulator = make_tiny(verbose=verbose, max_steps=7)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    output = capsys.readouterr()
    assert output.out == ""
    assert ("7/7" in output.err and "valid_loss" in output.err) == bool(verbose)
    assert bool(output.err) == bool(verbose)


# pickles


def test_pickle_predicts_the_same_bits(emulator, tiny_grid):
    again = pickle.loads(pickle.dumps(emulator))
    for dtype in (np.float64, np.float32):
        P = tiny_grid.data.astype(dtype)
        np.testing.assert_array_equal(again.predict(P), emulator.predict(P))


def test_pickle_holds_the_weights_once(make_tiny, tiny_grid):
    emulator = make_tiny(arch_params={"n_hidden": 101}, max_steps=2)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    emulator.predict(tiny_grid.data)  # which makes a float64 twin
    buffer = io.BytesIO()
    pickle.dump(emulator, buffer)
    weights = 4 * sum(p.numel() for p in emulator.net_.module_.parameters())
    assert buffer.tell() < 2 * weights


def test_pickle_of_an_unfitted_emulator_is_unfitted(make_tiny, tiny_grid):
    again = pickle.loads(pickle.dumps(make_tiny()))
    with pytest.raises(NotFittedError):
        again.predict(tiny_grid.data)
