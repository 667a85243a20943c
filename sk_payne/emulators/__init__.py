"""Stellar parameters to flux, as scikit-learn estimators."""

from sk_payne.emulators._callbacks import WarmupDecay
from sk_payne.emulators._checkpoint import check_same, read_state, write_state
from sk_payne.emulators._device import resolve_device
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
    "WarmupDecay",
    "check",
    "check_same",
    "from_weights",
    "load",
    "neg_mean_absolute_error",
    "neg_root_mean_squared_error",
    "read_state",
    "ready",
    "resolve_device",
    "write_state",
]
