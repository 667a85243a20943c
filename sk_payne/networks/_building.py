"""build_network: a network for the labels and wavelengths of a grid.

A class that breaks the contract of `Architecture` is refused before it is trained.
"""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sk_payne.exceptions import did_you_mean
from sk_payne.networks._adapted import reserved_names
from sk_payne.networks._architecture import Architecture
from sk_payne.networks._registry import resolve_network

__all__ = ["RANDOM_STATE", "build_network"]

# Lock of torch's global random state, from which first weights and dropout are drawn.
# A thread that changes the state holds the lock and restores the state.
RANDOM_STATE = threading.RLock()


def build_network(
    arch: str | type[nn.Module],
    n_labels: int,
    log_wavelength: Tensor,
    arch_params: Mapping | None = None,
    label_scale: tuple | None = None,
) -> tuple[Architecture, dict]:
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
    network : Architecture
        Network with random weights, in float32 on the CPU; defaults of torch for
        device and precision do not count.
    arch_params : dict
        All options passed to the class, enough to build the same network again.

    Raises
    ------
    ValueError
        If an option is unknown to the architecture, or its flux has the wrong shape.
    TypeError
        If the class cannot be constructed with these arguments.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import build_network
    >>> grid = torch.linspace(3.65, 3.66, 7, dtype=torch.float64)
    >>> network, params = build_network("payne", 2, grid, {"n_hidden": 5})
    >>> network(torch.zeros(3, 2)).shape, params
    (torch.Size([3, 7]), {'n_hidden': 5})
    """
    architecture = resolve_network(arch)
    options = {} if arch_params is None else dict(arch_params)
    _check_options(architecture, options)
    options = architecture.grid_params(log_wavelength) | options
    if label_scale is not None:
        options = architecture.label_params(*label_scale) | options
    arguments = n_labels, len(log_wavelength)
    _check_constructor(architecture, arguments, options)
    # torch's default device belongs to the thread, its default precision to all threads
    with torch.device("cpu"):
        network = architecture(*arguments, **options)
        if torch.get_default_dtype() != torch.float32:
            network.float()
        _check_names(network)
        _check_flux(network, n_labels, log_wavelength)
    return network, options


def _check_options(architecture, options):
    signature = inspect.signature(architecture.__init__).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in signature):
        return
    allowed = [p.name for p in signature][3:]  # after self, n_labels, n_wavelengths
    for name in options:
        if name not in allowed:
            raise ValueError(
                f"`arch_params` of {architecture.__name__} may have {allowed}; got "
                f"{name!r}.{did_you_mean(name, allowed)}"
            )


def _check_constructor(architecture, arguments, options):
    name = architecture.__name__
    signature = inspect.signature(architecture)
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        raise TypeError(
            f"`arch` must be constructed as {name}(n_labels, n_wavelengths, "
            f"**arch_params); got a class that takes {signature} ({error})."
        ) from error


def _check_names(network):
    parts = network._modules.keys() | network._parameters.keys()
    for name in sorted((parts | network._buffers.keys()) & reserved_names()):
        raise TypeError(
            f"`arch` must not have a layer or weight that is called {name!r}, as "
            f"`Architecture.{name}` is. Rename it in {type(network).__name__}."
        )


def _check_flux(network, n_labels, log_wavelength):
    """Check the shape of the flux of two stars, at three wavelengths if possible."""
    name = type(network).__name__
    rule = (
        "`arch` must be a class that maps scaled labels of shape (B, n_labels) to flux "
        f"of shape (B, n_wavelengths); {name}"
    )
    labels = torch.zeros(2, n_labels, dtype=torch.float32)
    trials, expected = [()], (2, len(log_wavelength))
    if network.takes_wavelength:
        at = torch.linspace(0, len(log_wavelength) - 1, 3, dtype=torch.float64).long()
        three = log_wavelength.cpu()[at]
        trials, expected = [(three,), (three.expand(2, -1),)], (2, 3)
    # a copy: calls must not change counters and running means of the network
    network = copy.deepcopy(network).eval()
    for wavelength in trials:
        try:
            with RANDOM_STATE, torch.random.fork_rng(devices=[]), torch.no_grad():
                flux = network(labels, *wavelength)
        except Exception as error:
            shapes = " and ".join(str(tuple(x.shape)) for x in (labels, *wavelength))
            raise ValueError(
                f"{rule} fails for {shapes}: {type(error).__name__}: {error}"
            ) from error
        shape = tuple(flux.shape) if isinstance(flux, Tensor) else type(flux).__name__
        if shape != expected:
            raise ValueError(f"{rule} gives {shape} for {expected[1]} wavelengths.")
