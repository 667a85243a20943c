"""Recipe: optimiser, schedule, loss and batches of a training."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Integral

import torch

from sk_payne.exceptions import did_you_mean

__all__ = ["OPTIMIZERS", "Recipe"]

# LBFGS needs a closure that computes the loss several times a step, Muon takes
# matrices only, Rprop and SparseAdam have no weight decay, Optimizer is the base class.
_UNSUITABLE = ("LBFGS", "Muon", "Rprop", "SparseAdam", "Optimizer")
OPTIMIZERS = (
    "SOAP",
    *(
        name
        for name, value in vars(torch.optim).items()
        if isinstance(value, type)
        and issubclass(value, torch.optim.Optimizer)
        and name not in _UNSUITABLE
    ),
)
_LOSSES = {
    "mse": torch.nn.MSELoss,
    "mae": torch.nn.L1Loss,
    "huber": torch.nn.SmoothL1Loss,
}
_PRECISIONS = ("auto", "float32", "bfloat16")


def _is_count(value):
    return isinstance(value, Integral) and value >= 1


@dataclass(frozen=True)
class Recipe:
    """Recipe of a training: optimiser, schedule, loss and batches.

    The budget is counted in optimisation steps, not in epochs, so that trainings on
    few and on many spectra are comparable.

    Parameters
    ----------
    max_steps : int, default=4000
        Optimisation steps.
    batch_size : int, default=64
        Spectra per step; at most the size of the training set.
    n_wavelengths : int, default=None
        Wavelengths per spectrum and step, drawn anew for each spectrum; only for
        networks that take the wavelength. If None, all.
    loss : {"mse", "mae", "huber"}, default="mse"
        Loss of scaled flux: mean squared error, mean absolute error, or Huber loss.
    optimizer : str or type, default="AdamW"
        A name in ``torch.optim``, "SOAP" (arXiv:2409.11321, from pytorch_optimizer),
        or a subclass of ``torch.optim.Optimizer``.
    optimizer_params : mapping, default={}
        Further arguments of the optimiser, such as "betas".
    lr : float, default=1e-3
        Highest learning rate.
    weight_decay : float, default=0.0
        Weight decay of the optimiser.
    warmup : float, default=0.05
        Fraction of the steps in which the learning rate rises linearly from zero.
    decay : {"cosine", "linear", "constant"}, default="cosine"
        Shape of the fall of the learning rate to zero afterwards; "constant" keeps it.
    grad_clip : float, default=1.0
        Largest norm of the gradient. If None, no limit.
    average : float, default=0.0
        Fraction of the steps over which weights are averaged (exponentially) at the
        end; 0 keeps the last weights.
    validate_every : int, default=200
        Steps between two evaluations of the held-out spectra.
    patience : int, default=None
        Number of evaluations without a better held-out loss after which training stops
        and keeps the best weights. If None, it never stops early.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Precision of the forward pass; "auto" is bfloat16 on accelerators and float32
        on CPUs.
    compile : bool, default=False
        Whether to run the network through ``torch.compile``.

    Examples
    --------
    >>> from sk_payne.networks import Recipe
    >>> Recipe(max_steps=100).batch_size
    64
    """

    max_steps: int = 4000
    batch_size: int = 64
    n_wavelengths: int | None = None
    loss: str = "mse"
    optimizer: str | type = "AdamW"
    optimizer_params: Mapping = field(default_factory=dict)
    lr: float = 1e-3
    weight_decay: float = 0.0
    warmup: float = 0.05
    decay: str = "cosine"
    grad_clip: float | None = 1.0
    average: float = 0.0
    validate_every: int = 200
    patience: int | None = None
    precision: str = "auto"
    compile: bool = False

    def __post_init__(self):
        """Check every value.

        Raises
        ------
        ValueError
            If a value is not allowed; the message names entry, rule and value.
        """
        for name in ("max_steps", "batch_size", "validate_every"):
            self._require(name, _is_count(getattr(self, name)), "an integer >= 1")
        for name in ("n_wavelengths", "patience"):
            value = getattr(self, name)
            self._require(
                name, value is None or _is_count(value), "an integer >= 1 or None"
            )
        self._require("lr", self.lr > 0, "positive")
        self._require("weight_decay", self.weight_decay >= 0, "at least 0")
        self._require("warmup", 0 <= self.warmup <= 1, "between 0 and 1")
        self._require("average", 0 <= self.average <= 1, "between 0 and 1")
        self._require(
            "grad_clip", self.grad_clip is None or self.grad_clip > 0, "positive"
        )
        self._require("loss", self.loss in _LOSSES, f"one of {sorted(_LOSSES)}")
        self._require(
            "optimizer",
            self.optimizer in OPTIMIZERS
            or (
                isinstance(self.optimizer, type)
                and issubclass(self.optimizer, torch.optim.Optimizer)
            ),
            f"one of {sorted(OPTIMIZERS)} or a torch.optim.Optimizer class",
        )
        self._require(
            "optimizer_params",
            isinstance(self.optimizer_params, Mapping),
            "a dict of arguments",
        )
        self._require(
            "decay",
            self.decay in ("cosine", "linear", "constant"),
            "'cosine', 'linear' or 'constant'",
        )
        self._require(
            "precision", self.precision in _PRECISIONS, f"one of {_PRECISIONS}"
        )

    @property
    def optimizer_class(self):
        """Class of the optimiser."""
        if self.optimizer == "SOAP":
            # imported late: only training needs it, and the import takes a second
            return pkgutil.resolve_name("pytorch_optimizer:SOAP")
        if isinstance(self.optimizer, str):
            return getattr(torch.optim, self.optimizer)
        return self.optimizer

    @property
    def optimizer_arguments(self):
        """All arguments of the optimiser except weights and learning rate.

        Raises
        ------
        ValueError
            If the optimiser does not take an argument in `optimizer_params`.
        """
        arguments = inspect.signature(self.optimizer_class).parameters
        entries = ("params", "lr", "weight_decay")
        allowed = [name for name in arguments if name not in (*entries, "kwargs")]
        for name in self.optimizer_params:
            self._require("optimizer_params", name in allowed, f"any of {allowed}")
        # one kernel updates all weights, if the optimiser has one
        fused = {"fused": True} if "fused" in arguments else {}
        return fused | {"weight_decay": self.weight_decay} | dict(self.optimizer_params)

    @property
    def loss_class(self):
        """Class of the loss."""
        return _LOSSES[self.loss]

    def changed(self, changes=None, max_steps=None):
        """Replace entries, or all of the recipe.

        Parameters
        ----------
        changes : Recipe or mapping, default=None
            A recipe that replaces this one, or entries to replace.
        max_steps : int, default=None
            Replaces the entry `max_steps`, also that of `changes`.

        Returns
        -------
        recipe : Recipe
            Complete and checked.

        Raises
        ------
        TypeError
            If `changes` is neither.
        ValueError
            If an entry is unknown or its value is not allowed.
        """
        if isinstance(changes, Recipe):
            if max_steps is None:
                return changes
            return replace(changes, max_steps=max_steps)
        if not isinstance(changes, Mapping | None):
            raise TypeError(
                "`recipe` must be None, a dict of entries to change, or a Recipe; got "
                f"{type(changes).__name__}."
            )
        entries = dict(changes or {})
        allowed = [field.name for field in fields(Recipe)]
        for name in entries:
            if name not in allowed:
                raise ValueError(
                    f"`recipe` may have the entries {allowed}; got {name!r}."
                    f"{did_you_mean(name, allowed)}"
                )
        if "optimizer" in entries:
            # arguments of the default optimiser do not fit another one
            entries.setdefault("optimizer_params", {})
        if max_steps is not None:
            entries["max_steps"] = max_steps
        return replace(self, **entries)

    def gentle(self):
        """Recipe for fine-tuning.

        Returns
        -------
        recipe : Recipe
            A copy with a third of the learning rate and half of the steps.
        """
        return replace(self, lr=self.lr / 3, max_steps=max(1, self.max_steps // 2))

    def to_dict(self):
        """Entries as plain values that JSON can hold.

        Returns
        -------
        entries : dict
            An optimiser class is given by its name.
        """
        entries = asdict(self)
        if isinstance(self.optimizer, type):
            entries["optimizer"] = self.optimizer.__qualname__
        return entries

    def _require(self, name, holds, rule):
        if not holds:
            raise ValueError(
                f"`recipe` entry {name!r} must be {rule}; got {getattr(self, name)!r}."
            )
