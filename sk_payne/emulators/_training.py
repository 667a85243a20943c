"""Training of a network on scaled spectra: from arrays to a finished module.

It is here so that the estimator is left with what it promises, not with how.
"""

import threading

import numpy as np
import torch

from sk_payne.emulators._batches import SpectrumDataset
from sk_payne.emulators._device import cuda_devices, fits_on
from sk_payne.emulators._flux import row_blocks
from sk_payne.emulators._grid import log_grid
from sk_payne.emulators._net import make_net
from sk_payne.emulators._processes import n_processes, take_from_first
from sk_payne.emulators._streaming import StreamedDataset
from sk_payne.emulators._torch import TorchEmulator
from sk_payne.networks import fast_products

__all__ = ["read_history", "train_network"]

# torch's global generator seeds the first weights: one fit at a time may hold it.
_SEEDING = threading.Lock()


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
    y : ndarray or StreamedFlux of shape (n_spectra, n_wavelengths)
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
        If training diverges, or there are more processes than spectra in a batch.
    KeyboardInterrupt
        If training was stopped, and not alone: the processes need not have stopped
        after the same step.
    """
    log_wavelength = log_grid(wavelength, y.shape[1])
    held_out = np.array(start["held_out"], dtype=np.int64)
    trained = np.setdiff1d(np.arange(len(X)), held_out, assume_unique=True)
    batch_size = min(recipe.batch_size, len(trained))
    if batch_size < n_processes():
        raise ValueError(
            f"`recipe` entry 'batch_size' must be at least {n_processes()}, the number "
            f"of processes; got batches of {batch_size}. Start fewer processes."
        )
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
    if net.is_interrupted and n_processes() > 1:
        raise KeyboardInterrupt
    take_from_first(network.state_dict().values())
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


def _make_dataset(X, y, rows, module, device):
    """Scaled tensors of some rows, on the device at once if they fit; or on disk."""
    labels = module.scaling.scale_labels(X[rows]).astype(np.float32)
    shape = (len(rows), y.shape[1])
    n_bytes = 4 * shape[0] * shape[1]
    home = device if fits_on(device, n_bytes) else "cpu"
    grid = module.log_wavelength if module.takes_wavelength else None
    if home == "cpu" and not isinstance(y, np.ndarray):
        return StreamedDataset(
            torch.from_numpy(labels).to(device),
            y,
            rows,
            module.scaling,
            None if grid is None else grid.to(device),
        )
    flux = torch.empty(shape, device=home)
    for block in row_blocks(*shape):
        scaled = module.scaling.scale_flux(y[rows[block]]).astype(np.float32)
        flux[block] = torch.from_numpy(scaled)
    return SpectrumDataset(
        torch.from_numpy(labels).to(home), flux, None if grid is None else grid.to(home)
    )
