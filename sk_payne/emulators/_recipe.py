"""Recipes of architectures, as the estimators ask for them."""

from sk_payne.networks import (
    NETWORKS,
    OPTIMIZERS,
    Recipe,
    default_recipe,
)

__all__ = ["OPTIMIZERS", "RECIPES", "Recipe", "gentle_recipe", "resolve_recipe"]

RECIPES = {name: default_recipe(name) for name in NETWORKS}


def gentle_recipe(arch, network):
    """Give the recipe for an architecture whose weights are already good."""
    return default_recipe(network).gentle()


def resolve_recipe(arch, network, recipe=None, max_steps=None, *, default=None):
    """Combine the default recipe of an architecture with the user's wishes.

    Parameters
    ----------
    arch : str or type
        Not used.
    network : type
        The class that `arch` stands for.
    recipe : Recipe or mapping, default=None
        Replaces the default as a whole, or the entries that it names.
    max_steps : int, default=None
        Replaces the entry `max_steps`.
    default : Recipe, default=None
        If None, that of the architecture.

    Returns
    -------
    recipe : Recipe
        Complete and checked.

    Examples
    --------
    >>> from sk_payne.emulators import resolve_recipe
    >>> from sk_payne.networks import Payne
    >>> resolve_recipe("payne", Payne, {"lr": 0.1}, max_steps=7).lr
    0.1
    """
    return (default or default_recipe(network)).changed(recipe, max_steps)
