"""`python -m sk_payne`: the command `sk-payne`; without a subcommand, `demo`."""

import sys

from sk_payne.command import main

__all__ = ["main_of_module"]


def main_of_module(argv=None):
    """Run the command; arguments that begin with no subcommand are those of `demo`.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments; those of the command line if None.

    Returns
    -------
    status : int
        As of :func:`sk_payne.command.main`.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    return main(argv, prog_name="python -m sk_payne", default="demo")


if __name__ == "__main__":
    sys.exit(main_of_module())
