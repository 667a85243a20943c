"""`sk-payne measure`: files of spectra become a table of stars."""

import time
import warnings
from contextlib import nullcontext
from pathlib import Path

import click

from sk_payne.abundances import LEARNED_START, measure_catalogue, read_catalogue
from sk_payne.command._clients import dask_client
from sk_payne.command._config import (
    config_option,
    save_config,
    save_config_option,
)
from sk_payne.command._diagnosis import Demands
from sk_payne.command._dry_run import dry_run
from sk_payne.command._files import expand_files
from sk_payne.command._fit_plots import plot_fits
from sk_payne.command._kept import Kept
from sk_payne.command._output import SOME_FAILED, with_output
from sk_payne.command._regressor import make_regressor
from sk_payne.command._star_options import star_options
from sk_payne.command._star_reader import StarReader
from sk_payne.command._star_table import star_table
from sk_payne.command._table_file import check_table_path, write_table
from sk_payne.command._values import SUMS
from sk_payne.command._workers import with_workers
from sk_payne.emulators import load

__all__ = ["measure"]

_SHOWN = 5

_EXAMPLES = """\b
Examples:
  sk-payne measure *.fits --emulator dwarfs-4500-4600 --out stars.ecsv
  sk-payne measure night1/ @more.txt --emulator mine.safetensors \\
      --resolving-power 42000 --continuum-degree 2 --out stars.fits
  sk-payne measure *.fits --emulator dwarfs-4500-4600 --dry-run

\b
Exit codes:
  0    all spectra were measured
  1    the input is at fault, and nothing was measured
  2    the command line is at fault
  3    the table was written; some rows have a reason instead of numbers
  130  Ctrl-C; what was measured is kept
"""


@click.command("measure", epilog=_EXAMPLES)
@click.argument("files", nargs=-1)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The table: .fits, .ecsv, .vot or .csv.",
)
@star_options
@click.option(
    "--combinations",
    type=SUMS,
    default=None,
    help='Further columns that are sums of labels, such as "Mg_Fe=Mg_H-Fe_H", with '
    "errors from the covariance.",
)
@click.option(
    "--learn-start",
    is_flag=True,
    help="Train a neural posterior for these files once, and start all fits from it; "
    "needs the extra `neural`. The size of the training is printed before it begins; "
    "it is repaid after tens of thousands of stars.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of processes on this machine.",
)
@click.option(
    "--dask", metavar="ADDRESS", help="Address of the scheduler of a Dask cluster."
)
@click.option(
    "--chunk-size",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Number of files after which results are saved.",
)
@click.option(
    "--retry-failed", is_flag=True, help="Measure files again that failed before."
)
@click.option("--restart", is_flag=True, help="Discard what an earlier run measured.")
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for a picture of each fit.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what each file is and what it lacks; measure nothing.",
)
@save_config_option
@config_option
@with_output
@click.pass_context
def measure(ctx, files, emulator, out, output, **values):
    """Measure the stars of FILES into a table.

    FILES are spectra in any format that sk_payne reads, patterns, folders, and @LIST, a
    text with a file in each line. A file that cannot be measured becomes a row with the
    reason. After Ctrl-C, or with more files, the same command measures only what is
    missing.

    A VALUE is a number; LOW,HIGH for limits between which it is fitted; a word; or
    none.
    """
    paths = expand_files(files, besides=out)
    regressor = make_regressor(load(emulator), values)
    demands = Demands.of(regressor, values["medium"])
    reader = StarReader(demands, values["format"], values["read"] or {})
    if values["save_config"] is not None:
        save_config(ctx, values["save_config"])
        output.note(f"Wrote {values['save_config']}")
    if values["dry_run"]:
        if dry_run(reader, paths, output):
            ctx.exit(SOME_FAILED)
        return
    if out is None:
        raise click.UsageError("--out is needed, unless there is --dry-run.")
    check_table_path(out)
    start = time.monotonic()
    kept = Kept(out)
    table = _measured(regressor, reader, paths, kept, values, output)
    write_table(table, out)
    failed = table[table["error"] != ""]
    _tell(table, failed, out, time.monotonic() - start, output)
    if values["plots"] is not None:
        if values["learn_start"]:
            regressor.start = _untrained(regressor).load(kept.catalogue / LEARNED_START)
        plot_fits(regressor, reader, table, values["plots"], output)
    if len(failed):
        ctx.exit(SOME_FAILED)


def _measured(regressor, reader, paths, kept, values, output):
    """Measure what an earlier run did not, and give the table of all."""
    if values["restart"]:
        kept.discard()
    kept.agree(
        {
            "format": reader.format,
            "medium": reader.demands.medium,
            "options": reader.options,
        }
    )
    whole = [str(Path(path).absolute()) for path in paths]
    arguments = (regressor, whole, kept.catalogue)
    options = {
        "reader": reader,
        "combinations": values["combinations"],
        "chunk_size": values["chunk_size"],
        "retry_failed": True if values["retry_failed"] else "changed",
        "learn_start": _untrained(regressor) if values["learn_start"] else None,
        "verbose": int(output.shows_progress),
    }
    dask = values["dask"]
    try:
        with (
            with_workers(values["workers"], arguments, options),
            nullcontext() if dask is None else dask_client(dask) as client,
            warnings.catch_warnings(),
        ):
            # rows of the table tell it
            warnings.filterwarnings("ignore", r".*failures\.jsonl")
            measure_catalogue(*arguments, **options, client=client)
    except KeyboardInterrupt:
        output.note(
            f"\nWhat was measured is kept in '{kept.path}'. Run the command again to "
            "go on."
        )
        raise
    except ValueError as error:
        if kept.catalogue.exists():
            raise ValueError(f"{error} Or pass --restart to discard it.") from error
        raise
    return star_table(
        read_catalogue(kept.catalogue),
        kept.failures(),
        paths,
        regressor,
        values["combinations"],
    )


def _untrained(regressor):
    from sk_payne.neural_posterior import NeuralPosterior

    return NeuralPosterior.of(regressor, random_state=0)


def _tell(table, failed, out, seconds, output):
    n_good = len(table) - len(failed)
    output.say(
        f"Measured {n_good} of {len(table)} spectra in {seconds:.1f} s; wrote {out}"
    )
    for row in failed[: None if output.verbose else _SHOWN]:
        output.note(f"{row['file']}: {row['error']}")
    if len(failed) > _SHOWN and not output.verbose:
        output.note(f"... and {len(failed) - _SHOWN} more, see the column `error`")
    output.result(
        {
            "out": str(out),
            "n_spectra": len(table),
            "n_measured": n_good,
            "seconds": round(seconds, 3),
            "failed": [
                {name: row[name] for name in ("file", "spectrum", "error")}
                for row in failed
            ],
        }
    )
