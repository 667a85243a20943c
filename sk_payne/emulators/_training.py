"""Training of a network on scaled spectra: from arrays to a finished module.

It is here so that the estimator is left with what it promises, not with how.
"""

import threading

import numpy as np
import torch

from sk_payne.emulators._batches import SpectrumDataset
from sk_payne.emulators._device import cuda_devices, fits_on
from sk_payne.emulators._grid import log_grid
from sk_payne.emulators._net import make_net
from sk_payne.emulators._torch import TorchEmulator
from sk_payne.networks import fast_products

__all__ = ["choose_held_out", "read_history", "row_blocks", "train_network"]

# Flux values worked on at a time, outside the network.
_FLUX_BLOCK = 2**23

# torch's global generator seeds the first weights: one fit at a time may hold it.
_SEEDING = threading.Lock()


def choose_held_out(n, fraction, random_state, recipe):
    """Choose the spectra that are not trained on.

    Parameters
    ----------
    n : int
        Number of spectra.
    fraction : float
        Part to hold out, rounded down.
    random_state : RandomState
        Draws them.
    recipe : Recipe
        May need them.

    Returns
    -------
    held_out : ndarray of int
        Rows in increasing order.

    Raises
    ------
    ValueError
        If the fraction is not allowed, or early stopping has nothing to look at.
    """
    if not 0 <= fraction < 1:
        raise ValueError(
            f"`validation_fraction` must be at least 0 and below 1; got {fraction!r}. "
            "Pass 0 to train on every spectrum."
        )
    held_out = np.sort(random_state.permutation(n)[: int(n * fraction)])
    if recipe.patience is not None and not len(held_out):
        raise ValueError(
            "`recipe` entry 'patience' needs held-out spectra; got "
            f"`validation_fraction`={fraction} of {n} spectra. Raise it, or set "
            "'patience' to None."
        )
    return held_out


@fast_products()
def train_network(
    build,
    X,
    y,
    start,
    *,
    scaling,
    wavelength,
    recipe,
    device,
    callbacks,
    verbose,
    checkpoint,
):
    """Build and train a network.

    Parameters
    ----------
    build : callable
        Given the number of labels and log10 of the wavelengths, returns a network with
        its first weights, and all of its options.
    X : ndarray of shape (n_spectra, n_labels)
        Stellar parameters.
    y : ndarray of shape (n_spectra, n_wavelengths)
        Flux.
    start : dict
        The "seed" of weights and batches, and rows that are "held_out", to look at and
        not to train on; or the whole state of an earlier training.
    scaling : Scaling
        Of labels and flux.
    wavelength : ndarray of shape (n_wavelengths,) or None
        Å.
    recipe : Recipe
        How to train.
    device : str
        Where to train.
    callbacks : list
        skorch callbacks of the user.
    verbose : int
        Whether to show a progress bar.
    checkpoint : path-like or None
        File that is given every state.

    Returns
    -------
    module : TorchEmulator
        Trained, on the device.
    arch_params : dict
        All options of the network.
    net : EmulatorNet
        The skorch net that trained it.

    Raises
    ------
    ValueError
        If training diverges.
    """
    log_wavelength = log_grid(wavelength, y.shape[1])
    held_out = np.array(start["held_out"], dtype=np.int64)
    trained = np.setdiff1d(np.arange(len(X)), held_out, assume_unique=True)
    # torch's own random state is left as it was
    with torch.random.fork_rng(devices=cuda_devices(device)):
        with _SEEDING:
            torch.manual_seed(start["seed"])
            network, arch_params = build(X.shape[1], log_wavelength)
        module = TorchEmulator(network, scaling, wavelength, log_wavelength)
        net = make_net(
            network,
            recipe,
            _make_dataset(X, y, held_out, module, device) if len(held_out) else None,
            device=device,
            start=start,
            callbacks=callbacks,
            verbose=verbose,
            checkpoint=checkpoint,
        )
        net.partial_fit(_make_dataset(X, y, trained, module, device), None)
    if not all(torch.isfinite(weight).all() for weight in network.parameters()):
        raise ValueError(
            "Training diverged: weights are not finite any more. Lower the entry 'lr' "
            f"of `recipe`; it was {recipe.lr}."
        )
    return module.requires_grad_(False).eval().to(device), arch_params, net


def read_history(net):
    """Read the losses after every epoch of a net.

    Parameters
    ----------
    net : EmulatorNet
        Trained.

    Returns
    -------
    history : list of dict
        "step", "train_loss" and, with held-out spectra, "valid_loss".
    """
    history, n_steps = [], 0
    for epoch in net.history:
        n_steps += sum("train_loss" in batch for batch in epoch["batches"])
        losses = ("train_loss", "valid_loss")
        kept = {name: float(epoch[name]) for name in losses if name in epoch}
        history.append({"step": n_steps, **kept})
    return history


def row_blocks(n, n_wavelengths):
    """Cut spectra into blocks of bounded memory.

    Parameters
    ----------
    n : int
        Number of spectra.
    n_wavelengths : int
        Of each.

    Returns
    -------
    blocks : list of slice
        At least one spectrum each.

    Examples
    --------
    >>> from sk_payne.emulators._training import row_blocks
    >>> row_blocks(3, 2**22)
    [slice(0, 2, None), slice(2, 3, None)]
    """
    step = max(1, _FLUX_BLOCK // max(n_wavelengths, 1))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _make_dataset(X, y, rows, module, device):
    """Scaled tensors of some rows, on the device at once if they fit."""
    labels = module.scaling.scale_labels(X[rows]).astype(np.float32)
    flux = np.empty((len(rows), y.shape[1]), np.float32)
    for block in row_blocks(*flux.shape):
        flux[block] = module.scaling.scale_flux(y[rows[block]])
    home = device if fits_on(device, flux.nbytes) else "cpu"
    return SpectrumDataset(
        torch.from_numpy(labels).to(home),
        torch.from_numpy(flux).to(home),
        module.log_wavelength.to(home) if module.takes_wavelength else None,
    )
