"""Tests of labels in any container: by name, in any unit, the same as plain arrays."""

import numpy as np
import pandas as pd
import polars
import pytest
import xarray
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GridSearchCV

from sk_payne import FineTunedEmulator, SpectrumEmulator

NAMES = ["teff", "logg", "Fe_H", "Mg_H", "Ca_H"]
few = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def with_units(columns, teff_unit):
    """Columns as quantities, Teff in another unit."""
    units = {name: u.dex for name in columns} | {"teff": u.K}
    found = {name: column * units[name] for name, column in columns.items()}
    if "teff" in found:
        found["teff"] = found["teff"].to(teff_unit)
    return found


def structured(columns):
    array = np.empty(len(columns["teff"]), [(name, "f8") for name in columns])
    for name, column in columns.items():
        array[name] = column
    return array


CONTAINERS = {
    "pandas": lambda columns, unit: pd.DataFrame(columns),
    "polars": lambda columns, unit: polars.DataFrame(columns),
    "Table": lambda columns, unit: Table(columns),
    "Table with units": lambda columns, unit: Table(QTable(with_units(columns, unit))),
    "QTable": lambda columns, unit: QTable(with_units(columns, unit)),
    "masked columns": lambda columns, unit: Table(
        {name: MaskedColumn(column) for name, column in columns.items()}
    ),
    "Dataset": lambda columns, unit: xarray.Dataset(
        {name: ("star", column) for name, column in columns.items()}
    ),
    "DataArray": lambda columns, unit: xarray.DataArray(
        np.column_stack(list(columns.values())),
        dims=("star", "label"),
        coords={"label": list(columns)},
    ),
    "structured": lambda columns, unit: structured(columns),
}


@few
@given(
    order=st.permutations(NAMES),
    kind=st.sampled_from(sorted(CONTAINERS)),
    unit=st.sampled_from([u.K, u.kK, u.mK, u.MK]),
)
def test_labels_by_name_in_any_container_order_and_unit_are_those_of_the_array(
    fitted, tiny_grid, order, kind, unit
):
    emulator, P = fitted["payne"], tiny_grid.data[:7]
    columns = {name: P[:, NAMES.index(name)].copy() for name in order}
    table = CONTAINERS[kind](columns, unit)
    expected = emulator.predict(P)
    np.testing.assert_allclose(emulator.predict(table), expected, rtol=0, atol=1e-9)
    assert emulator.domain(table).tolist() == emulator.domain(P).tolist()
    score = emulator.score(table, tiny_grid.target[:7])
    assert score == pytest.approx(emulator.score(P, tiny_grid.target[:7]), rel=1e-9)


@few
@given(
    dtype=st.sampled_from([">f8", ">f4", "<f8", "<f4"]),
    layout=st.sampled_from(["C", "F", "strided", "reversed", "read-only", "list"]),
)
def test_layout_and_byte_order_of_an_array_do_not_matter(
    fitted, tiny_grid, dtype, layout
):
    P = tiny_grid.data[:7].astype(dtype)
    plain = np.ascontiguousarray(P, dtype=P.dtype.newbyteorder("="))
    given = {
        "C": lambda: P,
        "F": lambda: np.asfortranarray(P),
        "strided": lambda: np.repeat(P, 2, axis=1)[:, ::2],
        "reversed": lambda: P[::-1].copy()[::-1],
        "read-only": lambda: np.frombuffer(P.tobytes(), P.dtype).reshape(P.shape),
        "list": lambda: plain.tolist(),
    }[layout]()
    kept = np.array(given)
    found = fitted["payne"].predict(given)
    expected = fitted["payne"].predict(plain)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(np.array(given), kept)


@few
@given(order=st.permutations(NAMES), kind=st.sampled_from(sorted(CONTAINERS)))
def test_training_on_a_table_in_any_order_is_training_on_the_array(
    make_tiny, tiny_grid, order, kind
):
    P, F = tiny_grid.data[:23], tiny_grid.target[:23]
    columns = {name: P[:, NAMES.index(name)].copy() for name in order}
    table = CONTAINERS[kind](columns, u.kK)
    found = make_tiny(max_steps=2).fit(table, F)
    expected = make_tiny(max_steps=2).fit(P, F)
    assert found.label_names_ == NAMES
    np.testing.assert_allclose(found.predict(P), expected.predict(P), rtol=0, atol=1e-6)


# scikit-learn warns of plain arrays after a table
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@few
@given(order=st.permutations(NAMES))
def test_names_and_units_of_a_table_are_learned_where_none_were_given(
    make_tiny, tiny_grid, order
):
    P, F = tiny_grid.data[:23], tiny_grid.target[:23]
    columns = {name: P[:, NAMES.index(name)] for name in order}
    emulator = make_tiny(max_steps=2, label_names=None, label_units=None)
    emulator.fit(QTable(with_units(columns, u.K)), F)
    assert emulator.label_names_ == list(order)
    assert emulator.label_units_[order.index("teff")] == "K"
    plain = P[:, [NAMES.index(name) for name in order]]
    np.testing.assert_array_equal(
        emulator.predict(pd.DataFrame(columns)[NAMES]), emulator.predict(plain)
    )


@pytest.mark.parametrize("units", [["K", *["dex"] * 4], {"teff": "K"}])
def test_units_that_are_asked_for_convert_a_table_that_brings_its_names(
    make_tiny, tiny_grid, units
):
    P, F = tiny_grid.data[:23], tiny_grid.target[:23]
    table = QTable(with_units(dict(zip(NAMES, P.T, strict=True)), u.kK))
    emulator = make_tiny(max_steps=2, label_names=None, label_units=units)
    emulator.fit(table, F)
    assert emulator.label_names_ == NAMES
    assert emulator.label_units_[0] == "K"
    np.testing.assert_allclose(emulator.label_low_, P.min(axis=0))
    assert set(emulator.domain(table)) == {"inside"}


def test_units_that_are_asked_for_convert_an_array_with_a_unit(make_tiny, tiny_grid):
    P, F = tiny_grid.data[:23, :1], tiny_grid.target[:23]
    emulator = make_tiny(max_steps=2, label_names=None, label_units=["K"])
    emulator.fit((P * u.K).to(u.kK), F)
    assert emulator.label_low_[0] == pytest.approx(P.min())


def test_plain_arrays_go_by_position(fitted, tiny_grid):
    P = tiny_grid.data[:3]
    frame = pd.DataFrame(P)  # whose names are numbers
    expected = fitted["payne"].predict(P)
    np.testing.assert_array_equal(fitted["payne"].predict(frame), expected)


@pytest.mark.parametrize("method", ["predict", "domain", "to_spectra"])
def test_missing_name_says_what_was_meant(fitted, tiny_grid, method):
    frame = pd.DataFrame(tiny_grid.data, columns=["Teff", *NAMES[1:]])
    with pytest.raises(ValueError, match=r"no 'teff' among .* Did you mean 'Teff'"):
        getattr(fitted["payne"], method)(frame)


def test_column_too_many_in_a_frame_is_named(fitted, tiny_grid):
    frame = pd.DataFrame(tiny_grid.data, columns=NAMES).assign(vmic=1.0)
    with pytest.raises(ValueError, match=r"no other columns .*got \['vmic'\]"):
        fitted["payne"].predict(frame)


def test_catalogue_is_taken_by_its_label_columns(fitted, tiny_grid):
    P = tiny_grid.data[:5]
    table = QTable(dict(zip(NAMES, P.T, strict=True)))
    table["teff_error"], table["flags"] = 3.0, 0
    np.testing.assert_array_equal(
        fitted["payne"].predict(table), fitted["payne"].predict(P)
    )


def test_unit_of_another_dimension_is_refused_with_the_one_that_is_wanted(
    fitted, tiny_grid
):
    columns = dict(zip(NAMES, tiny_grid.data[:5].T, strict=True))
    table = QTable(columns | {"teff": columns["teff"] * u.km})
    with pytest.raises(ValueError, match=r"(?s)teff.*K"):
        fitted["payne"].predict(table)


def test_unit_of_a_label_without_unit_is_refused(make_tiny, tiny_grid):
    emulator = make_tiny(max_steps=2, label_units=None)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    columns = dict(zip(NAMES, tiny_grid.data[:5].T, strict=True))
    table = QTable(columns | {"teff": columns["teff"] * u.K})
    with pytest.raises(ValueError, match="label_units"):
        emulator.predict(table)


@pytest.mark.parametrize("method", ["fit", "predict", "domain", "score"])
def test_masked_label_is_refused_by_name_and_row(make_tiny, tiny_grid, method):
    emulator = make_tiny(max_steps=2).fit(tiny_grid.data, tiny_grid.target)
    mask = np.zeros(tiny_grid.data.shape, bool)
    mask[17, 3] = True
    flux = [tiny_grid.target] if method in ("fit", "score") else []
    for P in (
        np.ma.array(tiny_grid.data, mask=mask),
        Masked(tiny_grid.data, mask=mask),
        Table(
            [
                MaskedColumn(column, name=name, mask=bad)
                for column, name, bad in zip(
                    tiny_grid.data.T, NAMES, mask.T, strict=True
                )
            ]
        ),
    ):
        with pytest.raises(ValueError, match=r"(Mg_H|3).*17"):
            getattr(emulator, method)(P, *flux)


@pytest.mark.filterwarnings("ignore::sk_payne.exceptions.ExtrapolationWarning")
def test_names_survive_a_grid_search(make_tiny, tiny_grid):
    frame = pd.DataFrame(tiny_grid.data, columns=NAMES)
    search = GridSearchCV(
        make_tiny(max_steps=2, label_names=None), {"recipe__lr": [1e-2]}, cv=2
    )
    search.fit(frame, tiny_grid.target)
    found = search.predict(frame[NAMES[::-1]])
    np.testing.assert_array_equal(found, search.predict(frame))
    assert search.best_estimator_.label_names_ == NAMES


def test_names_survive_saving(make_tiny, tiny_grid, tmp_path):
    import sk_payne

    frame = pd.DataFrame(tiny_grid.data, columns=NAMES)
    emulator = make_tiny(max_steps=2, label_names=None).fit(frame, tiny_grid.target)
    emulator.save(tmp_path / "it.safetensors")
    again = sk_payne.load(tmp_path / "it.safetensors")
    np.testing.assert_array_equal(
        again.predict(frame[NAMES[::-1]]), emulator.predict(frame)
    )


def test_rehearsed_labels_go_by_name(fitted, tiny_grid):
    P, F = tiny_grid.data, tiny_grid.target
    frame = pd.DataFrame(P, columns=NAMES)[NAMES[::-1]]

    def tune(old):
        tuned = FineTunedEmulator(
            fitted["payne"], rehearse=(old, F), max_steps=5, random_state=0
        )
        return tuned.fit(P[:30], F[:30]).predict(P[:30])

    np.testing.assert_array_equal(tune(frame), tune(P))


def test_rehearsed_labels_with_another_name_say_what_was_meant(fitted, tiny_grid):
    P, F = tiny_grid.data, tiny_grid.target
    frame = pd.DataFrame(P, columns=["Teff", *NAMES[1:]])
    tuned = FineTunedEmulator(fitted["payne"], rehearse=(frame, F), max_steps=5)
    with pytest.raises(
        ValueError, match=r"`rehearse` must have .* Did you mean 'Teff'"
    ):
        tuned.fit(P, F)


def test_emulator_without_names_takes_frames_by_position():
    emulator = SpectrumEmulator(arch="payne", max_steps=2, device="cpu", random_state=0)
    emulator.fit([[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.5], [0.9, 0.4]])
    frame = pd.DataFrame({"teff": [0.5], "logg": [0.2]})
    np.testing.assert_array_equal(
        emulator.predict(frame), emulator.predict([[0.5, 0.2]])
    )
