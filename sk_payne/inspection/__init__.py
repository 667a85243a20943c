"""Pictures, numbers and pages about emulators, fits and measurements of stars."""

from sk_payne.inspection._attention import AttentionDisplay, attention_maps
from sk_payne.inspection._best_windows import BestWindowsDisplay, best_windows
from sk_payne.inspection._calibration import CalibrationDisplay
from sk_payne.inspection._catalogue_report import catalogue_report
from sk_payne.inspection._cramer_rao import CramerRaoDisplay, cramer_rao
from sk_payne.inspection._emulation_error import EmulationErrorDisplay
from sk_payne.inspection._head_elements import HeadElementDisplay, head_element_scores
from sk_payne.inspection._label_covariance import LabelCovarianceDisplay
from sk_payne.inspection._mock_recovery import MockRecoveryDisplay
from sk_payne.inspection._quality import emulation_quality
from sk_payne.inspection._quality_display import EmulationQualityDisplay
from sk_payne.inspection._recovery import RecoveryDisplay
from sk_payne.inspection._report import emulator_report
from sk_payne.inspection._sensitivity import SensitivityDisplay, sensitivity
from sk_payne.inspection._spectrum_fit import SpectrumFitDisplay
from sk_payne.inspection._token_response import TokenResponseDisplay, token_response
from sk_payne.inspection._training_curve import TrainingCurveDisplay

__all__ = [
    "AttentionDisplay",
    "BestWindowsDisplay",
    "CalibrationDisplay",
    "CramerRaoDisplay",
    "EmulationErrorDisplay",
    "EmulationQualityDisplay",
    "HeadElementDisplay",
    "LabelCovarianceDisplay",
    "MockRecoveryDisplay",
    "RecoveryDisplay",
    "SensitivityDisplay",
    "SpectrumFitDisplay",
    "TokenResponseDisplay",
    "TrainingCurveDisplay",
    "attention_maps",
    "best_windows",
    "catalogue_report",
    "cramer_rao",
    "emulation_quality",
    "emulator_report",
    "head_element_scores",
    "sensitivity",
    "token_response",
]
