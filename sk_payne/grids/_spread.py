"""Spectra of a grid made here, by processes of this machine, or on a cluster.

It is here so that a grid does not know who made its spectra: they come as they finish.
"""

import os
from functools import lru_cache
from itertools import islice

import cloudpickle
from joblib import cpu_count, effective_n_jobs
from joblib.externals import loky

from sk_payne.grids._synthesis import synthesise

__all__ = ["spread"]

# Spectra under way for each thread of a cluster: one that is made, one that waits.
_AHEAD = 2
# What libraries ask for the number of their threads.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


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
    n_jobs = effective_n_jobs(n_jobs)
    # pools of one process each, so that it is known which spectrum has ended one
    pools = [_pool(n_jobs) for _ in range(n_jobs)]
    running, stars = {}, iter(stars)

    def start(number, row, star):
        future = pools[number].submit(_make_from_pickle, content, wavelength, row, star)
        running[future] = number, row

    try:
        for number, star in zip(range(n_jobs), stars, strict=False):
            start(number, *star)
        while running:
            done, _ = loky.wait(running, return_when=loky.FIRST_COMPLETED)
            for future in done:
                number, row = running.pop(future)
                try:
                    result = future.result()
                except loky.BrokenProcessPool as error:
                    reason = " ".join(f"The process ended. {error}".split())
                    result = row, None, reason
                    pools[number].shutdown()
                    pools[number] = _pool(n_jobs)
                for star in islice(stars, 1):
                    start(number, *star)
                yield result
    finally:
        for pool in pools:
            pool.shutdown(kill_workers=True)


def _pool(n_jobs):
    n_threads = str(max(1, cpu_count() // n_jobs))
    threads = {name: os.environ.get(name, n_threads) for name in _THREADS}
    return loky.ProcessPoolExecutor(max_workers=1, env=threads)


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
