"""Tests of tables of labels: any container, order, unit, mask and memory layout."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr
from astropy import units as u
from astropy.table import QTable, Table
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sk_payne.inputs import is_table, read_labels

NAMES = ["teff", "logg", "Fe_H"]
UNITS = ["K", "dex(cm / s2)", "dex"]
VALUES = np.array([[5772.0, 4.44, 0.0], [4500.0, 2.5, -1.25], [6310.0, 4.1, 0.31]])
few = settings(max_examples=30, deadline=None, derandomize=True)


def records(values, names):
    array = np.zeros(len(values), [(name, values.dtype) for name in names])
    for name, column in zip(names, values.T, strict=True):
        array[name] = column
    return array


def dataset(values, names):
    return xr.Dataset({n: ("star", v) for n, v in zip(names, values.T, strict=True)})


def data_array(values, names):
    return xr.DataArray(values, dims=["star", "label"], coords={"label": names})


CONTAINERS = {
    "pandas": lambda values, names: pd.DataFrame(values, columns=names),
    "polars": lambda values, names: pl.DataFrame(values, names, orient="row"),
    "Table": lambda values, names: Table(values, names=names),
    "QTable": lambda values, names: QTable(values, names=names),
    "records": records,
    "Dataset": dataset,
    "DataArray": data_array,
}
CATALOGUES = ["Table", "QTable", "records", "Dataset"]
LAYOUTS = {
    "list": lambda values: values.tolist(),
    "big-endian": lambda values: values.astype(">f8"),
    "objects": lambda values: values.astype(object),
    "columns first": np.asfortranarray,
    "every other row": lambda values: np.repeat(values, 2, axis=0)[::2],
    "read-only": lambda values: _locked(values.copy()),
    "pandas without names": pd.DataFrame,
    "polars without names": lambda values: pl.DataFrame(values, orient="row"),
    "Table without names": Table,
    "unmasked": np.ma.array,
}


def _locked(values):
    values.flags.writeable = False
    return values


# Names ---------------------------------------------------------------------------


@few
@given(
    kind=st.sampled_from(sorted(CONTAINERS)),
    order=st.permutations(range(len(NAMES))),
)
def test_columns_of_any_container_are_taken_by_name(kind, order):
    names = [NAMES[i] for i in order]
    table = CONTAINERS[kind](VALUES[:, list(order)], names)
    found = read_labels(table, names=NAMES)
    np.testing.assert_array_equal(found.values, VALUES)
    assert found.names == NAMES
    assert found.values.flags.c_contiguous
    assert is_table(table)
    # without names that are asked for, those of the container count
    own = read_labels(table)
    assert own.names == names
    np.testing.assert_array_equal(own.values, VALUES[:, list(order)])


@few
@given(kind=st.sampled_from(sorted(LAYOUTS)))
def test_any_layout_gives_what_a_plain_array_gives(kind):
    given_values = LAYOUTS[kind](VALUES)
    found = read_labels(given_values, names=NAMES, units=UNITS)
    np.testing.assert_array_equal(found.values, VALUES)
    assert found.values.flags.c_contiguous
    assert found.values.dtype == np.float64
    assert found.values.dtype.isnative
    assert found.names is None
    assert not is_table(given_values)


@pytest.mark.parametrize("dtype", [np.float16, np.int32, np.uint8, ">f4", "f4"])
def test_numbers_of_other_types_become_floats(dtype):
    values = np.array([[1, 2], [3, 4]]).astype(dtype)
    found = read_labels(values).values
    np.testing.assert_array_equal(found, values)
    single = np.dtype(dtype).newbyteorder("=") == np.float32
    assert found.dtype == (np.float32 if single else np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_passed_on_without_a_copy(dtype):
    values = VALUES.astype(dtype)
    assert read_labels(values, names=NAMES, units=UNITS).values is values


def test_numbers_of_a_file_in_memory_are_not_copied(tmp_path):
    np.save(tmp_path / "labels.npy", VALUES)
    mapped = np.load(tmp_path / "labels.npy", mmap_mode="r")
    assert np.shares_memory(read_labels(mapped).values, mapped)


@pytest.mark.parametrize("kind", sorted(CONTAINERS))
def test_a_missing_column_is_named_with_what_may_be_meant(kind):
    table = CONTAINERS[kind](VALUES, ["teff", "logg", "Fe_h"])
    with pytest.raises(ValueError, match=r"no 'Fe_H'.*Did you mean 'Fe_h'\?"):
        read_labels(table, argument="P", names=NAMES)


@pytest.mark.parametrize("kind", sorted(CONTAINERS))
def test_more_columns_are_left_out_of_catalogues_and_refused_otherwise(kind):
    table = CONTAINERS[kind](VALUES[:, [2, 0, 1]], ["Fe_H", "teff", "logg"])
    names = ["logg", "Fe_H"]
    if kind in CATALOGUES:
        found = read_labels(table, names=names).values
        np.testing.assert_array_equal(found, VALUES[:, [1, 2]])
    else:
        with pytest.raises(ValueError, match=r"no other columns.*\['teff'\] as well"):
            read_labels(table, names=names)


def test_a_column_of_words_is_left_out_if_labels_are_known_and_named_otherwise():
    table = Table(VALUES, names=NAMES)
    table["object"] = ["a", "b", "c"]
    np.testing.assert_array_equal(read_labels(table, names=NAMES).values, VALUES)
    with pytest.raises(ValueError, match="column 'object' of `y` must be one real"):
        read_labels(table, argument="y")


def test_a_column_of_arrays_is_refused_by_name():
    table = Table({"teff": [5000.0, 6000.0], "x_h": np.ones((2, 3))})
    with pytest.raises(ValueError, match="column 'x_h' of `X` must be one real number"):
        read_labels(table)


def test_two_columns_of_one_name_are_refused():
    frame = pd.DataFrame(VALUES, columns=["teff", "teff", "logg"])
    with pytest.raises(ValueError, match="must have different names"):
        read_labels(frame)
    with pytest.raises(ValueError, match="must have different names"):
        read_labels(data_array(VALUES, ["teff", "teff", "logg"]))


def test_names_that_an_emulator_made_up_do_not_ask_for_columns():
    frame = pd.DataFrame(VALUES, columns=NAMES)
    found = read_labels(frame, names=["label_0", "label_1", "label_2"])
    np.testing.assert_array_equal(found.values, VALUES)
    assert found.names == NAMES


def test_made_up_names_in_another_order_are_names():
    order = [2, 0, 1]
    names = [f"label_{i}" for i in order]
    frame = pd.DataFrame(VALUES[:, order], columns=names)
    found = read_labels(frame, names=["label_0", "label_1", "label_2"])
    np.testing.assert_array_equal(found.values, VALUES)


def test_one_row_of_a_table_is_one_star():
    table = QTable(VALUES[:, ::-1], names=NAMES[::-1])
    table["teff"] = table["teff"] / 1000 * u.kK
    found = read_labels(table[1], names=NAMES, units=UNITS).values
    np.testing.assert_allclose(found, VALUES[[1]])


# Units ---------------------------------------------------------------------------


@few
@given(
    kind=st.sampled_from(["Table", "QTable"]),
    units=st.tuples(
        st.sampled_from(["K", "kK", "mK"]),
        st.sampled_from(
            ["dex(cm / s2)", "dex(m / s2)", "dex(km / s2)", "dex", "cm/s2"]
        ),
        st.sampled_from(["dex", "", "mag", "dB"]),
    ),
    order=st.permutations(range(len(NAMES))),
)
def test_any_unit_of_the_right_dimension_is_converted(kind, units, order):
    columns = {}
    for i in order:
        own = u.Unit(units[i])
        if own in (u.dex, u.one):
            columns[NAMES[i]] = VALUES[:, i] * own
        else:
            columns[NAMES[i]] = (VALUES[:, i] * u.Unit(UNITS[i])).to(own)
    table = QTable(columns)
    if kind == "Table":
        table = Table(
            {name: table[name].value for name in table.colnames},
            units={name: table[name].unit for name in table.colnames},
        )
    found = read_labels(table, names=NAMES, units=UNITS)
    np.testing.assert_allclose(found.values, VALUES, rtol=1e-12, atol=1e-12)
    assert found.units == UNITS


@pytest.mark.parametrize(
    ("unit", "wanted", "said"),
    [
        ("Jy", "K", "must be in K or a unit that converts to it; got Jy"),
        ("", "K", "must be in K or a unit"),
        ("K", "", "no unit is known for it; got K.*give `label_units`"),
        ("dex(m / s2)", "", "no unit is known for it; got dex"),
        ("dex(m / s2)", "dex", r"must be in dex or a unit .*got dex\(m / s2\)"),
        ("K", "dex", "must be in dex"),
        ("cm / s2", "dex", "must be in dex"),
        ("nonsense", "K", "got nonsense"),
    ],
)
def test_another_unit_is_refused_with_the_one_that_is_wanted(unit, wanted, said):
    values = u.Quantity([[1.0], [2.0]], u.Unit(unit, parse_strict="silent"), subok=True)
    with pytest.raises(ValueError, match=f"'x' of `P`.*{said}"):
        read_labels(values, argument="P", names=["x"], units=[wanted])
    column = Table({"x": [1.0, 2.0]})
    column["x"].unit = u.Unit(unit, parse_strict="silent")
    with pytest.raises(ValueError, match=f"'x' of `P`.*{said}"):
        read_labels(column, argument="P", names=["x"], units=[wanted])


@pytest.mark.parametrize("unit", ["dex", "dex(cm / s2)"])
@pytest.mark.parametrize("wanted", ["dex", "dex(cm / s2)", ""])
def test_dex_of_log_g_is_dex(unit, wanted):
    values = u.Quantity([[4.44]], u.Unit(unit), subok=True)
    assert read_labels(values, units=[wanted]).values == 4.44


@pytest.mark.parametrize("wanted", ["dex", ""])
def test_numbers_without_dimension_may_be_dex(wanted):
    assert read_labels([[0.3]] * u.one, units=[wanted]).values == 0.3


def test_units_of_a_container_are_told_if_none_are_asked_for():
    table = QTable({"teff": [5000.0] * u.K, "logg": [4.4], "Fe_H": [0.1] * u.dex})
    assert read_labels(table).units == ["K", "", "dex"]
    assert read_labels(VALUES).units is None
    assert read_labels(pd.DataFrame(VALUES, columns=NAMES)).units is None
    gravity = QTable({"logg": [4.4] * u.dex(u.cm / u.s**2)})
    assert read_labels(gravity).units == ["dex(cm / s2)"]


def test_units_of_a_dataset_are_its_attributes():
    table = dataset(VALUES, NAMES)
    table["teff"] = table["teff"] / 1000
    table["teff"].attrs["units"] = "kK"
    found = read_labels(table, names=NAMES, units=UNITS).values
    np.testing.assert_allclose(found, VALUES)


def test_rows_of_quantities_have_a_unit_for_each_label():
    rows = [[5.772 * u.kK, 4.44, 0.0 * u.dex], [4500 * u.K, 2.5, -1.25 * u.dex]]
    found = read_labels(rows, names=NAMES, units=UNITS).values
    np.testing.assert_allclose(found, VALUES[:2])


def test_float32_with_a_unit_stays_float32():
    values = np.array([[5.5], [6.0]], dtype=np.float32) * u.kK
    found = read_labels(values, units=["K"]).values
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[5500], [6000]])


@pytest.mark.parametrize(
    "values",
    [[5.0, 6.0] * u.kK, [5 * u.kK, 6000 * u.K], QTable({"a": [5.0, 6.0] * u.kK})["a"]],
    ids=["Quantity", "list", "column"],
)
def test_one_label_with_a_unit_stays_one_column(values):
    found = read_labels(values, argument="y", units=["K"])
    np.testing.assert_allclose(found.values, [5000, 6000])
    with pytest.raises(ValueError, match="column 'teff' of `y` must be in Jy"):
        read_labels(values, argument="y", names=["teff"], units=["Jy"])


# Masks ---------------------------------------------------------------------------


def masked_table(values, mask):
    table = Table(values, names=NAMES, masked=True)
    for name, column in zip(NAMES, mask.T, strict=True):
        table[name].mask = column
    return table


MASKED = {
    "numpy": lambda values, mask: np.ma.array(values, mask=mask),
    "Masked": lambda values, mask: Masked(values, mask=mask),
    "Masked quantity": lambda values, mask: Masked(values * u.one, mask=mask),
    "Table": masked_table,
    "QTable": lambda values, mask: QTable(masked_table(values, mask)),
}


@few
@given(
    kind=st.sampled_from(sorted(MASKED)),
    star=st.integers(0, 2),
    label=st.integers(0, 2),
)
def test_a_masked_label_is_refused_by_name_and_row(kind, star, label):
    mask = np.zeros(VALUES.shape, dtype=bool)
    mask[star, label] = True
    values = MASKED[kind](VALUES, mask)
    with pytest.raises(ValueError, match=f"{NAMES[label]!r} of `P`.*row {star} masked"):
        read_labels(values, argument="P", names=NAMES)


@pytest.mark.parametrize("kind", sorted(MASKED))
def test_a_mask_that_hides_nothing_changes_nothing(kind):
    values = MASKED[kind](VALUES, np.zeros(VALUES.shape, dtype=bool))
    found = read_labels(values, names=NAMES, units=["", "", ""]).values
    np.testing.assert_array_equal(found, VALUES)


def test_one_label_with_a_mask_is_refused_where_it_is_masked():
    with pytest.raises(ValueError, match=r"column 0 of `y` .*row 1 masked"):
        read_labels(np.ma.array([1.0, 2.0], mask=[False, True]), argument="y")


def test_missing_values_of_a_dataframe_are_nan():
    frame = pd.DataFrame({"teff": pd.array([5000.0, None], dtype="Float64")})
    found = read_labels(frame).values
    np.testing.assert_array_equal(found, [[5000.0], [np.nan]])
    found = read_labels(pl.DataFrame({"teff": [5000.0, None]})).values
    np.testing.assert_array_equal(found, [[5000.0], [np.nan]])


# What scikit-learn judges --------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        np.arange(3.0),
        3.0,
        [1.0, 2.0],
        [[1.0], [1.0, 2.0]],
        [["a", "b"]],
        np.array([[1.0, {"a": 1}]], dtype=object),
        np.array([["1", "2"]], dtype=object),
        np.ones((2, 2), dtype=complex),
        np.ones((2, 2, 2)),
        np.ones((1, 2)).view(np.matrix),
        sparse.csr_array(np.eye(2)),
        None,
        [],
    ],
    ids=repr,
)
def test_what_is_no_table_of_numbers_is_passed_on_untouched(values):
    assert read_labels(values, names=["a", "b"]).values is values
    assert not is_table(values)


def test_what_is_given_stays_as_it_is():
    values = np.ma.array(VALUES.copy(), mask=np.zeros(VALUES.shape, dtype=bool))
    table = QTable({"teff": [5.0, 6.0] * u.kK})
    read_labels(values, names=NAMES, units=UNITS)
    read_labels(table, names=["teff"], units=["K"])
    np.testing.assert_array_equal(values, VALUES)
    assert table["teff"].unit == u.kK
    np.testing.assert_array_equal(table["teff"].value, [5.0, 6.0])
