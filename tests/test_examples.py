"""Tests of the examples of the gallery, run as notebooks run them: cell by cell."""

import ast
import re
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "docs/examples").glob("plot_*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_as_a_notebook(path, pyplot, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # whatever an example writes
    cells = re.split(r"^# %%\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = {"__name__": "__main__"}
    n_figures = 0
    for number, cell in enumerate(cells):
        exec(compile(cell, f"{path.name}, cell {number}", "exec"), names)
        n_figures += len(pyplot.get_fignums())
        pyplot.close("all")  # as a notebook does after each cell
    assert n_figures > 0


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_begins_with_a_title_and_a_story(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    title, line, _, story = text.split("\n", 3)
    assert line == "=" * len(title)
    assert story
