"""Access to the network, labels and wavelengths of a fitted emulator, in float64."""

import numpy as np
import torch
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sk_payne.inputs import is_table, read_labels
from sk_payne.networks import TransformerPayne, float64_device

__all__ = [
    "label_array",
    "open_emulator",
    "require_transformer",
    "varied_labels",
    "wavelength_axis",
]


def open_emulator(emulator, P):
    """Copy the network of an emulator, and scale labels of stars for it.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted emulator.
    P : array-like or table of shape (n_spectra, n_labels)
        Stellar parameters; columns of a table are taken by name.

    Returns
    -------
    module : TorchEmulator
        A copy in float64, without gradients on its weights.
    labels : Tensor of shape (n_spectra, n_labels), float64
        Scaled labels, -1 to 1 in the training box, on the device of the module.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If the stellar parameters do not fit the emulator.
    """
    check_is_fitted(emulator)
    values = _label_values(emulator, P)
    if is_table(P):
        P = check_array(values, dtype=np.float64, input_name="P")
    else:
        P = validate_data(emulator, values, reset=False, dtype=np.float64)
    device = float64_device(emulator.device_)
    module = emulator.to_torch(dtype=torch.float64, device=device)
    labels = module.scaling.scale_labels(P)
    return module, torch.from_numpy(labels).to(module.label_center)


def label_array(emulator, P):
    """Stellar parameters in the order and the units of an emulator.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted emulator.
    P : array-like or table of shape (n_spectra, n_labels)
        Stellar parameters; columns of a table are taken by name.

    Returns
    -------
    labels : ndarray of shape (n_spectra, n_labels), float64
        The same stellar parameters.

    Raises
    ------
    ValueError
        If a column is missing, or its unit does not convert.
    """
    return np.asarray(_label_values(emulator, P), dtype=np.float64)


def _label_values(emulator, P):
    names, units = emulator.label_names_, emulator.label_units_
    return read_labels(P, argument="P", names=names, units=units).values


def require_transformer(module, function):
    """Return the network of an emulator if it is a transformer.

    Parameters
    ----------
    module : TorchEmulator
        Emulator of any architecture.
    function : str
        Name of the calling function, for the error message.

    Returns
    -------
    network : TransformerPayne
        Network with tokens and layers of attention.

    Raises
    ------
    ValueError
        If the network is no transformer.
    """
    network = module.network
    if not isinstance(network, TransformerPayne):
        raise ValueError(
            f"`emulator` must be a transformer for {function}; got a network of the "
            f"class {type(network).__name__}, which has no tokens. Use `sensitivity`, "
            "which works for every architecture, or train with arch='transformer'."
        )
    return network


def varied_labels(emulator):
    """Whether each label varied in training, of shape (n_labels,), bool."""
    return emulator.label_high_ > emulator.label_low_


def wavelength_axis(emulator):
    """Wavelengths in Å and their medium, or pixel numbers and None."""
    if emulator.wavelength_ is None:
        return np.arange(emulator.n_outputs_), None
    return emulator.wavelength_.copy(), emulator.medium_
