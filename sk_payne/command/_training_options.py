"""Options of all commands that train an emulator."""

import click

from sk_payne.networks import NETWORKS

__all__ = ["training_options"]


def training_options(command):
    """Add the options `arch`, `max_steps`, `device` and `seed` to a command.

    Parameters
    ----------
    command : callable
        Function of a command.

    Returns
    -------
    command : callable
        The same function with options.
    """
    options = (
        click.option(
            "--arch",
            type=click.Choice(sorted(NETWORKS)),
            default="bigpayne",
            show_default=True,
            help="Architecture of the emulator.",
        ),
        click.option(
            "--max-steps",
            type=click.IntRange(1),
            metavar="N",
            help="Number of optimisation steps. [default: that of the recipe]",
        ),
        click.option(
            "--device",
            default="auto",
            show_default=True,
            help="Device of torch: cpu, cuda, mps, or auto.",
        ),
        click.option(
            "--seed",
            type=int,
            default=0,
            show_default=True,
            help="Seed of all random numbers.",
        ),
    )

    for option in reversed(options):
        command = option(command)
    return command
