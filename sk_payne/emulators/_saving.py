"""Saving of emulators: everything that a stranger needs.

It is here to say what of an emulator is kept, in tensors and in words.
"""

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from sk_payne._persistence import encode_file, write_file
from sk_payne.emulators._fingerprint import take_fingerprint
from sk_payne.emulators._folder import CARD, FINGERPRINT, WEIGHTS, write_folder
from sk_payne.emulators._model_card import model_card

__all__ = ["ARRAYS", "KIND", "arch_name", "save_emulator"]

KIND = "SpectrumEmulator"
_LIBRARIES = ("sk_payne", "torch", "numpy", "scikit-learn", "skorch")

# Fitted attributes by how they are kept: as tensors (None where absent), or in JSON.
ARRAYS = (
    "wavelength_",
    "resolving_power_",
    "held_out_mae_",
    "held_out_rms_",
    "held_out_label_edges_",
    "held_out_label_mae_",
)
_VALUES = (
    "arch_params_",
    "label_names_",
    "label_units_",
    "medium_",
    "n_features_in_",
    "n_outputs_",
    "n_training_",
    "n_held_out_",
    "n_steps_",
    "history_",
    "provenance_",
)


def save_emulator(emulator, path, provenance=None):
    """Write a fitted emulator to a file, or to a folder with all that goes with it.

    Parameters
    ----------
    emulator : BaseEmulator
        Fitted.
    path : str or path-like
        A file if it ends in ".safetensors", else a folder.
    provenance : dict, default=None
        What JSON can hold, added to what a loaded emulator has; "saved" and
        "versions" are added.

    Raises
    ------
    TypeError
        If the provenance is not plain values.
    FileExistsError
        If the folder is not one for an emulator.
    """
    provenance = _complete(provenance, emulator.provenance_)
    tensors, description = _describe(emulator, provenance)
    if Path(path).suffix == ".safetensors":
        write_file(path, tensors, description)
        return
    contents = {
        WEIGHTS: encode_file(tensors, description),
        CARD: model_card(emulator, provenance).encode(),
        FINGERPRINT: take_fingerprint(emulator).encode(),
    }
    write_folder(path, contents)


def _complete(provenance, known):
    provenance = {
        **known,
        **(provenance or {}),
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in _LIBRARIES}
        | {"python": platform.python_version()},
    }
    try:
        return json.loads(json.dumps(provenance, default=_to_builtin, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(
            "`provenance` must be a dict of strings, finite numbers, lists and dicts; "
            f"got {provenance!r}. Turn other things into text."
        ) from error


def _describe(emulator, provenance):
    """Tensors and the JSON of an emulator."""
    tensors = {
        f"network.{name}": array for name, array in emulator._network_state().items()
    }
    scaling = emulator._scaling
    for name in ("label_center", "label_half_width", "flux_offset"):
        tensors[f"scaling.{name}"] = getattr(scaling, name)
    for name in ARRAYS:
        value = getattr(emulator, name)
        if value is not None:
            # a number may be infinite, which JSON does not have
            tensors[f"attribute.{name}"] = np.asarray(value)
    for name, part in (("domain", emulator._domain), ("errors", emulator._errors)):
        for key, value in vars(part).items() if part is not None else ():
            if isinstance(value, np.ndarray):
                tensors[f"{name}.{key}"] = value
    kept = {name: getattr(emulator, name) for name in _VALUES if name != "provenance_"}
    description = {
        "kind": KIND,
        "arch": arch_name(emulator.arch_),
        "attributes": _plain(kept) | {"provenance_": provenance},
        "dataframe": hasattr(emulator, "feature_names_in_"),
        "flux_scale": scaling.flux_scale,
        "recipe": emulator.recipe_.to_dict(),
        "seed": _plain(emulator.random_state),
        "validation_fraction": emulator.validation_fraction,
    }
    return tensors, description


def arch_name(arch):
    """Name of an architecture in a file.

    Parameters
    ----------
    arch : str or type
        Registered, or a class of the user's own.

    Returns
    -------
    name : str
        Of the class with its module, if it is one.
    """
    return arch if isinstance(arch, str) else f"{arch.__module__}.{arch.__qualname__}"


def _plain(value):
    """Give a value in types that JSON has; None for what it cannot hold."""
    try:
        return json.loads(json.dumps(value, default=_to_builtin))
    except TypeError:
        return None


def _to_builtin(value):
    if isinstance(value, np.generic | np.ndarray | torch.Tensor):
        return value.tolist()
    raise TypeError(type(value).__name__)
