"""The regressor that the options of a command describe."""

from pathlib import Path

import numpy as np

from sk_payne.abundances import AbundanceRegressor, Observation, SecondStar, Telluric
from sk_payne.command._estimator_options import OBSERVATION, REGRESSOR
from sk_payne.command._values import refuse_unknown

__all__ = ["make_regressor"]

_TEMPLATE_FILE = "with the file of the template first: 'FILE medium=air ...'"


def make_regressor(emulator, values):
    """Make the regressor that the values of options describe.

    Parameters
    ----------
    emulator : SpectrumEmulator
        Fitted.
    values : dict of str to object
        Values of the options of `Observation` and `AbundanceRegressor`, by the names of
        the arguments; others are ignored.

    Returns
    -------
    regressor : AbundanceRegressor
        Its observation was checked. It has no medium: the reader of the files states
        it for each spectrum.

    Raises
    ------
    ValueError
        If a value is not allowed.
    """
    about = {name: values[name] for name in OBSERVATION}
    about["second_star"] = _second_star(about["second_star"])
    about["stages"] = [_telluric(one) for one in about["stages"]]
    observation = Observation(**about)
    observation.checked()
    # the medium is that of files which do not state theirs, so their reader knows it
    others = {name: values[name] for name in REGRESSOR if name != "medium"}
    others["start"] = _posterior(others["start"], emulator, observation)
    return AbundanceRegressor(emulator, observation, **others)


def _posterior(path, emulator, observation):
    if path is None:
        return None
    from sk_payne.neural_posterior import load_posterior

    try:
        return load_posterior(path, emulator, observation)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--start must name a neural posterior of this emulator and these options: "
            f"{error}"
        ) from error


def _second_star(about):
    if about is None:
        return None
    known = SecondStar().get_params()
    refuse_unknown(about, known, "--second-star")
    own = about.get("own_labels")
    if isinstance(own, str) and own != "all":
        about = about | {"own_labels": (own,)}
    return SecondStar(**about)


def _telluric(about):
    known = {"file", "medium", "name", "optical_depth", "velocity"}
    refuse_unknown(about, known, "--stages")
    about = dict(about)
    file, medium = about.pop("file", None), about.pop("medium", None)
    if file is None or not Path(file).is_file():
        raise ValueError(f"--stages must be given {_TEMPLATE_FILE}; got {file!r}.")
    if medium is None:
        raise ValueError(
            f"--stages must say the medium of '{file}': medium=air or medium=vacuum."
        )
    try:
        wavelength, transmission = np.loadtxt(file, unpack=True)
    except ValueError as error:
        raise ValueError(
            f"--stages must name a text of two columns, wavelength in Å and "
            f"transmission; '{file}' is none: {error}."
        ) from error
    return Telluric(wavelength, transmission, medium=medium, **about)
