"""Mock recovery: stars of known labels, observed with noise and measured back."""

from numbers import Integral

import numpy as np
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from sk_payne.abundances import Observation, fitted_emulator_of
from sk_payne.recovery._calibration import calibration_levels
from sk_payne.recovery._mock_stars import bring_stars, draw_stars
from sk_payne.recovery._verdict import recovery_verdict

__all__ = ["mock_recovery"]


def mock_recovery(
    regressor,
    labels=None,
    *,
    flux=None,
    spectra=None,
    snr=(50, 100, 300),
    n_stars=300,
    wavelength=None,
    vsini=None,
    vmac=None,
    velocity=None,
    samples=None,
    sampler="importance",
    random_state=None,
):
    """Measure stars of known labels, and test the claimed errors.

    Errors are right if measured labels scatter by them around the truth, one by one
    and jointly. Unless spectra are given, the emulator of the regressor makes them.
    They are broadened, shifted and multiplied by a continuum, as far as the regressor
    fits these effects, and Gaussian noise is added. The regressor then measures them,
    without the error of the emulator.

    Parameters
    ----------
    regressor : AbundanceRegressor
        Regressor that is fitted, or that has a fitted emulator. It is not changed.
    labels : array-like or table of shape (n_stars, n_labels), default=None
        True labels; columns of a table are found by name. If None, labels are drawn
        uniformly from the inner 80 % of the range of each label.
    flux : array-like of shape (n_stars, n_pixels), default=None
        Spectra of `labels` on the grid of the emulator, without noise, for instance
        of a synthesis code. They replace spectra of the emulator, so that errors of the
        emulator displace the measured labels. The claimed errors are still those of the
        noise alone.
    spectra : spectra, default=None
        Spectra of `labels`, in any form that :meth:`AbundanceRegressor.measure` takes,
        with any number of arms. The regressor measures them as it is set up, with the
        error of the emulator if it includes it. Spectra with uncertainties are
        measured as they are, and `snr` becomes their median. Spectra without must be
        normalised and free of noise; noise is added for each `snr`.
    snr : float or array-like of shape (n_snr,), default=(50, 100, 300)
        Signal-to-noise ratios per pixel in the continuum.
    n_stars : int, default=300
        Number of stars to draw if `labels` is None.
    wavelength : array-like of shape (n_observed,) or list of them, default=None
        Observed wavelengths in Å, in the medium of the emulator; a list of arrays, one
        for each arm, if there are several. If None, the grid of the emulator.
    vsini, vmac : float or tuple of float, default=None
        Rotation and macroturbulence of the stars in km/s, or limits of uniform draws.
        If None, the values or limits of the regressor.
    velocity : float or tuple of float, default=None
        Radial velocity in km/s, or limits of uniform draws. If None, the
        `velocity_range` of the regressor, cut to -200 and 200. With `spectra`, `vsini`,
        `vmac` and `velocity` are true values, one number or one for each star; if None,
        the measured values are not tested.
    samples : int, default=None
        Number of posterior samples to draw for each star and S/N, for "sample_rank"
        and "tarp". If None, no samples are drawn.
    sampler : {"importance", "emcee"}, default="importance"
        Sampler of :meth:`AbundanceRegressor.posterior`.
    random_state : int, RandomState instance or None, default=None
        Seed of the stars, their noise, the samples and the points of TARP.

    Returns
    -------
    recovery : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        snr : ndarray of shape (n_snr,)
            Signal-to-noise ratios.
        label_names, label_units : list of str
            Names and units of the parameters: first the labels, then those of "vsini",
            "vmac", "radial_velocity", "velocity_offset_1" and so on that are fitted and
            have a known value.
        n_labels : int
            Number of labels.
        true : ndarray of shape (n_stars, n_parameters)
            True parameters.
        measured, error : ndarray of shape (n_snr, n_stars, n_parameters)
            Measured parameters and their claimed standard deviations; NaN for stars
            without data.
        covariance : ndarray of shape (n_snr, n_stars, n_parameters, n_parameters)
            Claimed covariances.
        error_dof : ndarray of shape (n_snr, n_stars)
            Degrees of freedom of the t distribution of the errors; infinite for normal
            errors.
        interval : ndarray of shape (n_snr, n_stars, n_parameters, 2) or None
            Ends of the middle 68 % of the posterior, if the regressor has
            ``estimate="mean"``.
        chi2, dof, flags : ndarray of shape (n_snr, n_stars)
            Columns of :meth:`sk_payne.AbundanceRegressor.measure`.
        distance, n_free : ndarray of shape (n_snr, n_stars)
            Squared Mahalanobis distance of the labels from the truth, and number of
            free labels: see :func:`joint_distance`.
        joint : ndarray of shape (n_snr, n_stars)
            Probability of a smaller distance: see :func:`joint_probability`.
        rank : ndarray of shape (n_snr, n_stars, n_parameters)
            Fraction of the claimed normal or t distribution that is below the truth.
        sample_rank : ndarray of shape (n_snr, n_stars, n_parameters) or None
            Fraction of the posterior samples that is below the truth.
        tarp : ndarray of shape (n_snr, n_stars)
            Level of the credible region of all labels, around a random point, that
            just contains the truth; computed from the samples, or from draws of the
            claimed distribution.
        verdict : list of str
            Result of :func:`recovery_verdict`.

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ValueError
        If an argument is not allowed.

    See Also
    --------
    recovery_table : Bias, scatter, pulls and coverage.
    joint_table, rank_table : Coverage of joint regions, and ranks.
    recovery_verdict : The result of all tests in words.
    sk_payne.inspection.CalibrationDisplay : Figure of coverage, ranks and TARP.
    sk_payne.inspection.MockRecoveryDisplay : Figure of bias, scatter and pulls.

    Notes
    -----
    A star has the same noise at every signal-to-noise ratio, scaled, so that curves
    against it are smooth. Continua are polynomials of the `continuum_degree` of the
    regressor, between 0.7 and 1.3. Pixels are masked if the velocity or width of the
    star brings flux to them from beyond the grid of the emulator. Flux between the
    wavelengths of the grid is computed as in the fit: by an emulator that takes any
    wavelength, if nothing is broadened, otherwise by a quintic spline. `flux` is always
    interpolated by a spline, which reveals an emulator that is wrong between its
    wavelengths.

    If errors are right, `joint`, `rank`, `sample_rank` and `tarp` are uniform between 0
    and 1 over the stars. `sample_rank` is simulation-based calibration [1]_; `rank` is
    its closed form for normal errors. `tarp` is the test of expected coverage of Lemos
    et al. [2]_. The random point of a star is drawn from its claimed distribution, and
    distances are Mahalanobis distances in its covariance. The claimed distribution has
    no bounds, so ranks of labels that hardly show pile up in the middle. Importance
    samples are worth fewer than `samples` independent samples; draw some hundred.

    References
    ----------
    .. [1] Talts et al., "Validating Bayesian inference algorithms with simulation-based
       calibration", arXiv:1804.06788, 2018.
    .. [2] Lemos et al., "Sampling-based accuracy testing of posterior estimators for
       general inference", ICML, arXiv:2302.03026, 2023.

    Examples
    --------
    >>> from sk_payne import AbundanceRegressor, SpectrumEmulator
    >>> from sk_payne.recovery import mock_recovery, recovery_table
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
    >>> print(*recovery.verdict)
    Nothing wrong found ...
    """
    check_is_fitted(regressor)
    _check_samples(samples)
    fitted = fitted_emulator_of(regressor)
    given = regressor.observation
    observation = (Observation() if given is None else given).checked()
    if observation.second_star is not None:
        raise ValueError(
            "`second_star` of the observation must be None: mock stars are single. "
            "Pass a regressor without it; errors of single stars are the same."
        )
    rng = check_random_state(random_state)
    options = {"labels": labels, "snr": snr, "rng": rng}
    options["known"] = {"vsini": vsini, "vmac": vmac, "velocity": velocity}
    if spectra is None:
        options |= {"flux": flux, "n_stars": n_stars, "wavelength": wavelength}
        stars = draw_stars(regressor, fitted, observation, **options)
    elif flux is None and wavelength is None:
        stars = bring_stars(regressor, fitted, spectra=spectra, **options)
    else:
        raise ValueError("`flux` and `wavelength` must be None with `spectra`.")
    measured = [
        stars.regressor.measure(mock, return_cov=True) for mock in stars.spectra
    ]
    names = fitted.label_names
    others = [n for n in stars.nuisances if n in measured[0][0].colnames]
    others = [n for n in others if n not in names]
    recovery = _gather(measured, names + others)
    recovery.update(
        snr=stars.snr,
        label_names=names + others,
        label_units=fitted.label_units + ["km / s"] * len(others),
        n_labels=len(names),
        true=np.column_stack([stars.labels, *(stars.nuisances[n] for n in others)]),
    )
    drawn = None
    if samples is not None:
        drawn = _draw_samples(stars, recovery.label_names, samples, sampler, rng)
    claims = ("true", "measured", "error", "covariance", "error_dof", "n_labels")
    claims = {name: recovery[name] for name in claims}
    recovery.update(calibration_levels(**claims, samples=drawn, rng=rng))
    recovery.verdict = recovery_verdict(recovery)
    return recovery


def _gather(measured, names):
    """Join the tables and covariances of the same stars at several S/N."""
    tables, covariance = zip(*measured, strict=True)
    columns = tables[0].colnames
    fitted = [name for name in columns if f"{name}_error" in columns]
    places = np.array([fitted.index(name) for name in names])
    error_dof = np.full((len(tables), len(tables[0])), np.inf)
    if "error_dof" in columns:
        error_dof = _column(tables, "error_dof")
    return Bunch(
        measured=np.stack([_column(tables, n) for n in names], axis=-1),
        error=np.stack([_column(tables, f"{n}_error") for n in names], axis=-1),
        covariance=np.stack(covariance)[..., places[:, None], places],
        error_dof=error_dof,
        interval=_intervals(tables, names),
        **{name: _column(tables, name) for name in ("chi2", "dof", "flags")},
    )


def _draw_samples(stars, names, n, sampler, rng):
    """Draw posterior samples of all stars at each S/N."""
    samples = []
    for mock in stars.spectra:
        posterior = stars.regressor.posterior(
            mock, sampler=sampler, n_draws=n, random_state=rng
        )
        places = [posterior.label_names.index(name) for name in names]
        samples.append(posterior.samples[..., places])
    return samples


def _check_samples(samples):
    if samples is not None and not (isinstance(samples, Integral) and samples >= 2):
        raise ValueError(
            f"`samples` must be None or an integer of at least 2; got {samples!r}."
        )


def _intervals(tables, names):
    """Return the middle 68 % of the posterior, or None if tables do not have it."""
    if "n_effective" not in tables[0].colnames:
        return None
    ends = [[_column(tables, f"{n}_p{part}") for n in names] for part in (16, 84)]
    return np.moveaxis(np.array(ends), (0, 1), (-1, -2))


def _column(tables, name):
    """Return one column of all tables without its unit, of shape (n_tables, n_rows)."""
    return np.array([getattr(table[name], "value", table[name]) for table in tables])
