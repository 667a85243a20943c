"""Folders of results that any number of processes fill, piece by piece.

Grids and catalogues define a piece; this room provides the identity of the folder,
claims, atomic files, the list of failures and workers.
"""

from sk_payne.resumable._claims import Claims
from sk_payne.resumable._folder import Folder, refuse_other
from sk_payne.resumable._identity import describe, difference, digest
from sk_payne.resumable._settle import settle
from sk_payne.resumable._spread import spread

__all__ = [
    "Claims",
    "Folder",
    "describe",
    "difference",
    "digest",
    "refuse_other",
    "settle",
    "spread",
]
