"""Files are UTF-8 wherever they are written and read.

It is here because names of stars and labels are not always English, and locales not
always those of the machine where a file was written.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sk_payne.datasets import make_spectra

# Python takes text files for ASCII under these.
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

MEASURE = """
import locale, runpy, sys
from pathlib import Path
from astropy.table import QTable
from sk_payne import AbundanceRegressor, load
from sk_payne.abundances import measure_catalogue, read_catalogue

assert locale.getpreferredencoding(False) != "UTF-8"
folder = Path(sys.argv[1])
options = "--medium air --arch payne --max-steps 5 --stars 2".split()
sys.argv[1:] = ["--grid", str(folder / "grid.npz"), "--out", str(folder), *options]
try:
    runpy.run_module("sk_payne", run_name="__main__")
except SystemExit as stop:
    assert stop.code == 0
emulator = load(folder / "emulator.safetensors")
stars = emulator.to_spectra([[5000.0, 0.1], [6000.0, 0.2]])
names = ["\\xc9toile de Kapteyn", "\\u03b5 Eri"]
stars = [stars[i] for i in range(2)]
for star, name in zip(stars, names):
    star.meta["object"] = name
regressor = AbundanceRegressor(emulator, snr=100, velocity_range=None)
for _ in range(2):  # the second goes on
    path = measure_catalogue(regressor, stars, folder / "stars", verbose=0)
assert list(read_catalogue(path)["object"]) == names
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Folder of a run in the C locale, and what it printed."""
    folder = tmp_path_factory.mktemp("encoding")
    grid = make_spectra(
        101, n_wavelengths=61, label_names=("teff", "Mg_H"), random_state=0
    )
    np.savez(
        folder / "grid.npz",
        labels=grid.data,
        flux=grid.target,
        wavelength=grid.wavelength,
        label_names=np.array(["teff", "α_H"]),
    )
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, folder],
        capture_output=True,
        env=os.environ | C_LOCALE | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return folder, done.stdout.decode("ascii")


def test_tables_of_another_locale_are_utf_8(measured):
    folder, _ = measured
    assert "α_H_error" in (folder / "stars.ecsv").read_text(encoding="utf-8")
    part = next((folder / "stars").glob("part-*.ecsv"))
    assert "ε Eri" in part.read_text(encoding="utf-8")


def test_letters_that_a_terminal_lacks_do_not_stop_the_command(measured):
    _, printed = measured
    assert "?_H" in printed
    assert "pull" in printed


def test_no_text_file_of_the_package_depends_on_the_locale():
    import sk_payne

    for path in Path(sk_payne.__file__).parent.rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if ".read_text(" in line or ".write_text(" in line:
                assert "encoding=" in line or ">>>" in line or "..." in line, path
