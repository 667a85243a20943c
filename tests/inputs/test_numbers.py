"""Tests of numbers, quantities and masks, and of what is said by name."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st

from sk_payne.inputs import read_flux, read_mapping, to_float, to_floats, without_unit

few = settings(max_examples=30, deadline=None, derandomize=True)
VALUES = np.array([4500.0, 5772.0, 6310.0])


def to_teff(values, **options):
    return to_floats(values, argument="fixed['teff']", unit="K", **options)


WITH_UNITS = {
    "Quantity": lambda values: values * u.K,
    "Quantity in kK": lambda values: (values * u.K).to(u.kK),
    "list of quantities": lambda values: [value / 1000 * u.kK for value in values],
    "list of both": lambda values: [values[0] / 1e3 * u.kK, *values[1:]],
    "Column": lambda values: Table({"a": values}, units=["K"])["a"],
    "QTable column": lambda values: QTable({"a": values * u.K})["a"],
    "DataArray": lambda values: xr.DataArray(values, dims="star", attrs={"units": "K"}),
    "Series": pd.Series,
    "nullable Series": lambda values: pd.Series(values, dtype="Float64"),
    "polars Series": pl.Series,
    "tuple": tuple,
    "objects": lambda values: values.astype(object),
    "quantities as objects": lambda values: np.array([v * u.K for v in values], object),
    "big-endian": lambda values: values.astype(">f8"),
    "backwards twice": lambda values: values[::-1].copy()[::-1],
    "nested": lambda values: [list(values)],
}


@few
@given(
    kind=st.sampled_from(sorted(WITH_UNITS)),
    values=st.lists(st.floats(1, 1e5), min_size=1, max_size=5),
)
def test_numbers_of_any_container_are_those_of_a_plain_array(kind, values):
    values = np.array(values)
    found = to_teff(WITH_UNITS[kind](values))
    np.testing.assert_allclose(np.ravel(found), values, rtol=1e-14)
    assert found.dtype == np.float64


MASKED = {
    "numpy": lambda values, mask: np.ma.array(values, mask=mask),
    "MaskedColumn": lambda values, mask: MaskedColumn(values, mask=mask, unit="K"),
    "Masked": lambda values, mask: Masked(values * u.K, mask=mask),
    "list": lambda values, mask: [
        np.ma.masked if bad else value for value, bad in zip(values, mask, strict=True)
    ],
}


@few
@given(
    kind=st.sampled_from(sorted(MASKED)),
    mask=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_masked_numbers_are_missing_or_refused(kind, mask):
    values = MASKED[kind](VALUES, np.array(mask))
    found = to_teff(values, missing=np.nan)
    np.testing.assert_array_equal(found, np.where(mask, np.nan, VALUES))
    if any(mask):
        with pytest.raises(ValueError, match=r"`fixed\['teff'\]` must have no masked"):
            to_teff(values)
    else:
        np.testing.assert_array_equal(to_teff(values), VALUES)


@pytest.mark.parametrize(
    "series", [pd.Series([1.0, None], dtype="Float64"), pl.Series([1.0, None])]
)
def test_nothing_in_a_series_is_nan(series):
    np.testing.assert_array_equal(to_floats(series, argument="x"), [1.0, np.nan])


@pytest.mark.parametrize(
    "value", ["5000", None, {"a": 1}, 1j, [1.0, "2"], object(), [[1.0], [2.0, 3.0]]]
)
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match="`x` must be real numbers"):
        to_floats(value, argument="x")


def test_rows_of_quantities_of_different_lengths_are_refused():
    with pytest.raises(TypeError, match="in rows of one length"):
        to_floats([[1 * u.K], [1 * u.K, 2 * u.K]], argument="x", unit="K")


@pytest.mark.parametrize("value", [5 * u.Jy, [5 * u.K, 5 * u.Jy], 5 * u.one])
def test_a_unit_that_does_not_convert_is_refused(value):
    with pytest.raises(ValueError, match=r"`fixed\['teff'\]` must be in K or a unit"):
        to_teff(value)


def test_percent_is_a_hundredth_where_numbers_have_no_unit():
    assert to_float(5 * u.percent, argument="error_floor") == 0.05
    with pytest.raises(ValueError, match="`snr` must be plain numbers"):
        to_float(5 * u.K, argument="snr")


def test_one_number_must_be_one():
    assert to_float(np.float32(2.5), argument="x") == 2.5
    assert to_float(1500 * u.m / u.s, argument="vsini", unit="km/s") == 1.5
    with pytest.raises(
        TypeError, match="`x` must be one number; got an array of shape"
    ):
        to_float([1.0, 2.0], argument="x")
    with pytest.raises(ValueError, match="the value is masked"):
        to_float(np.ma.masked, argument="x")


@pytest.mark.parametrize("unit", ["dex", "dex(m / s2)", "dex(cm / s2)"])
def test_errors_of_log_g_are_in_dex_whatever_it_is_relative_to(unit):
    error = u.Quantity(0.1, u.Unit(unit), subok=True)
    how = {"argument": "priors", "unit": "dex(cm / s2)", "is_difference": True}
    assert to_floats(error, **how) == 0.1


@pytest.mark.parametrize(
    "value", [None, "fit", 5, (1, 2), [1, 2], np.ones(2), object()]
)
def test_what_has_no_unit_is_passed_on(value):
    assert without_unit(value, argument="x") is value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (5000 * u.m / u.s, 5.0),
        ((-1 * u.km / u.s, 2000 * u.m / u.s), (-1.0, 2.0)),
        ([(-1, 2000 * u.m / u.s)], [[-1.0, 2.0]]),
    ],
)
def test_what_has_a_unit_becomes_plain_and_keeps_its_kind(value, plain):
    found = without_unit(value, argument="x", unit="km/s")
    assert found == plain
    assert type(found) is type(plain)


def test_numbers_that_are_given_are_not_changed():
    values = np.ma.array(VALUES.copy(), mask=[True, False, False])
    to_teff(values, missing=np.nan)
    np.testing.assert_array_equal(values.data, VALUES)


# By name -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        {"logg": [4.4], "teff": [5.0]},
        Table({"logg": [4.4], "teff": [5.0]}),
        pd.DataFrame({"logg": [4.4], "teff": [5.0]}),
        pl.DataFrame({"logg": [4.4], "teff": [5.0]}),
        xr.Dataset({"logg": ("star", [4.4]), "teff": ("star", [5.0])}),
    ],
    ids=lambda table: type(table).__module__,
)
def test_what_is_said_by_name_is_found_in_mappings_and_tables(table):
    said = read_mapping(table, argument="fixed", names=["teff", "logg", "Fe_H"])
    assert list(said) == ["teff", "logg"]
    assert to_floats(said["logg"], argument="x") == [4.4]


def test_an_unknown_name_is_refused_with_what_may_be_meant():
    with pytest.raises(ValueError, match=r"got 'tef'. Did you mean 'teff'\?"):
        read_mapping({"tef": 1}, argument="fixed", names=["teff", "logg"])
    with pytest.raises(ValueError, match="got 'object'"):
        read_mapping(Table({"object": ["a"]}), argument="fixed", names=["teff"])


@pytest.mark.parametrize("values", [[1.0], np.ones((2, 2)), "teff", 5.0])
def test_what_has_no_names_is_no_mapping(values):
    with pytest.raises(TypeError, match="`priors` must map names of parameters"):
        read_mapping(values, argument="priors", names=["teff"])


def test_nothing_is_said_by_none():
    assert read_mapping(None, argument="fixed", names=["teff"]) == {}


# Flux ----------------------------------------------------------------------------

FLUX = np.array([[1.0, 0.75, 0.5], [0.25, 1.0, 0.5]])


@few
@given(
    mask=st.lists(st.booleans(), min_size=6, max_size=6),
    kind=st.sampled_from(["numpy", "Masked", "Masked quantity"]),
)
def test_flux_keeps_its_mask_beside_it(mask, kind):
    mask = np.array(mask).reshape(FLUX.shape)
    values = {
        "numpy": lambda: np.ma.array(FLUX, mask=mask),
        "Masked": lambda: Masked(FLUX, mask=mask),
        "Masked quantity": lambda: Masked(FLUX * 100 * u.percent, mask=mask),
    }[kind]()
    found = read_flux(values)
    np.testing.assert_array_equal(found.values, FLUX)
    if mask.any():
        np.testing.assert_array_equal(found.mask, mask)
    else:
        assert found.mask is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_flux_is_passed_on_without_a_copy(dtype):
    flux = FLUX.astype(dtype)
    assert read_flux(flux).values is flux


@pytest.mark.parametrize(
    "flux",
    [
        FLUX.tolist(),
        FLUX.astype(">f4"),
        np.asfortranarray(FLUX),
        pd.DataFrame(FLUX, columns=["4500.0", "4500.1", "4500.2"]),
        pl.DataFrame(FLUX, orient="row"),
        xr.DataArray(FLUX, dims=["star", "wavelength"]),
    ],
    ids=lambda flux: type(flux).__module__,
)
def test_flux_of_any_container_is_that_of_a_plain_array(flux):
    found = read_flux(flux)
    np.testing.assert_array_equal(found.values, FLUX)
    assert found.values.flags.c_contiguous
    assert (found.mask, found.unit) == (None, None)


def test_flux_has_its_unit_or_the_one_that_is_wanted():
    jansky = FLUX * u.mJy
    assert read_flux(jansky).unit == "mJy"
    np.testing.assert_allclose(read_flux(jansky, unit="Jy").values, FLUX / 1000)
    assert read_flux(FLUX * u.percent).unit == ""
    with pytest.raises(ValueError, match="`y` must be in Jy or a unit"):
        read_flux(FLUX * u.K, unit="Jy")


@pytest.mark.parametrize("flux", [np.ones(3), "flux", np.ones((2, 2), complex), None])
def test_flux_that_is_no_table_of_numbers_is_passed_on_untouched(flux):
    assert read_flux(flux).values is flux
