"""Files of dense networks: arrays of weights, biases and the box of the labels."""

import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sk_payne._expansion import DAMAGED, MAX_BYTES, check_expansion, npz_member_size
from sk_payne.exceptions import FileFormatError

__all__ = [
    "check_network",
    "network_names",
    "read_arrays",
    "read_wavelength",
    "refuse_other_sizes",
]

# A single array has none of the attributes of an archive.
_DAMAGED = (*DAMAGED, AttributeError, IndexError)

_READERS = {3: "read_the_payne", 4: "read_one_payne"}
_CODES = {
    3: "The_Payne with two hidden layers",
    4: "one_payne with three hidden layers",
}


def network_names(n_layers):
    """Give the names of the arrays of a network.

    Parameters
    ----------
    n_layers : int
        Number of linear layers.

    Returns
    -------
    matrices, biases, ends : tuple of str
        Names of the weights, of the biases, and of the ends of the label box.
    """
    return (
        tuple(f"w_array_{i}" for i in range(n_layers)),
        tuple(f"b_array_{i}" for i in range(n_layers)),
        ("x_min", "x_max"),
    )


def read_arrays(path, n_layers, optional=(), *, max_bytes=MAX_BYTES):
    """Read the arrays of a network.

    Parameters
    ----------
    path : pathlib.Path
        A ``.npz`` file. Nothing in it is executed.
    n_layers : int
        Linear layers that it must have, 3 or 4.
    optional : sequence of str, default=()
        Further arrays, which may be missing, or not be numbers or text.
    max_bytes : int, default=536870912
        Limit to what the arrays take in memory.

    Returns
    -------
    arrays : dict of str to ndarray
        Those that are there.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is damaged, another network, or expands beyond the limit.
    """
    code = _CODES[n_layers].split()[0]
    if not path.is_file():
        raise FileNotFoundError(f"`path` must be a file of {code}; got '{path}'.")
    matrices, biases, ends = network_names(n_layers)
    names = (*matrices, *biases, *ends)
    try:
        with _opened(path, (*names, *optional), max_bytes) as file:
            _refuse_other_depth(path, file.files, n_layers)
            arrays = {name: file[name] for name in names if name in file}
            arrays |= _readable(file, optional)
    except FileFormatError:
        raise
    except _DAMAGED as error:
        raise FileFormatError(
            f"'{path}' is no .npz file of arrays, or damaged ({error}). Copy it again."
        ) from error
    missing = [name for name in names if name not in arrays]
    if missing:
        raise FileFormatError(f"'{path}' is no network of {code}: it has no {missing}.")
    check_network(path, arrays, n_layers)
    return arrays


def check_network(path, arrays, n_layers):
    """Refuse arrays that are no network.

    Parameters
    ----------
    path : object
        Name of the file, for messages.
    arrays : dict of str to ndarray
        Weights, biases and box.
    n_layers : int
        Number of linear layers.

    Raises
    ------
    FileFormatError
        If shapes do not fit each other, or values are not finite.
    """
    matrices, biases, ends = network_names(n_layers)
    sizes = [arrays["x_min"].shape, *(arrays[name].shape for name in biases)]
    fits = all(len(size) == 1 for size in sizes) and all(
        arrays[name].shape == (*n_out, *n_in)
        for name, n_in, n_out in zip(matrices, sizes[:-1], sizes[1:], strict=True)
    )
    network = {name: arrays[name] for name in (*matrices, *biases, *ends)}
    if not fits or arrays["x_max"].shape != sizes[0]:
        shapes = {name: array.shape for name, array in network.items()}
        raise FileFormatError(
            f"'{path}' is no network of {_CODES[n_layers]}: its arrays have the shapes "
            f"{shapes}."
        )
    numbers = all(array.dtype.kind in "iuf" for array in network.values())
    if not numbers or not all(np.isfinite(array).all() for array in network.values()):
        raise FileFormatError(f"'{path}' must hold finite numbers; got others.")
    if not (arrays["x_max"] > arrays["x_min"]).all():
        raise FileFormatError(
            f"'{path}' must have x_max above x_min; got {arrays['x_max'].tolist()} and "
            f"{arrays['x_min'].tolist()}."
        )


def read_wavelength(wavelength, *, max_bytes=MAX_BYTES):
    """Give wavelengths, from a file if need be.

    Parameters
    ----------
    wavelength : array-like, str, path-like or None
        Å, or a ``.npz`` file with the array ``wavelength``.
    max_bytes : int, default=536870912
        Limit to what the array takes in memory.

    Returns
    -------
    wavelength : array-like or None
        Å.

    Raises
    ------
    FileFormatError
        If the file has no such array, or expands beyond the limit.
    """
    if not isinstance(wavelength, str | os.PathLike):
        return wavelength
    path = Path(wavelength)
    if not path.is_file():
        raise FileNotFoundError(
            f"`wavelength` must be numbers or a .npz file; got '{path}'."
        )
    try:
        with _opened(path, ("wavelength",), max_bytes) as file:
            return file["wavelength"]
    except FileFormatError:
        raise
    except _DAMAGED as error:
        raise FileFormatError(
            f"'{path}' must be a .npz file with the array 'wavelength'; it is none "
            f"({error})."
        ) from error


def refuse_other_sizes(path, arrays, n_layers, wavelength, label_names):
    """Refuse names and wavelengths that are not as many as the network has.

    Parameters
    ----------
    path : object
        Name of the file, for messages.
    arrays : dict of str to ndarray
        Arrays of the network.
    n_layers : int
        Number of linear layers.
    wavelength, label_names : sequence or None
        Values that were given.

    Raises
    ------
    ValueError
        If one is missing or has another size.
    """
    for name, value, size in (
        ("label_names", label_names, len(arrays["x_min"])),
        ("wavelength", wavelength, len(arrays[f"b_array_{n_layers - 1}"])),
    ):
        if np.shape(value) != (size,):
            raise ValueError(
                f"`{name}` must have {size} values, as '{path}' has; got the shape "
                f"{np.shape(value)}."
            )


@contextmanager
def _opened(path, names, max_bytes):
    """Open an npz file, after checking what some of its arrays expand to."""
    # numpy leaves a damaged file open
    with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
        sizes = [npz_member_size(file, name) for name in names if name in file]
        check_expansion(path, sum(sizes), max_bytes)
        yield file


def _refuse_other_depth(path, names, n_layers):
    found = sum(name.startswith("w_array_") for name in names)
    if found != n_layers and found in _READERS and f"w_array_{found - 1}" in names:
        raise FileFormatError(
            f"'{path}' holds {found} layers: it is a network of {_CODES[found]}. Read "
            f"it with sk_payne.exchange.{_READERS[found]}."
        )


def _readable(file, names):
    """Arrays that can be read without executing anything."""
    found = {}
    for name in names:
        if name in file:
            try:
                found[name] = file[name]
            except ValueError:  # an array of objects
                continue
    return found
