"""Tests of how-to pages whose scripts need files, or state numbers of a record."""

import json
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from scipy.ndimage import gaussian_filter1d

from sk_payne import networks
from sk_payne.exchange import read_the_payne

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

# Pixels of the common grid of APOGEE, and of the chips on it.
N_PIXELS = 8575
CHIPS = np.r_[300:600, 3700:4000, 6500:6800]
WAVELENGTH = 10 ** (4.179 + 6e-6 * np.arange(N_PIXELS))
N_LABELS = 25


def script_of(page):
    """Return the first block of Python code of a page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    block = re.search(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text)[1]
    return textwrap.dedent(block)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder with a network of The_Payne for APOGEE, the working directory."""
    rng = np.random.default_rng(0)
    width = [N_LABELS, 150, 150, len(CHIPS)]
    arrays = {"x_min": np.full(N_LABELS, -1.0), "x_max": np.ones(N_LABELS)}
    arrays["x_min"][0], arrays["x_max"][0] = 4000.0, 6000.0
    for i in range(3):
        size = width[i + 1], width[i]
        arrays[f"w_array_{i}"] = rng.normal(size=size) / np.sqrt(width[i])
        arrays[f"b_array_{i}"] = np.full(width[i + 1], 0.1)
    # lines some pixels wide
    arrays["w_array_2"] = gaussian_filter1d(arrays["w_array_2"], 2, axis=0)
    arrays["b_array_2"][:] = 0.8
    np.savez(tmp_path / "NN_normalized_spectra.npz", **arrays)
    np.savez(tmp_path / "apogee_wavelength.npz", wavelength=WAVELENGTH[CHIPS])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_apstar(path, labels):
    """Write the spectrum of a star as APOGEE does: in counts, with padding and bits."""
    emulator = read_the_payne(
        path.parent / "NN_normalized_spectra.npz",
        wavelength=WAVELENGTH[CHIPS],
        medium="vacuum",
        label_names="apogee",
    )
    normalised = emulator.predict([labels])[0]
    rng = np.random.default_rng(1)
    normalised += rng.normal(scale=0.002, size=len(CHIPS))
    flux, error = np.zeros(N_PIXELS), np.full(N_PIXELS, 1e10)
    continuum = np.linspace(300, 200, N_PIXELS)
    flux[CHIPS] = normalised * continuum[CHIPS]
    error[CHIPS] = 0.002 * continuum[CHIPS]
    bits = np.ones(N_PIXELS, np.int16)
    bits[CHIPS] = 0
    primary = fits.PrimaryHDU()
    primary.header.update({"OBJID": "2M0000", "VHELIO1": 12.5, "HISTORY": "APSTAR"})
    hdus = [fits.ImageHDU(data) for data in (flux, error, bits)]
    for hdu in hdus:
        hdu.header.update({"CRVAL1": 4.179, "CDELT1": 6e-6, "CTYPE1": "LOG-LINEAR"})
    fits.HDUList([primary, *hdus]).writeto(path)


def test_script_for_apogee_finds_the_labels_and_the_velocity_of_a_star(folder):
    labels = np.linspace(-0.3, 0.3, N_LABELS)
    labels[0] = 4900.0
    write_apstar(folder / "apStar.fits", labels)
    exec(script_of("apogee.rst"), {})
    table = QTable.read("star.ecsv")
    names = table.colnames[: 2 * N_LABELS : 2]
    measured = np.array([float(table[name][0]) for name in names])
    error = np.array([float(table[f"{name}_error"][0]) for name in names])
    assert np.mean(np.abs(measured - labels) < 2 * error) > 0.8
    assert error[0] < 200
    velocity_error = float(table["radial_velocity_error"][0].value)
    assert abs(table["velocity"][0] - 12.5) < 5 * velocity_error


def test_script_for_apogee_measures_a_file_of_the_survey(folder, data_file):
    path = data_file("real/apStar-r6-2M03290406+3117075.fits")
    (folder / "apStar.fits").symlink_to(path)
    exec(script_of("apogee.rst"), {})
    table = QTable.read("star.ecsv")
    residual = table["radial_velocity"][0].value
    sent = fits.getheader(path)["VHELIO"]
    assert table["velocity"][0] == pytest.approx(sent + residual)
    assert table["n_pixels"][0] > 500
    assert table["n_segments"][0] == 3


def test_table_of_architectures_is_that_of_the_record():
    page = (DOCS / "choose_architecture.rst").read_text(encoding="utf-8")
    rows = re.findall(r'^``"(\w+)"`` +(0\.\d+) +(\d+) ', page, re.MULTILINE)
    record = json.loads((ROOT / "benchmarks/results/emulators.json").read_text())
    stated = {arch: (error, minutes) for arch, error, minutes in rows}
    assert stated == {
        row["arch"]: (f"{row['test_mae']:.4f}", f"{row['seconds'] / 60:.0f}")
        for row in record["rows"]
    }
    assert set(stated) | {"cannon"} == set(networks.NETWORKS)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.rst")), ids=lambda path: path.stem)
def test_every_page_is_in_one_table_of_contents(page):
    if page.stem == "index":
        return
    listed = re.findall(
        r"^   ([\w/]+)$",
        "\n".join(
            block
            for path in DOCS.glob("*.rst")
            for block in re.findall(
                r"\.\. toctree::\n((?:   .*\n|\n)+)", path.read_text(encoding="utf-8")
            )
        ),
        re.MULTILINE,
    )
    assert listed.count(page.stem) == 1
