"""Folder: identity, claims, atomic files and failures of a folder of results.

A folder belongs to one grid or one catalogue, which its manifest describes.
"""

import json
from pathlib import Path

from sk_payne._persistence import replacing
from sk_payne.resumable._claims import Claims
from sk_payne.resumable._identity import difference

__all__ = ["Folder", "refuse_other"]

_CLAIMS, _FAILURES = "claims.lock", "failures.jsonl"
# Suffixes of files, which a folder has only by mistake.
_OF_FILES = frozenset(
    ".csv .dat .ecsv .fit .fits .fz .gz .h5 .hdf5 .json .jsonl .npy .npz .parquet .pkl "
    ".safetensors .tbl .tsv .txt .vot .votable .xml .yaml .zip".split()
)


class Folder:
    """A folder that several processes fill, if they agree on its identity.

    Parameters
    ----------
    path : str or path-like
        Made if it does not exist.
    kind : str
        "grid" or "catalogue", for messages; ``{kind}.json`` is the manifest.
    identity : dict
        Values that JSON can hold; later calls must pass the same.
    notes : dict
        Further entries of a new manifest, which may change later.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    claims : Claims
        Claims on pieces of the folder.

    Raises
    ------
    ValueError
        If the path has the suffix of a file, or the folder holds something else.

    Examples
    --------
    >>> import tempfile
    >>> from sk_payne.resumable import Folder
    >>> with tempfile.TemporaryDirectory() as path:
    ...     folder = Folder(path, "grid", {"medium": "air"}, {"n": 0})
    ...     folder.note(lambda notes: {"n": notes["n"] + 7})
    ...     folder.manifest()
    {'medium': 'air', 'n': 7}
    """

    def __init__(self, path, kind, identity, notes):
        self.path = _checked_path(path, kind)
        self.claims = Claims(self.path / _CLAIMS)
        self._kind = kind
        self._notes = frozenset(notes)
        identity = json.loads(json.dumps(identity))
        if not self._is_ours():
            self.path.mkdir(parents=True, exist_ok=True)
            with self.claims.alone():
                if not self._is_ours():  # by another process, just now
                    self._write_manifest(identity | notes)
        manifest = self.manifest()
        stored = {key: manifest[key] for key in manifest.keys() - self._notes}
        refuse_other(self.path, kind, difference(stored, identity))

    def manifest(self):
        """Read the manifest.

        Returns
        -------
        manifest : dict
            Identity and notes.
        """
        return json.loads(self._manifest.read_text(encoding="utf-8"))

    def note(self, change):
        """Change notes of the manifest.

        Parameters
        ----------
        change : callable
            Takes the manifest, and returns the notes that change.
        """
        with self.claims.alone():
            manifest = self.manifest()
            changed = manifest | change(manifest)
            if changed != manifest:
                self._write_manifest(changed)

    def replace(self, name, content):
        """Write a file atomically; the caller has claimed its piece.

        Parameters
        ----------
        name : str
            Name of the file.
        content : bytes
            The whole content.
        """
        for partial in self.path.glob(f"{name}*.partial"):  # of a killed process
            partial.unlink(missing_ok=True)
        with replacing(self.path / name) as file:
            file.write(content)

    def record_failures(self, failures):
        """Append to the list of failures.

        Parameters
        ----------
        failures : list of dict
            Values that JSON can hold.
        """
        with (
            self.claims.alone(),
            open(self.path / _FAILURES, "ab", buffering=0) as file,
        ):
            file.write(_lines(failures))

    def rewrite_failures(self, select):
        """Replace the list of failures.

        Parameters
        ----------
        select : callable
            Returns the failures to list. No other process appends meanwhile.
        """
        with self.claims.alone():
            self.replace(_FAILURES, _lines(select()))

    @property
    def _manifest(self):
        return self.path / f"{self._kind}.json"

    def _write_manifest(self, manifest):
        self.replace(self._manifest.name, json.dumps(manifest, indent=1).encode())

    def _is_ours(self):
        """Check whether there is a manifest; refuse a folder with other files."""
        if self._manifest.exists() or not self.path.exists():
            return self._manifest.exists()
        for file in self.path.iterdir():
            if file.suffix != ".partial" and file.name not in (
                _CLAIMS,
                self._manifest.name,  # which another process has made since
            ):
                raise ValueError(
                    f"`path` must be a new folder or that of a {self._kind}; "
                    f"'{self.path}' holds other files, such as {file.name!r}. Pass "
                    "another."
                )
        return False


def refuse_other(path, kind, difference):
    """Raise an error if a folder was made with other arguments.

    Parameters
    ----------
    path : pathlib.Path
        The folder.
    kind : str
        "grid" or "catalogue".
    difference : str or None
        Name of the argument and both values; None if there is no difference.

    Raises
    ------
    ValueError
        If `difference` is not None.

    Examples
    --------
    >>> from sk_payne.resumable import refuse_other
    >>> refuse_other("survey", "catalogue", "`snr`: 50, not 80")
    Traceback (most recent call last):
    ValueError: `path` must be a new folder or that of the same catalogue; 'survey' ...
    """
    if difference is not None:
        raise ValueError(
            f"`path` must be a new folder or that of the same {kind}; '{path}' was "
            f"made with another {difference}. Pass another folder, or the same "
            "arguments."
        )


def _checked_path(path, kind):
    path = Path(path)
    if path.is_dir():
        return path
    if path.exists() or path.suffix.lower() in _OF_FILES:
        raise ValueError(
            f"`path` must be a folder, in which a {kind} is made piece by piece; got "
            f"'{path}', the name of a file. Pass '{path.with_suffix('')}', and write "
            "a file from its content."
        )
    return path


def _lines(failures):
    lines = (json.dumps(f, ensure_ascii=False, sort_keys=True) for f in failures)
    return "".join(f"{line}\n" for line in lines).encode()
