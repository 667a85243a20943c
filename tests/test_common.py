"""Tests of every estimator by scikit-learn's own checks."""

import numpy as np
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    check_regressors_train,
    parametrize_with_checks,
)
from torch import nn

from sk_payne import FineTunedEmulator, SpectrumEmulator
from sk_payne.networks import NETWORKS


class OneHiddenLayer(nn.Module):
    """An architecture of a user's own."""

    def __init__(self, n_labels, n_wavelengths, n_hidden=13):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_labels, n_hidden), nn.GELU(), nn.Linear(n_hidden, n_wavelengths)
        )

    def forward(self, labels):
        return self.layers(labels)


def emulator(arch, lr=3e-2, **arch_params):
    # steps and rate with which R² passes 0.5, as check_regressors_train wants
    return SpectrumEmulator(
        arch=arch,
        arch_params=arch_params,
        max_steps=101,
        recipe={"lr": lr},
        device="cpu",
        random_state=0,
    )


def fine_tuned(n_labels, lr=1e-2, **arch_params):
    # a base without names or wavelengths, which takes any number of either
    P = np.random.default_rng(0).uniform(-1, 1, (31, n_labels))
    base = emulator("transformer", width=32, n_layers=1, **arch_params)
    return FineTunedEmulator(
        base.set_params(max_steps=11).fit(P, P[:, :1] + [0.0, 1.0, 2.0]),
        max_steps=211,
        recipe={"lr": lr},
        device="cpu",
        random_state=0,
    )


ESTIMATORS = [
    emulator("payne", n_hidden=13),
    emulator("bigpayne", n_hidden=13),
    emulator("cannon"),
    emulator("convolutional", n_channels=7, n_hidden=13),
    emulator("opacity", lr=1e-2, n_populations=13, n_hidden=13, width=7),
    emulator("transformer", width=32, n_layers=1, n_tokens=2),
    emulator("transformer", residual="post", width=8, n_layers=1, n_tokens=3),
    emulator(OneHiddenLayer),
    fine_tuned(1, n_tokens=2),
]
SMALL = [one.arch for one in ESTIMATORS if isinstance(one, SpectrumEmulator)]
ESTIMATORS += [emulator(arch) for arch in NETWORKS if arch not in SMALL]


@parametrize_with_checks(ESTIMATORS)
def test_estimator_passes_the_check_of_scikit_learn(estimator, check):
    # only this check asks how well a network has learnt; others need a trained one
    if check.func is not check_regressors_train:
        estimator = clone(estimator).set_params(max_steps=5)
    check(estimator)
