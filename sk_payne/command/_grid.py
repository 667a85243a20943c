"""The grid that a command is given, and its spectra."""

import click

from sk_payne.datasets import load_sme_grid
from sk_payne.grids import read_grid

__all__ = ["SHIPPED", "grid_options", "named_grid"]

SHIPPED = "shipped"
"""Name of the grid that comes with the package."""


def grid_options(command):
    """Add the options for reading a grid to a command.

    Parameters
    ----------
    command : callable
        Takes `medium` and `drop_bad`.

    Returns
    -------
    command : callable
        With the options.
    """
    for decorate in (
        click.option(
            "--drop-bad",
            is_flag=True,
            help="Leave out spectra whose labels or flux are not finite.",
        ),
        click.option(
            "--medium",
            type=click.Choice(("air", "vacuum")),
            help="Medium of the wavelengths, if the grid does not state it.",
        ),
    ):
        command = decorate(command)
    return command


def named_grid(name, medium=None, drop_bad=False, *, split="train"):
    """Read a grid, or a split of the shipped one.

    Parameters
    ----------
    name : str
        A file or folder of :func:`sk_payne.grids.read_grid`, or "shipped".
    medium : {"air", "vacuum"}, default=None
        Medium, if the grid does not say it.
    drop_bad : bool, default=False
        Whether to leave out spectra that are not finite.
    split : {"train", "test"}, default="train"
        Spectra of the shipped grid.

    Returns
    -------
    grid : Bunch
        As of :func:`sk_payne.grids.read_grid`.

    Raises
    ------
    ValueError
        If the medium is not known, or is another.
    """
    if name == SHIPPED:
        grid = load_sme_grid()
        rows = grid.train_indices if split == "train" else grid.test_indices
        grid.data, grid.target = grid.data[rows], grid.target[rows]
        grid.mask = grid.uncertainty = None
        return grid
    grid = read_grid(name, drop_bad=drop_bad)
    if medium is not None and grid.medium not in (None, medium):
        raise ValueError(
            f"--medium says {medium}, but '{name}' says {grid.medium}. Leave it out."
        )
    grid.medium = grid.medium or medium
    if grid.medium is None:
        raise ValueError(
            f"'{name}' does not say whether its wavelengths are in air or vacuum. Pass "
            "--medium."
        )
    return grid
