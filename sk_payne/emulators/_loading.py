"""Emulators without training: loaded, checked, or made from weights."""

import numpy as np
import torch
from sklearn.utils import Bunch

from sk_payne._checksums import SUMS, digest_of, verify_folder
from sk_payne.emulators._emulator import SpectrumEmulator
from sk_payne.emulators._ready import resolve_path
from sk_payne.exceptions import FileFormatError
from sk_payne.networks import RANDOM_STATE, build_network, resolve_network
from sk_payne.spectra import resolve_resolving_power
from sk_payne.trained import (
    FINGERPRINT,
    REQUIRED,
    TOLERANCE,
    Description,
    Domain,
    Scaling,
    TrainedEmulator,
    Training,
    check_grid,
    largest_difference,
    read_emulator,
    resolve_label_names,
    resolve_label_units,
)

__all__ = ["check", "from_weights", "load"]


def load(path, *, arch=None):
    """Read an emulator that :meth:`SpectrumEmulator.save` wrote, or a ready one.

    Nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like
        The file, or the folder, whose files are checked against their SHA-256; or the
        name of an emulator in :func:`sk_payne.emulators.ready`.
    arch : type, default=None
        The ``nn.Module`` class of the network, if it is a class of the user.

    Returns
    -------
    emulator : SpectrumEmulator
        Fitted, on the CPU; it predicts exactly the flux of the saved one. Statements of
        its author are in `provenance_`.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    FileFormatError
        If the file is damaged, of another kind or of a newer format, or needs `arch`;
        if a file of the folder is missing, damaged or was changed.

    See Also
    --------
    sk_payne.emulators.ready : Emulators that come with the package.
    sk_payne.from_pretrained : Fetches an emulator, and loads it.
    sk_payne.check : Compares predictions as well.

    Examples
    --------
    >>> import tempfile
    >>> import sk_payne
    >>> from sk_payne import SpectrumEmulator
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     emulator.save(f"{folder}/tiny.safetensors", provenance={"grid": "by hand"})
    ...     again = sk_payne.load(f"{folder}/tiny.safetensors")
    >>> bool((again.predict([[0.3]]) == emulator.predict([[0.3]])).all())
    True
    >>> again.provenance_["grid"]
    'by hand'
    """
    return SpectrumEmulator.from_trained(read_emulator(resolve_path(path), arch=arch))


def check(path, *, arch=None):
    """Check the files of a saved emulator and its predictions on this machine.

    Parameters
    ----------
    path : str or path-like
        A folder or a file that :meth:`SpectrumEmulator.save` wrote, or the name of a
        ready emulator.
    arch : type, default=None
        The ``nn.Module`` class of the network, if it is a class of the user.

    Returns
    -------
    report : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        files : dict of str to str
            SHA-256 of every file.
        sha256 : str
            SHA-256 of ``SHA256SUMS`` in a folder, which covers all files, or of the one
            file. Publish it elsewhere, for ``from_pretrained(sha256=...)``.
        difference : float or None
            Largest difference between the flux stored in the folder and the flux
            predicted here, relative to the largest flux; None for one file.

    Raises
    ------
    FileNotFoundError
        If the file or folder does not exist, or has no list of files.
    FileFormatError
        If a file is missing, damaged or was changed, or if predictions differ by more
        than 1e-6.

    See Also
    --------
    load : Checks the files as well.

    Examples
    --------
    >>> import tempfile
    >>> import sk_payne
    >>> emulator = sk_payne.SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     emulator.save(f"{folder}/tiny")
    ...     report = sk_payne.check(f"{folder}/tiny")
    >>> list(report.files)
    ['emulator.safetensors', 'README.md', 'fingerprint.json', 'SHA256SUMS']
    >>> report.difference < 1e-12
    True
    """
    path = resolve_path(path)
    trained = read_emulator(path, arch=arch)
    if not path.is_dir():
        digest = digest_of(path)
        return Bunch(files={path.name: digest}, sha256=digest, difference=None)
    files = verify_folder(path, REQUIRED)
    fingerprint = (path / FINGERPRINT).read_text(encoding="utf-8")
    difference = largest_difference(trained, fingerprint)
    if not difference <= TOLERANCE:
        raise FileFormatError(
            f"'{path}' holds the files it should, but predictions differ from "
            f"'{FINGERPRINT}' by up to {difference:.2g} of the largest flux; "
            f"{TOLERANCE:g} is allowed. Install the versions it was saved with: "
            f"{trained.provenance['versions']}."
        )
    return Bunch(files=files, sha256=files[SUMS], difference=difference)


def from_weights(
    arch,
    weights,
    *,
    wavelength,
    medium,
    label_low,
    label_high,
    arch_params=None,
    label_names=None,
    label_units=None,
    label_center=None,
    label_half_width=None,
    flux_offset=0.0,
    flux_scale=1.0,
    resolving_power=None,
    provenance=None,
):
    """Make a fitted emulator from a network that was trained elsewhere.

    The input of the network is ``(P - label_center) / label_half_width``, and the flux
    is ``flux_offset + flux_scale * output``.

    Parameters
    ----------
    arch : str or type
        As in :class:`SpectrumEmulator`.
    weights : dict of str to array-like
        The ``state_dict`` of the network.
    wavelength : array-like of shape (n_wavelengths,)
        Wavelengths in Å, increasing.
    medium : {"air", "vacuum"}
        Medium of `wavelength`.
    label_low, label_high : array-like of shape (n_labels,)
        Smallest and largest value of each label in training; beyond this box, `predict`
        warns.
    arch_params : dict, default=None
        Options of the architecture.
    label_names : sequence of str, default=None
        Names of the labels; if None, "label_0" ...
    label_units : sequence of str or dict, default=None
        astropy units of the labels.
    label_center, label_half_width : array-like of shape (n_labels,), default=None
        Scaling of the labels; if None, the box is scaled to -1 to 1.
    flux_offset : float or array-like of shape (n_wavelengths,), default=0.0
        Offset of the flux. One number if the network takes wavelengths.
    flux_scale : float, default=1.0
        Scale of the flux.
    resolving_power : float or sequence of float, default=None
        Resolving power of the training spectra, as in :class:`SpectrumEmulator`.
    provenance : dict, default=None
        Facts about the training; it becomes `provenance_`.

    Returns
    -------
    emulator : SpectrumEmulator
        Fitted, on the CPU, in single precision. Recipe and training spectra are
        unknown: `recipe_` and `held_out_mae_` are None and `n_training_` is 0.

    Raises
    ------
    ValueError
        If shapes do not fit each other or the architecture, or a value is not finite.

    See Also
    --------
    sk_payne.exchange.read_the_payne : Reads a network of The_Payne.

    Examples
    --------
    >>> from sk_payne.emulators import from_weights
    >>> emulator = from_weights(
    ...     "cannon",
    ...     {"polynomial.weight": [[-0.1, 0.0], [-0.2, 0.1]],
    ...      "polynomial.bias": [1.0, 0.5]},
    ...     wavelength=[4500.0, 4501.0], medium="air",
    ...     label_low=[4000.0], label_high=[6000.0], label_names=["teff"],
    ... )
    >>> emulator.predict([[5000.0], [6000.0]]).round(3)
    array([[1. , 0.5], [0.9, 0.4]])
    """
    low, high = _check_box(label_low, label_high)
    if wavelength is None:
        raise ValueError("`wavelength` must be given, one value for each flux.")
    wavelength, medium = check_grid(wavelength, medium, np.size(wavelength))
    names = resolve_label_names(label_names, len(low))
    if label_center is None:
        label_center = (low + high) / 2
    if label_half_width is None:
        label_half_width = np.where(high > low, (high - low) / 2, 1.0)
    scaling = Scaling(
        np.array(label_center, np.float64),
        np.array(label_half_width, np.float64),
        np.atleast_1d(np.array(flux_offset, np.float64)),
        float(flux_scale),
    )
    weights = {name: np.asarray(w, np.float32) for name, w in weights.items()}
    network = resolve_network(arch)
    n_offsets = 1 if network.takes_wavelength else len(wavelength)
    _check_scaling(scaling, len(low), n_offsets)
    _check_finite(vars(scaling) | weights)
    description = Description(
        label_names=names,
        label_units=resolve_label_units(label_units, names),
        n_wavelengths=len(wavelength),
        wavelength=wavelength,
        medium=medium,
        resolving_power=resolve_resolving_power(resolving_power, wavelength),
    )
    with RANDOM_STATE, torch.random.fork_rng(devices=[]):
        _, network_params = build_network(
            arch, len(low), description.log_wavelength, arch_params
        )
    try:
        trained = TrainedEmulator.from_weights(
            weights,
            arch=arch,
            arch_params=arch_params,
            network_params=network_params,
            description=description,
            scaling=scaling,
            domain=Domain.from_box(low, high, names),
            held_out=None,
            training=Training(recipe=None),
            provenance=dict(provenance or {}),
        )
    except RuntimeError as error:
        raise ValueError(
            f"`weights` must be those of {arch!r} with {network_params} for {len(low)} "
            f"labels and {len(wavelength)} wavelengths: {error}"
        ) from error
    return SpectrumEmulator.from_trained(trained)


def _check_box(label_low, label_high):
    low, high = (
        np.array(ends, dtype=np.float64, ndmin=1) for ends in (label_low, label_high)
    )
    if low.ndim != 1 or low.shape != high.shape or not len(low):
        raise ValueError(
            "`label_low` and `label_high` must have one value for each label; got "
            f"shapes {low.shape} and {high.shape}."
        )
    if not (np.isfinite([low, high]).all() and (low <= high).all()):
        raise ValueError(
            "`label_low` and `label_high` must be finite and in this order; got "
            f"{low.tolist()} and {high.tolist()}."
        )
    return low, high


def _check_scaling(scaling, n_labels, n_wavelengths):
    for name in ("label_center", "label_half_width"):
        if getattr(scaling, name).shape != (n_labels,):
            raise ValueError(
                f"`{name}` must have one value for each of {n_labels} labels; got "
                f"shape {getattr(scaling, name).shape}."
            )
    if scaling.flux_offset.shape not in ((1,), (n_wavelengths,)):
        raise ValueError(
            f"`flux_offset` must be one number or {n_wavelengths}; got shape "
            f"{scaling.flux_offset.shape}."
        )
    if not ((scaling.label_half_width > 0).all() and scaling.flux_scale > 0):
        raise ValueError(
            "`label_half_width` and `flux_scale` must be positive; got "
            f"{scaling.label_half_width.tolist()} and {scaling.flux_scale}."
        )


def _check_finite(arrays):
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise ValueError(f"`{name}` must be finite; got NaN or infinity.")
