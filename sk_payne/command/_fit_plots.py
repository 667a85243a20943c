"""Pictures of the fits of a run, one for each spectrum."""

from pathlib import Path

from sk_payne.inspection import SpectrumFitDisplay

__all__ = ["draw", "plot_fits"]


def plot_fits(regressor, reader, table, folder, output):
    """Draw the fit of each star that was measured.

    Parameters
    ----------
    regressor : AbundanceRegressor
        Measures each star again.
    reader : StarReader
        Reads the files.
    table : astropy.table.QTable
        Table that the run wrote.
    folder : pathlib.Path
        Made if it does not exist.
    output : Output
        Says what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n_drawn, path, stars = 0, None, []
    for row in table:
        if row["error"] != "":
            continue
        if row["file"] != path:
            path, stars = row["file"], reader.stars(row["file"])
        number = int(row["spectrum"])
        display = SpectrumFitDisplay.from_regressor(regressor, [stars[number]])
        name = Path(path).name + (f"-{number}" if len(stars) > 1 else "")
        draw(display, folder / f"{n_drawn:04d}_{name}.png")
        n_drawn += 1
    output.say(f"Wrote {n_drawn} pictures to {folder}")


def draw(display, path, *, lines=None):
    """Draw a fit into a file.

    Parameters
    ----------
    display : SpectrumFitDisplay
        The fit.
    path : path-like
        Its ending says the format.
    lines : mapping of str to array-like, default=None
        Lines to mark, as in :meth:`SpectrumFitDisplay.plot`.
    """
    import matplotlib

    backend = matplotlib.get_backend()
    matplotlib.use("agg")
    try:
        from matplotlib import pyplot

        figure = display.plot(lines=lines).figure_
        figure.savefig(path, dpi=120)
        pyplot.close(figure)
    finally:
        matplotlib.use(backend)
