"""`sk-payne check`: files of emulators, and their predictions on this machine."""

import click

from sk_payne.command._output import with_output
from sk_payne.emulators import check as check_emulator

__all__ = ["check"]

_EXAMPLES = """\b
Examples:
  sk-payne check dwarfs-4500-4600
  sk-payne check my_emulator/ other.safetensors --json

\b
Exit codes:
  0  all emulators are whole
  1  an emulator is damaged, or predicts another flux
  2  the command line is at fault
"""


@click.command(
    "check",
    epilog=_EXAMPLES,
    short_help="Check the files and predictions of emulators.",
)
@click.argument("emulators", nargs=-1, required=True)
@with_output
def check(emulators, output):
    """Check the files of EMULATORS, and what they predict on this machine.

    EMULATORS are files, folders, or names of ready emulators. A folder holds the
    SHA-256 of its files, and the predicted flux of five stars, which is compared with
    what is predicted here.
    """
    found = []
    for path in emulators:
        report = check_emulator(path)
        found.append({"path": path, **report})
        output.say(f"{path}: whole")
        output.say(f"  SHA-256     {report.sha256}")
        told = "no predictions were kept with it"
        if report.difference is not None:
            told = f"differ by {report.difference:.2g} of the largest flux"
        output.say(f"  predictions {told}")
    output.result({"emulators": found})
