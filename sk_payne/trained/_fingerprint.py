"""Fingerprint: stored predictions of a few stars, to compare between machines.

Intact files are not enough, as other versions of software may predict differently.
"""

import json

import numpy as np
import torch

from sk_payne.exceptions import FileFormatError

__all__ = ["TOLERANCE", "largest_difference", "take_fingerprint"]

# Tolerance of float64 predictions between machines, relative to the largest flux: far
# above rounding, far below the error of any emulator.
TOLERANCE = 1e-6

_N_STARS = 5
_N_WAVELENGTHS = 257


def take_fingerprint(trained):
    """Predict the flux of a few stars, in float64 on the CPU.

    Parameters
    ----------
    trained : TrainedEmulator
        The emulator.

    Returns
    -------
    fingerprint : str
        JSON: "labels" of 5 stars in the training box, "columns" of at most 257
        wavelengths, and their "flux".

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.trained._fingerprint import take_fingerprint
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> take_fingerprint(emulator.trained_)[:46]
    '{"label_names": ["label_0"], "columns": [0, 1]'
    """
    low, high = trained.domain.low, trained.domain.high
    place = np.random.default_rng(0).uniform(0.1, 0.9, (_N_STARS, len(low)))
    labels = low + place * (high - low)
    n = trained.description.n_wavelengths
    columns = np.unique(np.linspace(0, n - 1, min(n, _N_WAVELENGTHS)).round())
    columns = columns.astype(int)
    fingerprint = {
        "label_names": list(trained.description.label_names),
        "columns": columns.tolist(),
        "labels": labels.tolist(),
        "flux": _predict(trained, labels, columns).tolist(),
    }
    return json.dumps(fingerprint, allow_nan=False)


def largest_difference(trained, fingerprint):
    """Compare an emulator with its stored predictions.

    Parameters
    ----------
    trained : TrainedEmulator
        The emulator.
    fingerprint : str
        Result of :func:`take_fingerprint`.

    Returns
    -------
    difference : float
        Largest difference of the flux, relative to the largest flux.

    Raises
    ------
    FileFormatError
        If the fingerprint does not belong to this emulator.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.trained import largest_difference
    >>> from sk_payne.trained._fingerprint import take_fingerprint
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> largest_difference(emulator.trained_, take_fingerprint(emulator.trained_))
    0.0
    """
    try:
        fingerprint = json.loads(fingerprint)
        labels = np.array(fingerprint["labels"], np.float64)
        expected = np.array(fingerprint["flux"], np.float64)
        flux = _predict(trained, labels, np.array(fingerprint["columns"], int))
        difference = np.abs(flux - expected).max() / (np.abs(expected).max() or 1.0)
    except (IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"The fingerprint does not fit this emulator: {error}. Save it again."
        ) from error
    return float(difference)


@torch.inference_mode()
def _predict(trained, labels, columns):
    module = trained.to_torch(dtype=torch.float64, device="cpu")
    # one star at a time, as a grid of wavelengths may be long
    return np.stack(
        [module(torch.from_numpy(row[None])).numpy()[0, columns] for row in labels]
    )
