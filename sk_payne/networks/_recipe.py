"""How a network is trained: optimiser, schedule, loss, batches.

It is here, with the networks, so that each of them states its own.
"""

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
# matrices only, and the other two know no weight decay.
_UNFIT = ("LBFGS", "Muon", "Rprop", "SparseAdam", "Optimizer")
OPTIMIZERS = (
    "SOAP",
    *(
        name
        for name, value in vars(torch.optim).items()
        if isinstance(value, type)
        and issubclass(value, torch.optim.Optimizer)
        and name not in _UNFIT
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
    """How to train an emulator.

    The budget is counted in optimisation steps, not in epochs, so that trainings on
    few and on many spectra are comparable.

    Parameters
    ----------
    max_steps : int, default=4000
        Optimisation steps.
    batch_size : int, default=64
        Spectra per step; fewer if there are not as many.
    n_wavelengths : int, default=None
        Wavelengths per spectrum and step, drawn anew for each spectrum; only for
        networks that take the wavelength. If None, all.
    loss : {"mse", "mae", "huber"}, default="mse"
        On scaled flux.
    optimizer : str or type, default="AdamW"
        A name in ``torch.optim``, "SOAP" (arXiv:2409.11321, of pytorch_optimizer), or
        a subclass of ``torch.optim.Optimizer``.
    optimizer_params : mapping, default={}
        Further arguments of the optimiser, such as "betas".
    lr : float, default=1e-3
        The highest learning rate.
    weight_decay : float, default=0.0
        Handed to the optimiser.
    warmup : float, default=0.05
        Part of the steps in which the learning rate rises linearly from zero.
    decay : {"cosine", "linear", "constant"}, default="cosine"
        How the learning rate falls to zero afterwards.
    grad_clip : float, default=1.0
        Largest norm of the gradient. If None, no limit.
    average : float, default=0.0
        Weights are averaged over about the last ``average * max_steps`` steps
        (exponentially); 0 keeps the last ones.
    validate_every : int, default=200
        Steps between two looks at the held-out spectra.
    patience : int, default=None
        Stop after as many looks without a better held-out loss, and keep the best
        weights. If None, never.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the forward pass; "auto" is bfloat16 on accelerators and float32 on CPUs.
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
            Naming the entry, the rule and the value.
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
        """The class that `optimizer` stands for."""
        if self.optimizer == "SOAP":
            # by name: only training needs the package, and importing it takes a second
            return pkgutil.resolve_name("pytorch_optimizer:SOAP")
        if isinstance(self.optimizer, str):
            return getattr(torch.optim, self.optimizer)
        return self.optimizer

    @property
    def optimizer_arguments(self):
        """All arguments of the optimiser but weights and learning rate.

        Raises
        ------
        ValueError
            If it does not have one of the entry `optimizer_params`.
        """
        known = inspect.signature(self.optimizer_class).parameters
        entries = ("params", "lr", "weight_decay")
        allowed = [name for name in known if name not in (*entries, "kwargs")]
        for name in self.optimizer_params:
            self._require("optimizer_params", name in allowed, f"any of {allowed}")
        # all weights in one kernel, if there is one
        fused = {"fused": True} if "fused" in known else {}
        return fused | {"weight_decay": self.weight_decay} | dict(self.optimizer_params)

    @property
    def loss_class(self):
        """The class that `loss` stands for."""
        return _LOSSES[self.loss]

    def changed(self, changes=None, max_steps=None):
        """Apply what a user wishes.

        Parameters
        ----------
        changes : Recipe or mapping, default=None
            Replaces this recipe as a whole, or the entries that it names.
        max_steps : int, default=None
            Replaces the entry `max_steps`, also that of `changes`.

        Returns
        -------
        recipe : Recipe
            Complete and checked.

        Raises
        ------
        TypeError
            If `changes` are of another type.
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
            # those of the default are not for another one
            entries.setdefault("optimizer_params", {})
        if max_steps is not None:
            entries["max_steps"] = max_steps
        return replace(self, **entries)

    def gentle(self):
        """Train weights that are already good.

        Returns
        -------
        recipe : Recipe
            With a third of the learning rate and half of the steps.
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
