"""Batches of spectra: random for training, in order for held-out spectra.

They are here, as skorch iterators, because gathering whole batches of tensors that
already are on the device costs far less than collating single spectra.
"""

import torch

from sk_payne.networks import pixel_blocks

__all__ = ["HeldOutBatches", "RandomBatches", "SpectrumDataset"]


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


class RandomBatches:
    """A fixed number of random batches: every spectrum once before any comes again.

    Parameters
    ----------
    dataset : SpectrumDataset
        The training set.
    batch_size : int
        Spectra in a batch, at most.
    n_steps : int
        Batches before the iteration ends; the next one goes on where this stopped.
    budget : int
        Batches in all iterations together.
    n_wavelengths : int or None
        Wavelengths drawn for each spectrum, if the network takes the wavelength.
    generator : torch.Generator
        On the CPU, so that a seed gives the same batches on every device.
    """

    def __init__(self, dataset, batch_size, n_steps, budget, n_wavelengths, generator):
        self.dataset = dataset
        self.batch_size = min(batch_size, len(dataset))
        self.n_steps = n_steps
        self.budget = budget
        self.generator = generator
        self.n_wavelengths = None
        grid = dataset.log_wavelength
        if grid is not None and n_wavelengths is not None and n_wavelengths < len(grid):
            self.n_wavelengths = n_wavelengths
        self._waiting = torch.empty(0, dtype=torch.int64)

    def __iter__(self):
        device = self.dataset.labels.device
        for _ in range(min(self.n_steps, self.budget)):
            self.budget -= 1
            rows = self._next_rows().to(device)
            if self.n_wavelengths is None:
                yield self.dataset[rows]
                continue
            columns = torch.randint(
                self.dataset.flux.shape[1],
                (len(rows), self.n_wavelengths),
                generator=self.generator,
            )
            yield self.dataset.at(rows, columns.to(device))

    def _next_rows(self):
        while len(self._waiting) < self.batch_size:
            shuffled = torch.randperm(len(self.dataset), generator=self.generator)
            self._waiting = torch.cat([self._waiting, shuffled])
        rows, self._waiting = self._waiting.tensor_split([self.batch_size])
        return rows


class HeldOutBatches:
    """Held-out spectra in order, at no more pixels at a time than memory likes.

    Parameters
    ----------
    dataset : SpectrumDataset
        The held-out set.
    batch_size : int
        Not used; skorch passes it.
    n_wavelengths : int
        Wavelengths looked at, evenly spread over the grid, if there are more.
    """

    def __init__(self, dataset, batch_size, n_wavelengths):
        self.dataset = dataset
        n_grid = dataset.flux.shape[1]
        self.columns = None
        if dataset.log_wavelength is not None and n_wavelengths < n_grid:
            self.columns = torch.linspace(0, n_grid - 1, n_wavelengths).long()

    def __iter__(self):
        device = self.dataset.labels.device
        n_pixels = (
            self.dataset.flux.shape[1] if self.columns is None else len(self.columns)
        )
        for block in pixel_blocks(len(self.dataset), max(n_pixels, 16), device):
            rows = torch.arange(block.start, block.stop, device=device)
            if self.columns is None:
                yield self.dataset[rows]
            else:
                columns = self.columns.to(device).expand(len(rows), -1)
                yield self.dataset.at(rows, columns)
