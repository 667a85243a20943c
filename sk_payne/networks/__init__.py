"""Torch modules from stellar parameters (and wavelength) to flux, by name."""

import importlib
import pkgutil

from sk_payne.networks._architecture import Architecture
from sk_payne.networks._building import RANDOM_STATE, build_network
from sk_payne.networks._cannon import Cannon
from sk_payne.networks._convolutional import Convolutional
from sk_payne.networks._dense import BigPayne, Payne
from sk_payne.networks._encoding import WavelengthEncoding, float64_device
from sk_payne.networks._evaluate import evaluate, pixel_blocks
from sk_payne.networks._jacobian import evaluate_with_jacobian
from sk_payne.networks._opacity import OpacityPayne
from sk_payne.networks._products import fast_products
from sk_payne.networks._recipe import OPTIMIZERS, Recipe
from sk_payne.networks._registry import (
    NETWORKS,
    default_recipe,
    register_network,
    resolve_network,
)
from sk_payne.networks._transformer import TransformerPayne

__all__ = [
    "NETWORKS",
    "OPTIMIZERS",
    "RANDOM_STATE",
    "Architecture",
    "BigPayne",
    "Cannon",
    "Convolutional",
    "OpacityPayne",
    "Payne",
    "Recipe",
    "TransformerPayne",
    "WavelengthEncoding",
    "build_network",
    "default_recipe",
    "evaluate",
    "evaluate_with_jacobian",
    "fast_products",
    "float64_device",
    "pixel_blocks",
    "register_network",
    "resolve_network",
]

# A file of this folder registers its architecture without being named above.
for _module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
    importlib.import_module(_module.name)
