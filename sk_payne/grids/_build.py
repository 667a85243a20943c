"""build_grid: compute a training grid into a folder, spectrum by spectrum.

A grid may take days, in which machines stop and spectra fail: finished spectra are
kept, and the next call continues after them.
"""

import warnings
from functools import partial
from importlib.metadata import version

import numpy as np
from tqdm.auto import tqdm

from sk_payne.grids._grid_arrays import SHORTEST
from sk_payne.grids._store import FAILED, MISSING, open_grid
from sk_payne.grids._store_writer import StoreWriter
from sk_payne.grids._synthesis import describe_engine, synthesise
from sk_payne.inputs import plain_wavelengths
from sk_payne.resumable import settle

__all__ = ["build_grid"]


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
    """Compute a training grid into a folder, or resume it.

    Each spectrum is written as soon as it is computed. A later call with the same
    arguments computes the missing spectra only; with a larger `n`, it adds spectra to
    the grid. Several processes may share one folder: each spectrum is computed by one
    of them, and all return when the grid is complete. The grid does not depend on the
    number of workers.

    Parameters
    ----------
    space : ParameterSpace
        Labels and their ranges; or an object of yours with `label_names`,
        `label_units`, `fixed`, ``sample(n, random_state)``, whose first rows must not
        depend on `n`, and ``to_dict()``.
    engine : callable
        Synthesis code: ``engine(labels, wavelength)`` takes a dictionary of all labels,
        fixed ones included, and wavelengths in Å. It returns the normalised flux, or a
        tuple of flux and continuum. An error is recorded with the spectrum, and the run
        continues.
    n : int
        Number of spectra. Further spectra in the folder are kept.
    path : str or path-like
        Folder of the grid, made if it does not exist. The name of a file, such as
        "grid.npz", is an error.
    wavelength : array-like of shape (n_wavelengths,)
        Wavelengths in Å, increasing.
    medium : {"air", "vacuum"}
        Medium of these wavelengths, which the engine must share.
    n_jobs : int, default=1
        Number of processes, -1 for one per core; 1 is the calling process.
    client : dask.distributed.Client, default=None
        Cluster that computes the spectra instead; the engine is sent to every worker
        once, and results are written by the calling process.
    random_state : int, default=0
        Seed of the sample of the space.
    retry_failed : bool, default=False
        Whether to try spectra again that failed in an earlier call.
    verbose : int, default=1
        0 shows no progress bar.

    Returns
    -------
    grid : StoredGrid
        All spectra in the folder, from :func:`open_grid`.

    Raises
    ------
    TypeError
        If wavelengths carry a unit.
    ValueError
        If an argument is not allowed, or the folder holds another grid.

    Warns
    -----
    UserWarning
        If spectra failed, in this call or earlier. ``grid.failures`` has the reasons.

    See Also
    --------
    open_grid : Open a grid, finished or not; describes its files.
    CommandEngine : Run a synthesis code that is a program.

    Notes
    -----
    The identity of a grid is in ``grid.json``: the space, `random_state`, wavelengths,
    medium, and the description of the engine, from its method ``to_dict()`` or else its
    name. The caller must ensure that an engine of that name computes the same.

    If a spectrum ends its process, as a fault in compiled code does, it is recorded as
    failed. With ``n_jobs=1`` that process is the caller's own: for codes that may
    crash, pass 2 or more for `n_jobs`, or call them through :class:`CommandEngine`.

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

    to_make = (MISSING, FAILED) if retry_failed else (MISSING,)
    rows = np.flatnonzero(np.isin(writer.status()[:n], to_make)).tolist()
    stars = ((row, _as_star(space, labels[row])) for row in rows)
    with tqdm(
        total=n, initial=n - len(rows), unit="spectrum", disable=not verbose
    ) as bar:
        settle(
            stars,
            _Rows(writer, to_make, bar),
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
    """Store of :func:`settle`: a piece is a row of the grid, its content a star."""

    def __init__(self, writer, to_make, bar):
        self._writer = writer
        self._to_make = to_make  # states of rows to compute
        self._bar = bar
        self._n_failed = 0

    def to_do(self, row, star):
        if self._writer.status_of(row) in self._to_make:
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
                "grid must be the same when it is resumed."
            )
    if medium not in ("air", "vacuum"):
        raise ValueError(
            f"`medium` must be 'air' or 'vacuum'; got {medium!r}. They differ by "
            "80 km/s."
        )
    wavelength = plain_wavelengths(wavelength)
    if wavelength.ndim != 1 or len(wavelength) == 0:
        raise ValueError(
            f"`wavelength` must be a 1-D array; got the shape {wavelength.shape}."
        )
    is_axis = np.isfinite(wavelength).all() and (np.diff(wavelength) > 0).all()
    if not (is_axis and wavelength[0] >= SHORTEST):
        raise ValueError(
            "`wavelength` must be finite, in Å and strictly increasing; got "
            f"{wavelength[0]:g} to {wavelength[-1]:g}. Sort it; multiply nm by 10."
        )
    return wavelength
