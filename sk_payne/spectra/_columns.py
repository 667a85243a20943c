"""Names of columns and images of spectra, and their meaning.

Every reader finds errors and masks by these names, and warns of those that it does not
read.
"""

import re

import numpy as np

__all__ = ["POWERS", "are_spectrum", "errors_and_mask", "first_of", "role_of"]

# Names without case, blanks and underscores. Those of flux may have "flux" before or
# behind. The first kind of error in a table is the one that is read.
_WAVELENGTH = ("wavelength", "wave", "lambda", "waveobs", "wavelengths", "lam")
_LOG_WAVELENGTH = ("loglam", "loglambda", "logwave", "logwavelength")
_KINDS = (
    ("error", ("uncertainty", "error", "err", "errors", "errs", "unc", "eflux")),
    ("error", ("dflux", "staterror", "errordata", "errdata")),
    ("ivar", ("ivar", "invvar", "inversevariance", "inversevar", "invvariance")),
    ("variance", ("variance", "var")),
    # may also be the width of a line-spread function, or the noise of something else
    ("error", ("sigma", "sig", "noise", "std", "stddev", "stdev", "rms")),
    ("mask", ("mask", "andmask", "bitmask", "pixmask", "pixelmask", "badpix")),
    ("mask", ("badpixel", "badpixels", "bad", "dq", "flag", "flags")),
    ("quality", ("quality", "qual", "qualdata")),
)
_ROLES = {name: kind for kind, names in _KINDS for name in names}
_ROLES |= dict.fromkeys(_WAVELENGTH, "wavelength") | {"flux": "flux"}
_ROLES |= dict.fromkeys(_LOG_WAVELENGTH, "log wavelength")
_ORDER = list(_ROLES)

# Words in the name of what may be an error or a mask of something.
_SUSPICIOUS = {
    *(name for _, names in _KINDS for name in names),
    *("uncertainties", "snr", "weight", "weights", "good"),
}

# How a value that is an error scales with the unit of the flux.
POWERS = {"error": 1, "ivar": -2, "variance": 2}

# A file's word on a mask or a quality: which value is good.
_MEANS = r"[\s=:]*(is |are |means |for )?"
_ONE_IS_GOOD, _ZERO_IS_GOOD = (
    re.compile(
        rf"\b{good}{_MEANS}(good|ok|fine)|good{_MEANS}{good}\b"
        rf"|\b{bad}{_MEANS}(bad|masked)|bad{_MEANS}{bad}\b",
        re.IGNORECASE,
    )
    for good, bad in (("1", "0"), ("0", "(1|nonzero|non-zero)"))
)


# Names ---------------------------------------------------------------------------


def _key(name):
    """Return a name without case, unit in brackets and what is no letter or digit."""
    plain = re.sub(r"[\(\[].*?[\)\]]", "", str(name)).lower()
    key = re.sub(r"[^a-z0-9]", "", plain)
    if key in _ROLES:
        return key
    return key.removeprefix("flux").removesuffix("flux")


def role_of(name):
    """Return what a column of that name holds, "doubtful", or None if nothing here."""
    role = _ROLES.get(_key(name))
    if role is not None:
        return role
    words = re.split(r"[^a-z]+", str(name).lower())
    words = {word.removeprefix("flux").removesuffix("flux") for word in words}
    if words & _SUSPICIOUS and words.isdisjoint(_WAVELENGTH):
        return "doubtful"
    return None


def first_of(role, names):
    """Return the name that has a role, the best one if there are several, or None."""
    having = [name for name in names if role_of(name) == role]
    return min(having, key=lambda name: _ORDER.index(_key(name)), default=None)


def are_spectrum(names):
    """Return whether wavelength, or its logarithm, and flux are among these names."""
    roles = {role_of(name) for name in names}
    return "flux" in roles and bool(roles & {"wavelength", "log wavelength"})


# Values --------------------------------------------------------------------------


def errors_and_mask(names, read, stated=None):
    """Read the errors and the mask among named columns, or images.

    Parameters
    ----------
    names : list of str
        Names of all columns.
    read : callable
        Given a name and a power, gives the values (n_pixels,) in the unit of the flux
        to that power; a power of 0 leaves them as they are.
    stated : None or dict of str to str
        Descriptions of columns in the file; those of a quality and a mask state which
        value is good.

    Returns
    -------
    arguments : dict
        Arguments of `make_spectrum`: error or ivar, bad, bitmask, and `unread`, a list
        of what looks like an error or a mask and was not read, and why.
    """
    roles = {name: role_of(name) for name in names}
    unread = [name for name, role in roles.items() if role == "doubtful"]
    arguments, others = _error(roles, read)
    bad, bitmask, unknown = _mask(roles, read, stated or {})
    if bad is not None:
        arguments["bad"] = bad
    if bitmask is not None:
        arguments["bitmask"] = bitmask
    return arguments | {"unread": unread + others + unknown}


def _error(roles, read):
    """Return the first error, and those that differ from it."""
    found = [name for name, role in roles.items() if role in POWERS]
    if not found:
        return {}, []
    found.sort(key=lambda name: _ORDER.index(_key(name)))
    values = {name: read(name, POWERS[roles[name]]) for name in found}
    first, *others = found
    ivars = {name: _ivar(values[name], POWERS[roles[name]]) for name in found}
    differ = [
        f"{name} (it differs from {first}, which was read)"
        for name in others
        if not _agree(ivars[name], ivars[first])
    ]
    if roles[first] == "error":
        return {"error": values[first]}, differ
    return {"ivar": ivars[first]}, differ


def _ivar(values, power):
    """Return the inverse variance, 0 where nothing is known."""
    with np.errstate(all="ignore"):
        ivar = values ** (-2.0 / power)
    return np.where(np.isfinite(ivar) & (values > 0), ivar, 0.0)


def _agree(ivar, other):
    # written in single precision, or rounded to a few digits
    return ivar.shape == other.shape and np.allclose(ivar, other, rtol=0.02, atol=0)


def _mask(roles, read, stated):
    """Return where any mask is nonzero, its bits, and masks of unknown meaning."""
    bad, bits, unknown = None, [], []
    for name, role in roles.items():
        if role not in ("mask", "quality"):
            continue
        said = str(stated.get(name) or "")
        if role == "quality" and not (
            _ONE_IS_GOOD.search(said) or _ZERO_IS_GOOD.search(said)
        ):
            unknown.append(f"{name} (the file does not say which values are good)")
            continue
        values = np.asarray(read(name, 0))
        marked = values != 1 if _ONE_IS_GOOD.search(said) else values != 0
        bad = marked if bad is None else bad | marked
        bits.append(values)
    if len(bits) != 1 or not np.isfinite(bits[0]).all() or bits[0].max() <= 1:
        return bad, None, unknown
    return bad, bits[0].astype(np.int64), unknown
