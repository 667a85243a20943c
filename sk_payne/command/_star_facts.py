"""Facts of a spectrum that do not depend on the emulator."""

from dataclasses import dataclass

import numpy as np

from sk_payne.spectra import as_spectra

__all__ = ["StarFacts", "facts_in_words"]


@dataclass(frozen=True)
class StarFacts:
    """Pixels of a star, and the facts that its file states.

    Attributes
    ----------
    wavelength, flux, ivar : ndarray of shape (n_pixels,)
        Å, flux, and its inverse variance, 0 at bad pixels.
    medium : {"air", "vacuum"} or None
        Medium of the wavelengths.
    has_errors : bool
        Whether the inverse variance follows from errors.
    stated : dict
        `format`, `object`, `medium`, `frame`, `resolving_power`, `low` and `high`
        (Å), None where nothing is known.
    """

    wavelength: np.ndarray
    flux: np.ndarray
    ivar: np.ndarray
    medium: str | None
    has_errors: bool
    stated: dict

    @classmethod
    def of(cls, star):
        """Collect the facts of a star.

        Parameters
        ----------
        star : specutils.Spectrum or list of specutils.Spectrum
            A list holds its arms.

        Returns
        -------
        facts : StarFacts
            The facts.
        """
        metas = [arm.meta for arm in (star if isinstance(star, list) else [star])]
        spectra = as_spectra([star], require_uncertainty=False)
        n = spectra.n_pixels[0]
        wavelength = np.broadcast_to(spectra.wavelength, spectra.shape)[0, :n]
        ivar = spectra.ivar[0, :n]
        return cls(
            wavelength=wavelength,
            flux=spectra.flux[0, :n],
            ivar=ivar,
            medium=spectra.medium,
            has_errors=bool(spectra.has_uncertainty[0]),
            stated={
                "format": metas[0].get("format"),
                "object": metas[0].get("object"),
                "medium": spectra.medium,
                "frame": metas[0].get("frame"),
                "resolving_power": _median_power(spectra, ivar > 0),
                "low": float(wavelength.min()),
                "high": float(wavelength.max()),
            },
        )

    def snr(self, where=slice(None)):
        """Give the median signal-to-noise ratio of good pixels.

        Parameters
        ----------
        where : index, default=slice(None)
            Pixels that count.

        Returns
        -------
        snr : float or None
            None without errors, and without good pixels.
        """
        flux, ivar = self.flux[where], self.ivar[where]
        good = ivar > 0
        if not (self.has_errors and good.any()):
            return None
        return float(np.median(flux[good] * np.sqrt(ivar[good])))


def facts_in_words(stated):
    """Give lines of text for what is stated of a spectrum.

    Parameters
    ----------
    stated : dict
        As in :class:`StarFacts`, and perhaps `overlap`, `n_pixels` and `snr`.

    Returns
    -------
    lines : list of str
        With two blanks before each.
    """
    power, snr, overlap = (
        stated.get(name) for name in ("resolving_power", "snr", "overlap")
    )
    facts = {
        "format": stated["format"],
        "object": stated["object"],
        "medium": stated["medium"],
        "frame": stated["frame"],
        "resolving power": None if power is None else f"{power:,.0f}",
        "wavelengths": f"{stated['low']:.2f}-{stated['high']:.2f} Å",
    }
    if stated.get("n_pixels") != 0:
        facts["S/N"] = None if snr is None else f"{snr:.0f} per pixel"
    if overlap is not None:
        facts["overlap"] = (
            f"{overlap:.0%} of the emulator, {stated['n_pixels']} good pixels"
        )
    return [
        f"  {name:<16} {'not stated' if value is None else value}"
        for name, value in facts.items()
    ]


def _median_power(spectra, good):
    """Median resolving power of the good pixels, None if some do not state it."""
    power = spectra.resolving_power
    if power is None or not good.any():
        return None
    stated = power[0, : len(good)][good]
    return None if np.isnan(stated).any() else float(np.median(stated))
