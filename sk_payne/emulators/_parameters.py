"""Constructor parameters of an emulator: searched, cloned and printed."""

import copy
from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
from sklearn.base import BaseEstimator, clone

from sk_payne.exceptions import did_you_mean
from sk_payne.networks import Recipe

__all__ = ["ConstructorParameters"]

# Parameters that are dicts, whose entries are parameters as well: recipe__lr.
_DICTS = ("recipe", "arch_params")
# Longer lists and arrays are abbreviated when an emulator is printed.
_MAX_SHOWN = 6


class ConstructorParameters:
    """What scikit-learn does with constructor parameters, for those of emulators.

    Entries of the dicts `recipe` and `arch_params` are parameters of their own, such as
    ``recipe__lr`` and ``arch_params__n_hidden``, for GridSearchCV and ``set_params``.
    """

    # names of parameters that clones share, as they are large or fitted
    _shared = ()

    def set_params(self, **params):
        """Set parameters of the estimator.

        Parameters
        ----------
        **params : dict
            Parameters of the constructor, and entries of `recipe` and `arch_params`,
            such as ``recipe__lr=1e-3``.

        Returns
        -------
        self : estimator
            The estimator.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        entries = {}
        for key in list(params):
            name, nested, entry = key.partition("__")
            if nested and name in self._shared:
                raise ValueError(
                    f"`{name}` is shared by all clones, so its parameters cannot be "
                    f"set; got {key!r}. Pass another `{name}`."
                )
            if nested and name in _DICTS and hasattr(self, name):
                entries[key] = (name, entry, params.pop(key))
        super().set_params(**params)
        for key, (name, entry, value) in entries.items():
            known = [field.name for field in fields(Recipe)]
            if name == "recipe" and entry not in known:
                raise ValueError(
                    f"`recipe` may have the entries {known}; got {key!r}."
                    f"{did_you_mean(entry, known)}"
                )
            setattr(self, name, _with_entry(getattr(self, name), entry, value))
        return self

    def __sklearn_clone__(self):
        """Unfitted copy; large and fitted parameters are shared."""
        params = self.get_params(deep=False)
        shared = {name: params.pop(name) for name in self._shared}
        try:
            copies = {name: clone(value, safe=False) for name, value in params.items()}
        except TypeError as error:
            if not params.get("callbacks"):
                raise
            raise TypeError(
                "`callbacks` must be objects that scikit-learn can clone: `__init__` "
                "may only store its arguments under their names. Create other "
                "attributes in `initialize` or `on_train_begin`, with names that end "
                f"in an underscore. It failed with: {error}"
            ) from error
        return type(self)(**shared, **copies)

    def __repr__(self, N_CHAR_MAX=700):
        """Text with long lists and arrays abbreviated."""
        shown = copy.copy(self)
        for name, value in self.get_params(deep=False).items():
            vars(shown)[name] = _Abbreviated.of(value)
        return BaseEstimator.__repr__(shown, N_CHAR_MAX)


class _Abbreviated:
    """Text that stands for a long value."""

    def __init__(self, text):
        self.text = text

    @classmethod
    def of(cls, value):
        """Long arrays and lists abbreviated; other values as they are."""
        if isinstance(value, np.ndarray) and value.size > _MAX_SHOWN:
            ends = ""
            if value.ndim == 1 and value.dtype.kind in "fiu":
                ends = f" from {value[0]:g} to {value[-1]:g}"
            return cls(f"<{value.size} values{ends}>")
        if isinstance(value, list | tuple) and len(value) > _MAX_SHOWN:
            return cls(f"<{len(value)} values from {value[0]!r} to {value[-1]!r}>")
        if isinstance(value, tuple) and any(np.size(v) > _MAX_SHOWN for v in value):
            return cls(f"<{len(value)} arrays>")
        return value

    def __repr__(self):
        return self.text


def _with_entry(value, entry, new):
    """Copy of a dict or a recipe with one entry replaced."""
    if isinstance(value, Recipe):
        return replace(value, **{entry: new})
    if value is None or isinstance(value, Mapping):
        return {**(value or {}), entry: new}
    raise TypeError(
        f"Entry {entry!r} can be set only of a dict; got {type(value).__name__}. Pass "
        "a dict instead."
    )
