"""Tests of as_spectra: every container, every kind of error, every refusal."""

import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import (
    InverseVariance,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from specutils import Spectrum, SpectrumCollection, SpectrumList

from sk_payne.spectra import SpectrumSet, as_spectra

P = 7
WAVELENGTH = 5000.0 + np.arange(P) ** 1.5


def star(flux=None, axis=WAVELENGTH * u.AA, sigma=0.1, unit="", medium=None, **kwargs):
    flux = np.arange(1.0, len(axis) + 1) if flux is None else np.asarray(flux)
    if sigma is not None:
        error = StdDevUncertainty(np.broadcast_to(sigma, flux.shape).copy())
        kwargs.setdefault("uncertainty", error)
    return Spectrum(
        flux=flux * u.Unit(unit),
        spectral_axis=axis,
        meta={} if medium is None else {"medium": medium},
        **kwargs,
    )


# Containers ----------------------------------------------------------------------


def test_array_keeps_flux_and_has_no_wavelengths():
    flux = np.arange(21).reshape(3, 7)
    spectra = as_spectra(flux, snr=[10, 20, 30])
    np.testing.assert_array_equal(spectra.flux, flux)
    np.testing.assert_allclose(spectra.ivar[:, 2], [100.0, 400.0, 900.0])
    assert spectra.wavelength is None
    assert spectra.has_uncertainty.all()


def test_one_spectrum_is_a_set_of_one():
    spectra = as_spectra(star(), medium="vacuum")
    assert spectra.shape == (1, P)
    np.testing.assert_array_equal(spectra.wavelength, WAVELENGTH)
    np.testing.assert_allclose(spectra.ivar, 100.0)
    assert spectra.medium == "vacuum"


@pytest.mark.parametrize("make", [list, tuple, SpectrumList, "object array"])
def test_list_on_different_grids_is_padded_with_increasing_wavelengths(make):
    stars = [
        star(),
        star(axis=[6000.0, 6001.0, 6003.0] * u.AA),
        star(axis=[7.0] * u.AA),
    ]
    if make == "object array":
        array = np.empty(3, dtype=object)
        array[:] = stars
        spectra = as_spectra(array)
    else:
        spectra = as_spectra(make(stars))
    assert spectra.shape == spectra.wavelength.shape == (3, P)
    np.testing.assert_array_equal(spectra.wavelength[0], WAVELENGTH)
    np.testing.assert_array_equal(
        spectra.wavelength[1], [6000, 6001, 6003, 6005, 6007, 6009, 6011]
    )
    assert (spectra.ivar[1, 3:] == 0).all()
    assert (spectra.ivar[1, :3] > 0).all()
    assert spectra.n_pixels.tolist() == [7, 3, 1]


def test_list_on_one_grid_shares_its_wavelengths():
    assert as_spectra([star(), star()]).wavelength.shape == (P,)


def test_2d_spectrum_and_its_rows_give_the_same():
    flux = np.arange(21.0).reshape(3, P)
    mask = flux == 4
    whole = Spectrum(
        flux=flux * u.Jy,
        spectral_axis=WAVELENGTH * u.AA,
        uncertainty=StdDevUncertainty(flux + 1),
        mask=mask,
    )
    rows = [
        star(f, sigma=f + 1, unit="Jy", mask=m) for f, m in zip(flux, mask, strict=True)
    ]
    together, apart = as_spectra(whole), as_spectra(rows)
    for name in ("flux", "ivar", "wavelength"):
        np.testing.assert_array_equal(getattr(together, name), getattr(apart, name))
    assert together.ivar[0, 4] == 0


def test_2d_spectrum_with_its_spectral_axis_first_is_turned():
    flux = np.arange(49.0).reshape(P, P)
    spectrum = Spectrum(
        flux=flux * u.Jy, spectral_axis=WAVELENGTH * u.AA, spectral_axis_index=0
    )
    found = as_spectra(spectrum, require_uncertainty=False)
    np.testing.assert_array_equal(found.flux, flux.T)


def test_collection_keeps_the_grid_of_each_row():
    # specutils warns about collections where not every spectrum has a mask.
    mask = np.zeros(P, bool)
    stars = [star(mask=mask), star(axis=(WAVELENGTH + 1) * u.AA, mask=mask)]
    spectra = as_spectra(SpectrumCollection.from_spectra(stars))
    np.testing.assert_allclose(spectra.wavelength, [WAVELENGTH, WAVELENGTH + 1])
    np.testing.assert_allclose(spectra.ivar, 100.0)


def test_collection_turns_only_the_rows_that_decrease():
    flux = np.arange(10.0).reshape(2, 5) * u.Jy
    axis = np.array([[1.0, 2, 3, 4, 5], [5.0, 4, 3, 2, 1]]) * u.AA
    spectra = as_spectra(SpectrumCollection(flux, axis), snr=10)
    np.testing.assert_array_equal(spectra.flux, [[0, 1, 2, 3, 4], [9, 8, 7, 6, 5]])
    np.testing.assert_array_equal(spectra.wavelength, [1, 2, 3, 4, 5])


def test_collection_of_one_row_without_a_second_axis_is_a_set_of_one():
    axis = WAVELENGTH * u.AA
    assert as_spectra(SpectrumCollection(np.ones(P) * u.Jy, axis), snr=9).shape == (
        1,
        P,
    )


def test_collection_takes_its_medium_from_a_list_of_meta():
    flux = np.ones((2, P)) * u.Jy
    axis = np.array([WAVELENGTH, WAVELENGTH]) * u.AA
    collection = SpectrumCollection(flux, axis, meta=[{"medium": "air"}] * 2)
    assert as_spectra(collection, snr=10).medium == "air"


def test_spectrum_set_comes_back_as_it_is():
    spectra = as_spectra(np.ones((3, P)), snr=10)
    assert as_spectra(spectra) is spectra


def test_spectrum_set_takes_a_mask_a_medium_and_an_snr():
    spectra = as_spectra(np.ones((3, P)), require_uncertainty=False)
    changed = as_spectra(spectra, mask=np.arange(P) == 2, medium="air", snr=10)
    assert changed.medium == "air"
    assert (changed.ivar[:, 2] == 0).all()
    np.testing.assert_allclose(np.delete(changed.ivar, 2, axis=1), 100.0)
    assert (spectra.ivar == 1).all()


def test_masked_array_brings_its_mask():
    flux = np.ma.masked_greater(np.arange(14.0).reshape(2, P), 10)
    np.testing.assert_array_equal(as_spectra(flux, snr=10).ivar == 0, flux.mask)


def test_plain_arrays_do_not_import_specutils():
    code = (
        "import sys, numpy; from sk_payne.spectra import as_spectra; "
        "as_spectra(numpy.ones((2, 3)), snr=10); "
        "sys.exit('specutils' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Units and direction -------------------------------------------------------------


@pytest.mark.parametrize("unit", [u.nm, u.um, u.THz, u.eV, 1 / u.cm])
@pytest.mark.parametrize("reverse", [False, True])
def test_any_axis_becomes_increasing_wavelengths(unit, reverse):
    order = slice(None, None, -1 if reverse else 1)
    axis = (WAVELENGTH * u.AA).to(unit, u.spectral())[order]
    flux = np.arange(1.0, P + 1)
    spectra = as_spectra(star(flux[order], axis=axis, sigma=(flux / 10)[order]))
    np.testing.assert_allclose(spectra.wavelength, WAVELENGTH, rtol=1e-14)
    np.testing.assert_array_equal(spectra.flux[0], flux)
    np.testing.assert_allclose(spectra.ivar[0], 100 / flux**2)


def test_axis_that_is_no_wavelength_is_refused():
    with pytest.raises(ValueError, match="wavelengths; got the unit pix"):
        as_spectra(star(axis=np.arange(P) * u.pix))


def test_radial_velocity_that_only_annotates_shifts_nothing():
    spectrum = star(radial_velocity=30 * u.km / u.s)
    np.testing.assert_array_equal(as_spectra(spectrum).wavelength, WAVELENGTH)


def test_percent_is_read_as_a_fraction():
    spectra = as_spectra(star(np.full(P, 90.0), sigma=1.0, unit="%"))
    np.testing.assert_allclose(spectra.flux, 0.9)
    np.testing.assert_allclose(spectra.ivar, 1e4)


def test_mixed_units_are_refused():
    with pytest.raises(ValueError, match="spectrum 0 is in 'Jy', spectrum 1 in 'mJy'"):
        as_spectra([star(unit="Jy"), star(unit="mJy")])


# Errors and masks ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "power"),
    [(StdDevUncertainty, 1), (VarianceUncertainty, 2), (InverseVariance, -2)],
)
def test_every_kind_of_uncertainty_becomes_the_same_ivar(kind, power):
    sigma = np.linspace(0.1, 0.7, P)
    spectra = as_spectra(star(uncertainty=kind(sigma**power)))
    np.testing.assert_allclose(spectra.ivar[0], sigma**-2.0)


@pytest.mark.parametrize(
    ("kind", "power"),
    [(StdDevUncertainty, 1), (VarianceUncertainty, 2), (InverseVariance, -2)],
)
def test_uncertainty_in_another_unit_is_converted(kind, power):
    error = kind(np.full(P, 100.0**power), unit=u.mJy**power)
    np.testing.assert_allclose(as_spectra(star(unit="Jy", uncertainty=error)).ivar, 100)


def test_unknown_uncertainty_is_refused():
    with pytest.raises(ValueError, match="got UnknownUncertainty"):
        as_spectra(star(uncertainty=UnknownUncertainty(np.ones(P))))


@pytest.mark.parametrize(
    "kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance]
)
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_error_that_says_nothing_masks_its_pixel_inside_a_spectrum(kind, value):
    error = np.ones(P)
    error[2] = value
    spectra = as_spectra(star(uncertainty=kind(error)))
    assert (spectra.ivar[0] == 0).tolist() == [i == 2 for i in range(P)]
    assert spectra.flux[0, 2] == 0


def test_infinite_error_inside_a_spectrum_masks_its_pixel():
    error = np.ones(P)
    error[2] = np.inf
    assert as_spectra(star(sigma=error)).ivar[0, 2] == 0


def test_negative_error_inside_a_spectrum_is_refused_unless_masked():
    error = np.ones(P)
    error[2] = -1
    with pytest.raises(ValueError, match=r"1 negative values, .* spectrum 1, pixel 2"):
        as_spectra([star(), star(sigma=error)])
    assert as_spectra(star(sigma=error, mask=error < 0)).ivar[0, 2] == 0


def test_mask_and_bad_flux_of_a_spectrum_are_both_bad():
    flux = np.ones(P)
    flux[[1, 2]] = np.nan, np.inf
    spectra = as_spectra(star(flux, mask=np.arange(P) == 3))
    assert np.flatnonzero(spectra.ivar[0] == 0).tolist() == [1, 2, 3]
    assert (spectra.flux[0, 1:4] == 0).all()


def test_bit_masks_count_as_bad_wherever_they_are_not_zero():
    bits = np.array([0, 4, 0, 0, 1, 0, 0])
    assert np.flatnonzero(as_spectra(star(mask=bits)).ivar[0] == 0).tolist() == [1, 4]
    flux = np.ones((2, P))
    assert (as_spectra(flux, snr=9, mask=bits).ivar[:, [1, 4]] == 0).all()


def test_star_whose_pixels_are_all_bad_is_kept():
    spectra = as_spectra([star(), star(np.full(P, np.nan))])
    assert (spectra.ivar[1] == 0).all()
    assert (as_spectra(np.full((2, P), np.nan), snr=10).ivar == 0).all()


@pytest.mark.parametrize(
    "uncertainty", [0.5, np.full(P, 0.5), np.full((3, 1), 0.5), np.full((3, P), 0.5)]
)
def test_uncertainty_of_an_array_broadcasts(uncertainty):
    ivar = as_spectra(np.ones((3, P)), uncertainty=uncertainty).ivar
    np.testing.assert_array_equal(ivar, np.full((3, P), 4.0))


def test_uncertainty_goes_before_snr():
    assert as_spectra(np.ones((2, P)), uncertainty=0.5, snr=10).ivar[0, 0] == 4.0


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, 1e-200])
def test_uncertainty_of_an_array_must_be_positive_where_not_masked(value):
    error = np.ones((3, P))
    error[1, 5] = error[2, 1] = value
    with pytest.raises(
        ValueError, match=r"`uncertainty` .* 2 zero.*spectrum 1, pixel 5"
    ):
        as_spectra(np.ones((3, P)), uncertainty=error)
    spectra = as_spectra(np.ones((3, P)), uncertainty=error, mask=error != 1)
    assert (spectra.ivar == (error == 1)).all()


def test_nan_flux_excuses_its_error():
    flux, error = np.ones((2, P)), np.ones((2, P))
    flux[0, 3] = error[0, 3] = np.nan
    assert as_spectra(flux, uncertainty=error).ivar[0, 3] == 0


def test_infinite_uncertainty_of_an_array_means_no_information():
    error = np.ones(P)
    error[3] = np.inf
    spectra = as_spectra(np.ones((2, P)), uncertainty=error)
    assert (spectra.ivar[:, 3] == 0).all()
    assert (spectra.flux[:, 3] == 0).all()


def test_snr_fills_only_spectra_without_their_own_uncertainty():
    spectra = as_spectra([star(), star(sigma=None)], snr=[3.0, 50.0])
    np.testing.assert_allclose(spectra.ivar[:, 0], [100.0, 2500.0])
    assert spectra.has_uncertainty.all()


@pytest.mark.parametrize("X", [np.ones((2, P)), [star(), star(sigma=None)]])
def test_missing_uncertainty_names_both_ways_out(X):
    with pytest.raises(ValueError, match=r"`uncertainty=` .* `snr=`"):
        as_spectra(X)


def test_missing_uncertainty_is_noted_when_it_is_not_required():
    spectra = as_spectra([star(), star(sigma=None)], require_uncertainty=False)
    assert spectra.has_uncertainty.tolist() == [True, False]
    assert (spectra.ivar[1] == 1).all()


@pytest.mark.parametrize("snr", [0, -3.0, np.nan, np.inf, [1.0, 0.0]])
def test_snr_must_be_positive_and_finite(snr):
    with pytest.raises(ValueError, match="`snr` must be positive and finite; got"):
        as_spectra(np.ones((2, P)), snr=snr)


def test_snr_must_be_one_number_or_one_per_spectrum():
    with pytest.raises(ValueError, match=r"`snr` must be one number or .* \(2,\)"):
        as_spectra(np.ones((2, P)), snr=np.ones((2, P)))


def test_nothing_of_the_caller_is_modified():
    flux, error, mask = np.ones((2, P)), np.ones((2, P)), np.zeros((2, P), bool)
    flux[0, 1], error[1, 2], mask[1, 2] = np.nan, -1, True
    copies = flux.copy(), error.copy(), mask.copy()
    spectra = as_spectra(flux, uncertainty=error, mask=mask)
    spectra.flux[:] = spectra.ivar[:] = 5
    for now, before in zip((flux, error, mask), copies, strict=True):
        np.testing.assert_array_equal(now, before)
    spectrum = star(flux[0])
    as_spectra(spectrum).flux[:] = 5
    np.testing.assert_array_equal(spectrum.flux.value, copies[0][0])
    np.testing.assert_array_equal(spectrum.wavelength.value, WAVELENGTH)


# Medium --------------------------------------------------------------------------


def test_medium_comes_from_the_caller_or_from_meta_or_is_unknown():
    assert as_spectra([star(medium="air")]).medium == "air"
    assert as_spectra([star(medium="air"), star()], medium="air").medium == "air"
    assert as_spectra(star()).medium is None


def test_medium_that_contradicts_meta_is_refused():
    with pytest.raises(ValueError, match=r"`medium` is 'vacuum', but .* state 'air'"):
        as_spectra(star(medium="air"), medium="vacuum")
    with pytest.raises(ValueError, match=r"`medium` is 'vacuum', but .* state 'air'"):
        as_spectra(as_spectra(star(medium="air")), medium="vacuum")


@pytest.mark.parametrize("other", ["vacuum", None])
def test_media_that_disagree_are_refused(other):
    with pytest.raises(ValueError, match=r"the spectra state .*'air'"):
        as_spectra([star(medium="air"), star(medium=other)])


def test_medium_in_meta_is_checked():
    with pytest.raises(ValueError, match=r"`meta.\"medium\".` must be .* got 'water'"):
        as_spectra(star(medium="water"))


# Refusals ------------------------------------------------------------------------


def test_1d_array_says_how_to_reshape():
    with pytest.raises(ValueError, match=r"Reshape your data: array.reshape\(1, -1\)"):
        as_spectra(np.ones(P), snr=10)


def test_arrays_of_other_dimensions_are_refused():
    with pytest.raises(ValueError, match="must be a 2D array"):
        as_spectra(np.ones((2, 3, 5)), snr=10)


@pytest.mark.parametrize("X", [[], np.ones((0, 3)), np.ones((3, 0)), SpectrumList()])
def test_nothing_at_all_is_refused(X):
    with pytest.raises(ValueError, match="at least one spectrum"):
        as_spectra(X, snr=10)


@pytest.mark.parametrize(
    "X",
    [None, 3.0, "star.fits", {"flux": 1}, [[1.0], [1.0, 2.0]], np.ones((2, 3)) * 1j],
)
def test_other_types_are_told_what_is_accepted(X):
    with pytest.raises(TypeError, match="`X` must be a SpectrumSet, a 1-D or 2-D"):
        as_spectra(X, snr=10)


def test_list_with_a_stranger_is_refused():
    with pytest.raises(TypeError, match="item 1 is a ndarray"):
        as_spectra([star(), np.ones(P)])


def test_list_with_a_2d_spectrum_is_refused():
    flux = np.ones((2, P)) * u.Jy
    with pytest.raises(ValueError, match=r"item 1 has the shape \(2, 7\)"):
        as_spectra([star(), Spectrum(flux=flux, spectral_axis=WAVELENGTH * u.AA)])


def test_cube_is_refused():
    cube = Spectrum(flux=np.ones((2, 3, P)) * u.Jy, spectral_axis=WAVELENGTH * u.AA)
    with pytest.raises(ValueError, match=r"Reshape a cube"):
        as_spectra(cube)


@pytest.mark.parametrize("name", ["uncertainty", "mask"])
def test_extras_for_arrays_are_refused_beside_spectrum_objects(name):
    with pytest.raises(ValueError, match=f"`{name}` goes with plain arrays"):
        as_spectra(star(), **{name: np.ones(P)})


def test_uncertainty_beside_a_spectrum_set_is_refused():
    spectra = SpectrumSet(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"`uncertainty` goes with plain arrays"):
        as_spectra(spectra, uncertainty=0.1)


@pytest.mark.parametrize("name", ["uncertainty", "mask"])
def test_shapes_that_do_not_broadcast_are_refused(name):
    with pytest.raises(ValueError, match=rf"`{name}` must .*broadcast.* \(2, 7\)"):
        as_spectra(np.ones((2, P)), **{name: np.ones(3)})


@pytest.mark.parametrize("level", [4000.0, 1e-15])
def test_snr_of_flux_that_is_not_normalised_is_refused(level):
    flux = np.full((2, 5), level)
    flux[0] = 1.0
    flux[:, 2] = np.nan
    spectra = as_spectra(flux, require_uncertainty=False)
    spectra = spectra.replace(wavelength=WAVELENGTH[:5], medium="air")
    with pytest.raises(ValueError, match=r"`snr` is for .* median of spectrum 1 is"):
        as_spectra(spectra, snr=100)
    as_spectra(flux, uncertainty=flux[:, :1] / 100)


def test_snr_of_spectra_without_light_is_taken():
    flux = [[np.nan, np.nan], [0.0, 0.0], [-0.1, -0.2]]
    assert as_spectra(flux, snr=10).ivar.max() == pytest.approx(100)


# Arms


def arm(name, arm, first=5000.0):
    axis = (first + np.arange(P)) * u.AA
    spectrum = star(axis=axis, medium="air")
    meta = {"object": name, "arm": arm}
    spectrum.meta |= {key: value for key, value in meta.items() if value is not None}
    return spectrum


B, R = 4000.0, 6000.0


@pytest.mark.parametrize("container", [list, tuple, SpectrumList])
def test_neighbours_that_state_one_star_and_other_arms_are_one_star(container):
    flat = [
        *(arm("HD 1", "B", B), arm("HD 1", "R", R)),
        *(arm("HD 1", "B", B), arm("HD 1", "R", R)),  # the next exposure
        *(arm("HD 2", "R", R), arm("HD 3", "B", B)),
    ]
    spectra = as_spectra(container(flat))
    nested = as_spectra([flat[:2], flat[2:4], *flat[4:]])
    assert len(spectra) == 4
    np.testing.assert_array_equal(spectra.wavelength, nested.wavelength)
    np.testing.assert_array_equal(spectra.arm, nested.arm)


@pytest.mark.parametrize(
    "flat",
    [
        [arm("HD 1", None, B), arm("HD 2", None, R)],
        [arm(None, None, B), arm(None, None, R)],
        [arm(None, "B", B), arm(None, "R", R)],
        [arm("", "B", B), arm("", "R", R)],
        [arm("HD 1", None, B), arm("HD 1", None, B)],
        [arm("HD 1", None, B), arm("HD 1", None, B + 2)],
    ],
    ids=["names", "nothing", "arms", "empty names", "one range", "ranges that overlap"],
)
def test_spectra_that_may_be_of_two_stars_are(flat):
    assert len(as_spectra(flat)) == 2


@pytest.mark.parametrize("red", [R, B + P - 2], ids=["a gap", "an overlap"])
def test_spectra_of_one_star_on_other_wavelengths_are_asked_about(red):
    flat = [arm("HD 2", None), arm("HD 1", None, B), arm("HD 1", None, red)]
    with pytest.warns(
        UserWarning,
        match=r"Items 1 and 2 of `X` are both of 'HD 1', .* two spectra or two arms\?",
    ) as told:
        assert len(as_spectra(flat)) == 3
    assert told[0].filename == __file__
