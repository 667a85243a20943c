"""Tests of the wording of everything public: a docstring needs no decoding.

A description begins with the noun ("Names of the labels"), not with its owner ("Of the
labels") or a riddle ("What the file calls the star").
"""

import importlib
import inspect
import re

import pytest
from public_names import ROOMS, public_objects

# Forbidden patterns, and better wordings.
RIDDLES = {
    r"^\s*Of\b(?! course)": "begin with the noun: 'Names of the labels.'",
    r"^\s*What\b": "begin with the noun: 'Name of the star in the file.'",
    r"\A(Whether|Tell|Say)\b": "'Check whether ...', 'True if ...', 'Describe ...'",
    r"\b(It is|They are) here\b": "say what the module does",
    r"\b[wW]hat \d+ ?%": "'1 sigma error', 'quantile'",
    r"\b[lL]ikewise\b": "repeat the noun",
    r"\b([tT]hat|[tT]hose) which\b": "repeat the noun",
    r"\bsuch as (are|is|have|has)\b": "'those that are', or the noun",
    r"\b[sS]o many\b": "a number, or its name",
    r"\bgone on with\b": "'resumed', 'continued'",
}
DOCSTRINGS = {name: inspect.getdoc(value) for name, value in public_objects()}
DOCSTRINGS |= {room: inspect.getdoc(importlib.import_module(room)) for room in ROOMS}


def riddles_in(text):
    """Return the lines that need decoding, each with a hint."""
    return [
        f"{text[match.start() :].strip().splitlines()[0]!r}: {hint}"
        for pattern, hint in RIDDLES.items()
        for match in re.finditer(pattern, text, re.MULTILINE)
    ]


@pytest.mark.parametrize("name", DOCSTRINGS)
def test_docstring_needs_no_decoding(name):
    assert riddles_in(DOCSTRINGS[name]) == []


@pytest.mark.parametrize(
    "text",
    [
        "Read.\n\nParameters\n----------\nnames : list of str\n    Of the labels.",
        "Read.\n\nParameters\n----------\nname : str\n    What the file calls it.",
        "Whether a grid has gaps.",
        "Tell which grids have gaps.",
        "Say a number in words.",
        "Readers of grids.\n\nIt is here so that a grid can be read.",
        "Return what 68 % of the errors lie within.",
        "Columns, likewise.",
        "Return that which was read.",
        "Drop such as are not finite.",
        "Take so many rows.",
        "Notes that change when a grid is gone on with.",
    ],
)
def test_riddle_is_found(text):
    assert len(riddles_in(text)) == 1


def test_plain_description_is_no_riddle():
    text = (
        "Return the names.\n\nParameters\n----------\npath : str\n"
        "    File of a grid, such as one that `save` wrote, or the folder\n"
        "    of a grid. Whether it is complete does not matter."
    )
    assert riddles_in(text) == []
