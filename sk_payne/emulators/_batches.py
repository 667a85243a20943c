"""Batches of spectra: random for training, in order for held-out spectra.

They are here, as skorch iterators, because gathering whole batches of tensors that
already are on the device costs far less than collating single spectra.
"""

import torch

from sk_payne.emulators._processes import my_part
from sk_payne.networks import pixel_blocks

__all__ = ["HeldOutBatches", "RandomBatches", "RandomOrder", "SpectrumDataset"]


class SpectrumDataset(torch.utils.data.Dataset):
    """Scaled labels and flux, and log10 of the wavelengths of a grid.

    Parameters
    ----------
    labels : Tensor of shape (n_spectra, n_labels)
        Scaled stellar parameters.
    flux : Tensor of shape (n_spectra, n_wavelengths)
        Scaled flux.
    log_wavelength : Tensor of shape (n_wavelengths,), float64, or None
        For networks that take the wavelength, else None.
    """

    def __init__(self, labels, flux, log_wavelength):
        self.labels = labels
        self.flux = flux
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
        if self.log_wavelength is None:
            return (labels,), self.flux[rows]
        wave = self.log_wavelength.expand(len(labels), -1)
        return (labels, wave), self.flux[rows]

    def at(self, rows, columns):
        """Give the same at chosen wavelengths, `columns` of shape (n_rows, n)."""
        flux = self.flux[rows[:, None], columns]
        return (self.labels[rows], self.log_wavelength[columns]), flux

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


class RandomOrder:
    """A random order without end: every spectrum once before any comes again.

    Parameters
    ----------
    seed : int
        Drawn from on the CPU, so that a seed gives the same order on every device.
    """

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)
        self.waiting = torch.empty(0, dtype=torch.int64)

    def next_rows(self, size, n_spectra):
        """Give the next `size` of `n_spectra` rows."""
        while len(self.waiting) < size:
            shuffled = torch.randperm(n_spectra, generator=self.generator)
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
            self.columns = torch.linspace(0, n_grid - 1, n_wavelengths).long()

    def __iter__(self):
        return iter(self.dataset.batches(self._cut()))

    def _cut(self):
        n_pixels = (
            self.dataset.n_wavelengths if self.columns is None else len(self.columns)
        )
        device = self.dataset.labels.device
        for block in pixel_blocks(len(self.dataset), max(n_pixels, 16), device):
            rows = my_part(torch.arange(block.start, block.stop))
            columns = self.columns
            yield rows, None if columns is None else columns.expand(len(rows), -1)
