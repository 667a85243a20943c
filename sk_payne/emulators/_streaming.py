"""Batches of spectra on disk, which are read while the network computes.

It is here because a random row of a file takes longer to read than to train on.
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

__all__ = ["StreamedDataset", "announce_ahead", "read_ahead"]

# Batches that are being read, or wait to be used.
_N_AHEAD = 4
# Disks answer several requests at a time; scaling takes a thread, too.
_N_THREADS = 2


class StreamedDataset(torch.utils.data.Dataset):
    """Scaled labels in memory and flux on disk, and log10 of the wavelengths.

    Parameters
    ----------
    labels : Tensor of shape (n_spectra, n_labels)
        Scaled stellar parameters, on the device of the network.
    flux : StreamedFlux or StackedFlux of shape (n_all, n_wavelengths)
        Not scaled.
    rows : ndarray of shape (n_spectra,), int
        Which rows of the flux these are.
    scaling : Scaling
        Of the flux.
    log_wavelength : Tensor of shape (n_wavelengths,), float64, or None
        For networks that take the wavelength, else None.
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

        On a CPU, threads that read would take turns with those that compute, and all
        of them would wait for each other. If the system reads what is announced, that
        is all that is done in advance there.

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
        flux = self._flux[self._rows[rows.numpy()]]
        if columns is not None:
            flux = np.take_along_axis(flux, columns.numpy(), axis=1)
        flux = self._scaling.scale_flux(flux).astype(np.float32)
        device = self.labels.device
        labels = self.labels[rows.to(device)]
        flux = torch.from_numpy(flux).to(device)
        if self.log_wavelength is None:
            return (labels,), flux
        if columns is None:
            return (labels, self.log_wavelength.expand(len(labels), -1)), flux
        return (labels, self.log_wavelength[columns.to(device)]), flux


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
    >>> from sk_payne.emulators._streaming import announce_ahead
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
    >>> from sk_payne.emulators._streaming import read_ahead
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
