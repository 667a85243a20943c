"""Grids are the same whoever makes them, however often they are stopped.

It is here because a run of weeks is never one run.
"""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from astropy import units as u

from sk_payne import SpectrumEmulator
from sk_payne.grids import CommandEngine, _store_writer, build_grid, open_grid

TOYS = Path(__file__).with_name("toy_synthesis.py")
_spec = importlib.util.spec_from_file_location("toy_synthesis", TOYS)
toys = importlib.util.module_from_spec(_spec)
sys.modules["toy_synthesis"] = toys
_spec.loader.exec_module(toys)
# workers do not know this file
cloudpickle.register_pickle_by_value(toys)
cloudpickle.register_pickle_by_value(sys.modules[__name__])

N = 13


def build(path, engine=toys.engine, n=N, space=None, **options):
    options = {"wavelength": toys.WAVELENGTH, "medium": "air", "verbose": 0} | options
    return build_grid(space or toys.Space(), engine, n, path, **options)


def contents(path):
    """All files of a folder, to the last byte."""
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Folder of an uninterrupted grid; don't change it."""
    path = tmp_path_factory.mktemp("grid") / "whole"
    build(path)
    return path


class Counting:
    """The engine, with a count of its calls."""

    def __init__(self):
        self.n_calls = 0

    def to_dict(self):
        return "engine"

    def __call__(self, labels, wavelength):
        self.n_calls += 1
        return toys.engine(labels, wavelength)


def test_grid_holds_what_the_engine_makes_of_the_sample(tmp_path):
    grid = build(tmp_path / "new" / "grid", random_state=3)
    labels = toys.Space().sample(N, random_state=3)
    np.testing.assert_array_equal(grid.data, labels)
    for (teff, metallicity), flux in zip(labels, grid.target, strict=True):
        star = {"teff": teff, "Fe_H": metallicity, "logg": 4.5}
        wanted = toys.engine(star, toys.WAVELENGTH).astype(np.float32)
        np.testing.assert_array_equal(flux, wanted)
    assert (grid.label_names, grid.label_units) == (["teff", "Fe_H"], ["K", "dex"])
    assert (grid.medium, grid.fixed) == ("air", {"logg": 4.5})
    assert grid.provenance["space"] == toys.Space().to_dict()
    assert grid.provenance["engine"] == "engine"
    assert grid.provenance["random_state"] == 3


def test_emulator_learns_from_the_open_grid(expected):
    grid = open_grid(expected)
    emulator = SpectrumEmulator(
        arch="payne", wavelength=grid.wavelength, medium=grid.medium, max_steps=3,
        label_names=grid.label_names, label_units=grid.label_units, random_state=0,
        device="cpu",
    )  # fmt: skip
    flux = emulator.fit(grid.data, grid.target).predict(grid.data)
    loaded = emulator.fit(grid.data, np.array(grid.target)).predict(grid.data)
    np.testing.assert_array_equal(flux, loaded)


def test_emulator_learns_from_a_grid_with_gaps(tmp_path):
    def engine(labels, wavelength):
        if labels["teff"] < 4500:
            raise ValueError("too cool")
        return toys.engine(labels, wavelength)

    with pytest.warns(UserWarning, match="failed"):
        grid = build(tmp_path, engine)
    assert not isinstance(grid.target, np.ndarray)
    emulator = SpectrumEmulator(arch="payne", max_steps=3, random_state=0, device="cpu")
    flux = emulator.fit(grid.data, grid.target).predict(grid.data)
    loaded = emulator.fit(grid.data, np.array(grid.target)).predict(grid.data)
    np.testing.assert_array_equal(flux, loaded)


def test_continuum_normalises_the_flux(tmp_path, expected):
    def engine(labels, wavelength):
        return 7e8 * toys.engine(labels, wavelength), np.full(len(wavelength), 7e8)

    grid = build(tmp_path, engine)
    np.testing.assert_allclose(grid.target, open_grid(expected).target, rtol=1e-6)


def test_programs_make_a_grid(tmp_path, expected):
    code = (
        "import math\n"
        "teff, iron, logg = map(float, open('star').read().split())\n"
        "for w in map(float, open('wavelength.txt')):\n"
        "    a = 10**iron * 5000 / teff * math.exp(-(w - 5003)**2)\n"
        "    b = logg / 5 * math.exp(-((w - 5007) / 2)**2)\n"
        "    print(math.exp(-a - b))\n"
    )
    engine = CommandEngine(
        {"star": "{teff} {Fe_H} {logg}"}, [sys.executable, "-c", code],
        lambda folder, wavelength: np.loadtxt(folder / "stdout"),
    )  # fmt: skip
    grid = build(tmp_path, engine, n=3)
    np.testing.assert_allclose(grid.target, open_grid(expected).target[:3], atol=1e-6)
    assert grid.provenance["engine"]["templates"] == {"star": "{teff} {Fe_H} {logg}"}


# Stopped and gone on with

KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
import toy_synthesis as toys
from sk_payne.grids import build_grid
engine = toys.KillingEngine(sys.argv[3], last=int(sys.argv[4]))
build_grid(toys.Space(), engine, 13, sys.argv[2], wavelength=toys.WAVELENGTH,
           medium="air", verbose=0)
"""


def run_killed(tmp_path, last):
    """A run in a process that is ended while a spectrum is made."""
    arguments = [TOYS.parent, tmp_path / "grid", tmp_path / "calls", last]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)])
    assert done.returncode == -signal.SIGKILL


def test_killed_grid_goes_on_as_if_it_had_lived(expected, tmp_path):
    path, counting = tmp_path / "grid", Counting()
    run_killed(tmp_path, last=5)
    grid = open_grid(path)
    np.testing.assert_array_equal(grid.target, open_grid(expected).target[:4])
    run_killed(tmp_path, last=9)  # calls count on: its fourth
    assert open_grid(path).rows.tolist() == list(range(7))
    build(path, counting)
    assert counting.n_calls == N - 7
    assert contents(path) == contents(expected)


@pytest.mark.parametrize("n_steps", range(14))
def test_grid_that_is_stopped_before_any_step_of_writing_goes_on(
    expected, tmp_path, monkeypatch, n_steps
):
    # every change of the folder goes through one of these
    left = iter(range(n_steps))

    def stop_after_some(function):
        def stopped(*arguments):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return function(*arguments)

        return stopped

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", stop_after_some(os.replace))
        for name in ("_grow", "_write_row"):
            original = getattr(_store_writer, name)
            patch.setattr(_store_writer, name, stop_after_some(original))
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path)
    build(tmp_path)
    assert contents_but_partial(tmp_path) == contents(expected)


SHARING = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import toy_synthesis as toys
from sk_payne.grids import build_grid

folder, me, n = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])

class Engine:
    def to_dict(self):
        return "engine"

    def __call__(self, labels, wavelength):
        (folder / f"making {me}").touch()
        give_up = time.monotonic() + 120
        while len(list(folder.glob("making *"))) < 2 and time.monotonic() < give_up:
            time.sleep(0.01)
        with open(folder / "log", "ab", buffering=0) as log:
            log.write(f"{labels['teff']}\\n".encode())
        if labels["Fe_H"] < -0.8:
            raise ValueError("too poor")
        return toys.engine(labels, wavelength)

import warnings
warnings.simplefilter("ignore")
grid = build_grid(toys.Space(), Engine(), n, folder / "x", wavelength=toys.WAVELENGTH,
                  medium="air", verbose=0)
assert not (grid.status[:n] == 0).any()
"""


def test_two_processes_share_a_grid_also_of_other_lengths(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SHARING, TOYS.parent, tmp_path, name, str(n)],
            stderr=subprocess.PIPE,
        )
        for name, n in (("A", 23), ("B", 31))
    ]
    told = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    made = (tmp_path / "log").read_text().split()
    assert len(made) == len(set(made)) == 31

    def engine(labels, wavelength):
        if labels["Fe_H"] < -0.8:
            raise ValueError("too poor")
        return toys.engine(labels, wavelength)

    engine.to_dict = lambda: "engine"
    with pytest.warns(UserWarning, match="failed"):
        build(tmp_path / "y", engine, n=31)
    assert contents(tmp_path / "x") == contents(tmp_path / "y")


def test_grid_of_a_version_without_claims_is_gone_on_with(expected, tmp_path):
    build(tmp_path, n=4)
    (tmp_path / "claims.lock").unlink()
    assert len(open_grid(tmp_path).data) == 4
    counting = Counting()
    build(tmp_path, counting)
    assert counting.n_calls == N - 4
    assert contents(tmp_path) == contents(expected)


def test_path_that_looks_like_a_file_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"`path` must be a folder.*Pass '.*grid'"):
        build(tmp_path / "grid.npz")
    assert list(tmp_path.iterdir()) == []


def contents_but_partial(path):
    return {k: v for k, v in contents(path).items() if not k.endswith(".partial")}


def test_complete_grid_is_not_made_again(expected):
    counting, before = Counting(), contents(expected)
    build(expected, counting)
    assert counting.n_calls == 0
    assert contents(expected) == before


def test_more_spectra_join_the_grid_and_fewer_leave_it(expected, tmp_path):
    build(tmp_path, n=4)
    counting = Counting()
    assert len(build(tmp_path, counting).data) == N
    assert counting.n_calls == N - 4
    assert contents(tmp_path) == contents(expected)
    assert len(build(tmp_path, n=2).data) == N
    assert contents(tmp_path) == contents(expected)


def test_fewer_spectra_make_only_those_that_are_asked_for(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, interrupted)
    assert build(tmp_path, Counting(), n=2).rows.tolist() == [0, 1]


def interrupted(labels, wavelength):
    raise KeyboardInterrupt


interrupted.to_dict = lambda: "engine"


# Failures


def failing(labels, wavelength):
    """Fails in another way for each of the first stars of the sample."""
    flux = toys.engine(labels, wavelength)
    number = toys.Space().sample(N, 0)[:, 0].tolist().index(labels["teff"])
    if number == 1:
        raise ZeroDivisionError("no\nconvergence")
    if number == 2:
        flux[[3, 5]] = np.nan
    if number == 4:
        flux = flux[:-1]
    if number == 5:
        return flux, np.zeros_like(flux)
    if number == 6:
        return None
    if number == 7:
        return 1e300 * flux
    if number == 8:
        raise TimeoutError("too long")
    return flux


REASONS = {
    1: "ZeroDivisionError: no convergence",
    2: "engine gave 2 of 23 values that are not, the first at 5001.36",
    4: r"shape (23,) of the wavelengths; the engine gave (22,)",
    5: "engine gave 23 of 23 values that are not",
    6: r"the engine gave ()",
    7: "engine gave 23 of 23 values that are not",
    8: "TimeoutError: too long",
}


@pytest.fixture(scope="module")
def with_failures(tmp_path_factory):
    """Folder of a grid with failures; don't change it."""
    path = tmp_path_factory.mktemp("failed") / "grid"
    with pytest.warns(UserWarning, match="7 of 13 spectra failed .* row 1: ZeroDiv"):
        build(path, failing)
    return path


def test_failures_are_recorded_with_their_reasons(with_failures, expected):
    grid, whole = open_grid(with_failures), open_grid(expected)
    assert grid.failures.keys() == REASONS.keys()
    for row, reason in REASONS.items():
        assert reason in grid.failures[row], row
    np.testing.assert_array_equal(grid.rows, [0, 3, *range(9, N)])
    np.testing.assert_array_equal(grid.data, whole.data[grid.rows])
    np.testing.assert_array_equal(grid.target, whole.target[grid.rows])


def repaired(labels, wavelength):
    repaired.n_calls += 1
    return toys.engine(labels, wavelength)


repaired.to_dict = lambda: "failing"


def test_failures_are_tried_again_only_if_asked(with_failures, expected, tmp_path):
    with pytest.warns(UserWarning, match="failed"):
        build(tmp_path, failing)
    repaired.n_calls = 0
    with pytest.warns(UserWarning, match="7 of 13 spectra failed"):
        build(tmp_path, repaired)
    assert repaired.n_calls == 0
    assert contents(tmp_path) == contents(with_failures)
    grid = build(tmp_path, repaired, retry_failed=True)
    assert repaired.n_calls == 7
    assert grid.failures == {}
    np.testing.assert_array_equal(grid.target, open_grid(expected).target)
    assert (tmp_path / "failures.jsonl").read_text() == ""


def test_engine_cannot_change_what_others_are_given(expected, tmp_path):
    def engine(labels, wavelength):
        flux = toys.engine(labels, wavelength)
        wavelength += 1
        labels["teff"] = 0.0
        return flux

    grid = build(tmp_path, engine)
    np.testing.assert_array_equal(grid.target, open_grid(expected).target)
    np.testing.assert_array_equal(grid.data, open_grid(expected).data)


# Workers


def test_two_processes_make_the_same_grid(with_failures, tmp_path):
    with pytest.warns(UserWarning, match="7 of 13 spectra failed"):
        build(tmp_path, failing, n_jobs=2)
    assert contents(tmp_path) == contents(with_failures)


def test_spectrum_that_ends_its_process_is_a_failure_and_others_are_made(tmp_path):
    engine = toys.KillingEngine(tmp_path / "calls", last=4)
    with pytest.warns(UserWarning, match="1 of 13 spectra failed.*The process ended"):
        grid = build(tmp_path / "x", engine, n_jobs=2)
    assert len(grid.failures) == 1
    assert len(build(tmp_path / "x", retry_failed=True).rows) == N


class SlowToStart:
    """An engine that counts, in a file, how often it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __setstate__(self, state):
        self.__dict__.update(state)
        with open(self.path, "ab", buffering=0) as file:
            file.write(b".")

    def __call__(self, labels, wavelength):
        return toys.engine(labels, wavelength)


def test_engine_is_started_once_in_each_process(tmp_path):
    build(tmp_path / "x", SlowToStart(tmp_path / "count"), n_jobs=2)
    assert 1 <= len((tmp_path / "count").read_text()) <= 2


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_cluster_makes_the_same_grid_and_goes_on_with_others(
    expected, with_failures, tmp_path, client
):
    build(tmp_path / "x", n=5)
    build(tmp_path / "x", client=client)
    assert contents(tmp_path / "x") == contents(expected)
    with pytest.warns(UserWarning, match="7 of 13 spectra failed"):
        build(tmp_path / "y", failing, client=client)
    assert contents(tmp_path / "y") == contents(with_failures)


# Folders of others, and arguments


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"space": toys.Space(hottest=7000.0)}, r"`space.teff`: \[4000.0, 6000.0\]"),
        ({"space": toys.Space(logg=4.0)}, "`fixed.logg`: 4.5, not 4.0"),
        ({"random_state": 1}, "`random_state`: 0, not 1"),
        ({"medium": "vacuum"}, "`medium`: 'air', not 'vacuum'"),
        ({"engine": failing}, "`engine`: 'engine', not 'failing'"),
        ({"wavelength": toys.WAVELENGTH + 1}, "`wavelength`: 23 from 5000.0"),
    ],
)
def test_folder_of_another_run_is_an_error_that_names_the_difference(
    expected, changes, named
):
    before = contents(expected)
    with pytest.raises(ValueError, match=named):
        build(expected, **changes)
    assert contents(expected) == before


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"n": 0}, ValueError, "`n` must be an integer of at least 1; got 0"),
        ({"n": 2.5}, ValueError, "`n` must be an integer"),
        ({"random_state": None}, ValueError, "`random_state` must .* got None"),
        ({"medium": "water"}, ValueError, "`medium` must be 'air' or 'vacuum'"),
        ({"wavelength": toys.WAVELENGTH / 10}, ValueError, "multiply nm by 10"),
        ({"wavelength": toys.WAVELENGTH[::-1]}, ValueError, "strictly increasing"),
        ({"wavelength": [[5000.0]]}, ValueError, "must be a 1-D array"),
        ({"wavelength": toys.WAVELENGTH * u.AA}, TypeError, "to_value"),
    ],
)
def test_bad_argument_is_an_error_and_leaves_no_folder(
    tmp_path, changes, error, message
):
    with pytest.raises(error, match=message):
        build(tmp_path / "x", **changes)
    assert not (tmp_path / "x").exists()


def test_progress_tells_how_much_is_left_and_how_much_failed(tmp_path, capsys):
    with pytest.warns(UserWarning, match="failed"):
        build(tmp_path, failing, n=4)
    assert capsys.readouterr().err == ""
    with pytest.warns(UserWarning, match="failed"):
        build(tmp_path, failing, verbose=1)
    shown = capsys.readouterr().err
    assert " 4/13 " in shown
    assert "13/13" in shown
    assert "failed=5" in shown
