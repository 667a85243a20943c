"""Whether an emulator is what its author saved, and predicts here what it did there.

It is here because a hundred people use an emulator who did not train it.
"""

from pathlib import Path

from sklearn.utils import Bunch

from sk_payne._checksums import SUMS, digest_of, verify_folder
from sk_payne.emulators._fingerprint import TOLERANCE, largest_difference
from sk_payne.emulators._folder import FINGERPRINT, REQUIRED
from sk_payne.emulators._loading import load
from sk_payne.exceptions import FileFormatError

__all__ = ["check"]


def check(path, *, arch=None):
    """Check a saved emulator: its files, and what it predicts on this machine.

    Parameters
    ----------
    path : str or path-like
        A folder or a file that :meth:`SpectrumEmulator.save` wrote.
    arch : type, default=None
        The ``nn.Module`` class of the network, if it was the user's own.

    Returns
    -------
    report : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        files : dict of str to str
            SHA-256 of every file.
        sha256 : str
            What stands for all: that of ``SHA256SUMS`` in a folder, or of the one
            file. Hand it on by another way, for ``from_pretrained(sha256=...)``.
        difference : float or None
            Largest one between the flux that was kept in the folder and that predicted
            here, in units of the largest flux; None for one file.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder, or it has no list of files.
    FileFormatError
        If a file is missing, damaged or was changed, or if predictions differ by more
        than 1e-6.

    See Also
    --------
    load : Checks the files as well.

    Examples
    --------
    >>> import tempfile
    >>> import sk_payne
    >>> emulator = sk_payne.SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     emulator.save(f"{folder}/tiny")
    ...     report = sk_payne.check(f"{folder}/tiny")
    >>> list(report.files)
    ['emulator.safetensors', 'README.md', 'fingerprint.json', 'SHA256SUMS']
    >>> report.difference < 1e-12
    True
    """
    path = Path(path)
    emulator = load(path, arch=arch)
    if not path.is_dir():
        digest = digest_of(path)
        return Bunch(files={path.name: digest}, sha256=digest, difference=None)
    files = verify_folder(path, REQUIRED)
    fingerprint = (path / FINGERPRINT).read_text(encoding="utf-8")
    difference = largest_difference(emulator, fingerprint)
    if not difference <= TOLERANCE:
        raise FileFormatError(
            f"'{path}' holds the files it should, but predictions differ from "
            f"'{FINGERPRINT}' by up to {difference:.2g} of the largest flux; "
            f"{TOLERANCE:g} is allowed. Install the versions it was saved with: "
            f"{emulator.provenance_['versions']}."
        )
    return Bunch(files=files, sha256=files[SUMS], difference=difference)
