"""Warnings and errors of sk_payne.

Each derives from the closest built-in warning or error.
"""

import difflib

__all__ = [
    "ExtrapolationWarning",
    "FileFormatError",
    "FluxLevelWarning",
    "ResolutionWarning",
    "TrainingInterruptedWarning",
    "UnreadColumnWarning",
    "WavelengthMismatchError",
]


class ExtrapolationWarning(UserWarning):
    """Stellar parameters lie outside the range that an emulator was trained on."""


class TrainingInterruptedWarning(UserWarning):
    """Training was stopped by hand before its last step."""


class FluxLevelWarning(UserWarning):
    """Flux is far from that of an emulator, and no continuum is fitted."""


class ResolutionWarning(UserWarning):
    """Spectra state no resolving power, though the emulator knows its own."""


class UnreadColumnWarning(UserWarning):
    """A file has columns or images that may be errors or masks and were not read."""


class WavelengthMismatchError(ValueError):
    """Spectra and emulator do not share enough wavelengths."""


class FileFormatError(ValueError):
    """A file is damaged, of another kind, or of a newer format than this version."""


def did_you_mean(word, known):
    """Suggest a correction of a misspelt word, for error messages.

    Parameters
    ----------
    word : object
        The unknown word.
    known : list of str
        Allowed words.

    Returns
    -------
    hint : str
        Empty, or a sentence that begins with a blank.

    Examples
    --------
    >>> from sk_payne.exceptions import did_you_mean
    >>> did_you_mean("Fe_h", ["teff", "Fe_H"])
    " Did you mean 'Fe_H'?"
    """
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
