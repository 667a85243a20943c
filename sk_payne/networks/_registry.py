"""NETWORKS: the table of architectures by name, and the decorator that adds one."""

from __future__ import annotations

from torch import nn

from sk_payne.exceptions import did_you_mean
from sk_payne.networks._adapted import adapt
from sk_payne.networks._architecture import Architecture
from sk_payne.networks._recipe import Recipe

__all__ = ["NETWORKS", "default_recipe", "register_network", "resolve_network"]

NETWORKS: dict[str, type[nn.Module]] = {}


def register_network(name: str):
    """Register an architecture under a name, as a class decorator.

    Parameters
    ----------
    name : str
        Name that users pass as ``arch``.

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
    >>> from sk_payne.networks import NETWORKS, Architecture, register_network
    >>> @register_network("linear")
    ... class Linear(Architecture):
    ...     def __init__(self, n_labels, n_wavelengths):
    ...         super().__init__()
    ...         self.layer = nn.Linear(n_labels, n_wavelengths)
    ...     def forward(self, labels):
    ...         return self.layer(labels)
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


def resolve_network(arch: str | type[nn.Module]) -> type[Architecture]:
    """Find an architecture by its name, or adapt a class to be one.

    Parameters
    ----------
    arch : str or type
        A registered name, or an ``nn.Module`` class.

    Returns
    -------
    network : type
        A subclass of :class:`Architecture`. For another ``nn.Module`` class, a subclass
        of that class with the same name and weights.

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
            return adapt(NETWORKS[arch])
        raise ValueError(
            f"`arch` must be one of {sorted(NETWORKS)} or an nn.Module class; got "
            f"{arch!r}.{did_you_mean(arch, NETWORKS)}"
        )
    if isinstance(arch, type) and issubclass(arch, nn.Module):
        return adapt(arch)
    raise TypeError(
        f"`arch` must be one of {sorted(NETWORKS)} or an nn.Module class; got "
        f"{arch!r}. Pass the class itself, not an instance of it."
    )


def default_recipe(arch: str | type[nn.Module]) -> Recipe:
    """Return the default recipe of an architecture.

    Parameters
    ----------
    arch : str or type
        A registered name, or an ``nn.Module`` class.

    Returns
    -------
    recipe : Recipe
        Recipe of the class; if it has none, that of "bigpayne" or, if it takes
        wavelengths, that of "transformer".

    Raises
    ------
    TypeError
        If the attribute `recipe` of the class is not a Recipe.

    Examples
    --------
    >>> from sk_payne.networks import default_recipe
    >>> default_recipe("payne").max_steps
    6000
    """
    network = resolve_network(arch)
    recipe = network.recipe
    if recipe is None:
        similar = "transformer" if network.takes_wavelength else "bigpayne"
        recipe = resolve_network(similar).recipe
    if not isinstance(recipe, Recipe):
        raise TypeError(
            f"`recipe` of {network.__name__} must be a Recipe; got {recipe!r}."
        )
    return recipe
