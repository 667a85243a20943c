"""Transfer of labels, scaling and weights from a base to a fine-tuned emulator.

The first prediction of the new emulator is the base's.
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
        Of the new grid.

    Returns
    -------
    source : ndarray of int, shape (n_labels,)
        For each new label its column in the base, or -1 if it is new.

    Raises
    ------
    ValueError
        If a label of the base is missing.
    """
    known = base.description.label_names
    n_known = len(known)
    if known == [f"label_{i}" for i in range(len(known))]:
        # nobody named them, so their places are all there is
        known = list(label_names[: len(known)])
        if len(known) < n_known:
            raise ValueError(
                f"`X` must have at least the {n_known} labels of "
                f"`base`; got {len(label_names)} columns. Add the missing ones."
            )
    for name in known:
        if name not in label_names:
            raise ValueError(
                f"`label_names` must include every label of `base`, but {name!r} is "
                f"missing in {list(label_names)}.{did_you_mean(name, label_names)} "
                "Rename the column that holds it, or add it as a constant column."
            )
    return np.array([known.index(n) if n in known else -1 for n in label_names])


def transfer_options(base, scaling, description):
    """Options of the network of a base, for other labels.

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
        Options of the base, without those that follow from its labels.
    label_scale : tuple or None
        Names and scale of the labels that these follow from, for `build_network`.
    """
    network = resolve_network(base.arch)
    followed = network.label_params(
        *base.scaling.describe_labels(base.description.label_names)
    )
    following = {
        name for name in followed if base.network_params.get(name) == followed[name]
    }
    kept = {k: v for k, v in base.network_params.items() if k not in following}
    if not following:
        return kept, None
    return kept, scaling.describe_labels(description.label_names)


def transfer_scaling(base, labels, source, wavelength):
    """Scale labels and flux as the base does, as far as it knows them.

    Parameters
    ----------
    base : TrainedEmulator
        The base.
    labels : ndarray of shape (n_spectra, n_labels)
        Of the new grid.
    source : ndarray of int, shape (n_labels,)
        Of :func:`match_labels`.
    wavelength : ndarray of shape (n_wavelengths,) or None
        Of the new grid.

    Returns
    -------
    scaling : Scaling
        Labels that are new take their scale from the new grid. Labels that were
        constant in the base keep their zero there and take the largest distance from
        it.
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
    """Give a new network the weights of a base.

    Parameters
    ----------
    network : nn.Module
        Of the same architecture, for the labels and wavelengths of the new grid;
        changed in place.
    base : TrainedEmulator
        The base.
    source : ndarray of int, shape (n_labels,)
        Of :func:`match_labels`.
    wavelength : ndarray of shape (n_wavelengths,) or None
        Of the new grid.

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
    """Keep some weights from being trained.

    Parameters
    ----------
    network : nn.Module
        Changed in place.
    patterns : sequence of str
        Of names of parameters, as in file names.

    Raises
    ------
    ValueError
        If a pattern is of no parameter, or nothing would be left to train.
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
    """Which labels a base never saw vary, with an end for those it does not have."""
    center = base.scaling.label_center
    constant = (base.domain.low == center) & (base.domain.high == center)
    return np.append(constant, False)


def _moves(base, wavelength):
    old = base.description.wavelength
    if old is None and wavelength is None:
        return False
    return not np.array_equal(old, wavelength)


def _regrid(base, values, wavelength):
    """Interpolate what has one number per wavelength of the base on the last axis."""
    wavelength = base.description.check_query(wavelength)
    interpolator = GridInterpolator(base.description.wavelength)
    values = np.ascontiguousarray(values, dtype=np.float64)
    moved = interpolator(
        torch.from_numpy(np.atleast_2d(values)), torch.from_numpy(wavelength)
    )
    return moved.numpy().reshape(*values.shape[:-1], -1).astype(np.float32)
