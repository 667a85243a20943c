"""Bundles of astro-emulators-toolkit: folders of JSON and tensors, with checksums.

Nothing of a bundle is used before its checksums are verified.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from sk_payne.exceptions import FileFormatError

__all__ = ["Bundle", "read_bundle"]

_MANIFEST, _METADATA = "bundle_integrity.json", "metadata.json"
_WEIGHTS = "weights/weights.safetensors"
_VERSIONS = {
    "bundle_format_version": 1,
    "config_schema_version": 1,
    "weights_layout": "params_plus_model_state_v1",
}
# Prefix of the names of all weights: the tree of weights, in that of the model.
_PREFIX = "params/params/core_model/"
_SIDECAR = "__aet_sidecar__"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose checksums are right.

    Parameters
    ----------
    metadata : dict
        Metadata of the emulator.
    files : dict of str to bytes
        Contents of the files that the bundle owns.
    bundle_id : str
        The checksum of all.
    path : path-like
        Where it is.
    """

    metadata: dict
    files: dict
    bundle_id: str
    path: Path

    def tensors(self, name):
        """Read one of its safetensors files.

        Parameters
        ----------
        name : str
            Within the folder.

        Returns
        -------
        tensors : dict of str to ndarray
            By name.

        Raises
        ------
        FileFormatError
            If it is not a file of the bundle, or no safetensors file.
        """
        if name not in self.files:
            raise _refusal(self.path, name, "is not among the files of the bundle")
        try:
            return load(self.files[name])
        except SafetensorError as error:
            raise _refusal(self.path, name, f"is damaged ({error})") from error

    @property
    def weights(self):
        """Weights of the network by their names."""
        tensors = self.tensors(_WEIGHTS)
        return {
            name.removeprefix(_PREFIX): np.asarray(tensor, np.float64)
            for name, tensor in tensors.items()
            if name.startswith(_PREFIX)
        }

    def leaf(self, *roles):
        """Find the leaf that has a role in the trees of inputs and outputs.

        Parameters
        ----------
        *roles : str
            Name in the families of networks, such as "parameter" or "input".

        Returns
        -------
        path : str
            Its keys, joined by slashes.
        """
        paths = self.metadata["runtime_contract"]["role_paths"]
        path = next(paths[f"{r}_leaf"] for r in roles if f"{r}_leaf" in paths)
        return path.partition("/")[2]

    def limits(self, block, leaf):
        """Read the two ends that a block of the metadata has for a leaf.

        Parameters
        ----------
        block : str
            "input_domain", "reference_scaling_inputs" or "reference_scaling_outputs".
        leaf : str
            Path in the tree of inputs or outputs.

        Returns
        -------
        limits : tuple of ndarray or None
            One-dimensional, low and high; None if the bundle says nothing.
        """
        said = self.metadata["spec"].get(block)
        if said is None:
            return None
        tensors = self.tensors(said["storage"]["filename"])
        return tuple(
            np.ravel(tensors[f"{end}/{leaf}"]).astype(np.float64)
            for end in ("min", "max")
        )

    def extra(self, name):
        """Read an entry of the extras.

        Parameters
        ----------
        name : str
            Name of the entry.

        Returns
        -------
        value : object
            An array if it has a file of its own; None if there is none.
        """
        value = (self.metadata.get("extras") or {}).get(name)
        if isinstance(value, dict) and _SIDECAR in value:
            return self.tensors(value[_SIDECAR]["path"])["value"]
        return value


def read_bundle(path):
    """Read a bundle, and refuse it if anything is missing or changed.

    Parameters
    ----------
    path : str or path-like
        The folder.

    Returns
    -------
    bundle : Bundle
        Checked.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    FileFormatError
        If a file is missing, damaged or of another format.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"`path` must be the folder of a bundle; got '{path}'.")
    manifest = _read_json(path, _MANIFEST)
    try:
        digests = {str(f["path"]): str(f["sha256"]) for f in manifest["tree"]}
        bundle_id = manifest.pop("bundle_id")
    except (KeyError, TypeError) as error:
        raise _refusal(path, _MANIFEST, "cannot be read") from error
    if bundle_id != f"sha256:{_digest(_canonical(manifest))}":
        raise _refusal(path, _MANIFEST, "does not have its own checksum")
    for name in (_METADATA, _WEIGHTS):
        if name not in digests:
            raise _refusal(path, _MANIFEST, f"does not list '{name}'")
    files = {
        name: _read_checked(path, name, digest) for name, digest in digests.items()
    }
    metadata = json.loads(files[_METADATA])
    for name, version in _VERSIONS.items():
        if metadata.get(name) != version:
            raise _refusal(
                path, _METADATA, f"has {name} {metadata.get(name)!r}, not {version!r}"
            )
    return Bundle(metadata, files, bundle_id, path)


def _read_checked(path, name, digest):
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise _refusal(path, _MANIFEST, f"lists {name!r}, outside the bundle")
    if not (path / name).is_file():
        raise _refusal(path, name, "is missing")
    content = (path / name).read_bytes()
    if name == _METADATA:
        # as the toolkit takes its checksum
        metadata = _read_json(path, name)
        metadata.pop("bundle_id", None)
        content = _canonical(metadata)
    if _digest(content) != digest:
        raise _refusal(path, name, f"does not have its SHA-256 in '{_MANIFEST}'")
    return content


def _read_json(path, name):
    if not (path / name).is_file():
        raise _refusal(path, name, "is missing")
    try:
        content = json.loads((path / name).read_text(encoding="utf-8"))
    except ValueError as error:
        raise _refusal(path, name, "is no JSON") from error
    if not isinstance(content, dict):
        raise _refusal(path, name, "holds something else")
    return content


def _canonical(content):
    return json.dumps(content, indent=2, sort_keys=True).encode()


def _digest(content):
    return hashlib.sha256(content).hexdigest()


def _refusal(path, name, what):
    return FileFormatError(
        f"'{path}' is no intact bundle of astro-emulators-toolkit 0.1: '{name}' "
        f"{what}. Copy the bundle again, or save it again with the toolkit."
    )
