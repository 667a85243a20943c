"""Batches of spectra: random ones for training, ordered ones for held-out spectra.

They are iterators for skorch. Whole batches are gathered from tensors on the device,
which is much faster than collating single spectra.
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from sk_payne.emulators._processes import my_part
from sk_payne.networks import pixel_blocks

__all__ = [
    "HeldOutBatches",
    "RandomBatches",
    "RandomOrder",
    "SpectrumDataset",
    "StreamedDataset",
    "announce_ahead",
    "read_ahead",
]

# Batches that are prefetched.
_N_AHEAD = 4
# Reader threads: disks serve several requests at a time.
_N_THREADS = 2


class SpectrumDataset(torch.utils.data.Dataset):
    """Scaled labels and flux, and log10 of the wavelengths of a grid.

    Parameters
    ----------
    labels : Tensor of shape (n_spectra, n_labels)
        Scaled stellar parameters.
    flux : Tensor of shape (n_spectra, n_wavelengths)
        Scaled flux.
    log_wavelength : Tensor of shape (n_wavelengths,), float64, or None
        log10 of the wavelengths for networks that take them, else None.
    weights : Tensor of shape (n_spectra, n_wavelengths), default=None
        Factors of the residuals in the loss; None if all are one.
    """

    def __init__(self, labels, flux, log_wavelength, weights=None):
        self.labels = labels
        self.flux = flux
        self.weights = weights
        self.log_wavelength = log_wavelength

    @property
    def n_wavelengths(self):
        """Number of wavelengths."""
        return self.flux.shape[1]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, rows):
        """Network input and target of some rows, at all wavelengths."""
        labels = self.labels[rows]
        target = self._target(rows)
        if self.log_wavelength is None:
            return (labels,), target
        wave = self.log_wavelength.expand(len(labels), -1)
        return (labels, wave), target

    def at(self, rows, columns):
        """Input and target at chosen wavelengths, `columns` of shape (n_rows, n)."""
        wave = self.log_wavelength[columns.to(self.log_wavelength.device)]
        inputs = self.labels[rows], wave
        return inputs, self._target((rows[:, None], columns))

    def _target(self, key):
        """Flux, or flux and weights."""
        if self.weights is None:
            return self.flux[key]
        return self.flux[key], self.weights[key]

    def batches(self, keys):
        """Yield batches one by one.

        Parameters
        ----------
        keys : iterable of tuple
            Rows, and columns of shape (n_rows, n) or None for all, on the CPU.

        Yields
        ------
        batch : tuple
            Network input and target.
        """
        device = self.labels.device
        for rows, columns in keys:
            rows = rows.to(device)
            yield self[rows] if columns is None else self.at(rows, columns.to(device))


class StreamedDataset(torch.utils.data.Dataset):
    """Scaled labels in memory and flux on disk, and log10 of the wavelengths.

    Parameters
    ----------
    labels : Tensor of shape (n_spectra, n_labels)
        Scaled stellar parameters, on the device of the network.
    flux : TrainingFlux or StackedFlux of shape (n_all, n_wavelengths)
        Flux, not scaled, and weights.
    rows : ndarray of shape (n_spectra,), int
        Rows of the flux that are in the dataset.
    scaling : Scaling
        Scaling of the flux.
    log_wavelength : Tensor of shape (n_wavelengths,), float64, or None
        log10 of the wavelengths for networks that take them, else None.
    """

    def __init__(self, labels, flux, rows, scaling, log_wavelength):
        self.labels = labels
        self.log_wavelength = log_wavelength
        self.n_wavelengths = flux.shape[1]
        self._flux = flux
        self._rows = rows
        self._scaling = scaling

    def __len__(self):
        return len(self.labels)

    def batches(self, keys):
        """Read batches, the next ones in advance.

        On a CPU, reader threads slow the computing threads down: there, the system is
        asked to prefetch (madvise) instead, if it can.

        Parameters
        ----------
        keys : iterable of tuple
            Rows, and columns of shape (n_rows, n) or None for all, on the CPU.

        Yields
        ------
        batch : tuple
            Network input and target.
        """
        if self.labels.device.type == "cpu" and self._announce(None):
            return announce_ahead(self._announce, self._read, keys)
        return read_ahead(self._read, keys)

    def _announce(self, key):
        rows = self._rows[:0] if key is None else self._rows[key[0].numpy()]
        return self._flux.announce(rows)

    def _read(self, key):
        rows, columns = key
        device = self.labels.device
        chosen = self._rows[rows.numpy()]
        flux, weights = self._flux[chosen], self._flux.weights(chosen)
        if columns is not None:
            flux = np.take_along_axis(flux, columns.numpy(), axis=1)
        flux = self._scaling.scale_flux(flux).astype(np.float32)
        target = torch.from_numpy(flux).to(device)
        if weights is not None:
            if columns is not None:
                weights = np.take_along_axis(weights, columns.numpy(), axis=1)
            target = target, torch.from_numpy(weights).to(device)
        labels = self.labels[rows.to(device)]
        if self.log_wavelength is None:
            return (labels,), target
        if columns is None:
            return (labels, self.log_wavelength.expand(len(labels), -1)), target
        wave = self.log_wavelength[columns.to(self.log_wavelength.device)]
        return (labels, wave), target


class RandomOrder:
    """Endless random order: every spectrum comes once before any comes again.

    Parameters
    ----------
    seed : int
        Seed of a generator on the CPU, so that the order is the same on every device.
    """

    def __init__(self, seed):
        self.generator = torch.Generator("cpu").manual_seed(seed)
        self.waiting = torch.empty(0, dtype=torch.int64, device="cpu")

    def next_rows(self, size, n_spectra):
        """Draw the next `size` of `n_spectra` rows."""
        while len(self.waiting) < size:
            shuffled = torch.randperm(n_spectra, generator=self.generator, device="cpu")
            self.waiting = torch.cat([self.waiting, shuffled])
        rows, self.waiting = self.waiting.tensor_split([size])
        return rows

    def state_dict(self):
        """State of the generator, and the rows of this round not drawn yet."""
        return {"generator": self.generator.get_state(), "waiting": self.waiting}

    def load_state_dict(self, state):
        """Restore a state, so that the order continues from it."""
        self.generator.set_state(state["generator"])
        self.waiting = state["waiting"]


class RandomBatches:
    """Random batches of one epoch; each process gets its part of every batch.

    Parameters
    ----------
    dataset : SpectrumDataset or StreamedDataset
        The training set.
    batch_size : int
        Largest number of spectra in a batch.
    n_steps : int
        Batches of an iteration (an epoch); the next one continues the random order.
    budget : int
        Batches of all iterations together.
    n_wavelengths : int or None
        Wavelengths drawn for each spectrum, if the network takes the wavelength.
    order : RandomOrder
        Order of the spectra; its generator draws the wavelengths, too.
    """

    def __init__(self, dataset, batch_size, n_steps, budget, n_wavelengths, order):
        self.dataset = dataset
        self.batch_size = min(batch_size, len(dataset))
        self.n_steps = n_steps
        self.budget = budget
        self.order = order
        self.n_wavelengths = None
        grid = dataset.log_wavelength
        if grid is not None and n_wavelengths is not None and n_wavelengths < len(grid):
            self.n_wavelengths = n_wavelengths

    def __iter__(self):
        return iter(self.dataset.batches(self._draw()))

    def _draw(self):
        """Yield rows and columns of batches, drawn one at a time."""
        for _ in range(min(self.n_steps, self.budget)):
            self.budget -= 1
            rows = self.order.next_rows(self.batch_size, len(self.dataset))
            columns = None
            if self.n_wavelengths is not None:
                columns = torch.randint(
                    self.dataset.n_wavelengths,
                    (len(rows), self.n_wavelengths),
                    generator=self.order.generator,
                    device="cpu",
                )
                columns = my_part(columns)
            yield my_part(rows), columns


class HeldOutBatches:
    """Held-out spectra in order, in blocks of bounded memory.

    Parameters
    ----------
    dataset : SpectrumDataset or StreamedDataset
        The held-out set.
    batch_size : int
        Not used; skorch passes it.
    n_wavelengths : int
        Largest number of wavelengths to evaluate, evenly spread over the grid.
    """

    def __init__(self, dataset, batch_size, n_wavelengths):
        self.dataset = dataset
        n_grid = dataset.n_wavelengths
        self.columns = None
        if dataset.log_wavelength is not None and n_wavelengths < n_grid:
            # in float32, as losses in checkpoints are those at these wavelengths
            self.columns = torch.linspace(
                0, n_grid - 1, n_wavelengths, dtype=torch.float32, device="cpu"
            ).long()

    def __iter__(self):
        return iter(self.dataset.batches(self._cut()))

    def _cut(self):
        n_pixels = (
            self.dataset.n_wavelengths if self.columns is None else len(self.columns)
        )
        device = self.dataset.labels.device
        for block in pixel_blocks(len(self.dataset), max(n_pixels, 16), device):
            rows = my_part(torch.arange(block.start, block.stop, device="cpu"))
            columns = self.columns
            yield rows, None if columns is None else columns.expand(len(rows), -1)


def announce_ahead(announce, read, keys):
    """Yield ``read(key)`` for each key in order; the next keys are announced before.

    Parameters
    ----------
    announce, read : callable
        Functions of a key.
    keys : iterable
        Keys; a few more are drawn than items are yielded.

    Yields
    ------
    item : object
        Result of `read`.

    Examples
    --------
    >>> from sk_payne.emulators._batches import announce_ahead
    >>> announced = []
    >>> items = announce_ahead(announced.append, abs, [-3, 1, -2, 4, 5, 6])
    >>> next(items), announced
    (3, [-3, 1, -2, 4, 5])
    """
    waiting = deque()
    for key in keys:
        announce(key)
        waiting.append(key)
        if len(waiting) > _N_AHEAD:
            yield read(waiting.popleft())
    yield from map(read, waiting)


def read_ahead(read, keys):
    """Yield ``read(key)`` for each key in order; threads read the next ones.

    Parameters
    ----------
    read : callable
        Function of a key; it is called in threads, a few at a time.
    keys : iterable
        Keys; the calling thread draws a few more than items are yielded.

    Yields
    ------
    item : object
        Result of `read`; its errors are raised here.

    Examples
    --------
    >>> from sk_payne.emulators._batches import read_ahead
    >>> list(read_ahead(abs, [-3, 1, -2]))
    [3, 1, 2]
    """
    waiting = deque()
    with ThreadPoolExecutor(_N_THREADS, thread_name_prefix="read_ahead") as pool:
        try:
            for key in keys:
                waiting.append(pool.submit(read, key))
                if len(waiting) > _N_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for item in waiting:
                item.cancel()
