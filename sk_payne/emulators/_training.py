"""Training of a network, from a plan to a trained emulator."""

import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.utils import check_random_state

from sk_payne.emulators._batches import SpectrumDataset, StreamedDataset
from sk_payne.emulators._checkpoint import check_same, read_state
from sk_payne.emulators._device import (
    fits_on,
    keep_random_state,
    resolve_device,
    seed_random_state,
)
from sk_payne.emulators._net import make_net
from sk_payne.emulators._processes import (
    check_agreement,
    from_first,
    is_first,
    n_processes,
    take_from_first,
)
from sk_payne.exceptions import TrainingInterruptedWarning
from sk_payne.networks import RANDOM_STATE, fast_products, float64_device
from sk_payne.trained import (
    Domain,
    HeldOutErrors,
    TorchEmulator,
    TrainedEmulator,
    Training,
    row_blocks,
)

__all__ = ["begin", "train"]


def begin(plan, estimator, state=None):
    """Prepare a training: draw seed and held-out rows, or take an earlier state.

    Parameters
    ----------
    plan : Plan
        The training.
    estimator : BaseEmulator
        Its `random_state`, `validation_fraction` and `checkpoint` are read.
    state : dict, default=None
        State of an interrupted training. If None, the state in the checkpoint file, if
        there is one, else a new start.

    Returns
    -------
    start : dict
        Seed and held-out rows, or the earlier state; with the identity of the plan.

    Raises
    ------
    ValueError
        If the earlier state belongs to another training, or an argument is not
        allowed.
    """
    if state is not None:
        seed = _requested_seed(estimator.random_state)
        kind = "interrupted" if "network" in state else "finished"
        check_same(state, plan.identity, seed, f"the {kind} training")
        return state
    return from_first(lambda: _begin(plan, estimator)) | plan.identity


def _begin(plan, estimator):
    if estimator.checkpoint is not None and Path(estimator.checkpoint).exists():
        state = read_state(estimator.checkpoint)
        seed = _requested_seed(estimator.random_state)
        training = f"the training in '{estimator.checkpoint}'"
        check_same(state, plan.identity, seed, training)
        return state
    random_state = check_random_state(estimator.random_state)
    seed = int(random_state.randint(2**31 - 1))
    held_out = _choose_held_out(
        len(plan.new), estimator.validation_fraction, random_state, plan.recipe
    )
    return {"seed": seed, "held_out": held_out.tolist()}


def _requested_seed(random_state):
    """Seed of a `random_state` that is a number; None for any other."""
    if not isinstance(random_state, int | np.integer):
        return None
    return int(check_random_state(random_state).randint(2**31 - 1))


def _choose_held_out(n, fraction, random_state, recipe):
    """Rows of the spectra that are not trained on, in increasing order."""
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


def train(plan, start, estimator):
    """Train a network, and measure its errors on the held-out spectra.

    Parameters
    ----------
    plan : Plan
        The training.
    start : dict
        Start from :func:`begin`.
    estimator : BaseEmulator
        Its `device`, `callbacks`, `verbose`, `checkpoint`, `random_state` and
        `validation_fraction` are read; it is not changed.

    Returns
    -------
    trained : TrainedEmulator
        Trained emulator, on the device.
    net : EmulatorNet
        The skorch net of the training, without its data.

    Raises
    ------
    ValueError
        If training diverges, or there are more processes than spectra in a batch.
    KeyboardInterrupt
        If training was stopped in one of several processes: the others may have
        stopped after another step.

    Warns
    -----
    TrainingInterruptedWarning
        If training was stopped by Ctrl-C.
    """
    device = resolve_device(estimator.device)
    identity = {name: start[name] for name in ("spectra", "settings")}
    check_agreement(identity)
    held_out = np.array(start["held_out"], dtype=np.int64)
    # the global random state of torch is restored
    with RANDOM_STATE, keep_random_state(device):
        module, network_params, net = _run(plan, start, held_out, device, estimator)
    interrupted = net.is_interrupted
    n_new = len(plan.new)
    labels = plan.labels[:n_new]
    domain = Domain.from_training(labels, plan.description.label_names)
    unmeasured = TrainedEmulator(
        arch=plan.arch,
        arch_params=plan.arch_params,
        network_params=network_params,
        description=plan.description,
        scaling=plan.scaling,
        domain=domain,
        held_out=None,
        training=Training(
            recipe=plan.recipe,
            n_training=n_new - len(held_out),
            n_held_out=len(held_out),
            n_steps=net.n_steps,
            history=_read_history(net),
            options={
                "random_state": estimator.random_state,
                "validation_fraction": estimator.validation_fraction,
            },
            state=net.state_ if interrupted else identity | {"n_steps": net.n_steps},
        ),
        module=module,
        device=device,
        provenance=plan.provenance,
    )
    trained = unmeasured
    if len(held_out):
        errors = HeldOutErrors.measure(
            unmeasured.predict,
            labels[held_out],
            plan.new,
            held_out,
            domain.low,
            domain.high,
            module,
        )
        trained = unmeasured.with_held_out(errors)
    if interrupted:
        warnings.warn(
            f"Training was stopped after {net.n_steps} of {plan.recipe.max_steps} "
            "steps; the emulator is less accurate than it could be. `partial_fit` with "
            "the same spectra goes on.",
            TrainingInterruptedWarning,
            stacklevel=3,
        )
    elif estimator.checkpoint is not None and is_first():
        Path(estimator.checkpoint).unlink(missing_ok=True)
    net.forget_data()
    return trained, net


@fast_products()
def _run(plan, start, held_out, device, estimator):
    """Train; return the module, all options of its network, and the net."""
    recipe, description = plan.recipe, plan.description
    training = np.setdiff1d(np.arange(len(plan.labels)), held_out, assume_unique=True)
    batch_size = min(recipe.batch_size, len(training))
    if batch_size < n_processes():
        raise ValueError(
            f"`recipe` entry 'batch_size' must be at least {n_processes()}, the number "
            f"of processes; got batches of {batch_size}. Start fewer processes."
        )
    seed_random_state(start["seed"], device)
    network, network_params = plan.build()
    module = TorchEmulator(network, plan.scaling, description)
    net = make_net(
        network,
        recipe,
        _make_dataset(plan, held_out, module, device) if len(held_out) else None,
        device=device,
        start=start,
        callbacks=_as_list(estimator.callbacks),
        verbose=estimator.verbose,
        checkpoint=estimator.checkpoint,
    )
    net.partial_fit(_make_dataset(plan, training, module, device), None)
    if net.is_interrupted and n_processes() > 1:
        raise KeyboardInterrupt
    take_from_first(network.state_dict().values())
    if not all(torch.isfinite(weight).all() for weight in network.parameters()):
        raise ValueError(
            "Training diverged: weights are not finite any more. Lower the entry 'lr' "
            f"of `recipe`; it was {recipe.lr}."
        )
    return module.requires_grad_(False).eval().to(device), network_params, net


def _as_list(callbacks):
    if callbacks is None:
        return []
    if not isinstance(callbacks, list | tuple):
        raise TypeError(
            "`callbacks` must be a list of skorch callbacks; got "
            f"{type(callbacks).__name__}. Put it into a list."
        )
    return list(callbacks)


def _read_history(net):
    """Step, "train_loss" and, with held-out spectra, "valid_loss" of every epoch."""
    history, n_steps = [], 0
    for epoch in net.history:
        n_steps += sum("train_loss" in batch for batch in epoch["batches"])
        losses = ("train_loss", "valid_loss")
        losses = {name: float(epoch[name]) for name in losses if name in epoch}
        history.append({"step": n_steps, **losses})
    return history


def _make_dataset(plan, rows, module, device):
    """Scaled tensors of rows, on the device if they fit; or flux that stays on disk."""
    flux, scaling = plan.flux, plan.scaling
    labels = scaling.scale_labels(plan.labels[rows]).astype(np.float32)
    labels = torch.from_numpy(labels)
    shape = (len(rows), flux.shape[1])
    n_bytes = 4 * shape[0] * shape[1] * (1 + flux.has_weights)
    storage = device if fits_on(device, n_bytes) else "cpu"
    grid = module.log_wavelength if module.takes_wavelength else None
    grid = None if grid is None else grid.to(float64_device(device))
    if storage == "cpu" and flux.is_streamed:
        return StreamedDataset(labels.to(device), flux, rows, scaling, grid)
    scaled = torch.empty(shape, dtype=torch.float32, device=storage)
    weights = torch.empty_like(scaled) if flux.has_weights else None
    for block in row_blocks(*shape):
        values = scaling.scale_flux(flux[rows[block]]).astype(np.float32)
        scaled[block] = torch.from_numpy(values).to(storage)
        if weights is not None:
            weights[block] = torch.from_numpy(flux.weights(rows[block])).to(storage)
    return SpectrumDataset(labels.to(storage), scaled, grid, weights)
