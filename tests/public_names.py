"""The public names of every room, for tests that read their docstrings."""

import importlib
import inspect

ROOMS = [
    "sk_payne",
    "sk_payne._checksums",
    "sk_payne._persistence",
    "sk_payne.abundances",
    "sk_payne.datasets",
    "sk_payne.emulators",
    "sk_payne.exceptions",
    "sk_payne.exchange",
    "sk_payne.grids",
    "sk_payne.inputs",
    "sk_payne.inspection",
    "sk_payne.networks",
    "sk_payne.neural_posterior",
    "sk_payne.recovery",
    "sk_payne.resumable",
    "sk_payne.spectra",
    "sk_payne.trained",
]


def public_objects():
    """Yield the full name and the object of each public class, function, method."""
    seen = set()
    for room_name in ROOMS:
        room = importlib.import_module(room_name)
        for name in getattr(room, "__all__", []):
            value = getattr(room, name)
            if not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            full = f"{value.__module__}.{value.__qualname__}"
            if full in seen or not full.startswith("sk_payne."):
                continue
            seen.add(full)
            yield full, value
            if inspect.isclass(value):
                yield from methods_of(full, value)


def methods_of(full, cls):
    for name, value in vars(cls).items():
        plain = getattr(value, "__func__", value)  # of a class method
        if not name.startswith("_") and (
            inspect.isfunction(plain) or isinstance(value, property)
        ):
            yield f"{full}.{name}", plain
