"""Tests of what the pages of the site say about the package."""

import ast
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

import sk_payne

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def text_of(node):
    """Text of a string, with "{}" for what is filled in later."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    return "{}"


@pytest.fixture(scope="module")
def messages():
    """Give all strings of the package."""
    return [
        text_of(node)
        for path in Path(sk_payne.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant | ast.JoinedStr)
    ]


def quoted_headings():
    lines = (DOCS / "faq.rst").read_text(encoding="utf-8").splitlines()
    for line, under in pairwise(lines):
        if under.startswith("~~~"):
            yield from re.findall(r'"([^"]*)"', line.replace("``", "`"))


@pytest.mark.parametrize("heading", list(quoted_headings()))
def test_a_message_in_the_list_of_symptoms_is_one_of_the_package(heading, messages):
    parts = [part for part in heading.split("...") if part.strip()]
    pattern = ".*".join(re.escape(part.strip()) for part in parts)
    assert any(re.search(pattern, message) for message in messages)


def test_every_extra_is_on_the_page_of_installing():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    page = (DOCS / "install.rst").read_text(encoding="utf-8")
    for extra in project["project"]["optional-dependencies"]:
        assert f"``{extra}``" in page
