"""The loop over all stars, in blocks that fit memory."""

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

# Derivatives held at a time on an accelerator, in numbers: 256 MB in float64.
_MEMORY = 2**25

# Parameters times pixels of a star above which threads share the stars. Below, Python
# itself takes most of the time, and threads would wait for each other.
_MUCH = 2**18

# Blocks that wait for each thread.
_AHEAD = 4

# What follows the best fit, for each estimate but the mode.
_FURTHER = {"mean": replace_by_means, "profile": add_intervals}


@fast_products()
def measure_stars(plan, *, keep_model=False, verbose=0):
    """Measure all stars of a plan.

    Parameters
    ----------
    plan : FitPlan
        The plan of the fit.
    keep_model : bool, default=False
        Whether the results have the flux of the fits.
    verbose : int, default=0
        Whether to show a progress bar.

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
    """Do something with all stars, block by block.

    On a CPU a block is one star, computed by one thread of torch. If stars are large,
    as many are under way as torch has threads.

    Parameters
    ----------
    plan : FitPlan
        The plan of the fit.
    function : callable
        Called with each block.
    verbose : int, default=0
        Whether to show a progress bar.
    desc : str, default=None
        What stands before it.

    Yields
    ------
    block : StarBlock
        Stars.
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
        n_threads = torch.get_num_threads() if numbers > _MUCH else 1
    bar = {"total": len(plan.spectra), "unit": "star", "disable": not verbose}
    with tqdm(desc=desc, **bar) as bar:
        for block, result in _in_threads(blocks, function, n_threads):
            bar.update(len(block))
            yield block, result


def _in_threads(blocks, function, n_threads):
    """Call a function with blocks; give blocks and results in their order.

    With 0 threads, the calling thread works with the settings that it has.
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
            # with the settings of the caller, which numpy and warnings look at
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
        # threads that begin later take the number that was set last
        torch.set_num_threads(n_threads)


def _rows_of_blocks(plan, preparations):
    """Divide stars into blocks, those with starts in common one after the other."""
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
