"""Output of a command: text for people, JSON for programs, notes on stderr."""

import functools
import json
import sys
import warnings
from contextlib import contextmanager

import click
import numpy as np

__all__ = ["SOME_FAILED", "Output", "echo", "with_output"]

SOME_FAILED = 3
"""Exit code of a command that did what it could, while some files or stars failed."""


def echo(text="", *, err=False):
    """Print a text to the stream as it is.

    click alone would write UTF-8 to a terminal that has no letters but ASCII.

    Parameters
    ----------
    text : str, default=""
        One or several lines.
    err : bool, default=False
        True prints to stderr.
    """
    click.echo(text, file=sys.stderr if err else sys.stdout)


class Output:
    """Printer of one command.

    Parameters
    ----------
    quiet : bool
        Whether only errors and results in JSON are printed.
    verbose : bool
        Whether details are printed as well.
    as_json : bool
        Whether the result is printed as one JSON object, and no text.
    """

    def __init__(self, quiet=False, verbose=False, as_json=False):
        self.quiet = quiet
        self.verbose = verbose
        self.as_json = as_json

    @property
    def shows_progress(self):
        """Whether progress bars are shown, on stderr."""
        return not self.quiet

    def say(self, text=""):
        """Print a text on stdout.

        Parameters
        ----------
        text : str
            Left out with --quiet and with --json.
        """
        if not (self.quiet or self.as_json):
            echo(text)

    def note(self, text):
        """Print a remark on stderr.

        Parameters
        ----------
        text : str
            Left out with --quiet.
        """
        if not self.quiet:
            echo(text, err=True)

    def detail(self, text):
        """Print a remark on stderr, with --verbose only.

        Parameters
        ----------
        text : str
            The remark.
        """
        if self.verbose:
            echo(text, err=True)

    def result(self, found):
        """Print the result on stdout, with --json only.

        Parameters
        ----------
        found : dict
            Numbers that are not finite become null.
        """
        if self.as_json:
            echo(json.dumps(_plain(found), ensure_ascii=False, indent=2))

    @contextmanager
    def warnings_as_notes(self):
        """Print each warning of the library once, as a note."""
        seen = set()

        def show(message, *args, **kwargs):
            text = " ".join(str(message).split())
            if text not in seen:
                seen.add(text)
                self.note(f"Note: {text}")

        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.showwarning = show
            yield


def with_output(command):
    """Add the options --quiet, --verbose and --json to a command, and its `output`.

    Parameters
    ----------
    command : callable
        Takes the keyword `output`.

    Returns
    -------
    command : callable
        With the options of click.
    """

    @functools.wraps(command)
    def run(*args, quiet, verbose, as_json, **kwargs):
        output = Output(quiet, verbose, as_json)
        with output.warnings_as_notes():
            return command(*args, output=output, **kwargs)

    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON, no text."),
        click.option("--verbose", is_flag=True, help="Print details on stderr."),
        click.option("--quiet", is_flag=True, help="Print errors only."),
    ):
        run = option(run)
    return run


def _plain(value):
    """Give a value in types that JSON has."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
