"""settle: make each missing piece of a folder once, beside other processes.

A piece that another process has claimed is left to it, and made here only if that
process ends without a result.
"""

import time

from sk_payne.resumable._spread import spread

__all__ = ["settle"]

_PAUSE = 0.1  # s between two looks at the claims of other processes


def settle(items, store, work, claims, *, n_jobs=1, client=None, scatter=False):
    """Make every missing piece, and return when all exist.

    Parameters
    ----------
    items : iterable of (int, object)
        Number and content of each piece, read one by one as needed.
    store : object
        ``to_do(number, item)`` returns the argument of `work` for a piece, or None if
        the piece exists. ``keep(number, result, reason)`` writes a result, or the
        reason why there is none.
    work : callable
        Makes a piece from its argument. It is sent to workers and must catch errors.
    claims : Claims
        Claims on pieces of the folder.
    n_jobs : int, default=1
        Number of processes, as in joblib; 1 is the calling process.
    client : dask.distributed.Client, default=None
        Cluster that makes the pieces instead.
    scatter : bool, default=False
        Whether to send arguments directly to the workers of a cluster, as they are
        large.

    Examples
    --------
    >>> import tempfile
    >>> from sk_payne.resumable import Claims, settle
    >>> class Squares(dict):
    ...     def to_do(self, number, item):
    ...         return None if number in self else item
    ...     def keep(self, number, result, reason):
    ...         self[number] = result
    >>> squares = Squares({1: "there"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     claims = Claims(f"{folder}/lock")
    ...     settle(enumerate([5, 6, 7]), squares, lambda x: x**2, claims)
    >>> squares
    {1: 'there', 0: 25, 2: 49}
    """
    ours, busy = set(), []

    def unclaimed(candidates):
        for number, item in candidates:
            if store.to_do(number, item) is None:
                continue
            if not claims.take(number):
                # drop pieces that are finished, so that few are held in memory
                busy[:] = [one for one in busy if store.to_do(*one) is not None]
                busy.append((number, item))
                continue
            ours.add(number)
            # another process may have made it just before it was claimed here
            argument = store.to_do(number, item)
            if argument is None:
                release(number)
            else:
                del item
                yield number, argument

    def release(number):
        ours.remove(number)
        claims.release(number)

    try:
        while True:
            made_some = False
            for number, result, reason in spread(
                work, unclaimed(items), n_jobs=n_jobs, client=client, scatter=scatter
            ):
                made_some = True
                store.keep(number, result, reason)
                release(number)
            if not busy:
                return
            items = busy.copy()
            busy.clear()
            if not made_some:
                time.sleep(_PAUSE)
    finally:
        for number in list(ours):
            release(number)
