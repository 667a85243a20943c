"""From spectra and an emulator to measurements, in batches that fit memory.

It is here as the loop over all stars.
"""

import numpy as np
from tqdm.auto import tqdm

from sk_payne.abundances._batch import POOR, Batch, is_poor
from sk_payne.abundances._importance import sample_batch, seeds_of
from sk_payne.abundances._results import Measurements, set_flags
from sk_payne.networks import fast_products

__all__ = ["batches", "fit_task"]

# Derivatives held at a time, in numbers: 256 MB in float64. More stars at a time than
# this only make the progress bar jump, on a CPU.
_MEMORY = 2**25
_STARS_CPU = 128

# Samples of the posterior of a star that means are taken of.
_N_SAMPLES = 192

# Between which parts of it are the middle 68 %.
_MIDDLE = 0.1587, 0.8413

# Velocities that are tried, best first, while the fit is poor.
_N_VELOCITIES = 3


@fast_products()
def fit_task(task, spectra, *, keep_model=False, verbose=0):
    """Measure stars.

    Parameters
    ----------
    task : Task
        What is fitted.
    spectra : SpectrumSet
        Of n stars, with errors, for which the task was prepared.
    keep_model : bool, default=False
        Whether the results shall have the flux of the fits.
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    results : Measurements
        Of all stars, those without data flagged.
    """
    inverted = task.inverted
    shape = len(inverted.low), task.nuisances
    n_pixels = spectra.shape[1] if keep_model else None
    of_means = task.options.estimate == "mean"
    results = Measurements.empty(
        len(spectra), *shape, n_pixels=n_pixels, of_means=of_means
    )

    def measure(stars, rank):
        found = Measurements.empty(
            len(stars), *shape, n_pixels=n_pixels, of_means=of_means
        )
        Batch(task, spectra, stars, rank).fit(found)
        return found

    with tqdm(total=len(spectra), unit="star", disable=not verbose) as bar:
        for rows in batches(task, spectra):
            results.put(rows, measure(rows, 0))
            for rank in range(1, _N_VELOCITIES if task.with_velocity else 1):
                poor = rows[is_poor(results.chi2[rows], results.dof[rows])]
                if not len(poor):
                    break
                found = measure(poor, rank)
                better = _is_better(found, results, poor)
                results.put(poor[better], found, better)
            bar.update(len(rows))
    # which are of the best fits
    set_flags(results, low=inverted.low, high=inverted.high)
    if of_means:
        what = {"desc": "posterior", "unit": "star", "disable": not verbose}
        with tqdm(total=len(spectra), **what) as bar:
            for rows in batches(task, spectra):
                _take_means(task, spectra, rows, results)
                bar.update(len(rows))
    return results


def _take_means(task, spectra, rows, results):
    """Replace best fits by means of the posterior around them."""
    batch = Batch(task, spectra, rows, found=results)
    if not len(batch.rows):
        return
    found = sample_batch(batch, n=_N_SAMPLES, seeds=seeds_of(batch.raw_flux))
    center, scale = task.units
    rows = rows[batch.rows]
    results.parameters[rows] = center + scale * found.mean.cpu().numpy()
    covariance = found.covariance.cpu().numpy()
    results.covariance[rows] = covariance * scale[:, None] * scale
    results.n_effective[rows] = found.n_effective.cpu().numpy()
    for i, part in enumerate(_MIDDLE):
        quantile = found.quantile(part).cpu().numpy()
        results.interval[rows, :, i] = center + scale * quantile


def batches(task, spectra):
    """Cut stars into batches that fit memory.

    Parameters
    ----------
    task : Task
        What is fitted.
    spectra : SpectrumSet
        Of all stars.

    Yields
    ------
    rows : ndarray of int
        Of the stars of a batch.
    """
    numbers = len(task.inverted.low) + len(task.nuisances)
    if task.instrument is not None:
        numbers += task.instrument.numbers_per_pixel
    step = max(1, _MEMORY // (numbers * max(spectra.shape[1], 1)))
    if task.inverted.device.type == "cpu":
        step = min(step, _STARS_CPU)
    for first in range(0, len(spectra), step):
        yield np.arange(first, min(first + step, len(spectra)))


def _is_better(found, results, rows):
    """Whether stars that were fitted again, at other pixels, fit clearly better."""
    before, dof = results.chi2[rows] / results.dof[rows].clip(1), found.dof.clip(1)
    margin = POOR * np.sqrt(2 / dof) * np.maximum(before, 1)
    return found.converged & (found.chi2 / dof < before - margin)
