"""Tests of the pages about the command: its options are options."""

import json
import re
from pathlib import Path

import click
import pytest

from sk_payne.command._main import COMMANDS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "command.rst").read_text(encoding="utf-8")
REAL = (ROOT / "docs" / "real_stars.rst").read_text(encoding="utf-8")
RECORD = json.loads((ROOT / "benchmarks" / "results" / "real_stars.json").read_text())

# A command, with the lines that a backslash, or the width of the page, continues it by.
USES = re.findall(r"sk-payne ([a-z]+) ((?:[^`$]|\\\n)*?)(?:``|(?<!\\)\n\n|\Z)", TEXT)


@pytest.mark.parametrize(("name", "words"), USES)
def test_options_in_examples_are_those_of_the_command(name, words):
    options = {one for param in COMMANDS[name].params for one in param.opts}
    for line in re.split(r"\n   sk-payne ", words)[:1]:
        for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", f" {line}"):
            assert option in options | {"--help"}, (name, option)


def test_there_are_examples_of_most_commands():
    assert {name for name, _ in USES} >= {"measure", "plot", "report", "train", "build"}


def test_every_command_is_on_the_page():
    for name in COMMANDS:
        assert re.search(rf"^``{name}`` +\w", TEXT, re.MULTILINE), name


def test_all_options_that_the_page_names_exist():
    options = {
        one
        for command in COMMANDS.values()
        for param in command.params
        for one in param.opts
    }
    for option in re.findall(r"``(--[a-z][a-z-]*)", TEXT):
        assert option in options, option


def test_commands_of_the_real_stars_are_those_that_made_the_record():
    shown = " ".join(REAL.replace("\\\n", " ").split())
    for star in RECORD["stars"]:
        assert f"$ {star['command']} " in shown, star["star"]


def test_words_about_the_real_sun_are_those_of_the_record():
    off = {
        row["quantity"]: round(-row["difference"])
        for row in RECORD["compared"]
        if row["star"] == "the Sun"
    }
    stated = re.search(r"Teff and \[Fe/H\] are too low by (\d) and (\d) of", REAL)
    assert [int(n) for n in stated.groups()] == [off["teff"], off["Fe_H"]]
    assert off["logg"] <= 1
    assert "log g agrees" in REAL


def test_wrong_fits_of_the_real_stars_are_flagged():
    flags = {star["star"]: star["flags"] for star in RECORD["stars"]}
    assert "BAD_FIT" in flags["AB Doradus"]
    assert "FEW_PIXELS" in flags["LAMOST J220848.54-020324.3"]


# Help --------------------------------------------------------------------------------


@pytest.fixture(params=COMMANDS)
def help_text(request):
    """What a subcommand prints for --help in a terminal of 80 columns."""
    command = COMMANDS[request.param]
    context = click.Context(
        command,
        info_name=f"sk-payne {request.param}",
        terminal_width=80,
        # click keeps the option that it makes of these
        help_option_names=["-h", "--help"],
    )
    return command.get_help(context)


def test_help_fits_into_80_columns(help_text):
    assert [line for line in help_text.splitlines() if len(line) > 80] == []


def test_help_shows_examples_and_exit_codes(help_text):
    assert re.search(r"^  Examples:\n    sk-payne \w", help_text, re.MULTILINE)
    assert re.search(r"^  Exit codes:\n    0 ", help_text, re.MULTILINE)


def test_help_speaks_of_the_command_line_and_not_of_python(help_text):
    for word in ('meta["', '{"', "shape (n", "None", "see SecondStar"):
        assert word not in help_text, word


def test_demo_and_train_have_the_same_options_of_training():
    shared = ("arch", "max_steps", "device", "seed", "medium", "drop_bad")
    helps = [
        {one.name: one.help for one in COMMANDS[name].params if one.name in shared}
        for name in ("demo", "train")
    ]
    assert helps[0] == helps[1]
    assert set(helps[0]) == set(shared)
