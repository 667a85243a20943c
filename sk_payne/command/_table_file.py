"""Tables of stars in files: FITS, ECSV, VOTable and CSV by the ending of the name."""

import warnings
from pathlib import Path

__all__ = ["check_table_path", "write_table"]

_FORMATS = {
    ".fits": "fits",
    ".fit": "fits",
    ".ecsv": "ascii.ecsv",
    ".vot": "votable",
    ".xml": "votable",
    ".votable": "votable",
    ".csv": "ascii.csv",
}


def check_table_path(path):
    """Refuse a path whose ending says no format, or whose folder does not exist.

    Parameters
    ----------
    path : pathlib.Path
        File of the table.

    Raises
    ------
    ValueError
        If the ending is not known.
    FileNotFoundError
        If there is no such folder.
    """
    if path.suffix.lower() not in _FORMATS:
        raise ValueError(
            f"--out must end in one of {', '.join(_FORMATS)}, which says the format of "
            f"the table; got '{path}'."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"--out must lie in a folder that exists; got '{path}'. Make the folder "
            f"'{path.parent}' first."
        )


def write_table(table, path):
    """Write a table in the format that the ending of the path says.

    Parameters
    ----------
    table : astropy.table.QTable
        Units are kept, but for CSV, which has no place for them.
    path : path-like
        Replaced if it exists, in one go.
    """
    from astropy.table import Table

    path = Path(path)
    format = _FORMATS[path.suffix.lower()]
    plain = Table(table, copy=False)  # quantities as columns with a unit
    scratch = path.with_name(f".{path.name}.partial")
    with warnings.catch_warnings():
        # dex is no unit of the standards of FITS and VOTable, but of most catalogues
        warnings.filterwarnings("ignore", ".*dex")
        if format == "fits":
            _write_fits(plain, scratch)
        else:
            plain.write(str(scratch), format=format, overwrite=True)
    scratch.replace(path)


def _write_fits(table, path):
    from astropy.io import fits

    hdu = fits.table_to_hdu(table)
    for number, name in enumerate(table.colnames, start=1):
        unit = table[name].unit
        if unit is not None and f"TUNIT{number}" not in hdu.header:
            hdu.header[f"TUNIT{number}"] = str(unit)
    hdu.writeto(path, overwrite=True)
