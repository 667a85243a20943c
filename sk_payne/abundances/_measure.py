"""Loop over all stars, in blocks of bounded memory."""

import contextvars
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from tqdm.auto import tqdm

from sk_payne.abundances._flags import flag_by_posterior, set_flags
from sk_payne.abundances._intervals import add_intervals
from sk_payne.abundances._means import replace_by_means
from sk_payne.abundances._preparations import Preparations
from sk_payne.abundances._results import Measurements
from sk_payne.abundances._search import search
from sk_payne.abundances._second_search import find_second_stars
from sk_payne.abundances._star_block import StarBlock, kind_of
from sk_payne.networks import fast_products

__all__ = ["each_block", "measure_stars"]

# Derivatives per block on an accelerator, in numbers: 256 MB in float64.
_MEMORY = 2**25

# Parameters times pixels of a star above which stars are divided between threads. Below
# it, Python code takes most of the time, and threads would wait for each other.
_LARGE = 2**18

# Largest number of queued blocks per thread.
_AHEAD = 4

# Functions that are called after the best fit, for each estimate except "mode".
_FURTHER = {"mean": replace_by_means, "profile": add_intervals}


@fast_products()
def measure_stars(plan, *, keep_model=False, verbose=0):
    """Measure all stars of a plan.

    Parameters
    ----------
    plan : FitPlan
        The plan of the fit.
    keep_model : bool, default=False
        True to keep the flux of the best fits.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    results : Measurements
        Results of all stars; those without data are flagged.
    """
    n_stars, n_pixels = plan.spectra.shape
    results = Measurements.empty(
        n_stars,
        plan.parameters,
        n_pixels=n_pixels if keep_model else None,
        estimate=plan.estimate,
    )

    def measured(block):
        found = search(block, keep_model=keep_model)
        set_flags(found, block.parameters)
        flag_by_posterior(found, block.proposals)
        if plan.estimate in _FURTHER:
            return _FURTHER[plan.estimate](block, found), ()
        if plan.second_star is None:
            return found, ()
        return found, find_second_stars(block, found, keep_model=keep_model)

    for block, (found, doubles) in each_block(plan, measured, verbose=verbose):
        results.put_block(block, found)
        for row, double in doubles:
            results.put_block(block.doubled, double, np.array([row]))
    return results


def each_block(plan, function, *, verbose=0, desc=None):
    """Call a function with all stars, block by block.

    On a CPU a block is one star, computed by one thread of torch. Large stars are
    computed in parallel, by the number of threads of torch.

    Parameters
    ----------
    plan : FitPlan
        The plan of the fit.
    function : callable
        Function of a block.
    verbose : int, default=0
        1 shows a progress bar.
    desc : str, default=None
        Text in front of the progress bar.

    Yields
    ------
    block : StarBlock
        Block of stars.
    result : object
        Result of the function.
    """
    preparations = Preparations(plan)
    blocks = (
        StarBlock(plan, preparations, rows)
        for rows in _rows_of_blocks(plan, preparations)
    )
    n_threads = 0
    if plan.emulator.device.type == "cpu" and plan.emulator.single is not None:
        numbers = len(plan.parameters) * plan.spectra.shape[1]
        n_threads = torch.get_num_threads() if numbers > _LARGE else 1
    bar = {"total": len(plan.spectra), "unit": "star", "disable": not verbose}
    with tqdm(desc=desc, **bar) as bar:
        for block, result in _in_threads(blocks, function, n_threads):
            bar.update(len(block))
            yield block, result


def _in_threads(blocks, function, n_threads):
    """Call a function with blocks; yield blocks and results in their order.

    With 0 threads, the calling thread computes them with its present settings.
    """
    if n_threads == 0:
        for block in blocks:
            yield block, function(block)
        return
    if n_threads == 1:
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            for block in blocks:
                yield block, function(block)
        finally:
            torch.set_num_threads(before)
        return
    waiting = deque()
    pool = ThreadPoolExecutor(
        n_threads, initializer=torch.set_num_threads, initargs=[1]
    )
    try:
        for block in blocks:
            # context of the caller, with settings of numpy and warnings
            call = contextvars.copy_context().run
            waiting.append((block, pool.submit(call, function, block)))
            if len(waiting) > _AHEAD * n_threads:
                block, future = waiting.popleft()
                yield block, future.result()
        while waiting:
            block, future = waiting.popleft()
            yield block, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        # threads that start later take the number of the last call
        torch.set_num_threads(n_threads)


def _rows_of_blocks(plan, preparations):
    """Divide stars into blocks; stars with the same preparations are consecutive."""
    is_cpu, step, alike = plan.emulator.device.type == "cpu", 1, {}
    for row in range(len(plan.spectra)):
        kind = None if is_cpu else kind_of(plan, row)
        alike.setdefault((preparations.key(row), kind), []).append(row)
    if not is_cpu:
        numbers = len(plan.parameters)
        if plan.wavelength is not None and np.ndim(plan.sigma):
            numbers += 128
        step = max(1, _MEMORY // (numbers * max(plan.spectra.shape[1], 1)))
    for rows in alike.values():
        for first in range(0, len(rows), step):
            yield np.array(rows[first : first + step], dtype=np.intp)
