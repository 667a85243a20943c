"""spread: apply a function in this process, in several, or on a cluster.

Results come as they are ready, in any order. A worker that dies loses one result.
"""

import os
from functools import lru_cache
from itertools import islice

import cloudpickle
from joblib import cpu_count, effective_n_jobs
from joblib.externals import loky

__all__ = ["spread"]

# Arguments sent per thread of a cluster: one in work, one waiting.
_AHEAD = 2
# Environment variables that set the number of threads of libraries.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def spread(work, arguments, *, n_jobs=1, client=None, scatter=False):
    """Apply a function to arguments, and yield results as they are ready.

    Parameters
    ----------
    work : callable
        Function of one argument, sent to every worker once.
    arguments : iterable of (int, object)
        Numbers and arguments, read when a worker is free.
    n_jobs : int, default=1
        Number of processes, as in joblib; 1 is the calling process.
    client : dask.distributed.Client, default=None
        Cluster that does the work instead.
    scatter : bool, default=False
        Whether to send arguments directly to the workers of a cluster, as they are
        large.

    Yields
    ------
    number : int
        Number of the argument.
    result : object
        Return value of `work`; None if its process died.
    reason : str or None
        Why there is no result.

    Examples
    --------
    >>> from sk_payne.resumable import spread
    >>> list(spread(abs, enumerate([-3, -5])))
    [(0, 3, None), (1, 5, None)]
    """
    arguments = iter(arguments)
    first = list(islice(arguments, 1))
    if not first:
        return  # workers are not started for nothing
    arguments = _put_back(first, arguments)
    if client is not None:
        yield from _on_cluster(work, arguments, client, scatter)
    elif n_jobs == 1:
        for number, argument in arguments:
            result = work(argument)
            del argument
            yield number, result, None
    else:
        yield from _by_processes(work, arguments, n_jobs)


def _put_back(first, others):
    yield first.pop()
    yield from others


def _by_processes(work, arguments, n_jobs):
    # pickled once, and unpickled once per worker: engines may take long to start
    content = cloudpickle.dumps(work)
    n_jobs = effective_n_jobs(n_jobs)
    # one process per pool, to know which argument has ended it
    pools = [_pool(n_jobs, content) for _ in range(n_jobs)]
    running = {}

    def start(place, number, argument):
        future = pools[place].submit(_work_in_pool, argument)
        running[future] = place, number

    try:
        for place, pair in zip(range(n_jobs), arguments, strict=False):
            start(place, *pair)
        while running:
            done, _ = loky.wait(running, return_when=loky.FIRST_COMPLETED)
            for future in done:
                place, number = running.pop(future)
                try:
                    result, reason = future.result(), None
                except loky.BrokenProcessPool as error:
                    result = None
                    reason = " ".join(f"The process ended. {error}".split())
                    pools[place].shutdown()
                    pools[place] = _pool(n_jobs, content)
                for pair in islice(arguments, 1):
                    start(place, *pair)
                yield number, result, reason
    finally:
        for pool in pools:
            pool.shutdown(kill_workers=True)


def _pool(n_jobs, content):
    n_threads = str(max(1, cpu_count() // n_jobs))
    threads = {name: os.environ.get(name, n_threads) for name in _THREADS}
    return loky.ProcessPoolExecutor(
        max_workers=1, env=threads, initializer=_receive, initargs=(content,)
    )


_received = []  # the pickled work, in a process of a pool


def _receive(content):
    _received.append(content)


def _work_in_pool(argument):
    return _unpickled()(argument)


@lru_cache(maxsize=1)
def _unpickled():
    return cloudpickle.loads(_received[-1])


def _on_cluster(work, arguments, client, scatter):
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    [work] = client.scatter([_ByValue(work)], broadcast=True, hash=False)
    numbers = {}

    def start(number, argument):
        if scatter:
            # past the scheduler, which need not hold it
            [argument] = client.scatter([argument], hash=False)
        future = client.submit(_call, work, argument, pure=False)
        numbers[future.key] = number
        return future

    n_ahead = max(1, _AHEAD * sum(client.nthreads().values()))
    running = as_completed([start(*pair) for pair in islice(arguments, n_ahead)])
    for future in running:
        number = numbers.pop(future.key)
        try:
            result, reason = future.result(), None
        except KilledWorker as error:  # this argument killed several workers
            result, reason = None, f"KilledWorker: {error}"
        del future
        for pair in islice(arguments, 1):
            running.add(start(*pair))
        yield number, result, reason


class _ByValue:
    """Callable pickled by value, for workers that cannot import its module."""

    def __init__(self, work):
        self._work = work

    def __call__(self, argument):
        return self._work(argument)

    def __reduce__(self):
        return cloudpickle.loads, (cloudpickle.dumps(self._work),)


def _call(work, argument):
    return work(argument)
