"""keep_rows: a network with some rows of its weights, for some of its wavelengths."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

from torch import nn

__all__ = ["keep_rows"]

_Network = TypeVar("_Network", bound=nn.Module)


def keep_rows(network: _Network, rows: Mapping[str, slice]) -> _Network:
    """Copy a network with some rows of some weights.

    Parameters
    ----------
    network : nn.Module
        The network.
    rows : mapping of str to slice
        Rows to keep of the weights of these names.

    Returns
    -------
    part : nn.Module
        Copy that shares the memory of all weights.

    Examples
    --------
    >>> from torch import nn
    >>> from sk_payne.networks._rows import keep_rows
    >>> layer = nn.Linear(3, 11)
    >>> keep_rows(layer, {"weight": slice(2, 4), "bias": slice(2, 4)}).weight.shape
    torch.Size([2, 3])
    """
    weights = dict(network.named_parameters())
    kept = {id(weight): weight for weight in weights.values()}
    for name, some in rows.items():
        weight = weights[name]
        kept[id(weight)] = nn.Parameter(weight[some], weight.requires_grad)
    # deepcopy takes what is in its memo instead of a copy
    return copy.deepcopy(network, kept)
