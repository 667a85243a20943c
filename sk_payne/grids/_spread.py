"""Spectra of a grid made here, by processes of this machine, or on a cluster.

It is here so that a grid does not know who made its spectra: they come as they finish.
"""

from functools import lru_cache
from itertools import islice

import cloudpickle
from joblib import Parallel, delayed

from sk_payne.grids._synthesis import synthesise

__all__ = ["spread"]

# Spectra under way for each thread of a cluster: one that is made, one that waits.
_AHEAD = 2


def spread(engine, wavelength, stars, *, n_jobs, client):
    """Make spectra, and give them as they finish.

    Parameters
    ----------
    engine : callable
        As in :func:`build_grid`.
    wavelength : ndarray of shape (n_wavelengths,)
        Å.
    stars : iterable of (int, dict)
        Row and labels of each.
    n_jobs : int
        Processes of this machine, as for joblib; with 1, all is made in this one.
    client : dask.distributed.Client or None
        Of the cluster that is to make them instead.

    Returns
    -------
    results : iterator of (int, ndarray or None, str or None)
        Row, flux, and why there is none; in any order.
    """
    if client is not None:
        return _on_cluster(engine, wavelength, stars, client)
    if n_jobs == 1:
        return ((row, *synthesise(engine, wavelength, star)) for row, star in stars)
    return _by_processes(engine, wavelength, stars, n_jobs)


def _by_processes(engine, wavelength, stars, n_jobs):
    # pickled once here, and unpickled once there: engines may take long to start
    content = cloudpickle.dumps(engine)
    return Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
        delayed(_make_from_pickle)(content, wavelength, row, star)
        for row, star in stars
    )


def _make_from_pickle(content, wavelength, row, star):
    return row, *synthesise(_unpickled(content), wavelength, star)


@lru_cache(maxsize=1)
def _unpickled(content):
    return cloudpickle.loads(content)


def _on_cluster(engine, wavelength, stars, client):
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    [engine, wavelength] = client.scatter(
        [engine, wavelength], broadcast=True, hash=False
    )
    rows = {}

    def start(row, star):
        future = client.submit(synthesise, engine, wavelength, star, pure=False)
        rows[future.key] = row
        return future

    stars = iter(stars)
    n_ahead = max(1, _AHEAD * sum(client.nthreads().values()))
    running = as_completed([start(*star) for star in islice(stars, n_ahead)])
    for future in running:
        row = rows.pop(future.key)
        try:
            flux, reason = future.result()
        except KilledWorker as error:  # again and again, by this spectrum
            flux, reason = None, f"KilledWorker: {error}"
        for star in islice(stars, 1):
            running.add(start(*star))
        yield row, flux, reason
