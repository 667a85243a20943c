"""Looking at a fitted thing: errors of an emulator, fits and measurements of stars."""

from sk_payne.inspection._emulation_error import EmulationErrorDisplay
from sk_payne.inspection._label_covariance import LabelCovarianceDisplay
from sk_payne.inspection._mock_recovery import MockRecoveryDisplay
from sk_payne.inspection._recovery import RecoveryDisplay
from sk_payne.inspection._spectrum_fit import SpectrumFitDisplay

__all__ = [
    "EmulationErrorDisplay",
    "LabelCovarianceDisplay",
    "MockRecoveryDisplay",
    "RecoveryDisplay",
    "SpectrumFitDisplay",
]
