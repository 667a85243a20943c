"""Spaces and wavelengths of the two training grids of the TransformerPayne paper."""

import numpy as np

from sk_payne.grids._parameter_space import ParameterSpace

__all__ = ["paper_pretraining", "paper_training", "paper_wavelengths"]

_ELEMENTS = tuple("C O Na Mg Al Si K Ca Sc Ti V Cr Mn Fe Co Ni Ba".split())
_STELLAR = {"teff": (4000.0, 6000.0), "logg": (4.0, 5.0)}
# The upper limit is twice the solar value.
_HELIUM = {"N_He/N_tot": (0.0, 0.1568)}
_X_H = (-2.0, 1.0)


def paper_training(elements=_ELEMENTS):
    """Return the space of the training grid of TransformerPayne.

    Teff 4000-6000 K, log g 4-5, helium N_He/N_tot 0-0.1568 and every other [X/H]
    from -2 to 1, all independent; microturbulence 0.

    Parameters
    ----------
    elements : sequence of str
        Elements that vary besides helium. By default C, O, Na, Mg, Al, Si, K, Ca, Sc,
        Ti, V, Cr, Mn, Fe, Co, Ni and Ba: the 13 whose recovery the paper tabulates,
        and four more of the shipped grid.

    Returns
    -------
    space : ParameterSpace
        With labels "teff", "logg", "N_He/N_tot", "C_H", ..., and "vmic" fixed.

    See Also
    --------
    paper_pretraining : The grid to train on before this one.
    paper_wavelengths : Wavelengths of its spectra.
    sk_payne.datasets.load_sme_grid : A grid in the same ranges, without helium.

    Notes
    -----
    The paper used up to 100 000 spectra.

    References
    ----------
    Różański, Ting & Jabłońska (2024), arXiv:2407.05751.

    Examples
    --------
    >>> from sk_payne.grids import paper_training
    >>> space = paper_training()
    >>> space.label_names[:4], len(space.label_names), space.fixed
    (['teff', 'logg', 'N_He/N_tot', 'C_H'], 20, {'vmic': 0.0})
    >>> space.sample(100_000, random_state=0).shape
    (100000, 20)
    """
    return ParameterSpace(_STELLAR | _abundances(elements), fixed={"vmic": 0.0})


def paper_pretraining(elements=_ELEMENTS):
    """Return the space of the pretraining grid of TransformerPayne.

    As :func:`paper_training`, but only abundances vary: Teff is 5000 K and log g 4.5.

    Parameters
    ----------
    elements : sequence of str
        Elements that vary besides helium, as in :func:`paper_training`.

    Returns
    -------
    space : ParameterSpace
        With labels "N_He/N_tot", "C_H", ..., and "teff", "logg" and "vmic" fixed.

    See Also
    --------
    sk_payne.FineTunedEmulator : Transfers a network from this grid to the other one.

    References
    ----------
    Różański, Ting & Jabłońska (2024), arXiv:2407.05751.

    Examples
    --------
    >>> from sk_payne.grids import paper_pretraining
    >>> paper_pretraining().fixed
    {'teff': 5000.0, 'logg': 4.5, 'vmic': 0.0}
    """
    fixed = {"teff": 5000.0, "logg": 4.5, "vmic": 0.0}
    return ParameterSpace(_abundances(elements), fixed=fixed)


def paper_wavelengths():
    """Return the wavelengths of both grids of TransformerPayne.

    Returns
    -------
    wavelength : ndarray of shape (22315,)
        Wavelengths in Å from 4000 up to 5000 in steps of 1e-5 in the natural logarithm,
        that is, at R = 100 000.

    Notes
    -----
    We did not find whether they are in air or in vacuum: choose one and state it.
    Range and step leave the last wavelength at 4999.98 Å.

    References
    ----------
    Różański, Ting & Jabłońska (2024), arXiv:2407.05751.

    Examples
    --------
    >>> from sk_payne.grids import paper_wavelengths
    >>> wavelength = paper_wavelengths()
    >>> print(len(wavelength), wavelength[[0, -1]].round(3))
    22315 [4000.    4999.982]
    """
    return 4000.0 * np.exp(1e-5 * np.arange(22315))


def _abundances(elements):
    if isinstance(elements, str):
        raise ValueError(
            "`elements` must be a sequence of names; got the single string "
            f"{elements!r}. Pass ({elements!r},) instead."
        )
    return _HELIUM | {f"{element}_H": _X_H for element in elements}
