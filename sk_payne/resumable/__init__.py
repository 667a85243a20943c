"""Folders of results that are made piece by piece, by any number of processes.

Grids and catalogues are both made so: each says what a piece is, and this room does the
rest: identity of the folder, claims, files written whole, failures, workers.
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
