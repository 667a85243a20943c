"""What a star of given parameters would look like at its observed pixels.

It is here as the one place where emulators, of any kind, meet wavelengths and
velocity; the data themselves are never interpolated.
"""

import numpy as np
import torch

from sk_payne.networks import evaluate_with_jacobian
from sk_payne.spectra import C_KMS, doppler_factor

__all__ = ["EmulatorModel", "PredictModel"]

# Step of numerical derivatives in units of half the range of a label.
_STEP = 1e-4


class EmulatorModel:
    """Flux of a `SpectrumEmulator`, with exact derivatives.

    Parameters are the labels in units of the training box (-1 to 1), the free widths of
    the broadening in km/s, the velocity offsets of arms after the first and, if
    `with_velocity`, the radial velocity in km/s.

    Parameters
    ----------
    module : TorchEmulator
        In the precision and on the device to work with.
    single : TorchEmulator
        The same in single precision, for derivatives: twice as fast, and a fit ends
        where flux of full precision tells.
    grid : ndarray of shape (n_grid,) or None
        Wavelengths of the emulator in Å.
    wavelength : Tensor of shape (B, P), float64, or None
        Observed wavelengths in Å, in the medium of the emulator; None if the spectra
        are on its grid, at rest, and not broadened.
    with_velocity : bool
        Whether the last parameter is a velocity.
    broadening : Broadening or None
        What smears flux over wavelengths.
    sampling : Sampling or None
        How pixels see it; None if they see points.
    arm : Tensor of shape (B, P), int64, or None
        Arm of every pixel; None if arms have no offsets.
    n_offsets : int, default=0
        Offsets of arms after the first; stars need not have so many arms.
    """

    def __init__(
        self,
        module,
        single,
        grid,
        wavelength,
        with_velocity,
        broadening=None,
        sampling=None,
        arm=None,
        n_offsets=0,
    ):
        self.module = module
        self.single = single
        self.wavelength = wavelength
        self.with_velocity = with_velocity
        self.broadening = broadening
        self.sampling = sampling
        self.arm = arm
        self.n_labels = len(module.label_center)
        self.n_offsets = n_offsets
        self.limits = None if grid is None else (float(grid[0]), float(grid[-1]))
        self.interpolator = module.interpolator
        # convolutions need all wavelengths, also of networks that take them one by one
        self.at_wavelengths = module.takes_wavelength and broadening is None
        if broadening is not None:
            self.interpolator = broadening.convolver.interpolator

    def flux(self, rows, parameters):
        """Flux of shape (n, P) of the stars `rows`."""
        if self.wavelength is None:
            return self.module.from_scaled(parameters.to(self.module.label_center))
        labels, widths, offsets, velocity = self._split(parameters, self.module)
        rest, _ = self._rest_wavelength(rows, offsets, velocity)
        if self.at_wavelengths:
            flux = self.module.from_scaled(labels, rest)
        else:
            flux = self.module.from_scaled(labels)
            if self.broadening is None:
                coefficients = self.interpolator.coefficients(flux)
            else:
                coefficients = self.broadening.coefficients(flux, widths)
            index = self.interpolator.index(rest)
            flux = self._evaluated(coefficients, index)
        if self.sampling is None:
            return flux
        return self.sampling(flux[:, None], rows)[:, 0]

    def linearize(self, rows, parameters):
        """Flux (n, P) and derivatives (n, K, P), in single precision."""
        if self.wavelength is None:
            return self._on_grid(parameters.to(self.single.label_center))
        labels, widths, offsets, velocity = self._split(parameters, self.single)
        rest, fall = self._rest_wavelength(rows, offsets, velocity)
        if self.at_wavelengths:
            both, slope = self._evaluate(labels, rest)
        else:
            both, slope = self._interpolate(labels, widths, rest)
        if slope is not None:
            slope = (slope * fall).to(both)[:, None]
            both = torch.cat([both, *self._by_offset(rows, slope), slope], dim=1)
        if self.sampling is not None:
            both = self.sampling(both, rows)
        return both[:, 0], both[:, 1:]

    def _evaluate(self, labels, rest):
        """Flux and derivatives (n, 1 + K, Q), and that of flux by ln(wavelength)."""
        flux, jacobian = self._scale(
            *evaluate_with_jacobian(
                self.single.network,
                labels,
                rest.log10(),
                by_wavelength=self.with_velocity,
            )
        )
        slope = None
        if self.with_velocity:
            jacobian, slope = jacobian[:, :-1], jacobian[:, -1] / np.log(10)
        return torch.cat([flux[:, None], jacobian], dim=1), slope

    def _interpolate(self, labels, widths, rest):
        """Interpolate what `_evaluate` gives, for networks on a fixed grid."""
        flux, jacobian = self._on_grid(labels)
        if self.broadening is None:
            both = torch.cat([flux[:, None], jacobian], dim=1)
            coefficients = self.interpolator.coefficients(both)
        else:
            coefficients = self.broadening.linearize(flux, jacobian, widths)
        index = self.interpolator.index(rest)
        both = self._evaluated(coefficients, index)
        slope = None
        if self.with_velocity:
            slope = self.interpolator.derivative(coefficients[:, 0], index)
            slope = slope * self.interpolator.index_slope(rest)
        return both, slope

    def _evaluated(self, coefficients, index):
        """Evaluate splines: those of one star together."""
        if len(index) == 1 and not torch.is_grad_enabled():
            return self.interpolator.evaluate_together(coefficients, index[0])
        return self.interpolator.evaluate(coefficients, index)

    def _on_grid(self, labels):
        """Flux and derivatives by the labels at the wavelengths of the emulator."""
        log_wavelength = self.single.log_wavelength.to(labels.device)
        return self._scale(
            *evaluate_with_jacobian(self.single.network, labels, log_wavelength)
        )

    def _split(self, parameters, module):
        """Labels in the precision of a module, widths, offsets and velocities."""
        labels = parameters[:, : self.n_labels].to(module.label_center)
        velocity = parameters.new_zeros(len(parameters))
        rest = parameters[:, self.n_labels :]
        if self.with_velocity:
            rest, velocity = rest[:, :-1], rest[:, -1]
        n_widths = rest.shape[1] - self.n_offsets
        return labels, rest[:, :n_widths], rest[:, n_widths:], velocity

    def _rest_wavelength(self, rows, offsets, velocity):
        """Rest wavelengths of the points, and their d ln(wavelength) / dv."""
        velocity = velocity[:, None]
        if self.n_offsets:
            # the first arm has none
            offsets = torch.nn.functional.pad(offsets, (1, 0))
            velocity = velocity + offsets.gather(1, self._arms(rows))
        if self.sampling is None:
            points = self.wavelength[rows]
        else:
            points = self.sampling.points(rows)
        rest = points / doppler_factor(velocity)
        # pixels beyond the emulator have no weight; they only must not fail
        fall = -1 / (C_KMS * (1 - (velocity / C_KMS) ** 2))
        return rest.clamp(*self.limits), fall

    def _arms(self, rows):
        """Arms of the points."""
        return self.arm[rows] if self.sampling is None else self.sampling.arms(rows)

    def _by_offset(self, rows, slope):
        """Give derivatives by the offset of each arm after the first."""
        if not self.n_offsets:
            return []
        arm = self._arms(rows)[:, None]
        return [slope * (arm == i + 1) for i in range(self.n_offsets)]

    def _scale(self, flux, jacobian):
        return self.single.unscale(flux), jacobian * self.single.flux_scale


class PredictModel:
    """Flux of any fitted regressor, with numerical derivatives.

    Parameters
    ----------
    regressor : estimator
        With ``predict(labels) -> flux``.
    center, half_width : ndarray of shape (n_labels,)
        Box of the labels, in whose units the parameters are.
    """

    def __init__(self, regressor, center, half_width):
        self.regressor = regressor
        self.center = center
        self.half_width = half_width

    def flux(self, rows, parameters):
        """Flux of shape (n, P)."""
        labels = self.center + self.half_width * parameters.numpy()
        flux = np.asarray(self.regressor.predict(labels), dtype=np.float64)
        return torch.from_numpy(flux.reshape(len(labels), -1))

    def linearize(self, rows, parameters):
        """Flux of shape (n, P) and central differences of shape (n, K, P)."""
        n, n_parameters = parameters.shape
        # stay inside the box, where the regressor was trained
        middle = parameters.clamp(-1 + _STEP, 1 - _STEP)
        step = _STEP * torch.eye(
            n_parameters, dtype=parameters.dtype, device=parameters.device
        )
        around = torch.cat([middle[:, None] + step, middle[:, None] - step], dim=1)
        every = torch.cat([parameters[:, None], around], dim=1).flatten(0, 1)
        flux = self.flux(None, every).unflatten(0, (n, -1))
        up, down = flux[:, 1 : n_parameters + 1], flux[:, n_parameters + 1 :]
        return flux[:, 0], (up - down) / (2 * _STEP)
