"""A trained emulator as one torch module: physical labels in, physical flux out."""

import numpy as np
import torch

from sk_payne.networks import RANDOM_STATE, build_network, evaluate, float64_device
from sk_payne.spectra import GridInterpolator
from sk_payne.trained._limited import LimitedTensors

__all__ = ["TorchEmulator", "build_module"]


class TorchEmulator(torch.nn.Module):
    """Differentiable emulator from stellar parameters to flux, in physical units.

    :meth:`SpectrumEmulator.to_torch` returns one.

    Parameters
    ----------
    network : Architecture
        Network from scaled labels to scaled flux.
    scaling : Scaling
        Scaling of labels and flux.
    description : Description
        Columns of P and F.

    Examples
    --------
    >>> import torch
    >>> from sk_payne import SpectrumEmulator
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> emulator.to_torch()(torch.tensor([[0.3]])).shape
    torch.Size([1, 2])
    """

    def __init__(self, network, scaling, description):
        super().__init__()
        self.network = network
        self.takes_wavelength = network.takes_wavelength
        self.scaling, self.description = scaling, description
        self.flux_scale = scaling.flux_scale
        for name in ("label_center", "label_half_width", "flux_offset"):
            values = torch.from_numpy(np.array(getattr(scaling, name), np.float32))
            self.register_buffer(name, values, persistent=False)
        # not a buffer: moving the module to float32 must not round it
        self.log_wavelength = description.log_wavelength
        self.interpolator = None
        if description.wavelength is not None and not self.takes_wavelength:
            self.interpolator = GridInterpolator(description.wavelength)

    @property
    def dtype(self):
        """Precision of the module."""
        return self.label_center.dtype

    def forward(self, labels, wavelength=None):
        """Predict the flux of stars.

        Parameters
        ----------
        labels : Tensor of shape (n_spectra, n_labels)
            Stellar parameters in the units of the training set.
        wavelength : Tensor of shape (n,) or (n_spectra, n), default=None
            Wavelengths in Å, in the medium of the emulator, preferably float64; the
            training grid if None. Networks on a fixed grid are interpolated by a
            spline.

        Returns
        -------
        flux : Tensor of shape (n_spectra, n_wavelengths)
            On the device and in the precision of the module.
        """
        scaled = (labels.to(self.label_center) - self.label_center) / (
            self.label_half_width
        )
        return self.from_scaled(scaled, wavelength)

    def from_scaled(self, labels, wavelength=None):
        """Predict the flux of scaled labels.

        Parameters
        ----------
        labels : Tensor of shape (n_spectra, n_labels)
            Labels from -1 to 1 over the training box, in the precision of the module.
        wavelength : Tensor of shape (n,) or (n_spectra, n), default=None
            Wavelengths, as in :meth:`forward`.

        Returns
        -------
        flux : Tensor of shape (n_spectra, n_wavelengths)
            Physical flux.
        """
        device = float64_device(labels.device)
        if wavelength is not None:
            wavelength = wavelength.to(device).double()
        if self.takes_wavelength:
            log_wavelength = (
                self.log_wavelength.to(device)
                if wavelength is None
                else torch.log10(wavelength)
            )
            return self.unscale(evaluate(self.network, labels, log_wavelength))
        flux = self.unscale(evaluate(self.network, labels))
        if wavelength is None:
            return flux
        return self.interpolator(flux.to(device), wavelength).to(labels.device)

    def slice_grid(self, pixels):
        """Return the emulator of a part of its wavelengths.

        Parameters
        ----------
        pixels : slice
            The wavelengths.

        Returns
        -------
        part : TorchEmulator
            Emulator of these wavelengths; it shares the weights of this one.
        """
        network = self.network
        if not self.takes_wavelength:
            network = network.slice_grid(pixels)
        description = self.description.slice_grid(pixels)
        part = TorchEmulator(network, self.scaling.slice_grid(pixels), description)
        return part.to(self.label_center).eval()

    def unscale(self, scaled_flux):
        """Convert the output of the network to physical flux."""
        return self.flux_offset + self.flux_scale * scaled_flux


def build_module(arch, network_params, scaling, description, weights):
    """Build a trained module from its weights and description.

    Parameters
    ----------
    arch : str or type
        Architecture.
    network_params : dict
        All options of the network.
    scaling : Scaling
        Scaling of labels and flux.
    description : Description
        Columns of P and F.
    weights : dict of str to ndarray
        The ``state_dict`` of the network.

    Returns
    -------
    module : TorchEmulator
        On the CPU, without gradients on its weights.

    Raises
    ------
    RuntimeError
        If the weights do not fit the network, or it has far more.
    """
    n_labels = len(scaling.label_center)
    n_bytes = sum(array.nbytes for array in weights.values())
    with (
        RANDOM_STATE,
        torch.random.fork_rng(devices=[]),
        LimitedTensors(n_bytes),
    ):
        network, _ = build_network(
            arch, n_labels, description.log_wavelength, network_params
        )
    network.load_state_dict(
        {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
    )
    module = TorchEmulator(network, scaling, description)
    return module.requires_grad_(False).eval()
