"""Flux of a star of given parameters at its observed pixels, with derivatives."""

from dataclasses import dataclass

import numpy as np
import torch

from sk_payne.networks import evaluate_with_jacobian
from sk_payne.spectra import doppler_factor, rest_wavelength_slope

__all__ = ["GridModel", "ObservedModel", "StarColumns", "StarLight", "on_grid"]


@dataclass(frozen=True)
class StarColumns:
    """Columns of the parameters of one star in the vector of the fit.

    Attributes
    ----------
    labels, widths, offsets : ndarray of int
        Labels of the emulator, free widths, and offsets of arms after the first.
    velocity : int or None
        Radial velocity; None if it is not fitted.
    """

    labels: np.ndarray
    widths: np.ndarray
    offsets: np.ndarray
    velocity: int | None

    @property
    def in_order(self):
        """All columns, in the order of the derivatives of `StarLight`."""
        velocity = [] if self.velocity is None else [self.velocity]
        parts = [self.labels, self.widths, self.offsets, velocity]
        return np.concatenate(parts).astype(np.intp)


class GridModel:
    """Flux on the grid of the emulator, at rest: only labels are fitted.

    Parameters
    ----------
    emulator : FittedEmulator
        A SpectrumEmulator.
    """

    def __init__(self, emulator):
        self.module, self.single = emulator.source, emulator.single

    def flux(self, rows, variables):
        """Compute flux of shape (n, P) of the stars `rows`."""
        return self.module.from_scaled(variables.to(self.module.label_center))

    def linearize(self, rows, variables):
        """Compute flux (n, P) and derivatives (n, K, P), in single precision."""
        return on_grid(self.single, variables.to(self.single.label_center))

    def spectra(self, row, variables):
        """Compute spectra (n, P) of one star with other labels, in single precision."""
        return self.single.from_scaled(variables.to(self.single.label_center))

    def directions(self, rows, variables, directions):
        """Return changes (n, D, P) of the emulator's flux as changes at the pixels."""
        return directions


class StarLight:
    """Flux of one star at points of the observed spectrum.

    Labels are in units of the training box (-1 to 1), widths and velocities in their
    units.

    Parameters
    ----------
    emulator : FittedEmulator
        A SpectrumEmulator. Flux is computed in full precision and determines the best
        fit; derivatives are computed in single precision, twice as fast.
    broadening : Broadening or None
        Broadening of the spectrum; None if there is none.
    columns : StarColumns
        Columns of the parameters of the star.
    """

    def __init__(self, emulator, broadening, columns):
        self.module, self.single = emulator.source, emulator.single
        self.broadening, self.columns = broadening, columns
        grid = emulator.wavelength
        self.limits = float(grid[0]), float(grid[-1])
        self.interpolator = self.module.interpolator
        # convolutions need all wavelengths, also of networks that take them one by one
        self.at_wavelengths = self.module.takes_wavelength and broadening is None
        if broadening is not None:
            self.interpolator = broadening.convolver.interpolator

    @property
    def with_velocity(self):
        """True if the velocity is fitted."""
        return self.columns.velocity is not None

    def flux(self, variables, points, arms):
        """Compute flux of shape (n, Q).

        Parameters
        ----------
        variables : Tensor of shape (n, K)
            All variables of the fit.
        points : Tensor of shape (n, Q)
            Observed wavelengths in Å.
        arms : Tensor of shape (n, Q), int, or None
            Arm of each point; None without offsets.
        """
        labels = self._labels(variables, self.module)
        rest, _ = self._at_rest(variables, points, arms)
        if self.at_wavelengths:
            return self.module.from_scaled(labels, rest)
        flux = self.module.from_scaled(labels)
        if self.broadening is None:
            coefficients = self.interpolator.coefficients(flux)
        else:
            widths = variables[:, self.columns.widths]
            coefficients = self.broadening.coefficients(flux, widths)
        return self._evaluated(coefficients, self.interpolator.index(rest))

    def spectra(self, variables, points, arms):
        """Compute spectra (n, Q) of other labels, in single precision.

        Points and arms are those of one star, of shape (1, Q). Parameters that are no
        labels are taken from the first row of the variables.
        """
        labels = self._labels(variables, self.single)
        rest, _ = self._at_rest(variables[:1], points, arms)
        if self.at_wavelengths:
            return self.single.from_scaled(labels, rest.expand(len(labels), -1))
        flux = self.single.from_scaled(labels)
        if self.broadening is None:
            coefficients = self.interpolator.coefficients(flux)
        else:
            widths = variables[:1, self.columns.widths]
            coefficients = self.broadening.coefficients(flux, widths)
        index = self.interpolator.index(rest)
        return self.interpolator.evaluate_together(coefficients, index[0])

    def linearize(self, variables, points, arms):
        """Compute flux and derivatives (n, 1 + K_star, Q), in the order of columns."""
        labels = self._labels(variables, self.single)
        rest, fall = self._at_rest(variables, points, arms)
        if self.at_wavelengths:
            both, slope = self._evaluate(labels, rest)
        else:
            both, slope = self._interpolate(labels, variables, rest)
        if slope is not None:
            slope = (slope * fall).to(both)[:, None]
            both = torch.cat([both, *self._by_offset(arms, slope), slope], dim=1)
        return both

    def _evaluate(self, labels, rest):
        """Flux and derivatives (n, 1 + K, Q), and the derivative by ln(wavelength)."""
        flux, jacobian = _scaled(
            self.single,
            *evaluate_with_jacobian(
                self.single.network,
                labels,
                rest.log10(),
                by_wavelength=self.with_velocity,
            ),
        )
        slope = None
        if self.with_velocity:
            jacobian, slope = jacobian[:, :-1], jacobian[:, -1] / np.log(10)
        return torch.cat([flux[:, None], jacobian], dim=1), slope

    def _interpolate(self, labels, variables, rest):
        """Interpolate the results of `_evaluate`, for networks on a fixed grid."""
        flux, jacobian = on_grid(self.single, labels)
        if self.broadening is None:
            both = torch.cat([flux[:, None], jacobian], dim=1)
            coefficients = self.interpolator.coefficients(both)
        else:
            widths = variables[:, self.columns.widths]
            coefficients = self.broadening.linearize(flux, jacobian, widths)
        index = self.interpolator.index(rest)
        both = self._evaluated(coefficients, index)
        slope = None
        if self.with_velocity:
            slope = self.interpolator.derivative(coefficients[:, 0], index)
            slope = slope * self.interpolator.index_slope(rest)
        return both, slope

    def _evaluated(self, coefficients, index):
        """Evaluate splines; all splines of a single star are evaluated together."""
        if len(index) == 1 and not torch.is_grad_enabled():
            return self.interpolator.evaluate_together(coefficients, index[0])
        return self.interpolator.evaluate(coefficients, index)

    def _labels(self, variables, module):
        return variables[:, self.columns.labels].to(module.label_center)

    def _at_rest(self, variables, points, arms):
        """Rest wavelengths of the points, and d ln(wavelength) / dv of each."""
        velocity = variables.new_zeros(len(variables), 1)
        if self.with_velocity:
            velocity = variables[:, self.columns.velocity, None]
        if arms is not None:
            # the first arm has no offset
            offsets = variables[:, self.columns.offsets]
            offsets = torch.nn.functional.pad(offsets, (1, 0))
            velocity = velocity + offsets.gather(1, arms)
        rest = points / doppler_factor(velocity)
        fall = rest_wavelength_slope(velocity)
        # pixels beyond the emulator have no weight: any wavelength inside will do
        return rest.clamp(*self.limits), fall

    def _by_offset(self, arms, slope):
        """Return the derivatives by the offset of each arm after the first."""
        if arms is None:
            return []
        arms = arms[:, None]
        return [slope * (arms == i + 1) for i in range(len(self.columns.offsets))]


class ObservedModel:
    """Flux at observed pixels: light of stars, then the instrument, then stages.

    Parameters
    ----------
    light : StarLight or TwoStars
        Light at points of the observed spectrum.
    wavelength : Tensor of shape (B, P), float64
        Observed wavelengths in Å, in the medium of the emulator.
    arm : Tensor of shape (B, P), int64, or None
        Arm of each pixel; None if arms have no offsets.
    sampling : Sampling or None
        Instrument and pixels; None if pixels see points.
    stages : list of AppliedStage
        Effects at the pixels, in order.
    """

    def __init__(self, light, wavelength, arm, sampling, stages):
        self.light, self.wavelength, self.arm = light, wavelength, arm
        self.sampling, self.stages = sampling, stages

    def flux(self, rows, variables):
        """Compute flux of shape (n, P) of the stars `rows`."""
        flux = self.light.flux(variables, *self._points(rows))
        if self.sampling is not None:
            flux = self.sampling(flux[:, None], rows)[:, 0]
        for stage in self.stages:
            flux = stage.flux(rows, variables, flux)
        return flux

    def spectra(self, row, variables):
        """Compute spectra (n, P) of one star with other labels, in single precision.

        Parameters that are no labels, those of stages included, are taken from the
        first row of the variables.
        """
        rows = torch.tensor([row], device=variables.device)
        flux = self.light.spectra(variables, *self._points(rows))
        if self.sampling is not None:
            flux = self.sampling(flux[None], rows)[0]
        for stage in self.stages:
            flux = stage.flux(rows.expand(len(flux)), variables, flux)
        return flux

    def linearize(self, rows, variables):
        """Compute flux (n, P) and derivatives (n, K, P), in single precision."""
        both = self.light.linearize(variables, *self._points(rows))
        if self.sampling is not None:
            both = self.sampling(both, rows)
        for stage in self.stages:
            both = stage.linearize(rows, variables, both)
        return both[:, 0], both[:, 1:]

    def directions(self, rows, variables, directions):
        """Return changes (n, D, P) of the star's flux as changes at the pixels."""
        if not self.stages:
            return directions
        flux = self.light.flux(variables, *self._points(rows))
        if self.sampling is not None:
            flux = self.sampling(flux[:, None], rows)[:, 0]
        directions = directions.expand(len(rows), -1, -1).to(flux)
        both = torch.cat([flux[:, None], directions], dim=1)
        for stage in self.stages:
            both = stage.linearize(rows, variables, both)[:, : both.shape[1]]
        return both[:, 1:]

    def _points(self, rows):
        if self.sampling is None:
            return self.wavelength[rows], None if self.arm is None else self.arm[rows]
        arms = None if self.arm is None else self.sampling.arms(rows)
        return self.sampling.points(rows), arms


def on_grid(single, labels):
    """Flux and derivatives by the labels at the wavelengths of the emulator."""
    log_wavelength = single.log_wavelength.to(labels.device)
    return _scaled(
        single, *evaluate_with_jacobian(single.network, labels, log_wavelength)
    )


def _scaled(single, flux, jacobian):
    return single.unscale(flux), jacobian * single.flux_scale
