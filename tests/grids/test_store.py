"""Grids on disk: opened without us, grown in place, never half a spectrum.

It is here because a store that loses a row loses an hour of synthesis.
"""

import json
import tracemalloc

import numpy as np
import pytest

from sk_payne.exceptions import FileFormatError
from sk_payne.grids import StoredGrid, open_grid, read_grid
from sk_payne.grids._lazy_rows import LazyRows
from sk_payne.grids._store_writer import StoreWriter

WAVELENGTH = np.linspace(5000.0, 5003.0, 11)
LABELS = np.random.default_rng(0).normal(size=(7, 2))
FLUX = np.random.default_rng(1).uniform(size=(7, 11)).astype(np.float32)
DESCRIPTION = {
    "label_names": ["teff", "Fe_H"],
    "label_units": ["K", "dex"],
    "fixed": {"logg": 4.5},
    "medium": "vacuum",
    "provenance": {"space": {"teff": [4000.0, 6000.0]}, "engine": "mine"},
}


def open_writer(path, wavelength=WAVELENGTH, **changes):
    return StoreWriter(path, DESCRIPTION | changes, wavelength, {"numpy": "2"})


def make(path, rows, n_rows=7):
    writer = open_writer(path)
    writer.extend(LABELS[:n_rows])
    for row in rows:
        writer.write(row, FLUX[row])
    return writer


def test_numpy_and_json_alone_open_a_grid(tmp_path):
    make(tmp_path, range(7))
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), LABELS)
    np.testing.assert_array_equal(np.load(tmp_path / "flux.npy", mmap_mode="r"), FLUX)
    np.testing.assert_array_equal(np.load(tmp_path / "wavelength.npy"), WAVELENGTH)
    np.testing.assert_array_equal(np.load(tmp_path / "status.npy"), np.ones(7))
    manifest = json.loads((tmp_path / "grid.json").read_text())
    assert DESCRIPTION.items() <= manifest.items()


def test_opened_grid_has_what_was_written(tmp_path):
    make(tmp_path, range(7))
    grid = open_grid(tmp_path)
    assert isinstance(grid, StoredGrid)
    np.testing.assert_array_equal(grid.data, LABELS)
    np.testing.assert_array_equal(grid.target, FLUX)
    np.testing.assert_array_equal(grid.wavelength, WAVELENGTH)
    assert (grid.medium, grid.fixed) == ("vacuum", {"logg": 4.5})
    assert (grid.label_names, grid.label_units) == (["teff", "Fe_H"], ["K", "dex"])
    assert grid.provenance["engine"] == "mine"
    assert grid.provenance["versions"] == {"numpy": "2"}
    assert "7 spectra at 11 wavelengths in vacuum, 0 missing, 0 failed" in repr(grid)


def test_read_grid_reads_the_folder(tmp_path):
    make(tmp_path, [0, 2])
    grid = read_grid(tmp_path)
    np.testing.assert_array_equal(grid["data"], LABELS[[0, 2]])
    np.testing.assert_array_equal(grid["target"], FLUX[[0, 2]])
    assert (grid["medium"], grid["label_units"]) == ("vacuum", ["K", "dex"])


@pytest.mark.parametrize("rows", [[], [3], [2, 3, 4], [0, 1, 5], [1, 6]])
def test_rows_that_are_missing_are_left_out(tmp_path, rows):
    make(tmp_path, rows)
    grid = open_grid(tmp_path)
    np.testing.assert_array_equal(grid.rows, rows)
    np.testing.assert_array_equal(grid.data, LABELS[rows])
    assert grid.target.shape == (len(rows), 11)
    assert grid.target.dtype == np.float32
    np.testing.assert_array_equal(grid.target, FLUX[rows])


def test_grid_without_gaps_is_a_memory_map(tmp_path):
    make(tmp_path, [2, 3, 4])
    assert isinstance(open_grid(tmp_path).target, np.memmap)
    assert not open_grid(tmp_path).target.flags.writeable


@pytest.mark.parametrize("rows", [range(20_000), [0, 5, 19_999]])
def test_flux_is_not_read_before_it_is_asked_for(tmp_path, rows):
    wavelength = np.arange(5000.0, 10_000.0)
    writer = open_writer(tmp_path, wavelength)
    writer.extend(np.zeros((20_000, 2)))  # 400 MB that take no space
    writer.write(5, np.ones(5000))
    status = np.zeros(20_000, dtype=np.uint8)
    status[rows] = 1
    np.save(tmp_path / "status.npy", status)
    assert (tmp_path / "flux.npy").stat().st_blocks * 512 < 1e6
    tracemalloc.start()
    try:
        grid = open_grid(tmp_path)
        row = np.flatnonzero(grid.rows == 5)
        subset = grid.target[row, 100:103]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(subset, np.ones((1, 3)))
    assert peak < 4e6


KEYS = [
    3,
    -1,
    slice(1, None, 2),
    [0, 3, 1],
    np.array([True, False, True, True]),
    (2, 5),
    (slice(None), 5),
    (slice(0, 3), slice(2, 9, 3)),
    (slice(0, 3), [4, 2]),
    ([3, 1], slice(2, 4)),
    ([3, 1], [4, 2]),
    (np.array([[3], [1]]), [4, 2, 0]),
    (slice(None), np.arange(11) > 8),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_lazy_rows_are_indexed_like_an_array(key):
    rows = np.array([0, 2, 5, 6])
    np.testing.assert_array_equal(LazyRows(FLUX, rows)[key], FLUX[rows][key])


def test_lazy_rows_refuse_to_be_an_array_without_a_copy():
    with pytest.raises(ValueError, match="only by being copied"):
        np.array(LazyRows(FLUX, np.arange(2)), copy=False)


# Growing


def test_grid_grows_and_keeps_its_rows(tmp_path):
    writer = make(tmp_path, [0, 2], n_rows=3)
    writer.extend(LABELS)
    assert writer.status().tolist() == [1, 0, 1, 0, 0, 0, 0]
    writer.write(6, FLUX[6])
    grid = open_grid(tmp_path)
    np.testing.assert_array_equal(grid.data, LABELS[[0, 2, 6]])
    np.testing.assert_array_equal(grid.target, FLUX[[0, 2, 6]])


def test_header_has_room_for_any_number_of_rows(tmp_path):
    writer = make(tmp_path, [0], n_rows=1)
    for n_rows in (9, 10, 99_999, 100_000):
        writer.extend(np.vstack([LABELS[:1], np.zeros((n_rows - 1, 2))]))
        flux = np.load(tmp_path / "flux.npy", mmap_mode="r")
        assert flux.shape == (n_rows, 11)
        np.testing.assert_array_equal(flux[0], FLUX[0])


def test_fewer_rows_leave_a_grid_as_it_is(tmp_path):
    writer = make(tmp_path, range(7))
    writer.extend(LABELS[:2])
    np.testing.assert_array_equal(open_grid(tmp_path).target, FLUX)


def test_growth_that_was_ended_halfway_is_gone_on_with(tmp_path, monkeypatch):
    writer = make(tmp_path, [0, 1], n_rows=2)
    grow = "sk_payne.grids._store_writer._grow"
    with monkeypatch.context() as patch:
        patch.setattr(grow, lambda path, n: None)
        writer.extend(LABELS)
    np.testing.assert_array_equal(open_grid(tmp_path).data, LABELS[:2])
    np.testing.assert_array_equal(open_grid(tmp_path).target, FLUX[:2])
    make(tmp_path, range(2, 7))
    np.testing.assert_array_equal(open_grid(tmp_path).data, LABELS)
    np.testing.assert_array_equal(open_grid(tmp_path).target, FLUX)


def test_other_labels_in_rows_that_are_there_are_an_error(tmp_path):
    writer = make(tmp_path, [0])
    changed = LABELS.copy()
    changed[3, 1] += 1e-9
    with pytest.raises(ValueError, match=r"`space` must .* row 3 of"):
        writer.extend(changed)


def test_last_bits_of_another_processor_are_those_of_the_folder(tmp_path):
    make(tmp_path, [0], n_rows=3)
    writer = open_writer(tmp_path, np.nextafter(WAVELENGTH, 0))
    np.testing.assert_array_equal(writer.wavelength, WAVELENGTH)
    labels = writer.extend(np.nextafter(LABELS, 9))
    np.testing.assert_array_equal(labels[:3], LABELS[:3])
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), labels)


def test_wavelength_that_differs_is_named(tmp_path):
    make(tmp_path, [0])
    changed = WAVELENGTH.copy()
    changed[4] += 1e-6
    with pytest.raises(ValueError, match=r"first that differs is 5001.2, not 5001.20"):
        open_writer(tmp_path, changed)


# Writing


def test_writers_of_different_rows_do_not_disturb_each_other(tmp_path):
    first = make(tmp_path, [0])
    second = open_writer(tmp_path)
    second.write(1, FLUX[1])
    first.write(2, FLUX[2])
    second.fail(3, "no")
    first.fail(4, "never")
    grid = open_grid(tmp_path)
    np.testing.assert_array_equal(grid.target, FLUX[:3])
    assert grid.failures == {3: "no", 4: "never"}


def test_row_that_was_not_marked_is_missing(tmp_path, monkeypatch):
    writer = make(tmp_path, [0])
    monkeypatch.setattr("sk_payne.grids._store_writer.DONE", "no number")
    with pytest.raises(ValueError, match="no number"):
        writer.write(1, FLUX[1])
    assert writer.status().tolist() == [1, 0, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(np.load(tmp_path / "flux.npy")[1], FLUX[1])


@pytest.mark.parametrize("row", [-1, 7])
def test_row_that_is_not_there_is_an_error(tmp_path, row):
    writer = make(tmp_path, [])
    size = (tmp_path / "flux.npy").stat().st_size
    with pytest.raises(IndexError, match=f"one of 7; got {row}"):
        writer.write(row, FLUX[0])
    assert (tmp_path / "flux.npy").stat().st_size == size


def test_failures_are_kept_with_their_last_reason_until_the_row_is_made(tmp_path):
    writer = make(tmp_path, [0])
    for row, reason in [(5, "λ\nfirst"), (1, "x"), (5, "last"), (2, "y")]:
        writer.fail(row, reason)
    with open(tmp_path / "failures.jsonl", "ab") as file:
        file.write(b'{"row": 6, "err')  # of a process that was ended
    writer.write(1, FLUX[1])
    assert open_grid(tmp_path).failures == {2: "y", 5: "last"}
    writer.sort_failures()
    assert open_grid(tmp_path).failures == {2: "y", 5: "last"}
    lines = (tmp_path / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == [2, 5]


def test_failure_without_a_line_has_a_reason_that_says_so(tmp_path):
    make(tmp_path, [0]).fail(1, "x")
    (tmp_path / "failures.jsonl").unlink()
    assert open_grid(tmp_path).failures == {1: "The reason was not recorded."}


# Folders of others, and damaged ones


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"medium": "air"}, "`medium`: 'vacuum', not 'air'"),
        ({"fixed": {}}, r"`fixed.logg`: 4.5, not None"),
        (
            {"provenance": {"space": {"teff": (4000.0, 6500)}, "engine": "mine"}},
            r"`space.teff`: \[4000.0, 6000.0\], not \[4000.0, 6500\]",
        ),
        ({"wavelength": WAVELENGTH[:-1]}, r"`wavelength`: 11 from 5000.0 .* not 10 "),
    ],
)
def test_folder_of_another_grid_is_an_error_that_names_the_difference(
    tmp_path, changes, named
):
    make(tmp_path, [0])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=named):
        open_writer(tmp_path, **changes)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_folder_with_other_files_is_an_error(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"other files, such as 'thesis.tex'"):
        open_writer(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", ["labels", "flux", "status", "wavelength"])
def test_folder_whose_making_was_ended_is_made_to_its_end(tmp_path, name):
    open_writer(tmp_path)
    (tmp_path / f"{name}.npy").rename(tmp_path / f"{name}.partial")
    with pytest.raises(FileFormatError, match=f"{name}.npy.*If build_grid was stopped"):
        open_grid(tmp_path)
    make(tmp_path, [0])
    np.testing.assert_array_equal(open_grid(tmp_path).target, FLUX[:1])


def test_folder_in_which_only_a_manifest_was_begun_is_new(tmp_path):
    (tmp_path / "grid.json.partial").write_text("{")
    make(tmp_path, [0])
    assert len(open_grid(tmp_path).data) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format_version": 1', '"format_version": 2', "version 2. Install a newer"),
        ('"sk_payne grid"', '"thesis"', "the format 'sk_payne grid'.*got 'thesis'"),
        ("{", "", "damaged, or does not describe a grid"),
    ],
)
def test_manifest_of_something_else_is_an_error(tmp_path, old, new, message):
    make(tmp_path, [0])
    manifest = tmp_path / "grid.json"
    manifest.write_text(manifest.read_text().replace(old, new, 1))
    with pytest.raises(FileFormatError, match=message):
        open_grid(tmp_path)


def test_truncated_array_is_an_error(tmp_path):
    make(tmp_path, range(7))
    flux = (tmp_path / "flux.npy").read_bytes()
    (tmp_path / "flux.npy").write_bytes(flux[:-1])
    with pytest.raises(FileFormatError, match=r"flux.npy' is damaged .* restore"):
        open_grid(tmp_path)
