"""Tests of `sk-payne info`, and of the group of commands."""

import tomllib
from pathlib import Path

import click
import numpy as np
import pytest

import sk_payne.command
from sk_payne import __version__
from sk_payne.command._main import COMMANDS
from sk_payne.grids import ParameterSpace, build_grid


@pytest.fixture
def info(run_json):
    """Give a function that tells what one file is."""

    def call(path):
        (found,) = run_json("info", path).found["files"]
        return found

    return call


def test_without_files_ready_emulators_are_listed(run, run_json):
    assert run_json("info").found["files"][0]["path"] == "dwarfs-4500-4600"
    told = run("info", "dwarfs-4500-4600").out
    assert "wavelengths          2198, 4500.00-4599.96 Å" in told
    assert "Fe_H" in told
    assert "giants" in told


def test_an_emulator_tells_labels_and_wavelengths(info, emulator_file):
    found = info(emulator_file)
    assert found["kind"] == "emulator"
    assert found["title"] == "Tiny"
    assert found["resolving_power"] == "20,000"
    assert found["labels"]["teff"].endswith("K")


def test_spectra_are_told_with_what_they_state(info, night):
    found = info("b.ecsv")
    assert found["kind"] == "spectrum"
    (star,) = found["star"]
    assert star["object"] == "b"
    assert star["medium"] == "air"
    assert star["pixels"] == 61


@pytest.mark.parametrize("suffix", ["ecsv", "fits", "csv", "vot"])
def test_tables_of_stars_and_what_is_kept_of_them(
    run, info, night, emulator_file, suffix
):
    out = f"stars.{suffix}"
    run("measure", "a.txt", "broken.fits", "--emulator", emulator_file, "--out", out)
    found = info(out)
    assert found["kind"] == "table of stars"
    assert found["rows"] == 2
    assert found["failed"] == 1
    assert "Fe_H" in found["parameters"]
    assert found["flags"]["NO_DATA"] == 1
    for kept in ("stars.parts", "stars.parts/catalogue"):
        found = info(kept)
        assert (found["kind"], found["rows"]) == ("catalogue", 1)


def test_grids_in_files_and_folders(info, tmp_path, tiny_grid):
    np.savez(
        tmp_path / "grid.npz",
        labels=tiny_grid.data,
        flux=tiny_grid.target,
        wavelength=tiny_grid.wavelength,
    )
    found = info("grid.npz")
    assert (found["kind"], found["spectra"]) == ("grid", 101)
    assert next(iter(found["labels"])) == "label_1"
    build_grid(
        ParameterSpace({"teff": (4000, 6000)}),
        lambda labels, wavelength: np.ones(len(wavelength)),
        3,
        tmp_path / "made",
        wavelength=[5000.0, 5001.0],
        medium="air",
        verbose=0,
    )
    found = info("made")
    assert (found["kind"], found["spectra"]) == ("grid", 3)


def test_what_cannot_be_read_does_not_hide_the_others(run, night):
    done = run("info", "broken.fits", "a.txt", "dwarfs")
    assert done.status == 3
    assert "broken.fits: cannot be read" in done.out
    assert "of no format that is known" in done.out
    assert "a.txt: spectrum" in done.out
    assert "no file and no ready emulator 'dwarfs'" in done.out


def test_quiet_prints_nothing(run, night):
    assert run("info", "a.txt", "--quiet").out == ""


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["measure", "-h"]])
def test_help_shows_examples_and_exit_codes(run, words):
    done = run(*words)
    assert done.status == 0
    assert "Examples:" in done.out
    assert "Exit codes:" in done.out


def test_version_and_unknown_commands(run):
    assert __version__ in run("--version").out
    done = run("mesure")
    assert done.status == 2
    assert "mesure" in done.err


def test_every_command_has_a_help_with_examples(run):
    for name in COMMANDS:
        done = run(name, "--help")
        assert done.status == 0
        assert "Examples:" in done.out


def test_the_program_is_the_command():
    path = Path(__file__).parents[2] / "pyproject.toml"
    scripts = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["scripts"]
    module, name = scripts["sk-payne"].split(":")
    assert module == sk_payne.command.__name__
    assert callable(getattr(sk_payne.command, name))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_a_test(name):
    """All names of options appear in the texts of these tests."""
    here = Path(__file__).parent
    files = [*here.glob("*.py"), here.parent / "test_main.py"]
    texts = "".join(path.read_text(encoding="utf-8") for path in files)
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option):
            names = [*option.opts, *option.secondary_opts]
            assert any(f'"{one}"' in texts for one in names), names
