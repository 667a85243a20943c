"""Folder that an emulator travels in: the names of its files, and how to write them."""

from pathlib import Path

from sk_payne._checksums import SUMS, format_sums
from sk_payne._persistence import replacing

__all__ = ["CARD", "FINGERPRINT", "REQUIRED", "WEIGHTS", "write_folder"]

WEIGHTS = "emulator.safetensors"
CARD = "README.md"
FINGERPRINT = "fingerprint.json"
REQUIRED = (WEIGHTS, CARD, FINGERPRINT)


def write_folder(path, contents):
    """Write files and the list of their SHA-256.

    A folder of which only some were written is refused by whoever reads it.

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
    path.mkdir(exist_ok=True)
    sums = format_sums(contents).encode()
    for name, content in (contents | {SUMS: sums}).items():
        with replacing(path / name) as file:
            file.write(content)
