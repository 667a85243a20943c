"""Catalogues that learn the start of their fits: once, whoever measures."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from sk_payne import AbundanceRegressor
from sk_payne.abundances import measure_catalogue, read_catalogue
from sk_payne.neural_posterior import NeuralPosterior

TINY = {
    "n_directions": 8,
    "n_hidden": 8,
    "max_steps": 60,
    "batch_size": 16,
    "n_held_out": 100,
    "device": "cpu",
    "random_state": 0,
}


@pytest.fixture(scope="module")
def regressor(emulator, observation):
    return AbundanceRegressor(emulator, observation)


@pytest.fixture(scope="module")
def untrained(regressor):
    """An unfitted posterior; don't change it."""
    return NeuralPosterior.of(regressor, **TINY)


@pytest.fixture(scope="module")
def spectra(stars):
    return stars(6, seed=31)[0]


@pytest.fixture(scope="module")
def expected(regressor, untrained, spectra, tmp_path_factory):
    """Folder of a catalogue that was made in one call; don't change it."""
    path = tmp_path_factory.mktemp("learned") / "whole"
    return measure(regressor, rows_of(spectra), path, learn_start=untrained)


@pytest.fixture
def trainings(monkeypatch):
    """Posteriors whose `fit` was called."""
    calls, fit = [], NeuralPosterior.fit

    def counted(self, X=None, y=None):
        calls.append(self)
        return fit(self, X, y)

    monkeypatch.setattr(NeuralPosterior, "fit", counted)
    return calls


def rows_of(spectra):
    return [spectra[[i]] for i in range(len(spectra))]


def measure(regressor, stars, path, **options):
    return measure_catalogue(
        regressor, stars, path, **{"chunk_size": 2, "verbose": 0} | options
    )


def parts(path):
    return [file.read_bytes() for file in sorted(path.glob("part-*"))]


def test_stars_are_those_of_a_fit_from_the_posterior_of_the_first_part(
    expected, regressor, untrained, spectra
):
    posterior = NeuralPosterior.of(regressor, **TINY).fit(spectra[:2])
    started = AbundanceRegressor(**regressor.get_params(deep=False))
    table = started.set_params(start=posterior).measure(spectra)
    found = read_catalogue(expected)
    for name in ("chi2", "teff", "radial_velocity", "flags"):
        np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(table[name]))
    # the caller's own are as they were
    assert regressor.start is None
    assert not hasattr(untrained, "trained_")
    assert sorted(file.name for file in expected.glob("start*")) == [
        *("start.lock", "start.safetensors")
    ]


def test_posterior_is_trained_once(
    regressor, untrained, spectra, expected, tmp_path, trainings
):
    def run(n):
        some = rows_of(spectra[:n])
        return measure(regressor, some, tmp_path / "x", learn_start=untrained)

    run(4)
    assert len(trainings) == 1
    assert parts(run(6)) == parts(expected)
    (tmp_path / "x" / "part-000000.ecsv").unlink()
    assert parts(run(6)) == parts(expected)
    assert len(trainings) == 1


def test_nothing_is_trained_unless_it_is_asked_for(
    regressor, spectra, tmp_path, trainings
):
    path = measure(regressor, rows_of(spectra), tmp_path / "x")
    assert not trainings
    assert not list(path.glob("start*"))


def test_cost_is_told_before_the_training(
    regressor, untrained, spectra, tmp_path, capsys, monkeypatch
):
    told = []
    monkeypatch.setattr(
        NeuralPosterior, "fit", lambda self, X: told.append(capsys.readouterr().err)
    )
    with pytest.raises(AttributeError):  # since it is not trained
        measure(regressor, [spectra], tmp_path / "x", learn_start=untrained, verbose=1)
    assert "once for this catalogue, on 960 mock spectra" in told[0]
    assert "start.safetensors' will have about 0." in told[0]


def test_cost_is_that_of_the_training(untrained, expected):
    cost = untrained.cost()
    assert cost["n_spectra"] == 60 * 16
    size = (expected / "start.safetensors").stat().st_size
    # the file has names, held-out stars and the history in addition
    assert 0.5 * size < cost["n_bytes"] < size


def test_catalogues_with_and_without_a_start_are_not_mixed(
    regressor, untrained, spectra, expected, tmp_path
):
    stars = rows_of(spectra)
    with pytest.raises(ValueError, match="made with another `learn_start`"):
        measure(regressor, stars, expected)
    longer = NeuralPosterior.of(regressor, **TINY | {"max_steps": 61})
    with pytest.raises(ValueError, match=r"`learn_start.max_steps`: 60, not 61"):
        measure(regressor, stars, expected, learn_start=longer)
    path = measure(regressor, stars, tmp_path / "plain")
    with pytest.raises(ValueError, match="made with another `learn_start`"):
        measure(regressor, stars, path, learn_start=untrained)


def test_another_posterior_in_the_folder_is_refused(
    regressor, untrained, spectra, tmp_path
):
    stars = rows_of(spectra)
    path = measure(regressor, stars, tmp_path / "x", learn_start=untrained)
    (path / "start.safetensors").unlink()
    # trained anew on the pixels of the same stars, it is the same
    measure(regressor, stars, path, learn_start=untrained)
    other = NeuralPosterior.of(regressor, **TINY | {"random_state": 1}).fit(spectra)
    other.save(path / "start.safetensors")
    with pytest.raises(ValueError, match=r"made with another `start\.safetensors`"):
        measure(regressor, stars, path, learn_start=untrained)


def test_interrupted_training_goes_on_and_gives_the_same(
    regressor, untrained, spectra, expected, tmp_path, monkeypatch
):
    from skorch import NeuralNet

    train_step, steps = NeuralNet.train_step, []

    def interrupted(self, *args, **kwargs):
        steps.append(1)
        if len(steps) == 55:
            raise KeyboardInterrupt
        return train_step(self, *args, **kwargs)

    monkeypatch.setattr(NeuralNet, "train_step", interrupted)
    stars, path = rows_of(spectra), tmp_path / "x"
    with pytest.raises(KeyboardInterrupt):
        measure(regressor, stars, path, learn_start=untrained)
    assert (path / "start.state").exists()
    assert not parts(path)
    measure(regressor, stars, path, learn_start=untrained)
    assert len(steps) == 55 + 10  # after the 50 steps of the checkpoint
    assert parts(path) == parts(expected)
    assert not (path / "start.state").exists()


# Measures a catalogue; "killed" kills itself in the training, after a checkpoint.
SHARED = """
import os, pickle, signal, sys, torch
from pathlib import Path
torch.set_num_threads(1)
from sk_payne.abundances import measure_catalogue
from sk_payne.neural_posterior import NeuralPosterior

folder, name = Path(sys.argv[1]), sys.argv[2]
regressor, untrained, stars = pickle.loads((folder / "arguments").read_bytes())
fit = NeuralPosterior.fit

def logged(self, X):
    with open(folder / "log", "ab", buffering=0) as log:
        log.write(f"{name}\\n".encode())
    if name == "killed":
        from skorch import NeuralNet
        step, n = NeuralNet.train_step, []
        def train_step(net, *args, **kwargs):
            n.append(1)
            if len(n) == 55:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(net, *args, **kwargs)
        NeuralNet.train_step = train_step
    return fit(self, X)

NeuralPosterior.fit = logged
measure_catalogue(
    regressor, stars, folder / "x", chunk_size=2, learn_start=untrained, verbose=0
)
"""


def test_processes_share_one_training_also_after_a_kill(
    regressor, untrained, spectra, expected, tmp_path
):
    import pickle

    arguments = regressor, untrained, rows_of(spectra)
    (tmp_path / "arguments").write_bytes(pickle.dumps(arguments))

    def start(name):
        return subprocess.Popen([sys.executable, "-c", SHARED, tmp_path, name])

    assert start("killed").wait() == -signal.SIGKILL
    assert (tmp_path / "x" / "start.state").exists()
    processes = [start(name) for name in "AB"]
    assert [process.wait() for process in processes] == [0, 0]
    log = (tmp_path / "log").read_text().split()
    assert len(log) == 2, "one of both trained, and the other waited"
    assert parts(tmp_path / "x") == parts(expected)


def test_arguments_must_be_those_of_the_regressor(
    regressor, emulator, make_emulator, observation, posterior, spectra, tmp_path
):
    def refused(message, **changes):
        arguments = {"emulator": emulator, "observation": observation} | changes
        wrong = NeuralPosterior(**arguments | TINY)
        with pytest.raises(ValueError, match=message):
            measure(regressor, [spectra], tmp_path / "x", learn_start=wrong)

    refused("`learn_start` must have the arguments .*`fixed`", fixed={"teff": 5000})
    refused("`learn_start` must have the arguments .*`observation", observation=None)
    other = make_emulator(random_state=1, max_steps=20)
    refused("`learn_start` must have the emulator", emulator=other)
    started = AbundanceRegressor(emulator, observation, start=posterior)
    with pytest.raises(ValueError, match="`start` of the regressor must be None"):
        measure(
            started, [spectra], tmp_path / "x", learn_start=NeuralPosterior.of(started)
        )
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_trained_is_told_before_anything_is_written(
    regressor, untrained, spectra, tmp_path, monkeypatch
):
    def torn(item):
        raise OSError("the tape is torn")

    with pytest.raises(ValueError, match=r"`learn_start` must find a star .* is torn"):
        measure(regressor, [1, 2], tmp_path / "x", reader=torn, learn_start=untrained)
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(ImportError, match=r"sk_payne\[neural\]"):
        measure(regressor, [spectra], tmp_path / "x", learn_start=untrained)
    assert not (tmp_path / "x").exists()


def test_files_that_cannot_be_read_do_not_hinder_the_training(
    regressor, untrained, spectra, expected, tmp_path
):
    def read(i):
        if i == 0:
            raise OSError("the tape is torn")
        return spectra[[i]]

    with pytest.warns(UserWarning, match="the tape is torn"):
        path = measure(
            regressor, range(6), tmp_path / "x", reader=read, learn_start=untrained
        )
    assert len(read_catalogue(path)) == 5


def test_load_refuses_other_arguments(regressor, untrained, expected):
    path = expected / "start.safetensors"
    loaded = NeuralPosterior.of(regressor, **TINY).load(path)
    assert loaded.n_steps_ == 60
    for name, value in (
        ("n_hidden", 9),
        ("snr", (5.0, 10.0)),
        ("priors", {"Fe_H": (0.0, 1.0)}),
    ):
        other = NeuralPosterior.of(regressor, **TINY).set_params(**{name: value})
        with pytest.raises(ValueError, match=f"trained with another `{name}"):
            other.load(path)
