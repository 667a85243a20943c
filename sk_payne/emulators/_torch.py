"""A fitted emulator as one torch module: physical labels in, physical flux out.

It is here for predicting, for measuring stars, and for users' own likelihoods.
"""

import copy
import weakref

import torch

from sk_payne.networks import build_network, evaluate
from sk_payne.spectra import GridInterpolator

__all__ = ["TorchEmulator", "double_twin", "rebuild"]

# The float64 twins of modules, as long as these live.
_TWINS = weakref.WeakKeyDictionary()


class TorchEmulator(torch.nn.Module):
    """Stellar parameters to flux, in physical units and differentiable.

    What :meth:`SpectrumEmulator.to_torch` returns.

    Parameters
    ----------
    network : nn.Module
        An architecture of `sk_payne.networks`, or one that follows their rules.
    scaling : Scaling
        Of labels and flux.
    wavelength : ndarray of shape (n_wavelengths,) or None
        The training grid in Å; None if it is just a number of pixels.
    log_wavelength : Tensor of shape (n_wavelengths,), float64
        What the network takes for the training grid.

    Examples
    --------
    >>> import torch
    >>> from sk_payne import SpectrumEmulator
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> emulator.to_torch()(torch.tensor([[0.3]])).shape
    torch.Size([1, 2])
    """

    def __init__(self, network, scaling, wavelength, log_wavelength):
        super().__init__()
        self.network = network
        self.takes_wavelength = getattr(network, "takes_wavelength", False)
        self.scaling = scaling
        self.flux_scale = scaling.flux_scale
        for name, values in (
            ("label_center", scaling.label_center),
            ("label_half_width", scaling.label_half_width),
            ("flux_offset", scaling.flux_offset),
        ):
            values = torch.as_tensor(values, dtype=torch.float32)
            self.register_buffer(name, values, persistent=False)
        # a plain attribute: moving the module to float32 must not round it
        self.log_wavelength = log_wavelength
        self.interpolator = None
        if wavelength is not None and not self.takes_wavelength:
            self.interpolator = GridInterpolator(wavelength)

    def forward(self, labels, wavelength=None):
        """Flux of stars.

        Parameters
        ----------
        labels : Tensor of shape (n_spectra, n_labels)
            Stellar parameters in the units of the training set.
        wavelength : Tensor of shape (n,) or (n_spectra, n), default=None
            Å, in the medium of the emulator, best in float64. If None, the training
            grid. Networks on a fixed grid are interpolated by a spline.

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
        """Flux of labels in units of the training box, -1 to 1.

        Parameters
        ----------
        labels : Tensor of shape (n_spectra, n_labels)
            In the precision of the module.
        wavelength : Tensor of shape (n,) or (n_spectra, n), default=None
            As in :meth:`forward`.

        Returns
        -------
        flux : Tensor of shape (n_spectra, n_wavelengths)
            Physical flux.
        """
        if self.takes_wavelength:
            log_wavelength = (
                self.log_wavelength.to(labels.device)
                if wavelength is None
                else torch.log10(wavelength.to(torch.float64))
            )
            return self.unscale(evaluate(self.network, labels, log_wavelength))
        flux = self.unscale(evaluate(self.network, labels))
        if wavelength is None:
            return flux
        return self.interpolator(flux, wavelength)

    def unscale(self, scaled_flux):
        """Physical flux of what the network gives."""
        return self.flux_offset + self.flux_scale * scaled_flux


def double_twin(module):
    """Give a trained module in float64, made when first needed.

    Parameters
    ----------
    module : TorchEmulator
        In float32.

    Returns
    -------
    twin : TorchEmulator
        The same one every time.
    """
    if module not in _TWINS:
        with torch.inference_mode(False):
            _TWINS[module] = copy.deepcopy(module).double()
    return _TWINS[module]


def rebuild(arch, arch_params, scaling, wavelength, log_wavelength, network_state):
    """Build a trained module again from what describes it.

    Parameters
    ----------
    arch : str or type
        Of the network.
    arch_params : dict
        All of its options.
    scaling : Scaling
        Of labels and flux.
    wavelength : ndarray of shape (n_wavelengths,) or None
        Training grid in Å.
    log_wavelength : Tensor of shape (n_wavelengths,), float64
        What the network takes for it.
    network_state : dict of str to ndarray
        Weights.

    Returns
    -------
    module : TorchEmulator
        On the CPU, without gradients on its weights.
    """
    n_labels = len(scaling.label_center)
    with torch.random.fork_rng(devices=[]):
        network, _ = build_network(arch, n_labels, log_wavelength, arch_params)
    network.load_state_dict(
        {name: torch.from_numpy(array.copy()) for name, array in network_state.items()}
    )
    module = TorchEmulator(network, scaling, wavelength, log_wavelength)
    return module.requires_grad_(False).eval()
