"""Tests of views of rows: the rows of numpy, read late, and nothing more."""

import mmap

import numpy as np
import pytest
from sklearn.model_selection import train_test_split
from sklearn.utils import _safe_indexing

from sk_payne.grids import RowView
from sk_payne.grids._lazy_rows import LazyRows

ARRAY = np.random.default_rng(0).normal(size=(13, 5)).astype(np.float32)
PICKED = np.array([12, 0, 3, 3, 7])


class Rows:
    """As little of an array as there may be: single rows and slices."""

    def __init__(self, array):
        self.shape, self.dtype = array.shape, array.dtype
        self._array = array
        self.asked = []

    def __getitem__(self, key):
        self.asked.append(key)
        assert isinstance(key, int | slice)
        return self._array[key]


class Recorder(mmap.mmap):
    """A map of a file that tells which parts of it were asked for."""

    def madvise(self, option, start, length):
        assert option == mmap.MADV_WILLNEED
        assert start % mmap.PAGESIZE == 0
        self.parts.append(self[start : start + length])
        super().madvise(option, start, length)


@pytest.fixture(
    params=[
        "ndarray",
        "memmap",
        "slice of a memmap",
        "memmap backwards",
        "lazy rows of a memmap",
        "lazy rows",
        "h5py",
        "rows",
        "view",
    ]
)
def stored(request, tmp_path):
    if "memmap" in request.param:
        np.save(tmp_path / "flux.npy", np.concatenate([ARRAY[::-1], ARRAY]))
        both = np.load(tmp_path / "flux.npy", mmap_mode="r")
        yield {
            "memmap": lambda: RowView(both)[13:],
            "slice of a memmap": lambda: both[13:],
            "memmap backwards": lambda: both[12::-1],
            "lazy rows of a memmap": lambda: LazyRows(both, np.arange(13, 26)),
        }[request.param]()
    elif request.param == "h5py":
        import h5py

        with h5py.File(tmp_path / "flux.h5", "w") as file:
            yield file.create_dataset("flux", data=ARRAY, chunks=(3, 5))
    else:
        yield {
            "ndarray": ARRAY,
            "lazy rows": LazyRows(ARRAY[::-1], np.arange(13)[::-1]),
            "rows": Rows(ARRAY),
            "view": RowView(ARRAY[::-1])[::-1],
        }[request.param]


@pytest.mark.parametrize(
    "key",
    [
        PICKED,
        PICKED.tolist(),
        slice(None),
        slice(2, 9, 3),
        slice(None, None, -1),
        slice(4, 4),
        np.arange(13) % 2 == 0,
        (PICKED, Ellipsis),
        (slice(1, 3), slice(None)),
    ],
    ids=str,
)
def test_rows_of_a_view_are_those_of_numpy(stored, key):
    view = RowView(stored)[key]
    expected = ARRAY[key]
    assert isinstance(view, RowView)
    assert view.shape == expected.shape
    assert len(view) == len(expected)
    assert view.dtype == np.asarray(view).dtype == np.float32
    np.testing.assert_array_equal(np.asarray(view), expected)


def test_rows_of_a_view_of_a_view_are_rows_of_the_first(stored):
    view = RowView(stored)[PICKED][[4, 0, 1]][1:]
    np.testing.assert_array_equal(np.asarray(view), ARRAY[[12, 0]])


def test_one_row_is_an_array(stored):
    np.testing.assert_array_equal(RowView(stored)[-1], ARRAY[-1])
    assert isinstance(RowView(stored)[3], np.ndarray)


def test_picking_rows_reads_nothing():
    rows = Rows(ARRAY)
    view = RowView(rows)[PICKED]
    assert rows.asked == []
    np.asarray(view)
    assert rows.asked == PICKED.tolist()


def test_rows_in_turn_are_read_at_once():
    rows = Rows(ARRAY)
    np.asarray(RowView(rows)[3:9])
    assert rows.asked == [slice(3, 9)]


def test_system_is_told_which_rows_of_a_memory_map_are_read(tmp_path):
    flux = np.random.default_rng(1).normal(size=(13, 1009)).astype(np.float32)
    path = tmp_path / "flux.raw"
    path.write_bytes(b"a header" + flux.tobytes())
    with open(path, "rb") as file:
        pages = Recorder(file.fileno(), 0, access=mmap.ACCESS_READ)
    pages.parts = []
    mapped = np.ndarray.__new__(np.memmap, flux.shape, np.float32, pages, 8)
    mapped._mmap = pages
    found = np.asarray(RowView(mapped[2:])[[7, 0, 4]])
    np.testing.assert_array_equal(found, flux[[9, 2, 6]])
    assert len(pages.parts) == 3
    for part, row in zip(pages.parts, [9, 2, 6], strict=True):
        assert part.endswith(flux[row].tobytes())
        assert len(part) < flux[row].nbytes + mmap.PAGESIZE


def test_array_of_a_view_may_be_another_type_or_a_copy():
    view = RowView(ARRAY)
    assert np.asarray(view, dtype=np.float64).dtype == np.float64
    assert not np.shares_memory(np.array(view), ARRAY)
    with pytest.raises(ValueError, match="only by being read"):
        np.asarray(view[PICKED], copy=False)


def test_scikit_learn_splits_a_view_into_views():
    train, test = train_test_split(RowView(ARRAY), random_state=0)
    expected = train_test_split(ARRAY, random_state=0)
    for view, array in zip((train, test), expected, strict=True):
        assert isinstance(view, RowView)
        np.testing.assert_array_equal(np.asarray(view), array)
    assert isinstance(_safe_indexing(RowView(ARRAY), PICKED), RowView)


def test_columns_of_a_view_are_an_error_that_says_what_to_do():
    with pytest.raises(IndexError, match=r"got columns \[0\].*numpy.asarray\(view"):
        RowView(ARRAY)[:, 0]


def test_view_of_an_array_of_other_dimensions_is_an_error():
    with pytest.raises(ValueError, match=r"two dimensions.*got shape \(13,\)"):
        RowView(ARRAY[:, 0])


def test_row_that_is_not_there_is_an_error():
    with pytest.raises(IndexError):
        RowView(ARRAY)[13]


def test_only_rows_of_a_memory_map_are_announced(tmp_path):
    array = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "flux.npy", array)
    mapped = np.load(tmp_path / "flux.npy", mmap_mode="r")
    assert RowView(mapped)[[3, 1]].announce()
    assert not RowView(array)[[3, 1]].announce()
