"""Trained emulators: their parts, predictions, errors and files."""

from sk_payne.trained._blocks import add_rows, row_blocks
from sk_payne.trained._description import (
    Description,
    check_grid,
    check_query,
    resolve_label_names,
    resolve_label_units,
)
from sk_payne.trained._domain import CATEGORIES, Domain, warn_outside
from sk_payne.trained._errors import ErrorModel
from sk_payne.trained._files import arch_name, read_emulator, save_emulator
from sk_payne.trained._fingerprint import TOLERANCE, largest_difference
from sk_payne.trained._folder import FINGERPRINT, REQUIRED
from sk_payne.trained._held_out import HeldOutErrors, error_by_quartile
from sk_payne.trained._label_displacements import LabelDisplacements
from sk_payne.trained._label_errors import LabelErrors
from sk_payne.trained._scaling import Scaling
from sk_payne.trained._torch import TorchEmulator
from sk_payne.trained._trained import TrainedEmulator, Training

__all__ = [
    "CATEGORIES",
    "FINGERPRINT",
    "REQUIRED",
    "TOLERANCE",
    "Description",
    "Domain",
    "ErrorModel",
    "HeldOutErrors",
    "LabelDisplacements",
    "LabelErrors",
    "Scaling",
    "TorchEmulator",
    "TrainedEmulator",
    "Training",
    "add_rows",
    "arch_name",
    "check_grid",
    "check_query",
    "error_by_quartile",
    "largest_difference",
    "read_emulator",
    "resolve_label_names",
    "resolve_label_units",
    "row_blocks",
    "save_emulator",
    "warn_outside",
]
