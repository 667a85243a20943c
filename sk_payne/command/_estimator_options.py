"""Options of the command line that are the arguments of an estimator.

Names, defaults and help come from the signature and the docstring of the class, so that
an argument that is added to the class is an option at once.
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

# Arguments whose values are not numbers, pairs or words.
_TYPES = {
    "arm_offsets": PAIRS,
    "second_star": TABLE,
    "stages": TABLE,
    "bounds": TABLE,
    "priors": TABLE,
    "fixed": TABLE,
}
_SEVERAL = ("stages",)

# How values of these options are written on the command line.
_WRITTEN = {
    "arm_offsets": "LOW,HIGH for each arm after the first, separated by semicolons",
    "second_star": '"NAME=VALUE ..." of the arguments of SecondStar, or "" for its '
    "defaults",
    "stages": '"FILE medium=air NAME=VALUE ..." with the arguments of Telluric; the '
    "file has two columns, wavelength in Å and transmission; can be repeated",
    "bounds": '"teff=4000,6000 ..."',
    "priors": '"logg=4.4,0.1 ...", mean and standard deviation',
    "fixed": '"teff=5777 ..."',
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
    written = _WRITTEN.get(name)
    help = description if written is None else f"{description} Write {written}."
    told = "none" if default is None else _told(default)
    if default != ():
        help = f"{help} [default: {told}]"
    return click.option(
        flag,
        name,
        type=_TYPES.get(name, VALUE),
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
