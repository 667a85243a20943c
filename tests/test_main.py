"""Tests of the command, on grids of the user's own and on the shipped one."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from astropy.table import QTable

from sk_payne import load
from sk_payne.__main__ import main_of_module
from sk_payne.datasets import make_spectra


@pytest.fixture
def grid_file(tmp_path):
    """A grid as a user may have it, without its medium."""
    grid = make_spectra(211, n_wavelengths=67, random_state=0)
    path = tmp_path / "grid.npz"
    np.savez(
        path,
        labels=grid.data,
        flux=grid.target,
        wavelength=grid.wavelength,
        label_names=np.array(grid.label_names),
        label_units=np.array(grid.label_units),
        resolving_power=grid.resolving_power,
    )
    return path


def run(*arguments):
    return main_of_module([str(argument) for argument in arguments])


def test_command_on_a_users_grid_trains_measures_and_writes(
    grid_file, tmp_path, capsys
):
    out = tmp_path / "out"
    status = run(
        *("--grid", grid_file, "--medium", "air", "--arch", "payne"),
        *("--max-steps", 101, "--stars", 7, "--out", out),
    )
    assert status == 0
    printed = capsys.readouterr().out
    assert re.search(r"Mean absolute error .* on the 21 test spectra: 0\.\d+", printed)
    assert "Measured 7 test spectra" in printed
    table = QTable.read(out / "stars.ecsv")
    assert len(table) == 7
    assert table["teff"].unit == table["teff_error"].unit == table["teff_true"].unit
    assert (out / "result.png").stat().st_size > 10_000
    emulator = load(out / "emulator.safetensors")
    assert (emulator.n_training_, emulator.resolving_power_) == (171, 20_000)


def test_command_takes_an_emulator_that_was_saved(grid_file, tmp_path, capsys):
    out = tmp_path / "out"
    common = ("--grid", grid_file, "--medium", "air", "--stars", 3, "--out", out)
    assert run(*common, "--arch", "payne", "--max-steps", 51) == 0
    first = QTable.read(out / "stars.ecsv")
    assert run(*common, "--emulator", out / "emulator.safetensors") == 0
    again = QTable.read(out / "stars.ecsv")
    np.testing.assert_array_equal(first["teff"], again["teff"])


def test_emulator_of_another_grid_is_refused(grid_file, tmp_path, capsys):
    out = tmp_path / "out"
    common = ("--grid", grid_file, "--stars", 3, "--out", out)
    assert run(*common, "--medium", "air", "--arch", "payne", "--max-steps", 5) == 0
    use = ("--emulator", out / "emulator.safetensors")
    assert run(*common, *use, "--medium", "vacuum") == 1
    assert "the grid differ in medium." in capsys.readouterr().err
    assert run("--out", out, *use) == 1
    assert "the grid differ in labels and wavelengths" in capsys.readouterr().err
    moved = dict(np.load(grid_file))
    moved["wavelength"] += 1.0
    np.savez(tmp_path / "moved.npz", **moved)
    moved = ("--grid", tmp_path / "moved.npz", "--medium", "air", "--out", out)
    assert run(*moved, *use) == 1
    assert "the grid differ in wavelengths." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--grid", "missing.npz"), "missing.npz"),
        (("--snr", 0), "--snr must be positive"),
        (("--stars", 0), "--stars must be at least 1"),
        (("--emulator", "missing.safetensors"), "missing.safetensors"),
    ],
)
def test_command_says_what_is_wrong_with_its_input(
    arguments, message, tmp_path, capsys
):
    assert run(*arguments, "--out", tmp_path / "out") == 1
    assert message in capsys.readouterr().err


def test_command_wants_to_know_the_medium(grid_file, tmp_path, capsys):
    assert run("--grid", grid_file, "--out", tmp_path / "out") == 1
    assert "Pass --medium" in capsys.readouterr().err


def test_command_leaves_out_bad_spectra_on_demand(grid_file, tmp_path, capsys):
    contents = dict(np.load(grid_file))
    contents["flux"][5, 7] = contents["labels"][9, 0] = np.nan
    contents["mask"] = np.zeros(contents["flux"].shape, bool)
    contents["mask"][11, 13] = True
    np.savez(grid_file, **contents)
    common = ("--grid", grid_file, "--medium", "air", "--out", tmp_path / "out")
    assert run(*common) == 1
    assert "row 9. Pass drop_bad=True (--drop-bad in" in capsys.readouterr().err
    steps = ("--arch", "payne", "--max-steps", 5, "--stars", 2)
    assert run(*common, *steps, "--drop-bad") == 0
    printed = capsys.readouterr().out
    assert "Note: 2 of the 211 spectra" in printed
    assert "are not finite: rows 5, 9." in printed
    assert "Note: the grid marks 1 flux values as bad; they have no part" in printed
    assert "Grid: 189 spectra to learn from and 20 to judge by" in printed


def test_command_can_be_interrupted(grid_file, tmp_path, capsys, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("sk_payne.command._demo._measure", interrupt)
    status = run(
        *("--grid", grid_file, "--medium", "air", "--arch", "payne"),
        *("--max-steps", 11, "--out", tmp_path / "out"),
    )
    assert status == 130
    assert "interrupted" in capsys.readouterr().err


def test_command_runs_as_a_module_on_the_shipped_grid(tmp_path):
    options = f"--arch payne --max-steps 20 --stars 2 --out {tmp_path}"
    done = subprocess.run(
        [sys.executable, "-m", "sk_payne", *options.split()],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "3425 spectra to learn from and 300 to judge by" in done.stdout
    assert (tmp_path / "stars.ecsv").exists()


def test_module_takes_the_subcommands_of_the_command(capsys):
    assert run("measure", "--help") == 0
    assert "Usage: python -m sk_payne measure" in capsys.readouterr().out


def test_an_unknown_option_is_an_error_of_the_command_line(capsys):
    assert run("--nonsense") == 2
    assert "No such option" in capsys.readouterr().err


def test_help_names_every_option(capsys):
    assert run("--help") == 0
    printed = capsys.readouterr().out
    for option in (
        "--arch",
        "--grid",
        "--out",
        "--device",
        "--emulator",
        "--medium",
        "--drop-bad",
    ):
        assert option in printed
