"""Text formats of published line lists: recognition by content, and readers."""

import csv
import math
import re
from functools import lru_cache
from statistics import median
from typing import NamedTuple

from sk_payne.exceptions import FileFormatError
from sk_payne.grids._species import check_species, species_of_code

__all__ = ["FORMATS", "Contents"]


class Contents(NamedTuple):
    """Content of a line list, in the units of the file.

    Parameters
    ----------
    rows : list of tuple
        Species, wavelength, lower energy, log gf, three damping constants and depth of
        each line; NaN where unknown.
    medium : str or None
        Medium of the wavelengths; None if the file does not state it.
    wavelength_unit, energy_unit : str
        Names of units, as astropy reads them.
    """

    rows: list
    medium: str | None = None
    wavelength_unit: str = "Angstrom"
    energy_unit: str = "eV"


def _is_data(line):
    return line.strip()[:1] not in ("", "#")


def _numbers(number, line, texts):
    """Read numbers, NaN for blanks."""
    try:
        return [float(text) if text.strip() else math.nan for text in texts]
    except ValueError as error:
        raise FileFormatError(
            f"line {number} must hold numbers ({error}); it is {line[:60]!r}. Correct "
            "the line."
        ) from error


def _row(number, species, values):
    wavelength, energy, log_gf = values[:3]
    if not (
        0 < wavelength < math.inf and math.isfinite(energy) and math.isfinite(log_gf)
    ):
        raise FileFormatError(
            f"line {number} must have a positive wavelength, a lower energy and a "
            f"log gf; it has {wavelength}, {energy} and {log_gf}. Correct the line."
        )
    return species, *values


def _species(number, parse, code):
    """Parse the code of a species; name the line in an error."""
    try:
        return parse(code)
    except (ValueError, OverflowError) as error:
        raise FileFormatError(
            f"line {number} has an unknown species: {error}. Correct the line."
        ) from error


# VALD ----------------------------------------------------------------------------

_VALD_HEADER = re.compile(r"\s*(?:Elm|Spec)\s+Ion\s+\w+_(air|vac)\(([^)]*)\)")
_VALD_ENERGY = re.compile(r"(?:Excit|E_low)\(([^)]*)\)")
_VALD_LINE = re.compile(r"'([^':]*\s\d+)\s*'\s*,([^']*)")
# the model atmosphere of "extract stellar", or the notes at the end of all requests
_VALD_END = re.compile(r"'[^\s'_][^\s']*'\s*,?\s*$|\s*\*|\s*References")
_VALD_ANNOUNCED = re.compile(r"\s*[\d.]+\s*,\s*[\d.]+\s*,\s*(\d+)\s*,.*[Ww]avelength")
_VALD_UNITS = {"A": "Angstrom", "nm": "nm", "eV": "eV", "cm^-1": "1/cm", "cm-1": "1/cm"}


def _is_vald(lines):
    return any(map(_VALD_HEADER.match, lines[:100]))


def _read_vald(lines):
    start = next((i for i, line in enumerate(lines) if _VALD_HEADER.match(line)), None)
    if start is None:
        raise FileFormatError(
            "no line names the columns, such as 'Elm Ion WL_air(A) ...'. Keep the "
            "header of the file that VALD sent."
        )
    header = lines[start]
    medium, length = _VALD_HEADER.match(header).groups()
    energy = _VALD_ENERGY.search(header)
    if length not in ("A", "nm") or energy is None or energy[1] not in _VALD_UNITS:
        raise FileFormatError(
            f"line {start + 1} must name wavelengths in A or nm and energies in eV or "
            f"cm^-1; it is {header.strip()!r}. Choose these units in the request."
        )
    columns, step = _vald_columns(header)
    rows = list(_vald_rows(lines, start + 1, columns, step))
    _check_announced(lines[:start], len(rows))
    return Contents(
        rows,
        {"air": "air", "vac": "vacuum"}[medium],
        _VALD_UNITS[length],
        _VALD_UNITS[energy[1]],
    )


def _vald_columns(header):
    """Return the columns of wavelength, energy, log gf, three dampings and depth.

    The second value is the number of text lines per spectral line. Long: wavelength,
    log gf, energy, J, upper energy, J, three Lande factors, damping, depth; four lines.
    Short: wavelength, energy, microturbulence, log gf, damping, Lande factor, depth;
    one line. Only "extract stellar" has microturbulence and depth.
    """
    if "J lo" in header:
        columns, step = [0, 2, 1, 9, 10, 11, 12], 4
    elif "Vmic" in header:
        columns, step = [0, 1, 3, 4, 5, 6, 8], 1
    else:
        columns, step = [0, 1, 2, 3, 4, 5, 7], 1
    return columns if "depth" in header else columns[:-1], step


def _vald_rows(lines, start, columns, step):
    number = start
    while number < len(lines):
        line = lines[number]
        number += 1
        if not _is_data(line):
            continue
        match = _VALD_LINE.match(line)
        if match is None and _VALD_END.match(line):
            return
        texts = [] if match is None else match[2].split(",")
        if len(texts) <= max(columns):
            raise FileFormatError(
                f"line {number} must be a spectral line of {max(columns) + 1} numbers; "
                f"it is {line[:60]!r}. Is the file cut off, or edited?"
            )
        values = _numbers(number, line, [texts[i] for i in columns])
        values += [math.nan] * (7 - len(values))
        yield _row(number, _species(number, check_species, match[1]), values)
        number += step - 1
    if number > len(lines):
        raise FileFormatError(
            f"line {number - step + 1} begins a spectral line of {step} lines of text, "
            "but the file ends. Is it cut off?"
        )


def _check_announced(above, n_rows):
    for line in above:
        match = _VALD_ANNOUNCED.match(line)
        if match is not None and int(match[1]) != n_rows:
            raise FileFormatError(
                f"it holds {n_rows} spectral lines, but announces {match[1]}. Is it "
                "cut off? If it was shortened on purpose, correct the number."
            )


# Kurucz --------------------------------------------------------------------------

# F11.4, F7.3, F6.2, F12.3, F5.1, 1X, A10, F12.3, F5.1, 1X, A10, 3F6.2, A4, 2I2,
# I3, F6.3, I3, F6.3: wavelength, log gf, code, energy, J, label, energy, J, label, ...
_GFALL_NUMBERS = (
    *(slice(0, 11), slice(11, 18), slice(18, 24)),
    *(slice(24, 36), slice(52, 64)),
)
_GFALL_OTHERS = (slice(36, 41), slice(64, 69))  # J
_GFALL_DAMPING = (slice(80, 86), slice(86, 92), slice(92, 98))
_GFALL_FRACTIONS = (slice(109, 115), slice(118, 124))  # logarithms, of components
# Half of the relative difference between wavelengths in air and in vacuum.
_BETWEEN_MEDIA = 1.4e-4
_SHORTEST_IN_AIR = 200.0  # nm


def _is_gfall(lines):
    first = next(filter(_is_data, lines), "")
    texts = [first[part] for part in (*_GFALL_NUMBERS, *_GFALL_OTHERS)]
    try:
        return all(map(math.isfinite, _numbers(1, first, texts)))
    except FileFormatError:
        return False


def _read_gfall(lines):
    rows, ratios = [], []
    for number, line in enumerate(lines, start=1):
        if not _is_data(line):
            continue
        parts = (*_GFALL_NUMBERS, *_GFALL_DAMPING, *_GFALL_FRACTIONS)
        values = _numbers(number, line, [line[part] for part in parts])
        wavelength, log_gf, code, first, second, *damping = values[:8]
        # energies of predicted levels are negative
        energy, upper = sorted((abs(first), abs(second)))
        log_gf += sum(value for value in values[8:] if not math.isnan(value))
        values = [wavelength, energy, log_gf, *damping, math.nan]
        rows.append(_row(number, _species(number, _gfall_species, code), values))
        if wavelength > _SHORTEST_IN_AIR and upper > energy:
            ratios.append(1e7 / (upper - energy) / wavelength)
    in_air = bool(ratios) and median(ratios) - 1 > _BETWEEN_MEDIA
    return Contents(rows, "air" if in_air else "vacuum", "nm", "1/cm")


@lru_cache(maxsize=4096)
def _gfall_species(code):
    """Name the species of a code: 26.01 is Fe 2."""
    return species_of_code(*divmod(round(100 * code), 100))


# MOOG ----------------------------------------------------------------------------


def _is_moog(lines):
    data = list(filter(_is_data, lines[:100]))
    return any(map(_is_moog_row, data[:2]))


def _is_moog_row(line):
    try:
        _moog_row(1, line)
    except FileFormatError:
        return False
    return True


def _read_moog(lines):
    numbered = list(enumerate(lines, start=1))
    if lines and not _is_moog_row(lines[0]):
        numbered = numbered[1:]  # the title
    return Contents([_moog_row(n, line) for n, line in numbered if _is_data(line)])


def _moog_row(number, line):
    """Read columns of ten: wavelength, code, energy, log gf, damping, and others."""
    texts = [line[i : i + 10] for i in range(0, 50, 10)]
    if "\t" in line or not all(text.strip() for text in texts[:4]):
        raise FileFormatError(
            f"line {number} must have wavelength, species, energy and log gf in "
            f"columns of ten characters; it is {line[:60]!r}. Write it with the format "
            "7e10.3 of MOOG."
        )
    wavelength, code, energy, log_gf, damping = _numbers(number, line, texts)
    # A positive value is a factor of Unsöld's value, or a C6.
    damping = damping if damping < 0 else math.nan
    values = [abs(wavelength), energy, log_gf, math.nan, math.nan, damping, math.nan]
    return _row(number, _species(number, _moog_species, code), values)


@lru_cache(maxsize=4096)
def _moog_species(code):
    """Name the species of a code: 26.1 is Fe 2; further decimals are isotopes."""
    number = int(code)
    return species_of_code(number, int(10 * (code - number) + 1e-3))


# CSV -----------------------------------------------------------------------------

_CSV_SPELLINGS = {
    "species": ("species",),
    "wavelength": ("wavelength", "wlcent"),
    "e_lower": ("e_lower", "excit"),
    "log_gf": ("log_gf", "loggf", "gflog"),
    "gamma_rad": ("gamma_rad", "gamrad"),
    "gamma_stark": ("gamma_stark", "gamqst"),
    "gamma_vdw": ("gamma_vdw", "gamvw"),
    "depth": ("depth",),
}
_CSV_REQUIRED = ("species", "wavelength", "e_lower", "log_gf")


def _is_csv(lines):
    names = _csv_names(lines)
    return any(spelling in names for spelling in _CSV_SPELLINGS["wavelength"])


def _csv_names(lines):
    return [name.strip() for name in lines[0].split(",")] if lines else []


def _read_csv(lines):
    names = _csv_names(lines)
    places = {
        key: names.index(spelling)
        for key, spellings in _CSV_SPELLINGS.items()
        for spelling in spellings
        if spelling in names
    }
    for key in _CSV_REQUIRED:
        if key not in places:
            raise FileFormatError(
                f"line 1 must name a column {' or '.join(_CSV_SPELLINGS[key])}; it "
                f"names {names}. Rename the column."
            )
    return Contents(list(_csv_rows(lines, names, places)))


def _csv_rows(lines, names, places):
    reader = csv.reader(lines[1:])
    for cells in reader:
        number = reader.line_num + 1
        if not cells:
            continue
        if len(cells) != len(names):
            raise FileFormatError(
                f"line {number} must have {len(names)} cells, as line 1; it has "
                f"{len(cells)}. Correct the line."
            )
        texts = [cells[places[key]] if key in places else "" for key in _CSV_SPELLINGS]
        values = _numbers(number, ",".join(cells), texts[1:])
        yield _row(number, _species(number, check_species, texts[0]), values)


# Name of the format: function that recognises lines of text, and function to read them.
FORMATS = {
    "vald": (_is_vald, _read_vald),
    "gfall": (_is_gfall, _read_gfall),
    "csv": (_is_csv, _read_csv),
    "moog": (_is_moog, _read_moog),
}
