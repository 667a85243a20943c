"""Training of a posterior network on simulated batches, by skorch."""

import copy
import warnings
from pathlib import Path

import torch
from skorch import NeuralNet
from skorch.callbacks import GradientNormClipping, LRScheduler
from skorch.helper import predefined_split
from skorch.history import History
from torch import nn
from tqdm.auto import tqdm

from sk_payne.emulators import WarmupDecay, write_state
from sk_payne.exceptions import TrainingInterruptedWarning
from sk_payne.networks import fast_products

__all__ = ["train_network"]

# Number of steps per epoch, between evaluations of held-out spectra; largest number of
# held-out spectra per batch.
_EPOCH, _AT_A_TIME = 50, 256

# Fraction of the steps in which the learning rate rises.
_WARMUP = 0.02

# Largest norm of the gradients.
_CLIP = 5.0

# Learning rate of directions and regression, which are initialised well, in units of
# that of all other weights.
_SLOWER = 0.1

_WEIGHT_DECAY = 0.01


class _MeanLoss(nn.Module):
    """Mean of the losses that `_PosteriorNet.infer` returns."""

    def forward(self, loss, target):
        """Compute the mean over a batch; the target is not used."""
        return loss.mean()


class _Set(torch.utils.data.Dataset):
    """Dataset of skorch: a simulation, or held-out spectra."""

    def __init__(self, source, n):
        self.source, self.n = source, n

    def __len__(self):
        return self.n


def _batch_of(draws):
    """Return the input of the network, and a target that is not used."""
    inputs = draws.spectra.residual, draws.spectra.variance, draws.coordinates
    return inputs, torch.zeros(len(draws), device="cpu")


class _NewBatches:
    """New batches of one epoch."""

    def __init__(self, dataset, batch_size, counter, bar):
        self.simulation, self.batch_size = dataset.source, batch_size
        self.counter, self.bar = counter, bar

    def __iter__(self):
        for _ in range(min(_EPOCH, self.counter.left)):
            draws = self.simulation.batch(self.counter.n_steps, self.batch_size)
            yield _batch_of(draws)
            self.counter.n_steps += 1
            self.bar.update()


class _HeldOutBatches:
    """Held-out spectra in order."""

    def __init__(self, dataset, batch_size):
        self.inputs, self.target = dataset.source

    def __iter__(self):
        parts = zip(*(values.split(_AT_A_TIME) for values in self.inputs), strict=True)
        yield from zip(parts, self.target.split(_AT_A_TIME), strict=True)


class _Counter:
    """Number of steps taken, and of all steps."""

    def __init__(self, n_steps, max_steps):
        self.n_steps, self.max_steps = n_steps, max_steps

    @property
    def left(self):
        """Number of remaining steps."""
        return self.max_steps - self.n_steps


class _PosteriorNet(NeuralNet):
    """Net of skorch that stores its state after every epoch, and continues from it.

    Parameters
    ----------
    *args, **kwargs
        Arguments of `skorch.NeuralNet`.
    counter : _Counter
        Counter of the steps.
    start : dict
        State from which training continues; without "network" for a new training.
    checkpoint : path-like or None
        File to which every state is written.
    """

    def __init__(self, *args, counter=None, start=None, checkpoint=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.counter, self.start, self.checkpoint = counter, start, checkpoint

    def infer(self, x, **fit_params):
        """Compute losses: minus the log density at the true coordinates."""
        residual, variance, coordinates = (part.to(self.device) for part in x)
        posterior = self.module_(residual, variance)
        return -posterior.log_prob(coordinates)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train for the remaining steps, from the state of an earlier training."""
        if "network" in self.start:
            self._restore(self.start)
        self.state_ = self._capture()
        n_epochs = -(-self.counter.left // _EPOCH)
        return super().fit_loop(X, y, n_epochs, **fit_params)

    def notify(self, method_name, **cb_kwargs):
        """Call all callbacks; then store the state at the end of an epoch."""
        super().notify(method_name, **cb_kwargs)
        if method_name == "on_epoch_end":
            self.state_ = self._capture()
            if self.checkpoint is not None:
                write_state(self.checkpoint, self.state_)

    @property
    def is_interrupted(self):
        """True if steps remain."""
        return self.state_["n_steps"] < self.counter.max_steps

    def fall_back(self):
        """Restore the last stored state."""
        self._restore(self.state_)

    def _capture(self):
        state = {
            "network": self.module_.state_dict(),
            "optimizer": self.optimizer_.state_dict(),
        }
        history = list(self.start.get("history", []))
        n_steps = self.start.get("n_steps", 0)
        for epoch in self.history:
            n_steps += sum("train_loss" in batch for batch in epoch["batches"])
            losses = {name: float(epoch[name]) for name in ("train_loss", "valid_loss")}
            history.append({"step": n_steps, **losses})
        own = {"n_steps": self.counter.n_steps, "history": history}
        return self.start | copy.deepcopy(state) | own

    def _restore(self, state):
        state = copy.deepcopy(state)
        self.module_.load_state_dict(state["network"])
        self.optimizer_.load_state_dict(state["optimizer"])
        self.counter.n_steps = state["n_steps"]
        # the state of the schedule is the number of steps
        schedule = dict(self.callbacks_)["schedule"].lr_scheduler_
        schedule.last_epoch = state["n_steps"]
        self.history_ = History()


@fast_products()
def train_network(
    network, simulation, held_out, start, *, options, device, checkpoint, verbose
):
    """Train a network.

    Parameters
    ----------
    network : PosteriorNetwork
        Network with its initial weights; changed in place, and on the CPU afterwards.
    simulation : Simulation
        Source of training spectra.
    held_out : Draws
        Spectra for the loss after each epoch.
    start : dict
        Identity of the training, or the state of an earlier one.
    options : dict
        Values of "max_steps", "batch_size" and "lr".
    device : str
        Device of the training.
    checkpoint : path-like or None
        File to which every state is written; removed at the end.
    verbose : int
        1 shows a progress bar.

    Returns
    -------
    state : dict
        State at the end, or of the last epoch before an interruption.

    Raises
    ------
    ValueError
        If training diverges.

    Warns
    -----
    TrainingInterruptedWarning
        If training was interrupted by Ctrl-C.
    """
    counter = _Counter(start.get("n_steps", 0), options["max_steps"])
    bar = tqdm(
        total=counter.max_steps,
        initial=counter.n_steps,
        unit="step",
        desc="training",
        disable=not verbose,
    )
    inputs, target = _batch_of(held_out)
    net = _PosteriorNet(
        network,
        criterion=_MeanLoss,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=_WEIGHT_DECAY,
        optimizer__param_groups=[
            (name, {"lr": _SLOWER * options["lr"], "weight_decay": 0.0})
            for name in ("directions", "linear.weight")
        ],
        lr=options["lr"],
        batch_size=options["batch_size"],
        iterator_train=_NewBatches,
        iterator_train__counter=counter,
        iterator_train__bar=bar,
        iterator_valid=_HeldOutBatches,
        train_split=predefined_split(_Set((inputs, target), len(held_out))),
        callbacks=[
            (
                "schedule",
                LRScheduler(
                    torch.optim.lr_scheduler.LambdaLR,
                    lr_lambda=WarmupDecay(counter.max_steps, _WARMUP, "cosine"),
                    step_every="batch",
                ),
            ),
            ("clip", GradientNormClipping(_CLIP)),
        ],
        callbacks__print_log=None,
        device=device,
        counter=counter,
        start=start,
        checkpoint=checkpoint,
        verbose=0,
    ).initialize()
    with bar:
        net.partial_fit(_Set(simulation, options["batch_size"]), None)
    if net.is_interrupted:
        net.fall_back()
        warnings.warn(
            f"Training was stopped after {counter.n_steps} of {counter.max_steps} "
            "steps; posteriors are wider than after all steps. `partial_fit` with the "
            "same arguments continues the training.",
            TrainingInterruptedWarning,
            stacklevel=4,
        )
    elif checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)
    network.to("cpu").requires_grad_(False).eval()
    if not all(torch.isfinite(w).all() for w in network.parameters()):
        raise ValueError(
            f"Training diverged: weights are not finite. Use a smaller `lr` than "
            f"{options['lr']}."
        )
    return net.state_
