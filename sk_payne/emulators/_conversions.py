"""Conversions of a fitted emulator: to spectra, to a torch module, and to a file."""

import numpy as np
import torch

from sk_payne.spectra import to_spectrum
from sk_payne.trained import save_emulator

__all__ = ["Conversions"]


class Conversions:
    """Methods `to_spectra`, `to_torch` and `save` of an emulator."""

    def to_spectra(self, X, *, wavelength=None):
        """Flux of stars as a specutils spectrum.

        Parameters
        ----------
        X : array-like of shape (n_spectra, n_labels)
            Stellar parameters P.
        wavelength : array-like of shape (n,), default=None
            As in :meth:`predict`.

        Returns
        -------
        spectra : specutils.Spectrum
            Dimensionless flux of shape (n_spectra, n_wavelengths) on one spectral
            axis in Å, with ``meta["medium"]`` and, if it is known,
            ``meta["resolving_power"]``.

        Raises
        ------
        ValueError
            If the emulator was trained without wavelengths.
        """
        description = self._trained().description
        if description.wavelength is None:
            raise ValueError(
                "`to_spectra` needs wavelengths, but the emulator was trained without; "
                "pass `wavelength=` and `medium=` to SpectrumEmulator."
            )
        flux = self.predict(X, wavelength=wavelength)
        grid = description.wavelength if wavelength is None else np.asarray(wavelength)
        spectrum = to_spectrum(flux, grid, description.medium)
        power = description.resolving_power_at(grid)
        if power is not None:
            spectrum.meta["resolving_power"] = power
        return spectrum

    def to_torch(self, *, dtype=torch.float32, device=None):
        """Copy of the emulator as a differentiable torch module.

        Parameters
        ----------
        dtype : torch.dtype, default=torch.float32
            Precision.
        device : str or torch.device, default=None
            Device of the copy. If None, that of the emulator.

        Returns
        -------
        module : TorchEmulator
            An independent copy with frozen weights: ``module(P, wavelength=None)`` is
            the flux, differentiable by both arguments.

        Examples
        --------
        >>> import torch
        >>> from sk_payne import SpectrumEmulator
        >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
        >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
        >>> P = torch.tensor([[0.3]], requires_grad=True)
        >>> emulator.to_torch()(P).sum().backward()
        >>> P.grad.shape
        torch.Size([1, 1])
        """
        return self._trained().to_torch(dtype=dtype, device=device)

    def save(self, path, *, provenance=None):
        """Write the emulator to a file or folder that :func:`sk_payne.load` reads.

        Parameters
        ----------
        path : str or path-like
            If it ends in ".safetensors", one file: tensors, and JSON in its header.
            Else a folder to share: that file, a model card (``README.md``), predictions
            to check on another machine (``fingerprint.json``) and the SHA-256 of each
            file (``SHA256SUMS``). An earlier file or folder of ``save`` is replaced
            once the new one is complete.
        provenance : dict, default=None
            Facts about the training grid for other users; plain values. The card shows
            all of them, and has places for "title", "description", "license",
            "citation" and "solar_scale". Provenance of a loaded emulator is kept; the
            date and the versions of the libraries are added.

        Raises
        ------
        NotFittedError
            If the emulator is not fitted.
        TypeError
            If the provenance has other than plain values.
        FileExistsError
            If the folder holds other files, or is a file.
        FileNotFoundError
            If the folder in which `path` lies does not exist.
        """
        save_emulator(self._trained(), path, provenance)
