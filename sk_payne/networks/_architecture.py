"""What an architecture must do, what it may say of itself, and the defaults.

It is here as the one contract between networks and all that trains and evaluates them.
"""

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
    whose further arguments are the ``arch_params``, and a method `forward`. All else
    has a default. An architecture is of one of two kinds:

    - on a fixed grid, ``forward(labels)`` gives flux at the ``n_wavelengths``
      wavelengths of the training grid;
    - with ``takes_wavelength = True``, ``forward(labels, log_wavelength)`` gives flux
      at any wavelengths. Flux at one wavelength must not depend on which others are
      asked for.

    The arguments are the same everywhere. Shape letters: B stars, L labels, P
    wavelengths, K derivatives.

    ==================  ============  ================================================
    tensor              shape         what it is
    ==================  ============  ================================================
    ``labels``          (B, L)        stellar parameters, -1 to 1 in the training box
    ``log_wavelength``  (P,), (B, P)  log10 of the wavelength in Å, float64
    flux                (B, P)        scaled: mean zero, standard deviation one
    ==================  ============  ================================================

    Labels and flux have the precision of the weights. On "mps", which has no float64,
    ``log_wavelength`` stays on the CPU: `forward` moves what follows from it with
    ``.to(labels)``. ``torch.func`` must be able to
    push derivatives through `forward`.

    Attributes
    ----------
    recipe : Recipe or None
        How the network is trained by default. If None, as "bigpayne" or, if it takes
        wavelengths, as "transformer".
    takes_wavelength : bool, default=False
        The kind, see above.
    blockwise : bool, default=False
        On a fixed grid: whether it holds many numbers for each wavelength, so that it
        is given few stars at a time.
    n_wavelengths : int, default=1
        On a fixed grid: flux values of a star, which say how many stars are a block.
        The constructor sets it, if it is `blockwise` or inherits `jacobian`.
    stars_at_once : int, default=1
        Stars in a block of a `blockwise` network, however many wavelengths it has.
    has_tangents : bool, default=False
        At any wavelengths: whether there is a method `at_with_tangents`.
    label_layers : tuple of str or None
        Names of all ``nn.Linear`` that take the labels, for fine-tuning on other
        labels. If None, that is refused.
    flux_layer : str or None
        On a fixed grid: name of the ``nn.Linear`` with an output for each wavelength,
        for fine-tuning on other wavelengths. If None, that is refused.
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
        """Give options that follow from the training grid, for those the user left out.

        Parameters
        ----------
        log_wavelength : Tensor of shape (P,), float64
            log10 of the wavelengths in Å.

        Returns
        -------
        arch_params : dict
            By default none.
        """
        return {}

    @classmethod
    def label_params(cls, label_names, center, half_width) -> dict[str, Any]:
        """Give options that follow from the labels, for those the user left out.

        Parameters
        ----------
        label_names : sequence of str
            Names of the labels.
        center, half_width : sequence of float
            Of the training box, in the units of the labels.

        Returns
        -------
        arch_params : dict
            By default none.
        """
        return {}

    def learning_rate_factors(self) -> list[tuple[str, float]]:
        """Give patterns of parameter names, and factors of their learning rates."""
        return []

    def context(self, labels: Tensor) -> Any:
        """Compute once per star what its flux at all wavelengths needs.

        It is a tensor or nested lists or tuples of tensors, and B is their first axis.
        Only for networks that take wavelengths. By default the labels themselves.
        """
        return labels

    def at(self, context: Any, log_wavelength: Tensor) -> Tensor:
        """Flux (B, P) from what `context` gave; only if wavelengths are taken."""
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

        Only asked for if `has_tangents`; else torch's forward mode does it.

        Parameters
        ----------
        context : tensor or nested lists or tuples of tensors
            From `context`.
        context_tangents : tensor or nested lists or tuples of tensors
            Its derivatives by each label, along an axis after the first.
        log_wavelength : Tensor of shape (B, P), float64
            log10 of the wavelength in Å.
        by_wavelength : bool
            Whether the last derivative is that by `log_wavelength`.

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

    def jacobian(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Flux (B, P) and its derivatives (B, L, P) by the labels, on a fixed grid.

        By default torch's forward mode; to be replaced where there is a faster way.
        """
        return jacobian_on_grid(self, labels)

    def evaluate(self, labels: Tensor, log_wavelength: Tensor | None = None) -> Tensor:
        """Flux (B, P) within bounded memory; not to be replaced.

        `log_wavelength` is ignored on a fixed grid. The result is differentiable if
        gradients are enabled, but then all that is needed for them is kept.
        """
        return evaluate(self, labels, log_wavelength)

    def evaluate_with_jacobian(
        self,
        labels: Tensor,
        log_wavelength: Tensor | None = None,
        *,
        by_wavelength: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Flux (B, P) and derivatives (B, K, P), in blocks; not to be replaced.

        Derivatives are by each label and, with `by_wavelength`, last by log10 of the
        wavelength, which networks on a fixed grid do not have.
        """
        return evaluate_with_jacobian(
            self, labels, log_wavelength, by_wavelength=by_wavelength
        )
