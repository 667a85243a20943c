"""SpectrumSet: n spectra as padded arrays that scikit-learn's splitters can index.

specutils' containers cannot be split by row, and models want arrays.
"""

import numpy as np

from sk_payne.spectra._frame import agreed_frame
from sk_payne.spectra._joining import (
    join_frames,
    join_matrices,
    join_powers,
    join_wavelengths,
    kind,
)
from sk_payne.spectra._medium import check_medium
from sk_payne.spectra._set_checks import (
    checked_per_pixel,
    checked_rows,
    checked_rows_key,
    checked_wavelength,
)
from sk_payne.spectra._to_spectrum import spectrum_of_row

__all__ = ["SpectrumSet"]


class SpectrumSet:
    """Spectra of n stars as arrays, one row each.

    Sets are not changed: methods return new ones. `as_spectra` makes a set.

    Parameters
    ----------
    flux : array-like of float, shape (n, p)
        Flux, finite everywhere (0 at bad pixels and padding).
    ivar : array-like of float, shape (n, p)
        Inverse variance of the flux, finite and not negative. 0 means no
        information: a bad pixel or padding. Rows without a known uncertainty hold 1
        at their good pixels.
    wavelength : None or array-like of float, shape (p,) or (n, p), default=None
        Wavelengths in Å, strictly increasing along each row, shared or one row per
        spectrum. None means the wavelengths of the model that reads the set.
    medium : None, "air" or "vacuum", default=None
        Medium of `wavelength`. None means unknown.
    has_uncertainty : bool or array-like of bool, shape (n,), default=True
        Whether the `ivar` of a row comes from a known uncertainty.
    n_pixels : None or array-like of int, shape (n,), default=None
        Number of pixels of each row before its padding. None means no padding.
    arm : None or array-like of int, shape (p,) or (n, p), default=None
        Number of the arm of the spectrograph of each pixel, from 0. Arms come one after
        the other, with increasing wavelengths, and may overlap. None means one arm.
    resolving_power : None or array-like of float, shape (n, p), default=None
        Wavelength over full width at half maximum, NaN where it is not known.
    resolution_matrix : None or array-like of float, shape (n, p, d), default=None
        Resolution matrix by rows: weight of pixel i + k - d // 2 in the flux seen at
        pixel i; d is odd.
    frame : None or array-like of str, shape (n,), default=None
        Frame of the wavelengths of each spectrum: "rest" (the star),
        "barycentric", "heliocentric" or "topocentric", "" where it is not known.

    Attributes
    ----------
    flux, ivar : ndarray of float64, shape (n, p)
        As above.
    has_uncertainty, n_pixels : ndarray of bool and of int, shape (n,)
        As above.
    wavelength, medium, arm, resolving_power, resolution_matrix, frame : object
        As above: arrays, or None.

    Raises
    ------
    ValueError
        If shapes disagree, flux or ivar is not finite, ivar is negative, wavelengths
        do not increase strictly in an arm, or the medium is unknown.

    See Also
    --------
    as_spectra : Make a set from anything that holds spectra.

    Notes
    -----
    Indexing always selects rows and gives a set: an int gives a set of one spectrum.
    Arrays that are float64 already are kept without a copy.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.spectra import SpectrumSet
    >>> spectra = SpectrumSet(np.ones((5, 3)), np.full((5, 3), 1e4))
    >>> spectra[[0, 2]].shape
    (2, 3)
    >>> spectra
    SpectrumSet(5 spectra of 3 pixels on the model's own wavelengths)
    """

    def __init__(
        self,
        flux,
        ivar,
        *,
        wavelength=None,
        medium=None,
        has_uncertainty=True,
        n_pixels=None,
        arm=None,
        resolving_power=None,
        resolution_matrix=None,
        frame=None,
    ):
        self.flux = checked_rows(flux, "flux")
        self.ivar = checked_rows(ivar, "ivar")
        n, p = self.flux.shape
        if self.ivar.shape != (n, p):
            raise ValueError(
                f"`ivar` must have the shape of `flux`, {(n, p)}; "
                f"got {self.ivar.shape}. Pass one inverse variance per pixel."
            )
        if n and self.ivar.size and self.ivar.min() < 0:
            raise ValueError(
                f"`ivar` must not be negative; got {self.ivar.min()}. "
                "Pass 0 where a pixel holds no information."
            )
        self.arm = None if arm is None else np.asarray(arm, dtype=np.intp)
        self.wavelength = checked_wavelength(wavelength, n, p, self.arm)
        self.medium = None if medium is None else check_medium(medium)
        self.has_uncertainty = np.array(np.broadcast_to(has_uncertainty, n), dtype=bool)
        self.n_pixels = np.array(
            np.broadcast_to(p if n_pixels is None else n_pixels, n), dtype=np.intp
        )
        self.resolving_power = checked_per_pixel(
            "resolving_power", resolving_power, (n, p)
        )
        self.resolution_matrix = checked_per_pixel(
            "resolution_matrix", resolution_matrix, (n, p)
        )
        self.frame = None if frame is None else np.array(frame, dtype=str)
        if frame is not None and self.frame.shape != (n,):
            raise ValueError(
                f"`frame` must have the shape {(n,)}, one word for each spectrum; got "
                f"{self.frame.shape}."
            )

    @classmethod
    def from_specutils(cls, spectra, *, medium=None):
        """Make a set from specutils objects.

        Parameters
        ----------
        spectra : specutils Spectrum, SpectrumList, SpectrumCollection or list
            Spectra as `as_spectra` takes them, with or without uncertainties.
        medium : None, "air" or "vacuum", default=None
            Medium of their wavelengths, when ``meta["medium"]`` does not say it.

        Returns
        -------
        spectra : SpectrumSet
            The same spectra, on increasing wavelengths in Å.

        Raises
        ------
        TypeError
            If `spectra` holds no wavelengths.

        Examples
        --------
        >>> import numpy as np
        >>> from astropy import units as u
        >>> from specutils import Spectrum
        >>> from sk_payne.spectra import SpectrumSet
        >>> star = Spectrum(
        ...     flux=np.ones(3) * u.dimensionless_unscaled,
        ...     spectral_axis=[500.0, 500.1, 500.2] * u.nm,
        ... )
        >>> SpectrumSet.from_specutils([star], medium="air").wavelength
        array([5000., 5001., 5002.])
        """
        # as_spectra itself returns a SpectrumSet
        from sk_payne.spectra._as_spectra import as_spectra

        found = as_spectra(spectra, medium=medium, require_uncertainty=False)
        if found.wavelength is None:
            raise TypeError(
                "`spectra` must be specutils objects, which know their wavelengths; "
                f"got {type(spectra).__name__}. Use as_spectra for plain arrays."
            )
        return found

    @classmethod
    def concatenate(cls, sets):
        """Join sets, one below the other.

        Parameters
        ----------
        sets : sequence of SpectrumSet
            At least one; all in the same medium. Either all have wavelengths, which
            may differ, or none has any and all have as many pixels.

        Returns
        -------
        spectra : SpectrumSet
            All stars, in order. Shorter ones are padded at the end with an ivar of 0;
            wavelengths are shared if they are the same everywhere.

        Raises
        ------
        ValueError
            If the sets do not go together.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_payne.spectra import SpectrumSet
        >>> flux = np.ones((2, 4))
        >>> short = SpectrumSet(flux[:, :3], flux[:, :3], wavelength=[4, 5, 6])
        >>> long = SpectrumSet(flux, flux, wavelength=[1, 2, 3, 4])
        >>> SpectrumSet.concatenate([short, long]).wavelength[0]
        array([4., 5., 6., 7.])
        """
        first, width = sets[0], max(spectra.shape[1] for spectra in sets)
        if len({kind(spectra) for spectra in sets}) > 1:
            raise ValueError(
                "`sets` must share their medium and have wavelengths, or share their "
                "number of pixels and have none; got "
                f"{', '.join(map(repr, sets))}. Join sets of one kind at a time."
            )
        wavelength, arm = join_wavelengths(sets, width)

        def joined(name):
            rows = [getattr(spectra, name) for spectra in sets]
            return np.concatenate(
                [np.pad(r, ((0, 0), (0, width - r.shape[1]))) for r in rows]
            )

        return cls(
            joined("flux"),
            joined("ivar"),
            wavelength=wavelength,
            medium=first.medium,
            has_uncertainty=np.concatenate([s.has_uncertainty for s in sets]),
            n_pixels=np.concatenate([s.n_pixels for s in sets]),
            arm=arm,
            resolving_power=join_powers(sets, width),
            resolution_matrix=join_matrices(sets, width),
            frame=join_frames(sets),
        )

    @classmethod
    def join_arms(cls, arms):
        """Join the arms of the same stars, one behind the other.

        Parameters
        ----------
        arms : sequence of SpectrumSet
            Sets with wavelengths and the same number of stars.

        Returns
        -------
        spectra : SpectrumSet
            With `arm`, if there are several; a star has an uncertainty, and a frame,
            if all of its arms have one.

        Raises
        ------
        ValueError
            If the arms of a star are in different frames.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_payne.spectra import SpectrumSet
        >>> flux = np.ones((2, 3))
        >>> blue = SpectrumSet(flux, flux, wavelength=[4000.0, 4001.0, 4002.0])
        >>> red = SpectrumSet(flux, flux, wavelength=[4001.5, 4003.0, 4004.5])
        >>> SpectrumSet.join_arms([blue, red]).arm
        array([0, 0, 0, 1, 1, 1])
        """
        if len(arms) == 1:
            return arms[0]
        n, width = len(arms[0]), max(spectra.shape[1] for spectra in arms)

        def joined(rows):
            if rows is None:
                return None
            parts = rows.reshape(len(arms), n, *rows.shape[1:])
            parts = zip(parts, arms, strict=True)
            return np.concatenate([p[:, : s.shape[1]] for p, s in parts], axis=1)

        wavelengths = [s.wavelength for s in arms]
        if any(wavelength.ndim == 2 for wavelength in wavelengths):
            wavelengths = [np.broadcast_to(s.wavelength, s.shape) for s in arms]
        wavelength = np.concatenate(wavelengths, axis=-1)
        frame = join_frames(arms)
        if frame is not None:
            frame = [agreed_frame(star) for star in frame.reshape(len(arms), n).T]
        number = np.repeat(np.arange(len(arms)), [s.shape[1] for s in arms])
        return cls(
            np.hstack([s.flux for s in arms]),
            np.hstack([s.ivar for s in arms]),
            wavelength=wavelength,
            medium=arms[0].medium,
            has_uncertainty=np.all([s.has_uncertainty for s in arms], axis=0),
            arm=np.broadcast_to(number, wavelength.shape),
            resolving_power=joined(join_powers(arms, width)),
            resolution_matrix=joined(join_matrices(arms, width)),
            frame=frame,
        )

    def replace(self, **changes):
        """Give a set with other arguments.

        Parameters
        ----------
        **changes : object
            Arguments of the class.

        Returns
        -------
        spectra : SpectrumSet
            The others are as they were.
        """
        return SpectrumSet(**{**vars(self), **changes})

    def to_specutils(self, *, flux_unit=None):
        """Return the spectra as a specutils SpectrumList.

        Parameters
        ----------
        flux_unit : None, str or astropy unit, default=None
            Unit of the flux. None means dimensionless: normalised flux.

        Returns
        -------
        spectra : specutils.SpectrumList of 1-D Spectrum
            One per row, without padding, with wavelengths in Å, `InverseVariance`
            where the uncertainty is known, a mask (True = bad) and
            ``meta["medium"]`` and ``meta["frame"]`` where they are known.

        Raises
        ------
        ValueError
            If the set has no wavelengths.

        Examples
        --------
        >>> import numpy as np
        >>> from sk_payne.spectra import SpectrumSet
        >>> spectra = SpectrumSet(
        ...     np.ones((2, 3)), np.ones((2, 3)), wavelength=[5000.0, 5001.0, 5002.0]
        ... )
        >>> len(spectra.to_specutils())
        2
        """
        if self.wavelength is None:
            raise ValueError(
                "The set has no wavelengths, which specutils needs. Build it with "
                "`wavelength=`, for instance the wavelengths of the emulator."
            )
        from specutils import SpectrumList

        return SpectrumList(
            [spectrum_of_row(self, i, flux_unit) for i in range(len(self))]
        )

    @property
    def shape(self):
        """Number of spectra and of pixels, padding included: (n, p)."""
        return self.flux.shape

    def __len__(self):
        return len(self.flux)

    def __getitem__(self, key):
        rows = checked_rows_key(key, len(self))
        changes = {}
        for name, values in vars(self).items():
            shared = name in ("wavelength", "arm") and np.ndim(values) == 1
            if isinstance(values, np.ndarray) and not shared:
                changes[name] = values[rows]
        return self.replace(**changes)

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "A SpectrumSet is not one array: use its `flux` and `ivar`, or pass the "
            "set to something that takes spectra."
        )

    def __repr__(self):
        n, p = self.shape
        where = (
            "the model's own wavelengths"
            if self.wavelength is None
            else f"{self.wavelength.min():.1f}-{self.wavelength.max():.1f} Å"
            if n and p
            else "no wavelengths"
        )
        medium = f", {self.medium}" if self.medium else ""
        return f"SpectrumSet({n} spectra of {p} pixels on {where}{medium})"
