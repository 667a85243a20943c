"""Tests of the page about a catalogue."""

import numpy as np
import pytest
from astropy.table import Table

from sk_payne import AbundanceRegressor, Observation
from sk_payne.inspection import catalogue_report


@pytest.fixture
def table(fitted, tiny_grid):
    """Three stars, of which the last has no data."""
    flux = fitted["payne"].predict(tiny_grid.data[:3])
    flux[2] = np.nan
    still = Observation(velocity_range=None)
    return AbundanceRegressor(fitted["payne"], still, snr=100).measure(flux)


def test_page_tells_parameters_flags_and_stars(table, tmp_path, pyplot):
    path = catalogue_report(table, tmp_path / "page.html", title="My <stars>")
    text = path.read_text(encoding="utf-8")
    assert "My &lt;stars&gt;" in text
    assert "<td>measured</td><td>2</td>" in text
    assert "NO_DATA" in text
    assert "teff [K]" in text
    assert text.count("<img") == 1
    assert "<script" not in text
    assert pyplot.get_fignums() == []


def test_page_of_failures_alone_has_no_picture(table, tmp_path, pyplot):
    failed = table[2:]
    failed["file"], failed["error"] = ["a & b.fits"], ["It is damaged."]
    text = catalogue_report(failed, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "a &amp; b.fits" in text
    assert "It is damaged." in text
    assert "<img" not in text


def test_many_stars_are_cut_with_a_word(table, tmp_path, pyplot):
    many = table[np.zeros(331, dtype=int)]
    many["flags"] = 0
    text = catalogue_report(many, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "The first 200 of 331." in text
    assert "No star has a flag." in text


def test_other_tables_are_refused(tmp_path):
    with pytest.raises(ValueError, match="dof, flags are missing"):
        catalogue_report(Table({"chi2": [1.0]}), tmp_path / "page.html")
