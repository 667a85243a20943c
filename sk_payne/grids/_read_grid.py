"""read_grid: read a training grid from npz, HDF5 or FITS, or from a folder."""

import operator
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sk_payne._expansion import (
    DAMAGED,
    MAX_BYTES,
    check_expansion,
    check_gzip,
    npz_member_size,
)
from sk_payne.exceptions import FileFormatError
from sk_payne.grids._grid_arrays import as_grid
from sk_payne.grids._store import open_grid

__all__ = ["read_grid"]

_SPELLINGS = {
    "labels": ("labels", "P", "parameters"),
    "flux": ("flux", "F", "spectra"),
    "wavelength": ("wavelength", "wave"),
    "label_names": ("label_names",),
    "label_units": ("label_units",),
    "medium": ("medium",),
    "resolving_power": ("resolving_power",),
    "uncertainty": ("uncertainty", "error", "flux_error", "flux_err", "sigma"),
    "ivar": ("ivar", "flux_ivar", "invvar", "inverse_variance"),
    "mask": ("mask", "flux_mask"),
}
_REQUIRED = ("labels", "flux", "wavelength")
_HDF5_SUFFIXES = (".h5", ".hdf5")
_FITS_SUFFIXES = (".fits", ".fit", ".fits.gz")


def read_grid(path, *, drop_bad=False, max_bytes=MAX_BYTES):
    """Read a training grid from a file, or from the folder of :func:`build_grid`.

    The file must hold these arrays, each under one of its names:

    ===============  ==================================  ==========================
    array            names                               shape
    ===============  ==================================  ==========================
    P                "labels", "P" or "parameters"       (n_spectra, n_labels)
    F                "flux", "F" or "spectra"            (n_spectra, n_wavelengths)
    wavelength       "wavelength" or "wave"              (n_wavelengths,), in Å
    label names      "label_names", optional             (n_labels,), strings
    label units      "label_units", optional             (n_labels,), strings
    medium           "medium", optional                  one string, "air"/"vacuum"
    resolution       "resolving_power", optional         one number, of the spectra
    error of F       "uncertainty", "error", "sigma",    (n_spectra, n_wavelengths)
                     "flux_error", optional
    its inverse      "ivar", "invvar", "flux_ivar",      (n_spectra, n_wavelengths)
    variance         "inverse_variance", optional
    mask of F        "mask", "flux_mask", optional       (n_spectra, n_wavelengths)
    ===============  ==================================  ==========================

    P may be a structured array, whose fields name the labels. In an HDF5 file, arrays
    are datasets at the root; optional ones may also be attributes of the root, and the
    wavelength may have an attribute "unit". In a FITS file, arrays are HDUs with that
    EXTNAME, in capitals or not: images, and for P preferably a table with one column
    per label, which provides names and units. MEDIUM and RESPOWER are keywords of the
    primary header or of the wavelengths; BUNIT is the unit of the wavelengths. Other
    names are ignored.

    Parameters
    ----------
    path : str or os.PathLike
        File with the suffix ".npz" (from `numpy.savez`), ".h5", ".hdf5", ".fits",
        ".fit" or ".fits.gz", or a folder of :func:`build_grid`.
    drop_bad : bool, default=False
        Whether to leave out spectra with labels or flux that are not finite, with a
        warning that names them. Folders of :func:`build_grid` have none.
    max_bytes : int, default=536870912
        Size in memory that compressed arrays may always have. Beyond it, a file that
        expands to more than 20 times its size is refused.

    Returns
    -------
    grid : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : ndarray of shape (n_spectra, n_labels), float64
            Stellar parameters P.
        target : ndarray of shape (n_spectra, n_wavelengths), float32 or float64
            Flux F, in the precision of the file. The flux of a folder stays on disk;
            see :class:`StoredGrid`.
        wavelength : ndarray of shape (n_wavelengths,), float64
            Wavelength in Å.
        label_names : list of str
            Names of the columns of `data`; "label_1", "label_2", ... if the file has
            none.
        label_units : list of str or None
            Their units, or None if the file has none.
        medium : str or None
            "air" or "vacuum", or None if the file does not state it.
        resolving_power : float or None
            R = wavelength / FWHM, or None if the file does not state it. None for a
            folder.
        uncertainty : ndarray of shape (n_spectra, n_wavelengths) or None
            Standard deviation of the flux, inf where the inverse variance is 0, or None
            if the file has none; for ``fit(..., uncertainty=...)``.
        mask : ndarray of shape (n_spectra, n_wavelengths), bool, or None
            True for bad flux, where the mask of the file is not 0; for
            ``fit(..., mask=...)``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the suffix is another one.
    FileFormatError
        If the file is damaged, an array is missing, shapes or values do not agree, or
        values are not finite. It is a `ValueError`.
    ImportError
        If the file is HDF5 and h5py is not installed.

    Warns
    -----
    UserWarning
        If `drop_bad` leaves out spectra.

    See Also
    --------
    open_grid : Open the folder of a grid, with its provenance and failures.
    sk_payne.datasets.load_sme_grid : The grid shipped with the package.

    Notes
    -----
    Arrays of Python objects are refused: reading them could run code. Save names as
    ``np.array(names, dtype=str)``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sk_payne.grids import read_grid
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "grid.npz"
    ...     wave = np.linspace(5000, 5001, 5)
    ...     np.savez(path, P=np.zeros((3, 2)), F=np.ones((3, 5)), wave=wave)
    ...     grid = read_grid(path)
    >>> grid.data.shape, grid.target.shape, grid.label_names
    ((3, 2), (3, 5), ['label_1', 'label_2'])
    """
    path = Path(path)
    if path.is_dir():
        return _from_folder(path)
    name = path.name.lower()
    readers = {".npz": _read_npz}
    readers |= dict.fromkeys(_HDF5_SUFFIXES, _read_hdf5)
    readers |= dict.fromkeys(_FITS_SUFFIXES, _read_fits)
    suffix = next((suffix for suffix in readers if name.endswith(suffix)), None)
    if suffix is None:
        raise ValueError(
            f"`path` must end in .npz, .h5, .hdf5 or .fits, or be a folder; got "
            f"{str(path)!r}. Save the grid with `numpy.savez`, or rename the file if "
            "it has one of these formats."
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {str(path)!r}. Check `path`; the working directory is "
            f"{str(Path.cwd())!r}."
        )
    return as_grid(readers[suffix](path, max_bytes), path, drop_bad)


def _from_folder(path):
    names = ("data", "target", "wavelength", "label_names", "label_units", "medium")
    grid = open_grid(path)
    absent = dict.fromkeys(("resolving_power", "uncertainty", "mask"))
    return Bunch(**{name: getattr(grid, name) for name in names}, **absent)


def _read_npz(path, max_bytes):
    try:
        archive = np.load(path, allow_pickle=False)
    except DAMAGED as error:
        raise FileFormatError(
            f"{str(path)!r} is not an npz file, or is damaged. Write it again with "
            "`numpy.savez`."
        ) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise FileFormatError(
            f"{str(path)!r} is a single array, not an npz file. Write it again with "
            "`numpy.savez`."
        )
    with archive:
        names = _pick_names(archive.files, path)
        sizes = [_member(npz_member_size, archive, n, path) for n in names.values()]
        check_expansion(path, sum(sizes), max_bytes)
        return {
            key: _member(operator.getitem, archive, name, path)
            for key, name in names.items()
        }


def _member(read, archive, name, path):
    """Return ``read(archive, name)``; raise FileFormatError if it is damaged."""
    try:
        return read(archive, name)
    except DAMAGED as error:
        raise FileFormatError(
            f"{name!r} in {str(path)!r} cannot be read: {error} Arrays of Python "
            "objects are refused, as they could run code; save numbers as float and "
            "names as `np.array(names, dtype=str)`."
        ) from error


def _read_hdf5(path, max_bytes):
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "Reading HDF5 needs h5py. Install it with `pip install sk_payne[hdf5]`, or "
            "save the grid as .npz."
        ) from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise FileFormatError(
            f"{str(path)!r} is not an HDF5 file, or is damaged: {error} Write it again."
        ) from error
    with file:
        datasets = {name for name in file if isinstance(file[name], h5py.Dataset)}
        optional = set(_SPELLINGS) - set(_REQUIRED)
        attributes = optional & set(file.attrs) - datasets
        names = _pick_names([*sorted(datasets), *sorted(attributes)], path)
        sizes = [file[name].nbytes for name in names.values() if name in datasets]
        check_expansion(path, sum(sizes), max_bytes)
        stored = {
            key: np.asarray(file.attrs[name] if name in attributes else file[name][()])
            for key, name in names.items()
        }
        stated = file[names["wavelength"]].attrs
        stored["unit"] = next((stated[n] for n in ("unit", "units") if n in stated), "")
        return stored


def _read_fits(path, max_bytes):
    from astropy.io import fits

    if path.name.lower().endswith(".gz"):
        check_gzip(path, max_bytes)
    spelled = {name.lower(): name for names in _SPELLINGS.values() for name in names}
    try:
        hdus = fits.open(path, memmap=False)
    except OSError as error:
        raise FileFormatError(
            f"{str(path)!r} is not a FITS file, or is damaged: {error} Write it again."
        ) from error
    with hdus:
        by_name = {}
        for hdu in hdus:
            name = spelled.get(hdu.name.lower(), hdu.name)
            if name in by_name:
                raise FileFormatError(f"{str(path)!r} has two HDUs {name!r}. Keep one.")
            if hdu.data is not None:
                by_name[name] = hdu
        names = _pick_names(by_name, path)
        stored = {key: by_name[name].data for key, name in names.items()}
        if stored["labels"].dtype.names:
            columns = by_name[names["labels"]].columns
            stored["labels"] = _with_nan(stored["labels"], columns)
            stored["label_units"] = np.array([unit or "" for unit in columns.units])
        wavelength_header = by_name[names["wavelength"]].header
        stored["unit"] = wavelength_header.get("BUNIT", "")
        for header in (hdus[0].header, wavelength_header):
            for key, name in (("medium", "MEDIUM"), ("resolving_power", "RESPOWER")):
                if name in header:
                    stored[key] = np.array(header[name])
    return stored


def _with_nan(table, columns):
    """Convert a FITS table to a structured array, with NaN for empty cells."""
    fields = {column.name: np.asarray(table[column.name]) for column in columns}
    for column in columns:
        if column.null is not None:
            values = fields[column.name]
            fields[column.name] = np.where(values == column.null, np.nan, values)
    kinds = [(name, values.dtype, values.shape[1:]) for name, values in fields.items()]
    filled = np.empty(len(table), dtype=kinds)
    for name, values in fields.items():
        filled[name] = values
    return filled


def _pick_names(stored, path):
    """Map arrays to their names in the file; refuse missing and ambiguous ones."""
    names = {}
    for key, spellings in _SPELLINGS.items():
        present = [name for name in spellings if name in stored]
        if len(present) > 1:
            raise FileFormatError(
                f"{str(path)!r} has {present}, which mean the same. Keep one of them."
            )
        if present:
            names[key] = present[0]
        elif key in _REQUIRED:
            raise FileFormatError(
                f"{str(path)!r} has no {key!r}; it has {sorted(stored)}. Save the "
                f"array under one of the names {list(spellings)}."
            )
    return names
