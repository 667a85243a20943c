"""PySMEEngine: LTE synthesis with PySME, from a line list and model atmospheres."""

import hashlib
import warnings

import numpy as np
from scipy.interpolate import make_interp_spline
from scipy.ndimage import gaussian_filter1d

from sk_payne.grids._synthesis import describe_engine

__all__ = ["PySMEEngine"]

_BOLTZMANN = 1.380649e-16  # erg/K
_SOLAR = "asplund2009"
_HELIUM, _NOTHING = "N_He/N_tot", 1e-50
_N_ANGLES = 5
# Ratio of line to continuum opacity below which wings are left out; with 1e-3, the
# missing weak wings lift the continuum by 1e-3.
_WEAKEST = 1e-4
# Å outside the wavelength range within which lines count; hydrogen lines always count.
# With 5 Å, the wing of Sr I 4607 would be missing at 4600 Å: 1e-3 of the continuum.
_MARGIN = 15.0
# Standard deviations at which Gaussians are cut; a cut at four loses 6e-5.
_REACH = 6.0
_SIGMA_PER_FWHM = 1 / np.sqrt(8 * np.log(2))


class PySMEEngine:
    """Synthesis of plane-parallel stars in LTE by PySME.

    Labels: `teff` (K), `logg` (dex of cm/s2), `vmic` (km/s; 1 by default), `X_H` for
    the abundance [X/H] of any element in dex, and `N_He/N_tot`, the number fraction of
    helium. Metals without a label, and the metallicity of the atmosphere, follow
    `Fe_H`. Abundances are relative to the Sun of Asplund et al. (2009). Electron
    densities are computed from the abundances of the star, not taken from the
    atmosphere.

    Parameters
    ----------
    line_list : mapping of str to array
        Dictionary or table with the columns `species` ("Fe 1" is neutral),
        `wavelength` (Å), `e_lower` (eV), `log_gf`, `gamma_rad`, `gamma_stark` and
        `gamma_vdw` (logarithms; NaN or 0 if unknown; a `gamma_vdw` above 20 holds
        cross-section and exponent of Anstee, Barklem and O'Mara).
    atmospheres : callable
        Takes Teff, log g and [M/H] and returns layers, as :class:`AtmosphereGrid` does.
    medium : {"air", "vacuum"}
        Medium of the wavelengths of the lines, and so of the spectra.
    resolving_power : float, default=None
        R of a Gaussian instrument. If None, spectra are not broadened.
    step : float, default=2e-6
        Spacing of wavelengths, in ln(wavelength), before spectra are broadened. At R =
        50 000 and a microturbulence of 1 km/s the default has an error of 2e-5 of the
        continuum; 5e-6 takes half the time, with errors up to 0.006.

    Raises
    ------
    ValueError
        If `medium` is unknown, or `step` is not a positive number.

    See Also
    --------
    build_grid : Compute a grid with an engine.

    Notes
    -----
    PySME is needed: ``pip install 'sk_payne[sme]'``. It keeps files in the folder
    ``.sme`` of the home directory. PySME computes one spectrum at a time in each
    process, so a Dask cluster needs ``threads_per_worker=1``.

    PySME ends its process if the equation of state does not converge: pass 2 or more
    for `n_jobs` of :func:`build_grid`, which then records a failure. We saw it in 4 of
    200 dwarfs, in layers so deep that no light leaves them; without the five deepest of
    the 72 layers of ATLAS9, all four converged.

    References
    ----------
    .. [1] Wehrhahn, Piskunov & Ryabchikova 2023, A&A 671, A171.
    .. [2] Piskunov & Valenti 2017, A&A 597, A16.

    Examples
    --------
    >>> from sk_payne.grids import PySMEEngine
    >>> PySMEEngine({}, None, medium="water")
    Traceback (most recent call last):
    ValueError: `medium` must be 'air' or 'vacuum'; got 'water'. ...
    """

    # One library per process, and the engine and wavelength range of the lines in it.
    _library, _held = None, None

    def __init__(
        self, line_list, atmospheres, *, medium, resolving_power=None, step=2e-6
    ):
        if medium not in ("air", "vacuum"):
            raise ValueError(
                f"`medium` must be 'air' or 'vacuum'; got {medium!r}. It is the medium "
                "of the line list."
            )
        if not 0 < step < np.inf:
            raise ValueError(
                f"`step` must be a positive number, in ln(wavelength); got {step!r}. "
                "Leave it out for 2e-6."
            )
        self.lines = {
            "species": np.array(line_list["species"], dtype=str),
            "wlcent": _values(line_list, "wavelength", "angstrom"),
            "excit": _values(line_list, "e_lower", "eV"),
            "gflog": _values(line_list, "log_gf"),
            "gamrad": np.nan_to_num(_values(line_list, "gamma_rad")),
            "gamqst": np.nan_to_num(_values(line_list, "gamma_stark")),
            "gamvw": np.nan_to_num(_values(line_list, "gamma_vdw")),
        }
        self.atmospheres = atmospheres
        self.medium = medium
        self.resolving_power = resolving_power
        self.step = step

    def __call__(self, labels, wavelength):
        """Compute one spectrum.

        Parameters
        ----------
        labels : dict of str to float
            Labels of the star.
        wavelength : ndarray of shape (n_wavelengths,)
            Wavelengths in Å.

        Returns
        -------
        flux : ndarray of shape (n_wavelengths,)
            Normalised flux.

        Raises
        ------
        ValueError
            If a label is unknown, or the star is outside the grid of atmospheres.
        """
        if self.resolving_power is None:
            return self._synthesise(labels, wavelength)
        sigma = _SIGMA_PER_FWHM / self.resolving_power / self.step
        first, last = np.log(wavelength[[0, -1]])
        n_margin = int(_REACH * sigma) + 3
        n_steps = int((last - first) / self.step) + n_margin
        log_fine = first + self.step * np.arange(-n_margin, n_steps + 1)
        flux = self._synthesise(labels, np.exp(log_fine))
        flux = gaussian_filter1d(flux, sigma, mode="nearest", truncate=_REACH)
        # linear interpolation would cut the cores of lines by 2e-3
        return make_interp_spline(log_fine, flux, k=3)(np.log(wavelength))

    def to_dict(self):
        """Describe the engine, for the provenance of a grid.

        Returns
        -------
        description : dict
            Settings, and checksums of lines and atmospheres.
        """
        digest = hashlib.sha256()
        for column in self.lines.values():
            digest.update(column.tobytes())
        return {
            "engine": "PySMEEngine",
            "n_lines": len(self.lines["species"]),
            "lines_sha256": digest.hexdigest(),
            "atmospheres": describe_engine(self.atmospheres),
            "medium": self.medium,
            "resolving_power": self.resolving_power,
            "step": self.step,
        }

    def _synthesise(self, labels, wavelength):
        library = self._start(wavelength[0], wavelength[-1])
        teff, log_g, vmic = labels["teff"], labels["logg"], labels.get("vmic", 1.0)
        atmosphere = self._atmosphere(teff, log_g, labels.get("Fe_H", 0.0), vmic)
        with warnings.catch_warnings():
            # electron densities are computed anew on purpose
            warnings.filterwarnings("ignore", message=".*electron density differs")
            library.InputModel(teff, log_g, vmic, atmosphere)
            library.InputAbund(_abundances(labels))
            library.Ionization(7)
        library.InputWaveRange(wavelength[0], wavelength[-1])
        library.Opacity()
        x, weights = np.polynomial.legendre.leggauss(_N_ANGLES)
        mu = (x + 1) / 2
        _, _, lines, continuum = library.Transf(mu, wave=wavelength, accrt=_WEAKEST)
        return (weights * mu @ lines) / (weights * mu @ continuum)

    def _start(self, first, last):
        """Return the library of this process, with the lines of this range in it."""
        if PySMEEngine._held != (self, first, last):
            sme_synth, linelist = _import_pysme()
            near = abs(self.lines["wlcent"] - (first + last) / 2) <= (
                (last - first) / 2 + _MARGIN
            )
            near |= self.lines["species"] == "H 1"
            library = sme_synth.SME_DLL()
            library.SetVWscale(1.0)
            library.SetH2broad(True)
            library.SetContinuumOpacityGrid(1)
            library.InputLineList(_as_line_list(linelist, self.lines, near))
            PySMEEngine._library = library
            PySMEEngine._held = (self, first, last)
        return PySMEEngine._library

    def _atmosphere(self, teff, log_g, metallicity, vmic):
        from pysme.atmosphere.atmosphere import Atmosphere

        layers = self.atmospheres(teff, log_g, metallicity)
        column_mass, temperature, pressure, electrons = layers.T
        atoms = pressure / (_BOLTZMANN * temperature) - electrons
        return Atmosphere(
            teff=teff, logg=log_g, vturb=vmic, geom="PP", depth="RHOX", interp="RHOX",
            rhox=column_mass, temp=temperature, xne=electrons, xna=atoms,
            rho=2.2e-24 * atoms, wlstd=5000.0,
        )  # fmt: skip


def _values(line_list, name, unit=None):
    column = line_list[name]
    if unit is not None and getattr(column, "unit", None) is not None:
        column = column.to_value(unit) if hasattr(column, "to_value") else column
    return np.array(column, dtype=np.float64)


def _import_pysme():
    try:
        from pysme import sme_synth
        from pysme.linelist import linelist
    except ImportError as error:
        raise ImportError(
            "PySMEEngine needs PySME. Install it with `pip install 'sk_payne[sme]'`."
        ) from error
    return sme_synth, linelist


def _as_line_list(linelist, lines, rows):
    from pandas import DataFrame

    table = DataFrame({name: column[rows] for name, column in lines.items()})
    table = table.sort_values("wlcent", ignore_index=True)
    table["atom_number"] = 1.0
    table["ionization"] = [float(name.split()[1]) for name in table["species"]]
    return linelist.LineList(
        table.assign(lande=0.0, depth=0.5, reference="", error=0.0),
        lineformat="short",
        medium="air",  # ignored by the library
    )


def _abundances(labels):
    """Return abundances A(X), on the scale on which hydrogen is 12."""
    from pysme.abund import Abund, elements

    others = {"teff", "logg", "vmic", _HELIUM}
    unknown = labels.keys() - others - {f"{element}_H" for element in elements[2:]}
    if unknown:
        raise ValueError(
            f"Labels must be teff, logg, vmic, {_HELIUM} or [X/H] such as Fe_H; got "
            f"{sorted(unknown)}. Rename them, or leave them out."
        )
    pattern = dict(Abund(0, _SOLAR)("H=12"))
    for element in elements[2:]:
        pattern[element] += labels.get(f"{element}_H", labels.get("Fe_H", 0.0))
    if _HELIUM in labels:
        numbers = [10.0 ** (pattern[e] - 12) for e in elements if e != "He"]
        ratio = labels[_HELIUM] / (1 - labels[_HELIUM])
        pattern["He"] = 12 + np.log10(max(ratio * np.nansum(numbers), _NOTHING))
    return Abund(0, pattern, "H=12")
