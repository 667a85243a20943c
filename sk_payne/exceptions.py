"""The warnings and errors of sk_payne, in one place so that users can catch them.

Every error is also the built-in exception that a caller would expect.
"""

__all__ = [
    "ExtrapolationWarning",
    "FileFormatError",
    "TrainingInterruptedWarning",
    "WavelengthMismatchError",
]


class ExtrapolationWarning(UserWarning):
    """Stellar parameters lie outside the range that an emulator was trained on."""


class TrainingInterruptedWarning(UserWarning):
    """Training was stopped by hand before its last step."""


class WavelengthMismatchError(ValueError):
    """Spectra and emulator do not share enough wavelengths."""


class FileFormatError(ValueError):
    """A file is damaged, of another kind, or of a newer format than this version."""
