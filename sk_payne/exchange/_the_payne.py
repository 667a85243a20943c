"""Networks of The_Payne: two hidden layers in a file of plain arrays."""

import io
from pathlib import Path

import numpy as np
from torch import nn

from sk_payne._expansion import MAX_BYTES
from sk_payne._persistence import replacing
from sk_payne.exchange._dense_weights import dense_emulator
from sk_payne.exchange._npz_networks import (
    check_network,
    network_names,
    read_arrays,
    read_wavelength,
)
from sk_payne.exchange._opened import open_emulator
from sk_payne.networks import BigPayne, Payne

__all__ = ["read_the_payne", "write_the_payne"]

_N_LAYERS = 3
_MATRICES, _BIASES, _ENDS = network_names(_N_LAYERS)

# Labels of the network that comes with The_Payne, in its order.
_APOGEE = (
    *("Teff", "logg", "Vturb", "[C/H]", "[N/H]", "[O/H]", "[Na/H]", "[Mg/H]"),
    *("[Al/H]", "[Si/H]", "[P/H]", "[S/H]", "[K/H]", "[Ca/H]", "[Ti/H]", "[V/H]"),
    *("[Cr/H]", "[Mn/H]", "[Fe/H]", "[Co/H]", "[Ni/H]", "[Cu/H]", "[Ge/H]"),
    *("C12/C13", "Vmacro"),
)


def read_the_payne(
    path,
    *,
    medium,
    wavelength=None,
    label_names=None,
    label_units=None,
    resolving_power=None,
    max_bytes=MAX_BYTES,
):
    r"""Read a network of The_Payne [1]_.

    .. math:: f = W_2\,g(W_1\,g(W_0 x + b_0) + b_1) + b_2, \qquad
        x = \frac{p - p_\mathrm{min}}{p_\mathrm{max} - p_\mathrm{min}} - \frac{1}{2}

    with a leaky ReLU g of slope 0.01. The file tells neither what its labels are nor
    at which wavelengths its flux is, so both must be said.

    Parameters
    ----------
    path : str, path-like or PaynePredictor
        A ``.npz`` file with the arrays ``w_array_0``, ``b_array_0`` and so on to 2,
        ``x_min`` and ``x_max``; others in it are ignored. Or a ``PaynePredictor`` of
        The_Payne 1.2, which brings its wavelengths.
    medium : {"air", "vacuum"}
        Medium of the wavelengths. The network for APOGEE has them in vacuum.
    wavelength : array-like of shape (n_wavelengths,), str or path-like, default=None
        Å, increasing; or a ``.npz`` file with the array ``wavelength``, such as
        ``apogee_wavelength.npz``. None takes those of a predictor.
    label_names : sequence of str or "apogee", default=None
        Names of the labels, in the order of the network. "apogee" stands for the 25
        labels of the network that comes with The_Payne; only its predictor knows them
        without.
    label_units : sequence of str or dict, default=None
        Their astropy units.
    resolving_power : float, default=None
        Resolving power of the training spectra.
    max_bytes : int, default=536870912
        Limit to what the arrays of a file take in memory; a file may take 20 times its
        size in any case.

    Returns
    -------
    emulator : SpectrumEmulator
        Fitted, on the CPU; its domain is the box from ``x_min`` to ``x_max``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is damaged, holds something else, or expands beyond `max_bytes`.
    ValueError
        If names or wavelengths are not given, or not as many as the network has.

    See Also
    --------
    read_one_payne : Networks with three hidden layers and a sigmoid.

    References
    ----------
    .. [1] Ting et al., "The Payne: self-consistent ab initio fitting of stellar
       spectra", ApJ 879, 69, 2019; https://github.com/tingyuansen/The_Payne, whose
       ``spectral_model.py`` has the formula.

    Examples
    --------
    >>> import tempfile
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.datasets import make_spectra
    >>> from sk_payne.exchange import read_the_payne, write_the_payne
    >>> grid = make_spectra(50, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", arch_params={"activation": "leaky_relu"}, max_steps=20,
    ...     wavelength=grid.wavelength, medium=grid.medium, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_the_payne(emulator, f"{folder}/toy.npz")
    ...     again = read_the_payne(
    ...         f"{folder}/toy.npz", wavelength=grid.wavelength, medium=grid.medium,
    ...         label_names=grid.label_names,
    ...     )
    >>> difference = again.predict(grid.data) - emulator.predict(grid.data)
    >>> bool(abs(difference).max() < 1e-6)
    True
    """
    if hasattr(path, "NN_coeffs"):
        arrays = dict(zip((*_MATRICES, *_BIASES, *_ENDS), path.NN_coeffs, strict=True))
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        check_network("predictor", arrays, _N_LAYERS)
        wavelength = path.wavelength if wavelength is None else wavelength
        is_apogee = len(arrays["x_min"]) == len(_APOGEE)
        label_names = "apogee" if label_names is None and is_apogee else label_names
        path = "predictor"
    else:
        arrays = read_arrays(Path(path), _N_LAYERS, max_bytes=max_bytes)
    if isinstance(label_names, str) and label_names == "apogee":
        label_names = _APOGEE
    return dense_emulator(
        path,
        arrays,
        _N_LAYERS,
        options={"activation": "leaky_relu"},
        wavelength=read_wavelength(wavelength, max_bytes=max_bytes),
        medium=medium,
        label_names=label_names,
        label_units=label_units,
        resolving_power=resolving_power,
        provenance={"format": "The_Payne"},
    )


def write_the_payne(emulator, path):
    """Write an emulator as a network of The_Payne, see :func:`read_the_payne`.

    The format has room for a network and the box of its labels. It keeps neither
    names, units, wavelengths nor medium: tell them with the file.

    Parameters
    ----------
    emulator : SpectrumEmulator or FineTunedEmulator
        Fitted, with ``arch="payne"`` or ``"bigpayne"`` of two hidden layers and
        ``arch_params={"activation": "leaky_relu"}``.
    path : str or path-like
        A file that ends with ".npz"; replaced if it exists.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If the format cannot hold it.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.exchange import write_the_payne
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> write_the_payne(emulator, "toy.npz")
    Traceback (most recent call last):
        ...
    ValueError: `emulator` must have the activation 'leaky_relu', which The_Payne ...
    """
    emulator, path = open_emulator(emulator), Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"`path` must end with '.npz'; got '{path}'.")
    module = emulator.to_torch(device="cpu")
    layers = _linear_layers(module.network)
    low, high = emulator.label_low_, emulator.label_high_
    constant = np.array(emulator.label_names_)[low == high].tolist()
    if constant:
        raise ValueError(
            "`emulator` must have been trained on spectra whose labels vary, but "
            f"{constant} did not: The_Payne would divide by zero."
        )
    content = io.BytesIO()
    arrays = _fold(module.scaling, layers, low, high)
    np.savez(content, **arrays, x_min=low, x_max=high)
    with replacing(path) as file:
        file.write(content.getvalue())


def _fold(scaling, layers, low, high):
    """Put our scaling into the weights: labels there go from -0.5 to 0.5 in the box."""
    matrices = [layer.weight.double().numpy() for layer in layers]
    biases = [layer.bias.double().numpy() for layer in layers]
    shift = ((low + high) / 2 - scaling.label_center) / scaling.label_half_width
    biases[0] = biases[0] + matrices[0] @ shift
    matrices[0] = matrices[0] * ((high - low) / scaling.label_half_width)
    matrices[2] = scaling.flux_scale * matrices[2]
    biases[2] = scaling.flux_offset + scaling.flux_scale * biases[2]
    arrays = zip(_MATRICES + _BIASES, matrices + biases, strict=True)
    return {name: array.astype(np.float32) for name, array in arrays}


def _linear_layers(network):
    """Give the three linear layers, if the format can hold the network."""
    hint = (
        "Train with `arch='payne'` and `arch_params={'activation': 'leaky_relu'}`, or "
        "use sk_payne.exchange.export_onnx."
    )
    if not isinstance(network, Payne | BigPayne):
        raise ValueError(
            "`emulator` must be dense to be written for The_Payne; got "
            f"{type(network).__name__}. {hint}"
        )
    layers = list(network.layers)
    if not isinstance(layers[-1], nn.Linear):
        raise ValueError(
            f"`emulator` must have the output 'linear'; got {layers[-1]}. {hint}"
        )
    if len(layers) != 5:
        raise ValueError(
            f"`emulator` must have two hidden layers; got {len(layers) // 2}. {hint}"
        )
    for layer in layers[1::2]:
        if not isinstance(layer, nn.LeakyReLU):
            raise ValueError(
                "`emulator` must have the activation 'leaky_relu', which The_Payne "
                f"has; got {layer}. {hint}"
            )
    return layers[::2]
