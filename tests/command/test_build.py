"""Tests of `sk-payne build`: grids that a file describes."""

import sys

import numpy as np
import pytest

from sk_payne.grids import open_grid

SPACE = """
medium = "air"
n = 5
[wavelength]
low = 5000.0
high = 5001.0
step = 0.25
[ranges]
teff = [4000, 6000]
Fe_H = [-1.0, 0.0]
Mg_H = [-0.2, 0.4]
[around]
Mg_H = "Fe_H"
[fixed]
depth = 0.5
[engine]
kind = "python"
function = "code.py:make"
"""

CODE = """
import numpy as np
def make(labels, wavelength):
    if labels["teff"] < LOWEST:
        raise ValueError("too cool for this code")
    return 1 - labels["depth"] * np.full(len(wavelength), 0.1)
"""


@pytest.fixture
def build(run, tmp_path):
    """Give a function that writes the files, and builds the grid."""

    def call(*options, space=SPACE, lowest=0):
        (tmp_path / "space.toml").write_text(space)
        (tmp_path / "code.py").write_text(CODE.replace("LOWEST", str(lowest)))
        return run("build", "space.toml", *options)

    return call


def test_a_grid_is_made_and_goes_on(build, run_json, tmp_path):
    done = build("--out", "grid", "--seed", 2)
    assert done.status == 0, done.err
    assert "'grid' has 5 spectra; 0 failed." in done.out
    grid = open_grid(tmp_path / "grid")
    np.testing.assert_allclose(grid.wavelength, [5000, 5000.25, 5000.5, 5000.75, 5001])
    assert (grid.medium, grid.fixed) == ("air", {"depth": 0.5})
    assert np.allclose(np.asarray(grid.target[:]), 0.95)
    assert build("--out", "grid", "--seed", 2, "--n", 7).status == 0
    assert len(open_grid(tmp_path / "grid").data) == 7
    plan = run_json("train", "grid", "--out", "e.safetensors", "--check").found
    assert plan["labels"] == ["teff", "Fe_H", "Mg_H"]
    done = build("--out", "grid", "--seed", 3)
    assert done.status == 1


def test_spectra_that_fail_are_counted_and_tried_again(build):
    done = build("--out", "grid", "--n", 8, "--workers", 1, lowest=5000)
    assert done.status == 3
    assert "0 failed" not in done.out
    sys.modules.pop("sk_payne_engine_code", None)
    assert build("--out", "grid", "--n", 8).status == 3
    assert build("--out", "grid", "--n", 8, "--retry-failed").status == 0


def test_a_dry_run_makes_one_spectrum(build, tmp_path):
    done = build("--dry-run", "--n", 1000)
    assert done.status == 0, done.err
    assert "spectra            1000" in done.out
    assert "flux 0.95 to 0.95" in done.out
    assert "Mg_H -1.2 to 0.4" in done.out
    assert not (tmp_path / "grid").exists()


def test_a_dask_cluster_makes_spectra(build):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        done = build("--out", "grid", "--dask", cluster.scheduler_address)
    assert done.status == 0, done.err


def test_a_program_makes_spectra(build, tmp_path):
    program = (
        "import numpy as np; w = np.loadtxt('wavelength.txt'); d = float(open('in')."
        "read()); np.savetxt('out', np.transpose([w, 1 - d + 0 * w]))"
    )
    engine = f"""
kind = "command"
command = ["{sys.executable}", "-c", "{program}"]
templates = {{in = "{{depth:.3f}}"}}
output = "out"
column = 1
timeout = 60
"""
    space = SPACE[: SPACE.index('kind = "python"')] + engine
    done = build("--out", "grid", "--n", 2, "--quiet", space=space)
    assert done.status == 0, done.err
    assert np.allclose(np.asarray(open_grid(tmp_path / "grid").target[:]), 0.5)


def test_steps_of_a_resolution_are_equal_in_the_logarithm(build, tmp_path):
    space = SPACE.replace("step = 0.25", "resolution = 50000")
    assert build("--out", "grid", "--n", 2, space=space).status == 0
    wavelength = open_grid(tmp_path / "grid").wavelength
    np.testing.assert_allclose(np.diff(np.log(wavelength)), 1 / 50_000, rtol=1e-6)
    assert len(wavelength) == 10


def test_pysme_takes_a_line_list_and_atmospheres(build, tmp_path):
    engine = """
kind = "pysme"
line_list = "lines.csv"
lines_medium = "air"
atmospheres = "atmospheres.npz"
resolving_power = 50000
"""
    (tmp_path / "lines.csv").write_text(
        "species,wavelength,e_lower,log_gf\nFe 1,5000.5,1.0,-1.0\n"
    )
    teff = np.array([4000.0, 5000.0, 6000.0, 7000.0])
    np.savez(tmp_path / "atmospheres.npz", teff=teff)
    space = SPACE[: SPACE.index('kind = "python"')] + engine
    done = build("--dry-run", space=space)
    assert done.status == 1
    assert "it lacks ['metallicity', 'log_g', 'layers']" in done.err
    done = build("--dry-run", space=space.replace('lines_medium = "air"', ""))
    assert done.status == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('medium = "air"', "", "must have an entry 'medium'"),
        ('medium = "air"', 'medium = "water"', "must be"),
        ("step = 0.25", "step = -1.0", "a positive step"),
        ("step = 0.25", "", "either step in Å or resolution"),
        ("step = 0.25", "stp = 0.25", "Did you mean 'step'?"),
        ("[fixed]", "[fix]", "Did you mean 'fixed'?"),
        ('kind = "python"', 'kind = "korg"', "must be one of python, command, pysme"),
        ("code.py:make", "code.py:made", "has no function 'made'"),
        ("code.py:make", "code.txt", "must be FILE.py:NAME"),
        ("function = ", "func = ", "Did you mean 'function'?"),
        ("n = 5", "n = = 5", "is no TOML"),
        ("n = 5", "", "--n must be given"),
        ("[4000, 6000]", "[6000, 4000]", "teff"),
    ],
)
def test_a_file_at_fault_is_refused(build, old, new, message):
    done = build("--out", "grid", space=SPACE.replace(old, new))
    assert done.status == 1
    assert message in done.err


def test_files_and_options_that_are_missing(build, run):
    assert run("build", "no.toml").status == 1
    done = build()
    assert done.status == 2
    assert "--out is needed" in done.err
