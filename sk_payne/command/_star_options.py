"""Options of all commands that measure: emulator, reading, observation and fit."""

import click

from sk_payne.abundances import AbundanceRegressor, Observation
from sk_payne.command._estimator_options import (
    OBSERVATION,
    REGRESSOR,
    estimator_options,
)
from sk_payne.command._values import TABLE
from sk_payne.spectra import SPECTRUM_FORMATS

__all__ = ["star_options"]


def star_options(command):
    """Add the options for reading and measuring stars to a command.

    Parameters
    ----------
    command : callable
        Takes `emulator`, `format`, `read`, and the arguments of `Observation` and
        `AbundanceRegressor`.

    Returns
    -------
    command : callable
        With the options.
    """
    for decorate in reversed(
        (
            click.option(
                "--emulator",
                required=True,
                help="Name of a ready emulator, see `sk-payne info`, or the file or "
                "folder of an emulator.",
            ),
            click.option(
                "--format",
                type=click.Choice(SPECTRUM_FORMATS),
                metavar="FORMAT",
                help="Format of all files. [default: recognised by the content of each "
                f"file] One of {', '.join(SPECTRUM_FORMATS)}.",
            ),
            click.option(
                "--read",
                type=TABLE,
                default=None,
                help="Options of sk_payne.spectra.read_spectra, such as "
                '"row=1 flux_unit=Jy"; each file gets those that its format takes.',
            ),
            estimator_options(Observation, OBSERVATION),
            estimator_options(AbundanceRegressor, REGRESSOR),
        )
    ):
        command = decorate(command)
    return command
