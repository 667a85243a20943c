"""Callbacks and the learning-rate schedule of the skorch net."""

import math

import torch
from skorch.callbacks import Callback
from tqdm.auto import tqdm

__all__ = ["GradientClipping", "StepProgress", "WarmupDecay", "WeightAveraging"]


class WarmupDecay:
    """Factor of the learning rate: linear rise, then a fall to zero.

    Parameters
    ----------
    max_steps : int
        Steps of the whole training.
    warmup : float
        Fraction of the steps in which the factor rises.
    decay : {"cosine", "linear", "constant"}
        Shape of the fall.

    Examples
    --------
    >>> from sk_payne.emulators import WarmupDecay
    >>> schedule = WarmupDecay(100, 0.1, "linear")
    >>> [round(schedule(step), 2) for step in (0, 10, 55, 100)]
    [0.09, 1.0, 0.5, 0.0]
    """

    def __init__(self, max_steps, warmup, decay):
        self.max_steps = max_steps
        self.rise = warmup * max_steps
        self.decay = decay

    def __call__(self, step):
        """Factor at a step, counted from zero."""
        if step < self.rise:
            return (step + 1) / (self.rise + 1)
        done = (step - self.rise) / max(self.max_steps - self.rise, 1)
        done = min(done, 1.0)
        if self.decay == "constant":
            return 1.0
        if self.decay == "linear":
            return 1.0 - done
        return (1 + math.cos(math.pi * done)) / 2


class WeightAveraging(Callback):
    """Exponential average of the weights, which replaces the weights at the end.

    Parameters
    ----------
    n_steps : float
        Number of steps over which is averaged.
    """

    remembered = ("step_", "average_")

    def __init__(self, n_steps):
        self.n_steps = n_steps

    def on_train_begin(self, net, **kwargs):
        """Start the average with the first weights."""
        self.step_ = 0
        self.average_ = [p.detach().clone() for p in net.module_.parameters()]

    @torch.no_grad()
    def on_batch_end(self, net, training, **kwargs):
        """Update the average; before `n_steps` steps it is the plain mean."""
        if not training:
            return
        self.step_ += 1
        weight = 1 / min(self.step_, self.n_steps)
        torch._foreach_lerp_(self.average_, list(net.module_.parameters()), weight)

    @torch.no_grad()
    def on_train_end(self, net, **kwargs):
        """Set the weights of the network to the average."""
        for parameter, average in zip(
            net.module_.parameters(), self.average_, strict=True
        ):
            parameter.copy_(average)


class GradientClipping(Callback):
    """Scaling of gradients whose common norm is above a limit.

    Parameters
    ----------
    limit : float
        Largest norm.
    """

    def __init__(self, limit):
        self.limit = limit

    def on_grad_computed(self, net, named_parameters, **kwargs):
        """Clip as torch's `clip_grad_norm_` does; on CPUs, only gradients too large."""
        parameters = [p for _, p in named_parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
        # a CPU saves the multiplication by one; a GPU saves waiting for the norm
        if norm.device.type != "cpu" or norm > self.limit:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.limit, norm)


class StepProgress(Callback):
    """One progress bar over all optimisation steps, with the held-out loss.

    Parameters
    ----------
    max_steps : int
        Length of the bar.
    """

    def __init__(self, max_steps):
        self.max_steps = max_steps

    def on_train_begin(self, net, **kwargs):
        """Open the bar."""
        self.bar_ = tqdm(total=self.max_steps, unit="step", desc="training")

    def on_epoch_begin(self, net, **kwargs):
        """Show the number of steps, earlier ones included."""
        self.bar_.n = net.n_steps

    def on_batch_end(self, net, training, **kwargs):
        """Advance the bar."""
        if training:
            self.bar_.update()

    def on_epoch_end(self, net, **kwargs):
        """Show the losses of scaled flux."""
        shown = {
            name: f"{net.history[-1, name]:.2e}"
            for name in ("train_loss", "valid_loss")
            if name in net.history[-1]
        }
        self.bar_.set_postfix(shown)

    def on_train_end(self, net, **kwargs):
        """Close the bar."""
        self.bar_.close()
