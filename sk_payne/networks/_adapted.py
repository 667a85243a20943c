"""Classes of users that know nothing of `Architecture`, made into one.

It is here so that the rest of the package meets architectures only.
"""

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
    """Give a class the defaults of `Architecture` for all that it does not define.

    Parameters
    ----------
    network : type
        An ``nn.Module`` class.

    Returns
    -------
    adapted : type
        The class itself if it is an architecture, else a subclass of it with the same
        name, the same one each time. Names of weights stay as they are.
    """
    if issubclass(network, Architecture):
        return network
    names = ("__module__", "__qualname__", "__doc__")
    defined = {name: getattr(network, name) for name in names}
    # what is called from outside is ours, whatever the class has under these names
    for name in ("evaluate", "evaluate_with_jacobian"):
        defined[name] = vars(Architecture)[name]
    return types.new_class(
        network.__name__,
        (network, _Adapted),
        exec_body=lambda namespace: namespace.update(defined),
    )


def reserved_names() -> set[str]:
    """Give the names that parts of a network cannot have.

    Returns
    -------
    names : set of str
        Those of the attributes and methods of `Architecture`.
    """
    return {name for name in vars(Architecture) if not name.startswith("_")}


class _Adapted(Architecture):
    """An architecture whose class is made when needed, so cannot be imported."""

    def __reduce_ex__(self, protocol: int) -> tuple:
        made, arguments, *rest = super().__reduce_ex__(max(protocol, 2))
        if made is copyreg.__newobj__:
            adapted, *arguments = arguments
            own = adapted.__bases__[0]
            return (_new, (own, *arguments), *rest)
        return (made, arguments, *rest)


def _new(network: type[nn.Module], *arguments: Any) -> Architecture:
    """Make an empty instance, as unpickling does."""
    adapted = adapt(network)
    return adapted.__new__(adapted, *arguments)
