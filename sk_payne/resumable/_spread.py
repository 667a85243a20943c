"""spread: work done here, by processes of this machine, or on a cluster.

Results come as they are ready, in any order, and a worker that dies costs one of them.
"""

import os
from functools import lru_cache
from itertools import islice

import cloudpickle
from joblib import cpu_count, effective_n_jobs
from joblib.externals import loky

__all__ = ["spread"]

# Arguments under way for each thread of a cluster: one is worked on, one waits.
_AHEAD = 2
# Variables in which libraries look for the number of their threads.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def spread(work, arguments, *, n_jobs=1, client=None, scatter=False):
    """Do work, and give results as they are ready.

    Parameters
    ----------
    work : callable
        Takes one argument. It is sent to every worker once.
    arguments : iterable of (int, object)
        Numbers and arguments, taken when a worker is free.
    n_jobs : int, default=1
        Processes of this machine, as for joblib; with 1, all is done in this one.
    client : dask.distributed.Client, default=None
        Cluster that does the work instead.
    scatter : bool, default=False
        Whether arguments are large, and go to the workers of a cluster directly.

    Yields
    ------
    number : int
        Number of the argument.
    result : object
        What `work` gave; None if its process has ended.
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
    # pickled once here, and unpickled once there: engines may take long to start
    content = cloudpickle.dumps(work)
    n_jobs = effective_n_jobs(n_jobs)
    # pools of one process each, so that it is known which argument has ended one
    pools = [_pool(n_jobs, content) for _ in range(n_jobs)]
    running = {}

    def start(place, number, argument):
        future = pools[place].submit(_work_there, argument)
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


_received = []  # in a process of a pool: the work, pickled


def _receive(content):
    _received.append(content)


def _work_there(argument):
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
            # the scheduler need not hold it
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
        except KilledWorker as error:  # again and again, by this argument
            result, reason = None, f"KilledWorker: {error}"
        del future
        for pair in islice(arguments, 1):
            running.add(start(*pair))
        yield number, result, reason


class _ByValue:
    """Work that arrives on workers that cannot import its module."""

    def __init__(self, work):
        self._work = work

    def __call__(self, argument):
        return self._work(argument)

    def __reduce__(self):
        return cloudpickle.loads, (cloudpickle.dumps(self._work),)


def _call(work, argument):
    return work(argument)
