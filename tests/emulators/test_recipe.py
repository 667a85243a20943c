"""Tests of recipes: defaults, how the user changes them, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest
import pytorch_optimizer
import torch
from torch import nn

from sk_payne import SpectrumEmulator
from sk_payne.networks import (
    NETWORKS,
    OPTIMIZERS,
    Payne,
    Recipe,
    TransformerPayne,
    default_recipe,
)


class OwnOptimizer(torch.optim.SGD):
    """An optimiser of a user's own."""


class Plain(nn.Module):
    """A module that does not say whether it takes the wavelength."""


@pytest.mark.parametrize("arch", sorted(NETWORKS))
def test_default_of_an_architecture_is_its_recipe(arch):
    assert isinstance(NETWORKS[arch].recipe, Recipe)
    assert default_recipe(arch) == NETWORKS[arch].recipe


@pytest.mark.parametrize(
    ("network", "like"),
    [(Payne, "payne"), (TransformerPayne, "transformer"), (Plain, "bigpayne")],
)
def test_default_of_a_class_is_its_own_or_that_of_its_kind(network, like):
    assert default_recipe(network) == NETWORKS[like].recipe


@pytest.mark.parametrize("arch", sorted(NETWORKS))
def test_gentle_recipe_has_a_third_of_the_rate_and_half_of_the_steps(arch):
    usual = default_recipe(arch)
    expected = dataclasses.replace(
        usual, lr=usual.lr / 3, max_steps=usual.max_steps // 2
    )
    assert usual.gentle() == expected


def test_wishes_change_the_default_that_is_given():
    gentle = default_recipe("payne").gentle()
    found = gentle.changed({"loss": "mse"}, 7)
    assert found == dataclasses.replace(gentle, loss="mse", max_steps=7)
    assert gentle.changed() == gentle


def test_dict_changes_the_entries_that_it_names():
    given = {"lr": 0.1, "loss": "mae"}
    found = default_recipe("payne").changed(given)
    assert found == dataclasses.replace(default_recipe("payne"), lr=0.1, loss="mae")
    assert given == {"lr": 0.1, "loss": "mae"}


def test_recipe_replaces_the_default_as_a_whole():
    recipe = Recipe(lr=0.1)
    assert default_recipe("payne").changed(recipe) is recipe


@pytest.mark.parametrize("recipe", [None, {"max_steps": 5}, Recipe(max_steps=5)])
def test_max_steps_of_the_emulator_comes_last(recipe):
    assert default_recipe("payne").changed(recipe, max_steps=7).max_steps == 7


def test_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().lr = 1.0


def test_unknown_entry_lists_all_and_says_what_was_meant():
    with pytest.raises(
        ValueError,
        match=r"entries \['max_steps', .*'compile'\]; got 'weightdecay'. Did you mean "
        "'weight_decay'",
    ):
        default_recipe("payne").changed({"weightdecay": 0.1})


def test_unknown_entry_unlike_any_guesses_nothing():
    with pytest.raises(ValueError, match=r"got 'zzz'\.$"):
        default_recipe("payne").changed({"zzz": 0.1})


@pytest.mark.parametrize("recipe", ["fast", ["lr"], 0.1])
def test_recipe_of_another_type_is_an_error(recipe):
    with pytest.raises(TypeError, match=f"or a Recipe; got {type(recipe).__name__}"):
        default_recipe("payne").changed(recipe)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("max_steps", 0, "an integer >= 1"),
        ("batch_size", 2.5, "an integer >= 1"),
        ("validate_every", -1, "an integer >= 1"),
        ("n_wavelengths", 0, "an integer >= 1 or None"),
        ("patience", 0, "an integer >= 1 or None"),
        ("lr", 0.0, "positive"),
        ("lr", float("nan"), "positive"),
        ("weight_decay", -1e-3, "at least 0"),
        ("warmup", 1.1, "between 0 and 1"),
        ("average", -0.1, "between 0 and 1"),
        ("grad_clip", 0.0, "positive"),
        ("loss", "rms", r"one of \['huber', 'mae', 'mse'\]"),
        ("optimizer", "Adm", r"one of \['ASGD', .*\] or a torch.optim.Optimizer class"),
        ("optimizer", Payne, r"one of \[.*\] or a torch.optim.Optimizer class"),
        ("optimizer_params", 0.9, "a dict of arguments"),
        ("decay", "steps", "'cosine', 'linear' or 'constant'"),
        ("precision", "float16", r"one of \('auto', 'float32', 'bfloat16'\)"),
    ],
)
def test_bad_value_is_an_error_that_names_entry_rule_and_value(name, value, rule):
    with pytest.raises(
        ValueError, match=rf"`recipe` entry '{name}' must be {rule}; got"
    ):
        Recipe(**{name: value})
    with pytest.raises(ValueError, match=f"'{name}'"):
        default_recipe("payne").changed({name: value})


@pytest.mark.parametrize("value", [7, np.int64(7)])
def test_counts_may_be_integers_of_numpy(value):
    assert Recipe(max_steps=value, patience=value, n_wavelengths=value).patience == 7


@pytest.mark.parametrize("name", ["AdamW", "Adam", "SGD", "RMSprop"])
def test_optimizer_by_name_is_that_of_torch(name):
    assert Recipe(optimizer=name).optimizer_class is getattr(torch.optim, name)


def test_optimizer_may_be_a_class():
    assert Recipe(optimizer=OwnOptimizer).optimizer_class is OwnOptimizer


@pytest.mark.parametrize(
    "name", ["LBFGS", "Muon", "Rprop", "SparseAdam", "Optimizer", "lr_scheduler"]
)
def test_optimizer_that_cannot_train_here_is_not_offered(name):
    with pytest.raises(ValueError, match="'optimizer' must be one of"):
        Recipe(optimizer=name)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_optimizer_that_is_offered_can_train(name):
    emulator = SpectrumEmulator(
        arch="payne",
        arch_params={"n_hidden": 5},
        recipe={"optimizer": name, "weight_decay": 0.1},
        max_steps=3,
        device="cpu",
        random_state=0,
    ).fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    assert type(emulator.net_.optimizer_).__name__ == name
    assert np.isfinite(emulator.predict([[0.5]])).all()


def test_soap_is_that_of_pytorch_optimizer():
    assert Recipe(optimizer="SOAP").optimizer_class is pytorch_optimizer.SOAP


def test_optimizer_params_reach_the_optimizer():
    recipe = Recipe(optimizer="SGD", optimizer_params={"momentum": 0.7})
    emulator = SpectrumEmulator(
        arch="payne",
        arch_params={"n_hidden": 5},
        recipe=recipe,
        max_steps=3,
        device="cpu",
        random_state=0,
    ).fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    assert emulator.net_.optimizer_.param_groups[0]["momentum"] == 0.7


def test_another_optimizer_comes_without_the_params_of_the_default():
    default = default_recipe("transformer")
    assert default.optimizer_params
    changed = default_recipe("transformer").changed({"optimizer": "SGD"})
    expected = dataclasses.replace(default, optimizer="SGD", optimizer_params={})
    assert changed == expected
    kept = default_recipe("transformer").changed({"lr": 0.1})
    assert kept.optimizer_params == default.optimizer_params


@pytest.mark.parametrize("name", ["momentun", "lr", "params", "kwargs"])
@pytest.mark.parametrize("optimizer", ["SGD", "SOAP"])
def test_optimizer_params_that_the_optimizer_does_not_have_are_an_error(
    optimizer, name
):
    recipe = Recipe(optimizer=optimizer, optimizer_params={name: 0.9})
    with pytest.raises(ValueError, match=r"'optimizer_params' must be any of .*; got"):
        recipe.optimizer_arguments  # noqa: B018


@pytest.mark.parametrize(
    ("loss", "residual", "expected"),
    [("mse", 3.0, 9.0), ("mae", 3.0, 3.0), ("huber", 3.0, 2.5), ("huber", 0.5, 0.125)],
)
def test_loss_is_the_one_of_its_name(loss, residual, expected):
    criterion = Recipe(loss=loss).loss_class()
    assert float(criterion(torch.tensor(residual), torch.tensor(0.0))) == expected


@pytest.mark.parametrize("arch", sorted(NETWORKS))
def test_to_dict_is_plain_and_gives_the_recipe_back(arch):
    recipe = default_recipe(arch)
    entries = json.loads(json.dumps(recipe.to_dict()))
    assert Recipe(**entries) == recipe


def test_to_dict_names_a_class():
    assert Recipe(optimizer=OwnOptimizer).to_dict()["optimizer"] == "OwnOptimizer"
