"""Options of the command line that are the arguments of an estimator.

Names and defaults come from the signature of the class, and the help from its docstring
unless an option is written in another way than the argument. So every argument of the
class is an option.
"""

import inspect
import re
import textwrap

import click

from sk_payne.abundances import AbundanceRegressor, Observation
from sk_payne.command._values import PAIRS, TABLE, VALUE

__all__ = ["OBSERVATION", "REGRESSOR", "estimator_options", "option_name"]

OBSERVATION = tuple(inspect.signature(Observation).parameters)

# The emulator and the observation have options of their own.
REGRESSOR = tuple(
    name
    for name in inspect.signature(AbundanceRegressor).parameters
    if name not in ("emulator", "observation", "verbose")
)

# Arguments whose values are not numbers, pairs or words: the types of their options.
_TYPES = {
    "arm_offsets": PAIRS,
    "second_star": TABLE,
    "stages": TABLE,
    "bounds": TABLE,
    "priors": TABLE,
    "fixed": TABLE,
}
_SEVERAL = ("stages",)

_METAVARS = {
    "medium": "[air|vacuum]",
    "estimate": "[mode|mean|profile]",
    "max_iterations": "INTEGER",
    "start": "FILE",
    "search": "[quick|thorough]",
}

# Help of options whose arguments in Python take dictionaries, objects or arrays.
_HELP = {
    "arm_offsets": "For spectra of several arms: limits in km/s of the velocity offset "
    "of each arm against the first. One pair LOW,HIGH serves all arms; or write a pair "
    "for each arm after the first, separated by semicolons.",
    "second_star": 'Fit a second star in the same spectrum: "flux_ratio=0.05,1 ...", '
    'arguments of sk_payne.abundances.SecondStar, or "" for its defaults.',
    "stages": 'Multiply the model by a template of telluric lines: "FILE medium=air '
    '...". FILE is a text with two columns, wavelength in Å and transmission; '
    "further arguments are those of sk_payne.abundances.Telluric. Can be repeated.",
    "snr": "Signal-to-noise ratio per pixel of spectra without errors; the flux must "
    "be normalised by the continuum.",
    "medium": "Medium of the wavelengths of files that do not state it.",
    "bounds": 'Limits of labels, in their units: "teff=4000,6000 ...".',
    "priors": "Gaussian priors of labels and other parameters, mean and standard "
    'deviation: "logg=4.4,0.1 ...".',
    "fixed": 'Parameters that are known and not fitted: "teff=5777 ...".',
    "start": "Neural posterior from which fits start: a file that "
    "sk_payne.neural_posterior.NeuralPosterior.save wrote, for the same emulator and "
    "observation.",
}


def estimator_options(estimator, names):
    """Make options of the arguments of an estimator.

    Parameters
    ----------
    estimator : type
        Class with a numpydoc docstring.
    names : iterable of str
        Arguments.

    Returns
    -------
    decorate : callable
        Adds the options to a command.
    """
    parameters = inspect.signature(estimator).parameters
    described = _descriptions(estimator)
    options = [
        _option(name, parameters[name].default, described[name]) for name in names
    ]

    def decorate(command):
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def option_name(argument):
    """Give the name of the option of an argument.

    Parameters
    ----------
    argument : str
        Name of the argument.

    Returns
    -------
    name : str
        Such as "--velocity-range".
    """
    return "--" + argument.replace("_", "-")


def _option(name, default, description):
    flag = option_name(name)
    if isinstance(default, bool):
        both = f"{flag}/--no-{flag.removeprefix('--')}"
        return click.option(both, name, default=default, help=description)
    help = _HELP.get(name, description)
    told = "none" if default is None else _told(default)
    if default != ():
        help = f"{help} [default: {told}]"
    return click.option(
        flag,
        name,
        type=_TYPES.get(name, VALUE),
        metavar=_METAVARS.get(name),
        default=default,
        multiple=name in _SEVERAL,
        help=help,
    )


def _told(value):
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _descriptions(estimator):
    """Give the first sentence of the description of each argument, as plain text."""
    text = inspect.cleandoc(estimator.__doc__)
    section = re.split(r"\nParameters\n-+\n", text)[1]
    section = re.split(r"\n\w[\w ]*\n-+\n", section)[0]
    found = {}
    for name, body in re.findall(r"^(\w+) : .*\n((?:    .*\n?|\n)+)", section, re.M):
        words = " ".join(textwrap.dedent(body).split())
        sentence = re.split(r"(?<=\.) (?=[A-Z])", words)[0]
        sentence = re.sub(r":\w+:`~?([^`]*)`", r"\1", sentence)
        found[name] = sentence.replace("``", "").replace("`", "")
    return found
