"""Tests of scores of heads for elements, on attention that is made by hand."""

import numpy as np
import pytest
from sklearn.utils import Bunch

from sk_payne.inspection import HeadElementDisplay, head_element_scores

WAVELENGTH = np.linspace(4500, 4520, 401)
LINES = {"Fe": [4503.0, 4508.5, 4511.0], "Mg": [4506.0, 4517.0], "U": [6000.0]}
HALF_WIDTH = 0.12


def near(lines):
    return (np.abs(WAVELENGTH[:, None] - lines) <= HALF_WIDTH).any(axis=1)


def make_attention(seed=0):
    """Two layers of two heads of three tokens; token 2 of layer 7, head 1 marks Mg."""
    logits = np.random.default_rng(seed).normal(size=(2, 2, 3, 401))
    logits[1, 1, 2] += 4 * near(np.array(LINES["Mg"]))
    weights = np.exp(logits)
    return Bunch(
        attention=weights / weights.sum(axis=2, keepdims=True),
        wavelength=WAVELENGTH,
        medium="air",
        layers=np.array([3, 7]),
    )


@pytest.fixture
def scores():
    return head_element_scores(make_attention(), LINES, half_width=HALF_WIDTH)


def test_score_is_the_mean_at_lines_minus_elsewhere(scores):
    weights = make_attention().attention
    z = (weights - weights.mean(axis=-1, keepdims=True)) / weights.std(
        axis=-1, keepdims=True
    )
    for i, name in enumerate(["Fe", "Mg"]):
        window = near(np.array(LINES[name]))
        expected = z[..., window].mean(axis=-1) - z[..., ~window].mean(axis=-1)
        np.testing.assert_allclose(scores.score[..., i], expected, atol=1e-12)


def test_p_values_are_those_of_all_circular_shifts(scores):
    weights, window = make_attention().attention[0, 1], near(np.array(LINES["Fe"]))
    z = (weights - weights.mean(axis=-1, keepdims=True)) / weights.std(
        axis=-1, keepdims=True
    )
    null = np.array(
        [
            z[:, np.roll(window, s)].mean(axis=-1)
            - z[:, ~np.roll(window, s)].mean(axis=-1)
            for s in range(401)
        ]
    )
    expected = (null >= null[0] - 1e-9).mean(axis=0)
    np.testing.assert_allclose(scores.p_value[0, 1, :, 0], expected)
    best = null.max(axis=1)
    assert scores.head_p_value[0, 1, 0] == (best >= best[0] - 1e-9).mean()
    assert scores.head_null_95[0, 1, 0] == pytest.approx(np.quantile(best, 0.95))


def test_the_head_that_marks_an_element_is_first(scores):
    first = scores.table[0]
    assert (first["layer"], first["head"], first["token"]) == (7, 1, 2)
    assert first["element"] == "Mg"
    assert first["p_value"] < 0.02
    assert first["margin"] > 1
    assert first["score"] == scores.head_score[1, 1, 1] == scores.score[1, 1, 2, 1]
    assert (scores.table["q_value"] >= scores.table["p_value"]).all()
    assert len(scores.table) == 8
    assert (np.diff(scores.table["p_value"]) >= 0).all()


def test_p_values_of_noise_are_uniform():
    found = [
        head_element_scores(
            make_attention(seed), {"Fe": LINES["Fe"]}, half_width=HALF_WIDTH
        ).head_p_value[0]
        for seed in range(40)
    ]
    # 80 values: four standard errors of a mean of 1/2
    assert np.mean(found) == pytest.approx(0.5, abs=4 / np.sqrt(12 * 80))


def test_elements_without_lines_in_range_are_left_out(scores):
    assert scores.elements == ["Fe", "Mg"]
    np.testing.assert_array_equal(scores.n_lines, [3, 2])
    np.testing.assert_array_equal(
        scores.n_pixels, [near(np.array(LINES[n])).sum() for n in ("Fe", "Mg")]
    )


def test_uniform_attention_scores_nothing():
    attention = make_attention()
    attention.attention = np.full_like(attention.attention, 1 / 3)
    scores = head_element_scores(attention, LINES)
    assert not scores.score.any()
    assert (scores.head_p_value == 1).all()


def test_bad_lines_and_widths_are_errors():
    attention = make_attention()
    with pytest.raises(ValueError, match="`lines` must have one within the range"):
        head_element_scores(attention, {"U": [6000.0]})
    with pytest.raises(ValueError, match="`half_width` must leave pixels"):
        head_element_scores(attention, LINES, half_width=30)
    with pytest.raises(ValueError, match="`half_width` must be positive, in Å; got 0"):
        head_element_scores(attention, LINES, half_width=0)


def test_map_has_the_scores_and_dots_where_they_are_unlikely(scores, pyplot):
    display = HeadElementDisplay(scores).plot()
    assert display.head_names == ["3.0", "3.1", "7.0", "7.1"]
    np.testing.assert_array_equal(
        display.image_.get_array(), scores.head_score.reshape(4, 2)
    )
    (dots,) = display.ax_.lines
    marked = {(int(x), int(y)) for x, y in dots.get_xydata()}
    row, column = np.nonzero(scores.head_p_value.reshape(4, 2) < 0.01)
    assert marked == set(zip(column.tolist(), row.tolist(), strict=True))
    assert (1, 3) in marked


def test_best_heads_are_drawn_with_the_lines_of_their_element(scores, pyplot):
    attention = make_attention()
    display = HeadElementDisplay(scores).plot_best(attention, LINES, n_best=1)
    (panel,) = display.ax_
    (line,) = panel.lines
    np.testing.assert_array_equal(line.get_ydata(), attention.attention[1, 1, 2])
    (marks,) = panel.collections
    assert [s[0, 0] for s in marks.get_segments()] == LINES["Mg"]
    assert panel.get_title(loc="left").startswith("Mg: layer 7, head 1, token 2")
