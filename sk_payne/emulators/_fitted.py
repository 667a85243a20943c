"""Fitted attributes of an emulator: views of what it has learned."""

import numpy as np

__all__ = ["FittedAttributes"]


class View:
    """Fitted attribute that is read from `trained_` and cannot be set.

    Parameters
    ----------
    read : callable
        Given a :class:`TrainedEmulator`, returns the value.
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


def _of_held_out(name):
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
    held_out_mae_ = _of_held_out("mae")
    held_out_rms_ = _of_held_out("rms")
    held_out_label_edges_ = _of_held_out("label_edges")
    held_out_label_mae_ = _of_held_out("label_mae")
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
