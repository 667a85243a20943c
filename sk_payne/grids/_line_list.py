"""Lists of spectral lines, read from any format into one table with units."""

import gzip
from pathlib import Path

import numpy as np

from sk_payne.exceptions import FileFormatError, did_you_mean
from sk_payne.grids._line_formats import FORMATS

__all__ = ["read_line_list"]

_MEDIA = ("air", "vacuum")
_DESCRIPTIONS = {
    "wavelength": "rest wavelength, in the medium of meta",
    "species": "atom or molecule and stage of ionisation, 1 is neutral",
    "element": "atom or molecule",
    "ion": "stage of ionisation, 1 is neutral",
    "e_lower": "excitation energy of the lower level",
    "log_gf": "log10 of statistical weight times oscillator strength",
    "gamma_rad": "log10 of radiative damping in rad/s",
    "gamma_stark": "log10 of Stark damping per electron at 10 000 K in rad cm3/s",
    "gamma_vdw": "log10 of van der Waals damping per hydrogen atom at 10 000 K in "
    "rad cm3/s; above 20, cross-section and exponent of Anstee, Barklem and O'Mara",
    "depth": "central depth in units of the continuum",
}


def read_line_list(path, format=None, *, medium=None):
    """Read a list of spectral lines.

    The format is recognised by the content of the file, which may be compressed by
    gzip:

    ==========  ===========================================================  =========
    ``format``  content                                                      medium
    ==========  ===========================================================  =========
    "vald"      VALD3, short or long, from "extract stellar", "extract all"  stated
                or "extract element"; wavelengths in Å or nm, energies in
                eV or 1/cm
    "gfall"     Kurucz's gfall, in columns of fixed width; log gf includes   inferred
                the fraction of a hyperfine or isotopic component
    "moog"      MOOG and linemake, in columns of ten characters; the first   unknown
                line is a title
    "csv"       names in line 1: species ("Fe 1"), wavelength or wlcent      unknown
                (Å), e_lower or excit (eV), log_gf or gflog; optional
                gamma_rad or gamrad, gamma_stark or gamqst, gamma_vdw or
                gamvw, depth
    ==========  ===========================================================  =========

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    format : {"vald", "gfall", "moog", "csv"}, default=None
        Format of the file; recognised if None.
    medium : {"air", "vacuum"}, default=None
        Medium of the wavelengths. MOOG and CSV files need it: linemake writes air. For
        other files, None takes the medium of the file.

    Returns
    -------
    lines : astropy.table.QTable
        One row per line, in the order of the file, with the columns

        wavelength : Quantity
            Rest wavelength in Å.
        species, element : str
            For example "Fe 1" and "Fe", or "CN 1" and "CN".
        ion : int
            Stage of ionisation; 1 is neutral.
        e_lower : Quantity
            Excitation energy of the lower level, in eV.
        log_gf : float
            Logarithm (base 10) of statistical weight times oscillator strength.
        gamma_rad, gamma_stark, gamma_vdw : float
            Logarithms of damping constants; see their descriptions. NaN where the file
            has none, or 0.
        depth : float
            Central depth, NaN where the file has none.

        Its ``meta`` holds "medium" and "format".

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If the format is not recognised, or a line of the file is wrong. It is a
        `ValueError`.
    ValueError
        If `format` or `medium` is unknown, or the medium is missing or not that of the
        file.

    See Also
    --------
    lines_by_element : Pick the strongest lines, for a plot.

    Notes
    -----
    In all formats wavelengths below 2000 Å are in vacuum, also where the medium is air.
    Kurucz's gfall and gfallvac look the same: the energies of the levels tell them
    apart. Negative wavelengths mark components in MOOG and become positive; its damping
    is kept if it is a logarithm, and dropped if it is a factor of Unsöld's value.

    References
    ----------
    Ryabchikova et al. (2015), Phys. Scr. 90, 054005, for VALD3; Kurucz (2011), Can. J.
    Phys. 89, 417; Placco et al. (2021), RNAAS 5, 92, for linemake.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sk_payne.grids import read_line_list
    >>> text = '''species,wavelength,e_lower,log_gf
    ... Mg 1,5167.322,2.709,-0.854
    ... Mg 1,5172.684,2.712,-0.363
    ... Mg 1,5183.604,2.717,-0.168
    ... '''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "lines.csv"
    ...     _ = path.write_text(text)
    ...     lines = read_line_list(path, medium="air")
    >>> print(lines["species", "wavelength", "e_lower", "log_gf"])
    species wavelength e_lower log_gf
             Angstrom     eV
    ------- ---------- ------- ------
       Mg 1   5167.322   2.709 -0.854
       Mg 1   5172.684   2.712 -0.363
       Mg 1   5183.604   2.717 -0.168
    """
    for name, value, known in (("format", format, FORMATS), ("medium", medium, _MEDIA)):
        if value is not None and value not in known:
            raise ValueError(
                f"`{name}` must be one of {list(known)}, or None; got {value!r}."
                + did_you_mean(value, known)
            )
    path = Path(path)
    text = _read_text(path)
    name = _recognise(text, path) if format is None else format
    try:
        contents = FORMATS[name][1](text)
    except FileFormatError as error:
        raise FileFormatError(f"{str(path)!r}, as {name!r}: {error}") from error
    if not contents.rows:
        raise FileFormatError(f"{str(path)!r}, as {name!r}, holds no spectral line.")
    lines = _as_table(contents)
    medium = _resolve_medium(contents.medium, medium, path)
    lines.meta = {"medium": medium, "format": name}
    return lines


def _read_text(path):
    """Read the lines of a file, and unpack it if it is compressed."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {str(path)!r}. Check `path`; the working directory is "
            f"{str(Path.cwd())!r}."
        )
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError) as error:
            raise FileFormatError(
                f"{str(path)!r} cannot be unpacked by gzip: {error}. Copy it again."
            ) from error
    return content.decode("utf-8", errors="replace").splitlines()


def _recognise(text, path):
    for name, (matches, _) in FORMATS.items():
        if matches(text):
            return name
    first = text[0][:60] if text else ""
    raise FileFormatError(
        f"{str(path)!r} has an unknown format; line 1 is {first!r}. If it ought to be "
        f"one of {list(FORMATS)}, pass `format` to see the error."
    )


def _resolve_medium(stated, medium, path):
    if stated is None and medium is None:
        raise ValueError(
            f"{str(path)!r} does not state whether its wavelengths are in air or in "
            'vacuum. Pass `medium="air"` or `medium="vacuum"`.'
        )
    if stated is not None and medium not in (None, stated):
        raise ValueError(
            f"`medium` must be that of {str(path)!r}, {stated!r}; got {medium!r}. "
            "Leave it out."
        )
    return stated or medium


def _as_table(contents):
    from astropy import units
    from astropy.table import QTable

    species, *columns = zip(*contents.rows, strict=True)
    wavelength, energy, log_gf, *damping, depth = map(np.array, columns)
    parts = {each: each.split() for each in set(species)}
    rad, stark, vdw = (np.where(gamma == 0, np.nan, gamma) for gamma in damping)
    lines = QTable(
        {
            "wavelength": units.Quantity(wavelength, contents.wavelength_unit).to("AA"),
            "species": np.array(species),
            "element": np.array([parts[each][0] for each in species]),
            "ion": np.array([int(parts[each][1]) for each in species]),
            "e_lower": units.Quantity(energy, contents.energy_unit).to(
                "eV", units.spectral()
            ),
            "log_gf": log_gf,
            "gamma_rad": rad,
            "gamma_stark": stark,
            "gamma_vdw": vdw,
            "depth": depth,
        }
    )
    for name, description in _DESCRIPTIONS.items():
        lines[name].info.description = description
    return lines
