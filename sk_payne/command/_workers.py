"""Further processes of a run, which share its catalogue."""

import multiprocessing
import os
import threading
import warnings
from contextlib import contextmanager

import torch

from sk_payne.abundances import measure_catalogue

__all__ = ["with_workers"]


@contextmanager
def with_workers(n_workers, arguments, options):
    """Let further processes measure a catalogue along with this one.

    Each star is measured by one process, and each process has one thread.

    Parameters
    ----------
    n_workers : int
        Processes in all, at least 1.
    arguments : tuple
        Positional arguments of :func:`sk_payne.abundances.measure_catalogue`.
    options : dict
        Its keyword arguments.
    """
    if n_workers == 1:
        yield
        return
    context = multiprocessing.get_context("spawn")
    helpers = [
        context.Process(target=_help, args=(arguments, options), daemon=True)
        for _ in range(n_workers - 1)
    ]
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for helper in helpers:
            helper.start()
        yield
        for helper in helpers:
            helper.join()
    finally:
        torch.set_num_threads(n_threads)
        for helper in helpers:
            if helper.pid is not None:
                helper.terminate()
                helper.join()


def _help(arguments, options):
    """Measure in a process that ends with the one that started it."""
    parent = multiprocessing.parent_process()

    def follow():
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    torch.set_num_threads(1)
    try:
        # what is to be said is said by the first process
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            measure_catalogue(*arguments, **options | {"verbose": 0})
    except KeyboardInterrupt:
        pass
