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


def _check_below_light_speed(radial_velocity):
    allowed = np.abs(radial_velocity) < C_KMS
    if not allowed.all():
        first = radial_velocity[~allowed].flat[0]
        raise ValueError(
            f"`radial_velocity` must be finite and below {C_KMS} km/s in absolute "
            f"value; got {first}. Pass velocities in km/s."
        )
