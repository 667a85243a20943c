"""Tests of The Cannon, against its polynomial written out by hand."""

import numpy as np
import torch

from sk_payne.networks import Cannon


def test_forward_is_the_polynomial():
    torch.manual_seed(0)
    module = Cannon(3, 11).double()
    theta, constant = (p.detach().numpy() for p in module.parameters())
    labels = np.random.default_rng(0).normal(size=(5, 3))
    a, b, c = labels.T
    features = [a, b, c, a * a, a * b, a * c, b * b, b * c, c * c]
    expected = constant + np.stack(features, axis=1) @ theta.T
    found = module(torch.from_numpy(labels)).detach().numpy()
    # rounding of float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_one_label_has_a_parabola():
    assert [p.shape for p in Cannon(1, 11).parameters()] == [(11, 2), (11,)]
