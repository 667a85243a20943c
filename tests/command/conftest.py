"""A tiny emulator in a file, and stars of it in files of several formats."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from sk_payne.command import main

SNR = 200
POWER = 20_000


@pytest.fixture(scope="session")
def emulator_file(tiny_grid, make_tiny, tmp_path_factory):
    """A fitted emulator that knows its resolving power; don't change it."""
    emulator = make_tiny("payne", resolving_power=POWER, max_steps=301)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    path = tmp_path_factory.mktemp("emulator") / "tiny.safetensors"
    emulator.save(path, provenance={"title": "Tiny"})
    return path


@pytest.fixture(scope="session")
def star(emulator_file):
    """Give a function that makes wavelengths, flux and errors of a star."""
    from sk_payne import load

    emulator = load(emulator_file)

    def make(number=0, level=1.0):
        rng = np.random.default_rng(number)
        low, high = emulator.label_low_, emulator.label_high_
        labels = low + rng.uniform(0.3, 0.7, len(low)) * (high - low)
        flux = emulator.predict(labels[None])[0]
        flux = flux + rng.normal(size=len(flux)) / SNR
        return SimpleNamespace(
            labels=labels,
            wavelength=emulator.wavelength_,
            flux=level * flux,
            error=np.full(len(flux), level / SNR),
        )

    return make


@pytest.fixture
def write_text(tmp_path, star):
    """Give a function that writes a star as text."""

    def write(name="star.txt", number=0, *, head="", level=1.0, errors=True):
        one = star(number, level)
        columns = [one.wavelength, one.flux, *([one.error] if errors else [])]
        path = tmp_path / name
        lines = ["medium: air", f"resolving_power: {POWER}", f"object: {name}"]
        header = head if head else "\n".join(lines)
        np.savetxt(path, np.transpose(columns), header=header)
        return path

    return write


@pytest.fixture
def night(tmp_path, write_text, star):
    """Files of a night: text, ECSV, FITS, a broken one, and one without its power."""
    write_text("a.txt", 1)
    about = {"medium": "air", "resolving_power": POWER, "object": "b"}
    one = star(2)
    table = Table(
        {"wavelength": one.wavelength, "flux": one.flux, "ivar": one.error**-2.0},
        meta=about,
    )
    table["wavelength"].unit, table["flux"].unit = "Angstrom", ""
    table.write(tmp_path / "b.ecsv")
    one = star(3)
    header = fits.Header({"MEDIUM": "air", "OBJECT": "c"})
    columns = [
        fits.Column("WAVE", "D", unit="Angstrom", array=one.wavelength),
        fits.Column("FLUX", "D", array=one.flux),
        fits.Column("ERR", "D", array=one.error),
    ]
    fits.HDUList(
        [
            fits.PrimaryHDU(header=header),
            fits.BinTableHDU.from_columns(columns, header=header),
        ]
    ).writeto(tmp_path / "c.fits")
    (tmp_path / "broken.fits").write_bytes(b"not a spectrum\0")
    return tmp_path


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Give a function that runs the command in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return SimpleNamespace(status=status, out=captured.out, err=captured.err)

    return call


@pytest.fixture
def run_json(run):
    """Give a function that runs the command with --json, and reads what it prints."""

    def call(*arguments):
        done = run(*arguments, "--json")
        return SimpleNamespace(status=done.status, found=json.loads(done.out))

    return call
