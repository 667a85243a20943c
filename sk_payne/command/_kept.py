"""Folder that a run keeps beside its table: the catalogue, and options of reading."""

import json
import shutil
from pathlib import Path

from sk_payne._persistence import replacing

__all__ = ["Kept"]

_RECORD = "reading.json"


class Kept:
    """Folder beside a table, by which a run goes on where another stopped.

    Parameters
    ----------
    out : pathlib.Path
        The table, such as "stars.fits"; the folder is "stars.parts" beside it.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    catalogue : pathlib.Path
        Folder of the catalogue in it.
    """

    def __init__(self, out):
        self.path = Path(out).with_suffix(".parts")
        self.catalogue = self.path / "catalogue"

    def discard(self):
        """Remove what an earlier run kept."""
        if self.path.exists():
            if not (self.path / _RECORD).is_file():
                raise ValueError(
                    f"--restart must remove '{self.path}', which holds other things. "
                    "Remove it by hand, or pass another --out."
                )
            shutil.rmtree(self.path)

    def agree(self, reading):
        """Record how files are read, or refuse another way than that of before.

        Parameters
        ----------
        reading : dict
            Plain values.

        Raises
        ------
        ValueError
            If the folder has spectra that were read in another way.
        """
        record = self.path / _RECORD
        text = json.dumps(reading, sort_keys=True, default=str)
        if record.is_file():
            before = record.read_text(encoding="utf-8")
            if before != text:
                raise ValueError(
                    f"'{self.path}' holds stars whose files were read with {before}, "
                    f"not with {text}. Pass --restart to measure them again, or "
                    "another --out."
                )
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with replacing(record) as file:
            file.write(text.encode())

    def failures(self):
        """List what could not be read or measured.

        Returns
        -------
        failures : list of dict
            Entries `item`, `row` and `error`.
        """
        file = self.catalogue / "failures.jsonl"
        if not file.is_file():
            return []
        lines = file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line]
