"""Tests of trainings that are stopped: going on gives the bits of never stopping."""

import os
import pickle
import signal
import threading

import numpy as np
import pytest
import torch
from sklearn.base import clone
from skorch.callbacks import Callback, EarlyStopping
from skorch.utils import noop
from torch import nn

from sk_payne.emulators._checkpoint import read_state, write_state
from sk_payne.emulators._flux import fingerprint
from sk_payne.exceptions import FileFormatError, TrainingInterruptedWarning

MAX_STEPS = 53
# epochs of 7 steps, of which the last has only 4
EVERY = 7


class Momentum(torch.optim.SGD):
    """Gradient descent that remembers."""

    def __init__(self, params, lr=1e-3, weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay, momentum=0.9)


class StopAt(Callback):
    """Raises an error at one or some calls of a method, counted from one."""

    def __init__(self, where, when, training=True, error=KeyboardInterrupt):
        self.where = where
        self.when = when
        self.training = training
        self.error = error
        self.n_calls_ = 0

    def _see(self, where, training=True):
        if where == self.where and training == self.training:
            self.n_calls_ += 1
            if self.n_calls_ in np.atleast_1d(self.when):
                raise self.error

    def on_batch_begin(self, net, training=True, **kwargs):
        self._see("on_batch_begin", training)

    def on_grad_computed(self, net, **kwargs):
        self._see("on_grad_computed")

    def on_batch_end(self, net, training=True, **kwargs):
        self._see("on_batch_end", training)

    def on_epoch_begin(self, net, **kwargs):
        self._see("on_epoch_begin")

    def on_epoch_end(self, net, **kwargs):
        self._see("on_epoch_end")


class Dropping(nn.Module):
    """An architecture of a user's own that draws random numbers, and that counts."""

    stop_at_call = None

    def __init__(self, n_labels, n_wavelengths):
        super().__init__()
        self.first = nn.Linear(n_labels, 13)
        self.norm = nn.BatchNorm1d(13)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(13, n_wavelengths)
        self.n_calls = 0

    def forward(self, labels):
        self.n_calls += len(labels) > 2  # not when its flux is looked at once built
        if self.n_calls == self.stop_at_call:
            raise KeyboardInterrupt
        return self.last(self.drop(torch.relu(self.norm(self.first(labels)))))


class Diary(Callback):
    """Writes down which epochs were the best so far."""

    def on_epoch_end(self, net, **kwargs):
        self.best_ = net.history[:, "valid_loss_best"]


@pytest.fixture
def make(make_tiny):
    """Give a function that makes unfitted emulators with epochs of seven steps."""

    def make(arch="payne", *, recipe=(), **changes):
        recipe = {"validate_every": EVERY} | dict(recipe)
        return make_tiny(arch, recipe=recipe, **changes)

    return make


@pytest.fixture
def interrupt(short_grid):
    """Give a function that fits and expects an interruption."""

    def fit(emulator, method="fit"):
        with pytest.warns(TrainingInterruptedWarning):
            return getattr(emulator, method)(short_grid.data, short_grid.target)

    return fit


@pytest.fixture
def interrupted(make, interrupt):
    """An emulator that was stopped after the 17th of 53 steps."""
    return interrupt(make(callbacks=[StopAt("on_batch_end", 17)]))


@pytest.fixture
def kill(short_grid):
    """Give a function that fits and expects a sudden death."""

    def fit(emulator):
        with pytest.raises(RuntimeError, match="power cut"):
            emulator.fit(short_grid.data, short_grid.target)

    return fit


@pytest.fixture(scope="module")
def straight(make_tiny, short_grid):
    """The same training without any interruption; don't change it."""
    emulator = make_tiny(recipe={"validate_every": EVERY})
    return emulator.fit(short_grid.data, short_grid.target)


def power_cut(after):
    return StopAt("on_batch_end", after, error=RuntimeError("power cut"))


def weights_of(emulator):
    state = emulator.to_torch().network.state_dict()
    return {name: tensor.numpy() for name, tensor in state.items()}


def assert_same_bits(found, expected, P):
    assert found.n_steps_ == expected.n_steps_
    assert found.history_ == expected.history_
    weights = weights_of(found)
    for name, array in weights_of(expected).items():
        assert np.array_equal(weights[name], array), name
    assert np.array_equal(found.predict(P), expected.predict(P))
    assert np.array_equal(found.held_out_mae_, expected.held_out_mae_)
    assert np.array_equal(found.held_out_rms_, expected.held_out_rms_)


# partial_fit after an interruption


@pytest.mark.parametrize(
    ("arch", "recipe"),
    [
        ("payne", {"optimizer": "AdamW", "weight_decay": 0.1}),
        ("payne", {"optimizer": Momentum}),
        ("payne", {"optimizer": "RMSprop", "decay": "constant", "warmup": 0.3}),
        ("payne", {"average": 0.3}),
        ("payne", {"patience": 100, "precision": "bfloat16"}),
        ("convolutional", {"optimizer": "AdamW", "average": 0.3, "patience": 100}),
        ("convolutional", {"optimizer": Momentum}),
        ("transformer", {"optimizer": "AdamW", "weight_decay": 0.1}),
        (
            "transformer",
            {"optimizer": "SOAP", "optimizer_params": {"precondition_frequency": 2}},
        ),
        ("transformer", {"optimizer": Momentum, "average": 1.0}),
        ("transformer", {"optimizer": "NAdam", "patience": 100, "decay": "linear"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_resumed_training_equals_one_that_never_stopped(
    make, interrupt, short_grid, arch, recipe
):
    P, F = short_grid.data, short_grid.target
    recipe = {"n_wavelengths": 13, **recipe}  # only the transformer draws them
    expected = make(arch, recipe=recipe).fit(P, F)
    found = make(arch, recipe=recipe, callbacks=[StopAt("on_batch_end", 17)])
    interrupt(found)
    assert found.n_steps_ == 14
    assert not np.array_equal(found.predict(P), expected.predict(P))
    assert found.partial_fit(P, F) is found
    assert_same_bits(found, expected, P)


@pytest.mark.parametrize(
    ("stop", "n_steps"),
    [
        (("on_batch_begin", 1), 0),
        (("on_grad_computed", 1), 0),
        (("on_batch_end", 1), 0),
        (("on_grad_computed", 24), 21),
        (("on_epoch_begin", 1), 0),
        (("on_epoch_begin", 3), 14),
        (("on_batch_end", 14), 7),  # before the held-out spectra were looked at
        (("on_epoch_end", 1), 0),  # before all callbacks saw the end
        (("on_epoch_end", 3), 14),
        (("on_grad_computed", 53), 49),
    ],
    ids=str,
)
@pytest.mark.parametrize("recipe", [{}, {"average": 0.2, "patience": 100}], ids=str)
def test_interruption_anywhere_falls_back_to_the_last_epoch_and_loses_nothing(
    make, interrupt, short_grid, straight, stop, n_steps, recipe
):
    P, F = short_grid.data, short_grid.target
    expected = make(recipe=recipe).fit(P, F) if recipe else straight
    found = interrupt(make(recipe=recipe, callbacks=[StopAt(*stop)]))
    assert found.n_steps_ == n_steps
    assert found.history_ == expected.history_[: n_steps // EVERY]
    assert np.isfinite(found.predict(P)).all()
    assert np.isfinite(found.held_out_mae_).all()
    found.partial_fit(P, F)
    assert_same_bits(found, expected, P)


@pytest.mark.parametrize(("epoch", "n_steps"), [(1, 0), (3, 14), (8, 49)])
@pytest.mark.parametrize("where", ["on_batch_begin", "on_batch_end"])
def test_interruption_while_the_held_out_spectra_are_looked_at_loses_nothing(
    make, interrupt, short_grid, straight, where, epoch, n_steps
):
    # in the eighth and last epoch all steps are done, but their losses are missing
    stop = StopAt(where, epoch, training=False)
    found = interrupt(make(callbacks=[stop]))
    assert found.n_steps_ == n_steps
    found.partial_fit(short_grid.data, short_grid.target)
    assert_same_bits(found, straight, short_grid.data)


@pytest.mark.parametrize("call", [1, 19, 24])  # 8th, 16th, 24th ... are held-out
def test_interruption_inside_a_network_that_draws_random_numbers_loses_nothing(
    make, interrupt, short_grid, monkeypatch, call
):
    P, F = short_grid.data, short_grid.target
    expected = make(Dropping).fit(P, F)
    monkeypatch.setattr(Dropping, "stop_at_call", call)
    found = interrupt(make(Dropping))
    monkeypatch.setattr(Dropping, "stop_at_call", None)
    torch.manual_seed(call)  # what happens in between does not matter
    found.partial_fit(P, F)
    assert_same_bits(found, expected, P)


def test_several_interruptions_one_after_another_lose_nothing(
    make, interrupt, short_grid, straight
):
    # the fourth and fifth hit the same epoch, which is begun three times
    found = make(callbacks=[StopAt("on_batch_end", (3, 20, 36, 38, 39))])
    found = interrupt(found)
    n_steps = [found.n_steps_]
    for _ in range(4):
        n_steps.append(interrupt(found, "partial_fit").n_steps_)
    assert n_steps == [0, 14, 28, 28, 28]
    found.partial_fit(short_grid.data, short_grid.target)
    assert_same_bits(found, straight, short_grid.data)


@pytest.mark.parametrize(("arch", "after"), [("payne", 3), ("convolutional", 17)])
def test_resumed_training_equals_one_that_never_stopped_also_after_pickling(
    make, interrupt, short_grid, arch, after
):
    P, F = short_grid.data, short_grid.target
    recipe = {"average": 0.3, "patience": 100}
    expected = make(arch, recipe=recipe).fit(P, F)
    found = make(arch, recipe=recipe, callbacks=[StopAt("on_batch_end", (after, 40))])
    for method in ("fit", "partial_fit"):
        before = interrupt(found, method)
        found = pickle.loads(pickle.dumps(before))
        assert_same_bits(found, before, P)
    found.partial_fit(P, F)
    assert_same_bits(found, expected, P)


def test_pickle_of_a_resumed_emulator_holds_no_state_of_the_training(
    interrupted, straight, short_grid
):
    unfinished = len(pickle.dumps(interrupted))
    interrupted.partial_fit(short_grid.data, short_grid.target)
    finished = len(pickle.dumps(interrupted.set_params(callbacks=None)))
    assert finished < 1.1 * len(pickle.dumps(straight)) < unfinished


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(7)], ids=str)
def test_resumed_training_keeps_its_held_out_spectra_whatever_the_random_state(
    make, interrupt, short_grid, random_state
):
    P, F = short_grid.data, short_grid.target
    stop = StopAt("on_batch_end", 17)
    found = interrupt(make(random_state=random_state, callbacks=[stop]))
    held_out = found.trained_.training.state["held_out"]
    found.partial_fit(P, F)
    assert found.n_steps_ == MAX_STEPS
    error = found.predict(P[held_out]) - F[held_out]
    # measured in float32
    np.testing.assert_allclose(
        found.held_out_mae_, np.abs(error).mean(axis=0), rtol=0, atol=1e-6
    )


def test_early_stopping_goes_on_counting_after_an_interruption(
    make, interrupt, short_grid
):
    P, F = short_grid.data, short_grid.target
    recipe = {"patience": 3, "lr": 1.0, "decay": "constant", "validate_every": 5}
    expected = make(recipe=recipe, max_steps=1009).fit(P, F)
    n_epochs = len(expected.history_)
    assert expected.n_steps_ < 1009
    # the last epoch but one, when two looks in vain are to be remembered
    after = 5 * (n_epochs - 1) + 2
    stop = StopAt("on_batch_end", after)
    found = interrupt(make(recipe=recipe, max_steps=1009, callbacks=[stop]))
    assert found.n_steps_ == 5 * (n_epochs - 1)
    found.partial_fit(P, F)
    assert_same_bits(found, expected, P)


def test_early_stopping_of_the_user_goes_on_counting_after_an_interruption(
    make, interrupt, short_grid
):
    P, F = short_grid.data, short_grid.target

    def early():
        return EarlyStopping(
            patience=3, threshold=1e9, threshold_mode="abs", load_best=True, sink=noop
        )

    expected = make(callbacks=[early()]).fit(P, F)
    assert expected.n_steps_ == 4 * EVERY
    found = make(callbacks=[early(), StopAt("on_batch_end", (3, 3 + 17))])
    interrupt(found)
    interrupt(found, "partial_fit")
    found.partial_fit(P, F)
    assert_same_bits(found, expected, P)


@pytest.mark.parametrize("before", [True, False])
def test_callbacks_may_come_and_go_between_interruption_and_resumption(
    make, interrupt, short_grid, straight, before
):
    patient = EarlyStopping(patience=100, sink=noop)
    callbacks = [[StopAt("on_batch_end", 17), patient], None]
    if not before:
        callbacks = [callbacks[0][:1], [patient]]
    found = interrupt(make(callbacks=callbacks[0]))
    found.set_params(callbacks=callbacks[1])
    found.partial_fit(short_grid.data, short_grid.target)
    assert_same_bits(found, straight, short_grid.data)


def test_best_epochs_are_marked_as_if_the_training_had_not_stopped(
    make, interrupt, short_grid
):
    P, F = short_grid.data, short_grid.target
    # so fast that some epochs are worse than the one before
    recipe = {"lr": 0.5, "decay": "constant"}
    whole, parts = Diary(), Diary()
    expected = make(recipe=recipe, callbacks=[whole]).fit(P, F)
    losses = [entry["valid_loss"] for entry in expected.history_]
    assert whole.best_ == [x == min(losses[: i + 1]) for i, x in enumerate(losses)]
    worse = whole.best_.index(False)
    stop = StopAt("on_batch_end", EVERY * worse + 3)
    interrupt(make(recipe=recipe, callbacks=[parts, stop])).partial_fit(P, F)
    assert parts.best_ == whole.best_


def test_learning_rates_after_an_interruption_are_those_of_the_whole_schedule(
    make, interrupt, short_grid
):
    class Rates(Callback):
        def __init__(self):
            self.seen = {}

        def on_batch_begin(self, net, training=False, **kwargs):
            if training:
                self.seen[net.n_steps] = net.optimizer_.param_groups[0]["lr"]

    P, F = short_grid.data, short_grid.target
    rates = Rates()
    stop = StopAt("on_batch_end", 17)
    interrupt(make(callbacks=[rates, stop])).partial_fit(P, F)
    # linear over 5 % of the steps, then half a cosine
    step = np.arange(MAX_STEPS)
    rise = 0.05 * MAX_STEPS
    done = (step - rise) / (MAX_STEPS - rise)
    factor = np.where(
        step < rise, (step + 1) / (rise + 1), (1 + np.cos(np.pi * done)) / 2
    )
    assert sorted(rates.seen) == list(step)
    np.testing.assert_allclose(
        [rates.seen[n] for n in step], 1e-2 * factor, rtol=1e-12, atol=0
    )


def test_averaged_weights_of_an_interrupted_training_are_those_of_its_steps(
    make, interrupt, short_grid
):
    class Weights(Callback):
        def on_train_begin(self, net, **kwargs):
            self.seen_ = []

        def on_batch_end(self, net, training=False, **kwargs):
            if training:
                state = net.module_.state_dict()
                self.seen_.append({k: v.numpy().copy() for k, v in state.items()})

    diary = Weights()
    found = make(recipe={"average": 1.0}, callbacks=[diary, StopAt("on_batch_end", 17)])
    weights = weights_of(interrupt(found))
    for name, array in weights.items():
        expected = np.mean([seen[name] for seen in diary.seen_[:14]], axis=0)
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-6)


def test_partial_fit_moves_neither_global_random_state_nor_the_arrays_of_the_caller(
    interrupted, short_grid
):
    # the arrays are read-only, so that writing into them would be an error
    assert not short_grid.data.flags.writeable
    torch.manual_seed(7)
    state = torch.get_rng_state()
    numpys = np.random.get_state()[1].copy()  # noqa: NPY002
    interrupted.partial_fit(short_grid.data, short_grid.target)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_interruption_leaves_the_arrays_of_the_caller_as_they_were(
    make, short_grid, arch
):
    P, F = short_grid.data.copy(), short_grid.target.copy()
    found = make(arch, callbacks=[StopAt("on_grad_computed", 17)])
    with pytest.warns(TrainingInterruptedWarning):
        found.fit(P, F)
    found.partial_fit(P, F)
    np.testing.assert_array_equal(P, short_grid.data)
    np.testing.assert_array_equal(F, short_grid.target)


def test_predict_in_between_does_not_change_the_rest_of_the_training(
    interrupted, straight, short_grid
):
    interrupted.predict(short_grid.data)
    interrupted.to_torch()(torch.tensor(short_grid.data))
    interrupted.partial_fit(short_grid.data, short_grid.target)
    assert_same_bits(interrupted, straight, short_grid.data)


def test_fit_after_an_interruption_starts_anew(make, interrupted, straight, short_grid):
    interrupted.fit(short_grid.data, short_grid.target)
    assert_same_bits(interrupted, straight, short_grid.data)


def test_clone_of_an_interrupted_emulator_knows_nothing_of_it(
    interrupted, straight, short_grid
):
    twin = clone(interrupted).set_params(callbacks=None)
    twin.partial_fit(short_grid.data, short_grid.target)
    assert_same_bits(twin, straight, short_grid.data)


def test_interruption_warns_at_the_line_that_called_and_says_how_to_go_on(
    make, short_grid
):
    found = make(callbacks=[StopAt("on_batch_end", (17, 17 + 9))])
    for method, n_steps in (("fit", 14), ("partial_fit", 21)):
        with pytest.warns(
            TrainingInterruptedWarning,
            match=f"after {n_steps} of 53 steps; .* `partial_fit` with the same",
        ) as caught:
            getattr(found, method)(short_grid.data, short_grid.target)
        assert [one.filename for one in caught] == [__file__]


def test_progress_bar_goes_on_where_it_stopped(make, interrupt, short_grid, capsys):
    stop = StopAt("on_batch_end", 17)
    found = interrupt(make(verbose=1, callbacks=[stop]))
    assert "53/53" not in capsys.readouterr().err
    found.partial_fit(short_grid.data, short_grid.target)
    shown = capsys.readouterr().err
    assert "53/53" in shown
    assert "54/53" not in shown


def test_progress_bar_changes_no_bit(make, interrupt, short_grid, straight):
    stop = StopAt("on_batch_end", 17)
    found = interrupt(make(verbose=1, callbacks=[stop]))
    found.partial_fit(short_grid.data, short_grid.target)
    assert_same_bits(found, straight, short_grid.data)


@pytest.fixture
def listening():
    """Listen to Ctrl-C, which what runs in the background of a shell does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_ctrl_c_itself_interrupts(make, short_grid, straight):
    class PressCtrlC(Callback):
        """Sends the signal that the keyboard sends."""

        def on_batch_begin(self, net, training=False, **kwargs):
            if training and net.n_steps == 17 and self.armed:
                self.armed = False
                os.kill(os.getpid(), 2)

    assert threading.current_thread() is threading.main_thread()
    callback = PressCtrlC()
    callback.armed = True
    found = make(callbacks=[callback])
    with pytest.warns(TrainingInterruptedWarning, match="after 14 of 53"):
        found.fit(short_grid.data, short_grid.target)
    found.partial_fit(short_grid.data, short_grid.target)
    assert_same_bits(found, straight, short_grid.data)


# partial_fit where there is nothing to go on with, or not with these


def test_partial_fit_of_an_unfitted_emulator_is_fit(make, straight, short_grid):
    found = make()
    assert found.partial_fit(short_grid.data, short_grid.target) is found
    assert_same_bits(found, straight, short_grid.data)


def test_partial_fit_of_a_finished_emulator_changes_nothing(make, straight, short_grid):
    found = make().fit(short_grid.data, short_grid.target)
    net = found.net_
    assert found.partial_fit(short_grid.data, short_grid.target) is found
    assert found.net_ is net
    assert_same_bits(found, straight, short_grid.data)


def test_partial_fit_of_a_training_that_early_stopping_ended_changes_nothing(
    make, short_grid
):
    recipe = {"patience": 2, "lr": 1.0, "decay": "constant", "validate_every": 5}
    found = make(recipe=recipe, max_steps=1009).fit(short_grid.data, short_grid.target)
    n_steps, before = found.n_steps_, found.predict(short_grid.data)
    found.partial_fit(short_grid.data, short_grid.target)
    assert found.n_steps_ == n_steps < 1009
    np.testing.assert_array_equal(found.predict(short_grid.data), before)


def test_partial_fit_of_a_loaded_emulator_is_an_error(straight, short_grid, tmp_path):
    from sk_payne import load

    straight.save(tmp_path / "model")
    with pytest.raises(ValueError, match="loaded emulator knows of none"):
        load(tmp_path / "model").partial_fit(short_grid.data, short_grid.target)


@pytest.mark.parametrize(
    ("which", "finished"),
    [
        ("P", True),
        ("P", False),
        ("F", True),
        ("F", False),
        ("rows", False),
        ("order", False),
        ("dtype", False),
        ("columns", False),
    ],
)
def test_partial_fit_with_other_spectra_is_an_error_and_changes_nothing(
    make, interrupted, straight, short_grid, which, finished
):
    P, F = short_grid.data.copy(), short_grid.target.copy()
    if which == "P":
        P[7, 3] = np.nextafter(P[7, 3], 9)
    elif which == "F":
        F[7, 3] = np.nextafter(F[7, 3], 9)
    elif which == "rows":
        P, F = P[:-1], F[:-1]
    elif which == "order":
        P, F = P[::-1], F[::-1]
    elif which == "dtype":
        F = F.astype(np.float32)
    else:
        F = F[:, :-1]
    found = interrupted
    if finished:
        found = make().fit(short_grid.data, short_grid.target)
    match = (
        r"`X` and `y` must be those of the (interrupted|finished) training, which took "
        r"(14|53) steps; got others. Use the same again, .*FineTunedEmulator"
    )
    if which == "columns":
        match = "one value for each of the 60 columns"
    before = found.predict(short_grid.data)
    with pytest.raises(ValueError, match=match):
        found.partial_fit(P, F)
    assert found.n_outputs_ == 61
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict(short_grid.data), before)
    # and the training can still go on
    again.partial_fit(short_grid.data, short_grid.target)
    assert_same_bits(again, straight, short_grid.data)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"recipe": {"lr": 1e-3}}, "`recipe` and `max_steps`"),
        ({"max_steps": 54}, "`recipe` and `max_steps`"),
        ({"arch": "bigpayne", "recipe": {}}, "`arch`, `recipe` and `max_steps`"),
        ({"arch_params": {"n_hidden": 5}}, "`arch_params`"),
        ({"wavelength": np.arange(5000.0, 5061.0)}, "`wavelength`"),
    ],
    ids=str,
)
@pytest.mark.parametrize("finished", [True, False])
def test_partial_fit_with_other_parameters_is_an_error_and_changes_nothing(
    make, interrupted, straight, short_grid, changes, named, finished
):
    P, F = short_grid.data, short_grid.target
    found = make().fit(P, F) if finished else interrupted
    kept = found.get_params()
    recipe, arch_params = found.recipe_, found.arch_params_
    found.set_params(**changes)
    with pytest.raises(ValueError, match=f"^{named} must be those of the"):
        found.partial_fit(P, F)
    assert found.recipe_ is recipe
    assert found.arch_params_ is arch_params
    assert found.get_params()["recipe"] == found.recipe
    found.set_params(**kept).partial_fit(P, F)
    assert_same_bits(found, straight, P)


def test_partial_fit_with_another_number_of_labels_is_an_error(interrupted, short_grid):
    with pytest.raises(ValueError, match="4 features, but SpectrumEmulator is expect"):
        interrupted.partial_fit(short_grid.data[:, :4], short_grid.target)


# checkpoint


@pytest.fixture
def checkpoint(tmp_path):
    return tmp_path / "training"


@pytest.mark.parametrize(
    ("arch", "recipe", "after"),
    [
        ("payne", {}, 3),
        ("payne", {}, 50),
        ("payne", {"optimizer": Momentum, "average": 0.3}, 17),
        ("convolutional", {"patience": 100, "optimizer": "RMSprop"}, 17),
        ("transformer", {"n_wavelengths": 13, "average": 0.5, "patience": 100}, 17),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_killed_training_goes_on_from_its_checkpoint_as_if_it_had_lived(
    make, kill, short_grid, checkpoint, arch, recipe, after
):
    P, F = short_grid.data, short_grid.target
    expected = make(arch, recipe=recipe).fit(P, F)
    callbacks = [power_cut(after)]
    kill(make(arch, recipe=recipe, checkpoint=checkpoint, callbacks=callbacks))
    assert checkpoint.exists() == (after > EVERY)
    if after > EVERY:
        assert read_state(checkpoint)["n_steps"] == after // EVERY * EVERY
    # another estimator, as a new process would make
    found = make(arch, recipe=recipe, checkpoint=checkpoint).fit(P, F)
    assert_same_bits(found, expected, P)
    assert not list(checkpoint.parent.iterdir())


@pytest.mark.parametrize("random_state", [None, 5])
def test_checkpoint_holds_seed_and_held_out_spectra(
    make, kill, short_grid, checkpoint, random_state
):
    P, F = short_grid.data, short_grid.target
    callbacks = [power_cut(17)]
    kill(make(random_state=random_state, checkpoint=checkpoint, callbacks=callbacks))
    content = checkpoint.read_bytes()
    found = make(random_state=random_state, checkpoint=checkpoint).fit(P, F)
    checkpoint.write_bytes(content)
    again = make(random_state=None, checkpoint=checkpoint).fit(P, F)
    assert_same_bits(again, found, P)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"random_state": 6}, "`random_state`"),
        ({"validation_fraction": 0.3}, "`validation_fraction`"),
        ({"label_names": ["logg", "teff", "Fe_H", "Mg_H", "Ca_H"]}, "`label_names`"),
    ],
    ids=str,
)
def test_checkpoint_never_overrules_the_caller(
    make, kill, short_grid, checkpoint, changes, argument
):
    kill(make(checkpoint=checkpoint, callbacks=[power_cut(17)]))
    content = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=f"^{argument} must be those of the training"):
        make(checkpoint=checkpoint, label_units=None, **changes).fit(
            short_grid.data, short_grid.target
        )
    assert checkpoint.read_bytes() == content


def test_checkpoint_may_be_needed_several_times(
    make, kill, straight, short_grid, checkpoint
):
    for after in (17, 3, 10, 1):  # steps of each life
        kill(make(checkpoint=checkpoint, callbacks=[power_cut(after)]))
    assert read_state(checkpoint)["n_steps"] == 21
    found = make(checkpoint=checkpoint).fit(short_grid.data, short_grid.target)
    assert_same_bits(found, straight, short_grid.data)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_checkpoint_serves_an_interrupted_training_too(
    make, interrupt, straight, short_grid, checkpoint, method
):
    stop = StopAt("on_batch_end", 17)
    found = interrupt(make(checkpoint=str(checkpoint), callbacks=[stop]))
    assert checkpoint.exists()
    getattr(found, method)(short_grid.data, short_grid.target)
    assert_same_bits(found, straight, short_grid.data)
    assert not list(checkpoint.parent.iterdir())


def test_checkpoint_changes_no_bit_of_an_uninterrupted_training(
    make, straight, short_grid, checkpoint
):
    found = make(checkpoint=checkpoint).fit(short_grid.data, short_grid.target)
    assert_same_bits(found, straight, short_grid.data)
    assert not list(checkpoint.parent.iterdir())


def test_checkpoint_of_a_training_that_early_stopping_ended_is_removed(
    make, short_grid, checkpoint
):
    recipe = {"patience": 2, "lr": 1.0, "decay": "constant", "validate_every": 5}
    found = make(recipe=recipe, max_steps=1009, checkpoint=checkpoint)
    found.fit(short_grid.data, short_grid.target)
    assert found.n_steps_ < 1009
    assert not list(checkpoint.parent.iterdir())


def test_fit_from_a_checkpoint_does_not_move_the_global_random_state(
    make, kill, short_grid, checkpoint
):
    kill(make(checkpoint=checkpoint, callbacks=[power_cut(17)]))
    torch.manual_seed(7)
    state = torch.get_rng_state()
    make(checkpoint=checkpoint).fit(short_grid.data, short_grid.target)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, "`X` and `y`"),
        ({"recipe": {"lr": 1e-3}}, "`recipe` and `max_steps`"),
        ({"max_steps": 99}, "`recipe` and `max_steps`"),
        ({"arch_params": {"n_hidden": 5}}, "`arch_params`"),
    ],
    ids=str,
)
def test_checkpoint_of_another_training_is_an_error_that_says_what_to_do(
    make, kill, short_grid, checkpoint, changes, named
):
    kill(make(checkpoint=checkpoint, callbacks=[power_cut(17)]))
    before = checkpoint.read_bytes()
    found = make(checkpoint=checkpoint, **changes)
    F = short_grid.target if changes else short_grid.target[::-1]
    with pytest.raises(
        ValueError,
        match=f"^{named} must be those of the training in '.*training', which took "
        "14 steps; got others. Use the same again, start anew with `fit` and no old "
        "checkpoint",
    ):
        found.fit(short_grid.data, F)
    assert checkpoint.read_bytes() == before


def write_table(path):
    path.write_text("teff,logg\n5777,4.44\n")


def write_text(path):
    path.write_text("hello world, no pickle starts like this")


def write_nothing(path):
    path.touch()


def write_numbers(path):
    np.savez(path.with_suffix(".npz"), x=np.zeros(3))
    os.replace(path.with_suffix(".npz"), path)


def write_pickle(path):
    path.write_bytes(pickle.dumps({"optimizer": np.zeros(3)}))


def write_checkpoint_of_another_library(path):
    torch.save({"model": {}, "optimizer": {}, "epoch": 7}, path)


@pytest.mark.parametrize(
    "write",
    [
        write_table,
        write_text,
        write_nothing,
        write_numbers,
        write_pickle,
        write_checkpoint_of_another_library,
    ],
)
def test_foreign_file_in_place_of_a_checkpoint_is_an_error_and_is_kept(
    make, short_grid, checkpoint, write
):
    write(checkpoint)
    before = checkpoint.read_bytes()
    with pytest.raises(
        FileFormatError,
        match=r"training' is no checkpoint of a training, or damaged. Remove it, or "
        "pass another `checkpoint`",
    ):
        make(checkpoint=checkpoint).fit(short_grid.data, short_grid.target)
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("part", [0.01, 0.5, 0.9, 0.999])
def test_truncated_checkpoint_is_an_error(make, kill, short_grid, checkpoint, part):
    kill(make(checkpoint=checkpoint, callbacks=[power_cut(17)]))
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(part * len(content))])
    with pytest.raises(FileFormatError, match="or damaged"):
        make(checkpoint=checkpoint).fit(short_grid.data, short_grid.target)


def test_reading_a_checkpoint_executes_nothing(make, short_grid, checkpoint):
    class Trap:
        def __reduce__(self):
            return (checkpoint.with_name("executed").touch, ())

    torch.save({"optimizer": Trap()}, checkpoint)
    with pytest.raises(FileFormatError):
        make(checkpoint=checkpoint).fit(short_grid.data, short_grid.target)
    assert not checkpoint.with_name("executed").exists()


@pytest.mark.parametrize("function", ["torch.save", "os.replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_checkpoint_that_cannot_be_written_leaves_the_last_one_and_nothing_half_written(
    checkpoint, monkeypatch, function, error
):
    write_state(checkpoint, {"x": torch.ones(3)})
    before = checkpoint.read_bytes()

    def fail(state, file):
        if function == "torch.save":
            file.write(b"half of it")
        raise error

    monkeypatch.setattr(function, fail)
    with pytest.raises(type(error)):
        write_state(checkpoint, {"x": torch.zeros(3)})
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_interruption_while_the_checkpoint_is_written_loses_nothing(
    make, interrupt, straight, short_grid, checkpoint, monkeypatch
):
    replace, calls = os.replace, []

    def fail(*paths):
        calls.append(paths)
        if len(calls) == 3:
            raise KeyboardInterrupt
        replace(*paths)

    monkeypatch.setattr("os.replace", fail)
    found = interrupt(make(checkpoint=checkpoint))
    assert found.n_steps_ == 21
    assert read_state(checkpoint)["n_steps"] == 14
    assert list(checkpoint.parent.iterdir()) == [checkpoint]
    found.partial_fit(short_grid.data, short_grid.target)
    assert_same_bits(found, straight, short_grid.data)


# fingerprints


@pytest.mark.parametrize(
    "other",
    [
        np.arange(12.0).reshape(3, 4).astype(np.float32),
        np.arange(12.0).reshape(4, 3),
        np.arange(12.0).reshape(3, 4) * (1 + 1e-16 * np.eye(3, 4) * 4),
        np.arange(12.0).reshape(3, 4)[::-1],
    ],
    ids=["dtype", "shape", "last bit", "order"],
)
def test_fingerprint_of_another_array_is_another(other):
    assert fingerprint(other) != fingerprint(np.arange(12.0).reshape(3, 4))


def test_fingerprint_of_equal_arrays_is_equal_whatever_their_memory():
    array = np.arange(12.0).reshape(3, 4)
    strided = np.zeros((3, 8))[:, ::2]
    strided[:] = array
    expected = fingerprint(array, array)
    assert fingerprint(np.asfortranarray(array), strided) == expected
    assert fingerprint(array) != expected
