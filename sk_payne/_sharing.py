"""Sharing of emulators by folder, address or the Hugging Face Hub.

Downloads are checked against their SHA-256 and cached.
"""

import hashlib
import os
import re
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from sk_payne._checksums import SUMS, digest_of, parse_sums
from sk_payne._persistence import replacing
from sk_payne.emulators import load
from sk_payne.exceptions import FileFormatError

__all__ = ["from_pretrained", "push_to_hub"]

_SCHEMES = ("https", "http", "file")
_CHUNK = 2**20


def from_pretrained(source, *, revision=None, sha256=None, cache=None, arch=None):
    """Load an emulator from a folder, an address or the Hugging Face Hub.

    Downloads are cached, so the next call needs no network.

    Parameters
    ----------
    source : str or path-like
        - a file or a folder that :meth:`SpectrumEmulator.save` wrote;
        - an address (https, http or file) of one; of a file if it ends in
          ".safetensors";
        - "owner/name" on the Hub, which needs the package huggingface_hub.
    revision : str, default=None
        Commit, tag or branch on the Hub; the newest commit if None. Only a commit never
        changes.
    sha256 : str, default=None
        SHA-256 of the file, or of ``SHA256SUMS`` in the folder, which covers all files;
        :func:`sk_payne.check` reports it. Required for an address.
    cache : path-like, default=None
        Folder for downloads. If None, ``sk_payne`` in the user's cache, or the cache of
        huggingface_hub.
    arch : type, default=None
        Class of the network (``nn.Module``), if it is not one of sk_payne.

    Returns
    -------
    emulator : SpectrumEmulator
        Fitted, on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    FileFormatError
        If a file is missing, damaged, or has another SHA-256.
    ValueError
        If `source`, `revision` and `sha256` don't go together.
    ConnectionError
        If an address cannot be read and its emulator is not in the cache.
    ImportError
        If huggingface_hub is needed and not installed.

    See Also
    --------
    push_to_hub : Upload an emulator to the Hub.
    check : Report the SHA-256, and compare predictions with the author's.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import sk_payne
    >>> emulator = sk_payne.SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     emulator.save(f"{folder}/tiny")
    ...     sha256 = sk_payne.check(f"{folder}/tiny").sha256
    ...     again = sk_payne.from_pretrained(
    ...         Path(folder, "tiny").as_uri(), sha256=sha256, cache=f"{folder}/cache"
    ...     )
    >>> bool((again.predict([[0.3]]) == emulator.predict([[0.3]])).all())
    True
    """
    sha256 = None if sha256 is None else _checked_sha256(sha256)
    text = os.fspath(source)
    is_address = "://" in text
    is_path = not is_address and Path(source).exists()
    is_on_hub = not is_path and re.fullmatch(r"[\w.-]+/[\w.-]+", text) is not None
    if revision is not None and not is_on_hub:
        raise ValueError(
            f"`revision` is for 'owner/name' on the Hub; got it with {text!r}. Leave "
            "it out; `sha256` identifies a version anywhere."
        )
    if is_address:
        return load(_fetch(text, sha256, cache), arch=arch)
    if is_on_hub:
        path = _fetch_from_hub(text, revision, cache)
    elif is_path:
        path = Path(source)
    else:
        raise FileNotFoundError(
            f"`source` must be a file, a folder, an address or 'owner/name' on the "
            f"Hub; got {text!r}, which is none of them."
        )
    if sha256 is not None:
        proof = path / SUMS if path.is_dir() else path
        _require(proof, digest_of(proof), sha256)
    return load(path, arch=arch)


def push_to_hub(emulator, repo_id, *, provenance=None, private=False):
    """Upload an emulator to the Hugging Face Hub, with its model card.

    The repository is made if there is none. The package huggingface_hub and a login
    (``hf auth login``) are needed.

    Parameters
    ----------
    emulator : SpectrumEmulator or FineTunedEmulator
        A fitted emulator.
    repo_id : str
        "owner/name".
    provenance : dict, default=None
        Origin of the training spectra, as in :meth:`SpectrumEmulator.save`.
    private : bool, default=False
        Whether a new repository is hidden from others.

    Returns
    -------
    revision : str
        The commit, for :func:`from_pretrained`.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ImportError
        If huggingface_hub is not installed.

    See Also
    --------
    from_pretrained : Load an emulator from the Hub.

    Examples
    --------
    >>> import sk_payne
    >>> emulator = sk_payne.load("emulator.safetensors")           # doctest: +SKIP
    >>> revision = sk_payne.push_to_hub(emulator, "me/giants")     # doctest: +SKIP
    >>> sk_payne.from_pretrained("me/giants", revision=revision)   # doctest: +SKIP
    """
    hub = _import_hub()
    with tempfile.TemporaryDirectory() as folder:
        provenance = (provenance or {}) | {"repo_id": repo_id}
        emulator.save(Path(folder, "emulator"), provenance=provenance)
        hub.create_repo(repo_id, private=private, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repo_id,
            folder_path=Path(folder, "emulator"),
            commit_message="Save an emulator",
        )
    return commit.oid


def _fetch(address, sha256, cache):
    """Download a file or a folder, unless it is in the cache."""
    parts = urlsplit(address)
    if parts.scheme not in _SCHEMES:
        raise ValueError(
            f"`source` must be an address of one of {', '.join(_SCHEMES)}; got "
            f"{address!r}."
        )
    if sha256 is None:
        raise ValueError(
            f"`sha256` must be given with an address, whose content may change; got "
            f"None with {address!r}. The author gets it from `sk_payne.check`."
        )
    # the key of the cache is the content, not the address
    folder = _cache(cache) / sha256
    folder.mkdir(parents=True, exist_ok=True)
    if parts.path.endswith(".safetensors"):
        return _fetch_file(address, folder / "emulator.safetensors", sha256)
    address = address.rstrip("/")
    sums = _fetch_file(f"{address}/{SUMS}", folder / SUMS, sha256)
    for name, digest in parse_sums(sums).items():
        _fetch_file(f"{address}/{name}", folder / name, digest)
    return folder


def _fetch_file(address, path, sha256):
    if path.is_file() and digest_of(path) == sha256:
        return path
    try:
        response = urllib.request.urlopen(address, timeout=60)
    except OSError as error:
        raise ConnectionError(
            f"'{address}' cannot be read ({error}), and is not in the cache. Try "
            "again, or download it by other means and pass its path."
        ) from error
    digest = hashlib.sha256()
    with response, replacing(path) as file:
        while chunk := response.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
        _require(address, digest.hexdigest(), sha256)
    return path


def _fetch_from_hub(repo_id, revision, cache):
    folder = _import_hub().snapshot_download(
        repo_id, revision=revision, cache_dir=cache
    )
    return Path(folder)


def _require(place, digest, expected):
    if digest != expected:
        raise FileFormatError(
            f"'{place}' is another version than asked for, or truncated: its SHA-256 "
            f"is {digest}, not {expected}. Fetch it again, or ask its author."
        )


def _checked_sha256(sha256):
    if not re.fullmatch("[0-9a-fA-F]{64}", str(sha256)):
        raise ValueError(
            f"`sha256` must be 64 hexadecimal digits; got {sha256!r}. "
            "`sk_payne.check` reports them."
        )
    return sha256.lower()


def _cache(cache):
    if cache is not None:
        return Path(cache)
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user) / "sk_payne"


def _import_hub():
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(
            "The Hugging Face Hub needs the package huggingface_hub; "
            "pip install 'sk_payne[hub]'."
        ) from error
    return huggingface_hub
