"""Identity of a folder: the arguments of its results, as comparable JSON.

Arrays of any length are described by their content, objects by their parameters.
"""

import hashlib
import json
import math
import os
import types
from collections.abc import Mapping

import joblib
import numpy as np

__all__ = ["describe", "difference", "digest"]

# A longer list of numbers is described by its shape and a digest.
_LONGEST = 8


def describe(value):
    """Describe a value so that unequal values have unequal descriptions.

    Parameters
    ----------
    value : object
        A number, text, array, quantity, list, mapping, function or other object.

    Returns
    -------
    description : object
        Values that JSON can hold. A function is described by its name, another object
        by its ``get_params`` or else by its attributes.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.resumable import describe
    >>> describe({"fixed": {"logg": np.float64(4.5)}, "snr": np.full(9, 50.0)})
    {'fixed': {'logg': 4.5}, 'snr': 'float64 of shape (9,), c46907b16e9e8d56'}
    """
    return _describe(value, ())


def _describe(value, outer):
    if any(value is one for one in outer):
        return "itself"
    outer = (*outer, value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if hasattr(value, "unit") and hasattr(value, "value"):
        number = _describe(np.asarray(value.value), outer)
        return {"value": number, "unit": str(value.unit)}
    if hasattr(value, "detach"):  # a tensor is the same on every device
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return _describe_array(value, outer)
    if isinstance(value, Mapping):
        return {str(key): _describe(entry, outer) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return _describe_list(value, outer)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, types.MethodType):
        owner = _describe(value.__self__, outer)
        return {"method": value.__qualname__, "owner": owner}
    if isinstance(value, type) or hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return {"class": type(value).__qualname__, **_describe_object(value, outer)}


def _describe_array(array, outer):
    if isinstance(array, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(array)
        parts = {"values": array.filled(0) if mask.any() else array.data, "mask": mask}
        return {name: _describe(part, outer) for name, part in parts.items()}
    if array.dtype.hasobject or array.size <= _LONGEST:
        return _describe(array.tolist(), outer)
    code = hashlib.sha256(array.dtype.str.encode())
    code.update(np.ascontiguousarray(array).view(np.uint8))
    return f"{array.dtype} of shape {array.shape}, {code.hexdigest()[:16]}"


def _describe_list(values, outer):
    plain = (bool, int, float, np.number)
    if len(values) > _LONGEST and all(isinstance(one, plain) for one in values):
        return _describe(np.array(values), outer)
    return [_describe(one, outer) for one in values]


def _describe_object(value, outer):
    if hasattr(value, "get_params"):
        return _describe(value.get_params(deep=False), outer)
    if isinstance(value, np.random.RandomState | np.random.Generator):
        return {}  # its state changes with use
    if getattr(value, "__dict__", None):
        return _describe(vars(value), outer)
    try:
        return {"content": joblib.hash(value)}
    except Exception:  # it cannot be pickled: the class alone describes it
        return {}


def digest(value):
    """Compute a short digest of the content of a value.

    Parameters
    ----------
    value : object
        Any value that :func:`describe` takes.

    Returns
    -------
    digest : str
        16 hexadecimal digits.

    Examples
    --------
    >>> from sk_payne.resumable import digest
    >>> digest([4.5]) == digest((4.5,)), digest([4.5]) == digest([4.6])
    (True, False)
    """
    text = json.dumps(describe(value), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def difference(stored, requested, name=""):
    """Name the first entry in which two descriptions differ.

    Parameters
    ----------
    stored, requested : object
        Descriptions.
    name : str
        Prefix of the names of entries.

    Returns
    -------
    difference : str or None
        Name of the entry and both values; None if there is no difference.

    Examples
    --------
    >>> from sk_payne.resumable import difference
    >>> difference({"fit": {"snr": 50, "fixed": []}}, {"fit": {"snr": 80, "fixed": []}})
    '`fit.snr`: 50, not 80'
    """
    if isinstance(stored, dict) and isinstance(requested, dict):
        for key in [*requested, *sorted(stored.keys() - requested.keys())]:
            # "provenance" is an entry of the file, not an argument
            inner = f"{name}.{key}".removeprefix(".").removeprefix("provenance.")
            inner = difference(stored.get(key), requested.get(key), inner)
            if inner is not None:
                return inner
        return None
    return None if stored == requested else f"`{name}`: {stored!r}, not {requested!r}"
