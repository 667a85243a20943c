"""Networks of one_payne: three hidden layers and a flux between 0 and 1."""

from pathlib import Path

from sk_payne._expansion import MAX_BYTES
from sk_payne.exchange._dense_weights import dense_emulator
from sk_payne.exchange._npz_networks import read_arrays, read_wavelength

__all__ = ["read_one_payne"]

_N_LAYERS = 4


def read_one_payne(
    path,
    *,
    medium,
    wavelength=None,
    label_names=None,
    label_units=None,
    resolving_power=None,
    max_bytes=MAX_BYTES,
):
    r"""Read a network of one_payne [1]_, such as those for 4MOST.

    .. math:: f = \sigma\bigl(W_3\,g(W_2\,g(W_1\,g(W_0 x + b_0) + b_1) + b_2)
        + b_3\bigr), \qquad
        x = \frac{p - p_\mathrm{min}}{p_\mathrm{max} - p_\mathrm{min}} - \frac{1}{2}

    with g(z) = z σ(z), the SiLU, and the logistic function σ.

    Parameters
    ----------
    path : str or path-like
        A ``.npz`` file with the arrays ``w_array_0``, ``b_array_0`` and so on to 3,
        ``x_min`` and ``x_max``, and perhaps ``wavelength`` and ``label_names``. Nothing
        in it is executed.
    medium : {"air", "vacuum"}
        Medium of the wavelengths, which the file does not tell.
    wavelength : array-like of shape (n_wavelengths,), str or path-like, default=None
        Å, increasing, or a ``.npz`` file with the array ``wavelength``; those of the
        file if None.
    label_names : sequence of str, default=None
        Names of the labels; those of the file if None.
    label_units : sequence of str or dict, default=None
        Their astropy units. Look at the ranges: some networks have Teff in 1000 K.
    resolving_power : float or sequence of float, default=None
        Resolving power of the training spectra, as in
        :class:`sk_payne.SpectrumEmulator`.
    max_bytes : int, default=536870912
        Limit to what the arrays of a file take in memory; a file may take 20 times its
        size in any case.

    Returns
    -------
    emulator : SpectrumEmulator
        Fitted, on the CPU; its domain is the box from ``x_min`` to ``x_max``. Errors
        that it makes are not known.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is damaged, holds something else, or expands beyond `max_bytes`.
    ValueError
        If names or wavelengths are neither given nor in the file, or not as many as the
        network has.

    See Also
    --------
    read_the_payne : Networks with two hidden layers.

    References
    ----------
    .. [1] https://github.com/stormnick/one_payne

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_payne.exchange import read_one_payne
    >>> rng = np.random.default_rng(0)
    >>> sizes = (2, 5, 5, 5, 7)
    >>> arrays = {f"w_array_{i}": rng.normal(size=(sizes[i + 1], sizes[i]))
    ...           for i in range(4)}
    >>> arrays |= {f"b_array_{i}": np.zeros(sizes[i + 1]) for i in range(4)}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(
    ...         f"{folder}/net.npz", **arrays, x_min=[4000, 1], x_max=[6000, 5],
    ...         wavelength=np.arange(5000.0, 5007.0), label_names=["teff", "logg"],
    ...     )
    ...     emulator = read_one_payne(f"{folder}/net.npz", medium="air")
    >>> emulator.label_names_, emulator.predict([[5000, 3]])
    (['teff', 'logg'], array([[0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]]))
    """
    optional = "wavelength", "label_names"
    arrays = read_arrays(Path(path), _N_LAYERS, optional, max_bytes=max_bytes)
    if wavelength is None:
        wavelength = arrays.get("wavelength")
    if label_names is None and "label_names" in arrays:
        label_names = [str(name) for name in arrays["label_names"].ravel()]
    return dense_emulator(
        path,
        arrays,
        _N_LAYERS,
        options={"activation": "silu", "output": "sigmoid"},
        wavelength=read_wavelength(wavelength, max_bytes=max_bytes),
        medium=medium,
        label_names=label_names,
        label_units=label_units,
        resolving_power=resolving_power,
        provenance={"format": "one_payne"},
    )
