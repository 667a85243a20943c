"""Kinds of files: emulators, grids, networks, tables of stars, and spectra."""

import warnings
from pathlib import Path

import numpy as np

from sk_payne._expansion import DAMAGED, MAX_BYTES, check_expansion, npz_member_size
from sk_payne.abundances import FLAGS, read_catalogue
from sk_payne.command._star_facts import StarFacts
from sk_payne.emulators import load, ready
from sk_payne.exceptions import FileFormatError
from sk_payne.grids import open_grid, read_grid
from sk_payne.spectra import describe_resolving_power, group_arms, read_spectra

__all__ = ["describe_path", "describe_table", "read_stars"]

_GRIDS = (".h5", ".hdf5", ".npz")


def describe_path(path):
    """Describe a file or folder.

    Parameters
    ----------
    path : str
        A file, a folder, or the name of a ready emulator.

    Returns
    -------
    kind : str
        Such as "emulator".
    facts : dict
        Facts about it, in plain values.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is of no kind that is known.
    """
    place = Path(path)
    if any(one.name == path for one in ready()) or place.suffix == ".safetensors":
        return "emulator", _emulator(path)
    if not place.exists():
        raise FileNotFoundError(f"There is no file and no ready emulator {path!r}.")
    if place.is_dir():
        return _folder(place)
    if place.suffix.lower() in _GRIDS:
        network = _network(place)
        return network or ("grid", _grid(read_grid(path)))
    table = read_stars(place)
    if table is not None:
        return "table of stars", describe_table(table)
    return _spectrum_or_grid(path)


def _folder(path):
    if (path / "catalogue.json").is_file():
        return "catalogue", describe_table(read_catalogue(path))
    if (path / "catalogue").is_dir():  # what a run keeps beside its table
        return "catalogue", describe_table(read_catalogue(path / "catalogue"))
    if (path / "grid.json").is_file():
        return "grid", _grid(open_grid(path))
    return "emulator", _emulator(path)


def _emulator(path):
    emulator = load(path)
    provenance = emulator.provenance_
    facts = {"title": provenance.get("title")}
    known = {one.name: one for one in ready()}.get(str(path))
    arch = emulator.arch_
    facts |= {
        "architecture": arch if isinstance(arch, str) else arch.__qualname__,
        **_range(emulator.wavelength_, emulator.medium_, emulator.resolving_power_),
        "trained_on": f"{emulator.n_training_} spectra",
        "held_out_error": None
        if emulator.held_out_mae_ is None
        else float(np.mean(emulator.held_out_mae_)),
        "labels": _labels(
            emulator.label_names_,
            emulator.label_units_,
            emulator.label_low_,
            emulator.label_high_,
        ),
        "saved": provenance.get("saved"),
    }
    if known is not None:
        facts |= {"bytes": known.size, "sha256": known.sha256}
        facts["not_validated_for"] = {
            str(i): one for i, one in enumerate(known.not_validated_for, start=1)
        }
    return facts


def _grid(grid):
    power = getattr(grid, "resolving_power", None)
    low, high = np.min(grid.data, axis=0), np.max(grid.data, axis=0)
    return {
        "spectra": len(grid.data),
        **_range(grid.wavelength, grid.medium, power),
        "labels": _labels(grid.label_names, grid.label_units, low, high),
    }


def _range(wavelength, medium, power):
    if wavelength is None:
        return {"wavelengths": "not stated"}
    return {
        "wavelengths": f"{len(wavelength)}, {wavelength[0]:.2f}-{wavelength[-1]:.2f} Å",
        "medium": medium,
        "resolving_power": describe_resolving_power(power, wavelength),
    }


def _labels(names, units, low, high):
    units = [""] * len(names) if units is None else units
    return {
        name: f"{a:.6g} to {b:.6g} {unit}".rstrip()
        for name, unit, a, b in zip(names, units, low, high, strict=True)
    }


def _network(path):
    """Describe a network of The_Payne or one_payne; None if the file is none."""
    if path.suffix.lower() != ".npz":
        return None
    with open(path, "rb") as opened:
        try:
            with np.load(opened, allow_pickle=False) as file:
                names = set(file.files)
                if not {"w_array_0", "x_min"} <= names:
                    return None
                check_expansion(path, npz_member_size(file, "x_min"), MAX_BYTES)
                n_labels = len(file["x_min"])
        except (*DAMAGED, AttributeError):
            return None
    reader = "read_one_payne" if "w_array_3" in names else "read_the_payne"
    code = "one_payne" if "w_array_3" in names else "The_Payne"
    return f"network of {code}", {
        "labels": n_labels,
        "read it by": f"sk_payne.exchange.{reader}",
    }


def read_stars(path):
    """Read a table that `sk-payne measure` or `read_catalogue` gave.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    table : astropy.table.Table or None
        None if the file holds something else.
    """
    from astropy.table import Table

    formats = {".csv": "ascii.csv", ".ecsv": "ascii.ecsv"}
    formats |= {".vot": "votable", ".xml": "votable", ".votable": "votable"}
    formats |= {".fits": "fits", ".fit": "fits"}
    format = formats.get(path.suffix.lower())
    if format is None:
        return None
    try:
        with warnings.catch_warnings():
            # files of other kinds have tables and units of any kind
            warnings.simplefilter("ignore")
            table = Table.read(path, format=format)
    except Exception:  # of whatever a file of another kind looks like
        return None
    return table if {"chi2", "dof", "flags"} <= set(table.colnames) else None


def describe_table(table):
    """Give the facts of a table of stars.

    Parameters
    ----------
    table : astropy.table.Table
        With the columns of :meth:`sk_payne.AbundanceRegressor.measure`.

    Returns
    -------
    facts : dict
        Number of stars, parameters with their units, and numbers of flags.
    """
    names = [name for name in table.colnames if f"{name}_error" in table.colnames]
    flags = np.asarray(table["flags"], dtype=np.int64)
    facts = {
        "rows": len(table),
        "parameters": {name: str(table[name].unit or "") for name in names},
        "flags": {
            name: int((flags & bit > 0).sum())
            for name, (bit, _) in FLAGS.items()
            if (flags & bit > 0).any()
        },
    }
    if "error" in table.colnames:
        reasons = np.ma.filled(np.ma.asarray(table["error"]), "").astype(str)
        facts["failed"] = int((reasons != "").sum())
    return facts


def _spectrum_or_grid(path):
    try:
        found = read_spectra(path)
    except FileFormatError as error:
        if Path(path).suffix.lower() not in (".fits", ".fit", ".gz"):
            raise
        try:
            return "grid", _grid(read_grid(path))
        except (FileFormatError, ValueError):
            raise error from None
    stars = group_arms(found if isinstance(found, list) else [found])
    facts = [StarFacts.of(star) for star in stars]
    return "spectrum", {
        "star": [
            {**one.stated, "pixels": len(one.flux), "snr": one.snr()} for one in facts
        ]
    }
