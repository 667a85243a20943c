"""Tests of the domain, against training sets whose shape is known."""

import numpy as np
import pytest
from safetensors.numpy import load, save

from sk_payne.trained import CATEGORIES, Domain

INSIDE, EDGE, OUTSIDE = range(3)


def names_of(n_labels):
    return [f"label_{number}" for number in range(n_labels)]


def domain_of(labels):
    return Domain.from_training(labels, names_of(labels.shape[1]))


def uniform(rng, n, n_labels):
    return rng.uniform(-2, 1, (n, n_labels))


def triangle(rng, n):
    """Two labels of which the first is smaller, and three that don't matter."""
    two = np.sort(rng.uniform(size=(n, 2)), axis=1)
    return np.concatenate([two, rng.uniform(size=(n, 3))], axis=1)


def banana(rng, n):
    x = rng.uniform(-1, 1, n)
    y = x**2 + 0.03 * rng.normal(size=n)
    return np.stack([x, y, rng.uniform(size=n)], axis=1)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def grid():
    """A regular grid of 7 x 9 x 5 nodes."""
    axes = np.linspace(4000, 7000, 7), np.linspace(1, 5, 9), [-2, -1, -0.5, 0, 0.3]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("n_labels", [1, 3, 19])
@pytest.mark.parametrize("n", [50, 307, 1009, 3001])
def test_stars_like_the_training_spectra_are_hardly_ever_outside(n, n_labels, rng):
    outside = empty = 0
    for _ in range(5):
        domain = domain_of(uniform(rng, n, n_labels))
        stars = uniform(rng, 2003, n_labels)
        outside += np.mean(domain.classify(stars) == OUTSIDE) / 5
        boxed = np.clip(stars, domain.low, domain.high)
        empty += np.mean(domain.classify(boxed) > INSIDE) / 5
    # the margin of 99 % may be exceeded at either end of each label
    assert outside < 0.005 + 2 * n_labels * 0.05 / n
    assert empty < 0.01


def test_training_spectra_are_inside(rng):
    for labels in (uniform(rng, 211, 7), triangle(rng, 503), banana(rng, 503)):
        assert (domain_of(labels).classify(labels) == INSIDE).all()


def test_empty_half_of_a_triangle_is_outside_but_for_its_diagonal(rng):
    domain = domain_of(triangle(rng, 1009))
    stars = triangle(rng, 2003)
    stars[:, :2] = stars[:, 1::-1]
    category = domain.classify(stars)
    far = stars[:, 0] - stars[:, 1] > 0.5
    assert (category[far] != INSIDE).all()
    assert (category[far] == OUTSIDE).mean() > 0.8
    assert (category == INSIDE).mean() < 0.35
    corner = np.array([[0.9, 0.1, 0.5, 0.5, 0.5]])
    assert domain.classify(corner) == OUTSIDE


def test_empty_side_of_a_banana_is_outside(rng):
    domain = domain_of(banana(rng, 503))
    stars = np.array([[0.0, 0.9, 0.5], [0.0, 0.0, 0.5], [0.9, 0.81, 0.5]])
    np.testing.assert_array_equal(domain.classify(stars), [OUTSIDE, INSIDE, INSIDE])


def test_empty_cell_next_to_one_with_spectra_is_edge(rng):
    labels = uniform(rng, 2003, 2)
    hole = (np.abs(labels + 0.5) < 0.6).all(axis=1)
    domain = domain_of(labels[~hole])
    line = np.stack([np.linspace(-1.4, -0.5, 50), np.full(50, -0.5)], axis=1)
    category = domain.classify(line)
    # from outside the hole to its middle, through every category
    assert (np.diff(category) >= 0).all()
    assert set(category) == {INSIDE, EDGE, OUTSIDE}


def test_beyond_the_box_is_edge_within_the_margin_and_outside_after(rng):
    domain = domain_of(uniform(rng, 101, 2))
    step = np.array([1.0, 0.0])
    middle = np.array([0.0, domain.low[1:].item() / 2 + domain.high[1:].item() / 2])
    top = middle + step * domain.high
    margin = np.log(100) / 101 * (domain.high - domain.low)[0]
    stars = np.stack([top, top + step * 0.9 * margin, top + step * 1.1 * margin])
    np.testing.assert_array_equal(domain.classify(stars), [INSIDE, EDGE, OUTSIDE])


def test_float32_labels_of_the_training_spectra_are_inside(rng):
    labels = rng.uniform([4000, 0], [6000, 5], (101, 2))
    category = domain_of(labels).classify(labels.astype(np.float32))
    assert (category == INSIDE).all()


def test_label_that_did_not_vary_must_be_equal(rng):
    labels = uniform(rng, 101, 2)
    labels[:, 1] = 4.4
    stars = np.array([[0, 4.4], [0, np.float32(4.4)], [0, 4.401], [0, 4.399]])
    category = domain_of(labels).classify(stars)
    np.testing.assert_array_equal(category, [INSIDE, INSIDE, OUTSIDE, OUTSIDE])


def test_gaps_between_nodes_of_a_grid_are_inside(grid, rng):
    stars = rng.uniform(grid.min(axis=0), grid.max(axis=0), (2003, 3))
    for kept in (grid, rng.permutation(grid)[:101], rng.permutation(grid)[:17]):
        # subsets may end at other nodes
        within = ((stars >= kept.min(axis=0)) & (stars <= kept.max(axis=0))).all(axis=1)
        assert within.any()
        assert (domain_of(kept).classify(stars[within]) == INSIDE).all()


def test_missing_corner_of_a_grid_is_outside_from_its_second_node_on(grid):
    domain = domain_of(grid[(grid[:, 0] <= 5500) | (grid[:, 1] >= 2.5)])
    stars = np.array([[7000, 1, 0], [6000, 1, 0], [5500, 1, 0], [7000, 2.5, 0]])
    expected = [OUTSIDE, EDGE, INSIDE, INSIDE]
    np.testing.assert_array_equal(domain.classify(stars), expected)


def test_nodes_that_differ_by_rounding_are_one():
    nodes = np.repeat([0.3, 0.1 + 0.2, 0.7], 5)
    other = np.tile(np.arange(5.0), 3)
    assert (domain_of(np.stack([nodes, other], axis=1)).bin_edges[0] < 1).sum() == 1


def test_labels_that_often_have_one_value_keep_all_their_spectra_inside(rng):
    labels = uniform(rng, 1009, 3)
    labels[:700, 0] = 0.5
    stars = uniform(rng, 2003, 3)
    stars[:1400, 0] = 0.5
    assert np.mean(domain_of(labels).classify(stars) > INSIDE) < 0.02


def test_what_is_not_a_number_is_outside(rng):
    stars = np.full((3, 2), -0.5)
    stars[:, 1] = np.nan, np.inf, -np.inf
    assert (domain_of(uniform(rng, 101, 2)).classify(stars) == OUTSIDE).all()


def test_categories_are_named_by_their_numbers_and_of_one_byte(rng):
    category = domain_of(uniform(rng, 101, 2)).classify(np.array([[-0.5, -0.5]]))
    assert category.dtype == np.int8
    assert CATEGORIES[INSIDE] == "inside"
    assert CATEGORIES[EDGE] == "edge"
    assert CATEGORIES[OUTSIDE] == "outside"
    assert CATEGORIES[category.item()] == "inside"


def test_explain_names_the_pair_that_is_empty(rng):
    domain = domain_of(triangle(rng, 1009))
    (reason,) = domain.explain([0.9, 0.1, 0.5, 0.5, 0.5])
    assert reason.startswith("outside: no training spectra")
    assert "label_0 = 0.9 with label_1 = 0.1" in reason


def test_explain_names_a_label_beyond_the_box_and_not_its_pairs(rng):
    domain = domain_of(triangle(rng, 1009))
    just = domain.high[3] * 1.0001
    reasons = domain.explain([0.3, 0.6, 7.0, just, 0.5])
    assert len(reasons) == 2
    assert reasons[0].startswith("outside: label_2 = 7 is beyond 0.00")
    assert reasons[1].startswith("edge: label_3 =")


def test_explain_has_a_reason_exactly_for_stars_that_are_not_inside(rng):
    domain = domain_of(triangle(rng, 307))
    stars = rng.uniform(-0.1, 1.1, (211, 5))
    for star, category in zip(stars, domain.classify(stars), strict=True):
        worst = [reason.split(":")[0] for reason in domain.explain(star)[:1]]
        assert worst == ([CATEGORIES[category]] if category else [])


@pytest.mark.parametrize("n_labels", [1, 4])
def test_arrays_of_a_domain_survive_a_file(n_labels, rng):
    domain = domain_of(uniform(rng, 307, n_labels))
    state = dict(vars(domain))
    names = state.pop("label_names")
    again = Domain(label_names=names, **load(save(state)))
    stars = rng.uniform(-2.5, 1.5, (211, n_labels))
    np.testing.assert_array_equal(again.classify(stars), domain.classify(stars))


def test_state_of_many_labels_is_small(rng):
    domain = domain_of(uniform(rng, 20011, 30))
    assert sum(getattr(domain, name).nbytes for name in ("bin_edges", "cells")) < 2**19


def test_one_training_spectrum_is_all_there_is():
    domain = domain_of(np.array([[5000.0, 4.5]]))
    category = domain.classify(np.array([[5000.0, 4.5], [5001.0, 4.5]]))
    np.testing.assert_array_equal(category, [INSIDE, OUTSIDE])


def test_no_stars_have_no_categories(rng):
    assert domain_of(uniform(rng, 101, 2)).classify(np.empty((0, 2))).shape == (0,)


def test_domain_and_stars_leave_the_arrays_of_the_caller_alone(rng):
    labels = uniform(rng, 101, 3)
    kept = labels.copy()
    domain_of(labels).classify(labels)
    np.testing.assert_array_equal(labels, kept)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(2), "columns a, b"),
        (np.zeros((5, 3)), "columns a, b"),
        (np.empty((0, 2)), "at least one spectrum"),
        (np.array([[1, np.nan]]), "finite"),
    ],
)
def test_from_training_rejects_what_is_no_training_set(labels, message):
    with pytest.raises(ValueError, match=message):
        Domain.from_training(labels, ["a", "b"])


def test_classify_and_explain_reject_another_number_of_labels(rng):
    domain = domain_of(uniform(rng, 101, 2))
    with pytest.raises(ValueError, match="columns label_0, label_1"):
        domain.classify(np.zeros((5, 3)))
    with pytest.raises(ValueError, match="columns label_0, label_1"):
        domain.explain([0.0, 0.0, 0.0])
