"""Torch modules from stellar parameters (and wavelength) to flux, by name."""

from sk_payne.networks._cannon import Cannon
from sk_payne.networks._convolutional import Convolutional
from sk_payne.networks._dense import BigPayne, Payne
from sk_payne.networks._encoding import WavelengthEncoding
from sk_payne.networks._evaluate import evaluate, pixel_blocks
from sk_payne.networks._jacobian import evaluate_with_jacobian
from sk_payne.networks._opacity import OpacityPayne
from sk_payne.networks._products import fast_products
from sk_payne.networks._registry import (
    NETWORKS,
    build_network,
    register_network,
    resolve_network,
)
from sk_payne.networks._transformer import TransformerPayne

__all__ = [
    "NETWORKS",
    "BigPayne",
    "Cannon",
    "Convolutional",
    "OpacityPayne",
    "Payne",
    "TransformerPayne",
    "WavelengthEncoding",
    "build_network",
    "evaluate",
    "evaluate_with_jacobian",
    "fast_products",
    "pixel_blocks",
    "register_network",
    "resolve_network",
]
