"""build_grid: a training grid, made spectrum by spectrum into a folder.

A grid takes days, in which machines stop and spectra fail: spectra that are made are
kept, and the next call goes on after them.
"""

import warnings
from functools import partial
from importlib.metadata import version

import numpy as np
from tqdm.auto import tqdm

from sk_payne.grids._store import FAILED, MISSING, open_grid
from sk_payne.grids._store_writer import StoreWriter
from sk_payne.grids._synthesis import describe_engine, synthesise
from sk_payne.resumable import settle

__all__ = ["build_grid"]

# Stellar photospheres are dark below the Lyman limit; nm and µm are small numbers.
_SHORTEST = 900.0


def build_grid(
    space,
    engine,
    n,
    path,
    *,
    wavelength,
    medium,
    n_jobs=1,
    client=None,
    random_state=0,
    retry_failed=False,
    verbose=1,
):
    """Make a training grid into a folder, and go on where it was stopped.

    Each spectrum is written as soon as it is made. Called again with the same
    arguments, whatever ended the call before, it makes only what is missing; with a
    larger `n`, it makes further spectra of the same grid. Several processes may call it
    at a time with one folder: each spectrum is made by one of them, and all return when
    all are made. The grid does not depend on the number of workers.

    Parameters
    ----------
    space : ParameterSpace
        Labels, their ranges, and how they are drawn; or an object of yours with
        `label_names`, `label_units`, `fixed`, ``sample(n, random_state)``, whose first
        rows must not depend on `n`, and ``to_dict()``.
    engine : callable
        Takes ``(labels, wavelength)``: a dictionary of all labels by name, those that
        are fixed included, and the wavelengths in Å. Gives the normalised flux at these
        wavelengths, or a tuple of flux and continuum. Whatever it raises is recorded
        with the spectrum, and the run goes on.
    n : int
        Number of spectra. If the folder has more, those are left as they are.
    path : str or path-like
        Folder of the grid, which is made if it does not exist. A name like that of a
        file, such as "grid.npz", is an error.
    wavelength : array-like of shape (n_wavelengths,)
        Å, increasing.
    medium : {"air", "vacuum"}
        Of these wavelengths, which the engine must share.
    n_jobs : int, default=1
        Processes of this machine, -1 for one on each core. With 1, spectra are made in
        this process.
    client : dask.distributed.Client, default=None
        Whose workers make spectra; the engine is sent to every worker once. They are
        written here. If None, all is made on this machine.
    random_state : int, default=0
        Which sample of the space.
    retry_failed : bool, default=False
        Whether spectra that failed in a call before are tried again.
    verbose : int, default=1
        0 shows no progress bar.

    Returns
    -------
    grid : StoredGrid
        All that is in the folder now, as :func:`open_grid` gives it.

    Raises
    ------
    TypeError
        If wavelengths carry a unit.
    ValueError
        If an argument is not allowed, or the folder holds another grid.

    Warns
    -----
    UserWarning
        If spectra failed, now or before. ``grid.failures`` has the reasons.

    See Also
    --------
    open_grid : Opens the grid, also while it is made, and describes the files.
    CommandEngine : Synthesis codes that are programs.

    Notes
    -----
    What identifies a grid is in ``grid.json``: the space, `random_state`, wavelengths,
    medium, and what the engine tells of itself by a method ``to_dict()``; of a function
    it is the name alone. That the engine computes the same is for the caller to see to.

    A spectrum that ends the process it is made in, as a fault in compiled code does, is
    recorded as failed. With ``n_jobs=1`` that process is the caller's own: for such
    codes, let `n_jobs` be 2 or more, or call them through :class:`CommandEngine`.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from sk_payne.grids import build_grid
    >>> class Space:
    ...     label_names, label_units, fixed = ["teff"], ["K"], {"depth": 0.5}
    ...     def sample(self, n, random_state):
    ...         rng = np.random.default_rng(random_state)
    ...         return rng.uniform(4000, 6000, (n, 1))
    ...     def to_dict(self):
    ...         return {"teff": [4000, 6000], **self.fixed}
    >>> def engine(labels, wavelength):
    ...     if labels["teff"] < 4100:
    ...         raise ValueError("too cool for this code")
    ...     line = np.exp(-(((wavelength - 5001) / 0.3) ** 2))
    ...     return 1 - labels["depth"] * line * 4000 / labels["teff"]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     grid = build_grid(
    ...         Space(), engine, 8, folder, wavelength=np.linspace(5000, 5002, 9),
    ...         medium="air", random_state=1, verbose=0,
    ...     )
    >>> grid.data.shape, grid.target.shape, grid.failures
    ((8, 1), (8, 9), {})
    """
    wavelength = _check_arguments(n, wavelength, medium, random_state)
    labels = np.asarray(space.sample(n, random_state=random_state), dtype=np.float64)
    description = {
        "label_names": list(space.label_names),
        "label_units": list(space.label_units),
        "fixed": dict(space.fixed),
        "medium": medium,
        "provenance": {
            "space": space.to_dict(),
            "random_state": int(random_state),
            "engine": describe_engine(engine),
        },
    }
    versions = {name: version(name) for name in ("sk_payne", "numpy", "scipy")}
    writer = StoreWriter(path, description, wavelength, versions)
    labels = writer.extend(labels)

    wanted = (MISSING, FAILED) if retry_failed else (MISSING,)
    rows = np.flatnonzero(np.isin(writer.status()[:n], wanted)).tolist()
    stars = ((row, _as_star(space, labels[row])) for row in rows)
    with tqdm(
        total=n, initial=n - len(rows), unit="spectrum", disable=not verbose
    ) as bar:
        settle(
            stars,
            _Rows(writer, wanted, bar),
            partial(synthesise, engine, writer.wavelength),
            writer.claims,
            n_jobs=n_jobs,
            client=client,
        )
    writer.sort_failures()
    grid = open_grid(path)
    if grid.failures:
        first, reason = next(iter(grid.failures.items()))
        warnings.warn(
            f"{len(grid.failures)} of {len(grid.status)} spectra failed and are not in "
            f"the grid; `failures` has the reasons, of row {first}: {reason} Pass "
            "`retry_failed=True` to try them again.",
            stacklevel=2,
        )
    return grid


class _Rows:
    """Rows of a grid as pieces of a folder: stars to make, and spectra to keep."""

    def __init__(self, writer, wanted, bar):
        self._writer = writer
        self._wanted = wanted
        self._bar = bar
        self._n_failed = 0

    def to_do(self, row, star):
        if self._writer.status_of(row) in self._wanted:
            return star
        self._bar.update()  # another process has made it
        return None

    def keep(self, row, result, reason):
        flux, reason = (None, reason) if result is None else result
        if reason is None:
            self._writer.write(row, flux)
        else:
            self._writer.fail(row, reason)
            self._n_failed += 1
            self._bar.set_postfix(failed=self._n_failed, refresh=False)
        self._bar.update()


def _as_star(space, row):
    return dict(space.fixed) | dict(zip(space.label_names, row.tolist(), strict=True))


def _check_arguments(n, wavelength, medium, random_state):
    for name, value, least in (("n", n, 1), ("random_state", random_state, 0)):
        if not (isinstance(value, int | np.integer) and value >= least):
            raise ValueError(
                f"`{name}` must be an integer of at least {least}; got {value!r}. A "
                "grid must be the same when it is gone on with."
            )
    if medium not in ("air", "vacuum"):
        raise ValueError(
            f"`medium` must be 'air' or 'vacuum'; got {medium!r}. They differ by "
            "80 km/s."
        )
    if hasattr(wavelength, "unit"):
        raise TypeError(
            "`wavelength` must be plain numbers in Å, got a quantity in "
            f"{wavelength.unit}; pass wavelength.to_value('angstrom')."
        )
    wavelength = np.array(wavelength, dtype=np.float64)
    if wavelength.ndim != 1 or len(wavelength) == 0:
        raise ValueError(
            f"`wavelength` must be a 1-D array; got the shape {wavelength.shape}."
        )
    good = np.isfinite(wavelength).all() and (np.diff(wavelength) > 0).all()
    if not (good and wavelength[0] >= _SHORTEST):
        raise ValueError(
            "`wavelength` must be finite, in Å and strictly increasing; got "
            f"{wavelength[0]:g} to {wavelength[-1]:g}. Sort it; multiply nm by 10."
        )
    return wavelength
