"""Tests of what SpectrumEmulator refuses, and of what it says then."""

import numpy as np
import pytest
import torch
from astropy import units
from sklearn.exceptions import NotFittedError

from sk_payne import SpectrumEmulator
from sk_payne.exceptions import WavelengthMismatchError
from sk_payne.networks import Payne


@pytest.fixture
def fails(make_tiny, tiny_grid):
    """Give a function that checks how fitting with some arguments fails."""

    def check(error, match, P=None, F=None, **arguments):
        emulator = make_tiny(arguments.pop("arch", "payne"), **arguments)
        with pytest.raises(error, match=match):
            emulator.fit(
                tiny_grid.data if P is None else P,
                tiny_grid.target if F is None else F,
            )
        assert not hasattr(emulator, "net_")

    return check


def without_grid():
    """Return a tiny fitted emulator that knows no wavelengths."""
    emulator = SpectrumEmulator(arch="payne", max_steps=2, device="cpu", random_state=0)
    return emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])


def test_constructor_checks_nothing():
    # so that clone and set_params work; fit does
    emulator = SpectrumEmulator(arch=5, wavelength="x", max_steps=-1, device=None)
    assert emulator.get_params()["max_steps"] == -1


# P and F


def test_fit_on_flux_of_one_dimension_says_how_to_reshape(fails, tiny_grid):
    fails(
        ValueError,
        r"\(n_spectra, n_wavelengths\); got \(101,\). .* y.reshape\(-1, 1\)",
        F=tiny_grid.target[:, 0],
    )


def test_fit_on_one_spectrum_is_an_error(fails, tiny_grid):
    fails(
        ValueError,
        r"1 sample\(s\).* minimum of 2 is required",
        P=tiny_grid.data[:1],
        F=tiny_grid.target[:1],
    )


def test_fit_on_other_numbers_of_stars_and_spectra_is_an_error(fails, tiny_grid):
    fails(
        ValueError, r"inconsistent numbers of samples: \[101, 97\]", F=np.ones((97, 61))
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", ["P", "F"])
def test_fit_on_values_that_are_not_finite_is_an_error(fails, tiny_grid, which, bad):
    array = (tiny_grid.data if which == "P" else tiny_grid.target).copy()
    array[7, 3] = bad
    fails(ValueError, "contains (NaN|infinity)", **{which: array})


def test_spectra_that_are_not_finite_are_counted_and_named(fails, tiny_grid):
    flux = tiny_grid.target.copy()
    flux[[7, 31], 3] = np.nan
    fails(ValueError, "2 of 101 spectra are not finite .* first is row 7", F=flux)


@pytest.mark.parametrize("shape", [(101,), (101, 5, 1)])
def test_fit_on_labels_that_are_not_a_table_is_an_error(fails, shape):
    fails(ValueError, "Expected 2D array|dim <= 2 is required", P=np.ones(shape))


def test_fit_on_flux_with_three_dimensions_is_an_error(fails):
    fails(ValueError, "dim 3", F=np.ones((101, 61, 1)))


def test_fit_on_complex_labels_is_an_error(fails, tiny_grid):
    fails(ValueError, "Complex data not supported", P=tiny_grid.data + 1j)


# architecture


def test_fit_with_a_misspelt_architecture_says_what_was_meant(fails):
    fails(ValueError, "got 'transfomer'. Did you mean 'transformer'", arch="transfomer")


def test_fit_with_an_instance_asks_for_the_class(fails):
    fails(
        TypeError,
        "Pass the class itself, not an instance",
        arch=Payne(5, 61),
        recipe={},
    )


def test_fit_with_a_misspelt_option_says_what_was_meant(fails):
    fails(
        ValueError,
        r"`arch_params` of Payne may have .*got 'n_hiden'. Did you mean 'n_hidden'",
        arch_params={"n_hiden": 7},
    )


def test_fit_with_a_bad_value_of_an_option_is_an_error(fails):
    fails(
        ValueError,
        "`residual` must be 'pre' or 'post'; got 'both'",
        arch="transformer",
        arch_params={"residual": "both"},
    )


# wavelength and medium


def test_fit_with_wavelengths_out_of_order_says_where(fails, tiny_grid):
    wavelength = tiny_grid.wavelength.copy()
    wavelength[[17, 18]] = wavelength[[18, 17]]
    fails(
        ValueError,
        r"strictly increasing; sort it, .*first fault is at index 18\.",
        wavelength=wavelength,
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_fit_with_wavelengths_that_are_not_finite_says_where(fails, tiny_grid, bad):
    wavelength = tiny_grid.wavelength.copy()
    wavelength[29] = bad
    fails(ValueError, "must be finite .* index 29", wavelength=wavelength)


def test_fit_with_a_wavelength_twice_is_an_error(fails, tiny_grid):
    wavelength = tiny_grid.wavelength.copy()
    wavelength[8] = wavelength[7]
    fails(ValueError, "strictly increasing.*index 8", wavelength=wavelength)


@pytest.mark.parametrize("shape", [(59,), (61, 1), (101, 61)])
def test_fit_with_other_numbers_of_wavelengths_says_both(fails, shape):
    wavelength = np.linspace(4500, 4520, np.prod(shape)).reshape(shape)
    fails(
        ValueError,
        rf"each of the 61 columns of the flux; got an array of shape \({shape[0]},",
        wavelength=wavelength,
    )


def test_fit_with_a_quantity_says_how_to_convert_it(fails, tiny_grid):
    fails(
        TypeError,
        r"quantity in nm; pass wavelength.to_value\('angstrom'\)",
        wavelength=tiny_grid.wavelength / 10 * units.nm,
    )


@pytest.mark.parametrize(("factor", "values"), [(0.1, "450 to 452"), (1e-4, "0.45 to")])
def test_fit_with_wavelengths_in_nanometres_or_microns_is_an_error(
    fails, tiny_grid, factor, values
):
    fails(
        ValueError,
        f"must be in Å; {values}.* looks like nm or µm. Multiply nm by 10",
        wavelength=factor * tiny_grid.wavelength,
    )


@pytest.mark.parametrize("bad", [0, -5.0, np.nan, [2e4, 3e4]])
def test_fit_with_a_resolving_power_that_is_none_is_an_error(fails, bad):
    message = "`resolving_power` must be (a positive|one) number, .* got "
    fails(ValueError, message, resolving_power=bad)


def test_fit_with_wavelengths_without_medium_asks_for_it(fails):
    fails(ValueError, "`medium` must be given with `wavelength`: 'air' or", medium=None)


@pytest.mark.parametrize("wavelength", [None, "of the grid"])
def test_fit_with_an_unknown_medium_is_an_error(fails, tiny_grid, wavelength):
    fails(
        ValueError,
        "`medium` must be 'air' or 'vacuum'; got 'water'",
        medium="water",
        wavelength=None if wavelength is None else tiny_grid.wavelength,
    )


# labels


def test_fit_with_too_few_names_says_how_many(fails):
    fails(
        ValueError,
        r"`label_names` must be 5 different names, .*got \['teff', 'logg'\]",
        label_names=["teff", "logg"],
        label_units=None,
    )


def test_fit_with_a_name_twice_is_an_error(fails):
    fails(
        ValueError,
        r"must be 5 different names, .*got \['a', 'b', 'c', 'c', 'd'\]",
        label_names=["a", "b", "c", "c", "d"],
        label_units=None,
    )


def test_fit_with_other_names_than_the_data_frame_is_an_error(fails, tiny_grid):
    pandas = pytest.importorskip("pandas")
    names = [*tiny_grid.label_names[:4], "Si_H"]
    fails(
        ValueError,
        r"a column for each of .*; it has no 'Ca_H' among .*'Si_H'.* Rename the column",
        P=pandas.DataFrame(tiny_grid.data, columns=names),
    )


def test_fit_with_a_unit_of_an_unknown_label_says_what_was_meant(fails):
    fails(
        ValueError,
        r"`label_units` names 'Teff', .* Did you mean 'teff'",
        label_units={"Teff": "K"},
    )


@pytest.mark.parametrize("bad", ["K", ["K", "dex"]])
def test_fit_with_too_few_units_is_an_error(fails, bad):
    fails(ValueError, "`label_units` must be one unit for each of", label_units=bad)


def test_fit_with_units_by_name_leaves_the_others_empty(make_tiny, tiny_grid):
    emulator = make_tiny(label_units={"logg": "dex"}, max_steps=2)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    assert emulator.label_units_ == ["", "dex", "", "", ""]


# training


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, np.nan])
def test_fit_with_a_bad_validation_fraction_is_an_error(fails, fraction):
    fails(
        ValueError,
        rf"at least 0 and below 1; got {fraction}. Pass 0 to train on every spectrum",
        validation_fraction=fraction,
    )


@pytest.mark.parametrize("device", ["cuda:99", "toaster", 3.5])
def test_fit_on_a_device_that_is_not_there_says_what_to_use(fails, device):
    fails(
        ValueError,
        rf"a device that torch has here; got '?{device}'?. Use 'cpu' or 'auto'",
        device=device,
    )


@pytest.mark.parametrize("max_steps", [0, -7, 3.5, "many"])
def test_fit_with_bad_max_steps_is_an_error(fails, max_steps):
    fails(
        ValueError,
        f"'max_steps' must be an integer >= 1; got '?{max_steps}",
        max_steps=max_steps,
    )


def test_fit_with_a_misspelt_entry_of_the_recipe_says_what_was_meant(fails):
    fails(
        ValueError,
        "got 'batchsize'. Did you mean 'batch_size'",
        recipe={"batchsize": 7},
    )


def test_fit_with_a_bad_random_state_is_an_error(fails):
    fails(ValueError, "cannot be used to seed", random_state="seed")


# before and after fitting


@pytest.mark.parametrize(
    "call",
    [
        lambda emulator, folder: emulator.predict([[0.0]]),
        lambda emulator, folder: emulator.score([[0.0]], [[1.0]]),
        lambda emulator, folder: emulator.to_torch(),
        lambda emulator, folder: emulator.to_spectra([[0.0]]),
        lambda emulator, folder: emulator.save(folder / "model"),
    ],
    ids=["predict", "score", "to_torch", "to_spectra", "save"],
)
def test_unfitted_emulator_asks_to_be_fitted(make_tiny, tmp_path, call):
    with pytest.raises(NotFittedError, match=r"SpectrumEmulator .* Call 'fit'"):
        call(make_tiny(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_predict_with_another_number_of_labels_says_both(fitted):
    with pytest.raises(ValueError, match=r"X has 4 features, .* expecting 5"):
        fitted["payne"].predict(np.ones((7, 4)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predict_of_labels_that_are_not_finite_is_an_error(fitted, tiny_grid, bad):
    P = tiny_grid.data[:3].copy()
    P[1, 1] = bad
    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
        fitted["payne"].predict(P)


def test_predict_of_one_star_without_rows_says_how_to_reshape(fitted, tiny_grid):
    with pytest.raises(ValueError, match="Reshape your data"):
        fitted["payne"].predict(tiny_grid.data[0])


@pytest.mark.parametrize("arch", ["payne", "transformer"])
@pytest.mark.parametrize("method", ["predict", "to_spectra"])
def test_wavelengths_outside_the_grid_are_an_error_that_names_one(
    fitted, tiny_grid, arch, method
):
    wavelength = [4499.0, 4510.0, 4520.5, 4521.0]
    with pytest.raises(
        WavelengthMismatchError,
        match=r"within 4500.000-4520.000 Å, .*3 of 4 do not, such as 4499.000. Leave",
    ):
        getattr(fitted[arch], method)(tiny_grid.data[:3], wavelength=wavelength)


def test_wavelength_mismatch_is_a_value_error():
    assert issubclass(WavelengthMismatchError, ValueError)


def test_predict_at_a_quantity_says_how_to_convert_it(fitted, tiny_grid):
    with pytest.raises(TypeError, match=r"quantity in um; pass wavelength.to_value"):
        fitted["payne"].predict(tiny_grid.data, wavelength=[0.451] * units.um)


@pytest.mark.parametrize("bad", [[[4510.0]], 4510.0, [np.nan]])
def test_predict_at_anything_but_a_row_of_wavelengths_is_an_error(
    fitted, tiny_grid, bad
):
    with pytest.raises(ValueError, match="1-D array of finite numbers; got shape"):
        fitted["payne"].predict(tiny_grid.data, wavelength=bad)


def test_predict_at_wavelengths_without_a_grid_says_what_to_pass():
    expected = "trained without wavelengths; pass `wavelength=` and"
    with pytest.raises(ValueError, match=expected):
        without_grid().predict([[0.5]], wavelength=[4510.0])


def test_to_spectra_without_a_grid_says_what_to_pass():
    with pytest.raises(
        ValueError, match=r"`to_spectra` needs wavelengths, .*pass `wavelength=` and"
    ):
        without_grid().to_spectra([[0.5]])


def test_to_torch_on_a_device_that_is_not_there_is_an_error(fitted):
    with pytest.raises(RuntimeError, match="toaster"):
        fitted["payne"].to_torch(device="toaster")
    fitted["payne"].to_torch(device=torch.device("cpu"))
