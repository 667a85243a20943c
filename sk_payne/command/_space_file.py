"""Files that describe a training grid: labels, wavelengths and the engine."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sk_payne.command._engines import make_engine
from sk_payne.command._values import refuse_unknown
from sk_payne.grids import ParameterSpace
from sk_payne.spectra import check_medium

__all__ = ["Plan", "read_space_file"]

_ENTRIES = ("medium", "n", "wavelength", "ranges", "around", "fixed", "units", "engine")


@dataclass(frozen=True)
class Plan:
    """A grid to make.

    Attributes
    ----------
    space : ParameterSpace
        Labels and their ranges.
    engine : callable
        Makes a spectrum.
    wavelength : ndarray of shape (n_wavelengths,)
        Å.
    medium : {"air", "vacuum"}
        Medium of the wavelengths.
    n : int or None
        Number of spectra; None if the file does not state it.
    """

    space: ParameterSpace
    engine: Callable
    wavelength: np.ndarray
    medium: str
    n: int | None


def read_space_file(path):
    """Read the description of a grid.

    Parameters
    ----------
    path : pathlib.Path
        TOML. Files in it are relative to its folder.

    Returns
    -------
    plan : Plan
        The grid to make.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If an entry is missing, unknown, or not allowed.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file '{path}' that describes a grid.")
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' is no TOML: {error}.") from error
    refuse_unknown(entries, _ENTRIES, f"'{path}'")
    for name in ("medium", "wavelength", "ranges", "engine"):
        if name not in entries:
            raise ValueError(f"'{path}' must have an entry {name!r}; see --help.")
    return Plan(
        space=ParameterSpace(
            entries["ranges"],
            around=entries.get("around"),
            fixed=entries.get("fixed"),
            units=entries.get("units"),
        ),
        engine=make_engine(entries["engine"], path.parent, entries["medium"]),
        wavelength=_wavelength(entries["wavelength"], path),
        medium=check_medium(entries["medium"]),
        n=entries.get("n"),
    )


def _wavelength(about, path):
    refuse_unknown(about, ("low", "high", "step", "resolution"), "[wavelength]")
    low, high = about.get("low"), about.get("high")
    step, resolution = about.get("step"), about.get("resolution")
    if low is None or high is None or (step is None) == (resolution is None):
        raise ValueError(
            f"[wavelength] of '{path}' must have low, high, and either step in Å or "
            f"resolution; got {about}."
        )
    if not (0 < low < high and (step or resolution) > 0):
        raise ValueError(
            f"[wavelength] of '{path}' must have 0 < low < high and a positive step or "
            f"resolution; got {about}."
        )
    if step is not None:
        return low + step * np.arange(int((high - low) / step + 1e-9) + 1)
    ratio = np.log(high / low)
    return low * np.exp(np.arange(int(ratio * resolution + 1e-9) + 1) / resolution)
