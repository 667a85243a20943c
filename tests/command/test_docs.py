"""Tests of the pages about the command: its options are options."""

import json
import re
from pathlib import Path

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
