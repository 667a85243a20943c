"""Batches of spectra: random for training, in order for held-out spectra.

They are skorch iterators: gathering whole batches of tensors that already are on the
device costs far less than collating single spectra.
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

# Batches that are being read, or wait to be used.
_N_AHEAD = 4
# Disks answer several requests at a time; scaling takes a thread, too.
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
        """Give batches one by one.

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

        On a CPU, reader threads slow the computing ones down; there, we only ask the
        system to prefetch (madvise), if it can.

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
    """A random order without end: every spectrum once before any comes again.

    Parameters
    ----------
    seed : int
        Drawn from on the CPU, so that a seed gives the same order on every device.
    """

    def __init__(self, seed):
        self.generator = torch.Generator("cpu").manual_seed(seed)
        self.waiting = torch.empty(0, dtype=torch.int64, device="cpu")

    def next_rows(self, size, n_spectra):
        """Give the next `size` of `n_spectra` rows."""
        while len(self.waiting) < size:
            shuffled = torch.randperm(n_spectra, generator=self.generator, device="cpu")
            self.waiting = torch.cat([self.waiting, shuffled])
        rows, self.waiting = self.waiting.tensor_split([size])
        return rows

    def state_dict(self):
        """Give what decides all that is yet to come."""
        return {"generator": self.generator.get_state(), "waiting": self.waiting}

    def load_state_dict(self, state):
        """Go on from there."""
        self.generator.set_state(state["generator"])
        self.waiting = state["waiting"]


class RandomBatches:
    """A fixed number of random batches, or of this process's parts of them.

    Parameters
    ----------
    dataset : SpectrumDataset or StreamedDataset
        The training set.
    batch_size : int
        Spectra in a batch, at most.
    n_steps : int
        Batches before the iteration ends; the next one goes on where this stopped.
    budget : int
        Batches in all iterations together.
    n_wavelengths : int or None
        Wavelengths drawn for each spectrum, if the network takes the wavelength.
    order : RandomOrder
        Of the spectra; its generator draws the wavelengths, too.
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
        """Rows and columns of batches; an epoch draws no more than it yields."""
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
    """Held-out spectra in order, at no more pixels at a time than memory likes.

    Parameters
    ----------
    dataset : SpectrumDataset or StreamedDataset
        The held-out set.
    batch_size : int
        Not used; skorch passes it.
    n_wavelengths : int
        Wavelengths looked at, evenly spread over the grid, if there are more.
    """

    def __init__(self, dataset, batch_size, n_wavelengths):
        self.dataset = dataset
        n_grid = dataset.n_wavelengths
        self.columns = None
        if dataset.log_wavelength is not None and n_wavelengths < n_grid:
            # in float32: checkpoints know the losses at these
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
    """Yield what is read for each key, in order, announcing the next ones.

    Parameters
    ----------
    announce, read : callable
        Given a key.
    keys : iterable
        Drawn from a few more than were yielded.

    Yields
    ------
    item : object
        What `read` returned.

    Examples
    --------
    >>> from sk_payne.emulators._batches import announce_ahead
    >>> said = []
    >>> items = announce_ahead(said.append, abs, [-3, 1, -2, 4, 5, 6])
    >>> next(items), said
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
    """Yield what is read for each key, in order, while threads read the next ones.

    Parameters
    ----------
    read : callable
        Given a key; called in threads, a few at a time.
    keys : iterable
        Drawn from in the calling thread, a few more than were yielded.

    Yields
    ------
    item : object
        What `read` returned; what it raised is raised.

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
