"""Attributes of an emulator: constructor parameters and fitted attributes."""

import copy
from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
from sklearn.base import BaseEstimator, clone

from sk_payne.exceptions import did_you_mean
from sk_payne.networks import Recipe

__all__ = ["ConstructorParameters", "FittedAttributes"]

# Parameters that are dicts, whose entries are parameters as well: recipe__lr.
_DICTS = ("recipe", "arch_params")
# Longer lists and arrays are abbreviated when an emulator is printed.
_MAX_SHOWN = 6


class ConstructorParameters:
    """Setting, cloning and printing of the constructor parameters of an emulator.

    Entries of the dicts `recipe` and `arch_params` are parameters of their own, such as
    ``recipe__lr`` and ``arch_params__n_hidden``, for GridSearchCV and ``set_params``.
    """

    # names of large or fitted parameters: clones share them instead of copying them
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
            If a parameter does not exist.
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
            allowed = [field.name for field in fields(Recipe)]
            if name == "recipe" and entry not in allowed:
                raise ValueError(
                    f"`recipe` may have the entries {allowed}; got {key!r}."
                    f"{did_you_mean(entry, allowed)}"
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
    """Short text printed instead of a long value."""

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


class View:
    """Fitted attribute that is read from `trained_` and cannot be set.

    Parameters
    ----------
    read : callable
        Function of a :class:`TrainedEmulator` that returns the value.
    """

    def __init__(self, read):
        self.read = read

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, emulator, owner=None):
        if emulator is None:
            return self
        if "trained_" not in vars(emulator):
            raise AttributeError(
                f"{type(emulator).__name__} has no attribute {self.name!r} before "
                "`fit`."
            )
        return self.read(emulator.trained_)

    def __set__(self, emulator, value):
        raise AttributeError(
            f"`{self.name}` follows from the training and cannot be set. Train again "
            "with `fit`, or train on with FineTunedEmulator."
        )


def _held_out_view(name):
    return View(lambda t: None if t.held_out is None else getattr(t.held_out, name))


def _feature_names(trained):
    if not trained.description.has_feature_names:
        raise AttributeError("`feature_names_in_` exists only for columns with names.")
    return np.array(trained.description.label_names, dtype=object)


class FittedAttributes:
    """Fitted attributes, documented in the classes that inherit them."""

    label_names_ = View(lambda t: t.description.label_names)
    label_units_ = View(lambda t: t.description.label_units)
    wavelength_ = View(lambda t: t.description.wavelength)
    medium_ = View(lambda t: t.description.medium)
    resolving_power_ = View(lambda t: t.description.resolving_power)
    label_low_ = View(lambda t: t.domain.low)
    label_high_ = View(lambda t: t.domain.high)
    held_out_mae_ = _held_out_view("mae")
    held_out_rms_ = _held_out_view("rms")
    held_out_label_edges_ = _held_out_view("label_edges")
    held_out_label_mae_ = _held_out_view("label_mae")
    n_outputs_ = View(lambda t: t.description.n_wavelengths)
    n_features_in_ = View(lambda t: len(t.description.label_names))
    feature_names_in_ = View(_feature_names)
    n_training_ = View(lambda t: t.training.n_training)
    n_held_out_ = View(lambda t: t.training.n_held_out)
    n_steps_ = View(lambda t: t.training.n_steps)
    history_ = View(lambda t: t.training.history)
    recipe_ = View(lambda t: t.training.recipe)
    arch_ = View(lambda t: t.arch)
    arch_params_ = View(lambda t: t.network_params)
    provenance_ = View(lambda t: t.provenance)
    device_ = View(lambda t: t.device)
