"""`sk-payne check`: whether emulators are whole, and predict what they did."""

import click

from sk_payne.command._output import with_output
from sk_payne.emulators import check as check_emulator

__all__ = ["check"]

_EXAMPLES = """\b
Examples:
  sk-payne check dwarfs-4500-4600
  sk-payne check my_emulator/ other.safetensors --json
"""


@click.command("check", epilog=_EXAMPLES)
@click.argument("emulators", nargs=-1, required=True)
@with_output
def check(emulators, output):
    """Check EMULATORS: the files, and what they predict on this machine.

    EMULATORS are files, folders, or names of ready emulators. A folder has the SHA-256
    of its files, and predictions of five stars to compare with.
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
