"""The command `sk-payne`, and the exit codes of its errors."""

import sys

import click

from sk_payne.command._build import build
from sk_payne.command._check import check
from sk_payne.command._demo import demo
from sk_payne.command._info import info
from sk_payne.command._measure import measure
from sk_payne.command._output import echo
from sk_payne.command._plot import plot
from sk_payne.command._report import report
from sk_payne.command._star_reader import in_words_of_options
from sk_payne.command._train import train

__all__ = ["COMMANDS", "main"]

_EPILOG = """\b
Examples:
  sk-payne measure *.fits --emulator dwarfs-4500-4600 --out stars.ecsv
  sk-payne info stars.ecsv
  sk-payne train grid.npz --medium air --out emulator.safetensors

\b
Exit codes:
  0    all went well
  1    the input is at fault; the message says what, and the way out
  2    the command line is at fault
  3    some files or spectra failed, and the reason is printed or in the table
  130  Ctrl-C; what is done is kept

\b
Completion by the Tab key in bash (for zsh: zsh_source, for fish: fish_source):
  eval "$(_SK_PAYNE_COMPLETE=bash_source sk-payne)"
"""


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sk_payne")
def _group():
    """Emulate stellar spectra, and measure stars with the emulators."""


COMMANDS = {
    one.name: one for one in (demo, measure, plot, train, info, check, report, build)
}
for _command in COMMANDS.values():
    _group.add_command(_command)


def main(argv=None, *, prog_name="sk-payne", default=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments; those of the command line if None.
    prog_name : str, default="sk-payne"
        Name in messages.
    default : str, default=None
        Subcommand of arguments that do not begin with one.

    Returns
    -------
    status : int
        0 if all went well, 1 if the input was at fault, 2 if the command line was, 3 if
        some files could not be measured, 130 after Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    command = _group
    if default is not None and not (argv and argv[0] in COMMANDS):
        command = COMMANDS[default]
    for stream in (sys.stdout, sys.stderr):
        # a terminal that lacks a letter gets a "?"
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        status = command.main(argv, prog_name=prog_name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        echo("sk_payne: interrupted", err=True)
        return 130
    except (ValueError, TypeError, OSError, ImportError) as error:
        echo(f"sk_payne: {in_words_of_options(error)}", err=True)
        return 1
    return status if isinstance(status, int) else 0
