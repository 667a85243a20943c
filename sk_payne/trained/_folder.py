"""Folder of a saved emulator: names of its files, and their writer."""

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
    """Write files and the list of their SHA-256, atomically.

    The folder appears when it is complete, or not at all. Other files in it are kept.

    Parameters
    ----------
    path : str or path-like
        The folder, made if it does not exist.
    contents : dict of str to bytes
        Content of each file by name.

    Raises
    ------
    FileExistsError
        If the path is a file, or a folder with other files than an emulator.
    FileNotFoundError
        If the parent folder does not exist.
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
            f"'{path}', which holds other files. Pass another path."
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
