"""Observation: properties of observed spectra, known or fitted."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator

from sk_payne.inputs import without_unit
from sk_payne.spectra import C_KMS

__all__ = ["Observation", "as_numbers"]

# Units of the arguments that may be quantities.
_VELOCITIES = ("velocity_range", "vsini", "vmac", "arm_offsets", "error_length")
_UNITS = {name: "km/s" for name in _VELOCITIES}
_UNITS |= {
    name: "" for name in ("resolving_power", "limb_darkening", "error_floor", "clip")
}

_DEFAULT_RANGE = (-500.0, 500.0)


class Observation(BaseEstimator):
    """Motion, line broadening, instrument, continuum and errors of observed spectra.

    Model spectra of the emulator are broadened, shifted, convolved with the profile of
    the instrument and multiplied by a continuum; observed spectra are never changed.
    Each effect is left out, known, or fitted within limits. Astropy quantities are
    converted.

    Parameters
    ----------
    velocity_range : tuple of float or None, default=(-500.0, 500.0)
        Smallest and largest radial velocity of the search in km/s. If None, spectra are
        at rest, and no velocity is fitted.
    resolving_power : float, array-like, tuple of float or "emulator", default=None
        Resolving power of the spectra, wavelength over full width at half maximum. An
        array has one entry per pixel, of shape (n_pixels,) or (n_stars, n_pixels). A
        tuple has the limits of a fit. "emulator" is the resolving power of the
        emulator. Model spectra are convolved with the Gaussian that reduces the
        resolving power of the emulator, which must be known, to this one.
        If None, ``meta["resolution_matrix"]`` or ``meta["resolving_power"]`` of the
        spectra are used; spectra without either get the resolving power of the
        emulator, with a warning.
    integrate_pixels : bool, default=False
        True to average model flux over the width of each pixel; False to evaluate it at
        the centre. Use True for pixels as wide as lines if the resolving power is that
        of the optics alone; resolving powers measured on lamp lines include the pixels.
    vsini : float or tuple of float, default=0.0
        Projected rotation velocity in km/s, or its limits if it is fitted.
    vmac : float or tuple of float, default=0.0
        Radial-tangential macroturbulence in km/s, or its limits if it is fitted.
    limb_darkening : float, default=0.6
        Linear limb-darkening coefficient of the rotation profile.
    arm_offsets : tuple of float or list of tuple, default=None
        Limits in km/s of the velocity offset of each arm from the first, for spectra of
        several arms; or a list of limits, one pair per arm after the first. The offset
        of an arm that a star lacks is 0, with an infinite error. If None, arms have no
        offsets.
    continuum_degree : int, default=None
        Degree of the continuum: polynomials in wavelength that multiply the model, one
        for each segment between gaps and for each arm, fitted with all other
        parameters. If None, flux must be normalised.
    second_star : SecondStar, default=None
        Second star in the same spectrum, see :class:`SecondStar`.
    stages : list of Stage, default=()
        Further effects, applied in order to the model at the pixels: a
        :class:`Telluric` template, or your own stage.
    emulator_error : bool, default=True
        True to include errors of the emulator, estimated from held-out spectra: the 1
        sigma error of the flux is added in quadrature to the errors of the pixels, and
        the covariance of the resulting errors of labels to the covariance of the fit.
    error_floor : float or "fit", default=0.0
        1 sigma error that is added to all pixels in quadrature, as a fraction of the
        continuum. "fit" is the smallest value for each star with residuals as large as
        their errors.
    error_length : float or "fit", default=None
        Correlation length in km/s of correlated errors along the spectrum, of the model
        or the reduction. Their size is fitted to the residuals of each star, with an
        exponential kernel of this length, and the errors of all parameters include
        them. The parameters do not change. "fit" fits the length as well. If None,
        errors of pixels are independent.
    clip : float, default=None
        Largest residual in units of its error; pixels beyond are left out, and the star
        is fitted again until the pixels do not change. 5 is usual. If None, all pixels
        are used.

    See Also
    --------
    AbundanceRegressor : Takes an observation.

    Examples
    --------
    >>> from sk_payne import Observation
    >>> observation = Observation(vsini=(0, 40), continuum_degree=2)
    >>> observation.get_params()["vsini"]
    (0, 40)
    """

    def __init__(
        self,
        *,
        velocity_range=_DEFAULT_RANGE,
        resolving_power=None,
        integrate_pixels=False,
        vsini=0.0,
        vmac=0.0,
        limb_darkening=0.6,
        arm_offsets=None,
        continuum_degree=None,
        second_star=None,
        stages=(),
        emulator_error=True,
        error_floor=0.0,
        error_length=None,
        clip=None,
    ):
        self.velocity_range = velocity_range
        self.resolving_power = resolving_power
        self.integrate_pixels = integrate_pixels
        self.vsini = vsini
        self.vmac = vmac
        self.limb_darkening = limb_darkening
        self.arm_offsets = arm_offsets
        self.continuum_degree = continuum_degree
        self.second_star = second_star
        self.stages = stages
        self.emulator_error = emulator_error
        self.error_floor = error_floor
        self.error_length = error_length
        self.clip = clip

    def checked(self):
        """Check all values; return a copy in numbers without units, in km/s.

        Returns
        -------
        observation : Observation
            Checked copy, with widths as pairs of limits.

        Raises
        ------
        ValueError
            If a value is invalid.
        """
        values = self.get_params(deep=False)
        for name, unit in _UNITS.items():
            values[name] = without_unit(values[name], argument=name, unit=unit)
        found = Observation(**values)
        _check_velocity_range(found.velocity_range)
        found.vsini = _limits("vsini", found.vsini)
        found.vmac = _limits("vmac", found.vmac)
        _check_limb_darkening(found.limb_darkening)
        _check_power(found.resolving_power)
        _check_offsets(found)
        _check_degree(found.continuum_degree)
        _check_errors(found)
        found.stages = list(found.stages)
        return found

    @property
    def has_emulator_power(self):
        """True if the resolving power is declared to be that of the emulator."""
        return isinstance(self.resolving_power, str) and (
            self.resolving_power == "emulator"
        )

    @property
    def given_power(self):
        """Resolving power as numbers, or None."""
        return None if self.has_emulator_power else self.resolving_power

    @property
    def fits_power(self):
        """True if the resolving power is fitted within limits."""
        return isinstance(self.resolving_power, tuple)

    @property
    def wants_velocity(self):
        """True if the range of velocities is not the default."""
        return self.velocity_range is not None and not np.array_equal(
            as_numbers(self.velocity_range), _DEFAULT_RANGE
        )

    @property
    def fits_floor(self):
        """True if the error floor of each star is fitted."""
        return _is_automatic(self.error_floor)

    @property
    def is_reweighted(self):
        """True if weights of pixels depend on the fit."""
        return self.clip is not None or self.fits_floor

    def offset_limits(self, n_arms):
        """Return the limits of the velocity offset of each arm after the first.

        Parameters
        ----------
        n_arms : int
            Number of arms.

        Returns
        -------
        limits : list of tuple of float
            Limits in km/s.

        Raises
        ------
        ValueError
            If a list has too few pairs.
        """
        if self.arm_offsets is None:
            return []
        pairs = np.atleast_2d(as_numbers(self.arm_offsets))
        if np.ndim(self.arm_offsets) == 1:
            pairs = pairs.repeat(n_arms - 1, axis=0)
        if len(pairs) < n_arms - 1:
            raise ValueError(
                f"`arm_offsets` must have a pair for each of the {n_arms - 1} arms "
                f"after the first, if it is a list; got {len(pairs)} pairs."
            )
        return [(float(low), float(high)) for low, high in pairs]


def _is_automatic(value):
    """Check whether an argument is "fit"."""
    return isinstance(value, str) and value == "fit"


def as_numbers(value):
    """Convert numbers to an array; anything else to NaN, which fails all checks."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # quantities, or ragged lists
        return np.asarray(np.nan)
    return array.astype(np.float64) if array.dtype.kind in "iuf" else np.asarray(np.nan)


def _check_velocity_range(velocity_range):
    if velocity_range is None:
        return
    pair = as_numbers(velocity_range)
    if pair.shape != (2,) or not -C_KMS < pair[0] <= pair[1] < C_KMS:
        raise ValueError(
            "`velocity_range` must be a smallest and a largest velocity in km/s, or "
            f"None; got {velocity_range!r}."
        )


def _limits(name, value):
    """Check a width or its limits in km/s; return limits, equal for a known width."""
    limits = as_numbers(value)
    limits = limits.repeat(2) if limits.ndim == 0 else limits
    good = limits.shape == (2,) and np.isfinite(limits).all()
    if not good or not 0 <= limits[0] <= limits[1]:
        raise ValueError(
            f"`{name}` must be a velocity in km/s, not negative, or a smallest and a "
            f"largest one; got {value!r}."
        )
    return float(limits[0]), float(limits[1])


def _check_limb_darkening(value):
    darkening = as_numbers(value)
    if darkening.ndim or not 0 <= darkening <= 1:
        raise ValueError(f"`limb_darkening` must be between 0 and 1; got {value!r}.")


def _check_power(power):
    if not isinstance(power, tuple):
        return
    pair = as_numbers(power)
    if pair.shape != (2,) or not 0 < pair[0] < pair[1] < np.inf:
        raise ValueError(
            "`resolving_power` must be a smallest and a largest one, both positive, if "
            f"it is a tuple; got {power!r}. Pass a list or an array for one value per "
            "pixel."
        )


def _check_offsets(observation):
    offsets = observation.arm_offsets
    if offsets is None:
        return
    pairs = np.atleast_2d(as_numbers(offsets))
    low, high = pairs.T if pairs.shape[1:] == (2,) else np.full((2, 1), np.nan)
    if not ((-C_KMS < low) & (low <= 0) & (high >= 0) & (high < C_KMS)).all():
        raise ValueError(
            "`arm_offsets` must be a smallest and a largest velocity in km/s, with 0 "
            "between them, or None, or a list of pairs, one for each arm after the "
            f"first; got {offsets!r}."
        )
    if observation.velocity_range is None:
        raise ValueError(
            "`velocity_range` must not be None with `arm_offsets`: they are relative "
            "to the velocity of the first arm."
        )


def _check_degree(degree):
    if degree is not None and not (isinstance(degree, Integral) and degree >= 0):
        raise ValueError(
            "`continuum_degree` must be None or an integer of at least 0; got "
            f"{degree!r}."
        )


def _check_errors(observation):
    clip = as_numbers(np.inf if observation.clip is None else observation.clip)
    if clip.ndim or not clip > 0:
        raise ValueError(
            "`clip` must be None or a positive number of errors, like 5; got "
            f"{observation.clip!r}."
        )
    floor = observation.error_floor
    number = as_numbers(0.0 if _is_automatic(floor) else floor)
    if number.ndim or not 0 <= number < np.inf:
        raise ValueError(
            "`error_floor` must be a fraction of the continuum like 0.01, not "
            f"negative, or 'fit'; got {floor!r}."
        )
    length = observation.error_length
    known = length is not None and not _is_automatic(length)
    number = as_numbers(length if known else 1.0)
    if number.ndim or not 0 < number < np.inf:
        raise ValueError(
            "`error_length` must be None, a positive velocity in km/s like 10, or "
            f"'fit'; got {length!r}."
        )
