"""Lines of the Earth's atmosphere as a template that multiplies the model."""

from copy import copy

import numpy as np
import torch

from sk_payne.abundances._parameters import Parameter, read_limits
from sk_payne.abundances._stage import Stage
from sk_payne.inputs import to_floats
from sk_payne.spectra import (
    C_KMS,
    GridInterpolator,
    check_medium,
    convert_medium,
    doppler_factor,
    rest_wavelength_slope,
)

__all__ = ["Telluric"]

# Spacing of first guesses of the velocity in km/s.
_STEP = 3.0

# Smallest transmission: the optical depth stays finite.
_DARK = 1e-4


class Telluric(Stage):
    r"""Multiply the model by a template of telluric transmission.

    Pixels under telluric lines are used instead of masked. The transmission of a star
    is :math:`T(\lambda / D)^d` with the template T, the Doppler factor D of a velocity,
    and a power d, the optical depth in units of that of the template.

    Parameters
    ----------
    wavelength : array-like of shape (m,)
        Increasing wavelengths of the template in Å, at rest at the observatory.
    transmission : array-like of shape (m,)
        Transmission, between 0 and 1, at the resolving power of the spectra; smear it
        with :func:`sk_payne.spectra.broaden` if it is sharper. It is 1 outside
        these wavelengths.
    medium : {"air", "vacuum"}
        Medium of the wavelengths.
    name : str, default="telluric"
        Prefix of the names of the parameters, so that water and oxygen may have
        separate templates.
    optical_depth : float or tuple of float, default=(0.0, 3.0)
        Optical depth in units of that of the template, or its limits if it is fitted.
    velocity : float or tuple of float, default=(-3.0, 3.0)
        Velocity in km/s of the telluric lines in the wavelengths of the spectra, or its
        limits. It is near 0 for spectra in the frame of the observatory, and the
        barycentric correction, positive while the Earth moves towards the star, for
        barycentric spectra; give that of each star by
        ``fixed={"telluric_velocity": ...}`` or `priors`.

    Raises
    ------
    ValueError
        If the template is not valid.

    Notes
    -----
    The product is taken after the instrument has smeared both star and template, which
    is exact for lines wider than the instrument and good to second order in the depths
    of narrower lines.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne import Observation
    >>> from sk_payne.abundances import Telluric
    >>> wavelength = np.linspace(6860, 6930, 2000)
    >>> transmission = 1 - 0.6 * np.exp(-(((wavelength - 6884) / 0.05) ** 2))
    >>> stage = Telluric(wavelength, transmission, medium="air")
    >>> observation = Observation(stages=[stage])
    >>> [parameter.name for parameter in stage.parameters()]
    ['telluric_depth', 'telluric_velocity']
    """

    def __init__(
        self,
        wavelength,
        transmission,
        *,
        medium,
        name="telluric",
        optical_depth=(0.0, 3.0),
        velocity=(-3.0, 3.0),
    ):
        self.wavelength = wavelength
        self.transmission = transmission
        self.medium = medium
        self.name = name
        self.optical_depth = optical_depth
        self.velocity = velocity

    def parameters(self):
        """Return the optical depth and the velocity.

        Returns
        -------
        parameters : list of Parameter
            Parameters "<name>_depth" and "<name>_velocity", in km/s.
        """
        of = "of a telluric template"
        depth = read_limits(self.optical_depth, f"`optical_depth` {of}", lowest=0.0)
        speed = read_limits(
            self.velocity, f"`velocity` {of}", unit="km/s", lowest=-C_KMS
        )
        return [
            Parameter(
                f"{self.name}_depth", "", *depth, start=float(np.clip(1.0, *depth))
            ),
            Parameter(
                f"{self.name}_velocity",
                "km / s",
                *speed,
                start=_starts(*speed),
                flag="VELOCITY_AT_EDGE",
            ),
        ]

    def prepared(self, medium):
        """Interpolate the optical depth in the medium of the emulator.

        Parameters
        ----------
        medium : {"air", "vacuum"}
            Medium of the emulator.

        Returns
        -------
        stage : Telluric
            The stage with its template as a spline.
        """
        wavelength = to_floats(
            self.wavelength, argument="wavelength", unit="Angstrom"
        ).copy()
        transmission = to_floats(self.transmission, argument="transmission", unit="")
        if wavelength.ndim != 1 or transmission.shape != wavelength.shape:
            raise ValueError(
                "`transmission` of a telluric template must have one value for each "
                f"wavelength; got the shapes {transmission.shape} and "
                f"{wavelength.shape}."
            )
        if not ((transmission >= 0) & (transmission <= 1.05)).all():
            raise ValueError(
                "`transmission` of a telluric template must lie between 0 and 1; got "
                f"{transmission.min():g} to {transmission.max():g}. Divide it by its "
                "continuum."
            )
        if not (np.diff(wavelength) > 0).all():
            raise ValueError("`wavelength` of a telluric template must increase.")
        check_medium(self.medium)
        wavelength = convert_medium(wavelength, self.medium, medium)
        stage = copy(self)
        stage._grid = wavelength[0], wavelength[-1]
        stage._spline = GridInterpolator(wavelength)
        depth = torch.from_numpy(-np.log(transmission.clip(_DARK)))
        stage._coefficients = stage._spline.coefficients(depth[None])
        return stage

    def apply(self, flux, wavelength, values):
        """Multiply flux by the transmission.

        Parameters
        ----------
        flux : Tensor of shape (n, P)
            Model flux at the pixels.
        wavelength : Tensor of shape (n, P)
            Observed wavelengths in Å, in the medium of the emulator.
        values : dict of str to Tensor of shape (n,)
            Optical depth and velocity in km/s.

        Returns
        -------
        flux : Tensor of shape (n, P)
            Flux seen through the atmosphere.
        """
        return flux * self._transmission(wavelength, values)[0].to(flux)

    def linearize(self, flux, jacobian, wavelength, values):
        """Multiply flux and derivatives by the transmission.

        Parameters
        ----------
        flux : Tensor of shape (n, P)
            Model flux at the pixels.
        jacobian : Tensor of shape (n, K, P)
            Its derivatives by parameters of earlier stages.
        wavelength : Tensor of shape (n, P)
            Observed wavelengths in Å, in the medium of the emulator.
        values : dict of str to Tensor of shape (n,)
            Optical depth and velocity in km/s.

        Returns
        -------
        flux : Tensor of shape (n, P)
            Flux seen through the atmosphere.
        jacobian : Tensor of shape (n, K + 2, P)
            Its derivatives, those by optical depth and velocity last.
        """
        transmission, depth, slope = (
            part.to(flux) for part in self._transmission(wavelength, values)
        )
        flux = flux * transmission
        by_values = torch.stack([-flux * depth, -flux * slope], dim=1)
        return flux, torch.cat([jacobian * transmission[:, None], by_values], dim=1)

    def _transmission(self, wavelength, values):
        """Transmission, optical depth, and derivative of the exponent by velocity."""
        power, velocity = (value[:, None] for value in values.values())
        rest = wavelength / doppler_factor(velocity)
        inside = (rest >= self._grid[0]) & (rest <= self._grid[1])
        index = self._spline.index(rest.clamp(*self._grid))
        coefficients = self._coefficients.to(rest.device).expand(len(rest), -1)
        depth = self._spline.evaluate(coefficients, index) * inside
        slope = self._spline.derivative(coefficients, index) * inside
        fall = rest_wavelength_slope(velocity)
        slope = slope * self._spline.index_slope(rest) * fall
        return (-power * depth).exp(), depth, power * slope


def _starts(low, high):
    """First guesses of the velocity: 0, and others closer than lines are wide."""
    steps = np.arange(np.ceil(low / _STEP), np.floor(high / _STEP) + 1) * _STEP
    return (float(np.clip(0.0, low, high)), *(float(v) for v in steps if v))
