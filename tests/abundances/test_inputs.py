"""Tests of what users hand to AbundanceRegressor: names, units, masks, containers."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from astropy.table import QTable, Table
from astropy.utils.masked import Masked
from hypothesis import given, settings
from hypothesis import strategies as st
from regressors import make_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from specutils import Spectrum

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import FLAGS
from sk_payne.exceptions import (
    ExtrapolationWarning,
    ResolutionWarning,
    WavelengthMismatchError,
)
from sk_payne.inspection import cramer_rao
from sk_payne.recovery import mock_recovery

few = settings(max_examples=12, deadline=None, derandomize=True)
NAMES = ["teff", "Fe_H", "Mg_H"]
N = 3


@pytest.fixture(scope="module")
def flux(emulator, draw_labels):
    """Noisy flux of three stars at S/N 100; don't write into it."""
    flux = emulator.predict(draw_labels(N))
    flux += np.random.default_rng(0).normal(scale=0.01, size=flux.shape)
    flux.flags.writeable = False
    return flux


@pytest.fixture(scope="module")
def labels(draw_labels):
    return draw_labels(N)


@pytest.fixture(scope="module")
def measure(emulator, flux):
    """Give a function that measures the stars at rest."""

    def one(X=flux, *, uncertainty=0.01, mask=None, **options):
        regressor = make_regressor(
            emulator, Observation(velocity_range=None), **options
        )
        return regressor.measure(X, uncertainty=uncertainty, mask=mask)

    return one


@pytest.fixture(scope="module")
def expected(measure):
    return measure()


def assert_same(table, expected, **options):
    for name in expected.colnames:
        found, wanted = np.asarray(table[name]), np.asarray(expected[name])
        if wanted.dtype.kind == "U":
            np.testing.assert_array_equal(found, wanted)
        else:
            np.testing.assert_allclose(found, wanted, rtol=1e-6, **options)


def spectrum(flux, wavelength, **meta):
    return Spectrum(
        flux=flux * u.one,
        spectral_axis=wavelength * u.AA,
        uncertainty=StdDevUncertainty(np.full(np.shape(flux), 0.01)),
        meta={"medium": "air"} | meta,
    )


# Units of arguments --------------------------------------------------------------

KINDS = {
    "plain": lambda value: value,
    "same unit": lambda value: value * u.K,
    "kK": lambda value: (value * u.K).to(u.kK),
    "big-endian": lambda value: np.asarray(value, dtype=">f8"),
    "Series": lambda value: pd.Series(np.atleast_1d(value)),
    "unmasked": lambda value: np.ma.array(value),
    "list of quantities": lambda value: [v * u.K for v in np.atleast_1d(value)],
}


@few
@given(kind=st.sampled_from(sorted(KINDS)))
def test_fixed_values_of_any_kind_are_the_same(measure, kind):
    value = np.array([5000.0, 5100.0, 5200.0])
    table = measure(fixed={"teff": KINDS[kind](value)})
    np.testing.assert_allclose(table["teff"].value, value)
    assert not table["teff_error"].value.any()


@few
@given(mean=st.sampled_from(sorted(KINDS)), error=st.sampled_from(sorted(KINDS)))
def test_priors_of_any_kind_are_the_same(measure, mean, error):
    values, sigma = np.array([5000.0, 5100.0, 5200.0]), np.full(N, 50.0)
    pair = KINDS[mean](values), KINDS[error](sigma)
    assert_same(
        measure(priors={"teff": pair}), measure(priors={"teff": (values, sigma)})
    )


@few
@given(
    kind=st.sampled_from(["plain", "same unit", "kK", "big-endian", "Quantities"]),
    by_name=st.booleans(),
)
def test_bounds_of_any_kind_are_the_same(measure, emulator, kind, by_name):
    pair = np.array([4800.0, 5400.0])
    limits = tuple(pair * u.K) if kind == "Quantities" else KINDS[kind](pair)
    bounds = {"teff": limits}
    if not by_name:
        rest = zip(emulator.label_low_[1:], emulator.label_high_[1:], strict=True)
        bounds = [limits, *rest]
    assert_same(measure(bounds=bounds), measure(bounds={"teff": pair}))


def test_fixed_values_may_be_a_table(measure):
    value = np.array([5000.0, 5100.0, 5200.0])
    table = measure(fixed=QTable({"Fe_H": [0.0, 0.1, 0.2], "teff": value / 1e3 * u.kK}))
    np.testing.assert_allclose(table["teff"].value, value)
    np.testing.assert_allclose(table["Fe_H"].value, [0.0, 0.1, 0.2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fixed": {"teff": 5 * u.Jy}}, r"`fixed\['teff'\]` must be in K or"),
        ({"priors": {"teff": (5000, 5 * u.Jy)}}, r"`priors\['teff'\]` must be in K or"),
        ({"bounds": {"teff": (4, 5) * u.Jy}}, r"`bounds\['teff'\]` must be in K or"),
        ({"error_floor": 1 * u.K}, "`error_floor` must be plain numbers"),
        ({"clip": 5 * u.K}, "`clip` must be plain numbers"),
        ({"resolving_power": 5 * u.K}, "`resolving_power` must be plain numbers"),
        ({"vmac": 5 * u.K}, "`vmac` must be in km / s or"),
    ],
)
def test_unit_that_does_not_convert_is_refused_with_the_wanted_one(
    measure, options, message
):
    with pytest.raises(ValueError, match=message):
        measure(**options)


def test_velocities_are_converted(emulator, observe, labels):
    stars = [observe(labels[0], velocity=12.0)]

    def found(**options):
        return make_regressor(emulator, **options).measure(stars)

    plain = found(velocity_range=(-50, 50), vsini=3.0, vmac=(0.0, 9.0))
    metres = found(
        velocity_range=(-50_000, 50_000) * u.m / u.s,
        vsini=3000 * u.m / u.s,
        vmac=(0 * u.m / u.s, 9 * u.km / u.s),
    )
    assert_same(metres, plain)
    prior = {"radial_velocity": (100 * u.m / u.s, 1 * u.m / u.s)}
    assert found(priors=prior)["radial_velocity"].value[0] == pytest.approx(
        0.1, abs=0.1
    )


def test_numbers_without_dimension_may_be_percent(measure):
    assert_same(measure(error_floor=1 * u.percent), measure(error_floor=0.01))


@few
@given(
    flux_unit=st.sampled_from(["plain", "one", "percent"]),
    error_unit=st.sampled_from(["plain", "one", "percent"]),
)
def test_flux_and_uncertainty_have_units_of_their_own(
    measure, flux, expected, flux_unit, error_unit
):
    sigma = np.full(flux.shape, 0.01)
    kinds = {
        "plain": lambda values: values,
        "one": lambda values: values * u.one,
        "percent": lambda values: (values * u.one).to(u.percent),
    }
    table = measure(kinds[flux_unit](flux), uncertainty=kinds[error_unit](sigma))
    assert_same(table, expected)


def test_uncertainty_is_converted_to_the_unit_of_the_flux_or_refused(measure, flux):
    sigma = np.full(flux.shape, 0.01)
    table = measure(flux * u.Jy, uncertainty=1000 * sigma * u.mJy)
    assert_same(table, measure())
    with pytest.raises(ValueError, match="`uncertainty` must be in Jy or a unit"):
        measure(flux * u.Jy, uncertainty=sigma * u.K)
    with pytest.raises(ValueError, match="`uncertainty` must be plain numbers"):
        measure(flux, uncertainty=sigma * u.Jy)


def test_bounds_far_outside_the_training_box_warn_once_and_name_the_label(measure):
    with pytest.warns(ExtrapolationWarning, match="teff 4.5 to 5.5 K") as caught:
        measure(bounds={"teff": (4.5, 5.5)})
    assert len(caught) == 1


# Masks ---------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [[True, False, False], [False, True, True]])
def test_masked_fixed_values_and_priors_are_missing(measure, expected, mask):
    mask = np.array(mask)
    value = np.where(mask, 1e9, 5000.0)
    missing = np.where(mask, np.nan, 5000.0)
    for masked in (np.ma.array(value, mask=mask), Masked(value * u.K, mask=mask)):
        assert_same(measure(fixed={"teff": masked}), measure(fixed={"teff": missing}))
        table = measure(priors={"teff": (masked, 10.0)})
        assert_same(table[mask], expected[mask])
        assert (table["teff_error"].value[~mask] < 10).all()
    errors = np.ma.array(np.full(N, 10.0), mask=mask)
    assert_same(measure(priors={"teff": (5000.0, errors)})[mask], expected[mask])


def test_masked_flux_and_masked_uncertainty_are_bad_pixels(measure, flux):
    bad = np.zeros(flux.shape, dtype=bool)
    bad[:, 50:80] = True
    wrong, sigma = np.where(bad, flux + 0.3, flux), np.where(bad, 1e-6, 0.01)
    right = measure(wrong, mask=bad)
    assert right["n_pixels"][0] == flux.shape[1] - 30
    assert_same(measure(np.ma.array(wrong, mask=bad)), right)
    assert_same(measure(Masked(wrong, mask=bad)), right)
    assert_same(measure(Masked(wrong * u.one, mask=bad)), right)
    for masked in (np.ma.array(sigma, mask=bad), Masked(sigma * u.one, mask=bad)):
        assert_same(measure(wrong, uncertainty=masked), right)


def test_masked_labels_are_refused_in_training_and_score(emulator, grid, flux, labels):
    y = np.ma.array(grid.data, mask=np.zeros(grid.data.shape, dtype=bool))
    y[7, 1] = np.ma.masked
    with pytest.raises(ValueError, match=r"column 1 of `y` must.*row 7 masked"):
        AbundanceRegressor(Ridge()).fit(grid.target, y)
    y = np.ma.array(labels, mask=labels == labels[1, 2])
    with pytest.raises(ValueError, match=r"'Mg_H' of `y` must.*row 1 masked"):
        AbundanceRegressor(emulator, snr=100).score(flux, y)


def test_masked_training_spectra_are_filled(grid):
    bad = np.zeros(grid.target.shape, dtype=bool)
    bad[:200, 100:130] = True
    flux = Masked(np.where(bad, 99.0, grid.target), mask=bad)
    with pytest.warns(UserWarning, match="200 of 401 training spectra have bad"):
        regressor = AbundanceRegressor(Ridge()).fit(flux, grid.data)
    assert regressor.emulator_.predict(grid.data).max() < 2


# Names in training ---------------------------------------------------------------

ORDER = [2, 0, 1]


def tables_of(values):
    names = [NAMES[i] for i in ORDER]
    values = values[:, ORDER]
    table = QTable(values, names=names)
    table["teff"] = table["teff"] / 1000 * u.kK
    return {
        "pandas": pd.DataFrame(values, columns=names),
        "Table": Table(values, names=names),
        "QTable": table,
    }


@pytest.mark.parametrize("kind", ["pandas", "Table", "QTable"])
def test_labels_are_brought_into_the_order_of_the_emulator(make_emulator, grid, kind):
    regressor = AbundanceRegressor(make_emulator(max_steps=3), snr=100)
    plain = regressor.fit(grid.target, grid.data).emulator_.predict(grid.data[:2])
    y = tables_of(grid.data)[kind]
    found = regressor.fit(grid.target, y).emulator_.predict(grid.data[:2])
    np.testing.assert_allclose(found, plain, rtol=1e-6)
    assert regressor.label_names_ == NAMES
    y = y.rename(columns={"teff": "Teff"}) if kind == "pandas" else y
    if kind != "pandas":
        y.rename_column("teff", "Teff")
    with pytest.raises(ValueError, match=r"no 'teff'.*Did you mean 'Teff'\?"):
        regressor.fit(grid.target, y)


@pytest.mark.parametrize("kind", ["pandas", "Table", "QTable"])
def test_names_and_units_of_labels_become_those_of_the_emulator(
    make_emulator, grid, kind
):
    emulator = make_emulator(label_names=None, label_units=None, max_steps=3)
    regressor = AbundanceRegressor(emulator).fit(
        grid.target, tables_of(grid.data)[kind]
    )
    assert regressor.label_names_ == ["Mg_H", "teff", "Fe_H"]
    assert regressor.emulator_.label_names_ == ["Mg_H", "teff", "Fe_H"]
    unit = regressor.emulator_.label_units_[1]
    assert unit == ("kK" if kind == "QTable" else "")
    assert emulator.label_names is None


def test_names_are_kept_for_emulators_that_have_none(grid):
    y = tables_of(grid.data)["QTable"]
    regressor = AbundanceRegressor(Ridge(1e-3), snr=100).fit(grid.target, y)
    assert regressor.label_names_ == ["Mg_H", "teff", "Fe_H"]
    table = regressor.measure(grid.target[:2])
    assert table["teff"].unit == u.kK
    few_stars, swapped = grid.target[:7], y[:7][["teff", "Fe_H", "Mg_H"]]
    assert regressor.score(few_stars, swapped) == regressor.score(few_stars, y[:7])


def test_one_label_has_the_name_of_its_column(grid):
    y = pd.Series(grid.data[:, 0], name="teff")
    regressor = AbundanceRegressor(Ridge(1e-3), snr=100).fit(grid.target, y)
    assert regressor.label_names_ == ["teff"]
    assert regressor.predict(grid.target[:2]).shape == (2,)
    quantity = grid.data[:, 0] / 1000 * u.kK
    regressor.fit(grid.target, quantity)
    assert regressor.measure(grid.target[:2])["label_0"].unit == u.kK


def test_labels_of_mock_stars_are_taken_by_name(emulator, labels):
    options = {"snr": 100, "random_state": 0}
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=None))
    plain = mock_recovery(regressor, labels, **options)
    for table in tables_of(labels).values():
        found = mock_recovery(regressor, table, **options)
        np.testing.assert_allclose(found.true, plain.true)
        np.testing.assert_allclose(found.measured, plain.measured, rtol=1e-6)
    with pytest.raises(ValueError, match="`labels` must have a column for each"):
        mock_recovery(regressor, tables_of(labels)["Table"][["teff"]], **options)


def test_labels_of_cramer_rao_are_taken_by_name(emulator, labels):
    plain = cramer_rao(emulator, labels, 100).error
    for table in tables_of(labels).values():
        np.testing.assert_allclose(cramer_rao(emulator, table, 100).error, plain)
    nanometres = cramer_rao(emulator, labels, 100, (450.2, 451.1) * u.nm).error
    angstrom = cramer_rao(emulator, labels, 100, (4502, 4511)).error
    np.testing.assert_allclose(nanometres, angstrom)


# What cannot move ----------------------------------------------------------------


@pytest.fixture(scope="module")
def constant(make_emulator, grid):
    """An emulator with a label that was the same in all training spectra."""
    emulator = make_emulator(
        label_names=[*NAMES, "vmic"], label_units=["K", "dex", "dex", "km/s"]
    )
    return emulator.fit(np.column_stack([grid.data, np.ones(401)]), grid.target)


def flags_of(table, name):
    return (table["flags"] & FLAGS[name][0]) > 0


def test_label_that_never_varied_is_known(constant, flux):
    how = {"snr": 100, "velocity_range": None}
    table = make_regressor(constant, **how).measure(flux)
    fixed = make_regressor(constant, fixed={"vmic": 1.0}, **how).measure(flux)
    assert_same(table, fixed)
    assert not table["vmic_error"].value.any()
    assert not flags_of(table, "LABEL_AT_EDGE").any()
    for estimate in ("mean", "profile"):
        table = make_regressor(constant, estimate=estimate, **how).measure(flux)
        for column in ("vmic", "vmic_p16", "vmic_p84"):
            np.testing.assert_allclose(table[column].value, 1.0, rtol=1e-6)


@pytest.mark.parametrize("side", ["upper", "lower"])
def test_limit_of_what_is_known_is_its_value(constant, flux, side):
    value = np.array([5000.0, np.nan, 5100.0])
    regressor = AbundanceRegressor(
        constant, Observation(velocity_range=None), snr=100, fixed={"teff": value}
    )
    table = regressor.limits(flux, ["vmic", "teff"], side=side)
    np.testing.assert_array_equal(table[f"vmic_{side}"].value, 1.0)
    found = table[f"teff_{side}"].value
    np.testing.assert_array_equal(found[[0, 2]], [5000.0, 5100.0])
    assert np.isfinite(found[1])


def test_bounds_and_velocities_without_width_are_known(emulator, observe, labels):
    stars = [observe(row, velocity=8.0) for row in labels]
    narrow = AbundanceRegressor(
        emulator, Observation(velocity_range=(8, 8)), bounds={"Mg_H": (0.1, 0.1)}
    ).measure(stars)
    fixed = AbundanceRegressor(
        emulator, fixed={"Mg_H": 0.1, "radial_velocity": 8.0}
    ).measure(stars)
    for name in ("teff", "Fe_H"):
        error = fixed[f"{name}_error"]
        np.testing.assert_allclose(narrow[f"{name}_error"], error, rtol=1e-3)
        # starts differ, and errors of the emulator are taken from about where they lead
        assert (abs(narrow[name] - fixed[name]) < 5e-3 * error).all()
    for name in ("Mg_H", "radial_velocity"):
        np.testing.assert_array_equal(narrow[name], fixed[name])
        assert not narrow[f"{name}_error"].value.any()
    assert (narrow["flags"] == fixed["flags"]).all()
    for name in ("VELOCITY_AT_EDGE", "LABEL_AT_EDGE"):
        assert not flags_of(narrow, name).any()
    assert (narrow["n_pixels"] - narrow["dof"] == 2).all()


@pytest.mark.parametrize(
    ("label", "options"),
    [
        ("vsini", {"vsini": (0, 40)}),
        ("vsini", {"vsini": 5.0}),
        ("vmac", {"vmac": (0, 40)}),
        ("radial_velocity", {}),
    ],
)
def test_label_that_is_also_fitted_by_the_regressor_is_refused(
    make_emulator, grid, label, options
):
    emulator = make_emulator(label_names=["teff", "Fe_H", label], max_steps=3)
    emulator.fit(grid.data, grid.target)
    with pytest.raises(ValueError, match=f"emulator with the label {label!r}"):
        make_regressor(emulator, snr=100, **options).measure(grid.target[:2])
    alone = AbundanceRegressor(emulator, Observation(velocity_range=None), snr=100)
    assert label in alone.measure(grid.target[:2]).colnames


# Wavelengths ---------------------------------------------------------------------


def wrapped(make_emulator):
    emulator = make_emulator(wavelength=None, medium=None, max_steps=3)
    return {
        "bare": make_emulator(wavelength=None, medium=None, max_steps=3),
        "pipeline": make_pipeline(StandardScaler(), emulator),
        "target": TransformedTargetRegressor(emulator, transformer=StandardScaler()),
        "search": GridSearchCV(emulator, {"max_steps": [3]}, cv=2),
        "foreign": Ridge(1e-3),
    }


@pytest.mark.parametrize("kind", ["pipeline", "target", "foreign"])
def test_wavelengths_of_training_spectra_are_kept_for_any_emulator(
    make_emulator, grid, kind
):
    train = spectrum(grid.target, grid.wavelength)
    emulator = wrapped(make_emulator)[kind]
    regressor = AbundanceRegressor(emulator, Observation(resolving_power=None))
    regressor.fit(train, grid.data)
    own = spectrum(grid.target[:2], grid.wavelength)
    other = spectrum(grid.target[:2], np.linspace(8000, 8100, 257))
    vacuum = spectrum(grid.target[:2], grid.wavelength, medium="vacuum")
    assert len(regressor.measure(own)) == 2
    for stars in (other, vacuum):
        with pytest.raises(
            WavelengthMismatchError, match="wavelengths of the training"
        ):
            regressor.measure(stars)
    regressor.set_params(observation__velocity_range=(-100, 100))
    with pytest.raises(ValueError, match=r"`velocity_range`.*must keep their def"):
        regressor.measure(own)


def test_search_over_an_emulator_is_measured_like_the_emulator(make_emulator, grid):
    emulator = wrapped(make_emulator)["search"]
    train = spectrum(grid.target, grid.wavelength)
    regressor = AbundanceRegressor(emulator, Observation(resolving_power="emulator"))
    table = regressor.fit(train, grid.data).measure(
        spectrum(grid.target[:2], grid.wavelength)
    )
    assert "radial_velocity" in table.colnames
    assert regressor.label_names_ == NAMES


@pytest.mark.parametrize("kind", ["bare", "pipeline", "target", "foreign"])
def test_wavelengths_are_refused_if_those_of_the_emulator_are_not_known(
    make_emulator, grid, kind
):
    emulator = wrapped(make_emulator)[kind].fit(grid.data, grid.target)
    box = np.stack([grid.data.min(axis=0), grid.data.max(axis=0)], axis=1)
    regressor = AbundanceRegressor(emulator, snr=100, bounds=box)
    with pytest.raises(ValueError, match="those of the emulator are not known"):
        regressor.measure(spectrum(grid.target[:2], grid.wavelength))
    assert len(regressor.measure(grid.target[:2])) == 2


# Resolving power -----------------------------------------------------------------


def test_spectra_without_resolving_power_warn_if_the_emulator_knows_its_own(
    emulator, flux
):
    known = spectrum(flux[0], emulator.wavelength_, resolving_power=20_000.0)
    unknown = spectrum(flux[1], emulator.wavelength_)
    regressor = AbundanceRegressor(emulator)
    with pytest.warns(ResolutionWarning, match="1 of 2 spectra .* first is spectrum 1"):
        table = regressor.measure([known, unknown])
    for value in ("emulator", 20_000.0):
        regressor.set_params(observation__resolving_power=value)
        assert_same(regressor.measure([known, unknown]), table, atol=1e-6)


def test_emulator_as_resolving_power_overrules_what_spectra_state(emulator, flux):
    coarse = spectrum(flux[0], emulator.wavelength_, resolving_power=5_000.0)
    sharp = spectrum(flux[0], emulator.wavelength_, resolving_power=20_000.0)
    found = AbundanceRegressor(
        emulator, Observation(resolving_power="emulator")
    ).measure(coarse)
    assert_same(found, AbundanceRegressor(emulator).measure(sharp), atol=1e-6)


def test_plain_flux_and_emulators_of_unknown_sharpness_do_not_warn(
    emulator, make_emulator, grid, flux
):
    unknown = make_emulator(resolving_power=None, max_steps=3)
    unknown.fit(grid.data, grid.target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AbundanceRegressor(emulator, snr=100).measure(flux)
        AbundanceRegressor(unknown).measure(spectrum(flux, grid.wavelength))
        AbundanceRegressor(unknown, Observation(resolving_power="emulator")).measure(
            spectrum(flux, grid.wavelength)
        )


# Metadata and what is no spectrum ------------------------------------------------


def test_metadata_of_the_regressor_reach_it_through_a_pipeline(emulator, grid, flux):
    with sklearn.config_context(enable_metadata_routing=True):
        regressor = AbundanceRegressor(
            FrozenEstimator(emulator), Observation(velocity_range=None)
        )
        regressor.set_predict_request(uncertainty=True)
        regressor.set_score_request(sample_weight=True)
        pipeline = Pipeline([("same", FunctionTransformer()), ("r", regressor)])
        pipeline.fit(grid.target, grid.data)
        found = pipeline.predict(flux, uncertainty=np.full(flux.shape, 0.01))
    alone = AbundanceRegressor(emulator, Observation(velocity_range=None))
    np.testing.assert_array_equal(found, alone.predict(flux, uncertainty=0.01))


@pytest.mark.parametrize("call", ["fit", "measure", "predict", "limits"])
def test_no_spectrum_and_paths_in_lists_are_named(emulator, call):
    regressor = AbundanceRegressor(emulator, snr=100)
    more = [[]] if call == "fit" else []
    with pytest.raises(ValueError, match="`X` must hold at least one spectrum"):
        getattr(regressor, call)([], *more)
    with pytest.raises(TypeError, match=r"got 'star\.fits'\. Read.*read_spectra"):
        getattr(regressor, call)(["star.fits"], *more)
