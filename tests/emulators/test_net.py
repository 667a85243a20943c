"""Tests of the training loop: schedule, learning rates, averages, and the steps."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping
from skorch.utils import noop
from torch import nn

from sk_payne.emulators import Recipe
from sk_payne.emulators._batches import SpectrumDataset
from sk_payne.emulators._callbacks import WarmupDecay, WeightAveraging
from sk_payne.emulators._net import make_net
from sk_payne.networks import OpacityPayne, Payne, TransformerPayne

N_SPECTRA, N_WAVELENGTHS = 17, 7


class Diary(Callback):
    """Writes down weights and learning rates after each step."""

    def on_train_begin(self, net, **kwargs):
        self.weights_ = [weights_of(net)]
        self.rates_ = []

    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            self.rates_.append([g["lr"] for g in net.optimizer_.param_groups])

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.weights_.append(weights_of(net))


class Stop(Callback):
    """Presses Ctrl-C after some steps."""

    def __init__(self, after):
        self.after = after

    def on_batch_end(self, net, training=False, **kwargs):
        if training and net.n_steps == self.after:
            raise KeyboardInterrupt


def weights_of(net):
    return torch.cat([p.detach().flatten().clone() for p in net.module_.parameters()])


def make_dataset(n=N_SPECTRA):
    generator = torch.Generator().manual_seed(1)
    labels = torch.rand(n, 3, generator=generator) * 2 - 1
    flux = labels @ torch.randn(3, N_WAVELENGTHS, generator=generator)
    return SpectrumDataset(labels, flux, None)


def make(recipe, *, module=None, held_out=None, callbacks=(), verbose=0, start=None):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = module or Payne(3, N_WAVELENGTHS, n_hidden=5)
    return make_net(
        module,
        recipe,
        held_out,
        device="cpu",
        start=start or {"seed": 0},
        callbacks=list(callbacks),
        verbose=verbose,
    )


# schedule


def test_schedule_rises_linearly_and_never_starts_at_zero():
    factor = WarmupDecay(100, 0.1, "cosine")
    np.testing.assert_allclose(
        [factor(step) for step in range(10)], np.arange(1, 11) / 11, rtol=1e-14
    )
    assert factor(10) == 1


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("cosine", [1, (1 + math.cos(math.pi / 4)) / 2, 0.5, 0]),
        ("linear", [1, 0.75, 0.5, 0]),
        ("constant", [1, 1, 1, 1]),
    ],
)
def test_schedule_falls_as_its_name_says(decay, expected):
    factor = WarmupDecay(100, 0.2, decay)
    found = [factor(step) for step in (20, 40, 60, 100)]
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
@pytest.mark.parametrize("warmup", [0, 0.05, 1])
@pytest.mark.parametrize("max_steps", [1, 2, 101])
def test_schedule_stays_between_zero_and_one(max_steps, warmup, decay):
    factor = WarmupDecay(max_steps, warmup, decay)
    # also beyond the end, where the scheduler looks after the last step
    assert all(0 <= factor(step) <= 1 for step in range(max_steps + 3))
    assert all(factor(step) > 0 for step in range(max_steps))


def test_training_follows_the_schedule():
    diary = Diary()
    recipe = Recipe(max_steps=11, lr=0.01, warmup=0.3, validate_every=4)
    make(recipe, callbacks=[diary]).partial_fit(make_dataset(), None)
    factor = WarmupDecay(11, 0.3, "cosine")
    np.testing.assert_allclose(
        np.array(diary.rates_)[:, 0],
        [0.01 * factor(step) for step in range(11)],
        rtol=1e-12,
    )


# groups of parameters


def test_groups_have_the_learning_rates_of_mup():
    module = TransformerPayne(3, 1, width=128, n_layers=16, n_tokens=2, n_heads=2)
    net = make(Recipe(lr=0.01, weight_decay=0.3), module=module)
    rates = {
        id(parameter): group["lr"]
        for group in net.optimizer_.param_groups
        for parameter in group["params"]
    }
    for name, parameter in module.named_parameters():
        factor = 1.0
        if name.startswith(("tokens.2.weight", "head")):
            factor = 1 / 2  # width: 128 over 64
        elif name.startswith("layers"):
            factor = 1 / 4  # and depth: the root of 16 over 4
        assert rates[id(parameter)] == pytest.approx(0.01 * factor), name
    assert len(rates) == len(list(module.parameters()))
    assert {g["weight_decay"] for g in net.optimizer_.param_groups} == {0.3}


@pytest.mark.parametrize(
    "module",
    [
        TransformerPayne(3, 1, width=128, n_layers=2, n_tokens=2, n_heads=2),
        OpacityPayne(3, 7, n_populations=5, n_hidden=5, width=3),
        Payne(3, 7, n_hidden=5),
    ],
    ids=lambda module: type(module).__name__,
)
def test_groups_of_a_compiled_network_are_those_of_the_plain_one(module, monkeypatch):
    # without the compiler itself, which takes seconds to import
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    found = []
    for compiled in (False, True):
        recipe = Recipe(lr=0.01, weight_decay=0.1, compile=compiled)
        net = make(recipe, module=module)
        found.append(
            {
                id(parameter): (group["lr"], group["weight_decay"])
                for group in net.optimizer_.param_groups
                for parameter in group["params"]
            }
        )
    assert found[1] == found[0]
    assert len(found[0]) == len(list(module.parameters()))


def test_schedule_multiplies_the_learning_rates_of_mup():
    module = TransformerPayne(3, N_WAVELENGTHS, width=128, n_layers=1, n_tokens=2)
    grid = torch.linspace(3.65, 3.66, N_WAVELENGTHS, dtype=torch.float64)
    dataset = make_dataset()
    dataset.log_wavelength = grid
    diary = Diary()
    recipe = Recipe(max_steps=5, lr=0.01, warmup=0, decay="linear")
    make(recipe, module=module, callbacks=[diary]).partial_fit(dataset, None)
    rates = np.array(diary.rates_)
    expected = rates[0] * np.array([1, 0.8, 0.6, 0.4, 0.2])[:, None]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert set(rates[0]) == {0.005, 0.01}


def test_modules_without_factors_have_one_group():
    net = make(Recipe(lr=0.01), module=nn.Linear(3, N_WAVELENGTHS))
    assert [g["lr"] for g in net.optimizer_.param_groups] == [0.01]


# steps


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD", torch.optim.RMSprop])
def test_optimizer_is_the_one_of_the_recipe(optimizer):
    net = make(Recipe(optimizer=optimizer))
    name = optimizer if isinstance(optimizer, str) else optimizer.__name__
    assert type(net.optimizer_).__name__ == name


def test_one_step_of_gradient_descent_is_the_formula():
    dataset = make_dataset()
    net = make(Recipe(max_steps=1, optimizer="SGD", lr=0.1, warmup=0, grad_clip=None))
    before = weights_of(net)
    flux = net.module_(dataset.labels)
    ((flux - dataset.flux) ** 2).mean().backward()
    slope = torch.cat([p.grad.flatten() for p in net.module_.parameters()])
    net.partial_fit(dataset, None)
    torch.testing.assert_close(weights_of(net), before - 0.1 * slope, rtol=0, atol=1e-6)


@pytest.mark.parametrize("limit", [1e-3, None])
def test_gradients_are_no_longer_than_the_recipe_allows(limit):
    diary = Diary()
    recipe = Recipe(max_steps=1, optimizer="SGD", lr=1.0, warmup=0, grad_clip=limit)
    make(recipe, callbacks=[diary]).partial_fit(make_dataset(), None)
    length = float((diary.weights_[1] - diary.weights_[0]).norm())
    if limit is None:
        assert length > 0.1
    else:
        # clip_grad_norm_ adds 1e-6 to the norm that it divides by
        assert length == pytest.approx(limit, rel=1e-4)


def test_held_out_loss_is_the_mean_over_the_held_out_spectra():
    held_out = make_dataset(101)
    net = make(Recipe(max_steps=3), held_out=held_out)
    net.partial_fit(make_dataset(), None)
    with torch.no_grad():
        expected = ((net.module_(held_out.labels) - held_out.flux) ** 2).mean()
    assert net.history[-1, "valid_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_no_held_out_spectra_give_no_held_out_loss():
    net = make(Recipe(max_steps=3, patience=1)).partial_fit(make_dataset(), None)
    assert "valid_loss" not in net.history[-1]
    assert len(net.history[-1]["batches"]) == 3


@pytest.mark.parametrize(("precision", "dtype"), [("float32", None), ("auto", None)])
def test_precision_on_a_cpu_is_float32_unless_asked_otherwise(precision, dtype):
    assert make(Recipe(precision=precision)).autocast is dtype
    assert make(Recipe(precision="bfloat16")).autocast is torch.bfloat16


def test_forward_in_bfloat16_is_rounded_but_comes_in_float32():
    labels = make_dataset().labels
    rounded = make(Recipe(precision="bfloat16")).infer((labels,))
    exact = make(Recipe(precision="float32")).infer((labels,))
    assert rounded.dtype == exact.dtype == torch.float32
    assert 0 < float((rounded - exact).detach().abs().max()) < 0.05


# averages


def test_average_over_all_steps_is_their_mean():
    diary = Diary()
    recipe = Recipe(max_steps=7, average=1.0, lr=0.01, decay="constant")
    net = make(recipe, callbacks=[diary]).partial_fit(make_dataset(), None)
    expected = torch.stack(diary.weights_[1:]).mean(dim=0)
    torch.testing.assert_close(weights_of(net), expected, rtol=0, atol=1e-6)


def test_average_over_the_last_steps_is_exponential():
    diary = Diary()
    recipe = Recipe(max_steps=20, average=0.25, lr=0.01, decay="constant")
    net = make(recipe, callbacks=[diary]).partial_fit(make_dataset(), None)
    expected = torch.stack(diary.weights_[1:6]).mean(dim=0)  # 5 steps remembered
    for weights in diary.weights_[6:]:
        expected = 0.8 * expected + 0.2 * weights
    torch.testing.assert_close(weights_of(net), expected, rtol=0, atol=1e-6)


def test_average_of_less_than_a_step_is_the_last_weights():
    diary = Diary()
    recipe = Recipe(max_steps=3, average=0.01)
    net = make(recipe, callbacks=[diary]).partial_fit(make_dataset(), None)
    torch.testing.assert_close(weights_of(net), diary.weights_[-1], rtol=0, atol=1e-7)


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_average_is_a_callback_only_if_asked_for(average):
    callbacks = [c for _, c in make(Recipe(average=average)).callbacks_]
    assert any(isinstance(c, WeightAveraging) for c in callbacks) == (average > 0)


# interruptions


@pytest.mark.parametrize(
    ("after", "n_steps"), [(1, 0), (3, 0), (4, 3), (7, 6), (10, 9), (11, 9)]
)
def test_net_that_is_stopped_is_interrupted_and_knows_its_last_whole_epoch(
    after, n_steps
):
    # stopped before the last epoch of two steps came to its end, even at its last step
    recipe = Recipe(max_steps=11, validate_every=3)
    net = make(recipe, callbacks=[Stop(after)]).partial_fit(make_dataset(), None)
    assert net.is_interrupted
    assert net.n_steps == net.state_["n_steps"] == n_steps
    assert len(net.history) == n_steps // 3


@pytest.mark.parametrize("max_steps", [1, 9, 11])
def test_net_that_took_all_steps_is_not_interrupted(max_steps):
    net = make(Recipe(max_steps=max_steps, validate_every=3))
    net.partial_fit(make_dataset(), None)
    assert not net.is_interrupted
    assert net.n_steps == max_steps


@pytest.mark.parametrize("ours", [True, False])
def test_net_that_early_stopping_ended_is_not_interrupted(ours):
    recipe = {"max_steps": 1009, "validate_every": 3, "lr": 1.0, "decay": "constant"}
    callbacks = []
    if ours:
        recipe["patience"] = 2
    else:
        callbacks.append(EarlyStopping(patience=2, sink=noop))
    net = make(Recipe(**recipe), held_out=make_dataset(5), callbacks=callbacks)
    net.partial_fit(make_dataset(), None)
    assert net.n_steps < 1009
    assert not net.is_interrupted


def test_net_that_falls_back_drops_the_weights_of_half_an_epoch():
    diary = Diary()
    recipe = Recipe(max_steps=11, validate_every=3)
    net = make(recipe, callbacks=[diary, Stop(8)]).partial_fit(make_dataset(), None)
    assert len(diary.weights_) == 1 + 8
    assert torch.equal(weights_of(net), diary.weights_[6])


def test_net_goes_on_from_a_state_without_changing_it():
    recipe = Recipe(max_steps=11, validate_every=3, average=0.5)
    whole, first, second = Diary(), Diary(), Diary()
    expected = make(recipe, callbacks=[whole]).partial_fit(make_dataset(), None)
    stopped = make(recipe, callbacks=[first, Stop(8)])
    state = stopped.partial_fit(make_dataset(), None).state_
    for _ in range(2):  # from the same state, so it must have stayed as it was
        net = make(recipe, callbacks=[second], start=state)
        net.partial_fit(make_dataset(), None)
        assert torch.equal(weights_of(net), weights_of(expected))
        assert second.rates_ == whole.rates_[6:]
    for before, after in zip(whole.weights_[7:], second.weights_[1:], strict=True):
        assert torch.equal(before, after)


def test_callbacks_find_a_last_epoch_also_if_the_first_was_interrupted():
    class Reader(Callback):
        def on_train_end(self, net, **kwargs):
            self.epoch_ = net.history[-1, "epoch"]

    reader = Reader()
    recipe = Recipe(max_steps=11, validate_every=3)
    net = make(recipe, callbacks=[reader, Stop(2)]).partial_fit(make_dataset(), None)
    assert reader.epoch_ == 1
    assert len(net.history) == 0
