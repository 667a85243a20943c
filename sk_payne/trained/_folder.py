"""Folder that an emulator travels in: the names of its files, and how to write them."""

from pathlib import Path
from tempfile import TemporaryDirectory

from sk_payne._checksums import SUMS, format_sums
from sk_payne._persistence import replacing

__all__ = ["CARD", "FINGERPRINT", "REQUIRED", "WEIGHTS", "write_folder"]

WEIGHTS = "emulator.safetensors"
CARD = "README.md"
FINGERPRINT = "fingerprint.json"
REQUIRED = (WEIGHTS, CARD, FINGERPRINT)


def write_folder(path, contents):
    """Write files and the list of their SHA-256.

    The folder takes its place when it is complete, or not at all; other files in it
    stay.

    Parameters
    ----------
    path : str or path-like
        Made if it does not exist.
    contents : dict of str to bytes
        What is to be in each file.

    Raises
    ------
    FileExistsError
        If it is a file, or holds other things than an emulator.
    FileNotFoundError
        If it would lie in no folder.
    """
    path = Path(path)
    if path.is_file():
        raise FileExistsError(
            f"`path` must be a folder, or end in '.safetensors' for one file; got the "
            f"file '{path}'. Remove it, or pass another name."
        )
    if path.is_dir() and any(path.iterdir()) and not (path / SUMS).is_file():
        raise FileExistsError(
            f"`path` must be a new or an empty folder, or one that `save` wrote; got "
            f"'{path}', which holds other files. Pass another."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"`path` must lie in a folder that exists; got '{path}'. Make the folder "
            f"'{path.parent}' first."
        )
    contents = contents | {SUMS: format_sums(contents).encode()}
    with TemporaryDirectory(
        dir=path.parent, prefix=path.name, suffix=".partial"
    ) as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        new.mkdir()
        for name, content in contents.items():
            with replacing(new / name) as file:
                file.write(content)
        if path.exists():
            path.rename(old)
        try:
            new.rename(path)
        except BaseException:
            if old.exists():
                old.rename(path)
            raise
        for other in old.iterdir() if old.exists() else ():
            if other.name not in contents:
                other.rename(path / other.name)
