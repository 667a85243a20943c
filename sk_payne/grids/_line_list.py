"""Lists of spectral lines, whatever the format, as one table with units.

It is here so that engines and plots know one kind of line list.
"""

import gzip
from pathlib import Path

import numpy as np

from sk_payne.exceptions import FileFormatError, did_you_mean
from sk_payne.grids._line_formats import FORMATS

__all__ = ["read_line_list"]

_MEDIA = ("air", "vacuum")
_DESCRIPTIONS = {
    "wavelength": "wavelength at rest, in the medium of meta",
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
    ``format``  what is read                                                 medium
    ==========  ===========================================================  =========
    "vald"      VALD3, short or long, from "extract stellar", "extract all"  stated
                or "extract element"; wavelengths in Å or nm, energies in
                eV or 1/cm
    "gfall"     Kurucz's gfall, in columns of fixed width; log gf includes   by the
                the fraction of a hyperfine or isotopic component            energies
    "moog"      MOOG and linemake, in columns of ten characters; the first   not told
                line is a title
    "csv"       names in line 1: species ("Fe 1"), wavelength or wlcent      not told
                (Å), e_lower or excit (eV), log_gf or gflog; if there,
                gamma_rad or gamrad, gamma_stark or gamqst, gamma_vdw or
                gamvw, depth
    ==========  ===========================================================  =========

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    format : {"vald", "gfall", "moog", "csv"}, default=None
        What it must be. None recognises it.
    medium : {"air", "vacuum"}, default=None
        Medium of the wavelengths, which files of MOOG and CSV do not tell: linemake
        gives air. For other files, None takes what they tell.

    Returns
    -------
    lines : astropy.table.QTable
        A row for each line, in the order of the file, with the columns

        wavelength : Quantity
            In Å.
        species, element : str
            Such as "Fe 1" and "Fe", or "CN 1" and "CN".
        ion : int
            1 is neutral.
        e_lower : Quantity
            Excitation energy of the lower level, in eV.
        log_gf : float
            To the base 10.
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
        If `format` or `medium` is unknown, the medium is not told, or told otherwise.

    See Also
    --------
    lines_by_element : The strongest lines, for a plot.

    Notes
    -----
    In all formats wavelengths below 2000 Å are in vacuum, also where the medium is air.
    Kurucz's gfall and gfallvac look the same: which one it is follows from the energies
    of the levels. Negative wavelengths mark components in MOOG and become positive; of
    its damping only logarithms are kept, not factors of Unsöld's value.

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
    lines.meta = {"medium": _agree(contents.medium, medium, path), "format": name}
    return lines


def _read_text(path):
    """Lines of a file, unpacked if need be."""
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
    for name, (looks_like_it, _) in FORMATS.items():
        if looks_like_it(text):
            return name
    first = text[0][:60] if text else ""
    raise FileFormatError(
        f"{str(path)!r} is of no format that is known here; line 1 is {first!r}. If it "
        f"ought to be one of {list(FORMATS)}, pass `format` to be told what it lacks."
    )


def _agree(told, given, path):
    if told is None and given is None:
        raise ValueError(
            f"{str(path)!r} does not tell whether its wavelengths are in air or in "
            'vacuum. Pass `medium="air"` or `medium="vacuum"`.'
        )
    if told is not None and given not in (None, told):
        raise ValueError(
            f"`medium` must be that of {str(path)!r}, {told!r}; got {given!r}. Leave "
            "it out."
        )
    return told or given


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
