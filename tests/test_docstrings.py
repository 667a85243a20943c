"""Tests of the docstrings of everything public, by numpydoc.

Not asked for, with reasons:

- EX01 (examples) of methods: the example of the class shows them;
- SA01 (See Also) and ES01 (extended summary): only where there is something to say;
- GL01 (summary on the second line): ours starts on the first, as pydocstyle wants;
- GL08 (no docstring): ruff's D rules see to it, for private code as well;
- PR08, SS02, SS05, SS06: style of wording, which D401 of ruff covers where it matters;
- RT04 (capital letter): a formula may come first;
- RT02 (name of a single returned value): names of results are user interface here.
"""

import importlib
import inspect

import pytest
from numpydoc.validate import validate
from torch import nn

ROOMS = [
    "sk_payne",
    "sk_payne._checksums",
    "sk_payne._persistence",
    "sk_payne.abundances",
    "sk_payne.datasets",
    "sk_payne.emulators",
    "sk_payne.exceptions",
    "sk_payne.exchange",
    "sk_payne.grids",
    "sk_payne.inputs",
    "sk_payne.inspection",
    "sk_payne.networks",
    "sk_payne.neural_posterior",
    "sk_payne.resumable",
    "sk_payne.spectra",
    "sk_payne.trained",
]
# Of everything: sections in order and well formed, a summary that is a sentence.
FORM = {
    *("GL02", "GL03", "GL05", "GL06", "GL07", "GL09", "GL10"),
    *("SS01", "SS03", "SS04", "PR04", "PR06", "PR07", "PR10"),
    *("RT03", "RT05", "SA02", "SA03", "SA04"),
}
# Of what users call: parameters that are those of the signature, and the result.
CONTENT = {"PR01", "PR02", "PR03", "RT01", "YD01"}


def public_objects():
    """Yield the full name and the object of each public class, function, method."""
    seen = set()
    for room_name in ROOMS:
        room = importlib.import_module(room_name)
        for name in getattr(room, "__all__", []):
            value = getattr(room, name)
            if not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            full = f"{value.__module__}.{value.__qualname__}"
            if full in seen or not full.startswith("sk_payne."):
                continue
            seen.add(full)
            yield full, value
            if inspect.isclass(value):
                yield from methods_of(full, value)


def methods_of(full, cls):
    for name, value in vars(cls).items():
        plain = getattr(value, "__func__", value)  # of a class method
        if not name.startswith("_") and (
            inspect.isfunction(plain) or isinstance(value, property)
        ):
            yield f"{full}.{name}", plain


PUBLIC = dict(public_objects())


BELOW_THE_ROOMS = (
    "sk_payne._checksums",
    "sk_payne._persistence",
    "sk_payne.exceptions",
)
# Functions and classes that users call; not those below the rooms.
CALLED = [
    name
    for name in PUBLIC
    if name.rpartition(".")[0] not in PUBLIC and not name.startswith(BELOW_THE_ROOMS)
]


def is_method_of_a_module(name):
    """Methods of torch modules have tensors by the legend of their class."""
    owner = PUBLIC.get(name.rpartition(".")[0])
    return inspect.isclass(owner) and issubclass(owner, nn.Module)


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_is_valid_and_agrees_with_the_signature(name):
    checked = FORM if is_method_of_a_module(name) else FORM | CONTENT
    problems = [
        problem for problem in validate(name)["errors"] if problem[0] in checked
    ]
    assert problems == []


@pytest.mark.parametrize("name", CALLED)
def test_docstring_has_an_example(name):
    assert "EX01" not in [code for code, _ in validate(name)["errors"]]


@pytest.mark.parametrize(
    "name", [name for name, value in PUBLIC.items() if inspect.isclass(value)]
)
def test_docstring_of_a_class_is_the_only_one_of_its_constructor(name):
    constructor = vars(PUBLIC[name]).get("__init__")
    assert constructor is None or not constructor.__doc__


def test_validation_sees_a_parameter_that_is_missing():
    # so that the tests above cannot pass for want of looking
    codes = [code for code, _ in validate(f"{__name__}.has_a_fault")["errors"]]
    assert {"PR01", "RT01"} <= set(codes)


def has_a_fault(x):
    """Return it."""
    return x
