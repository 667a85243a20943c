"""Tests of scores in blocks: those of scikit-learn, whatever the size of the block."""

import numpy as np
import pandas
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import get_scorer, r2_score

from sk_payne.emulators import neg_mean_absolute_error, neg_root_mean_squared_error
from sk_payne.emulators._scores import r2_in_blocks
from sk_payne.grids import RowView

RNG = np.random.default_rng(0)
P = RNG.normal(size=(37, 3))
F = 1 + np.sin(P @ RNG.normal(size=(3, 11)))
F[:, 4] = 1.0  # continuum in every spectrum


@pytest.fixture(params=[1, 11, 60, 2**23])
def any_block(request, monkeypatch):
    monkeypatch.setattr("sk_payne.trained._blocks._FLUX_BLOCK", request.param)


@pytest.fixture(scope="module")
def model():
    return LinearRegression().fit(P[:20], F[:20])


@pytest.mark.parametrize(
    "scorer", [neg_mean_absolute_error, neg_root_mean_squared_error]
)
def test_scorer_is_that_of_scikit_learn(any_block, model, scorer):
    expected = get_scorer(scorer.__name__)(model, P, F)
    assert scorer(model, P, F) == pytest.approx(expected, rel=1e-12)
    assert scorer(model, P, RowView(F)) == pytest.approx(expected, rel=1e-12)


def test_scorer_takes_a_data_frame(any_block):
    frame = pandas.DataFrame(P, columns=["teff", "logg", "Fe_H"])
    model = LinearRegression().fit(frame, F)
    expected = get_scorer("neg_mean_absolute_error")(model, frame, F)
    assert neg_mean_absolute_error(model, frame, F) == pytest.approx(expected)


def test_scorer_wants_a_star_for_each_spectrum(model):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        neg_mean_absolute_error(model, P[:-1], F)


@pytest.mark.parametrize("weighted", [False, True])
def test_r2_in_blocks_is_that_of_scikit_learn(any_block, model, weighted):
    weight = RNG.uniform(size=37) if weighted else None
    predicted = model.predict(P)
    if not weighted:  # weighted, scikit-learn's mean of ones is not one
        predicted[:, 4] += 1e-3
    found = r2_in_blocks(lambda rows: predicted[rows], RowView(F), weight)
    expected = r2_score(
        F, predicted, sample_weight=weight, multioutput="variance_weighted"
    )
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_r2_in_blocks_of_flux_that_does_not_vary(any_block, error):
    flux = np.ones((7, 3))
    found = r2_in_blocks(lambda rows: flux[rows] + error, flux, None)
    assert found == r2_score(flux, flux + error, multioutput="variance_weighted")
