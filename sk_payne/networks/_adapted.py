"""Adaptation of any ``nn.Module`` class to the interface of `Architecture`."""

from __future__ import annotations

import copyreg
import types
from functools import cache
from typing import Any

from torch import nn

from sk_payne.networks._architecture import Architecture

__all__ = ["adapt", "reserved_names"]


@cache
def adapt(network: type[nn.Module]) -> type[Architecture]:
    """Make an `Architecture` of a network class, with defaults for missing members.

    Parameters
    ----------
    network : type
        An ``nn.Module`` class.

    Returns
    -------
    adapted : type
        The class itself if it is an architecture, else one cached subclass of it with
        the same name. Names of weights stay as they are.
    """
    if issubclass(network, Architecture):
        return network
    names = ("__module__", "__qualname__", "__doc__")
    defined = {name: getattr(network, name) for name in names}
    # callers rely on these two methods: attributes of the class do not replace them
    for name in ("evaluate", "evaluate_with_jacobian"):
        defined[name] = vars(Architecture)[name]
    return types.new_class(
        network.__name__,
        (network, _Adapted),
        exec_body=lambda namespace: namespace.update(defined),
    )


def reserved_names() -> set[str]:
    """List the names that layers and weights of a network must not have.

    Returns
    -------
    names : set of str
        Public attributes and methods of `Architecture`.
    """
    return {name for name in vars(Architecture) if not name.startswith("_")}


class _Adapted(Architecture):
    """Architecture whose class is made at run time: unpickling makes it again."""

    def __reduce_ex__(self, protocol: int) -> tuple:
        function, arguments, *state = super().__reduce_ex__(max(protocol, 2))
        if function is copyreg.__newobj__:
            adapted, *arguments = arguments
            network = adapted.__bases__[0]
            return (_new, (network, *arguments), *state)
        return (function, arguments, *state)


def _new(network: type[nn.Module], *arguments: Any) -> Architecture:
    """Make an empty instance, as unpickling does."""
    adapted = adapt(network)
    return adapted.__new__(adapted, *arguments)
