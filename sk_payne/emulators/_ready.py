"""Ready emulators: trained emulators that come with the package.

A registry in JSON lists them, with the SHA-256 of each; an emulator is a folder that
:meth:`SpectrumEmulator.save` wrote.
"""

import json
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from sk_payne._checksums import SUMS, digest_of
from sk_payne.exceptions import FileFormatError, did_you_mean

__all__ = ["ReadyEmulator", "ready", "resolve_path"]

_REGISTRY = "registry.json"


@dataclass(frozen=True)
class ReadyEmulator:
    """Description of a ready emulator, available without loading it.

    Parameters
    ----------
    name : str
        Name for :func:`sk_payne.load`.
    title : str
        Stars, wavelengths and labels in one line.
    arch : str
        Architecture.
    wavelength_range : tuple of float
        First and last wavelength in Å.
    medium : {"air", "vacuum"}
        Medium of the wavelengths.
    resolving_power : float
        Wavelength over full width at half maximum of the line-spread function.
    label_ranges : dict of str to tuple of float
        Smallest and largest value of each label in the training grid.
    not_validated_for : tuple of str
        Uses for which the results have not been validated.
    size : int
        Size of all its files in bytes.
    sha256 : str
        SHA-256 of the list of its files, as from :func:`sk_payne.check`.

    Attributes
    ----------
    path : pathlib.Path
        Folder of its files.
    card : str
        Model card, Markdown.

    See Also
    --------
    ready : Lists them.

    Examples
    --------
    >>> from sk_payne.emulators import ready
    >>> one = ready()[0]
    >>> one.title
    'Cool dwarfs, 4500-4600 Å in air, R = 50 000, 19 labels'
    >>> one.label_ranges["Fe_H"]
    (-1.995, 0.999)
    """

    name: str
    title: str
    arch: str
    wavelength_range: tuple
    medium: str
    resolving_power: float
    label_ranges: dict
    not_validated_for: tuple
    size: int
    sha256: str

    @property
    def path(self):
        """Folder of its files, a `pathlib.Path`."""
        return _data() / self.name

    @property
    def card(self):
        """Model card, Markdown."""
        return (self.path / "README.md").read_text(encoding="utf-8")


def ready():
    """List the emulators that come with the package.

    Returns
    -------
    emulators : list of ReadyEmulator
        Descriptions, sorted by name.

    See Also
    --------
    sk_payne.load : Loads one by its name.

    Examples
    --------
    >>> import sk_payne
    >>> from sk_payne.emulators import ready
    >>> for one in ready():
    ...     print(one.name, one.wavelength_range, one.medium, one.resolving_power)
    dwarfs-4500-4600 (4500.0, 4599.96) air 50000.0
    >>> emulator = sk_payne.load("dwarfs-4500-4600")
    >>> len(emulator.label_names_)
    19
    """
    text = (_data() / _REGISTRY).read_text(encoding="utf-8")
    return [
        ReadyEmulator(
            **entry
            | {
                "name": name,
                "wavelength_range": tuple(entry["wavelength_range"]),
                "not_validated_for": tuple(entry["not_validated_for"]),
                "label_ranges": {
                    label: tuple(ends) for label, ends in entry["label_ranges"].items()
                },
            }
        )
        for name, entry in sorted(json.loads(text).items())
    ]


def resolve_path(path):
    """Path of a ready emulator by its name; other paths are returned unchanged.

    Parameters
    ----------
    path : str or path-like
        Path or name; a file or folder that exists goes before a name.

    Returns
    -------
    path : pathlib.Path
        File or folder.

    Raises
    ------
    FileNotFoundError
        If it is a single word that is neither a path nor a name.
    FileFormatError
        If the files of the ready emulator differ from those in the registry.
    """
    text = os.fspath(path)
    path = Path(text)
    if path.exists() or path.name != text or path.suffix:
        return path
    emulators = {emulator.name: emulator for emulator in ready()}
    if text not in emulators:
        raise FileNotFoundError(
            f"`path` must be a file or folder that `save` wrote, or a ready emulator "
            f"({', '.join(emulators)}); got {text!r}.{did_you_mean(text, emulators)}"
        )
    emulator = emulators[text]
    digest = digest_of(emulator.path / SUMS)
    if digest != emulator.sha256:
        raise FileFormatError(
            f"The ready emulator {text!r} was changed: the SHA-256 of its list of "
            f"files is {digest}, not {emulator.sha256}. Install sk_payne again."
        )
    return emulator.path


def _data():
    return Path(str(files("sk_payne.emulators"))) / "data"
