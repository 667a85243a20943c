"""Tests of the trained state: built once, at the end of fit, and never changed."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback

import sk_payne
from sk_payne import FineTunedEmulator, SpectrumEmulator


class RaiseAt(Callback):
    """Raises an error at the end of a training step."""

    def __init__(self, error, step=3):
        self.error = error
        self.step = step

    def on_batch_end(self, net, training=False, **kwargs):
        if training and net.n_steps == self.step:
            raise self.error("no more")


def everything_of(emulator, P):
    """What an emulator says and predicts."""
    names = [name for name in dir(emulator) if name.endswith("_") and name[0] != "_"]
    said = {name: repr(getattr(emulator, name)) for name in names}
    flux, std = emulator.predict(P, return_std=True)
    return said, flux, std, emulator.domain(P).tolist()


def assert_unchanged(emulator, before, P):
    said, flux, std, domain = everything_of(emulator, P)
    for name in said:
        assert said[name] == before[0][name], name
    np.testing.assert_array_equal(flux, before[1])
    np.testing.assert_array_equal(std, before[2])
    assert domain == before[3]


@pytest.fixture
def emulator(make_tiny, short_grid):
    return make_tiny().fit(short_grid.data, short_grid.target)


FAILURES = {
    "divergence": ({"recipe": {"lr": 1e30}}, ValueError, "Training diverged"),
    "callback": (
        {"callbacks": [RaiseAt(ZeroDivisionError)]},
        ZeroDivisionError,
        "no more",
    ),
    "memory": ({"callbacks": [RaiseAt(MemoryError)]}, MemoryError, "no more"),
    "recipe": ({"recipe": {"learning_rate": 1}}, ValueError, "may have the entries"),
    "names": (
        {"label_names": ["a"], "label_units": None},
        ValueError,
        "5 different names",
    ),
    "units": ({"label_units": ["K"]}, ValueError, "`label_units`"),
    "device": ({"device": "toaster"}, ValueError, "`device` must be"),
    "architecture": ({"arch": "pain"}, ValueError, "Did you mean 'payne'"),
    "option": ({"arch_params": {"hidden": 3}}, ValueError, "`arch_params`"),
    "fraction": ({"validation_fraction": 2}, ValueError, "`validation_fraction`"),
    "seed": ({"random_state": "seed"}, ValueError, "seed"),
    "wavelength": ({"wavelength": [1.0]}, ValueError, "`wavelength`"),
    "resolving power": ({"resolving_power": -1}, ValueError, "`resolving_power`"),
}


@pytest.mark.parametrize("how", FAILURES)
def test_fit_that_fails_leaves_the_emulator_as_it_was(
    emulator, short_grid, tmp_path, how
):
    P = short_grid.data[:7]
    before = everything_of(emulator, P)
    changes, error, message = FAILURES[how]
    emulator.set_params(**changes)
    hotter = short_grid.data + np.array([1500, 0, 0, 0, 0])
    with pytest.raises(error, match=message):
        emulator.fit(hotter, 3 * short_grid.target)
    assert_unchanged(emulator, before, P)
    for twin in (copy.deepcopy(emulator), pickle.loads(pickle.dumps(emulator))):
        np.testing.assert_array_equal(twin.predict(P), before[1])
    emulator.save(tmp_path / "it.safetensors")
    emulator.save(tmp_path / "folder")
    again = sk_payne.load(tmp_path / "it.safetensors")
    np.testing.assert_array_equal(again.predict(P), before[1])
    assert sk_payne.check(tmp_path / "folder").difference < 1e-12


@pytest.mark.parametrize(
    "spectra",
    [
        lambda P, F: (P[:, :4], F),
        lambda P, F: (P, F[:, :7]),
        lambda P, F: (P[:50], F),
        lambda P, F: (P, np.full_like(F, np.nan)),
        lambda P, F: (P, F[:, 0]),
        lambda P, F: (P[:1], F[:1]),
        lambda P, F: (np.full_like(P, np.nan), F),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_spectra_leave_the_emulator_as_it_was(
    emulator, short_grid, spectra, method
):
    P = short_grid.data[:7]
    before = everything_of(emulator, P)
    with pytest.raises(ValueError, match=r"^[A-Z`]"):
        getattr(emulator, method)(*spectra(short_grid.data, short_grid.target))
    assert_unchanged(emulator, before, P)


def test_wrong_checkpoint_leaves_the_emulator_as_it_was(emulator, short_grid, tmp_path):
    P = short_grid.data[:7]
    before = everything_of(emulator, P)
    path = tmp_path / "checkpoint"
    killed = clone(emulator).set_params(
        checkpoint=path,
        recipe={"validate_every": 2},
        callbacks=[RaiseAt(ZeroDivisionError)],
    )
    with pytest.raises(ZeroDivisionError):
        killed.fit(short_grid.data, short_grid.target)
    emulator.set_params(checkpoint=path)
    with pytest.raises(ValueError, match="must be those of the training in"):
        emulator.fit(short_grid.data, 2 * short_grid.target)
    assert_unchanged(emulator, before, P)


def test_unfitted_emulator_whose_fit_fails_is_unfitted(make_tiny, short_grid):
    emulator = make_tiny(recipe={"lr": 1e30})
    with pytest.raises(ValueError, match="diverged"):
        emulator.fit(short_grid.data, short_grid.target)
    assert not [name for name in vars(emulator) if name.endswith("_")]


def test_fine_tuning_that_fails_leaves_emulator_and_base_as_they_were(
    emulator, short_grid
):
    P = short_grid.data[:7]
    tuned = FineTunedEmulator(emulator, max_steps=3, device="cpu", random_state=0)
    tuned.fit(short_grid.data, short_grid.target)
    before, base = everything_of(tuned, P), everything_of(emulator, P)
    tuned.set_params(recipe={"lr": 1e30})
    with pytest.raises(ValueError, match="diverged"):
        tuned.fit(short_grid.data, 2 * short_grid.target)
    assert_unchanged(tuned, before, P)
    assert_unchanged(emulator, base, P)


@pytest.mark.parametrize(
    "name", ["label_names_", "wavelength_", "label_low_", "recipe_", "n_features_in_"]
)
def test_fitted_attributes_cannot_be_set(fitted, name):
    with pytest.raises(AttributeError, match=f"`{name}` follows from the training"):
        setattr(fitted["payne"], name, None)


def test_trained_state_cannot_be_changed(fitted):
    with pytest.raises(dataclasses.FrozenInstanceError):
        fitted["payne"].trained_.scaling = None


def test_net_lets_go_of_the_spectra(fitted):
    assert fitted["payne"].net_.train_split is None


# refitting a loaded emulator


@pytest.mark.parametrize("arch", ["opacity", "transformer"])
@pytest.mark.parametrize("how", ["loaded", "pickled", "cloned"])
def test_refitting_on_another_grid_resolves_the_options_anew(
    make_tiny, short_grid, tmp_path, arch, how
):
    P, F = short_grid.data, short_grid.target
    first = make_tiny(arch, max_steps=3).fit(P, F)
    first.save(tmp_path / "it.safetensors")
    again = {
        "loaded": lambda: sk_payne.load(tmp_path / "it.safetensors"),
        "pickled": lambda: pickle.loads(pickle.dumps(first)),
        "cloned": lambda: clone(sk_payne.load(tmp_path / "it.safetensors")),
    }[how]()
    # cooler stars, and wavelengths farther apart
    other = P * [0.9, 1, 1, 1, 1]
    wavelength = 4500 + 3 * (short_grid.wavelength - 4500)
    expected = make_tiny(arch, max_steps=3, wavelength=wavelength).fit(other, F)
    found = again.set_params(wavelength=wavelength, device="cpu").fit(other, F)
    assert found.arch_params_ == expected.arch_params_
    assert found.arch_params_ != first.arch_params_
    np.testing.assert_array_equal(found.predict(other), expected.predict(other))


def test_options_of_the_user_stay_when_a_loaded_emulator_is_refitted(
    make_tiny, short_grid, tmp_path
):
    emulator = make_tiny(arch_params={"n_hidden": 11}, max_steps=2)
    emulator.fit(short_grid.data, short_grid.target).save(tmp_path / "it.safetensors")
    again = sk_payne.load(tmp_path / "it.safetensors")
    assert again.arch_params == {"n_hidden": 11}
    assert again.fit(short_grid.data, short_grid.target).arch_params_ == {
        "n_hidden": 11
    }


# global state of torch


def test_training_leaves_the_random_state_of_torch_alone(make_tiny, short_grid):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    make_tiny(max_steps=2).fit(short_grid.data, short_grid.target)
    assert torch.equal(torch.rand(3), expected)


# callbacks and emulators from elsewhere


def test_one_callback_instead_of_a_list_is_named(make_tiny, short_grid):
    emulator = make_tiny(callbacks=RaiseAt(ValueError))
    with pytest.raises(TypeError, match=r"`callbacks` must be a list.*got RaiseAt"):
        emulator.fit(short_grid.data, short_grid.target)


def test_callback_that_cannot_be_cloned_is_named(make_tiny):
    class Rows(Callback):
        def __init__(self):
            self.rows = []

    with pytest.raises(TypeError, match=r"`callbacks` .* 'rows'"):
        clone(make_tiny(callbacks=[Rows()]))


def test_emulator_from_elsewhere_pretends_no_recipe():
    from sk_payne.emulators import from_weights

    emulator = from_weights(
        "cannon",
        {"polynomial.weight": [[-0.1, 0.0]], "polynomial.bias": [1.0]},
        wavelength=[4500.0],
        medium="air",
        label_low=[4000.0],
        label_high=[6000.0],
    )
    assert emulator.recipe_ is None
    assert emulator.recipe is None
    with pytest.raises(ValueError, match=r"was not trained here.*mock_recovery"):
        emulator.predict([[5000.0]], return_std=True)


@pytest.mark.parametrize("how", ["given", "loaded"])
def test_repr_fits_on_a_screen(tmp_path, how):
    n = 2198
    P = np.random.default_rng(0).uniform(size=(11, 19))
    emulator = SpectrumEmulator(
        arch="payne",
        arch_params={"n_hidden": 3},
        wavelength=np.linspace(4500, 4600, n),
        medium="air",
        label_names=[f"element_{i}_H" for i in range(19)],
        label_units=["dex"] * 19,
        max_steps=1,
        device="cpu",
        random_state=0,
    )
    if how == "loaded":
        emulator.fit(P, np.ones((11, n))).save(tmp_path / "it.safetensors")
        emulator = sk_payne.load(tmp_path / "it.safetensors")
    text = repr(emulator)
    assert "<2198 values from 4500 to 4600>" in text
    assert "<19 values from 'element_0_H' to 'element_18_H'>" in text
    assert len(text) < 900
    assert text.count("\n") < 20


@pytest.mark.parametrize("power", [None, 20_000.0, np.inf, "array"])
def test_resolving_power_survives_saving_and_pickling(
    make_tiny, short_grid, tmp_path, power
):
    if isinstance(power, str):
        power = np.linspace(20_000, 30_000, 61)
    emulator = make_tiny(resolving_power=power, max_steps=1)
    emulator.fit(short_grid.data, short_grid.target).save(tmp_path / "it.safetensors")
    loaded = sk_payne.load(tmp_path / "it.safetensors")
    for again in (loaded, pickle.loads(pickle.dumps(emulator)), loaded.trained_):
        found = getattr(again, "resolving_power_", None)
        if again is loaded.trained_:
            found = again.description.resolving_power
        assert type(found) is type(emulator.resolving_power_)
        np.testing.assert_array_equal(found, emulator.resolving_power_)


def test_spectra_of_an_emulator_state_its_resolving_power(make_tiny, short_grid):
    P, grid = short_grid.data, short_grid.wavelength
    power = np.repeat([20_000.0, 30_000.0], [30, 31])
    emulator = make_tiny(resolving_power=power, max_steps=1).fit(P, short_grid.target)
    spectra = emulator.to_spectra(P[:2])
    np.testing.assert_array_equal(spectra.meta["resolving_power"], power)
    some = grid[[3, 29, 30, 50]] + 0.01
    spectra = emulator.to_spectra(P[:2], wavelength=some)
    expected = [20_000, 20_000, 30_000, 30_000]
    np.testing.assert_array_equal(spectra.meta["resolving_power"], expected)
