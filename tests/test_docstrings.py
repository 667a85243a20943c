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

import inspect

import pytest
from numpydoc.validate import validate
from public_names import public_objects
from torch import nn

# Required of everything: well-formed sections in order, a summary that is a sentence.
FORM = {
    *("GL02", "GL03", "GL05", "GL06", "GL07", "GL09", "GL10"),
    *("SS01", "SS03", "SS04", "PR04", "PR06", "PR07", "PR10"),
    *("RT03", "RT05", "SA02", "SA03", "SA04"),
}
# Required of names that users call: parameters as in the signature, and the result.
CONTENT = {"PR01", "PR02", "PR03", "RT01", "YD01"}


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
