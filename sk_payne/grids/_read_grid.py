"""Read a training grid that the user has made: npz, HDF5, FITS, or a folder.

It is here so that whatever is wrong with a file is said before training starts.
"""

import zipfile
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sk_payne.exceptions import FileFormatError
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
}
_REQUIRED = ("labels", "flux", "wavelength")
_HDF5_SUFFIXES = (".h5", ".hdf5")
_FITS_SUFFIXES = (".fits", ".fit", ".fits.gz")


def read_grid(path):
    """Read a training grid from a file, or from the folder of :func:`build_grid`.

    The file holds arrays under any of these names:

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
    ===============  ==================================  ==========================

    In an HDF5 file these are datasets at the root; the optional ones may also be
    attributes of the root. In a FITS file these are HDUs of that EXTNAME, in capitals
    or not: images, and for P better a table with a column for each label, which names
    them and has their units; medium and resolving power are the keywords MEDIUM and
    RESPOWER of the primary header or of the wavelengths. Other names are ignored.

    Parameters
    ----------
    path : str or os.PathLike
        The file. Its suffix says what it is: ".npz" (from `numpy.savez`), ".h5",
        ".hdf5", ".fits", ".fit" or ".fits.gz". Or a folder of :func:`build_grid`.

    Returns
    -------
    grid : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : ndarray of shape (n_spectra, n_labels), float64
            Stellar parameters P.
        target : ndarray of shape (n_spectra, n_wavelengths), float32 or float64
            Flux F, in single precision if the file has it so. That of a folder stays
            on disk; see :class:`StoredGrid`.
        wavelength : ndarray of shape (n_wavelengths,), float64
            Wavelength in Å.
        label_names : list of str
            Names of the columns of `data`; "label_1", "label_2", ... if the file has
            none.
        label_units : list of str or None
            Their units, or None if the file has none.
        medium : str or None
            "air" or "vacuum", or None if the file does not say.
        resolving_power : float or None
            Wavelength over full width at half maximum, or None if the file does not
            say, as folders do not.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the suffix is none of the above.
    FileFormatError
        If the file is damaged, an array is missing, or shapes or values do not agree.
        It is a `ValueError`.
    ImportError
        If the file is HDF5 and h5py is not installed.

    See Also
    --------
    open_grid : Opens the folder of a grid, with all that it tells.
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
    ...     np.savez(path, P=np.zeros((3, 2)), F=np.ones((3, 5)), wave=np.arange(1, 6))
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
            "it is one of these."
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {str(path)!r}. Check `path`; the working directory is "
            f"{str(Path.cwd())!r}."
        )
    return _as_grid(readers[suffix](path), path)


def _from_folder(path):
    names = ("data", "target", "wavelength", "label_names", "label_units", "medium")
    grid = open_grid(path)
    return Bunch(**{name: getattr(grid, name) for name in names}, resolving_power=None)


def _read_npz(path):
    if not zipfile.is_zipfile(path):
        raise FileFormatError(
            f"{str(path)!r} is not an npz file, or is damaged. Write it again with "
            "`numpy.savez`."
        )
    with np.load(path, allow_pickle=False) as archive:
        names = _pick_names(archive.files, path)
        return {key: _read_member(archive, name, path) for key, name in names.items()}


def _read_member(archive, name, path):
    try:
        return archive[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FileFormatError(
            f"{name!r} in {str(path)!r} cannot be read: {error} Arrays of Python "
            "objects are refused, as they could run code; save numbers as float and "
            "names as `np.array(names, dtype=str)`."
        ) from error


def _read_hdf5(path):
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
        return {
            key: np.asarray(file.attrs[name] if name in attributes else file[name][()])
            for key, name in names.items()
        }


def _read_fits(path):
    from astropy.io import fits

    spelled = {name.lower(): name for names in _SPELLINGS.values() for name in names}
    try:
        hdus = fits.open(path, memmap=False)
    except OSError as error:
        raise FileFormatError(
            f"{str(path)!r} is not a FITS file, or is damaged: {error} Write it again."
        ) from error
    with hdus:
        known = {}
        for hdu in hdus:
            name = spelled.get(hdu.name.lower(), hdu.name)
            if name in known:
                raise FileFormatError(f"{str(path)!r} has two HDUs {name!r}. Keep one.")
            if hdu.data is not None:
                known[name] = hdu
        chosen = _pick_names(known, path)
        stored = {key: known[chosen[key]].data for key in _REQUIRED}
        if stored["labels"].dtype.names:
            columns = known[chosen["labels"]].columns
            stored["labels"] = np.stack([stored["labels"][n] for n in columns.names], 1)
            stored["label_names"] = np.array(columns.names)
            stored["label_units"] = np.array([unit or "" for unit in columns.units])
        for header in (hdus[0].header, known[chosen["wavelength"]].header):
            for key, name in (("medium", "MEDIUM"), ("resolving_power", "RESPOWER")):
                if name in header:
                    stored[key] = np.array(header[name])
    return stored


def _pick_names(found, path):
    """Name in the file of each array it has; refuse missing and doubtful ones."""
    names = {}
    for key, spellings in _SPELLINGS.items():
        present = [name for name in spellings if name in found]
        if len(present) > 1:
            raise FileFormatError(
                f"{str(path)!r} has {present}, which mean the same. Keep one of them."
            )
        if present:
            names[key] = present[0]
        elif key in _REQUIRED:
            raise FileFormatError(
                f"{str(path)!r} has no {key!r}; it has {sorted(found)}. Save the "
                f"array under one of the names {list(spellings)}."
            )
    return names


def _as_grid(stored, path):
    data = _numbers(stored["labels"], "labels", 2, path)
    target = _numbers(stored["flux"], "flux", 2, path)
    wavelength = _numbers(stored["wavelength"], "wavelength", 1, path)
    _check_shapes(data, target, wavelength, path)
    label_names = _strings(stored.get("label_names"), "label_names", data, path)
    if label_names is None:
        label_names = [f"label_{i + 1}" for i in range(data.shape[1])]
    return Bunch(
        data=data.astype(np.float64),
        target=target if target.dtype == np.float32 else target.astype(np.float64),
        wavelength=wavelength.astype(np.float64),
        label_names=label_names,
        label_units=_strings(stored.get("label_units"), "label_units", data, path),
        medium=_medium(stored.get("medium"), path),
        resolving_power=_power(stored.get("resolving_power"), path),
    )


def _numbers(array, key, n_dimensions, path):
    if array.dtype.kind not in "fiu":
        raise FileFormatError(
            f"{key!r} in {str(path)!r} must hold real numbers; it holds {array.dtype}. "
            "Save it as float."
        )
    if array.ndim != n_dimensions or array.size == 0:
        raise FileFormatError(
            f"{key!r} in {str(path)!r} must have {n_dimensions} dimension(s), none of "
            f"length 0; its shape is {array.shape}. Reshape it before saving."
        )
    n_bad = np.count_nonzero(~np.isfinite(array))
    if n_bad:
        raise FileFormatError(
            f"{key!r} in {str(path)!r} must be finite; {n_bad} of {array.size} values "
            "are not. Drop the spectra or pixels that hold them."
        )
    # HDF5 files often are big-endian, which torch does not take.
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _check_shapes(data, target, wavelength, path):
    if len(data) != len(target):
        raise FileFormatError(
            f"'labels' and 'flux' in {str(path)!r} must have one row per spectrum; "
            f"their shapes are {data.shape} and {target.shape}. Transpose or trim one."
        )
    if target.shape[1] != len(wavelength):
        raise FileFormatError(
            f"'flux' in {str(path)!r} must have one column per wavelength; its shape "
            f"is {target.shape}, with {len(wavelength)} wavelengths. Transpose or trim "
            "one."
        )
    if wavelength[0] <= 0 or np.any(wavelength[1:] <= wavelength[:-1]):
        raise FileFormatError(
            f"'wavelength' in {str(path)!r} must be positive and increase strictly; it "
            f"runs from {wavelength[0]} to {wavelength[-1]}. Sort it, and the columns "
            "of the flux with it."
        )


def _strings(array, key, data, path):
    """One string per label, or None."""
    if array is None:
        return None
    strings = [_as_text(value) for value in np.atleast_1d(array).ravel().tolist()]
    if None in strings:
        raise FileFormatError(
            f"{key!r} in {str(path)!r} must hold strings; it holds {array.dtype}. Save "
            "it as `np.array(names, dtype=str)`."
        )
    if len(strings) != data.shape[1]:
        raise FileFormatError(
            f"{key!r} in {str(path)!r} must have one entry per column of 'labels'; it "
            f"has {len(strings)}, for {data.shape[1]} columns. Add or drop entries."
        )
    if key == "label_names" and len(set(strings)) < len(strings):
        raise FileFormatError(
            f"'label_names' in {str(path)!r} must not repeat a name; they are "
            f"{strings}. Name each column once."
        )
    return strings


def _medium(array, path):
    if array is None:
        return None
    values = [_as_text(value) for value in np.atleast_1d(array).ravel().tolist()]
    if len(values) != 1 or values[0] not in ("air", "vacuum"):
        raise FileFormatError(
            f"'medium' in {str(path)!r} must be 'air' or 'vacuum'; it is {values}. "
            "Correct it, or leave it out if it is not known."
        )
    return values[0]


def _power(array, path):
    if array is None:
        return None
    numbers = np.atleast_1d(array).ravel()
    if numbers.dtype.kind not in "fiu" or numbers.size != 1 or not numbers[0] > 0:
        raise FileFormatError(
            f"'resolving_power' in {str(path)!r} must be one positive number; it is "
            f"{numbers.tolist()}. Correct it, or leave it out if it is not known."
        )
    return float(numbers[0])


def _as_text(value):
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return value if isinstance(value, str) else None
