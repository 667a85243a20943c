"""Start of the fits of a catalogue: a neural posterior, trained once for all stars.

One process trains it and the others wait. A file in the folder of the catalogue keeps
it for later calls.
"""

import sys
import warnings
from copy import copy

import numpy as np
from tqdm.auto import tqdm

from sk_payne.abundances._chunk_reading import read_item
from sk_payne.abundances._chunks import kind_of_spectra
from sk_payne.abundances._fitted_emulator import emulator_of
from sk_payne.exceptions import TrainingInterruptedWarning
from sk_payne.resumable import Claims, describe, difference, refuse_other
from sk_payne.spectra import SpectrumSet

__all__ = ["LEARNED_START", "LearnedStart"]

# Files in the folder of a catalogue.
LEARNED_START = "start.safetensors"
_STATE, _LOCK = "start.state", "start.lock"

# Number of stars whose pixels and relative errors the training spectra have.
_N_STARS = 64

# Arguments that must be those of the regressor.
_SHARED = ("observation", "medium", "bounds", "priors", "fixed")

# Arguments on which the trained posterior does not depend.
_OF_RUN = ("emulator", "checkpoint", "device", "verbose")


class LearnedStart:
    """Posterior that is trained once for a catalogue.

    Parameters
    ----------
    posterior : NeuralPosterior
        Unfitted posterior; not changed.
    measuring : Measuring
        Regressor and reader.
    path : pathlib.Path
        Folder of the catalogue.
    chunk : Chunk
        First chunk, whose stars are read if the posterior is not trained yet.

    Raises
    ------
    ImportError
        If zuko is not installed.
    ValueError
        If an argument of the posterior is not that of the regressor, or no star of the
        chunk can be read.
    """

    def __init__(self, posterior, measuring, path, chunk):
        _check(posterior, measuring.regressor)
        self._file = path / LEARNED_START
        self._posterior = copy(posterior).set_params(checkpoint=path / _STATE)
        self._stars = self._cost = None
        if not self._file.exists():
            self._stars = _read_some(measuring, chunk)
            self._cost = posterior.cost(self._stars)

    @property
    def identity(self):
        """Description of the training for the identity of the catalogue, as JSON."""
        arguments = self._posterior.get_params(deep=False)
        for name in (*_OF_RUN, *_SHARED):  # the regressor describes the latter
            del arguments[name]
        return describe(arguments)

    def learned(self, folder, verbose):
        """Read the posterior; train it before, unless another call has.

        Parameters
        ----------
        folder : Folder
            Folder of the catalogue.
        verbose : int
            1 tells the cost of a training, and shows a progress bar.

        Returns
        -------
        posterior : NeuralPosterior
            Fitted posterior.

        Raises
        ------
        KeyboardInterrupt
            If the training was interrupted.
        ValueError
            If stars of the catalogue were measured from another posterior.
        """
        if self._stars is not None:
            if verbose:
                self._tell_cost()
            with Claims(folder.path / _LOCK).alone():
                if not self._file.exists():  # by another process meanwhile
                    self._train(verbose)
        posterior = copy(self._posterior).load(self._file)
        digest = posterior.digest_
        folder.note(lambda notes: {"start": notes["start"] or digest})
        used = folder.manifest()["start"]
        refuse_other(folder.path, "catalogue", difference(used, digest, LEARNED_START))
        return posterior

    def _tell_cost(self):
        tqdm.write(
            "A neural posterior is trained, once for this catalogue, on "
            f"{self._cost['n_spectra']} mock spectra; '{self._file}' will have about "
            f"{self._cost['n_bytes'] / 1e6:.1f} MB. After Ctrl-C the same call "
            "continues the training.",
            file=sys.stderr,
        )

    def _train(self, verbose):
        posterior = copy(self._posterior).set_params(verbose=verbose)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TrainingInterruptedWarning)
            posterior.fit(self._stars)
        if posterior.n_steps_ < posterior.max_steps:
            raise KeyboardInterrupt
        posterior.save(self._file)


def _check(posterior, regressor):
    if regressor.start is not None:
        raise ValueError(
            "`start` of the regressor must be None if `learn_start` is given; got "
            f"{regressor.start!r}. Leave out one of them."
        )
    for name in _SHARED:
        found = difference(
            *(describe(getattr(one, name)) for one in (posterior, regressor)), name
        )
        if found is not None:
            raise ValueError(
                "`learn_start` must have the arguments of the regressor; it has "
                f"another {found}. Pass NeuralPosterior.of(regressor)."
            )
    if posterior.emulator is not emulator_of(regressor):
        raise ValueError(
            "`learn_start` must have the emulator of the regressor; got "
            f"{posterior.emulator!r}. Pass NeuralPosterior.of(regressor)."
        )


def _read_some(measuring, chunk):
    """Read stars of one kind, evenly spaced in a chunk."""
    items, sets, failure = list(chunk.items.values()), [], "there is none"
    n = min(len(items), _N_STARS)
    for place in np.linspace(0, len(items) - 1, n).round().astype(int):
        try:
            spectra, _ = read_item(measuring, items[place])
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            continue
        if not sets or kind_of_spectra(spectra) == kind_of_spectra(sets[0]):
            sets.append(spectra)
        if sum(map(len, sets)) >= _N_STARS:
            break
    if not sets:
        raise ValueError(
            "`learn_start` must find a star that can be read in the first part of the "
            f"catalogue; {failure}. Begin with such a star, or leave it out."
        )
    return SpectrumSet.concatenate(sets)
