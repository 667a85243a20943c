"""Check of an emulator that is to be written."""

from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

__all__ = ["open_emulator"]


def open_emulator(emulator):
    """Check that an emulator is one of ours, and fitted.

    Parameters
    ----------
    emulator : estimator
        A `FrozenEstimator` is opened.

    Returns
    -------
    emulator : SpectrumEmulator or FineTunedEmulator
        The same one.

    Raises
    ------
    TypeError
        If it is something else.
    NotFittedError
        If it is not fitted.

    Examples
    --------
    >>> from sk_payne.exchange._opened import open_emulator
    >>> open_emulator("my_model.safetensors")
    Traceback (most recent call last):
        ...
    TypeError: `emulator` must be a SpectrumEmulator or FineTunedEmulator; got str.
    """
    while isinstance(emulator, FrozenEstimator):
        emulator = emulator.estimator
    if not hasattr(emulator, "to_torch"):
        raise TypeError(
            "`emulator` must be a SpectrumEmulator or FineTunedEmulator; got "
            f"{type(emulator).__name__}."
        )
    check_is_fitted(emulator)
    return emulator
