"""TrainedEmulator: the immutable result of a training.

Estimators hold one; files, transfers, checks and the model card read it.
"""

import copy
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from sk_payne.networks import Recipe, fast_products
from sk_payne.trained._blocks import row_blocks
from sk_payne.trained._description import Description
from sk_payne.trained._domain import Domain
from sk_payne.trained._held_out import HeldOutErrors
from sk_payne.trained._label_errors import FEWEST_SPECTRA
from sk_payne.trained._scaling import Scaling
from sk_payne.trained._torch import TorchEmulator, build_module

__all__ = ["TrainedEmulator", "Training"]

# float64 copies of modules, kept while the modules exist.
_TWINS = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Training:
    """Record of a training.

    Parameters
    ----------
    recipe : Recipe or None
        The complete recipe; None if the network was trained elsewhere.
    n_training, n_held_out : int
        Numbers of training and held-out spectra.
    n_steps : int
        Number of optimisation steps.
    history : list of dict
        Losses of scaled flux after every ``validate_every`` steps.
    options : dict
        Arguments of the estimator that a saved emulator keeps: "random_state" and
        "validation_fraction".
    state : dict or None
        Identity of the training, and the last state of one that was interrupted.

    Examples
    --------
    >>> from sk_payne.trained import Training
    >>> Training(None).n_steps
    0
    """

    recipe: Recipe | None
    n_training: int = 0
    n_held_out: int = 0
    n_steps: int = 0
    history: list = field(default_factory=list)
    options: Mapping = field(default_factory=dict)
    state: Mapping | None = None


@dataclass(frozen=True, eq=False)
class TrainedEmulator:
    """A trained emulator: network, scaling, domain, errors and records.

    Parameters
    ----------
    arch : str or type
        Architecture, as the user passed it.
    arch_params : dict or None
        Options of the architecture, as the user passed them.
    network_params : dict
        All options of the network, defaults included.
    description : Description
        Columns of P and F.
    scaling : Scaling
        Scaling of labels and flux.
    domain : Domain
        Region of label space that the training spectra fill.
    held_out : HeldOutErrors or None
        Errors on the held-out spectra; None if no spectra were held out.
    training : Training
        Record of the training.
    module : TorchEmulator
        The network from physical labels to physical flux.
    device : str, default="cpu"
        Device of the module.
    provenance : dict, default={}
        Values that its author passed to `save`.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> emulator.trained_.training.n_steps
    2
    """

    arch: str | type
    arch_params: Mapping | None
    network_params: Mapping
    description: Description
    scaling: Scaling
    domain: Domain
    held_out: HeldOutErrors | None
    training: Training
    module: TorchEmulator
    device: str = "cpu"
    provenance: Mapping = field(default_factory=dict)

    @classmethod
    def from_weights(cls, weights, **fields):
        """Build a trained emulator from the weights of its network.

        Parameters
        ----------
        weights : dict of str to ndarray
            The ``state_dict`` of the network.
        **fields : dict
            All fields of the class except `module` and `device`.

        Returns
        -------
        trained : TrainedEmulator
            On the CPU.
        """
        module = build_module(
            fields["arch"],
            fields["network_params"],
            fields["scaling"],
            fields["description"],
            weights,
        )
        return cls(module=module, **fields)

    @property
    def weights(self):
        """Copy of the ``state_dict`` of the network, as arrays on the CPU."""
        state = self.module.network.state_dict()
        return {name: tensor.cpu().numpy().copy() for name, tensor in state.items()}

    @fast_products()
    @torch.inference_mode()
    def predict(self, labels, wavelength=None):
        """Predict the flux of stars, in blocks of bounded memory.

        Parameters
        ----------
        labels : ndarray of shape (n_spectra, n_labels), float32 or float64
            Stellar parameters. On a CPU, the flux is computed in their precision.
        wavelength : ndarray of shape (n,), float64, default=None
            Wavelengths in Å, already checked; if None, the training grid.

        Returns
        -------
        flux : ndarray of shape (n_spectra, n_wavelengths)
            In the precision of the labels.
        """
        single = labels.dtype == np.float32 or self.device != "cpu"
        module = self.module if single else _double_twin(self.module)
        n_wavelengths = self.description.n_wavelengths
        if wavelength is not None:
            n_wavelengths = len(wavelength)
            wavelength = torch.from_numpy(wavelength)

        def flux_of(rows):
            # copied, as tensors must not share read-only memory
            block = torch.tensor(labels[rows], dtype=module.dtype, device=self.device)
            return module(block, wavelength).cpu().numpy()

        blocks = row_blocks(len(labels), n_wavelengths)
        if len(blocks) == 1:
            # a copy would cost as much as a small network
            return flux_of(blocks[0]).astype(labels.dtype, copy=False)
        flux = np.empty((len(labels), n_wavelengths), labels.dtype)
        for rows in blocks:
            flux[rows] = flux_of(rows)
        return flux

    def std(self, labels, wavelength=None):
        """Return the 1 sigma error of the predicted flux.

        Parameters
        ----------
        labels : ndarray of shape (n_spectra, n_labels)
            Stellar parameters.
        wavelength : ndarray of shape (n,), default=None
            Wavelengths in Å; if None, the training grid.

        Returns
        -------
        std : ndarray of shape (n_spectra, n_wavelengths)
            Standard deviation of the error of the flux, in its unit.

        Raises
        ------
        ValueError
            If no spectra were held out from training.
        """
        self.require_errors()
        return self.held_out.model.std(labels, self.description.wavelength, wavelength)

    def require_errors(self):
        """Raise an error if the errors of the flux are unknown.

        Raises
        ------
        ValueError
            If no spectra were held out from training. The message gives a way out.
        """
        if self.held_out is not None:
            return
        if self.training.recipe is None:
            raise ValueError(
                "`return_std` must be False: this emulator was not trained here, so "
                "its errors are not known. Measure them on spectra it was not trained "
                "on with sk_payne.recovery.mock_recovery, or train on with "
                "FineTunedEmulator, which holds spectra out."
            )
        raise ValueError(
            "`return_std` must be False for an emulator that was trained with "
            "`validation_fraction`=0 or on too few spectra: it does not know its "
            "error. Hold some spectra out."
        )

    def to_torch(self, *, dtype=torch.float32, device=None):
        """Copy the module to a precision and a device.

        Parameters
        ----------
        dtype : torch.dtype, default=torch.float32
            Precision.
        device : str or torch.device, default=None
            Device; that of the emulator if None.

        Returns
        -------
        module : TorchEmulator
            Independent of the emulator, without gradients on its weights.
        """
        module = copy.deepcopy(self.module)
        # device first, as the old one may lack the precision
        return module.to(device=device or self.device).to(dtype=dtype)

    def with_held_out(self, held_out):
        """Copy the emulator with other errors.

        Parameters
        ----------
        held_out : HeldOutErrors
            Errors on the held-out spectra.

        Returns
        -------
        trained : TrainedEmulator
            Copy that shares everything else.
        """
        return replace(self, held_out=held_out)

    def calibrated(self, labels, flux):
        """Copy the emulator with errors measured on other spectra.

        Parameters
        ----------
        labels : ndarray of shape (n_spectra, n_labels)
            Stellar parameters of spectra that it was not trained on.
        flux : TrainingFlux of shape (n_spectra, n_wavelengths)
            Their flux.

        Returns
        -------
        trained : TrainedEmulator
            Copy that shares everything else.

        Raises
        ------
        ValueError
            If the numbers of labels or wavelengths are wrong, or there are fewer than
            ten spectra.
        """
        expected = len(self.scaling.label_center), self.description.n_wavelengths
        if (labels.shape[1], flux.shape[1]) != expected:
            raise ValueError(
                f"`X` must have {expected[0]} labels and `y` {expected[1]} "
                f"wavelengths, those of the training; got {labels.shape[1]} and "
                f"{flux.shape[1]}."
            )
        if len(labels) < FEWEST_SPECTRA:
            raise ValueError(
                f"`X` must have at least {FEWEST_SPECTRA} spectra, to measure errors; "
                f"got {len(labels)}."
            )
        domain, rows = self.domain, np.arange(len(labels))
        errors = HeldOutErrors.measure(
            self.predict, labels, flux, rows, domain.low, domain.high, self.module
        )
        training = replace(self.training, n_held_out=len(rows))
        return replace(self, held_out=errors, training=training)

    def with_provenance(self, provenance):
        """Copy the emulator with another provenance.

        Parameters
        ----------
        provenance : dict
            Plain values.

        Returns
        -------
        trained : TrainedEmulator
            Copy that shares everything else.
        """
        return replace(self, provenance=provenance)

    def __getstate__(self):
        """Return weights as arrays on the CPU; the device is not kept."""
        state: dict[str, Any] = dict(vars(self))
        del state["module"]
        training_state = _to_cpu(self.training.state)
        state["training"] = replace(self.training, state=training_state)
        return state | {"device": "cpu", "weights": self.weights}

    def __setstate__(self, state):
        weights = state.pop("weights")
        vars(self).update(state)
        vars(self)["module"] = build_module(
            self.arch, self.network_params, self.scaling, self.description, weights
        )


def _double_twin(module):
    """Return the float64 copy of a trained module, made at the first call."""
    if module not in _TWINS:
        with torch.inference_mode(False):
            _TWINS[module] = copy.deepcopy(module).double()
    return _TWINS[module]


def _to_cpu(value):
    """Copy nested containers, with their tensors on the CPU."""
    if isinstance(value, dict):
        return {key: _to_cpu(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to_cpu(item) for item in value)
    return value.cpu() if isinstance(value, torch.Tensor) else value
