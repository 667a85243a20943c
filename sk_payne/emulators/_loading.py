"""Loading of emulators: nothing in a file is executed.

It is here, apart from saving, because it makes the estimator that saving only reads.
"""

from pathlib import Path

import numpy as np

from sk_payne._checksums import verify_folder
from sk_payne._persistence import read_file
from sk_payne.emulators._assembly import assemble
from sk_payne.emulators._domain import Domain
from sk_payne.emulators._errors import ErrorModel
from sk_payne.emulators._folder import REQUIRED, WEIGHTS
from sk_payne.emulators._recipe import OPTIMIZERS, Recipe
from sk_payne.emulators._saving import ARRAYS, KIND
from sk_payne.emulators._scaling import Scaling
from sk_payne.exceptions import FileFormatError
from sk_payne.networks import NETWORKS

__all__ = ["load"]


def load(path, *, arch=None):
    """Read an emulator that :meth:`SpectrumEmulator.save` wrote.

    Nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like
        The file, or the folder, whose files must have the SHA-256 they were saved with.
    arch : type, default=None
        The ``nn.Module`` class of the network, if it was the user's own.

    Returns
    -------
    emulator : SpectrumEmulator
        Fitted, on the CPU; it predicts exactly what the saved one did. What was said
        at saving is in its `provenance_`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file is damaged, of another kind or of a newer format, or needs `arch`;
        if a file of the folder is missing, damaged or was changed.

    See Also
    --------
    sk_payne.from_pretrained : Fetches it first.
    sk_payne.check : Compares predictions as well.

    Examples
    --------
    >>> import tempfile
    >>> import sk_payne
    >>> from sk_payne import SpectrumEmulator
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     emulator.save(f"{folder}/tiny.safetensors", provenance={"grid": "by hand"})
    ...     again = sk_payne.load(f"{folder}/tiny.safetensors")
    >>> bool((again.predict([[0.3]]) == emulator.predict([[0.3]])).all())
    True
    >>> again.provenance_["grid"]
    'by hand'
    """
    path = Path(path)
    if path.is_dir():
        verify_folder(path, REQUIRED)
        path = path / WEIGHTS
    tensors, description = read_file(path)
    if description.get("kind") != KIND:
        raise FileFormatError(
            f"'{path}' holds a {description.get('kind')!r}, not a {KIND!r}."
        )
    arch = _resolve_arch(path, description["arch"], arch)
    try:
        return _restore(tensors, description, arch)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"'{path}' describes a model that cannot be built here: {error}. Save it "
            "again with this version, or install the one that wrote it: "
            f"{description.get('attributes', {}).get('provenance_')}."
        ) from error


def _restore(tensors, description, arch):
    attributes = dict(description["attributes"])
    for name in ARRAYS:
        attributes[name] = tensors.get(f"attribute.{name}")
    if attributes["resolving_power_"] is not None:
        attributes["resolving_power_"] = attributes["resolving_power_"].item()
    names = attributes["label_names_"]
    if description["dataframe"]:
        attributes["feature_names_in_"] = np.array(names, dtype=object)
    recipe = dict(description["recipe"])
    if recipe["optimizer"] not in OPTIMIZERS:
        # a class of the user's own, which loading may not import
        del recipe["optimizer"]
        recipe.pop("optimizer_params", None)
    errors = _part(tensors, "errors")
    return assemble(
        arch,
        attributes,
        _part(tensors, "network"),
        Scaling(**_part(tensors, "scaling"), flux_scale=description["flux_scale"]),
        Domain(tuple(names), **_part(tensors, "domain")),
        recipe=Recipe(**recipe),
        errors=ErrorModel(**errors) if errors else None,
        constructor={
            "validation_fraction": description["validation_fraction"],
            "random_state": description["seed"],
        },
    )


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
            f"'{path}' holds a network of the class {name}, which loading may not "
            f"import. Pass it: load(path, arch={name.rsplit('.', 1)[-1]})."
        )
    return name
