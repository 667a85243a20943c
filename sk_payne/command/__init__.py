"""The command `sk-payne`: one file for each of its subcommands."""

from sk_payne.command._main import main

__all__ = ["main"]
