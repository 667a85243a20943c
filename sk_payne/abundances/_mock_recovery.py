"""Stars of known labels, observed with noise and measured back.

It is here because the errors of a fit are a claim, and this is how to check it.
"""

import copy
import warnings

import numpy as np
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from sk_payne.abundances._inverted import inverted_of
from sk_payne.abundances._results import VELOCITY
from sk_payne.abundances._task import Options, is_broadened
from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.inputs import read_flux, read_labels, to_floats
from sk_payne.spectra import (
    GridInterpolator,
    SpectrumSet,
    broaden,
    broadening_reach,
    doppler_factor,
    is_covered,
    velocity_sigma,
)

__all__ = ["mock_recovery"]

# Part of the box of the labels that stars are drawn from.
_INNER = 0.8

# Velocities in km/s that stars are drawn from, at most.
_FASTEST = 200.0

# Largest departure of a continuum from one.
_TILT = 0.3


def mock_recovery(
    regressor,
    labels=None,
    *,
    flux=None,
    snr=(50, 100, 300),
    n_stars=300,
    wavelength=None,
    vsini=None,
    vmac=None,
    velocity=None,
    random_state=None,
):
    """Measure stars that a regressor's own emulator made, with noise.

    All else being exact, the errors that the regressor claims must then describe how
    far its results are from the truth. Spectra of the emulator are broadened, shifted,
    multiplied by a continuum and given Gaussian noise, each as far as the regressor
    fits it; the regressor measures them, with the error of the emulator left out.

    Parameters
    ----------
    regressor : AbundanceRegressor
        Fitted, or around a fitted emulator. It is not changed.
    labels : array-like or table of shape (n_stars, n_labels), default=None
        Of the stars; those of a table are taken by name. If None, drawn uniformly from
        the inner 80 % of the range of each label.
    flux : array-like of shape (n_stars, n_pixels), default=None
        Spectra of `labels`, on the grid of the emulator, instead of those that it
        makes: of a synthesis code, for instance. What the emulator gets wrong then
        comes in; the errors claimed are those of the noise all the same.
    snr : float or array-like of shape (n_snr,), default=(50, 100, 300)
        Signal-to-noise ratios per pixel in the continuum.
    n_stars : int, default=300
        Stars to draw, if there are no `labels`.
    wavelength : array-like of shape (n_observed,), default=None
        Observed wavelengths in Å, in the medium of the emulator. If None, its grid.
    vsini, vmac : float or tuple of float, default=None
        Rotation and macroturbulence of the stars in km/s, or limits to draw them from
        uniformly. If None, those of the regressor.
    velocity : float or tuple of float, default=None
        Radial velocity in km/s, likewise. If None, the `velocity_range` of the
        regressor between -200 and 200.
    random_state : int, RandomState instance or None, default=None
        Determines the stars and their noise.

    Returns
    -------
    recovery : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        snr : ndarray of shape (n_snr,)
            As asked for.
        label_names, label_units : list of str
            Of the parameters: first the labels, then what else is fitted of "vsini",
            "vmac" and "radial_velocity".
        true : ndarray of shape (n_stars, n_parameters)
            Of the stars.
        measured, error : ndarray of shape (n_snr, n_stars, n_parameters)
            What the regressor found, and the standard deviations that it claims; NaN
            for stars without data.
        interval : ndarray of shape (n_snr, n_stars, n_parameters, 2) or None
            Ends of the middle 68 % of the posterior, if the regressor gives means.
        chi2, dof, flags : ndarray of shape (n_snr, n_stars)
            As in :meth:`sk_payne.AbundanceRegressor.measure`.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If an argument is not allowed.

    See Also
    --------
    recovery_table : Bias, scatter, pulls and coverage.
    sk_payne.inspection.MockRecoveryDisplay : A figure of them.

    Notes
    -----
    A star has the same noise at every signal-to-noise ratio, scaled, so that curves
    against it are smooth. Continua are polynomials of the `continuum_degree` of the
    regressor, within 0.7 and 1.3. Pixels that a star's velocity or width would fill
    from beyond the emulator's grid are masked. Flux between the wavelengths of the grid
    is what the fit takes it to be: that of an emulator that can tell it, if nothing is
    broadened, or else a quintic spline. `flux` is always interpolated by a spline, so
    that an emulator which is wrong between its wavelengths is found out.

    Examples
    --------
    >>> from sk_payne import AbundanceRegressor, SpectrumEmulator
    >>> from sk_payne.abundances import mock_recovery, recovery_table
    >>> from sk_payne.datasets import make_spectra
    >>> grid = make_spectra(300, random_state=0)
    >>> emulator = SpectrumEmulator(
    ...     arch="payne", wavelength=grid.wavelength, medium=grid.medium,
    ...     label_names=grid.label_names, label_units=grid.label_units,
    ...     max_steps=400, random_state=0,
    ... ).fit(grid.data, grid.target)
    >>> recovery = mock_recovery(
    ...     AbundanceRegressor(emulator), snr=100, n_stars=50, random_state=0
    ... )
    >>> recovery.label_names[-1], recovery.measured.shape
    ('radial_velocity', (1, 50, 6))
    >>> table = recovery_table(recovery)
    >>> print(table["label", "unit", "snr", "n"][0])
    label unit  snr   n
    ----- ---- ----- ---
     teff    K 100.0  50
    """
    check_is_fitted(regressor)
    inverted = inverted_of(regressor)
    emulator = inverted.emulator
    options = Options.of(regressor)
    if flux is not None and labels is None:
        raise ValueError("`labels` of the spectra must be given with `flux`; got None.")
    _check_instrument(regressor)
    snr = _checked_snr(snr)
    rng = check_random_state(random_state)
    labels = _labels(rng, labels, n_stars, inverted)
    nuisances = {
        "vsini": _draw(rng, "vsini", vsini, options.vsini, len(labels)),
        "vmac": _draw(rng, "vmac", vmac, options.vmac, len(labels)),
        VELOCITY: _draw(rng, "velocity", velocity, _usual(options), len(labels)),
    }
    observer = _Observer(options, inverted, wavelength, nuisances)
    if flux is not None:
        flux = observer.observe(_checked_flux(flux, len(labels), inverted.n_pixels))
    elif observer.is_between_pixels():
        flux = observer.predict(emulator, labels)
    else:
        flux = observer.observe(_predict(emulator, labels))
    wavelength, covered = observer.wavelength, observer.covered
    continuum = _continuum(rng, regressor.continuum_degree, wavelength, len(labels))
    noise = rng.standard_normal(flux.shape)
    spectra = [
        SpectrumSet(
            np.where(covered, continuum * (flux + noise / one), 0.0),
            np.where(covered, (one / continuum) ** 2, 0.0),
            wavelength=wavelength,
            medium=None if wavelength is None else inverted.medium,
        )
        for one in snr
    ]
    # a shallow copy is fitted like the original, unlike a clone
    judged = copy.copy(regressor)
    judged.set_params(emulator_error=False, snr=None, medium=None)
    if regressor.resolving_power is None:
        judged.set_params(resolving_power="emulator")
    tables = [judged.measure(stars) for stars in spectra]
    names = inverted.label_names
    fitted = [n for n in nuisances if n in tables[0].colnames and n not in names]
    names = names + fitted
    return Bunch(
        snr=snr,
        label_names=names,
        label_units=inverted.label_units + ["km / s"] * len(fitted),
        true=np.column_stack([labels, *(nuisances[name] for name in fitted)]),
        measured=np.stack([_column(tables, n) for n in names], axis=-1),
        error=np.stack([_column(tables, f"{n}_error") for n in names], axis=-1),
        interval=_intervals(tables, names),
        **{name: _column(tables, name) for name in ("chi2", "dof", "flags")},
    )


def _intervals(tables, names):
    """Middle 68 % of the posterior, if tables tell it."""
    if "n_effective" not in tables[0].colnames:
        return None
    ends = [[_column(tables, f"{n}_p{part}") for n in names] for part in (16, 84)]
    return np.moveaxis(np.array(ends), (0, 1), (-1, -2))


def _column(tables, name):
    """One column of all tables without its unit, of shape (n_tables, n_rows)."""
    return np.array([getattr(table[name], "value", table[name]) for table in tables])


# Stars ---------------------------------------------------------------------------


def _check_instrument(regressor):
    """Mock stars are seen in points, by one instrument."""
    wanted = {
        "resolving_power": np.ndim(regressor.resolving_power) == 0,
        "integrate_pixels": not regressor.integrate_pixels,
        "arm_offsets": regressor.arm_offsets is None,
    }
    for name, is_simple in wanted.items():
        if not is_simple:
            raise ValueError(
                f"`{name}` of the regressor must be that of one arm whose pixels see "
                f"points, with one resolving power; got {getattr(regressor, name)!r}. "
                "Set it so in a copy: errors hold alike."
            )


def _checked_snr(snr):
    values = np.atleast_1d(to_floats(snr, argument="snr"))
    if values.ndim != 1 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(
            f"`snr` must be one or several positive, finite numbers; got {snr!r}."
        )
    return values


def _labels(rng, labels, n_stars, inverted):
    low, high = inverted.low, inverted.high
    if labels is None:
        if n_stars < 1:
            raise ValueError(f"`n_stars` must be at least 1; got {n_stars}.")
        unit = _INNER * rng.uniform(-0.5, 0.5, (n_stars, len(low)))
        return (low + high) / 2 + unit * (high - low)
    names, units = inverted.label_names, inverted.label_units
    table = read_labels(labels, argument="labels", names=names, units=units)
    labels = np.array(table.values, dtype=np.float64)
    if labels.ndim != 2 or labels.shape[1] != len(low) or not len(labels):
        raise ValueError(
            f"`labels` must have the shape (n_stars, {len(low)}), one column for each "
            f"of {inverted.label_names}; got {labels.shape}."
        )
    outside = ~((labels >= low) & (labels <= high))
    if outside.any():
        star, i = np.argwhere(outside)[0]
        raise ValueError(
            "`labels` must lie where the regressor looks; got "
            f"{inverted.label_names[i]} = {labels[star, i]} of star {star}, beyond "
            f"{low[i]} to {high[i]}. Leave out such stars, or clip them."
        )
    return labels


def _predict(emulator, labels, **where):
    """Flux of an emulator that by definition is right, in empty corners as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        # labels that were drawn have no names of columns
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        return np.reshape(emulator.predict(labels, **where), (len(labels), -1))


def _checked_flux(flux, n_stars, n_pixels):
    table = read_flux(flux, argument="flux")
    flux = np.array(table.values, dtype=np.float64)
    if table.mask is not None:
        flux[table.mask] = np.nan
    finite = np.isfinite(flux).all()
    if flux.shape != (n_stars, n_pixels) or not finite:
        raise ValueError(
            f"`flux` must be finite and of the shape {(n_stars, n_pixels)}, on the "
            "grid of the emulator and one row for each row of `labels`; got "
            f"{flux.shape}{'' if finite else ' with NaN or infinity'}."
        )
    return flux


def _usual(options):
    """Velocities to draw from if nothing is said."""
    if options.velocity_range is None:
        return 0.0
    return np.clip(options.velocity_range, -_FASTEST, _FASTEST)


def _draw(rng, name, limits, usual, n):
    """Velocities in km/s, uniform between limits."""
    value = usual if limits is None else limits
    value = to_floats(value, argument=name, unit="km/s")
    pair = value.repeat(2) if value.ndim == 0 else value
    if pair.shape != (2,) or not np.isfinite(pair).all() or pair[0] > pair[1]:
        raise ValueError(
            f"`{name}` must be a velocity in km/s, or a smallest and a largest one; "
            f"got {limits!r}."
        )
    return rng.uniform(*pair, n)


# Observation ---------------------------------------------------------------------


class _Observer:
    """Brings flux on the grid of an emulator to observed pixels.

    Parameters
    ----------
    options : Options
        Of the regressor whose instrument it is.
    inverted : Inverted
        The emulator.
    wavelength : array-like of shape (n_observed,) or None
        In Å; None for the grid of the emulator.
    nuisances : dict of str to ndarray of shape (n_stars,)
        Widths and velocities of the stars in km/s.

    Attributes
    ----------
    wavelength : ndarray of shape (n_observed,) or None
        Of the pixels; None if the emulator knows none.
    rest : ndarray of shape (n_stars, n_observed) or None
        The same at rest.
    covered : ndarray of shape (n_stars, n_observed), bool
        Whether flux comes from within the grid.
    """

    def __init__(self, options, inverted, wavelength, nuisances):
        self.options, self.inverted = options, inverted
        self.vsini, self.vmac = nuisances["vsini"], nuisances["vmac"]
        self.wavelength = self.rest = None
        self.covered = np.ones((len(self.vsini), inverted.n_pixels), dtype=bool)
        grid = inverted.wavelength
        if grid is None:
            if wavelength is not None or self.vsini.any() or self.vmac.any():
                raise ValueError(
                    "`wavelength`, `vsini` and `vmac` must be None for an emulator "
                    "without wavelengths. Pass `wavelength=` and `medium=` to "
                    "SpectrumEmulator and train it again."
                )
            return
        wavelength = grid if wavelength is None else wavelength
        self.wavelength = to_floats(
            wavelength, argument="wavelength", unit="Angstrom"
        ).copy()
        self.rest = self.wavelength / doppler_factor(nuisances[VELOCITY])[:, None]
        self.instrument, sigma = {}, 0.0
        if options.given_power is not None:
            resolving_powers = options.given_power, inverted.resolving_power
            if np.ndim(inverted.resolving_power):
                raise ValueError(
                    "`resolving_power` of the regressor must be None for an emulator "
                    "whose resolving power is not the same at all wavelengths; got "
                    f"{options.resolving_power}. Set it so in a copy: errors hold "
                    "alike."
                )
            self.instrument = dict(
                zip(("resolving_power", "already"), resolving_powers, strict=True)
            )
            sigma = float(velocity_sigma(*resolving_powers))
        reach = doppler_factor(broadening_reach(self.vsini, self.vmac, sigma))[:, None]
        self.covered = is_covered(self.rest / reach, self.rest * reach, grid)

    def is_between_pixels(self):
        """Whether the fit asks the emulator itself for flux between its pixels."""
        return (
            self.rest is not None
            and getattr(self.inverted.source, "takes_wavelength", False)
            and not is_broadened(self.inverted, self.options)
            and not (self.vsini.any() or self.vmac.any())
        )

    def predict(self, emulator, labels):
        """Flux of an emulator that takes any wavelength, at covered pixels."""
        flux = np.ones(self.rest.shape)
        for i, good in enumerate(self.covered):
            if good.any():
                at = self.rest[i, good]
                flux[i, good] = _predict(emulator, labels[[i]], wavelength=at)[0]
        return flux

    def observe(self, flux):
        """Flux on the grid, broadened, shifted and interpolated."""
        if self.rest is None:
            return flux
        grid = self.inverted.wavelength
        flux = broaden(
            flux,
            grid,
            vsini=self.vsini,
            vmac=self.vmac,
            limb_darkening=self.options.limb_darkening,
            **self.instrument,
        )
        return GridInterpolator(grid)(flux, self.rest)


def _continuum(rng, degree, wavelength, n):
    """Gentle polynomials of shape (n, n_observed), or one."""
    if degree is None or wavelength is None:
        return 1.0
    x = np.interp(wavelength, wavelength[[0, -1]], [-1.0, 1.0])
    basis = np.polynomial.chebyshev.chebvander(x, degree)
    size = _TILT / (degree + 1)
    return 1 + rng.uniform(-size, size, (n, degree + 1)) @ basis.T
