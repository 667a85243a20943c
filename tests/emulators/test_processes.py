"""Tests of two processes that train one emulator: that of one process, in both.

The processes run `train_together.py`, which see, and meet in a file.
"""

import importlib.util
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("train_together.py")
_spec = importlib.util.spec_from_file_location("train_together", SCRIPT)
train_together = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(train_together)
CASES = train_together.CASES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def together(folder):
    """Results of each process, and what it wrote on standard error."""
    np.save(folder / "flux.npy", train_together.spectra()[1])
    (folder / "no_checkpoint").write_text("hello")
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, str(rank), folder],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(train_together.N_PROCESSES)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    results = []
    for rank, said in enumerate(errors):
        with open(folder / f"results_{rank}.pickle", "rb") as file:
            results.append(pickle.load(file) | {"said": said})
    return results


def assert_same(found, expected):
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize("name", [*CASES, "on disk", "fine-tuned", "own seeds"])
def test_processes_end_with_the_same_emulator(together, name):
    assert_same(together[1][name], together[0][name])


@pytest.mark.parametrize("name", CASES)
def test_processes_train_what_one_would_alone(together, name):
    found = together[0][name]
    P, F = train_together.spectra()
    expected = train_together.result(train_together.make(**CASES[name]).fit(P, F))
    assert found["n_steps"] == expected["n_steps"]
    # from rounding, which the eigenvectors of SOAP enlarge
    rtol = 0.02 if name == "SOAP" else 1e-4
    np.testing.assert_allclose(found["history"], expected["history"], rtol=rtol)
    if name != "SOAP":
        np.testing.assert_allclose(found["weights"], expected["weights"], atol=1e-4)


def test_early_stopping_ended_a_training_of_two(together):
    assert 14 <= together[0]["patience"]["n_steps"] < 40


def test_fine_tuning_of_two_is_that_of_one(together):
    P, F = train_together.spectra()
    expected = train_together.fine_tune(train_together.make().fit(P, F))
    np.testing.assert_allclose(
        together[0]["fine-tuned"]["held_out_mae"], expected.held_out_mae_, rtol=1e-3
    )


@pytest.mark.parametrize("name", ["on disk", "own seeds"])
def test_neither_disk_nor_the_seed_of_another_process_changes_a_bit(together, name):
    assert_same(together[0][name], together[0]["payne"])


def test_killed_processes_go_on_from_the_checkpoint_of_the_first(together):
    for results in together:
        assert results["killed"] == "RuntimeError: power cut"
        assert results["checkpoints"] == ["checkpoint_0"]
        assert results["checkpoints after"] == []
        assert_same(results["resumed"], results["payne"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad checkpoint", "FileFormatError: '.*no_checkpoint' is no checkpoint of a"),
        (
            "other spectra",
            "ValueError: `X`, `y` and the parameters .* in .1. than in 0",
        ),
        ("tiny batches", "ValueError: `recipe` entry 'batch_size' must be at least 2"),
        ("Ctrl-C", "KeyboardInterrupt: "),
    ],
)
def test_errors_end_all_processes(together, name, message):
    for results in together:
        assert re.match(message, results[name])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_no_thread_of_the_group_outlives_it(together, folder):
    # they would abort some of the processes when these end
    for rank in range(train_together.N_PROCESSES):
        names = (folder / f"threads_{rank}").read_text().split()
        assert names
        assert not [name for name in names if "gloo" in name]


def test_only_the_first_process_shows_its_progress(together):
    assert "40/40" in together[0]["said"]
    assert "step" not in together[1]["said"]
