"""Architecture: the interface of networks to training and evaluation."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sk_payne.networks._evaluate import evaluate
from sk_payne.networks._jacobian import evaluate_with_jacobian, jacobian_on_grid
from sk_payne.networks._recipe import Recipe

__all__ = ["Architecture"]


class Architecture(nn.Module):
    """Base class of all networks from stellar parameters to flux.

    A subclass must have a constructor ``__init__(n_labels, n_wavelengths, *, ...)``,
    whose further arguments are the ``arch_params``, and a method `forward`. Other
    members have defaults. An architecture is of one of two kinds:

    - on a fixed grid, ``forward(labels)`` gives flux at the ``n_wavelengths``
      wavelengths of the training grid;
    - with ``takes_wavelength = True``, ``forward(labels, log_wavelength)`` gives flux
      at any wavelengths. Flux at one wavelength must not depend on which others are
      asked for.

    The arguments are the same everywhere. Shape letters: B stars, L labels, P
    wavelengths, K derivatives.

    ==================  ============  ================================================
    tensor              shape         meaning
    ==================  ============  ================================================
    ``labels``          (B, L)        stellar parameters, -1 to 1 in the training box
    ``log_wavelength``  (P,), (B, P)  log10 of the wavelength in Å, float64
    flux                (B, P)        scaled: mean zero, standard deviation one
    ==================  ============  ================================================

    Labels and flux have the precision of the weights. On "mps", which has no float64,
    ``log_wavelength`` stays on the CPU: `forward` must move tensors that it computes
    from it with ``.to(labels)``. `forward` must be differentiable by ``torch.func``.

    Attributes
    ----------
    recipe : Recipe or None
        Default training recipe. If None, that of "bigpayne" or, if the network takes
        wavelengths, that of "transformer".
    takes_wavelength : bool, default=False
        Whether `forward` takes wavelengths, see above.
    blockwise : bool, default=False
        On a fixed grid: whether the network needs much memory for each wavelength, so
        that it is evaluated for few stars at a time.
    n_wavelengths : int, default=1
        On a fixed grid: number of wavelengths, from which the number of stars in a
        block follows. The constructor must set it if the network is `blockwise` or
        inherits `jacobian`.
    stars_at_once : int, default=1
        Smallest number of stars in a block of a `blockwise` network.
    has_tangents : bool, default=False
        At any wavelengths: whether the network defines `at_with_tangents`, which
        replaces forward-mode differentiation.
    label_layers : tuple of str or None
        Names of all ``nn.Linear`` that take the labels. Fine-tuning on other labels
        needs them and is an error if None.
    flux_layer : str or None
        On a fixed grid: name of the ``nn.Linear`` with an output for each wavelength.
        Fine-tuning on other wavelengths needs it and is an error if None.
    undecayed : tuple of str, default=()
        Patterns of the names of parameters without weight decay.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from sk_payne.networks import Architecture
    >>> class Linear(Architecture):
    ...     def __init__(self, n_labels, n_wavelengths):
    ...         super().__init__()
    ...         self.layer = nn.Linear(n_labels, n_wavelengths)
    ...     def forward(self, labels):
    ...         return self.layer(labels)
    >>> flux, jacobian = Linear(3, 11).evaluate_with_jacobian(torch.zeros(2, 3))
    >>> flux.shape, jacobian.shape
    (torch.Size([2, 11]), torch.Size([2, 3, 11]))
    """

    recipe: Recipe | None = None
    takes_wavelength: bool = False
    blockwise: bool = False
    n_wavelengths: int = 1
    stars_at_once: int = 1
    has_tangents: bool = False
    label_layers: tuple[str, ...] | None = None
    flux_layer: str | None = None
    undecayed: tuple[str, ...] = ()

    def __init__(self):
        super().__init__()

    @classmethod
    def grid_params(cls, log_wavelength: Tensor) -> dict[str, Any]:
        """Options derived from the training grid; those of the user take precedence.

        Parameters
        ----------
        log_wavelength : Tensor of shape (P,), float64
            log10 of the wavelengths in Å.

        Returns
        -------
        arch_params : dict
            Options by name; by default empty.
        """
        return {}

    @classmethod
    def label_params(cls, label_names, center, half_width) -> dict[str, Any]:
        """Options derived from the labels; those of the user take precedence.

        Parameters
        ----------
        label_names : sequence of str
            Names of the labels.
        center, half_width : sequence of float
            Centre and half width of the training box, in the units of the labels.

        Returns
        -------
        arch_params : dict
            Options by name; by default empty.
        """
        return {}

    def learning_rate_factors(self) -> list[tuple[str, float]]:
        """Pairs of a pattern of parameter names and a factor of the learning rate."""
        return []

    def context(self, labels: Tensor) -> Any:
        """Compute the part of the network that depends on the star alone.

        Only networks that take wavelengths need it. The result is a tensor, or nested
        lists or tuples of tensors, with B as first axis; by default it is the labels.
        """
        return labels

    def at(self, context: Any, log_wavelength: Tensor) -> Tensor:
        """Flux (B, P) from the result of `context`; only if wavelengths are taken."""
        return self(context, log_wavelength)

    def at_with_tangents(
        self,
        context: Any,
        context_tangents: Any,
        log_wavelength: Tensor,
        *,
        by_wavelength: bool,
    ) -> tuple[Tensor, Tensor]:
        """Flux (B, P) as `at` gives it, and derivatives (B, K, P).

        Called only if `has_tangents`; other networks use torch's forward mode.

        Parameters
        ----------
        context : tensor or nested lists or tuples of tensors
            Result of `context`.
        context_tangents : tensor or nested lists or tuples of tensors
            Derivatives of the context by each label, along a new second axis.
        log_wavelength : Tensor of shape (B, P), float64
            log10 of the wavelength in Å.
        by_wavelength : bool
            Whether to append the derivative by `log_wavelength`.

        Returns
        -------
        flux : Tensor of shape (B, P)
            Scaled flux.
        jacobian : Tensor of shape (B, K, P)
            Derivatives by each label, and last by log10 of the wavelength.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define `at_with_tangents` if it says "
            "`has_tangents = True`."
        )

    def slice_grid(self, pixels: slice) -> Architecture:
        """Network on a part of the fixed grid, which shares the weights of this one.

        By default, flux is computed at all wavelengths and then cut; override it if
        those outside can be left out.

        Parameters
        ----------
        pixels : slice
            First and last wavelength of the part, without step.

        Returns
        -------
        part : Architecture
            Network of these wavelengths.
        """
        return _GridPart(self, pixels)

    def jacobian(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Flux (B, P) and its derivatives (B, L, P) by the labels, on a fixed grid.

        By default by torch's forward mode; override it with a faster method.
        """
        return jacobian_on_grid(self, labels)

    def evaluate(self, labels: Tensor, log_wavelength: Tensor | None = None) -> Tensor:
        """Flux (B, P), computed in blocks of bounded memory; do not override.

        `log_wavelength` is ignored on a fixed grid. If gradients are enabled, the
        result is differentiable, and activations of all blocks stay in memory.
        """
        return evaluate(self, labels, log_wavelength)

    def evaluate_with_jacobian(
        self,
        labels: Tensor,
        log_wavelength: Tensor | None = None,
        *,
        by_wavelength: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Flux (B, P) and derivatives (B, K, P), in blocks; do not override.

        Derivatives are by each label and, with `by_wavelength`, last by log10 of the
        wavelength. Networks on a fixed grid have no derivative by wavelength.
        """
        return evaluate_with_jacobian(
            self, labels, log_wavelength, by_wavelength=by_wavelength
        )


class _GridPart(Architecture):
    """Flux of another network at some of its wavelengths."""

    def __init__(self, network: Architecture, pixels: slice):
        super().__init__()
        self.whole, self.pixels = network, pixels
        self.n_wavelengths = pixels.stop - pixels.start

    def forward(self, labels: Tensor) -> Tensor:
        return self.whole.evaluate(labels)[:, self.pixels]

    def jacobian(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        flux, jacobian = self.whole.jacobian(labels)
        return flux[:, self.pixels], jacobian[:, :, self.pixels]
