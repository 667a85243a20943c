"""Tests of ready emulators: what the registry says, and that the files are those."""

import json
import shutil

import numpy as np
import pytest

import sk_payne
from sk_payne.datasets import load_sme_grid
from sk_payne.emulators import _ready, ready
from sk_payne.exceptions import FileFormatError

NAMES = [one.name for one in ready()]


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the data of the package, to be spoilt."""
    copy = shutil.copytree(_ready._data(), tmp_path / "data")
    monkeypatch.setattr(_ready, "_data", lambda: copy)
    return copy


def test_there_is_one_for_the_shipped_range():
    assert "dwarfs-4500-4600" in NAMES
    assert sorted(NAMES) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_registry_says_what_the_files_are(name):
    (one,) = [one for one in ready() if one.name == name]
    emulator = sk_payne.load(name)
    assert list(one.label_ranges) == emulator.label_names_
    low, high = np.transpose(list(one.label_ranges.values()))
    np.testing.assert_allclose(low, emulator.label_low_, atol=1e-3)
    np.testing.assert_allclose(high, emulator.label_high_, atol=1e-3)
    np.testing.assert_allclose(
        one.wavelength_range, emulator.wavelength_[[0, -1]], atol=0.01
    )
    assert one.medium == emulator.medium_
    assert one.resolving_power == emulator.resolving_power_
    assert one.arch == emulator.arch_
    files = list(one.path.iterdir())
    assert one.size == sum(file.stat().st_size for file in files) <= 8e6
    report = sk_payne.check(name)
    assert report.sha256 == one.sha256
    assert report.difference < 1e-6


@pytest.mark.parametrize("one", ready(), ids=NAMES)
def test_the_card_says_what_it_is_not_validated_for(one):
    assert one.title in one.card
    assert one.not_validated_for
    for use in one.not_validated_for:
        assert use in one.card
    assert "spread of the pulls" in one.card


def test_it_emulates_the_test_spectra_of_the_shipped_grid():
    grid = load_sme_grid()
    test = grid.test_indices[:100]
    emulator = sk_payne.load("dwarfs-4500-4600")
    error = np.abs(emulator.predict(grid.data[test]) - grid.target[test]).mean()
    assert error < 0.005


def test_it_measures_a_test_spectrum():
    grid = load_sme_grid()
    star = grid.test_indices[3]
    emulator = sk_payne.load("dwarfs-4500-4600")
    regressor = sk_payne.AbundanceRegressor(
        emulator, sk_payne.Observation(velocity_range=None), snr=200
    )
    noise = np.random.default_rng(0).normal(size=grid.target.shape[1]) / 200
    table = regressor.measure(grid.target[[star]] + noise)
    assert table["teff"][0].value == pytest.approx(grid.data[star, 0], abs=100)


def test_a_name_that_is_unknown_names_those_there_are():
    with pytest.raises(FileNotFoundError, match=r"Did you mean 'dwarfs-4500-4600'\?"):
        sk_payne.load("dwarfs-4500-4601")
    with pytest.raises(FileNotFoundError, match="or a ready emulator"):
        sk_payne.check("nothing")


def test_a_path_goes_before_a_name(tmp_path, monkeypatch, fitted):
    monkeypatch.chdir(tmp_path)
    fitted["payne"].save("dwarfs-4500-4600")
    assert sk_payne.load("dwarfs-4500-4600").arch_ == "payne"
    (tmp_path / "dwarfs-4500-4600").rename("other")
    assert sk_payne.load("dwarfs-4500-4600").arch_ == "opacity"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SHA256SUMS", "The ready emulator 'dwarfs-4500-4600' was changed"),
        ("emulator.safetensors", "is damaged or was changed"),
        ("README.md", "is damaged or was changed"),
    ],
)
def test_files_that_were_changed_are_refused(copied, name, message):
    with open(copied / "dwarfs-4500-4600" / name, "ab") as file:
        file.write(b"\n")
    with pytest.raises(FileFormatError, match=message):
        sk_payne.load("dwarfs-4500-4600")


def test_the_registry_is_plain_json(copied):
    entries = json.loads((copied / "registry.json").read_text(encoding="utf-8"))
    assert list(entries) == NAMES
