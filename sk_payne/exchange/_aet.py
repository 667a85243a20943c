"""Reader of emulators that astro-emulators-toolkit saved; JAX is not needed."""

from contextlib import contextmanager

import numpy as np

from sk_payne.emulators import from_weights
from sk_payne.exceptions import FileFormatError
from sk_payne.exchange._aet_networks import ROUNDING, convert_network
from sk_payne.exchange._bundle import read_bundle

__all__ = ["read_aet"]


def read_aet(
    path,
    *,
    wavelength=None,
    medium=None,
    label_names=None,
    label_units=None,
    label_low=None,
    label_high=None,
    resolving_power=None,
):
    """Read an emulator that astro-emulators-toolkit [1]_ saved as a bundle.

    Neither the toolkit nor JAX is needed, and nothing in the bundle is executed. All
    checksums are verified. Labels and flux are scaled as the bundle says, so that the
    emulator takes and gives physical ones, and its domain is the box of the labels.

    Parameters
    ----------
    path : str or path-like
        The folder of the bundle: "mlp", "cannon" or "transformer_payne", with one
        channel of flux.
    wavelength : array-like of shape (n_wavelengths,), default=None
        Å; if None, "wavelength_angstrom" of the bundle's extras.
    medium : {"air", "vacuum"}, default=None
        Medium of the wavelengths; if None, "medium" of the extras.
    label_names : sequence of str, default=None
        Instead of those in the bundle.
    label_units : sequence of str or dict, default=None
        astropy units of the labels, instead of those in the bundle.
    label_low, label_high : array-like of shape (n_labels,), default=None
        Box of the labels, if the bundle has neither a domain nor a scaling of its
        inputs, whose range is then taken.
    resolving_power : float, default=None
        Resolving power of the training spectra, which bundles do not state.

    Returns
    -------
    emulator : SpectrumEmulator
        Fitted, on the CPU; the metadata of the bundle are in `provenance_`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    FileFormatError
        If the bundle is incomplete or changed, of another version, or holds something
        else than an emulator of flux.
    ValueError
        If something must be said that the bundle does not say, or what is said
        contradicts it.

    See Also
    --------
    sk_payne.load : Reads our own emulators.

    Notes
    -----
    A transformer may have been trained on wavelengths in Å or on their logarithm to
    base ten; which it is follows from the range of its domain.

    References
    ----------
    .. [1] Różański, astro-emulators-toolkit 0.1.0,
       https://github.com/RozanskiT/astro-emulators-toolkit.

    Examples
    --------
    >>> from sk_payne.exchange import read_aet
    >>> emulator = read_aet("tests/exchange/data/mlp")
    >>> emulator.label_names_, emulator.medium_
    (['teff', 'logg', 'Fe_H'], 'air')
    >>> emulator.predict([[5000.0, 4.5, -0.2]]).shape
    (1, 41)
    """
    bundle = read_bundle(path)
    with _understood(path):
        said = _description(bundle)
    given = {
        "wavelength": wavelength,
        "medium": medium,
        "label_low": label_low,
        "label_high": label_high,
    }
    said |= {name: _agree(name, said[name], value) for name, value in given.items()}
    given = {"label_names": label_names, "label_units": label_units}
    said |= {name: value for name, value in given.items() if value is not None}
    with _understood(path):
        network = convert_network(bundle, said["wavelength"])
    return from_weights(**network, **said, resolving_power=resolving_power)


@contextmanager
def _understood(path):
    """Name the file in errors about an entry that is missing or of another kind."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(
            f"'{path}' cannot be understood: its 'metadata.json' or weights lack an "
            f"entry, or have it in another form ({error}). Save the bundle again with "
            "astro-emulators-toolkit 0.1."
        ) from error


def _description(bundle):
    """Collect the facts of a bundle about labels and wavelengths; None if absent."""
    inputs, leaf = bundle.metadata["spec"]["inputs"], bundle.leaf("parameter", "input")
    hints = bundle.metadata["model_init"]["hints"]
    n_labels = hints.get("parameter_dim", hints.get("input_last_axis"))
    scaling = bundle.limits("reference_scaling_inputs", leaf)
    domain = bundle.limits("input_domain", leaf) or scaling or (None, None)
    # without a scaling, the network takes labels as they are
    low, high = scaling or (0.0, 1.0)
    kept = ("release", "provenance", "model_family_id")
    return {
        "label_low": _spread(domain[0], n_labels),
        "label_high": _spread(domain[1], n_labels),
        "label_center": _spread(low, n_labels),
        "label_half_width": _spread(np.subtract(high, low), n_labels),
        "label_names": _look_up(inputs.get("channel_names_tree"), leaf),
        "label_units": _look_up(inputs.get("channel_units_tree"), leaf),
        "wavelength": bundle.extra("wavelength_angstrom"),
        "medium": bundle.extra("medium"),
        "provenance": {"bundle_id": bundle.bundle_id}
        | {name: bundle.metadata.get(name) for name in kept},
    }


def _look_up(tree, leaf):
    """Find the entry of a leaf in a tree, if there is a tree."""
    for key in leaf.split("/"):
        tree = None if tree is None else tree[key]
    return tree


def _spread(value, n_labels):
    return None if value is None else np.broadcast_to(value, n_labels)


def _agree(name, said, given):
    """Take the value of the bundle, or else that of the caller."""
    if said is None and given is None:
        raise ValueError(f"`{name}` must be given, as the bundle does not say it.")
    if said is None or given is None:
        return given if said is None else said
    if isinstance(said, str):
        same = said == given
    else:
        same = np.shape(said) == np.shape(given) and np.allclose(
            said, given, rtol=ROUNDING, atol=0
        )
    if not same:
        raise ValueError(
            f"`{name}` must be what the bundle says, {said!r}; got {given!r}. Leave it "
            "out."
        )
    return said
