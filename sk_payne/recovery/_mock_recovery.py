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
    """Measure stars of known labels, and test the errors claimed for them.

    Errors are right if they describe how far results are from the truth: label by
    label, and jointly. Unless spectra are given, the regressor's own emulator makes
    them. They are broadened, shifted, multiplied by a continuum and given Gaussian
    noise, each as far as the regressor fits it; the regressor measures them, with the
    error of the emulator left out.

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
    spectra : spectra, default=None
        Spectra of `labels` as :meth:`AbundanceRegressor.measure` takes them, in any
        number of arms, which the regressor measures as it is set up. If they have
        uncertainties, they are measured as they are, and `snr` is their median. If
        they have none, they must be normalised and free of noise, which is added at
        each `snr`.
    snr : float or array-like of shape (n_snr,), default=(50, 100, 300)
        Signal-to-noise ratios per pixel in the continuum.
    n_stars : int, default=300
        Stars to draw, if there are no `labels`.
    wavelength : array-like of shape (n_observed,) or list of them, default=None
        Observed wavelengths in Å, in the medium of the emulator; a list with those of
        each arm, if there are several. If None, its grid.
    vsini, vmac : float or tuple of float, default=None
        Rotation and macroturbulence of the stars in km/s, or limits to draw them from
        uniformly. If None, those of the regressor.
    velocity : float or tuple of float, default=None
        Radial velocity in km/s, likewise. If None, the `velocity_range` of the
        regressor between -200 and 200. With `spectra`, `vsini`, `vmac` and `velocity`
        are one known number or one for each star; if None, they are not judged.
    samples : int, default=None
        Samples of the posterior to draw for each star and S/N, for ranks under them.
        If None, none are drawn.
    sampler : {"importance", "emcee"}, default="importance"
        Of :meth:`AbundanceRegressor.posterior`.
    random_state : int, RandomState instance or None, default=None
        Determines the stars, their noise, samples, and points of TARP.

    Returns
    -------
    recovery : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        snr : ndarray of shape (n_snr,)
            As asked for.
        label_names, label_units : list of str
            Of the parameters: first the labels, then what else is fitted and known of
            "vsini", "vmac", "radial_velocity" and "velocity_offset_1" and so on.
        n_labels : int
            Number of labels.
        true : ndarray of shape (n_stars, n_parameters)
            Of the stars.
        measured, error : ndarray of shape (n_snr, n_stars, n_parameters)
            What the regressor found, and the standard deviations that it claims; NaN
            for stars without data.
        covariance : ndarray of shape (n_snr, n_stars, n_parameters, n_parameters)
            Covariances that the regressor claims.
        error_dof : ndarray of shape (n_snr, n_stars)
            Degrees of freedom of Student's t distribution that errors follow, if
            tables have that column; infinite for normal errors.
        interval : ndarray of shape (n_snr, n_stars, n_parameters, 2) or None
            Ends of the middle 68 % of the posterior, if the regressor gives means.
        chi2, dof, flags : ndarray of shape (n_snr, n_stars)
            As in :meth:`sk_payne.AbundanceRegressor.measure`.
        distance, n_free : ndarray of shape (n_snr, n_stars)
            Squared Mahalanobis distance of the labels from the truth, and how many of
            them are free: see :func:`joint_distance`.
        joint : ndarray of shape (n_snr, n_stars)
            Probability of a smaller distance: see :func:`joint_probability`.
        rank : ndarray of shape (n_snr, n_stars, n_parameters)
            Part of the normal or t distribution claimed that is below the truth.
        sample_rank : ndarray of shape (n_snr, n_stars, n_parameters) or None
            Part of the posterior samples that is below the truth.
        tarp : ndarray of shape (n_snr, n_stars)
            Level of the credible region of all labels, around a random point, at whose
            edge the truth is; by the samples, or else by draws of what is claimed.
        verdict : list of str
            As of :func:`recovery_verdict`.

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
    recovery_verdict : What is wrong, in words.
    sk_payne.inspection.CalibrationDisplay : A figure of coverage, ranks and TARP.
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

    If errors are right, `joint`, `rank`, `sample_rank` and `tarp` are uniform between 0
    and 1 over the stars. Ranks under samples are simulation-based calibration [1]_, of
    which `rank` is the closed form for normal errors. `tarp` is the test of expected
    coverage of Lemos et al. [2]_. The random point of a star is drawn from the
    distribution claimed for it, and distances are those in its covariance. Bounds of
    labels are not part of the distribution claimed: those of labels that hardly show
    have ranks that are too even, or pile up in the middle. Samples by importance are
    worth fewer than `samples` independent ones; take some hundred.

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
            "`second_star` of the observation must be None: mock stars are single. Set "
            "it so in a copy: errors of single stars hold alike."
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
        stars.regressor.measure(some, return_cov=True) for some in stars.spectra
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
    """Join tables, with covariances, of the same stars."""
    tables, covariance = zip(*measured, strict=True)
    columns = tables[0].colnames
    every = [name for name in columns if f"{name}_error" in columns]
    own = np.array([every.index(name) for name in names])
    error_dof = np.full((len(tables), len(tables[0])), np.inf)
    if "error_dof" in columns:
        error_dof = _column(tables, "error_dof")
    return Bunch(
        measured=np.stack([_column(tables, n) for n in names], axis=-1),
        error=np.stack([_column(tables, f"{n}_error") for n in names], axis=-1),
        covariance=np.stack(covariance)[..., own[:, None], own],
        error_dof=error_dof,
        interval=_intervals(tables, names),
        **{name: _column(tables, name) for name in ("chi2", "dof", "flags")},
    )


def _draw_samples(stars, names, n, sampler, rng):
    """Draw samples of the posterior of all stars at each S/N."""
    found = []
    for some in stars.spectra:
        posterior = stars.regressor.posterior(
            some, sampler=sampler, n_draws=n, random_state=rng
        )
        own = [posterior.label_names.index(name) for name in names]
        found.append(posterior.samples[..., own])
    return found


def _check_samples(samples):
    if samples is not None and not (isinstance(samples, Integral) and samples >= 2):
        raise ValueError(
            f"`samples` must be None or an integer of at least 2; got {samples!r}."
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
