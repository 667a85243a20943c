"""`python -m sk_payne`: the command `sk-payne`; without a subcommand, `demo`."""

import sys

from sk_payne.command import main

__all__ = ["main_of_module"]


def main_of_module(argv=None):
    """Run the command line; without a subcommand, run `demo`.

    Parameters
    ----------
    argv : list of str, default=None
        Arguments; ``sys.argv[1:]`` if None.

    Returns
    -------
    status : int
        Exit status of :func:`sk_payne.command.main`.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    return main(argv, prog_name="python -m sk_payne", default="demo")


if __name__ == "__main__":
    sys.exit(main_of_module())
