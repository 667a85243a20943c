"""Tests of what scikit-learn users write first: searches over entries of dicts."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sk_payne import FineTunedEmulator, SpectrumEmulator
from sk_payne.networks import Recipe

part_of_the_box = pytest.mark.filterwarnings(
    "ignore::sk_payne.exceptions.ExtrapolationWarning"
)


@part_of_the_box
def test_grid_search_goes_over_entries_of_recipe_and_options(make_tiny, tiny_grid):
    search = GridSearchCV(
        make_tiny(),
        {"recipe__lr": [1e-6, 1e-2], "arch_params__n_hidden": [1, 23]},
        cv=2,
    ).fit(tiny_grid.data, tiny_grid.target)
    assert search.best_params_ == {"recipe__lr": 1e-2, "arch_params__n_hidden": 23}
    assert search.best_estimator_.recipe_.lr == 1e-2
    assert search.best_estimator_.arch_params_ == {"n_hidden": 23}
    # the other entries stay
    assert search.best_estimator_.recipe_.loss == "mse"


@pytest.mark.parametrize("recipe", [None, {"loss": "mse"}, Recipe(loss="mse")])
def test_entry_is_set_of_none_a_dict_and_a_recipe(recipe):
    emulator = SpectrumEmulator(recipe=recipe)
    twin = clone(emulator).set_params(recipe__lr=0.5)
    entries = twin.recipe if isinstance(twin.recipe, dict) else vars(twin.recipe)
    assert entries["lr"] == 0.5
    if recipe is not None:
        assert entries["loss"] == "mse"
    # nobody else's dict is changed
    assert emulator.recipe is recipe
    assert not isinstance(recipe, dict) or "lr" not in recipe


def test_entries_and_parameters_may_be_set_together():
    emulator = SpectrumEmulator().set_params(
        recipe__lr=0.5, recipe={"loss": "mae"}, arch="payne", arch_params__n_hidden=3
    )
    assert emulator.recipe == {"loss": "mae", "lr": 0.5}
    assert (emulator.arch, emulator.arch_params) == ("payne", {"n_hidden": 3})


def test_entries_are_reached_through_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), SpectrumEmulator())
    pipeline.set_params(spectrumemulator__recipe__lr=0.5)
    assert pipeline[-1].recipe == {"lr": 0.5}


def test_misspelt_entry_says_what_was_meant():
    with pytest.raises(ValueError, match=r"'recipe__lrr'. Did you mean 'lr'"):
        SpectrumEmulator().set_params(recipe__lrr=0.5)


def test_misspelt_parameter_is_refused_as_before():
    with pytest.raises(ValueError, match=r"Invalid parameter 'recip'"):
        SpectrumEmulator().set_params(recip__lr=0.5)


def test_fine_tuned_emulators_have_entries_too(fitted):
    tuned = FineTunedEmulator(fitted["payne"]).set_params(recipe__lr=0.5)
    assert tuned.recipe == {"lr": 0.5}
    assert clone(tuned).recipe == {"lr": 0.5}


def test_parameters_of_the_shared_base_cannot_be_set(fitted):
    tuned = FineTunedEmulator(fitted["payne"])
    before = fitted["payne"].max_steps
    with pytest.raises(ValueError, match=r"`base` is shared .*'base__max_steps'"):
        tuned.set_params(base__max_steps=1)
    assert fitted["payne"].max_steps == before
    assert not [name for name in tuned.get_params() if "__" in name]


@part_of_the_box
def test_search_over_options_of_another_architecture_names_the_option(
    make_tiny, tiny_grid
):
    search = GridSearchCV(
        make_tiny(arch_params=None), {"arch_params__width": [8]}, error_score="raise"
    )
    with pytest.raises(ValueError, match=r"`arch_params` of Payne .* got 'width'"):
        search.fit(tiny_grid.data, tiny_grid.target)


def test_repr_shows_short_values_as_they_are():
    emulator = SpectrumEmulator(label_names=["teff", "logg"], wavelength=np.arange(3))
    assert "label_names=['teff', 'logg']" in repr(emulator)
    assert "array([0, 1, 2])" in repr(emulator)
