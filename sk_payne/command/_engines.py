"""Engines of synthesis that a file can describe."""

import importlib.util
import sys
from pathlib import Path

import numpy as np

from sk_payne.command._values import refuse_unknown
from sk_payne.grids import (
    AtmosphereGrid,
    CommandEngine,
    PySMEEngine,
    read_line_list,
)

__all__ = ["ColumnReader", "FunctionEngine", "make_engine"]


def make_engine(about, folder, medium):
    """Make the engine that a table describes.

    Parameters
    ----------
    about : dict
        `kind`, and what it needs.
    folder : pathlib.Path
        Folder of the files that it names.
    medium : {"air", "vacuum"}
        Medium of the wavelengths of the spectra.

    Returns
    -------
    engine : callable
        As :func:`sk_payne.grids.build_grid` takes it.

    Raises
    ------
    ValueError
        If an entry is missing, unknown, or not allowed.
    """
    about = dict(about)
    kind = about.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(
            f"`kind` of [engine] must be one of {', '.join(_KINDS)}; got {kind!r}."
        )
    make, required, optional = _KINDS[kind]
    refuse_unknown(about, (*required, *optional), f"[engine] of the kind {kind!r}")
    for name in required:
        if name not in about:
            raise ValueError(f"[engine] of the kind {kind!r} must have {name!r}.")
    return make(about, folder, medium)


class FunctionEngine:
    """A function in a file of Python, found again in each process.

    Parameters
    ----------
    file : str
        Path of the file.
    name : str
        Name of the function, which takes labels by name and wavelengths in Å.
    """

    def __init__(self, file, name):
        self.file = file
        self.name = name

    def __call__(self, labels, wavelength):
        """Make one spectrum.

        Parameters
        ----------
        labels : dict of str to float
            Labels of the star.
        wavelength : ndarray of shape (n_wavelengths,)
            Å.

        Returns
        -------
        flux : ndarray of shape (n_wavelengths,)
            Flux, as the function returns it.
        """
        return self._function()(labels, wavelength)

    def to_dict(self):
        """Give the name of the function, for the provenance of a grid."""
        return {
            "engine": "FunctionEngine",
            "function": f"{Path(self.file).name}:{self.name}",
        }

    def _function(self):
        module = sys.modules.get(_module_name(self.file))
        if module is None:
            module = _import_file(self.file)
        return getattr(module, self.name)


class ColumnReader:
    """Reader of a column of the text that a program wrote.

    Parameters
    ----------
    file : str
        Name of the file in the folder of the run.
    column : int
        Column of the flux, counted from 0.
    """

    def __init__(self, file, column):
        self.file = file
        self.column = column

    def __call__(self, folder, wavelength):
        """Read the flux.

        Parameters
        ----------
        folder : pathlib.Path
            Folder in which the program runs.
        wavelength : ndarray of shape (n_wavelengths,)
            Not needed.

        Returns
        -------
        flux : ndarray
            The column.
        """
        return np.loadtxt(folder / self.file, ndmin=2)[:, self.column]


def _python(about, folder, medium):
    file, colon, name = about["function"].rpartition(":")
    path = (folder / file).absolute()
    if not colon or not path.is_file():
        raise ValueError(
            "`function` of [engine] must be FILE.py:NAME, relative to the folder of "
            f"the file; got {about['function']!r}."
        )
    if not callable(getattr(_import_file(str(path)), name, None)):
        raise ValueError(f"`function` of [engine]: '{path}' has no function {name!r}.")
    return FunctionEngine(str(path), name)


def _command(about, folder, medium):
    templates = about["templates"]
    return CommandEngine(
        templates,
        about["command"],
        ColumnReader(about["output"], about.get("column", 0)),
        timeout=about.get("timeout"),
    )


def _pysme(about, folder, medium):
    lines = read_line_list(
        folder / about["line_list"], medium=about.get("lines_medium")
    )
    if lines.meta["medium"] not in (None, medium):
        raise ValueError(
            f"[engine]: the line list is in {lines.meta['medium']}, the spectra in "
            f"{medium}. PySME takes both from the list: change `medium`."
        )
    with np.load(folder / about["atmospheres"], allow_pickle=False) as file:
        names = ("metallicity", "log_g", "teff", "layers")
        missing = [name for name in names if name not in file.files]
        if missing:
            raise ValueError(
                f"`atmospheres` of [engine] must be a .npz file with the arrays "
                f"{', '.join(names)} of AtmosphereGrid; it lacks {missing}."
            )
        atmospheres = AtmosphereGrid(*(file[name] for name in names))
    return PySMEEngine(
        lines, atmospheres, medium=medium, resolving_power=about.get("resolving_power")
    )


_KINDS = {
    "python": (_python, ("function",), ()),
    "command": (
        _command,
        ("command", "templates", "output"),
        ("column", "timeout"),
    ),
    "pysme": (
        _pysme,
        ("line_list", "atmospheres"),
        ("lines_medium", "resolving_power"),
    ),
}


def _module_name(file):
    return f"sk_payne_engine_{Path(file).stem}"


def _import_file(file):
    spec = importlib.util.spec_from_file_location(_module_name(file), file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
