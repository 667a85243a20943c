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

    Parameters are the labels in units of the training box (-1 to 1), then the free
    widths of the broadening in km/s and, if `with_velocity`, the radial velocity in
    km/s.

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
    """

    def __init__(
        self, module, single, grid, wavelength, with_velocity, broadening=None
    ):
        self.module = module
        self.single = single
        self.wavelength = wavelength
        self.with_velocity = with_velocity
        self.broadening = broadening
        self.n_labels = len(module.label_center)
        self.limits = None if grid is None else (float(grid[0]), float(grid[-1]))
        self.interpolator = module.interpolator
        # convolutions need all wavelengths, also of networks that take them one by one
        self.at_wavelengths = module.takes_wavelength and broadening is None
        if broadening is not None:
            self.interpolator = broadening.convolver.interpolator

    def flux(self, rows, parameters):
        """Flux of shape (n, P) of the stars `rows`."""
        labels, widths, velocity = self._split(parameters, self.module)
        if self.wavelength is None:
            return self.module.from_scaled(labels)
        rest = self._rest_wavelength(rows, velocity)
        if self.at_wavelengths:
            return self.module.from_scaled(labels, rest)
        flux = self.module.from_scaled(labels)
        if self.broadening is None:
            coefficients = self.interpolator.coefficients(flux)
        else:
            coefficients = self.broadening.coefficients(flux, widths)
        return self.interpolator.evaluate(coefficients, self.interpolator.index(rest))

    def linearize(self, rows, parameters):
        """Flux (n, P) and derivatives (n, K, P), in single precision."""
        labels, widths, velocity = self._split(parameters, self.single)
        if self.wavelength is None:
            return self._on_grid(labels)
        rest = self._rest_wavelength(rows, velocity)
        # rest wavelengths fall with velocity: d ln(rest) / dv
        fall = -1 / (C_KMS * (1 - (velocity / C_KMS) ** 2))
        if self.at_wavelengths:
            flux, jacobian = self._scale(
                *evaluate_with_jacobian(
                    self.single.network,
                    labels,
                    rest.log10(),
                    by_wavelength=self.with_velocity,
                )
            )
            if self.with_velocity:
                jacobian[:, -1] *= (fall / np.log(10))[:, None]
            return flux, jacobian
        flux, jacobian = self._on_grid(labels)
        if self.broadening is None:
            both = torch.cat([flux[:, None], jacobian], dim=1)
            coefficients = self.interpolator.coefficients(both)
        else:
            coefficients = self.broadening.linearize(flux, jacobian, widths)
        return self._interpolate(coefficients, rest, fall)

    def _on_grid(self, labels):
        """Flux and derivatives by the labels at the wavelengths of the emulator."""
        log_wavelength = self.single.log_wavelength.to(labels.device)
        return self._scale(
            *evaluate_with_jacobian(self.single.network, labels, log_wavelength)
        )

    def _interpolate(self, coefficients, rest, fall):
        index = self.interpolator.index(rest)
        both = self.interpolator.evaluate(coefficients, index)
        flux, jacobian = both[:, 0], both[:, 1:]
        if self.with_velocity:
            slope = self.interpolator.derivative(coefficients[:, 0], index)
            slope = slope * self.interpolator.index_slope(rest) * fall[:, None]
            jacobian = torch.cat([jacobian, slope[:, None].to(jacobian)], dim=1)
        return flux, jacobian

    def _split(self, parameters, module):
        """Labels in the precision of a module, widths and velocities."""
        n = parameters.shape[1] - self.with_velocity
        labels = parameters[:, : self.n_labels].to(module.label_center)
        widths = parameters[:, self.n_labels : n]
        if self.with_velocity:
            return labels, widths, parameters[:, -1]
        return labels, widths, parameters.new_zeros(len(parameters))

    def _rest_wavelength(self, rows, velocity):
        rest = self.wavelength[rows] / doppler_factor(velocity)[:, None]
        # pixels beyond the emulator have no weight; they only must not fail
        return rest.clamp(*self.limits)

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
        step = _STEP * torch.eye(n_parameters, dtype=parameters.dtype)
        around = torch.cat([middle[:, None] + step, middle[:, None] - step], dim=1)
        every = torch.cat([parameters[:, None], around], dim=1).flatten(0, 1)
        flux = self.flux(None, every).unflatten(0, (n, -1))
        up, down = flux[:, 1 : n_parameters + 1], flux[:, n_parameters + 1 :]
        return flux[:, 0], (up - down) / (2 * _STEP)
