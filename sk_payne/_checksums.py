"""SHA-256 of every file of a folder, in a file that ``sha256sum --check`` reads.

It is here, below the rooms, so that whoever writes, reads or fetches a folder agrees on
what proves it whole: the digest of that one file stands for the whole folder.
"""

import hashlib
import re

from sk_payne.exceptions import FileFormatError

__all__ = ["SUMS", "digest_of", "format_sums", "parse_sums", "verify_folder"]

SUMS = "SHA256SUMS"


def digest_of(path):
    """SHA-256 of a file.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    digest : str
        64 hexadecimal digits.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def format_sums(contents):
    """Give the text that lists files and their SHA-256.

    Parameters
    ----------
    contents : dict of str to bytes
        What will be in each file.

    Returns
    -------
    text : str
        A line for each file.

    Examples
    --------
    >>> from sk_payne._checksums import format_sums
    >>> format_sums({"empty.txt": b""})[:12]
    'e3b0c44298fc'
    """
    return "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in contents.items()
    )


def parse_sums(path, required=()):
    """Read a list of files and their SHA-256.

    Parameters
    ----------
    path : pathlib.Path
        The list.
    required : sequence of str, default=()
        Files that it must have.

    Returns
    -------
    sums : dict of str to str
        SHA-256 by name. No name leads out of the folder.

    Raises
    ------
    FileFormatError
        If it is no such list, or lacks a file.
    """
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = [
        re.fullmatch(r"([0-9a-f]{64})  (\w[\w.-]*)", line) for line in text.splitlines()
    ]
    if not lines or None in lines:
        raise FileFormatError(
            f"'{path}' is damaged: a line of it is no SHA-256 with the name of a file. "
            "Fetch the folder again."
        )
    sums = {line[2]: line[1] for line in lines}
    for name in required:
        if name not in sums:
            raise FileFormatError(
                f"'{path}' does not list '{name}'. Fetch the folder again."
            )
    return sums


def verify_folder(folder, required):
    """Make sure that every file of a folder is the one that was written.

    Parameters
    ----------
    folder : pathlib.Path
        With a list of files and their SHA-256.
    required : sequence of str
        Files that it must list.

    Returns
    -------
    sums : dict of str to str
        SHA-256 by name, that of the list itself last.

    Raises
    ------
    FileNotFoundError
        If there is no list.
    FileFormatError
        If the list is damaged, or a file is missing or another one.
    """
    path = folder / SUMS
    if not path.is_file():
        raise FileNotFoundError(
            f"'{folder}' has no file '{SUMS}': it is no folder of an emulator, or an "
            "incomplete one. Fetch it again, or save the emulator again."
        )
    sums = parse_sums(path, required)
    for name, expected in sums.items():
        if not (folder / name).is_file():
            raise FileFormatError(
                f"'{folder / name}' is missing, but '{SUMS}' lists it. Fetch the "
                "folder again, or save the emulator again."
            )
        found = digest_of(folder / name)
        if found != expected:
            raise FileFormatError(
                f"'{folder / name}' is damaged or was changed: its SHA-256 is {found}, "
                f"not {expected} as '{SUMS}' says. Fetch the folder again, or save the "
                "emulator again."
            )
    return sums | {SUMS: digest_of(path)}
