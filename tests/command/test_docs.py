"""Tests of the page about the command: its options are options."""

import re
from pathlib import Path

import pytest

from sk_payne.command._main import COMMANDS

PAGE = Path(__file__).parents[2] / "docs" / "command.rst"
TEXT = PAGE.read_text(encoding="utf-8")

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
