"""Files of tensors and JSON, and atomic replacement of files.

Tensors are kept in safetensors files, which execute no code when read. The header holds
one JSON text under "sk_payne": a description, and the SHA-256 of the tensors.
"""

import hashlib
import json
import os
import secrets
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sk_payne.exceptions import FileFormatError

__all__ = ["FORMAT_VERSION", "encode_file", "read_file", "replacing", "write_file"]

FORMAT_VERSION = 1
_KEY = "sk_payne"


@contextmanager
def replacing(path):
    """Write a file atomically: it appears when it is complete, or not at all.

    Parameters
    ----------
    path : str or path-like
        Replaced if it exists, and only if the block ends without an error.

    Yields
    ------
    file : binary file
        To write to.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"`path` must lie in a folder that exists; got '{path}'. Make the folder "
            f"'{path.parent}' first."
        )
    temporary = path.with_name(f"{path.name}{secrets.token_hex(8)}.partial")
    try:
        # permissions follow the umask, as for any new file
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_file(path, tensors, description):
    """Write tensors and their description to a file, atomically.

    Parameters
    ----------
    path : str or path-like
        Replaced if it exists, and only when everything is written.
    tensors : dict of str to ndarray
        Arrays by name.
    description : dict
        Values that JSON can hold.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    content = encode_file(tensors, description)
    with replacing(path) as file:
        file.write(content)


def encode_file(tensors, description):
    """Encode tensors and their description as the content of a file.

    Parameters
    ----------
    tensors : dict of str to ndarray
        Arrays by name.
    description : dict
        Values that JSON can hold.

    Returns
    -------
    content : bytes
        Content for :func:`read_file`.
    """
    tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    header = {
        "format_version": FORMAT_VERSION,
        "sha256": _digest(tensors),
        **description,
    }
    return save(tensors, metadata={_KEY: json.dumps(header, allow_nan=False)})


def read_file(path):
    """Read a file that :func:`write_file` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    tensors : dict of str to ndarray
        Arrays by name.
    description : dict
        As written, with the format version and the checksum.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the file is damaged, of another kind, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            "`path` must be a file or folder that `save` wrote; there is none at "
            f"'{path}'. The working directory is '{Path.cwd()}'."
        )
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise FileFormatError(
            f"'{path}' is not a safetensors file, or is truncated ({error}). Copy it "
            "again, or save the model again."
        ) from error
    description = _parse(path, metadata)
    if _digest(tensors) != description.get("sha256"):
        raise FileFormatError(
            f"'{path}' is damaged: its tensors do not have the SHA-256 in its header. "
            "Copy it again, or save the model again."
        )
    return tensors, description


def _parse(path, metadata):
    if _KEY not in metadata:
        raise FileFormatError(
            f"'{path}' is a safetensors file, but not one of sk_payne: its header has "
            f"no entry {_KEY!r}. Pass a file that `save` wrote."
        )
    try:
        description = json.loads(metadata[_KEY])
        version = int(description["format_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise FileFormatError(
            f"'{path}' is damaged: its header cannot be read. Save the model again."
        ) from error
    if version > FORMAT_VERSION:
        raise FileFormatError(
            f"'{path}' has the format version {version}; this sk_payne reads up to "
            f"{FORMAT_VERSION}. Install a newer sk_payne."
        )
    return description


def _digest(tensors):
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
