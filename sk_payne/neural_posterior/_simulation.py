"""Simulation of training spectra: number and seed determine a batch.

Parameters are drawn from the prior. The forward model of the fits computes spectra with
the pixels, relative errors and masks of observed stars. A continuum, noise, the error
of the emulator and runs of bad pixels are added to each spectrum.
"""

from collections import OrderedDict

import numpy as np
import torch

from sk_payne.neural_posterior._representation import Represented

__all__ = ["Draws", "Simulation"]

# Largest deviation of a continuum from one.
_TILT = 0.3

# Mean number of runs of bad pixels per spectrum; largest length of a run, as a fraction
# of the pixels.
_N_RUNS, _LONGEST_RUN = 1.0, 0.03

# Size of a pool of noiseless spectra, in batches; mean number of uses of a spectrum,
# each with new noise.
_POOL, _N_USES = 4, 4

# Number of observed stars whose pixels the spectra of a pool have.
_N_STARS = 4


class Draws:
    """Preprocessed mock spectra and their true parameters.

    Parameters
    ----------
    spectra : Represented
        Input of the network for n stars.
    coordinates : Tensor of shape (n, K), float32
        Coordinates of the free parameters.
    values : ndarray of shape (n, K)
        Free parameters in their units.
    start : ndarray of shape (n,)
        Velocities in km/s by which the spectra were shifted to rest.
    snr : ndarray of shape (n,)
        Signal-to-noise ratios.
    """

    def __init__(self, spectra, coordinates, values, start, snr):
        self.spectra, self.coordinates = spectra, coordinates
        self.values, self.start, self.snr = values, start, snr

    def __len__(self):
        return len(self.snr)


class Simulation:
    """Source of training spectra.

    Parameters
    ----------
    forward : ForwardModel
        Forward model of the spectra.
    stars : ndarray of int
        Rows of the observed stars that have data.
    coordinates : Coordinates
        Coordinates and prior of the free parameters.
    free : ndarray of int
        Columns of the free parameters.
    base : ndarray of shape (n_parameters,)
        Values of all parameters; draws replace those of free parameters.
    representation : Representation
        Preprocessing of spectra.
    snr : tuple of float
        Smallest and largest signal-to-noise ratio.
    seed : int
        Seed of all random numbers.
    """

    def __init__(
        self, forward, stars, coordinates, free, base, representation, snr, seed
    ):
        self.forward, self.stars = forward, stars
        self.coordinates, self.free, self.base = coordinates, free, base
        self.representation, self.snr, self.seed = representation, snr, seed
        self._pool = None, None
        self._levels = OrderedDict()

    def batch(self, number, size):
        """Simulate a training batch.

        Parameters
        ----------
        number : int
            Number of the batch, from 0.
        size : int
            Number of spectra.

        Returns
        -------
        draws : Draws
            Spectra and parameters.
        """
        pool = number // (_POOL * _N_USES)
        if self._pool[0] != (pool, size):
            rng = np.random.default_rng([self.seed, 0, pool])
            self._pool = (pool, size), self._clean(rng, _POOL * size)
        rng = np.random.default_rng([self.seed, 1, number])
        return self._observed(rng, self._pool[1], size)

    def held_out(self, n, snr=None):
        """Simulate held-out spectra, which are in no batch.

        Parameters
        ----------
        n : int
            Number of spectra.
        snr : float, default=None
            Signal-to-noise ratio of all spectra; if None, drawn as in training.

        Returns
        -------
        draws : Draws
            Spectra and parameters.
        """
        rng = np.random.default_rng([self.seed, 2])
        return self._observed(rng, self._clean(rng, n), None, snr)

    def values(self, free_values):
        """Insert free parameters into all parameters, of shape (n, n_parameters)."""
        every = np.tile(self.base, (len(free_values), 1))
        every[:, self.free] = free_values
        return every

    def _clean(self, rng, n):
        """Simulate noiseless spectra by groups: observed star, parameters, flux."""
        stars = self.stars
        if len(stars) > _N_STARS:
            stars = rng.choice(stars, _N_STARS, replace=False)
        groups, parts = [], np.array_split(np.arange(n), len(stars))
        for star, part in zip(stars, parts, strict=True):
            if len(part):
                values = self.coordinates.draw(rng, len(part))
                flux = self.forward.star(star).flux(self.values(values)).cpu()
                groups.append((star, values, flux))
        return groups

    def _observed(self, rng, groups, size, snr=None):
        """Add noise to `size` random spectra of groups, or to all if None."""
        total, parts = sum(len(values) for _, values, _ in groups), []
        chosen = np.arange(total) if size is None else rng.integers(0, total, size)
        first = 0
        for star, values, flux in groups:
            rows = chosen[(chosen >= first) & (chosen < first + len(values))] - first
            first += len(values)
            if len(rows):
                parts.append(self._noisy(rng, star, values[rows], flux[rows], snr))
        spectra, *columns = zip(*parts, strict=True)
        spectra = Represented.join(spectra)
        values, start, snr = map(np.concatenate, columns)
        coordinates = self.coordinates.to_unbounded(values, start)
        coordinates = torch.from_numpy(coordinates.astype(np.float32))
        return Draws(spectra, coordinates, values, start, snr)

    def _noisy(self, rng, star, values, flux, snr):
        model = self.forward.star(star)
        layout = self.representation.layout(model.wavelength, model.arm)
        n, n_pixels = flux.shape
        low, high = np.log(self.snr)
        ratio = np.exp(rng.uniform(low, high, n)) if snr is None else np.full(n, snr)
        relative = self._relative_error(star, layout) * self.representation.unit
        error = torch.from_numpy((relative / ratio[:, None]).astype(np.float32))
        good = torch.from_numpy(_good_pixels(rng, model.ivar > 0, n))
        continuum = _continua(rng, layout, n, n_pixels)
        noise = torch.from_numpy(rng.standard_normal((n, n_pixels), dtype=np.float32))
        variance, own = error**2, model.emulator_error(self.values(values))
        if own is not None:
            # `ivar` has no error of the emulator, like that of observed stars
            variance = variance + torch.from_numpy(own.astype(np.float32)) ** 2
        seen = continuum * (flux + noise * variance.sqrt())
        ivar = torch.where(good, (error * continuum) ** -2, 0.0)
        represented = self.representation(seen, ivar, layout)
        start = self.representation.velocity(represented.shift)
        return represented, values, start, ratio

    def _relative_error(self, star, layout):
        """Compute errors of the pixels of an observed star, in units of their median.

        Flux with a continuum is divided by it first.
        """
        if star not in self._levels:
            model = self.forward.star(star)
            good = model.ivar > 0
            error = np.where(good, 1 / np.sqrt(np.where(good, model.ivar, 1.0)), np.nan)
            if layout is not None and layout.polynomials is not None:
                span = layout.span
                level = _level(model, layout.polynomials.numpy(), span)
                error[span] = error[span] / level
            error = error / np.nanmedian(error)
            self._levels[star] = np.where(good, error, 1.0)
        return self._levels[star]


def _level(model, polynomials, span):
    """Fit the continuum of an observed star by polynomials."""
    root, flux = np.sqrt(model.ivar[span] / model.ivar.max()), model.flux_seen[span]
    solution, *_ = np.linalg.lstsq((polynomials * root).T, flux * root)
    level = solution @ polynomials
    return np.maximum(level, 0.05 * np.abs(level).max())


def _good_pixels(rng, good, n):
    """Draw masks of n stars: good pixels of an observed star minus random runs."""
    n_pixels = len(good)
    found = np.tile(good, (n, 1))
    longest = max(1.0, _LONGEST_RUN * n_pixels)
    n_runs = rng.poisson(_N_RUNS, n)
    lengths = np.exp(rng.uniform(0, np.log(longest), n_runs.sum())).astype(int)
    firsts = rng.integers(0, n_pixels, n_runs.sum())
    runs = zip(np.repeat(np.arange(n), n_runs), firsts, lengths, strict=True)
    for star, first, length in runs:
        found[star, first : first + length] = False
    # at least some pixels remain good
    empty = ~found.any(axis=1)
    found[empty] = good
    return found


def _continua(rng, layout, n, n_pixels):
    """Draw a continuum between 0.7 and 1.3 for each segment; ones without continuum."""
    found = np.ones((n, n_pixels), dtype=np.float32)
    if layout is None or layout.polynomials is None:
        return torch.from_numpy(found)
    polynomials = layout.polynomials.numpy()
    n_constant = sum(np.ptp(row[row != 0]) == 0 for row in polynomials)
    size = _TILT * n_constant / len(polynomials)
    coefficients = rng.uniform(-size, size, (n, len(polynomials)))
    found[:, layout.span] += coefficients @ polynomials
    return torch.from_numpy(found)
