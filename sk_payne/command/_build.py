"""`sk-payne build`: makes a training grid by a synthesis code."""

import time
from contextlib import nullcontext
from pathlib import Path

import click
import numpy as np

from sk_payne.command._clients import dask_client
from sk_payne.command._output import SOME_FAILED, with_output
from sk_payne.command._space_file import read_space_file
from sk_payne.grids import build_grid

__all__ = ["build"]

_EXAMPLES = """\b
Example of SPACE.toml:
  medium = "air"
  n = 1000
  [wavelength]
  low = 5000.0                     # Å
  high = 5100.0
  step = 0.02                      # or resolution = 100000
  [ranges]
  teff = [4000, 6000]
  logg = [4.0, 5.0]
  Fe_H = [-2.0, 0.5]
  Mg_H = [-0.2, 0.5]
  [around]
  Mg_H = "Fe_H"                    # the range of Mg_H is one of [Mg/Fe]
  [fixed]
  vmic = 1.0
  [engine]
  kind = "python"                  # or "command", or "pysme"
  function = "my_synthesis.py:synthesise"

\b
Engines:
  python   function = "FILE.py:NAME", which takes (labels, wavelength)
  command  command = ["code", "input"], output = "stdout",
           templates = {input = "{teff:.0f} {logg:.2f}"};
           optional: column = 1, timeout = 600
  pysme    line_list = "vald.txt", atmospheres = "atlas9.npz";
           optional: resolving_power = 50000, lines_medium = "air"

\b
Examples:
  sk-payne build space.toml --out grid/ --workers 8
  sk-payne build space.toml --dry-run

\b
Exit codes:
  0    all spectra are made
  1    the file or an option is at fault
  2    the command line is at fault
  3    some spectra failed; the grid has the others
  130  Ctrl-C; what is made is kept, and the same command continues
"""


@click.command("build", epilog=_EXAMPLES)
@click.argument("space", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the grid.",
)
@click.option(
    "--n",
    "n",
    type=click.IntRange(1),
    help="Number of spectra. [default: the entry n of SPACE]",
)
@click.option(
    "--workers",
    type=int,
    default=1,
    show_default=True,
    help="Number of processes on this machine; -1 is one on each core.",
)
@click.option(
    "--dask", metavar="ADDRESS", help="Address of the scheduler of a Dask cluster."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of the sample."
)
@click.option(
    "--retry-failed", is_flag=True, help="Compute spectra again that failed before."
)
@click.option("--dry-run", is_flag=True, help="Print the plan, and make one spectrum.")
@with_output
def build(space, out, n, workers, dask, seed, retry_failed, dry_run, output):
    """Make the training grid that SPACE describes, a TOML file.

    After Ctrl-C, or with a larger --n, the same command makes only what is missing.
    `sk-payne train` takes the folder.
    """
    plan = read_space_file(space)
    n = plan.n if n is None else n
    if n is None:
        raise ValueError(f"--n must be given, since '{space}' has no entry n.")
    if dry_run:
        _tell(plan, n, output)
        return
    if out is None:
        raise click.UsageError("--out is needed, unless there is --dry-run.")
    with nullcontext() if dask is None else dask_client(dask) as client:
        grid = build_grid(
            plan.space,
            plan.engine,
            n,
            out,
            wavelength=plan.wavelength,
            medium=plan.medium,
            n_jobs=workers,
            client=client,
            random_state=seed,
            retry_failed=retry_failed,
            verbose=int(output.shows_progress),
        )
    output.say(f"'{out}' has {len(grid.data)} spectra; {len(grid.failures)} failed.")
    output.result(
        {"out": str(out), "spectra": len(grid.data), "failures": grid.failures}
    )
    if grid.failures:
        click.get_current_context().exit(SOME_FAILED)


def _tell(plan, n, output):
    """Print the plan, and the time that one spectrum takes."""
    bounds = plan.space.bounds
    labels = {name: (low + high) / 2 for name, (low, high) in bounds.items()}
    start = time.monotonic()
    made = plan.engine({**labels, **plan.space.fixed}, plan.wavelength)
    seconds = time.monotonic() - start
    flux = np.asarray(made[0] if isinstance(made, tuple) else made)
    first, last = plan.wavelength[[0, -1]]
    told = {
        "spectra": n,
        "labels": {
            name: f"{low:g} to {high:g}" for name, (low, high) in bounds.items()
        },
        "fixed": plan.space.fixed,
        "wavelengths": f"{len(plan.wavelength)}, {first:.2f}-{last:.2f} Å",
        "medium": plan.medium,
        "one_spectrum": f"{seconds:.3g} s, flux {flux.min():.3g} to {flux.max():.3g}",
        "hours_on_one_core": round(n * seconds / 3600, 3),
    }
    for name, value in told.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {one}" for key, one in value.items()) or "none"
        output.say(f"{name.replace('_', ' '):<18} {value}")
    output.result(told)
