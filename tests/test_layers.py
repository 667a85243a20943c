"""Tests of the arrows between the rooms: imports point down, and only some reach out.

They read the syntax trees, so that an import inside a function counts as well.
"""

import ast
import sys
from pathlib import Path

import pytest

import sk_payne

ROOT = Path(sk_payne.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

LEVELS = {
    "exceptions": -1,  # on the ground floor with the next, which may import it
    "_checksums": 0,
    "_expansion": 0,
    "_persistence": 0,
    "resumable": 0.5,  # writes whole files with _persistence
    "inputs": 0,
    "networks": 1,
    "spectra": 1,
    "grids": 1,
    "trained": 2,
    "datasets": 2,
    "emulators": 3,
    "abundances": 4,
    "recovery": 4.5,
    "neural_posterior": 4.5,
    "_sharing": 4,
    "exchange": 4,
    "inspection": 5,
    "command": 6,  # draws, with inspection
    "__main__": 7,
    "__init__": 5,
}
# What only some rooms may import, anywhere.
RESERVED = {
    "specutils": {"spectra"},
    "astropy.units": {"inputs", "spectra", "abundances", "grids"},
    "astropy.table": {"spectra", "abundances", "recovery", "grids", "command"},
}
# What takes long to import, or may be absent: only inside functions.
NEVER_AT_TOP_LEVEL = (
    *("specutils", "matplotlib", "h5py", "pandas", "huggingface_hub"),
    *("onnx", "onnxscript", "onnxruntime", "zuko"),
)


def room_of(path):
    first = path.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def imports_of(tree):
    """Names of modules imported in a tree, with `from a import b` as a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} is a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def outside_functions(tree):
    """Yield the statements that are run at import."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from outside_functions(node)


def is_within(module, package):
    return module == package or module.startswith(package + ".")


@pytest.fixture(params=FILES, ids=lambda path: str(path.relative_to(ROOT)))
def source(request):
    path = request.param
    return room_of(path), ast.parse(path.read_text(encoding="utf-8"))


def test_every_room_has_a_level():
    assert {room_of(path) for path in FILES} <= set(LEVELS)


def test_imports_of_the_package_point_down(source):
    room, tree = source
    rooms = {
        module.split(".")[1]
        for module in imports_of(tree)
        if module.startswith("sk_payne.")
    }
    if room in ("__init__", "__main__"):  # `from sk_payne import __version__`
        rooms &= set(LEVELS)
    for other in rooms - {room}:
        assert LEVELS[other] < LEVELS[room], f"{room} imports {other}"


def test_files_below_the_rooms_import_only_exceptions():
    for name in ("exceptions", "_checksums", "_persistence"):
        tree = ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8"))
        ours = {m for m in imports_of(tree) if is_within(m, "sk_payne")}
        assert all(is_within(m, "sk_payne.exceptions") for m in ours)


def test_networks_import_only_torch_the_standard_library_and_our_errors():
    for path in FILES:
        if room_of(path) != "networks":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for module in imports_of(tree):
            top = module.split(".")[0]
            assert (
                top == "torch"
                or top in sys.stdlib_module_names
                or is_within(module, "sk_payne.networks")
                or is_within(module, "sk_payne.exceptions")
            ), f"{path.name} imports {module}"


def test_imports_of_astronomical_containers_stay_in_their_rooms(source):
    room, tree = source
    for module in imports_of(tree):
        for reserved, rooms in RESERVED.items():
            if is_within(module, reserved):
                assert room in rooms, f"{room} imports {module}"


def test_slow_and_optional_packages_are_imported_inside_functions(source):
    _, tree = source
    for node in outside_functions(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for module in imports_of(node):
                assert module.split(".")[0] not in NEVER_AT_TOP_LEVEL


def test_emulators_and_abundances_are_reached_through_their_doors(source):
    # A private file of one room is no business of another.
    room, tree = source
    for module in imports_of(tree):
        parts = module.split(".")
        if parts[0] == "sk_payne" and len(parts) > 2 and parts[1] != room:
            assert not parts[2].startswith("_"), f"{room} imports {module}"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import pandas", ["pandas"]),
        ("from astropy import units", ["astropy", "astropy.units"]),
        ("def f():\n    import h5py", ["h5py"]),
    ],
)
def test_imports_of_sees_every_form(code, found):
    assert list(imports_of(ast.parse(code))) == found


def test_imports_of_rejects_a_relative_import():
    with pytest.raises(AssertionError, match="line 1 is a relative import"):
        list(imports_of(ast.parse("from . import networks")))


def test_outside_functions_sees_classes_and_conditions_but_not_bodies():
    code = "if x:\n  class A:\n    import h5py\ndef f():\n  import pandas"
    seen = [
        module
        for node in outside_functions(ast.parse(code))
        if isinstance(node, ast.Import)
        for module in imports_of(node)
    ]
    assert seen == ["h5py"]
