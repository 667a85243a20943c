"""Transfer of labels, scaling and weights from a base to a fine-tuned emulator.

Before its first step, the new emulator predicts the flux of the base.
"""

from dataclasses import replace
from fnmatch import fnmatch

import numpy as np
import torch

from sk_payne.exceptions import WavelengthMismatchError, did_you_mean
from sk_payne.networks import resolve_network
from sk_payne.spectra import GridInterpolator

__all__ = [
    "freeze",
    "match_labels",
    "transfer_options",
    "transfer_scaling",
    "transfer_weights",
]


def match_labels(base, label_names):
    """Find the labels of a base among those of a new grid.

    Parameters
    ----------
    base : TrainedEmulator
        The base.
    label_names : list of str
        Labels of the new grid.

    Returns
    -------
    source : ndarray of int, shape (n_labels,)
        Column of each label in the base, or -1 if the base does not have it.

    Raises
    ------
    ValueError
        If a label of the base is missing.
    """
    old = base.description.label_names
    n_old = len(old)
    if old == [f"label_{i}" for i in range(n_old)]:
        # default names: labels are matched by position
        old = list(label_names[:n_old])
        if len(old) < n_old:
            raise ValueError(
                f"`X` must have at least the {n_old} labels of "
                f"`base`; got {len(label_names)} columns. Add the missing ones."
            )
    for name in old:
        if name not in label_names:
            raise ValueError(
                f"`label_names` must include every label of `base`, but {name!r} is "
                f"missing in {list(label_names)}.{did_you_mean(name, label_names)} "
                "Rename the column that holds it, or add it as a constant column."
            )
    return np.array([old.index(n) if n in old else -1 for n in label_names])


def transfer_options(base, scaling, description):
    """Options of the network of a base, for the labels of a new emulator.

    Parameters
    ----------
    base : TrainedEmulator
        The base.
    scaling : Scaling
        Scaling of the new emulator.
    description : Description
        Columns of the new emulator.

    Returns
    -------
    arch_params : dict
        Options of the base, without those derived from its labels.
    label_scale : tuple or None
        Names and scale of the new labels, from which `build_network` derives these
        options anew; None if the base has none of them.
    """
    network = resolve_network(base.arch)
    from_labels = network.label_params(
        *base.scaling.describe_labels(base.description.label_names)
    )
    derived = {
        name
        for name, value in from_labels.items()
        if base.network_params.get(name) == value
    }
    options = {k: v for k, v in base.network_params.items() if k not in derived}
    if not derived:
        return options, None
    return options, scaling.describe_labels(description.label_names)


def transfer_scaling(base, labels, source, wavelength):
    """Scaling of labels and flux: that of the base, extended to new labels.

    Parameters
    ----------
    base : TrainedEmulator
        The base.
    labels : ndarray of shape (n_spectra, n_labels)
        Labels of the new grid.
    source : ndarray of int, shape (n_labels,)
        Columns from :func:`match_labels`.
    wavelength : ndarray of shape (n_wavelengths,) or None
        Wavelengths of the new grid in Å.

    Returns
    -------
    scaling : Scaling
        Labels of the base keep their scaling. New labels are scaled to the box of the
        new grid. Labels that were constant in the base have their zero there, and a
        half width of the largest distance from it.
    """
    scaling = base.scaling
    low = labels.min(axis=0).astype(np.float64)
    high = labels.max(axis=0).astype(np.float64)
    old_center = scaling.label_center[source]
    new, constant = source < 0, _was_constant(base)[source]
    center = np.where(new, (low + high) / 2, old_center)
    reach = np.maximum(np.abs(low - center), np.abs(high - center))
    half_width = np.where(
        new | constant,
        np.where(reach > 0, reach, 1.0),
        scaling.label_half_width[source],
    )
    offset = scaling.flux_offset
    if len(offset) > 1 and _moves(base, wavelength):
        offset = _regrid(base, offset, wavelength)
    return replace(
        scaling, label_center=center, label_half_width=half_width, flux_offset=offset
    )


def transfer_weights(network, base, source, wavelength):
    """Copy the weights of a base to a new network.

    Parameters
    ----------
    network : nn.Module
        Network of the same architecture, for the labels and wavelengths of the new
        grid; changed in place.
    base : TrainedEmulator
        The base.
    source : ndarray of int, shape (n_labels,)
        Columns from :func:`match_labels`.
    wavelength : ndarray of shape (n_wavelengths,) or None
        Wavelengths of the new grid in Å.

    Raises
    ------
    ValueError
        If the architecture cannot take other labels or wavelengths.
    """
    weights = base.weights
    unlearned = (source < 0) | _was_constant(base)[source]
    if unlearned.any() or not np.array_equal(
        source, np.arange(len(base.description.label_names))
    ):
        layers = network.label_layers
        if not layers:
            raise ValueError(
                f"`label_names` must be those of `base` in the same order, and each "
                f"must vary there: {type(network).__name__} does not name its "
                "`label_layers`."
            )
        for layer in layers:
            columns = weights[f"{layer}.weight"][:, source]
            weights[f"{layer}.weight"] = np.where(unlearned, 0, columns)
    if not network.takes_wavelength and _moves(base, wavelength):
        layer = network.flux_layer
        if layer is None:
            raise WavelengthMismatchError(
                f"`wavelength` must be that of `base`: {type(network).__name__} cannot "
                "be moved to other wavelengths. Resample the spectra, or use a "
                "transformer or a dense network."
            )
        for name in (f"{layer}.weight", f"{layer}.bias"):
            weights[name] = _regrid(base, weights[name].T, wavelength).T
    network.load_state_dict(
        {name: torch.from_numpy(array) for name, array in weights.items()}
    )


def freeze(network, patterns):
    """Exclude weights from training.

    Parameters
    ----------
    network : nn.Module
        Network; changed in place.
    patterns : sequence of str
        Patterns of names of parameters, with wildcards as in file names.

    Raises
    ------
    ValueError
        If a pattern matches no parameter, or all parameters match.
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            raise ValueError(
                f"`freeze` has the pattern {pattern!r}, which is of none of the "
                f"weights {names}."
            )
    frozen = {n for n in names for pattern in patterns if fnmatch(n, pattern)}
    if len(frozen) == len(names):
        raise ValueError(
            f"`freeze` must leave some weights to train; got {patterns!r}, which are "
            f"all of {names}."
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)


def _was_constant(base):
    """Whether each label was constant in the base; a last False for index -1."""
    center = base.scaling.label_center
    constant = (base.domain.low == center) & (base.domain.high == center)
    return np.append(constant, False)


def _moves(base, wavelength):
    old = base.description.wavelength
    if old is None and wavelength is None:
        return False
    return not np.array_equal(old, wavelength)


def _regrid(base, values, wavelength):
    """Interpolate values on the wavelengths of the base (last axis) to others."""
    wavelength = base.description.check_query(wavelength)
    interpolator = GridInterpolator(base.description.wavelength)
    values = np.ascontiguousarray(values, dtype=np.float64)
    moved = interpolator(
        torch.from_numpy(np.atleast_2d(values)), torch.from_numpy(wavelength)
    )
    return moved.numpy().reshape(*values.shape[:-1], -1).astype(np.float32)
