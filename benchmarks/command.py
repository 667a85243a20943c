"""The command `sk-payne measure` on six formats, and after a kill.

Test spectra of the shipped grid, with noise at S/N 100, are written to an empty
folder: text, gzipped text, ECSV, a FITS table, a spectrum of SDSS, and CSV. The command
measures them with the ready emulator; the wall time includes the start of Python. Then
it is run in another folder, killed with SIGKILL as soon as the first part is on disk,
and run once more: both tables must be the same.

Writes results/command.json.

    python benchmarks/command.py
"""

import gzip
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import QTable, Table
from record import write
from timing import Timed

from sk_payne.datasets import load_sme_grid

LIMIT = 30.0  # s
COMMAND = [sys.executable, "-m", "sk_payne", "measure"]
OPTIONS = ["--emulator", "dwarfs-4500-4600", "--medium", "air"]
OPTIONS += ["--resolving-power", "emulator", "--out", "stars.ecsv", "--quiet"]


def main():
    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as other:
        files = write_files(Path(whole))
        with Timed() as took:
            subprocess.run(COMMAND + files + OPTIONS, cwd=whole, check=True)
        write_files(Path(other))
        n_parts = kill_early(COMMAND + files + OPTIONS + ["--chunk-size", "1"], other)
        subprocess.run(
            COMMAND + files + OPTIONS + ["--chunk-size", "1"], cwd=other, check=True
        )
        tables = [QTable.read(Path(folder, "stars.ecsv")) for folder in (whole, other)]
        same = all(
            np.array_equal(tables[0][name], tables[1][name], equal_nan=kind == "f")
            for name, kind in ((n, tables[0][n].dtype.kind) for n in tables[0].colnames)
        )
    record = {"files": files, "seconds": took.wall, "limit": LIMIT}
    record |= {"parts_before_the_kill": n_parts, "same_table": bool(same)}
    write("command", record)
    print(record)


def write_files(folder):
    """Write spectra of six stars in six formats; give the names of the files."""
    grid = load_sme_grid()
    rng = np.random.default_rng(0)
    wavelength, rows = grid.wavelength, grid.test_indices[6:12]
    noise = rng.normal(scale=0.01, size=(6, len(wavelength)))
    flux, error = grid.target[rows] + noise, np.full(len(wavelength), 0.01)
    columns = [np.transpose([wavelength, one, error]) for one in flux]
    np.savetxt(folder / "a.txt", columns[0])
    np.savetxt(folder / "b.txt", columns[1])
    with (
        open(folder / "b.txt", "rb") as plain,
        gzip.open(folder / "b.txt.gz", "wb") as f,
    ):
        shutil.copyfileobj(plain, f)
    (folder / "b.txt").unlink()
    names = ("wavelength", "flux", "error")
    table = Table(columns[2], names=names, units={"wavelength": "Angstrom"})
    table.write(folder / "c.ecsv")
    table = Table(columns[3], names=names, units={"wavelength": "Angstrom"})
    table.write(folder / "d.fits")
    one = {"loglam": np.log10(wavelength), "flux": flux[4], "ivar": error**-2.0}
    one["and_mask"] = np.zeros(len(wavelength), dtype=np.int32)
    header = fits.Header({"TELESCOP": "SDSS 2.5-M"})
    hdus = [fits.PrimaryHDU(header=header), fits.BinTableHDU(Table(one), name="COADD")]
    fits.HDUList(hdus).writeto(folder / "e.fits")
    table = Table(columns[5], names=names)
    table.write(folder / "f.csv")
    return ["a.txt", "b.txt.gz", "c.ecsv", "d.fits", "e.fits", "f.csv"]


def kill_early(command, folder):
    """Kill the command once a part is on disk; give the number of parts."""
    process = subprocess.Popen(command, cwd=folder)
    parts = Path(folder, "stars.parts", "catalogue")
    while process.poll() is None and not list(parts.glob("**/part*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(list(parts.glob("**/part*")))


if __name__ == "__main__":
    main()
