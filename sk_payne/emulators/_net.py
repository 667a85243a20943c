"""EmulatorNet: the skorch net that trains an emulator."""

import contextlib

import torch
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.helper import predefined_split

from sk_payne.emulators._batches import HeldOutBatches, RandomBatches, RandomOrder
from sk_payne.emulators._callbacks import (
    GradientClipping,
    StepProgress,
    WarmupDecay,
    WeightAveraging,
)
from sk_payne.emulators._checkpoint import capture, restore, write_state
from sk_payne.emulators._processes import is_first, mean_over_processes, n_processes
from sk_payne.networks import float64_device

__all__ = ["EmulatorNet", "make_net"]

# Wavelengths of each held-out spectrum that are evaluated during training.
_N_HELD_OUT_WAVELENGTHS = 512


class EmulatorNet(NeuralNet):
    """A `skorch.NeuralNet` whose training can be interrupted and continued.

    Inputs are tuples, and the precision can be chosen. The state is captured after
    every epoch; an interrupted training falls back to the last state. If there are
    several processes, each has its part of every batch, and all take the same steps.

    Parameters
    ----------
    *args, **kwargs
        Arguments of `skorch.NeuralNet`.
    autocast : torch.dtype or None
        Precision of the forward pass; None for that of the weights.
    order : RandomOrder
        Order of the spectra.
    max_steps : int
        Steps of the whole training.
    start : dict
        Start of the training: its "seed", and other entries to keep with every state;
        or the last state of an earlier training.
    checkpoint : path-like or None
        File to which every state is written.

    Attributes
    ----------
    state_ : dict
        The last state.
    """

    def __init__(
        self,
        *args,
        autocast=None,
        order=None,
        max_steps=None,
        start=None,
        checkpoint=None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.autocast = autocast
        self.order = order
        self.max_steps = max_steps
        self.start = start
        self.checkpoint = checkpoint

    @property
    def n_steps(self):
        """Steps taken so far."""
        return sum("train_loss" in b for e in self.history for b in e["batches"])

    @property
    def is_interrupted(self):
        """Whether training ended before its last step without early stopping.

        skorch reports early stopping and Ctrl-C in the same way.
        """
        return self.state_["n_steps"] < self.max_steps and not any(
            isinstance(callback, EarlyStopping)
            and callback.misses_ == callback.patience
            for _, callback in self.callbacks_
        )

    def infer(self, x, **fit_params):
        """Forward pass of a tuple from the iterators."""
        labels, *wave = x
        # skorch would move wavelengths also to devices without float64
        wave = [w.to(float64_device(self.device)) for w in wave]
        x = (labels.to(self.device), *wave)
        device = torch.device(self.device).type
        precision = (
            contextlib.nullcontext()
            if self.autocast is None
            else torch.autocast(device, dtype=self.autocast)
        )
        with precision:
            output = self.module_(*x)
        return output.float()

    def forget_data(self):
        """Release the held-out spectra, which may fill the memory of the device."""
        self.train_split = None

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train, from the state of an earlier training if there is one."""
        if "network" in self.start:
            restore(self, self.start)
        self.state_ = self.start | capture(self)
        return super().fit_loop(X, y, self.max_epochs - len(self.history), **fit_params)

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        """Loss of the residuals, multiplied by weights if the target has them."""
        if isinstance(y_true, tuple):
            flux, weights = (part.to(self.device) for part in y_true)
            y_pred, y_true = weights * y_pred, weights * flux
        return super().get_loss(y_pred, y_true, *args, **kwargs)

    def train_step_single(self, batch, **fit_params):
        """Gradients and loss of the whole batch, averaged over the processes."""
        step = super().train_step_single(batch, **fit_params)
        if n_processes() > 1:
            weights = self.module_.parameters()
            gradients = [w.grad for w in weights if w.grad is not None]
            step["loss"] = step["loss"].detach()
            step["n_spectra"] = mean_over_processes(
                [*gradients, step["loss"]], _n_spectra(batch)
            )
        return step

    def validation_step(self, batch, **fit_params):
        """Loss of the whole batch, averaged over the processes."""
        if n_processes() == 1:
            return super().validation_step(batch, **fit_params)
        (labels, *_), target = batch
        step = {"loss": labels.new_zeros(()), "y_pred": target}
        if len(labels):
            step = super().validation_step(batch, **fit_params)
        return step | {"n_spectra": mean_over_processes([step["loss"]], len(labels))}

    def notify(self, method_name, **cb_kwargs):
        """Capture the state after the callbacks at the end of an epoch."""
        n_spectra = cb_kwargs.pop("n_spectra", None)
        if n_spectra is not None:
            prefix = "train" if cb_kwargs["training"] else "valid"
            self.history.record_batch(f"{prefix}_batch_size", n_spectra)
        super().notify(method_name, **cb_kwargs)
        if method_name == "on_epoch_end":
            self.state_ = self.start | capture(self)
            if self.checkpoint is not None and is_first():
                write_state(self.checkpoint, self.state_)
        first = method_name == "on_train_end" and not self.state_["history"]
        if first and self.is_interrupted:
            # only now: callbacks read the last epoch, and the history has none
            restore(self, self.state_)

    def on_train_end(self, net, X=None, y=None, **kwargs):
        """Fall back to the last captured state if training was interrupted."""
        super().on_train_end(net, X=X, y=y, **kwargs)
        if self.is_interrupted and self.state_["history"]:
            restore(self, self.state_)


def make_net(
    module,
    recipe,
    held_out,
    *,
    device,
    start,
    callbacks=(),
    verbose=0,
    checkpoint=None,
):
    """Build a skorch net from a module and a recipe.

    Parameters
    ----------
    module : nn.Module
        Network with its first weights.
    recipe : Recipe
        Complete recipe.
    held_out : SpectrumDataset, StreamedDataset or None
        Spectra to evaluate every ``validate_every`` steps.
    device : str
        Device to train on.
    start : dict
        The "seed" of the batches, or the state of an earlier training.
    callbacks : list, default=()
        skorch callbacks of the user.
    verbose : int, default=0
        Whether to show a progress bar.
    checkpoint : path-like, default=None
        File to which every state is written.

    Returns
    -------
    net : EmulatorNet
        Initialised, not trained.
    """
    order = RandomOrder(start["seed"])
    net = EmulatorNet(
        module,
        criterion=recipe.loss_class,
        optimizer=recipe.optimizer_class,
        **{
            f"optimizer__{name}": value
            for name, value in recipe.optimizer_arguments.items()
        },
        optimizer__param_groups=_parameter_groups(module, recipe),
        lr=recipe.lr,
        max_epochs=-(-recipe.max_steps // recipe.validate_every),
        batch_size=recipe.batch_size,
        iterator_train=RandomBatches,
        iterator_train__n_steps=recipe.validate_every,
        iterator_train__budget=recipe.max_steps - start.get("n_steps", 0),
        iterator_train__n_wavelengths=recipe.n_wavelengths,
        iterator_train__order=order,
        iterator_valid=HeldOutBatches,
        iterator_valid__n_wavelengths=_N_HELD_OUT_WAVELENGTHS,
        train_split=None if held_out is None else predefined_split(held_out),
        callbacks=[*_callbacks(recipe, held_out, verbose), *callbacks],
        callbacks__print_log=None,
        device=device,
        compile=recipe.compile,
        autocast=_autocast(recipe.precision, device),
        order=order,
        max_steps=recipe.max_steps,
        start=start,
        checkpoint=checkpoint,
        verbose=0,
    )
    return net.initialize()


def _n_spectra(batch):
    (labels, *_), _ = batch
    return len(labels)


def _parameter_groups(module, recipe):
    """Patterns of names of weights, and their options for the optimiser."""
    groups = {
        pattern: {"lr": recipe.lr * factor}
        for pattern, factor in getattr(module, "learning_rate_factors", list)()
    }
    for pattern in getattr(module, "undecayed", ()):
        groups.setdefault(pattern, {})["weight_decay"] = 0.0
    # torch.compile adds this prefix to all names
    prefix = "_orig_mod." if recipe.compile else ""
    return [(f"{prefix}{pattern}", options) for pattern, options in groups.items()]


def _autocast(precision, device):
    if precision == "bfloat16":
        return torch.bfloat16
    if precision == "auto" and not device.startswith("cpu"):
        return torch.bfloat16
    return None


def _callbacks(recipe, held_out, verbose):
    schedule = WarmupDecay(recipe.max_steps, recipe.warmup, recipe.decay)
    callbacks = [
        (
            "schedule",
            LRScheduler(
                torch.optim.lr_scheduler.LambdaLR,
                lr_lambda=schedule,
                step_every="batch",
            ),
        )
    ]
    if recipe.grad_clip is not None:
        callbacks.append(("clip", GradientClipping(recipe.grad_clip)))
    if recipe.average > 0:
        remembered = max(1.0, recipe.average * recipe.max_steps)
        callbacks.append(("average", WeightAveraging(remembered)))
    if recipe.patience is not None and held_out is not None:
        callbacks.append(
            (
                "early_stopping",
                EarlyStopping(patience=recipe.patience, load_best=True, sink=_ignore),
            )
        )
    if verbose and is_first():
        callbacks.append(("progress", StepProgress(recipe.max_steps)))
    return callbacks


def _ignore(message):
    pass
