"""settle: pieces of a folder are made once, whoever else is making them.

What another process has claimed is left to it, and made here only if that process ends
without having made it.
"""

import time

from sk_payne.resumable._spread import spread

__all__ = ["settle"]

_PAUSE = 0.1  # s between two looks at what other processes are doing


def settle(items, store, work, claims, *, n_jobs=1, client=None, scatter=False):
    """Make every piece that is missing, and return when all are there.

    Parameters
    ----------
    items : iterable of (int, object)
        Number and content of each piece; taken one by one as they are needed.
    store : object
        ``to_do(number, item)`` gives the argument of `work` for a piece, or None if the
        piece is there. ``keep(number, result, reason)`` writes a result, or the reason
        why there is none.
    work : callable
        Makes a piece from its argument. It goes to workers, and catches its own errors.
    claims : Claims
        Of the folder.
    n_jobs : int, default=1
        Processes of this machine, as for joblib; with 1, all is made in this one.
    client : dask.distributed.Client, default=None
        Cluster that is to make the pieces instead.
    scatter : bool, default=False
        Whether arguments are large, and go to the workers of a cluster directly.

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
                # no more is held than others are making
                busy[:] = [one for one in busy if store.to_do(*one) is not None]
                busy.append((number, item))
                continue
            ours.add(number)
            # another process may have made it just before it was ours
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
