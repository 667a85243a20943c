"""Tests of FineTunedEmulator: it starts as its base, learns from there, spares it."""

import pickle

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score, learning_curve
from skorch.callbacks import Callback
from specutils import Spectrum
from torch import nn

from sk_payne import AbundanceRegressor, FineTunedEmulator, SpectrumEmulator, load
from sk_payne.datasets import make_spectra
from sk_payne.exceptions import (
    ExtrapolationWarning,
    TrainingInterruptedWarning,
    WavelengthMismatchError,
)
from sk_payne.networks import Recipe, default_recipe

# Predictions at constant labels, and of a part of the spectra, are beyond some box.
pytestmark = pytest.mark.filterwarnings(
    f"ignore::{ExtrapolationWarning.__module__}.ExtrapolationWarning"
)

ARCHITECTURES = ["payne", "bigpayne", "convolutional", "opacity", "transformer"]
DENSE = ["payne", "bigpayne"]

# One step that rounding swallows, so that what is predicted is the very start.
AT_ONCE = {"max_steps": 1, "recipe": {"lr": 1e-12}}
# Flux is about one, weights are float32, and sums are taken in another order.
ROUNDING = 2e-6


class Unnamed(nn.Module):
    """A user's own architecture that says nothing about its layers."""

    def __init__(self, n_labels, n_wavelengths):
        super().__init__()
        self.only = nn.Linear(n_labels, n_wavelengths)

    def forward(self, labels):
        return self.only(labels)


class StopAfter(Callback):
    """Presses Ctrl-C after some steps."""

    def __init__(self, n_steps):
        self.n_steps = n_steps

    def on_batch_end(self, net, training, **kwargs):
        self.n_steps -= training
        if self.n_steps == 0:
            raise KeyboardInterrupt


def abundances_only(n, *, n_wavelengths=61, seed=1):
    """P and F of stars that all have 5000 K and log g 4.5."""
    names = ("Fe_H", "Mg_H", "Ca_H")
    grid = make_spectra(
        n, n_wavelengths=n_wavelengths, label_names=names, random_state=seed
    )
    constant = np.tile([5000.0, 4.5], (n, 1))
    return np.hstack([constant, grid.data]), grid.target


@pytest.fixture(scope="module")
def narrow():
    """Spectra in which two of five labels are constant; don't write into them."""
    P, F = abundances_only(97)
    P.flags.writeable = F.flags.writeable = False
    return P, F


@pytest.fixture(scope="module")
def narrow_bases(make_tiny, narrow):
    """One emulator of each architecture, two labels of which never varied."""
    return {arch: make_tiny(arch).fit(*narrow) for arch in ARCHITECTURES}


@pytest.fixture(scope="session")
def tune(tiny_grid):
    """Give a function that fine-tunes with few steps, on the tiny grid by default."""

    def fit(base, P=None, F=None, **changes):
        arguments = {"max_steps": 3, "device": "cpu", "random_state": 0}
        tuned = FineTunedEmulator(base, **(arguments | changes))
        return tuned.fit(
            tiny_grid.data if P is None else P, tiny_grid.target if F is None else F
        )

    return fit


@pytest.fixture
def fails(tune):
    """Give a function that checks how fine-tuning fails."""

    def check(error, match, base, P=None, F=None, **changes):
        with pytest.raises(error, match=match):
            tune(base, P, F, **changes)

    return check


def weights_of(emulator):
    state = emulator.to_torch().network.state_dict()
    return {name: tensor.numpy() for name, tensor in state.items()}


def without_names(make_tiny, tiny_grid, arch="payne", **changes):
    nothing = dict.fromkeys(("wavelength", "medium", "label_names", "label_units"))
    emulator = make_tiny(arch, max_steps=13, **(nothing | changes))
    return emulator.fit(tiny_grid.data, tiny_grid.target)


# the start


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_start_on_the_same_labels_is_the_base(fitted, tune, tiny_grid, arch):
    tuned = tune(fitted[arch], **AT_ONCE)
    np.testing.assert_allclose(
        tuned.predict(tiny_grid.data),
        fitted[arch].predict(tiny_grid.data),
        rtol=0,
        atol=ROUNDING,
    )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_start_on_labels_in_another_order_is_the_base(fitted, tune, tiny_grid, arch):
    order = [3, 0, 4, 1, 2]
    names = [tiny_grid.label_names[i] for i in order]
    P = tiny_grid.data[:, order]
    tuned = tune(fitted[arch], P, label_names=names, **AT_ONCE)
    assert tuned.label_names_ == names
    assert tuned.label_units_ == [tiny_grid.label_units[i] for i in order]
    np.testing.assert_allclose(
        tuned.predict(P),
        fitted[arch].predict(tiny_grid.data),
        rtol=0,
        atol=ROUNDING,
    )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_start_does_not_depend_on_labels_that_were_constant_in_the_base(
    narrow_bases, tune, tiny_grid, narrow, arch
):
    base = narrow_bases[arch]
    tuned = tune(base, **AT_ONCE)
    expected = base.predict(narrow[0])
    found = tuned.predict(narrow[0])
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)
    if arch == "opacity":
        return  # its chemistry knows what other temperatures do
    # and so at any temperature and gravity
    P = narrow[0].copy()
    P[:, :2] = np.random.default_rng(0).uniform([4000, 4], [6000, 5], (97, 2))
    np.testing.assert_allclose(tuned.predict(P), expected, rtol=0, atol=ROUNDING)
    # which of the base itself, whose first weights for them are random, is not true
    assert np.abs(base.predict(P) - expected).max() > 0.01


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("place", [0, 5])
def test_start_does_not_depend_on_new_labels(fitted, tune, tiny_grid, arch, place):
    new = np.random.default_rng(0).uniform(100, 300, 101)
    P = np.insert(tiny_grid.data, place, new, axis=1)
    names = [*tiny_grid.label_names]
    names.insert(place, "vsini")
    tuned = tune(fitted[arch], P, label_names=names, **AT_ONCE)
    expected = fitted[arch].predict(tiny_grid.data)
    P[:, place] = new[::-1]
    np.testing.assert_allclose(tuned.predict(P), expected, rtol=0, atol=ROUNDING)
    assert tuned.label_units_[place] == ""


def test_new_labels_are_scaled_to_their_own_range_and_old_ones_as_in_the_base(
    narrow_bases, tune, tiny_grid, narrow
):
    P = np.column_stack([tiny_grid.data, np.linspace(100, 300, 101), np.full(101, 7)])
    names = [*tiny_grid.label_names, "vsini", "constant"]
    tuned = tune(narrow_bases["payne"], P, label_names=names)
    low, high = narrow[0].min(axis=0), narrow[0].max(axis=0)
    # a label that was constant stays zero there, and reaches to -1 or 1
    reach = np.abs(tiny_grid.data[:, :2] - [5000, 4.5]).max(axis=0)
    np.testing.assert_allclose(
        tuned.trained_.scaling.label_center,
        [5000, 4.5, *(low + high)[2:] / 2, 200, 7],
        rtol=1e-15,
    )
    np.testing.assert_allclose(
        tuned.trained_.scaling.label_half_width,
        [*reach, *(high - low)[2:] / 2, 100, 1],
        rtol=1e-15,
    )
    np.testing.assert_array_equal(tuned.label_low_, P.min(axis=0))
    np.testing.assert_array_equal(tuned.label_high_, P.max(axis=0))


def test_label_that_is_constant_in_base_and_new_grid_stays_without_influence(
    narrow_bases, tune, narrow
):
    tuned = tune(narrow_bases["payne"], *narrow, max_steps=31)
    P = narrow[0].copy()
    P[:, :2] = [4321.0, 5.0]
    np.testing.assert_array_equal(tuned.predict(P), tuned.predict(narrow[0]))


@pytest.mark.parametrize(
    "grid",
    [
        lambda w: w[::2],
        lambda w: np.sqrt(w[1:] * w[:-1]),
        lambda w: np.linspace(w[7], w[50], 29),
        lambda w: w[20:31],
    ],
    ids=["coarser", "shifted", "even in wavelength", "part"],
)
@pytest.mark.parametrize("arch", [*DENSE, "transformer"])
def test_start_on_other_wavelengths_is_the_base_there(
    fitted, tune, tiny_grid, arch, grid
):
    wavelength = grid(tiny_grid.wavelength)
    expected = fitted[arch].predict(tiny_grid.data, wavelength=wavelength)
    tuned = tune(
        fitted[arch], F=np.ones_like(expected), wavelength=wavelength, **AT_ONCE
    )
    found = tuned.predict(tiny_grid.data)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)
    assert tuned.medium_ == "air"
    np.testing.assert_array_equal(tuned.wavelength_, wavelength)


def test_start_of_a_transformer_beyond_the_range_of_its_base_is_its_network(
    fitted, tune, tiny_grid
):
    base = fitted["transformer"]
    wavelength = np.geomspace(4490, 4550, 31)
    tuned = tune(base, F=np.ones((101, 31)), wavelength=wavelength, **AT_ONCE)
    with torch.no_grad():
        expected = base.to_torch(dtype=torch.float64)(
            torch.tensor(tiny_grid.data), torch.from_numpy(wavelength)
        )
    np.testing.assert_allclose(
        tuned.predict(tiny_grid.data), expected.numpy(), rtol=0, atol=ROUNDING
    )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_start_of_a_base_without_names_goes_by_position(
    make_tiny, tune, tiny_grid, arch
):
    base = without_names(make_tiny, tiny_grid, arch)
    P = np.column_stack([tiny_grid.data, np.arange(101)])
    names = ["a", "b", "c", "d", "e", "new"]
    tuned = tune(base, P, label_names=names, **AT_ONCE)
    assert tuned.label_names_ == names
    assert tuned.wavelength_ is None
    np.testing.assert_allclose(
        tuned.predict(P), base.predict(tiny_grid.data), rtol=0, atol=ROUNDING
    )


def test_start_of_an_own_architecture_needs_no_layer_names_if_nothing_changes(
    make_tiny, tune, tiny_grid
):
    base = make_tiny(Unnamed).fit(tiny_grid.data, tiny_grid.target)
    tuned = tune(base, **AT_ONCE)
    np.testing.assert_allclose(
        tuned.predict(tiny_grid.data),
        base.predict(tiny_grid.data),
        rtol=0,
        atol=ROUNDING,
    )


# learning


@pytest.mark.parametrize(
    ("arch", "n_base", "n_steps"), [("payne", 803, 203), ("transformer", 303, 53)]
)
def test_fine_tuning_beats_training_from_scratch_on_the_same_few_spectra(
    make_tiny, arch, n_base, n_steps
):
    # the base knows abundances at one temperature and gravity only
    sparse = {"n_wavelengths": 31}
    base = make_tiny(arch, max_steps=n_base, recipe=sparse | {"batch_size": 64})
    base.fit(*abundances_only(400))
    few = make_spectra(60, n_wavelengths=61, random_state=2)
    other = make_spectra(300, n_wavelengths=61, random_state=3)
    # both see the same number of steps at the same learning rate
    recipe = Recipe(max_steps=n_steps, lr=3e-3, batch_size=31, **sparse)
    changes = {"validation_fraction": 0, "device": "cpu", "random_state": 0}
    tuned = FineTunedEmulator(base, recipe=recipe, **changes)
    scratch = make_tiny(arch, max_steps=n_steps, **changes)
    scratch.set_params(recipe=recipe)
    error = []
    for emulator in (tuned, scratch):
        F = emulator.fit(few.data, few.target).predict(other.data)
        error.append(np.sqrt(np.mean((F - other.target) ** 2)))
    # it is about a half for other seeds as well
    assert error[0] < 0.7 * error[1]


def test_fit_learns_spectra_on_other_wavelengths(fitted, tune, tiny_grid):
    grid = make_spectra(
        101, n_wavelengths=31, wavelength_range=(4501.0, 4519.0), random_state=0
    )
    emulator = {
        steps: tune(
            fitted["payne"],
            grid.data,
            grid.target,
            wavelength=grid.wavelength,
            max_steps=steps,
            recipe={"lr": 1e-2},
        )
        for steps in (1, 211)
    }
    score = {n: one.score(grid.data, grid.target) for n, one in emulator.items()}
    assert score[211] > score[1] > 0.2
    assert emulator[211].predict(grid.data, wavelength=[4510.0]).shape == (101, 1)


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_default_recipe_is_gentler_than_that_of_the_architecture(fitted, tune, arch):
    recipe = tune(fitted[arch], max_steps=1).recipe_
    assert recipe.lr == default_recipe(arch).lr / 3
    assert recipe.loss == default_recipe(arch).loss


def test_recipe_changes_the_gentle_one_or_replaces_it(fitted, tune):
    changes = {"loss": "huber", "max_steps": 7}
    tuned = tune(fitted["payne"], recipe=changes, max_steps=None)
    assert (tuned.recipe_.loss, tuned.recipe_.lr) == ("huber", 1e-3)
    assert tuned.n_steps_ == 7
    recipe = Recipe(max_steps=5, lr=0.5)
    assert tune(fitted["payne"], recipe=recipe, max_steps=None).recipe_ is recipe


def test_fit_twice_gives_the_same_bits(fitted, tune, tiny_grid):
    first, second = (tune(fitted["transformer"], max_steps=3) for _ in range(2))
    np.testing.assert_array_equal(
        first.predict(tiny_grid.data), second.predict(tiny_grid.data)
    )


def test_held_out_errors_are_those_of_the_new_spectra(fitted, tune, tiny_grid):
    tuned = tune(fitted["payne"], validation_fraction=0.29)
    assert (tuned.n_training_, tuned.n_held_out_) == (72, 29)
    held_out = tuned.net_.start["held_out"]
    error = tuned.predict(tiny_grid.data[held_out]) - tiny_grid.target[held_out]
    np.testing.assert_allclose(
        tuned.held_out_mae_, np.abs(error).mean(axis=0), rtol=0, atol=1e-6
    )


# frozen weights


@pytest.mark.parametrize(
    ("arch", "freeze"),
    [
        ("payne", ("layers.0.*",)),
        ("payne", ["*.weight"]),
        ("bigpayne", ("layers.[246].*", "layers.8.bias")),
        ("convolutional", ("blocks.*", "head.*")),
        ("transformer", ("layers.*",)),
    ],
)
def test_frozen_weights_keep_every_bit_and_the_others_move(fitted, tune, arch, freeze):
    from fnmatch import fnmatch

    recipe = {"weight_decay": 0.1, "average": 0.5, "lr": 1e-2}
    tuned = tune(fitted[arch], freeze=freeze, recipe=recipe)
    before, after = weights_of(fitted[arch]), weights_of(tuned)
    frozen = {name for name in before for pattern in freeze if fnmatch(name, pattern)}
    assert 0 < len(frozen) < len(before)
    for name in before:
        assert np.array_equal(before[name], after[name]) == (name in frozen), name


def test_nothing_is_frozen_by_default(fitted, tune):
    before, after = weights_of(fitted["payne"]), weights_of(tune(fitted["payne"]))
    assert not any(np.array_equal(before[name], after[name]) for name in before)


def test_freezing_nothing_that_exists_is_an_error_that_lists_the_weights(fails, fitted):
    fails(
        ValueError,
        r"pattern 'lyers\.\*', which is of none of the weights \['layers.0.weight', ",
        fitted["payne"],
        freeze=("layers.0.*", "lyers.*"),
    )


@pytest.mark.parametrize("freeze", [("*",), ("*.weight", "*.bias")])
def test_freezing_everything_is_an_error(fails, fitted, freeze):
    fails(
        ValueError, "must leave some weights to train", fitted["payne"], freeze=freeze
    )


# the base


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_base_keeps_every_bit(narrow_bases, tune, narrow, arch):
    base = narrow_bases[arch]
    before, flux = weights_of(base), base.predict(narrow[0])
    kept = pickle.dumps(base)
    tune(base, max_steps=7, recipe={"lr": 0.1})
    for name, array in weights_of(base).items():
        np.testing.assert_array_equal(array, before[name])
    np.testing.assert_array_equal(base.predict(narrow[0]), flux)
    assert pickle.dumps(base) == kept


def test_base_as_path_and_frozen_gives_the_same_bits_as_the_object(
    narrow_bases, tune, tiny_grid, tmp_path
):
    base = narrow_bases["payne"]
    base.save(tmp_path / "base")
    expected = tune(base, max_steps=13).predict(tiny_grid.data)
    others = [
        tmp_path / "base",
        str(tmp_path / "base"),
        load(tmp_path / "base"),
        FrozenEstimator(base),
        FrozenEstimator(FrozenEstimator(base)),
        pickle.loads(pickle.dumps(base)),
    ]
    for other in others:
        found = tune(other, max_steps=13).predict(tiny_grid.data)
        np.testing.assert_array_equal(found, expected)


def test_base_that_is_not_fitted_is_an_error(fails, make_tiny):
    for base in (make_tiny(), FrozenEstimator(make_tiny())):
        fails(NotFittedError, "SpectrumEmulator instance is not fitted yet", base)


@pytest.mark.parametrize("base", [Ridge(), None, SpectrumEmulator])
def test_base_that_is_no_emulator_is_an_error(fails, base):
    fails(
        TypeError,
        "must be a fitted SpectrumEmulator or FineTunedEmulator, or the path .*; got",
        base,
    )


def test_base_in_a_file_that_does_not_exist_is_an_error(fails, tmp_path):
    fails(FileNotFoundError, "absent", tmp_path / "absent")


def test_missing_label_is_an_error_that_says_what_was_meant(fails, fitted, tiny_grid):
    names = ["teff", "logg", "Fe_H", "MgH", "Ca_H"]
    fails(
        ValueError,
        r"but 'Mg_H' is missing in \['teff', .*\]\. Did you mean 'MgH'\? Rename the",
        fitted["payne"],
        label_names=names,
    )


def test_missing_label_unlike_any_other_is_to_be_added_as_a_constant(
    fails, fitted, tiny_grid
):
    fails(
        ValueError,
        r"'teff' is missing in \['logg', .*'Ca_H'\]\. Rename .* or add it as a",
        fitted["payne"],
        P=tiny_grid.data[:, 1:],
        label_names=tiny_grid.label_names[1:],
    )


def test_fewer_labels_than_those_of_a_base_without_names_is_an_error(
    fails, make_tiny, tiny_grid
):
    base = without_names(make_tiny, tiny_grid)
    fails(
        ValueError,
        "at least the 5 labels of `base`; got 4 columns",
        base,
        P=tiny_grid.data[:, :4],
    )


def test_other_medium_is_an_error_that_names_the_function_to_convert(fails, fitted):
    fails(
        ValueError,
        r"`medium` must be that of `base`, 'air'; got 'vacuum'.*convert_medium",
        fitted["transformer"],
        medium="vacuum",
    )


# wavelengths that cannot be


def test_convolutional_network_on_other_wavelengths_is_an_error(
    fails, fitted, tiny_grid
):
    fails(
        WavelengthMismatchError,
        r"`wavelength` must be that of `base`: Convolutional cannot be moved",
        fitted["convolutional"],
        F=tiny_grid.target[:, ::2],
        wavelength=tiny_grid.wavelength[::2],
    )


@pytest.mark.parametrize("arch", DENSE)
def test_dense_network_beyond_the_range_of_its_base_is_an_error(
    fails, fitted, tiny_grid, arch
):
    fails(
        WavelengthMismatchError,
        r"must lie within 4500.000-4520.000 Å, .*; 3 of 61 do not",
        fitted[arch],
        wavelength=tiny_grid.wavelength + 0.9,
    )


def test_other_number_of_wavelengths_is_an_error(fails, fitted, tiny_grid):
    fails(
        ValueError,
        "one value for each of the 60 columns",
        fitted["payne"],
        F=tiny_grid.target[:, 1:],
    )


@pytest.mark.parametrize("arch", ["payne", "convolutional"])
def test_other_number_of_pixels_than_a_base_without_wavelengths_is_an_error(
    fails, make_tiny, tiny_grid, arch
):
    fails(
        ValueError,
        "`y` must have the 61 columns of `base`, which knows no wavelengths; got 60",
        without_names(make_tiny, tiny_grid, arch),
        F=tiny_grid.target[:, 1:],
    )


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_wavelengths_for_a_base_without_any_is_an_error(
    fails, make_tiny, tiny_grid, arch
):
    fails(
        ValueError,
        "`wavelength` cannot be given, as `base` was trained without",
        without_names(make_tiny, tiny_grid, arch),
        wavelength=tiny_grid.wavelength,
        medium="air",
    )


def test_own_architecture_without_layer_names_takes_no_other_labels_or_wavelengths(
    fails, make_tiny, tiny_grid
):
    base = make_tiny(Unnamed, max_steps=3).fit(tiny_grid.data, tiny_grid.target)
    fails(
        ValueError,
        "in the same order, .*: Unnamed does not name its `label_layers`",
        base,
        P=tiny_grid.data[:, ::-1],
        label_names=tiny_grid.label_names[::-1],
    )
    fails(
        WavelengthMismatchError,
        "Unnamed cannot be moved to other wavelengths",
        base,
        F=tiny_grid.target[:, ::2],
        wavelength=tiny_grid.wavelength[::2],
    )


# labels of DataFrames


def test_columns_of_a_data_frame_are_matched_by_name(fitted, tune, tiny_grid):
    pandas = pytest.importorskip("pandas")
    P = pandas.DataFrame(tiny_grid.data, columns=tiny_grid.label_names)
    P = P[["Mg_H", "teff", "Ca_H", "logg", "Fe_H"]]
    tuned = tune(fitted["payne"], P, **AT_ONCE)
    assert tuned.label_names_ == list(P.columns)
    assert tuned.label_units_ == ["dex", "K", "dex", "dex", "dex"]
    np.testing.assert_allclose(
        tuned.predict(P),
        fitted["payne"].predict(tiny_grid.data),
        rtol=0,
        atol=ROUNDING,
    )


def test_names_units_wavelengths_and_architecture_are_those_of_the_base(
    fitted, tune, tiny_grid
):
    tuned = tune(fitted["transformer"])
    for name in ("label_names_", "label_units_", "medium_", "arch_", "arch_params_"):
        assert getattr(tuned, name) == getattr(fitted["transformer"], name)
    np.testing.assert_array_equal(tuned.wavelength_, tiny_grid.wavelength)


def test_resolving_power_is_that_of_the_base_unless_given(make_tiny, tune, tiny_grid):
    base = make_tiny(resolving_power=50_000, max_steps=2)
    base.fit(tiny_grid.data, tiny_grid.target)
    assert tune(base, max_steps=1).resolving_power_ == 50_000
    assert tune(base, max_steps=1, resolving_power=2e4).resolving_power_ == 2e4


def test_units_may_be_given_anew(fitted, tune):
    units = {"teff": "K", "Fe_H": "mag"}
    tuned = tune(fitted["payne"], label_units=units)
    assert tuned.label_units_ == ["K", "", "mag", "", ""]


# scikit-learn's tools


def test_clone_keeps_the_very_base_and_nothing_that_was_learned(
    fitted, tune, tiny_grid
):
    tuned = tune(fitted["payne"], freeze=["layers.0.*"], recipe={"lr": 1e-2})
    twin = clone(tuned)
    assert twin.base is fitted["payne"]
    assert twin.recipe == tuned.recipe
    assert twin.recipe is not tuned.recipe
    with pytest.raises(NotFittedError):
        twin.predict(tiny_grid.data)
    twin.fit(tiny_grid.data, tiny_grid.target)
    np.testing.assert_array_equal(
        twin.predict(tiny_grid.data), tuned.predict(tiny_grid.data)
    )


def test_constructor_checks_nothing():
    tuned = FineTunedEmulator(5, wavelength="x", freeze=7, max_steps=-1)
    assert tuned.get_params(deep=False)["base"] == 5


def test_cross_val_score_starts_every_fold_from_the_base(fitted, tiny_grid):
    P, F = tiny_grid.data, tiny_grid.target
    tuned = FineTunedEmulator(fitted["payne"], device="cpu", random_state=0, **AT_ONCE)
    folds = [(np.arange(51), np.arange(51, 101)), (np.arange(51, 101), np.arange(51))]
    found = cross_val_score(tuned, P, F, cv=folds)
    expected = [fitted["payne"].score(P[test], F[test]) for _, test in folds]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_learning_curve_starts_every_training_from_the_base(fitted, tiny_grid):
    tuned = FineTunedEmulator(fitted["payne"], device="cpu", random_state=0, **AT_ONCE)
    sizes, _, scores = learning_curve(
        tuned,
        tiny_grid.data,
        tiny_grid.target,
        train_sizes=[5, 80],
        cv=[(np.arange(80), np.arange(80, 101))],
    )
    assert list(sizes) == [5, 80]
    expected = fitted["payne"].score(tiny_grid.data[80:], tiny_grid.target[80:])
    np.testing.assert_allclose(scores[:, 0], expected, rtol=1e-5)


def test_grid_search_over_steps_picks_the_better_number(fitted, tiny_grid):
    tuned = FineTunedEmulator(
        fitted["payne"], recipe={"lr": 1e-2}, device="cpu", random_state=0
    )
    search = GridSearchCV(tuned, {"max_steps": [1, 101]}, cv=2)
    search.fit(tiny_grid.data, tiny_grid.target)
    assert search.best_params_ == {"max_steps": 101}
    assert search.best_estimator_.n_steps_ == 101
    assert search.best_estimator_.base is fitted["payne"]


def test_fine_tuned_emulator_prints_in_a_terminal_and_in_a_notebook(fitted):
    tuned = FineTunedEmulator(fitted["payne"])
    assert repr(tuned).startswith("FineTunedEmulator(base=SpectrumEmulator(")
    assert "FineTunedEmulator" in tuned._repr_html_()


# files, pickles, stars


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_saved_fine_tuned_emulator_stands_on_its_own(
    narrow_bases, tune, tiny_grid, tmp_path, arch
):
    wavelength = np.linspace(4501.0, 4519.0, 31)
    tuned = tune(narrow_bases[arch], F=np.ones((101, 31)), wavelength=wavelength)
    tuned.save(tmp_path / "tuned", provenance={"base": "by hand"})
    again = load(tmp_path / "tuned")
    assert type(again) is SpectrumEmulator
    assert again.provenance_["base"] == "by hand"
    for P in (tiny_grid.data, tiny_grid.data.astype(np.float32)):
        np.testing.assert_array_equal(again.predict(P), tuned.predict(P))
    for name in ("label_names_", "label_units_", "medium_", "n_steps_", "recipe_"):
        assert getattr(again, name) == getattr(tuned, name)
    np.testing.assert_array_equal(again.wavelength_, wavelength)


@pytest.mark.parametrize("arch", ["convolutional", "opacity", "transformer"])
def test_pickle_predicts_the_same_bits(narrow_bases, tune, tiny_grid, arch):
    tuned = tune(narrow_bases[arch])
    again = pickle.loads(pickle.dumps(tuned))
    assert type(again) is FineTunedEmulator
    np.testing.assert_array_equal(
        again.predict(tiny_grid.data), tuned.predict(tiny_grid.data)
    )


def test_fine_tuned_emulator_may_be_the_base_of_another(
    narrow_bases, tune, tiny_grid, tmp_path
):
    first = tune(narrow_bases["payne"], max_steps=31)
    first.save(tmp_path / "first")
    P = np.column_stack([tiny_grid.data, np.arange(101)])
    names = [*tiny_grid.label_names, "new"]
    for base in (first, tmp_path / "first"):
        second = tune(base, P, label_names=names, **AT_ONCE)
        np.testing.assert_allclose(
            second.predict(P), first.predict(tiny_grid.data), rtol=0, atol=ROUNDING
        )


def test_fine_tuned_emulator_measures_a_star(fitted, tune, tiny_grid):
    tuned = tune(fitted["payne"], max_steps=101, recipe={"lr": 1e-2})
    truth = np.array([[5100.0, 4.55, -0.3, 0.1, -0.5]])
    flux = tuned.predict(truth)[0]
    star = Spectrum(
        flux=flux * u.dimensionless_unscaled,
        spectral_axis=tiny_grid.wavelength * u.AA,
        uncertainty=StdDevUncertainty(np.full(61, 1e-3)),
        meta={"medium": "air"},
    )
    table = AbundanceRegressor(tuned).measure([star])
    for name, value in zip(tuned.label_names_, truth[0], strict=True):
        error = table[f"{name}_error"].value[0]
        assert abs(table[name].value[0] - value) < 0.1 * error, name


# interruptions


@pytest.mark.parametrize(
    ("arch", "pickled"), [("payne", False), ("payne", True), ("transformer", True)]
)
def test_interrupted_fine_tuning_resumes_with_the_same_bits(
    narrow_bases, tune, tiny_grid, arch, pickled
):
    P, F = tiny_grid.data, tiny_grid.target
    changes = {"max_steps": 23, "recipe": {"validate_every": 5, "average": 0.3}}
    frozen = "layers.2.*" if arch == "payne" else "layers.0.*"
    changes["freeze"] = (frozen,)
    expected = tune(narrow_bases[arch], **changes)
    with pytest.warns(TrainingInterruptedWarning, match="after 10 of 23 steps"):
        found = tune(narrow_bases[arch], callbacks=[StopAfter(13)], **changes)
    if pickled:
        found = pickle.loads(pickle.dumps(found))
    found.partial_fit(P, F)
    assert found.history_ == expected.history_
    np.testing.assert_array_equal(found.predict(P), expected.predict(P))
    after = weights_of(found)
    for name, array in weights_of(expected).items():
        np.testing.assert_array_equal(after[name], array)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"base": "other"}, "`base`"),
        ({"freeze": ("layers.0.*",)}, "`freeze`"),
        ({"recipe": {"lr": 1e-2}}, "`recipe` and `max_steps`"),
        (
            {"label_names": ["logg", "teff", "Fe_H", "Mg_H", "Ca_H"]},
            "`label_names`",
        ),
    ],
    ids=str,
)
def test_partial_fit_of_something_else_is_an_error(
    narrow_bases, fitted, tune, tiny_grid, changes, named
):
    recipe = {"validate_every": 5}
    with pytest.warns(TrainingInterruptedWarning):
        found = tune(
            narrow_bases["payne"],
            max_steps=23,
            recipe=recipe,
            callbacks=[StopAfter(13)],
        )
    if "base" in changes:
        changes = {"base": fitted["payne"]}
    if "recipe" in changes:
        changes = {"recipe": recipe | changes["recipe"]}
    found.set_params(**changes)
    with pytest.raises(ValueError, match=f"^{named} must be those of the interrupted"):
        found.partial_fit(tiny_grid.data, tiny_grid.target)


def test_killed_fine_tuning_goes_on_from_its_checkpoint(
    fitted, tune, tiny_grid, tmp_path
):
    class PowerCut(Callback):
        def on_batch_end(self, net, training=False, **kwargs):
            if training and net.n_steps == 13:
                raise RuntimeError("power cut")

    changes = {"max_steps": 23, "recipe": {"validate_every": 5}}
    expected = tune(fitted["transformer"], **changes)
    changes["checkpoint"] = tmp_path / "training"
    with pytest.raises(RuntimeError, match="power cut"):
        tune(fitted["transformer"], callbacks=[PowerCut()], **changes)
    other = tune(fitted["transformer"])
    with pytest.raises(ValueError, match=r"^`base` must be those of the training in"):
        tune(other, **changes)
    found = tune(fitted["transformer"], **changes)
    np.testing.assert_array_equal(
        found.predict(tiny_grid.data), expected.predict(tiny_grid.data)
    )
    assert not list(tmp_path.iterdir())


# Rehearsal -----------------------------------------------------------------------


def test_rehearsal_is_training_on_both_grids(fitted, tiny_grid):
    """With the held-out rows and the batches of the same seed."""
    few, others = slice(0, 31), slice(31, 71)
    P, F = tiny_grid.data, tiny_grid.target
    how = {"max_steps": 31, "validation_fraction": 0, "random_state": 3}
    rehearsed = FineTunedEmulator(
        fitted["payne"], rehearse=(P[others], F[others]), **how
    )
    rehearsed.fit(P[few], F[few])
    both = FineTunedEmulator(fitted["payne"], **how).fit(P[:71], F[:71])
    np.testing.assert_array_equal(rehearsed.predict(P[:3]), both.predict(P[:3]))
    # but the box is that of the new spectra
    np.testing.assert_array_equal(rehearsed.label_low_, P[few].min(axis=0))
    assert rehearsed.n_training_ == 31


def test_rehearsed_spectra_are_not_forgotten(fitted, tiny_grid):
    P, F = tiny_grid.data, tiny_grid.target
    cool = P[:, 0] < np.median(P[:, 0])
    how = {"max_steps": 101, "random_state": 0}
    forgetful = FineTunedEmulator(fitted["payne"], **how).fit(P[cool], F[cool])
    mindful = FineTunedEmulator(fitted["payne"], rehearse=(P[~cool], F[~cool]), **how)
    mindful.fit(P[cool], F[cool])
    errors = [
        np.abs(e.predict(P[~cool]) - F[~cool]).mean() for e in (mindful, forgetful)
    ]
    assert errors[0] < 0.8 * errors[1]


def test_interrupted_rehearsal_is_not_resumed_with_another(fitted, tiny_grid):
    P, F = tiny_grid.data, tiny_grid.target
    tuned = FineTunedEmulator(
        fitted["payne"],
        rehearse=(P[31:], F[31:]),
        callbacks=[StopAfter(3)],
        max_steps=7,
        recipe={"validate_every": 2},
    )
    with pytest.warns(TrainingInterruptedWarning):
        tuned.fit(P[:31], F[:31])
    tuned.set_params(callbacks=None, rehearse=(P[40:], F[40:]))
    with pytest.raises(ValueError, match="`rehearse` must be those of"):
        tuned.partial_fit(P[:31], F[:31])
    tuned.set_params(rehearse=(P[31:], F[31:])).partial_fit(P[:31], F[:31])
    assert tuned.n_steps_ == 7


@pytest.mark.parametrize(
    ("rehearse", "message"),
    [
        (3, "`rehearse` must be a tuple of labels and flux; got int"),
        ((np.ones((3, 1)), np.ones((3, 61))), r"labels and 61 wavelengths.*\(3, 1\)"),
        ((np.ones((3, 5)), np.ones((2, 61))), r"got \(3, 5\) and \(2, 61\)"),
        ((np.full((3, 5), np.nan), np.ones((3, 61))), "both finite"),
    ],
)
def test_wrong_rehearsal_is_named(fitted, tiny_grid, rehearse, message):
    with pytest.raises(ValueError, match=message):
        FineTunedEmulator(fitted["payne"], rehearse=rehearse).fit(
            tiny_grid.data, tiny_grid.target
        )
