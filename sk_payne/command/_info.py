"""`sk-payne info`: descriptions of files."""

import click

from sk_payne.command._kinds import describe_path
from sk_payne.command._output import SOME_FAILED, with_output
from sk_payne.command._star_reader import in_words_of_options
from sk_payne.emulators import ready

__all__ = ["info"]

_UNKNOWN = "cannot be read"

_EXAMPLES = """\b
Examples:
  sk-payne info dwarfs-4500-4600
  sk-payne info star.fits stars.ecsv grid.npz --json
  sk-payne info               (lists the ready emulators)

\b
Exit codes:
  0  all files are described
  2  the command line is at fault
  3  some files cannot be read; the reason is printed
"""


@click.command("info", epilog=_EXAMPLES)
@click.argument("paths", metavar="[FILES]...", nargs=-1)
@with_output
@click.pass_context
def info(ctx, paths, output):
    """Describe files: emulators, grids, tables of stars, or spectra.

    FILES may be names of ready emulators, too. Without FILES, all ready emulators are
    listed.
    """
    found = []
    for path in paths or [one.name for one in ready()]:
        try:
            kind, facts = describe_path(path)
        except (ValueError, OSError) as error:
            kind, facts = _UNKNOWN, {"reason": in_words_of_options(error)}
        found.append({"path": path, "kind": kind, **facts})
        output.say(f"{path}: {kind}")
        for line in _lines(facts):
            output.say(line)
    output.result({"files": found})
    if any(one["kind"] == _UNKNOWN for one in found):
        ctx.exit(SOME_FAILED)


def _lines(facts, indent="  "):
    for name, value in facts.items():
        words = name.replace("_", " ")
        if isinstance(value, dict):
            yield f"{indent}{words}{'' if value else ' none'}"
            # these are names of labels and flags
            yield from (f"{indent}  {key:<18} {one}" for key, one in value.items())
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, one in enumerate(value):
                yield f"{indent}{words} {number}"
                yield from _lines(one, indent + "  ")
        else:
            yield f"{indent}{words:<20} {_text(value)}"


def _text(value):
    if value is None:
        return "not stated"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
