"""Tests of what the pages of the site say about the package."""

import ast
import importlib
import inspect
import re
import shutil
import sys
import textwrap
import tomllib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import sk_payne
from sk_payne import networks
from sk_payne.abundances import FLAGS

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


def test_every_flag_is_on_the_page_of_flags_once_with_its_bit():
    page = (DOCS / "flags.rst").read_text(encoding="utf-8")
    told = re.findall(r"^``(\w+)``, bit (\d+)\n   \*Set if\*", page, re.MULTILINE)
    assert sorted(told) == sorted((name, str(bit)) for name, (bit, _) in FLAGS.items())


def code_of(page, heading):
    """Blocks of Python code below a heading of a page, without their indentation."""
    text = (DOCS / page).read_text(encoding="utf-8")
    section = re.split(r"\n(.+)\n-{3,}\n", text)
    below = section[section.index(heading) + 1]
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", below)
    return [textwrap.dedent(block) for block in blocks]


FILES = code_of("contributing.rst", "Add an architecture")


@pytest.fixture(params=FILES, ids=["residual", "film"])
def added(request, tmp_path, monkeypatch):
    """Give the name of an architecture whose file was added to the room of networks."""
    (name,) = re.findall(r'@register_network\("(.*)"\)', request.param)
    room = tmp_path / "room_of_networks"
    room.mkdir()
    (room / f"_{name}.py").write_text(request.param, encoding="utf-8")
    shutil.copy(Path(networks.__file__), room)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("room_of_networks")
    yield name
    del networks.NETWORKS[name]
    for module in [m for m in sys.modules if m.startswith("room_of_networks")]:
        del sys.modules[module]


def test_architecture_of_one_file_is_trained_saved_and_loaded(
    added, make_tiny, tiny_grid, tmp_path
):
    grid = tiny_grid
    emulator = make_tiny(added, max_steps=5).fit(grid.data, grid.target)
    assert emulator.recipe_.loss == "mse"  # as wished
    assert networks.NETWORKS[added].recipe.loss == "mae"
    emulator.save(tmp_path / "model")
    again = sk_payne.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(grid.data), emulator.predict(grid.data))
    at = grid.wavelength[5:9] + 0.01
    assert emulator.predict(grid.data[:2], wavelength=at).shape == (2, 4)


def test_architecture_of_one_file_is_fine_tuned_on_other_labels_and_measures_stars(
    added, make_tiny, tiny_grid
):
    P, F, names = tiny_grid.data, tiny_grid.target, tiny_grid.label_names
    base = make_tiny(added, max_steps=5, label_names=names[:4]).set_params(
        label_units=tiny_grid.label_units[:4]
    )
    base.fit(P[:, :4], F)
    tuned = sk_payne.FineTunedEmulator(
        base,
        wavelength=tiny_grid.wavelength,
        medium=tiny_grid.medium,
        label_names=names,
        max_steps=3,
        device="cpu",
        random_state=0,
    ).fit(P, F)
    assert tuned.predict(P[:2]).shape == (2, 61)
    regressor = sk_payne.AbundanceRegressor(base, snr=100)
    assert regressor.fit(F, P[:, :4]).predict(F[:2]).shape == (2, 4)


def test_files_of_the_page_are_formatted_as_the_package_is():
    for code in FILES:
        assert max(map(len, code.splitlines())) <= 88
        assert ast.get_docstring(ast.parse(code))


def test_table_of_attributes_is_the_contract():
    page = (DOCS / "architectures.rst").read_text(encoding="utf-8")
    table = page.split("attribute or method", 1)[1].split("\n\n")[0]
    found = {
        name
        for line in table.splitlines()
        if line.startswith("``")
        for name in re.findall(r"``(\w+)``", line[:25])
    }
    stated = {n for n in vars(networks.Architecture) if not n.startswith("_")}
    # what nobody replaces, and what comes with `has_tangents`
    rest = {"evaluate", "evaluate_with_jacobian", "at_with_tangents"}
    assert found == stated - rest


@pytest.mark.parametrize("arch", networks.NETWORKS)
def test_options_on_the_page_are_those_of_the_constructor(arch, monkeypatch):
    monkeypatch.syspath_prepend(DOCS / "_extensions")
    tables = importlib.import_module("architecture_tables")
    network = networks.NETWORKS[arch]
    listed = tables.options(network)
    signature = inspect.signature(network).parameters
    assert [name for name, _, _ in listed] == list(signature)[2:]
    for name, kind, description in listed:
        default = signature[name].default
        shown = f'"{default}"' if isinstance(default, str) else default
        # options that follow from the grid share a line without defaults
        assert f"default={shown}" in kind or "default" not in kind
        assert description
    assert tables.summary(network).endswith(".")
