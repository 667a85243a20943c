"""The relativistic Doppler factor of a radial velocity.

Every part of the package shifts spectra by this rule.
"""

import numpy as np

#: Speed of light in km/s: 299792458 m/s exactly, by definition of the metre (SI 2019).
C_KMS = 299792.458


def doppler_factor(radial_velocity):
    """Return the factor by which a radial velocity stretches wavelengths.

    The observed wavelength is ``rest wavelength * factor``, so a receding star
    (positive velocity) has a factor above one.

    Parameters
    ----------
    radial_velocity : float, array-like or torch.Tensor, any shape
        Velocity along the line of sight in km/s, below the speed of light in
        absolute value. Tensors stay tensors, keep their dtype and device, carry
        gradients, and are not checked; use float64 tensors, since float32
        resolves this factor to 0.04 km/s only.

    Returns
    -------
    factor : float, ndarray or torch.Tensor, same shape
        ``sqrt((1 + b) / (1 - b))`` with ``b = radial_velocity / c``.

    Raises
    ------
    ValueError
        If a velocity is not finite or reaches the speed of light (never raised
        for tensors).

    References
    ----------
    Einstein (1905), Annalen der Physik 322, 891, section 7, for motion along the
    line of sight; the rule of `astropy.units.doppler_relativistic`.

    Examples
    --------
    >>> from sk_payne.spectra import doppler_factor
    >>> print(f"{15000.0 * doppler_factor(30.0):.4f}")
    15001.5011
    """
    if not hasattr(radial_velocity, "requires_grad"):
        radial_velocity = np.asarray(radial_velocity, dtype=np.float64)
        _check_below_light_speed(radial_velocity)
    beta = radial_velocity / C_KMS
    return ((1.0 + beta) / (1.0 - beta)) ** 0.5


def rest_wavelength_slope(radial_velocity):
    """Return the derivative of the logarithm of the rest wavelength by the velocity.

    The observed wavelength is held: the line that a pixel sees moves to the blue as the
    velocity rises.

    Parameters
    ----------
    radial_velocity : float, ndarray or torch.Tensor, any shape
        Velocity along the line of sight in km/s, below the speed of light in absolute
        value. It is not checked.

    Returns
    -------
    slope : float, ndarray or torch.Tensor, same shape
        ``-1 / (c * (1 - b**2))`` per km/s, with ``b = radial_velocity / c``: minus the
        derivative of the logarithm of :func:`doppler_factor`.

    Examples
    --------
    >>> from sk_payne.spectra import rest_wavelength_slope
    >>> print(f"{rest_wavelength_slope(0.0):.4e}")
    -3.3356e-06
    """
    return -1 / (C_KMS * (1 - (radial_velocity / C_KMS) ** 2))


def _check_below_light_speed(radial_velocity):
    allowed = np.abs(radial_velocity) < C_KMS
    if not allowed.all():
        first = radial_velocity[~allowed].flat[0]
        raise ValueError(
            f"`radial_velocity` must be finite and below {C_KMS} km/s in absolute "
            f"value; got {first}. Pass velocities in km/s."
        )
