"""Analytic spectra for tests and tutorials, computed in milliseconds."""

from numbers import Integral, Real

import numpy as np
from scipy.special import voigt_profile
from sklearn.utils import Bunch, check_random_state

__all__ = ["make_spectra"]

# Atomic number and mass in proton masses of each element on offer.
_ELEMENTS = {
    "C": (6, 12.0),
    "O": (8, 16.0),
    "Na": (11, 23.0),
    "Mg": (12, 24.3),
    "Al": (13, 27.0),
    "Si": (14, 28.1),
    "K": (19, 39.1),
    "Ca": (20, 40.1),
    "Sc": (21, 45.0),
    "Ti": (22, 47.9),
    "V": (23, 50.9),
    "Cr": (24, 52.0),
    "Mn": (25, 54.9),
    "Fe": (26, 55.8),
    "Co": (27, 58.9),
    "Ni": (28, 58.7),
    "Ba": (56, 137.3),
}
_RANGES = {"teff": (4000.0, 6000.0), "logg": (4.0, 5.0)}
_ABUNDANCE_RANGE = (-2.0, 1.0)
_SUN_LIKE = {"teff": 5000.0, "logg": 4.5}

_SPEED_OF_LIGHT = 299792.458  # km/s
_WING = 2.0  # Å on either side of a line, in addition to the instrument's width
_LINE_TYPE = [
    ("wavelength", float),
    ("element", "U2"),
    ("excitation", float),
    ("strength", float),
]

_DESCR = """\
Analytic spectra
----------------

These spectra are toys for tests and tutorials. They are not physics: positions,
excitation energies and strengths of the lines are made up, and the stars have no
atmospheres. Do not compare them with observations.

They behave like spectra where it matters to a program. Lines belong to one element
each and stay at the same wavelengths in air; they grow with the abundance of the
element, first linearly, then hardly, then as a square root; lines of low excitation
fade in hot stars; gravity widens the wings; heat and the instrument widen the core.
Flux is 1 in the continuum, never reaches 0 without noise, and is a smooth function of
every label.
"""


def make_spectra(
    n_spectra=100,
    *,
    n_wavelengths=257,
    wavelength_range=(4500.0, 4520.0),
    label_names=("teff", "logg", "Fe_H", "Mg_H", "Ca_H"),
    resolving_power=20000,
    snr=None,
    random_state=None,
    return_X_y=False,
):
    """Make analytic spectra of made-up lines, for tests and tutorials.

    Stellar parameters are drawn uniformly: Teff 4000-6000 K, log g 4-5, and each
    [X/H] from -2 to 1. The lines do not depend on `random_state`, and those of one
    element do not depend on the choice of other elements.

    Parameters
    ----------
    n_spectra : int, default=100
        Number of spectra.
    n_wavelengths : int, default=257
        Number of pixels, at least 2, evenly spaced in the logarithm of wavelength.
    wavelength_range : tuple of two floats, default=(4500.0, 4520.0)
        First and last wavelength in Å, in air.
    label_names : sequence of str, default=("teff", "logg", "Fe_H", "Mg_H", "Ca_H")
        Columns of P: "teff", "logg", and at least one of "C_H", "O_H", "Na_H",
        "Mg_H", "Al_H", "Si_H", "K_H", "Ca_H", "Sc_H", "Ti_H", "V_H", "Cr_H",
        "Mn_H", "Fe_H", "Co_H", "Ni_H", "Ba_H". An element that is not named has no
        lines; without "teff" or "logg" all stars have 5000 K or 4.5.
    resolving_power : float, default=20000
        R = wavelength / FWHM of the Gaussian instrument.
    snr : float, default=None
        Signal-to-noise ratio per pixel, in the continuum. Gaussian noise of standard
        deviation 1/snr is added to every pixel. None adds no noise.
    random_state : int, RandomState instance or None, default=None
        Seed of the stellar parameters and the noise. Pass an int for the same result
        in every call. The stellar parameters do not depend on `snr`.
    return_X_y : bool, default=False
        If True, return ``(P, F)`` instead of a Bunch.

    Returns
    -------
    spectra : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with the attributes

        data : ndarray of shape (n_spectra, n_labels)
            Stellar parameters P, in the order of `label_names`.
        target : ndarray of shape (n_spectra, n_wavelengths)
            Flux F, continuum-normalised: in (0, 1] without noise.
        wavelength : ndarray of shape (n_wavelengths,)
            Wavelength in Å, in air.
        label_names, label_units : list of str
            Names and units of the columns of `data`; log g is in dex of cm/s2.
        medium : str
            "air".
        resolving_power : float
            R of the spectra.
        lines : ndarray of shape (n_lines,), structured
            Fields "wavelength" (Å, air), "element", "excitation" (eV) and
            "strength" (logarithm of the line opacity of a star of solar composition
            at 5000 K), sorted by wavelength.
        uncertainty : ndarray of shape (n_spectra, n_wavelengths) or None
            Standard deviation of the noise; None without noise.
        DESCR : str
            Description of the spectra and their limits.

    (P, F) : tuple
        The stellar parameters and the flux alone, if `return_X_y` is True.

    Raises
    ------
    ValueError
        If a parameter is out of its range, or a label is unknown or named twice.

    See Also
    --------
    load_sme_grid : Synthetic spectra with physics.

    Examples
    --------
    >>> from sk_payne.datasets import make_spectra
    >>> P, F = make_spectra(n_spectra=7, random_state=0, return_X_y=True)
    >>> P.shape, F.shape
    ((7, 5), (7, 257))
    >>> bool(F.min() > 0), bool(F.max() <= 1)
    (True, True)
    >>> stars = make_spectra(label_names=("teff", "Fe_H"), snr=100, random_state=0)
    >>> stars.label_units
    ['K', 'dex']
    >>> sorted(set(stars.lines["element"].tolist()))
    ['Fe']
    """
    _check_integer("n_spectra", n_spectra, 1)
    _check_integer("n_wavelengths", n_wavelengths, 2)
    _check_positive("resolving_power", resolving_power)
    if snr is not None:
        _check_positive("snr", snr)
    low, high = _check_range(wavelength_range)
    label_names = _check_labels(label_names)

    rng = check_random_state(random_state)
    limits = np.array([_RANGES.get(name, _ABUNDANCE_RANGE) for name in label_names])
    data = rng.uniform(limits[:, 0], limits[:, 1], (n_spectra, len(label_names)))
    wavelength = np.geomspace(low, high, n_wavelengths)
    margin = _reach(high, resolving_power)
    lines = _line_list(low - margin, high + margin, label_names)
    columns = {name: data[:, [i]] for i, name in enumerate(label_names)}
    target = _flux(columns, wavelength, lines, resolving_power)
    uncertainty = None
    if snr is not None:
        uncertainty = np.full_like(target, 1.0 / snr)
        target = target + rng.normal(scale=uncertainty)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        wavelength=wavelength,
        label_names=label_names,
        label_units=["K" if name == "teff" else "dex" for name in label_names],
        medium="air",
        resolving_power=float(resolving_power),
        lines=lines,
        uncertainty=uncertainty,
        DESCR=_DESCR,
    )


def _line_list(low, high, label_names):
    """Draw lines between two wavelengths from low-discrepancy sequences."""
    lines = []
    for element in (name[:-2] for name in label_names if name not in _RANGES):
        number = _ELEMENTS[element][0]
        # 2 to 3 Å, different for each element, or two elements would be blended in the
        # same way everywhere.
        spacing = 2.0 + np.modf(number * np.sqrt(7.0))[0]
        for k in range(int(low / spacing) - 1, int(high / spacing) + 1):
            # Fractional parts of multiples of irrationals (Weyl): the list is always
            # the same, as it needs no random generator.
            a, b, c = np.modf((k + 97 * number) * np.sqrt([2.0, 3.0, 5.0]))[0]
            position = spacing * (k + a)
            if low <= position <= high:
                lines.append((position, element, 5.0 * b, 2.5 * c - 1.0))
    return np.array(sorted(lines), dtype=_LINE_TYPE)


def _reach(position, resolving_power):
    """Half width in Å of the window in which a line absorbs.

    It depends on the line alone, so that flux does not depend on the wavelength range.
    """
    return _WING + 3.0 * position / resolving_power


def _flux(columns, wavelength, lines, resolving_power):
    """Flux of shape (n_spectra, n_wavelengths): the exponential of Voigt profiles.

    The strength of a line is eta, the ratio of line to continuum opacity. With theta =
    5040 K / Teff, excitation multiplies eta by 10**(-E theta), and ionisation of the
    element by about 10**(3 theta), both relative to 5000 K.
    """
    teff = columns.get("teff", np.full((1, 1), _SUN_LIKE["teff"]))
    logg = columns.get("logg", np.full((1, 1), _SUN_LIKE["logg"]))
    theta = 5040.0 / teff - 5040.0 / _SUN_LIKE["teff"]
    pressure = 10.0 ** (0.5 * (logg - _SUN_LIKE["logg"]))
    n_spectra = max(len(column) for column in columns.values())
    optical_depth = np.zeros((n_spectra, len(wavelength)))
    for position, element, excitation, strength in lines.tolist():
        abundance = columns[f"{element}_H"]
        eta = 10.0 ** (strength + abundance + (3.0 - excitation) * theta)
        sigma = _gaussian_width(position, element, teff, resolving_power)
        reach = _reach(position, resolving_power)
        near = slice(*np.searchsorted(wavelength, [position - reach, position + reach]))
        profile = voigt_profile(wavelength[near] - position, sigma, 0.01 * pressure)
        optical_depth[:, near] += _equivalent_width(eta, pressure) * profile
    return np.exp(-optical_depth)


def _gaussian_width(position, element, teff, resolving_power):
    """Add up instrument, heat and 1 km/s of microturbulence: one sigma, in Å."""
    mass = _ELEMENTS[element][1]
    thermal = 0.0911**2 * teff / mass  # k / m of the proton is (0.0911 km/s)**2 / K
    instrument = _SPEED_OF_LIGHT / resolving_power / np.sqrt(8.0 * np.log(2.0))
    speed = np.sqrt(instrument**2 + thermal + 0.5)
    return position * speed / _SPEED_OF_LIGHT


def _equivalent_width(eta, pressure):
    """Equivalent width in Å: linear in eta, then logarithmic, then a square root."""
    damping = 0.02 * pressure
    return 0.04 * (np.log1p(eta) + np.sqrt(1.0 + damping * eta) - 1.0)


def _check_integer(name, value, least):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(
            f"`{name}` must be an integer of at least {least}; got {value!r}."
        )


def _check_positive(name, value):
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 < value < np.inf:
        raise ValueError(
            f"`{name}` must be a positive, finite number; got {value!r}."
            + (" Pass None for spectra without noise." if name == "snr" else "")
        )


def _check_range(wavelength_range):
    problem = ValueError(
        "`wavelength_range` must be two increasing, positive wavelengths in Å, such "
        f"as (4500.0, 4520.0); got {wavelength_range!r}."
    )
    try:
        low, high = (float(value) for value in wavelength_range)
    except (TypeError, ValueError):
        raise problem from None
    if not 0 < low < high < np.inf:
        raise problem
    return low, high


def _check_labels(label_names):
    if isinstance(label_names, str):
        raise ValueError(
            "`label_names` must be a sequence of names; got the single string "
            f"{label_names!r}. Pass ({label_names!r},) instead."
        )
    names = list(label_names)
    known = [*_RANGES, *(f"{element}_H" for element in _ELEMENTS)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"`label_names` must be among {known}; got {unknown} as well.")
    if len(set(names)) < len(names):
        raise ValueError(
            f"`label_names` must not repeat a name; got {names}. Name each label once."
        )
    if not set(names) - set(_RANGES):
        raise ValueError(
            "`label_names` must hold at least one abundance, or there are no lines; "
            f'got {names}. Add one, such as "Fe_H".'
        )
    return names
