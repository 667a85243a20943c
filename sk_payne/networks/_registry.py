"""The table of architectures by name, and the rules that every one of them follows.

It is here so that an architecture, ours or a user's, is added by one decorator.

An *architecture* is an ``nn.Module`` class, constructed as
``cls(n_labels, n_wavelengths, **arch_params)``, that maps scaled stellar parameters
to scaled flux. It is of one of two kinds:

- ``forward(labels)``: shape (B, L) to (B, n_wavelengths), for the wavelengths of the
  training grid only;
- with a class attribute ``takes_wavelength = True``, ``forward(labels,
  log_wavelength)``: shapes (B, L) and (P,) or (B, P) to (B, P), at any wavelengths.
  Such a class may split its work in ``context(labels)``, what is computed once per
  star, and ``at(context, log_wavelength)``. If it then says ``has_tangents``, it has a
  method ``at_with_tangents``, a faster way to derivatives than torch's forward mode,
  as :meth:`TransformerPayne.at_with_tangents`. And it may have a class method
  ``grid_params(log_wavelength)`` that returns the arch_params that follow from the
  training grid, for those the user left out.

A network of the first kind that holds many numbers for each pixel says ``blockwise =
True`` and has an attribute ``n_wavelengths``: it is then given few stars at a time, but
not fewer than its attribute ``stars_at_once``, if it has one. It may have a method
``jacobian(labels)`` that returns flux (B, P) and its derivatives (B, L, P), if it knows
a faster way than torch's forward mode.

A class method ``label_params(label_names, center, half_width)`` may return the
arch_params that follow from the names of the labels and the scale they are given in.

For fine-tuning on other labels, ``label_layers`` are the names of all ``nn.Linear``
that take them; on other wavelengths, ``flux_layer`` is that of the ``nn.Linear`` with
an output for each.

A method ``learning_rate_factors()`` may return pairs (pattern of parameter names,
factor) by which the learning rate of these parameters is multiplied, and ``undecayed``
are patterns of parameters without weight decay.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from torch import Tensor, nn

from sk_payne.exceptions import did_you_mean

NETWORKS: dict[str, type[nn.Module]] = {}


def register_network(name: str):
    """Register an architecture under a name, as a class decorator.

    Parameters
    ----------
    name : str
        What users will pass as ``arch``.

    Returns
    -------
    decorator : callable
        Returns the class unchanged.

    Raises
    ------
    ValueError
        If the name is taken by another class.

    Examples
    --------
    >>> from torch import nn
    >>> from sk_payne.networks import NETWORKS, register_network
    >>> @register_network("linear")
    ... class Linear(nn.Linear):
    ...     def __init__(self, n_labels, n_wavelengths):
    ...         super().__init__(n_labels, n_wavelengths)
    >>> NETWORKS.pop("linear") is Linear
    True
    """

    def register(network: type[nn.Module]) -> type[nn.Module]:
        taken = NETWORKS.get(name)
        # a reloaded module defines its class anew under the same qualified name
        if taken is not None and taken.__qualname__ != network.__qualname__:
            raise ValueError(
                f"`name` must be new, but {name!r} already stands for "
                f"{taken.__qualname__}; choose another name."
            )
        NETWORKS[name] = network
        return network

    return register


def resolve_network(arch: str | type[nn.Module]) -> type[nn.Module]:
    """Return the class that ``arch`` stands for.

    Parameters
    ----------
    arch : str or type
        A registered name, or an ``nn.Module`` class.

    Returns
    -------
    network : type
        The class.

    Raises
    ------
    ValueError
        If the name is not registered.
    TypeError
        If ``arch`` is neither a name nor a class, for instance an instance, whose
        trained weights would leak from one fit into the next.

    Examples
    --------
    >>> from sk_payne.networks import resolve_network
    >>> resolve_network("payne").__name__
    'Payne'
    """
    if isinstance(arch, str):
        if arch in NETWORKS:
            return NETWORKS[arch]
        raise ValueError(
            f"`arch` must be one of {sorted(NETWORKS)} or an nn.Module class; got "
            f"{arch!r}.{did_you_mean(arch, NETWORKS)}"
        )
    if isinstance(arch, type) and issubclass(arch, nn.Module):
        return arch
    raise TypeError(
        f"`arch` must be one of {sorted(NETWORKS)} or an nn.Module class; got "
        f"{arch!r}. Pass the class itself, not an instance of it."
    )


def build_network(
    arch: str | type[nn.Module],
    n_labels: int,
    log_wavelength: Tensor,
    arch_params: Mapping | None = None,
    label_scale: tuple | None = None,
) -> tuple[nn.Module, dict]:
    """Construct a network for a grid of wavelengths.

    Parameters
    ----------
    arch : str or type
        A registered name, or an ``nn.Module`` class.
    n_labels : int
        Number of stellar parameters.
    log_wavelength : Tensor of shape (P,), float64
        log10 of the wavelengths in Å.
    arch_params : mapping, default=None
        Options of the architecture; those left out follow from the grid or are the
        defaults of the class.
    label_scale : tuple, default=None
        Names of the labels, their centres and half widths.

    Returns
    -------
    network : nn.Module
        With freshly drawn weights.
    arch_params : dict
        All that was passed to the class, enough to build the same network again.

    Raises
    ------
    ValueError
        If an option is unknown to the architecture.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import build_network
    >>> grid = torch.linspace(3.65, 3.66, 7, dtype=torch.float64)
    >>> network, params = build_network("payne", 2, grid, {"n_hidden": 5})
    >>> network(torch.zeros(3, 2)).shape, params
    (torch.Size([3, 7]), {'n_hidden': 5})
    """
    network = resolve_network(arch)
    given = {} if arch_params is None else dict(arch_params)
    _check_options(network, given)
    if hasattr(network, "grid_params"):
        given = network.grid_params(log_wavelength) | given
    if label_scale is not None and hasattr(network, "label_params"):
        given = network.label_params(*label_scale) | given
    return network(n_labels, len(log_wavelength), **given), given


def _check_options(network: type[nn.Module], given: Mapping) -> None:
    signature = inspect.signature(network.__init__).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in signature):
        return
    allowed = [p.name for p in signature][3:]  # after self, n_labels, n_wavelengths
    for name in given:
        if name not in allowed:
            raise ValueError(
                f"`arch_params` of {network.__name__} may have {allowed}; got "
                f"{name!r}.{did_you_mean(name, allowed)}"
            )
