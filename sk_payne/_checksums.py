"""SHA-256 of every file of a folder, in a list that ``sha256sum --check`` reads.

The SHA-256 of the list itself identifies the content of the whole folder.
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
    """Format the list of files and their SHA-256.

    Parameters
    ----------
    contents : dict of str to bytes
        Content of each file by name.

    Returns
    -------
    text : str
        One line per file.

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
        Names that the list must have.

    Returns
    -------
    sums : dict of str to str
        SHA-256 by file name. No name points outside the folder.

    Raises
    ------
    FileFormatError
        If a line is malformed, or a required file is not listed.
    """
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = [
        re.fullmatch(r"([0-9a-f]{64})  (\w[\w.-]*)", line) for line in text.splitlines()
    ]
    if not lines or None in lines:
        raise FileFormatError(
            f"'{path}' is damaged: each line must be a SHA-256 and the name of a file. "
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
    """Check that every file of a folder has the SHA-256 in its list.

    Parameters
    ----------
    folder : pathlib.Path
        Folder with the list ``SHA256SUMS``.
    required : sequence of str
        Names that the list must have.

    Returns
    -------
    sums : dict of str to str
        SHA-256 by file name; the list itself comes last.

    Raises
    ------
    FileNotFoundError
        If there is no list.
    FileFormatError
        If the list is damaged, or a file is missing or was changed.
    """
    path = folder / SUMS
    if not path.is_file():
        raise FileNotFoundError(
            f"'{folder}' has no file '{SUMS}': it is not the folder of an emulator, or "
            "is incomplete. Fetch it again, or save the emulator again."
        )
    sums = parse_sums(path, required)
    for name, expected in sums.items():
        if not (folder / name).is_file():
            raise FileFormatError(
                f"'{folder / name}' is missing, but '{SUMS}' lists it. Fetch the "
                "folder again, or save the emulator again."
            )
        digest = digest_of(folder / name)
        if digest != expected:
            raise FileFormatError(
                f"'{folder / name}' is damaged or was changed: its SHA-256 is "
                f"{digest}, not {expected} as '{SUMS}' says. Fetch the folder again, "
                "or save the emulator again."
            )
    return sums | {SUMS: digest_of(path)}
