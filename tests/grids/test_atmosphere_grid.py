"""Atmospheres between the nodes are smooth, and exact at them.

It is here because an emulator learns every kink of the atmospheres.
"""

import hashlib
import math
import struct

import numpy as np
import pytest

from sk_payne.grids import AtmosphereGrid

METALLICITY = np.array([-2.0, -1.0, -0.5, 0.0, 0.5])
LOG_G = np.array([3.5, 4.0, 4.5, 5.0])
TEFF = np.array([4000.0, 4500.0, 5000.0, 5500.0, 6000.0])


def truth(teff, log_g, metallicity):
    """Models whose logarithms are cubic in every label."""
    x, y, z = (teff - 5000) / 1000, log_g - 4.5, metallicity
    depth = np.arange(1, 4)[:, None]
    column = np.arange(1, 5)
    return np.exp(0.1 * (x**3 - x * y**3 + z**3 * y) + 0.2 * x * depth * column)


def layers():
    return np.array(
        [[[truth(t, g, m) for t in TEFF] for g in LOG_G] for m in METALLICITY]
    )


@pytest.fixture(scope="module")
def grid():
    return AtmosphereGrid(METALLICITY, LOG_G, TEFF, layers())


@pytest.mark.parametrize(
    "star", [(4500.0, 4.0, -0.5), (6000.0, 5.0, 0.5), (5777.0, 4.44, 0.03)]
)
def test_cubic_models_are_exact_at_nodes_and_between(grid, star):
    np.testing.assert_allclose(grid(*star), truth(*star), rtol=1e-12)


def test_slope_does_not_jump_at_a_node(grid):
    step = 1e-2
    below, at, above = (grid(5000 + d, 4.3, -0.7) for d in (-step, 0, step))
    np.testing.assert_allclose((above - at) / (at - below), 1, atol=1e-4)


@pytest.mark.parametrize(
    ("star", "message"),
    [
        ((3999.0, 4.0, 0.0), "`teff` must lie within 4000 to 6000, .* got 3999"),
        ((5000.0, 5.1, 0.0), "`log_g` must lie within"),
        ((5000.0, 4.0, np.nan), "`metallicity` must lie within"),
    ],
)
def test_star_outside_the_grid_is_an_error(grid, star, message):
    with pytest.raises(ValueError, match=message):
        grid(*star)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((METALLICITY[:4], LOG_G, TEFF, layers()), "`metallicity` must increase"),
        ((METALLICITY, LOG_G[::-1], TEFF, layers()), "`log_g` must increase"),
        ((METALLICITY, LOG_G, TEFF[:3], layers()[:, :, :3]), "`teff` .* at least four"),
        ((METALLICITY, LOG_G, TEFF, layers()[..., :3]), r"got \(5, 4, 5, 3, 3\)"),
        ((METALLICITY, LOG_G, TEFF, -layers()), "finite and positive"),
    ],
)
def test_layers_that_do_not_fit_are_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        AtmosphereGrid(*arguments)


def test_checksum_is_the_same_on_processors_whose_vectors_round_differently():
    digest = hashlib.sha256()
    for nodes in (METALLICITY, LOG_G, TEFF):
        digest.update(nodes.tobytes())
    for value in layers().flat:
        digest.update(struct.pack("d", math.log(value)))
    grid = AtmosphereGrid(METALLICITY, LOG_G, TEFF, layers())
    assert grid.to_dict()["sha256"] == digest.hexdigest()
