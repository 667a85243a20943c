"""`sk-payne info`: what a file is."""

import click

__all__ = ["info"]


@click.command("info")
def info():
    """Tell what a file is."""
