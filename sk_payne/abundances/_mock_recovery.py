"""Mock recovery: stars of known labels, observed with noise and measured back."""

import copy

import numpy as np
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from sk_payne.abundances._fitted_emulator import fitted_emulator_of
from sk_payne.abundances._mock_spectra import MockObserver, continua, predict_quietly
from sk_payne.abundances._observation import Observation
from sk_payne.abundances._parameters import VELOCITY
from sk_payne.inputs import read_flux, read_labels, to_floats
from sk_payne.spectra import SpectrumSet

__all__ = ["mock_recovery"]

# Part of the box of the labels that stars are drawn from.
_INNER = 0.8

# Velocities in km/s that stars are drawn from, at most.
_FASTEST = 200.0


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
    fitted = fitted_emulator_of(regressor)
    emulator = fitted.estimator
    given = regressor.observation
    observation = (Observation() if given is None else given).checked()
    if flux is not None and labels is None:
        raise ValueError("`labels` of the spectra must be given with `flux`; got None.")
    _check_instrument(observation)
    snr = _checked_snr(snr)
    rng = check_random_state(random_state)
    labels = _labels(rng, labels, n_stars, fitted)
    nuisances = {
        "vsini": _draw(rng, "vsini", vsini, observation.vsini, len(labels)),
        "vmac": _draw(rng, "vmac", vmac, observation.vmac, len(labels)),
        VELOCITY: _draw(rng, "velocity", velocity, _usual(observation), len(labels)),
    }
    observer = MockObserver(observation, fitted, wavelength, nuisances)
    if flux is not None:
        flux = observer.observe(_checked_flux(flux, len(labels), fitted.n_pixels))
    elif observer.is_between_pixels():
        flux = observer.predict(emulator, labels)
    else:
        flux = observer.observe(predict_quietly(emulator, labels))
    wavelength, covered = observer.wavelength, observer.covered
    continuum = continua(rng, observation.continuum_degree, wavelength, len(labels))
    noise = rng.standard_normal(flux.shape)
    spectra = [
        SpectrumSet(
            np.where(covered, continuum * (flux + noise / one), 0.0),
            np.where(covered, (one / continuum) ** 2, 0.0),
            wavelength=wavelength,
            medium=None if wavelength is None else fitted.medium,
        )
        for one in snr
    ]
    # a shallow copy is fitted like the original, unlike a clone
    judged = copy.copy(regressor)
    changes = {"emulator_error": False}
    if observation.resolving_power is None:
        changes["resolving_power"] = "emulator"
    judged.observation = copy.copy(observation).set_params(**changes)
    judged.snr = judged.medium = None
    tables = [judged.measure(stars) for stars in spectra]
    names = fitted.label_names
    others = [n for n in nuisances if n in tables[0].colnames and n not in names]
    names = names + others
    return Bunch(
        snr=snr,
        label_names=names,
        label_units=fitted.label_units + ["km / s"] * len(others),
        true=np.column_stack([labels, *(nuisances[name] for name in others)]),
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


def _check_instrument(observation):
    """Refuse what mock stars cannot have: they are single, in points of one arm."""
    allowed = {
        "resolving_power": np.ndim(observation.resolving_power) == 0,
        "integrate_pixels": not observation.integrate_pixels,
        "arm_offsets": observation.arm_offsets is None,
        "second_star": observation.second_star is None,
        "stages": not observation.stages,
    }
    for name, is_simple in allowed.items():
        if not is_simple:
            raise ValueError(
                f"`{name}` of the observation must be that of a single star in one arm "
                "whose pixels see points, with one resolving power and no stages; got "
                f"{getattr(observation, name)!r}. Set it so in a copy: errors hold "
                "alike."
            )


def _checked_snr(snr):
    values = np.atleast_1d(to_floats(snr, argument="snr"))
    if values.ndim != 1 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(
            f"`snr` must be one or several positive, finite numbers; got {snr!r}."
        )
    return values


def _labels(rng, labels, n_stars, fitted):
    low, high = fitted.low, fitted.high
    if labels is None:
        if n_stars < 1:
            raise ValueError(f"`n_stars` must be at least 1; got {n_stars}.")
        unit = _INNER * rng.uniform(-0.5, 0.5, (n_stars, len(low)))
        return (low + high) / 2 + unit * (high - low)
    names, units = fitted.label_names, fitted.label_units
    table = read_labels(labels, argument="labels", names=names, units=units)
    labels = np.array(table.values, dtype=np.float64)
    if labels.ndim != 2 or labels.shape[1] != len(low) or not len(labels):
        raise ValueError(
            f"`labels` must have the shape (n_stars, {len(low)}), one column for each "
            f"of {fitted.label_names}; got {labels.shape}."
        )
    outside = ~((labels >= low) & (labels <= high))
    if outside.any():
        star, i = np.argwhere(outside)[0]
        raise ValueError(
            "`labels` must lie where the regressor looks; got "
            f"{fitted.label_names[i]} = {labels[star, i]} of star {star}, beyond "
            f"{low[i]} to {high[i]}. Leave out such stars, or clip them."
        )
    return labels


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


def _usual(observation):
    """Velocities to draw from if nothing is said."""
    if observation.velocity_range is None:
        return 0.0
    return np.clip(observation.velocity_range, -_FASTEST, _FASTEST)


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
