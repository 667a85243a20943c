"""Files of trained emulators: tensors and JSON, which execute no code when read."""

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from sk_payne._checksums import verify_folder
from sk_payne._persistence import encode_file, read_file, write_file
from sk_payne.exceptions import FileFormatError
from sk_payne.networks import NETWORKS, OPTIMIZERS, Recipe
from sk_payne.trained._description import Description
from sk_payne.trained._domain import Domain
from sk_payne.trained._errors import ErrorModel
from sk_payne.trained._fingerprint import take_fingerprint
from sk_payne.trained._folder import CARD, FINGERPRINT, REQUIRED, WEIGHTS, write_folder
from sk_payne.trained._held_out import HeldOutErrors
from sk_payne.trained._label_errors import LabelErrors
from sk_payne.trained._model_card import model_card
from sk_payne.trained._scaling import Scaling
from sk_payne.trained._trained import TrainedEmulator, Training

__all__ = ["arch_name", "read_emulator", "save_emulator"]

_KIND = "SpectrumEmulator"
_LIBRARIES = ("sk_payne", "torch", "numpy", "scikit-learn", "skorch")
# Fields of HeldOutErrors by their names in a file.
_HELD_OUT = {
    "mae": "held_out_mae_",
    "rms": "held_out_rms_",
    "label_edges": "held_out_label_edges_",
    "label_mae": "held_out_label_mae_",
}


def save_emulator(trained, path, provenance=None):
    """Write a trained emulator to a file, or to a folder with card and fingerprint.

    Parameters
    ----------
    trained : TrainedEmulator
        The emulator.
    path : str or path-like
        A file if it ends in ".safetensors", otherwise a folder.
    provenance : dict, default=None
        Plain values to add to the provenance of the emulator; "saved" and "versions"
        are always added.

    Raises
    ------
    TypeError
        If the provenance holds other than plain values.
    FileExistsError
        If the folder holds other files than an emulator.

    Examples
    --------
    >>> import tempfile
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.trained import read_emulator, save_emulator
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_emulator(emulator.trained_, f"{folder}/tiny.safetensors")
    ...     read_emulator(f"{folder}/tiny.safetensors").training.n_steps
    2
    """
    trained = trained.with_provenance(_complete(provenance, trained.provenance))
    tensors, header = _encode(trained)
    if Path(path).suffix == ".safetensors":
        write_file(path, tensors, header)
        return
    contents = {
        WEIGHTS: encode_file(tensors, header),
        CARD: model_card(trained).encode(),
        FINGERPRINT: take_fingerprint(trained).encode(),
    }
    write_folder(path, contents)


def read_emulator(path, *, arch=None):
    """Read a trained emulator; no code of the file is executed.

    Parameters
    ----------
    path : str or path-like
        The file, or the folder, whose files must have their SHA-256.
    arch : type, default=None
        Class of the network (``nn.Module``), if it is not one of sk_payne.

    Returns
    -------
    trained : TrainedEmulator
        On the CPU; its predictions equal those of the saved emulator.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file is damaged, of another kind or of a newer format, or needs `arch`;
        if a file of the folder is missing, damaged or was changed.

    Examples
    --------
    >>> from sk_payne.trained import read_emulator
    >>> read_emulator("nowhere.safetensors")
    Traceback (most recent call last):
    FileNotFoundError: `path` must be a file or folder that `save` wrote; ...
    """
    path = Path(path)
    if path.is_dir():
        verify_folder(path, REQUIRED)
        path = path / WEIGHTS
    tensors, header = read_file(path)
    if header.get("kind") != _KIND:
        raise FileFormatError(
            f"'{path}' holds a {header.get('kind')!r}, not a {_KIND!r}."
        )
    if not isinstance(header.get("arch"), str):
        raise FileFormatError(
            f"'{path}' is damaged: its header does not name the architecture. Save the "
            "emulator again."
        )
    arch = _resolve_arch(path, header["arch"], arch)
    try:
        return _decode(tensors, header, arch)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"'{path}' describes a model that cannot be built here: {error}. Save it "
            "again with this version, or install the version that wrote it: "
            f"{_provenance(header)}."
        ) from error


def arch_name(arch):
    """Return the name of an architecture in a file.

    Parameters
    ----------
    arch : str or type
        Registered name, or a class.

    Returns
    -------
    name : str
        Registered name, or module and name of the class.

    Examples
    --------
    >>> from sk_payne.trained import arch_name
    >>> arch_name("payne")
    'payne'
    """
    return arch if isinstance(arch, str) else f"{arch.__module__}.{arch.__qualname__}"


def _complete(provenance, earlier):
    provenance = {
        **earlier,
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
            f"got {provenance!r}. Convert other values to text."
        ) from error


def _encode(trained):
    """Return the tensors and the JSON header of an emulator."""
    description, training = trained.description, trained.training
    tensors = {f"network.{name}": array for name, array in trained.weights.items()}
    for name in ("label_center", "label_half_width", "flux_offset"):
        tensors[f"scaling.{name}"] = getattr(trained.scaling, name)
    # tensors, as a resolving power may be infinite, which JSON cannot hold
    attributes = {
        "wavelength_": description.wavelength,
        "resolving_power_": description.resolving_power,
    }
    parts = {"domain": trained.domain}
    if trained.held_out is not None:
        parts["errors"] = trained.held_out.model
        if trained.held_out.label_errors is not None:
            parts["label_errors"] = trained.held_out.label_errors
        attributes |= {
            name: getattr(trained.held_out, field) for field, name in _HELD_OUT.items()
        }
    for name, value in attributes.items():
        if value is not None:
            tensors[f"attribute.{name}"] = np.asarray(value)
    for name, part in parts.items():
        for key, value in vars(part).items():
            if isinstance(value, np.ndarray):
                tensors[f"{name}.{key}"] = value
    header = {
        "kind": _KIND,
        "arch": arch_name(trained.arch),
        "attributes": _plain(
            {
                "arch_params_": dict(trained.network_params),
                "label_names_": description.label_names,
                "label_units_": description.label_units,
                "medium_": description.medium,
                "n_outputs_": description.n_wavelengths,
                "n_training_": training.n_training,
                "n_held_out_": training.n_held_out,
                "n_steps_": training.n_steps,
                "history_": training.history,
            }
        )
        | {"provenance_": trained.provenance},
        "arch_params": _plain(trained.arch_params),
        "dataframe": description.has_feature_names,
        "flux_scale": trained.scaling.flux_scale,
        "recipe": None if training.recipe is None else training.recipe.to_dict(),
        "seed": _plain(training.options.get("random_state")),
        "validation_fraction": training.options.get("validation_fraction", 0.1),
    }
    return tensors, header


def _decode(tensors, header, arch):
    """Build an emulator from the tensors and the JSON header of a file."""
    attributes = header["attributes"]
    description = Description(
        label_names=attributes["label_names_"],
        label_units=attributes["label_units_"],
        n_wavelengths=attributes["n_outputs_"],
        wavelength=tensors.get("attribute.wavelength_"),
        medium=attributes["medium_"],
        resolving_power=_number_or_array(tensors.get("attribute.resolving_power_")),
        has_feature_names=header["dataframe"],
    )
    held_out, errors = None, _part(tensors, "errors")
    if errors:
        fields = {f: tensors.get(f"attribute.{name}") for f, name in _HELD_OUT.items()}
        in_labels = _part(tensors, "label_errors")
        held_out = HeldOutErrors(
            **fields,
            model=ErrorModel(**errors),
            label_errors=LabelErrors(**in_labels) if in_labels else None,
        )
    return TrainedEmulator.from_weights(
        _part(tensors, "network"),
        arch=arch,
        # files of earlier versions have only the complete options
        arch_params=header.get("arch_params", attributes["arch_params_"]),
        network_params=attributes["arch_params_"],
        description=description,
        scaling=Scaling(**_part(tensors, "scaling"), flux_scale=header["flux_scale"]),
        domain=Domain(tuple(description.label_names), **_part(tensors, "domain")),
        held_out=held_out,
        training=Training(
            recipe=_recipe(header["recipe"]),
            n_training=attributes["n_training_"],
            n_held_out=attributes["n_held_out_"],
            n_steps=attributes["n_steps_"],
            history=attributes["history_"],
            options={
                "random_state": header["seed"],
                "validation_fraction": header["validation_fraction"],
            },
        ),
        provenance=attributes["provenance_"],
    )


def _recipe(entries):
    if entries is None:
        return None
    entries = dict(entries)
    if entries["optimizer"] not in OPTIMIZERS:
        # a class of the user, which loading must not import
        del entries["optimizer"]
        entries.pop("optimizer_params", None)
    return Recipe(**entries)


def _provenance(header):
    """Provenance in the header of a damaged file, or None."""
    attributes = header.get("attributes")
    return attributes.get("provenance_") if isinstance(attributes, dict) else None


def _number_or_array(value):
    # files hold a single number as an array of shape (1,)
    return value.item() if value is not None and value.size == 1 else value


def _part(tensors, name):
    prefix = f"{name}."
    return {
        k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)
    }


def _resolve_arch(path, name, arch):
    if arch is not None:
        return arch
    if name not in NETWORKS:
        raise FileFormatError(
            f"'{path}' holds a network of the class {name}, which loading must not "
            f"import. Pass it: load(path, arch={name.rsplit('.', 1)[-1]})."
        )
    return name


def _plain(value):
    """Convert a value to types of JSON; None if JSON cannot hold it."""
    try:
        return json.loads(json.dumps(value, default=_to_builtin))
    except TypeError:
        return None


def _to_builtin(value):
    if isinstance(value, np.generic | np.ndarray | torch.Tensor):
        return value.tolist()
    raise TypeError(type(value).__name__)
