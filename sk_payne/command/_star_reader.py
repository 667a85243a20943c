"""Reader of the files of a command, which refuses spectra that lack something."""

import re
from dataclasses import dataclass, field

from sk_payne.command._diagnosis import Demands, diagnose
from sk_payne.command._estimator_options import OBSERVATION, REGRESSOR, option_name
from sk_payne.exceptions import FileFormatError
from sk_payne.spectra import group_arms, read_spectra

__all__ = ["StarReader", "in_words_of_options"]

_IS_NO_OPTION = re.compile(r"^`(\w+)` is no option of the format")


@dataclass(frozen=True)
class StarReader:
    """Read a file, and refuse what cannot be measured without a guess.

    Attributes
    ----------
    demands : Demands
        Facts that must be known of a spectrum.
    format : str or None
        As in :func:`sk_payne.spectra.read_spectra`.
    options : dict of str to object
        Options of formats. A format gets those that it takes.
    """

    demands: Demands
    format: str | None = None
    options: dict = field(default_factory=dict)

    def stars(self, path):
        """Read the stars of a file.

        Parameters
        ----------
        path : str
            The file.

        Returns
        -------
        stars : list
            A Spectrum for each star, or a list of its arms. Those that do not state
            their medium have that of the demands.
        """
        found = self._read(path)
        spectra = found if isinstance(found, list) else [found]
        for spectrum in spectra:
            if spectrum.meta.get("medium") is None:
                spectrum.meta["medium"] = self.demands.medium
        return list(group_arms(spectra))

    def __call__(self, path):
        """Read the stars of a file that can be measured.

        Parameters
        ----------
        path : str
            The file.

        Returns
        -------
        stars : list
            As of `stars`.

        Raises
        ------
        ValueError
            If something is missing, with the options that say it.
        """
        stars = self.stars(path)
        found = [diagnose(star, self.demands) for star in stars]
        have_pixels = any(one["n_pixels"] for one in found)
        for number, one in enumerate(found):
            # a star without pixels does not keep others of its file from being measured
            is_blank = one["n_pixels"] == 0 and have_pixels
            if one["missing"] and not is_blank:
                which = "It" if len(found) == 1 else f"Spectrum {number} of it"
                raise ValueError(f"{which} lacks {'; '.join(one['missing'])}.")
        return stars

    def _read(self, path):
        """Read a file, with the medium only if the file does not state it."""
        try:
            return self._read_with(path, self.options)
        except FileFormatError:
            if self.demands.medium is None:
                raise
            return self._read_with(path, self.options | {"medium": self.demands.medium})

    def _read_with(self, path, options):
        options = dict(options)
        while True:
            try:
                return read_spectra(path, self.format, **options)
            except TypeError as error:
                refused = _IS_NO_OPTION.match(str(error))
                if refused is None:
                    raise
                # files of other formats are measured beside this one
                del options[refused[1]]


def in_words_of_options(message):
    """Name options instead of arguments in the message of an error.

    Parameters
    ----------
    message : str
        With arguments in backticks.

    Returns
    -------
    message : str
        On one line, without the class of the error.

    Examples
    --------
    >>> from sk_payne.command._star_reader import in_words_of_options
    >>> in_words_of_options("`continuum_degree` must be None")
    '--continuum-degree must be None'
    """
    ours = {name: option_name(name) for name in (*OBSERVATION, *REGRESSOR)}
    ours |= {name: f"--read {name}=" for name in ("flux_unit", "wavelength_unit")}
    ours |= {name: f"--read {name}=" for name in ("row", "target", "normalized")}
    ours |= {"format": "--format"}

    def rename(match):
        return ours.get(match[1], match[0])

    plain = re.sub(r"^\w+Error: ", "", " ".join(str(message).split()))
    plain = re.sub(r"`(\w+)=?`", rename, plain)
    # as in "Pass medium='air'"
    return re.sub(r"\b(\w+)='(\w+)'", lambda m: _assigned(ours.get(m[1]), m), plain)


def _assigned(option, match):
    if option is None:
        return match[0]
    return f"{option}{'' if option.endswith('=') else ' '}{match[2]}"
