"""Files that a user names: names, patterns, folders and lists."""

import glob
from pathlib import Path

__all__ = ["expand_files"]

# Endings of files in a folder that may be spectra.
_SPECTRA = (
    ".fits",
    ".fit",
    ".fts",
    ".ecsv",
    ".csv",
    ".txt",
    ".dat",
    ".asc",
    ".ascii",
    ".s",
)
_PACKED = (".gz", ".fz", ".bz2", ".xz", ".zst")


def expand_files(words, besides=None):
    """Give the files that the words of a command line stand for.

    Parameters
    ----------
    words : sequence of str
        Files; patterns with ``*``, ``?`` or ``[``; folders, of which all files with an
        ending of spectra are taken, without those of their folders; and "@list", a text
        with one such word in each line, in which "#" begins a comment.
    besides : path-like, default=None
        File that folders and patterns leave out: the table of an earlier run.

    Returns
    -------
    files : list of str
        In the order of the words, those of a word sorted; each file once. A file that
        does not exist stays, so that it is reported like any other that fails.

    Raises
    ------
    FileNotFoundError
        If a pattern or a folder has no file, or a list does not exist.
    ValueError
        If there is no file at all.

    Examples
    --------
    >>> from sk_payne.command._files import expand_files
    >>> expand_files(["a.fits", "b.fits", "a.fits"])
    ['a.fits', 'b.fits']
    """
    found = {}
    for word in words:
        found |= dict.fromkeys(_files_of(word, besides))
    if not found:
        raise ValueError(
            "FILES must name a file at least. Pass files, a folder, a pattern such as "
            "'night1/*.fits', or @list.txt with one in each line."
        )
    return list(found)


def _files_of(word, besides):
    if word.startswith("@"):
        return _listed(Path(word[1:]), besides)
    path = Path(word)
    if path.is_dir():
        files = sorted(str(one) for one in path.iterdir() if _is_spectrum(one))
        kind = "folder"
    elif not path.exists() and glob.has_magic(word):
        files = sorted(glob.glob(word, recursive=True))
        kind = "pattern"
    else:
        return [word]
    if besides is not None:
        besides = Path(besides).absolute()
        files = [file for file in files if Path(file).absolute() != besides]
    if not files:
        raise FileNotFoundError(f"The {kind} '{word}' has no file that may be spectra.")
    return files


def _listed(path, besides):
    if not path.is_file():
        raise FileNotFoundError(f"The list '{path}' of '@{path}' does not exist.")
    files = []
    for line in path.read_text(encoding="utf-8").splitlines():
        word = line.partition("#")[0].strip()
        if word:
            # names in a list are relative to the list
            is_list = word.startswith("@")
            files += _files_of(word if is_list else str(path.parent / word), besides)
    return files


def _is_spectrum(path):
    suffix = path.suffix.lower()
    if suffix in _PACKED:
        suffix = Path(path.stem).suffix.lower()
    return path.is_file() and suffix in _SPECTRA
