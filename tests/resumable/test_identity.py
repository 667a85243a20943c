"""Identity: whatever differs is named, and whatever is equal is the same."""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy import units as u
from sklearn.linear_model import Ridge

from sk_payne.resumable import describe, difference, digest


class Stage:
    """Something with attributes, one of which is an array."""

    def __init__(self, template):
        self.template = template
        self.owner = self

    def multiply(self, flux):
        return flux * self.template


LONG = np.linspace(0, 1, 1201)
CHANGED = np.where((LONG > 0.2) & (LONG < 0.8), 0.5, LONG)  # repr shows neither end

UNEQUAL = {
    "long arrays": (LONG, CHANGED),
    "precisions": (LONG, LONG.astype(np.float32)),
    "shapes": (np.zeros((3, 5)), np.zeros((5, 3))),
    "long lists": (LONG.tolist(), CHANGED.tolist()),
    "arrays in a dictionary": ({"Fe_H": (LONG, 1.0)}, {"Fe_H": (CHANGED, 1.0)}),
    "arrays of objects": (np.array([LONG, 1], object), np.array([CHANGED, 1], object)),
    "units": (3 * u.km / u.s, 3 * u.m / u.s),
    "quantities": (LONG * u.AA, CHANGED * u.AA),
    "masks": (np.ma.array(LONG), np.ma.array(LONG, mask=LONG > 0.5)),
    "tensors": (torch.tensor(LONG), torch.tensor(CHANGED)),
    "parameters": (Ridge(alpha=1), Ridge(alpha=2)),
    "parameters inside": (Ridge(alpha=LONG), Ridge(alpha=CHANGED)),
    "attributes": (Stage(LONG), Stage(CHANGED)),
    "weights": (torch.nn.Linear(3, 5), torch.nn.Linear(3, 5)),
    "functions": (np.sin, np.cos),
    "partial functions": (partial(np.sin, 1), partial(np.sin, 2)),
    "methods": (Stage(LONG).multiply, Stage(CHANGED).multiply),
    "sets": ({1, 2}, {1, 3}),
    "numbers": (1.0, np.nan),
}


@pytest.mark.parametrize("name", UNEQUAL)
def test_what_differs_is_described_differently(name):
    one, other = (describe(value) for value in UNEQUAL[name])
    assert difference(one, other, "x").startswith("`x")
    assert digest(UNEQUAL[name][0]) != digest(UNEQUAL[name][1])


@pytest.mark.parametrize("name", UNEQUAL)
def test_description_goes_through_json(name):
    for value in UNEQUAL[name]:
        described = describe(value)
        assert difference(json.loads(json.dumps(described)), described) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LONG, LONG.copy()),
        ((0, 40), np.array([0, 40])),
        (np.float64(0.5), 0.5),
        (Stage(LONG), Stage(LONG.copy())),
        (Path("a/b"), "a/b"),
        (LONG[::2], LONG[::2].copy()),
        (np.random.default_rng(0), np.random.default_rng(1)),
    ],
)
def test_what_is_equal_is_described_alike(one, other):
    assert difference(describe(one), describe(other)) is None


def test_difference_names_the_parameter_of_the_object_inside():
    one, other = (
        describe({"observation": Ridge(alpha={"vsini": power})})
        for power in (LONG, CHANGED)
    )
    named = r"`regressor.observation.alpha.vsini`: 'float64 of shape \(1201,\), "
    assert re.match(named, difference(one, other, "regressor"))
