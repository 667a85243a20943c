"""From spectra and an emulator to measurements, in batches that fit memory.

It is here as the loop over all stars.
"""

import contextvars
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import numpy as np
import torch
from tqdm.auto import tqdm

from sk_payne.abundances._batch import POOR, Batch, is_poor
from sk_payne.abundances._importance import sample_batch, seeds_of
from sk_payne.abundances._part import Part, Shelf, kind_of
from sk_payne.abundances._results import Measurements, set_flags
from sk_payne.networks import fast_products

__all__ = ["each_part", "fit_task"]

# Derivatives held at a time on an accelerator, in numbers: 256 MB in float64.
_MEMORY = 2**25

# Parameters times pixels of a star above which threads share the stars. Below, Python
# itself takes most of the time, and threads would wait for each other.
_MUCH = 2**18

# Parts that wait for each thread.
_AHEAD = 4

# Samples of the posterior of a star that means are taken of.
_N_SAMPLES = 192

# Between which parts of it are the middle 68 %.
_MIDDLE = 0.1587, 0.8413

# Velocities that are tried, best first, while the fit is poor.
_N_VELOCITIES = 3


@fast_products()
def fit_task(task, *, keep_model=False, verbose=0):
    """Measure stars.

    Parameters
    ----------
    task : Task
        What is fitted.
    keep_model : bool, default=False
        Whether the results shall have the flux of the fits.
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    results : Measurements
        Of all stars, those without data flagged.
    """
    n_stars, n_pixels = task.spectra.shape
    of_means = task.options.estimate == "mean"
    results = Measurements.empty(
        n_stars,
        len(task.inverted.low),
        task.nuisances,
        n_pixels=n_pixels if keep_model else None,
        of_means=of_means,
    )
    for part, found in each_part(
        task, lambda part: _measure(part, keep_model, of_means), verbose=verbose
    ):
        results.put_part(part, found)
    return results


def _measure(part, keep_model, of_means):
    """Measure the stars of a part."""

    def fitted(stars, rank):
        found = Measurements.empty(
            len(stars),
            len(part.inverted.low),
            part.nuisances,
            n_pixels=len(part.pixels) if keep_model else None,
            of_means=of_means,
        )
        Batch(part, stars, rank).fit(found)
        return found

    results = fitted(np.arange(len(part)), 0)
    for rank in range(1, _N_VELOCITIES if part.with_velocity else 1):
        poor = np.flatnonzero(is_poor(results.chi2, results.dof))
        if not len(poor):
            break
        found = fitted(poor, rank)
        better = _is_better(found, results, poor)
        results.put(poor[better], found, better)
    # which are of the best fits
    set_flags(results, low=part.inverted.low, high=part.inverted.high)
    if of_means:
        _take_means(part, results)
    return results


def _take_means(part, results):
    """Replace best fits by means of the posterior around them."""
    batch = Batch(part, found=results)
    if not len(batch.rows):
        return
    found = sample_batch(batch, n=_N_SAMPLES, seeds=seeds_of(batch.raw_flux))
    center, scale = part.units
    rows = batch.rows
    results.parameters[rows] = center + scale * found.mean.cpu().numpy()
    covariance = found.covariance.cpu().numpy()
    results.covariance[rows] = covariance * scale[:, None] * scale
    results.n_effective[rows] = found.n_effective.cpu().numpy()
    for i, share in enumerate(_MIDDLE):
        quantile = found.quantile(share).cpu().numpy()
        results.interval[rows, :, i] = center + scale * quantile


def each_part(task, function, *, verbose=0, desc=None):
    """Do something with all stars, part by part.

    On a CPU a part is one star, whatever stars are beside it, computed by one thread of
    torch. If stars are large, as many are under way as torch has threads.

    Parameters
    ----------
    task : Task
        What is fitted.
    function : callable
        Takes a part.
    verbose : int, default=0
        Whether to show a progress bar.
    desc : str, default=None
        What stands before it.

    Yields
    ------
    part : Part
        Stars.
    result : object
        What the function made of them.
    """
    shelf = Shelf(task)
    parts = (Part(task, shelf, rows) for rows in _rows_of_parts(task, shelf))
    n_threads = 0
    if task.inverted.device.type == "cpu" and task.inverted.single is not None:
        numbers = len(task.limits[0]) * task.spectra.shape[1]
        n_threads = torch.get_num_threads() if numbers > _MUCH else 1
    bar = {"total": len(task.spectra), "unit": "star", "disable": not verbose}
    with tqdm(desc=desc, **bar) as bar:
        for part, result in _in_threads(parts, function, n_threads):
            bar.update(len(part))
            yield part, result


def _in_threads(parts, function, n_threads):
    """Give parts, and what a function makes of them, in their order.

    With 0 threads, the calling thread works with the settings that it has.
    """
    if n_threads == 0:
        for part in parts:
            yield part, function(part)
        return
    if n_threads == 1:
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            for part in parts:
                yield part, function(part)
        finally:
            torch.set_num_threads(before)
        return
    waiting = deque()
    pool = ThreadPoolExecutor(
        n_threads, initializer=torch.set_num_threads, initargs=[1]
    )
    try:
        for part in parts:
            # with the settings of the caller, which numpy and warnings look at
            call = contextvars.copy_context().run
            waiting.append((part, pool.submit(call, function, part)))
            if len(waiting) > _AHEAD * n_threads:
                part, future = waiting.popleft()
                yield part, future.result()
        while waiting:
            part, future = waiting.popleft()
            yield part, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
        # threads that begin later take the number that was set last
        torch.set_num_threads(n_threads)


def _rows_of_parts(task, shelf):
    """Divide stars into parts, those with starts in common one after the other."""
    order = sorted(range(len(task.spectra)), key=lambda row: shelf.width(row) or -1e9)
    if task.inverted.device.type == "cpu":
        yield from np.array(order, dtype=np.intp)[:, None]
        return
    order.sort(key=lambda row: (shelf.width(row) is None, repr(kind_of(task, row))))
    numbers = len(task.inverted.low) + len(task.nuisances)
    if task.wavelength is not None and np.ndim(task.sigma):
        numbers += 128
    step = max(1, _MEMORY // (numbers * max(task.spectra.shape[1], 1)))
    for _, rows in groupby(order, lambda row: (shelf.width(row), kind_of(task, row))):
        rows = np.array(list(rows))
        for first in range(0, len(rows), step):
            yield rows[first : first + step]


def _is_better(found, results, rows):
    """Whether stars that were fitted again, at other pixels, fit clearly better."""
    before, dof = results.chi2[rows] / results.dof[rows].clip(1), found.dof.clip(1)
    margin = POOR * np.sqrt(2 / dof) * np.maximum(before, 1)
    return found.converged & (found.chi2 / dof < before - margin)
