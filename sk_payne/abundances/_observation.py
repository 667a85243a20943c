"""Observation: how a star was observed, and what of that is fitted."""

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

    Model spectra of the emulator are broadened, shifted, seen by the instrument and
    multiplied by a continuum; the observed spectra themselves are never changed. Each
    effect is left out, known, or fitted within limits. Astropy quantities are
    converted.

    Parameters
    ----------
    velocity_range : tuple of float or None, default=(-500.0, 500.0)
        Radial velocities in km/s to search. If None, spectra are taken to be at rest
        and no velocity is fitted.
    resolving_power : float, array-like, tuple of float or "emulator", default=None
        Resolving power of the spectra, wavelength over full width at half maximum. An
        array has one entry per pixel, of shape (n_pixels,) or (n_stars, n_pixels). A
        tuple gives limits between which it is fitted. "emulator" says that spectra are
        as sharp as those of the emulator. Model spectra are broadened by the Gaussian
        between it and the resolving power of the emulator, which must be known.
        If None, ``meta["resolution_matrix"]`` or ``meta["resolving_power"]`` of the
        spectra are used; spectra without either are taken to be as sharp as the
        emulator, with a warning.
    integrate_pixels : bool, default=False
        Whether model flux is averaged over each pixel, from edge to edge, instead of
        evaluated at its centre. Use it for pixels as wide as lines if the resolving
        power is that of the optics alone; resolving powers measured on lamp lines
        include the pixels.
    vsini : float or tuple of float, default=0.0
        Projected rotation velocity in km/s, or its limits if it is fitted.
    vmac : float or tuple of float, default=0.0
        Radial-tangential macroturbulence in km/s, or its limits if it is fitted.
    limb_darkening : float, default=0.6
        Linear limb-darkening coefficient of the rotation profile.
    arm_offsets : tuple of float or list of tuple, default=None
        For spectra of several arms: limits in km/s of the velocity offset of each arm
        against the first; or a list of limits, one pair per arm after the first. The
        offset of an arm that a star lacks is 0, with an infinite error. If None, arms
        have no offsets.
    continuum_degree : int, default=None
        Degree of a polynomial in wavelength that multiplies the model, one for each
        segment between gaps and for each arm, solved for at each step of the fit. If
        None, flux must be normalised.
    second_star : SecondStar, default=None
        A second star in the same spectrum, see :class:`SecondStar`.
    stages : list of Stage, default=()
        Further effects, applied in order to the model at the pixels: a
        :class:`Telluric` template, or a stage of your own.
    emulator_error : bool, default=True
        Whether errors of the emulator, learned from held-out spectra, count: the 1
        sigma error of the flux is added in quadrature to the errors of the pixels, and
        the covariance by which they displace labels to that of the fit.
    error_floor : float or "fit", default=0.0
        Error that is added to all pixels in quadrature, as a fraction of the
        continuum, since no model is perfect. "fit" finds it for each star, so that
        residuals are as large as their errors.
    error_length : float or "fit", default=None
        Correlation length in km/s of errors that go together along the spectrum, of
        the model or the reduction. If it is given, residuals of each star are taken for
        noise and errors with an exponential kernel of that length, whose size is
        fitted, and errors of all parameters follow from both; the parameters
        themselves do not change. "fit" finds the length as well. If None, errors of
        pixels are independent.
    clip : float, default=None
        Pixels whose residual exceeds this number of errors are left out, and the star
        is fitted again until the same pixels stay. 5 is usual. If None, all are used.

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
        """Give a copy whose values were checked, in plain numbers, km/s and no units.

        Returns
        -------
        observation : Observation
            Widths are pairs of limits.

        Raises
        ------
        ValueError
            If a value is not allowed.
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
        """True if spectra are declared to be as sharp as those of the emulator."""
        return isinstance(self.resolving_power, str) and (
            self.resolving_power == "emulator"
        )

    @property
    def given_power(self):
        """Resolving power given as numbers, or None."""
        return None if self.has_emulator_power else self.resolving_power

    @property
    def fits_power(self):
        """True if the resolving power is fitted between limits."""
        return isinstance(self.resolving_power, tuple)

    @property
    def wants_velocity(self):
        """True if a range of velocities was given explicitly."""
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
        """Give the limits of the velocity offset of each arm after the first.

        Parameters
        ----------
        n_arms : int
            Number of arms.

        Returns
        -------
        limits : list of tuple of float
            km/s.

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
                f"after the first, if it is a list; got {len(pairs)}."
            )
        return [(float(low), float(high)) for low, high in pairs]


def _is_automatic(value):
    """Whether an argument is the word "fit"."""
    return isinstance(value, str) and value == "fit"


def as_numbers(value):
    """Give numbers as an array; NaN, which no rule allows, for anything else."""
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
    """Limits of a width in km/s, equal if it is known."""
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
            f"it is a tuple; got {power!r}. Pass a list or array of one per pixel."
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
            "between them, or None, or a list of such pairs, one for each arm after "
            f"the first; got {offsets!r}."
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
            "`error_floor` must be a part of the continuum like 0.01, not negative, or "
            f"'fit'; got {floor!r}."
        )
    length = observation.error_length
    known = length is not None and not _is_automatic(length)
    number = as_numbers(length if known else 1.0)
    if number.ndim or not 0 < number < np.inf:
        raise ValueError(
            "`error_length` must be None, a positive velocity in km/s like 10, or "
            f"'fit'; got {length!r}."
        )
