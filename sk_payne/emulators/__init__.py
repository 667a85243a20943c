"""Stellar parameters to flux, as scikit-learn estimators."""

from sk_payne.emulators._emulator import SpectrumEmulator
from sk_payne.emulators._fine_tuned import FineTunedEmulator
from sk_payne.emulators._loading import check, from_weights, load
from sk_payne.emulators._ready import ReadyEmulator, ready
from sk_payne.emulators._scores import (
    neg_mean_absolute_error,
    neg_root_mean_squared_error,
)
from sk_payne.networks import Recipe
from sk_payne.trained import TorchEmulator

__all__ = [
    "FineTunedEmulator",
    "ReadyEmulator",
    "Recipe",
    "SpectrumEmulator",
    "TorchEmulator",
    "check",
    "from_weights",
    "load",
    "neg_mean_absolute_error",
    "neg_root_mean_squared_error",
    "ready",
]
