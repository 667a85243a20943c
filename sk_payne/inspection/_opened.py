"""What the functions of this room ask of a fitted emulator before they look inside.

It is here so that all of them check the same, and work in float64.
"""

import numpy as np
import torch
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from sk_payne.inputs import is_table, read_labels
from sk_payne.networks import TransformerPayne, float64_device

__all__ = ["open_emulator", "require_transformer", "varied_labels", "wavelength_axis"]


def open_emulator(emulator, P):
    """Give the network of an emulator, and stars in its units.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted.
    P : array-like or table of shape (n_spectra, n_labels)
        Stellar parameters; columns of a table are taken by name.

    Returns
    -------
    module : TorchEmulator
        A copy in float64, without gradients on its weights.
    labels : Tensor of shape (n_spectra, n_labels), float64
        In units of the training box, on the device of the module.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If the stellar parameters are not those of the emulator.
    """
    check_is_fitted(emulator)
    table = read_labels(
        P, argument="P", names=emulator.label_names_, units=emulator.label_units_
    )
    if is_table(P):
        P = check_array(table.values, dtype=np.float64, input_name="P")
    else:
        P = validate_data(emulator, table.values, reset=False, dtype=np.float64)
    device = float64_device(emulator.device_)
    module = emulator.to_torch(dtype=torch.float64, device=device)
    labels = module.scaling.scale_labels(P)
    return module, torch.from_numpy(labels).to(module.label_center)


def require_transformer(module, what):
    """Give the transformer of an emulator, or say that there is none.

    Parameters
    ----------
    module : TorchEmulator
        Of any architecture.
    what : str
        Function that needs it.

    Returns
    -------
    network : TransformerPayne
        With tokens and layers of attention.

    Raises
    ------
    ValueError
        If it is another network.
    """
    network = module.network
    if not isinstance(network, TransformerPayne):
        raise ValueError(
            f"`emulator` must be a transformer for {what}; got a network of the class "
            f"{type(network).__name__}, which has no tokens. Use `sensitivity`, which "
            "works for every architecture, or train with arch='transformer'."
        )
    return network


def varied_labels(emulator):
    """Say which labels varied in training, of shape (n_labels,), bool."""
    return emulator.label_high_ > emulator.label_low_


def wavelength_axis(emulator):
    """Wavelengths in Å and their medium, or pixel numbers and None."""
    if emulator.wavelength_ is None:
        return np.arange(emulator.n_outputs_), None
    return emulator.wavelength_.copy(), emulator.medium_
