"""Tests of SpectrumSet: its rows in scikit-learn's splitters, its way to specutils."""

import pickle

import numpy as np
import pytest
from astropy import units as u
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import KFold, cross_val_predict, train_test_split
from specutils import Spectrum

from sk_payne.spectra import SpectrumSet, as_spectra

N, P = 11, 7


@pytest.fixture
def spectra():
    flux = np.arange(N * P, dtype=float).reshape(N, P)
    wavelength = 5000.0 + np.arange(P) + 10.0 * np.arange(N)[:, None]
    return SpectrumSet(
        flux,
        flux + 1.0,
        wavelength=wavelength,
        medium="air",
        has_uncertainty=np.arange(N) % 2 == 0,
        frame=np.where(np.arange(N) % 3, "barycentric", ""),
    )


class FirstPixel(RegressorMixin, BaseEstimator):
    """Predicts the first pixel of each spectrum."""

    def fit(self, X, y):
        assert isinstance(X, SpectrumSet)
        self.n_seen_ = len(X)
        return self

    def predict(self, X):
        return X.flux[:, 0]


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        (np.array([3, 1]), [3, 1]),
        ([0, 2], [0, 2]),
        ([], []),
        (slice(1, 8, 3), [1, 4, 7]),
        (np.arange(N) > 8, [9, 10]),
        (4, [4]),
        (np.int64(-1), [10]),
        ((np.array([5, 0]), Ellipsis), [5, 0]),
        ((slice(0, 2), Ellipsis), [0, 1]),
    ],
)
def test_getitem_picks_the_same_rows_of_everything(spectra, key, rows):
    picked = spectra[key]
    assert isinstance(picked, SpectrumSet)
    names = "flux", "ivar", "wavelength", "has_uncertainty", "n_pixels", "frame"
    for name in names:
        expected = getattr(spectra, name)[rows]
        np.testing.assert_array_equal(getattr(picked, name), expected)
    assert picked.medium == "air"
    assert len(picked) == len(rows)


def test_getitem_keeps_shared_wavelengths_whole():
    spectra = SpectrumSet(
        np.ones((3, 5)), np.ones((3, 5)), wavelength=np.arange(1.0, 6.0)
    )
    assert spectra[[0]].wavelength.shape == (5,)
    assert SpectrumSet(np.ones((3, 5)), np.ones((3, 5)))[1].wavelength is None


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((0, 1), "indexed by rows only"),
        ("a", "chosen by an int"),
        ([0.5], "chosen by an int"),
        (np.ones(3, bool), "one value per spectrum, 11"),
        (N, "out of bounds"),
    ],
)
def test_getitem_refuses_what_is_not_rows(spectra, key, message):
    with pytest.raises(IndexError, match=message):
        spectra[key]


def test_train_test_split_gives_two_sets_that_make_up_the_first(spectra):
    y = spectra.flux[:, 0]
    train, test, y_train, y_test = train_test_split(spectra, y, random_state=0)
    assert len(train) + len(test) == N
    np.testing.assert_array_equal(train.flux[:, 0], y_train)
    np.testing.assert_array_equal(test.flux[:, 0], y_test)


def test_cross_val_predict_returns_rows_in_their_order(spectra):
    y = np.zeros(N)
    folds = KFold(3, shuffle=True, random_state=0)
    predicted = cross_val_predict(FirstPixel(), spectra, y, cv=folds)
    np.testing.assert_array_equal(predicted, spectra.flux[:, 0])


def test_iteration_gives_sets_of_one(spectra):
    assert [len(star) for star in spectra] == [1] * N


def test_asarray_is_refused_rather_than_losing_the_errors(spectra):
    with pytest.raises(TypeError, match="use its `flux` and `ivar`"):
        np.asarray(spectra)


def test_pickle_keeps_everything(spectra):
    again = pickle.loads(pickle.dumps(spectra))
    np.testing.assert_array_equal(again.wavelength, spectra.wavelength)
    assert again.medium == spectra.medium


def test_repr_tells_size_range_and_medium(spectra):
    assert (
        repr(spectra) == "SpectrumSet(11 spectra of 7 pixels on 5000.0-5106.0 Å, air)"
    )
    assert (
        repr(spectra[[]]) == "SpectrumSet(0 spectra of 7 pixels on no wavelengths, air)"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flux": np.ones(5)}, r"`flux` must have the shape"),
        ({"flux": np.full((3, 5), np.nan)}, "`flux` must be finite; got 15"),
        ({"ivar": np.full((3, 5), np.inf)}, "`ivar` must be finite"),
        ({"ivar": np.full((3, 5), -1.0)}, "`ivar` must not be negative; got -1.0"),
        ({"ivar": np.ones((3, 2))}, "`ivar` must have the shape of `flux`"),
        ({"wavelength": np.ones(5)}, "`wavelength` must be finite and increase"),
        ({"wavelength": [1, 2, np.nan, 4, 5]}, "`wavelength` must be finite"),
        ({"wavelength": np.arange(3)}, r"`wavelength` must have the shape \(5,\)"),
        ({"medium": "water"}, "`medium` must be 'air' or 'vacuum'"),
    ],
)
def test_constructor_names_what_is_wrong(change, message):
    arguments = {"flux": np.ones((3, 5)), "ivar": np.ones((3, 5)), **change}
    with pytest.raises(ValueError, match=message):
        SpectrumSet(**arguments)


def test_to_specutils_and_back_changes_nothing(spectra):
    listed = spectra.to_specutils()
    again = SpectrumSet.from_specutils(listed)
    for name in ("flux", "wavelength", "has_uncertainty"):
        np.testing.assert_array_equal(getattr(again, name), getattr(spectra, name))
    known = spectra.has_uncertainty
    np.testing.assert_array_equal(again.ivar[known], spectra.ivar[known])
    assert again.medium == "air"
    assert listed[0].meta["medium"] == "air"


def test_to_specutils_drops_padding_and_masks_bad_pixels():
    from specutils import SpectrumList

    spectra = SpectrumSet(
        [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]],
        [[4.0, 0.0, 0.0], [4.0, 4.0, 4.0]],
        wavelength=[1.0, 2.0, 3.0],
        n_pixels=[2, 3],
    )
    listed = spectra.to_specutils(flux_unit="Jy")
    assert isinstance(listed, SpectrumList)
    assert [s.shape for s in listed] == [(2,), (3,)]
    assert listed[0].mask.tolist() == [False, True]
    assert str(listed[0].flux.unit) == "Jy"
    assert listed[0].meta == {}


def test_to_specutils_needs_wavelengths():
    with pytest.raises(ValueError, match="`wavelength=`"):
        as_spectra(np.ones((2, 3)), snr=10).to_specutils()


def test_from_specutils_refuses_plain_arrays():
    with pytest.raises(TypeError, match="Use as_spectra for plain arrays"):
        SpectrumSet.from_specutils(np.ones((2, 3)))


def test_concatenate_gives_back_what_was_cut(spectra):
    joined = SpectrumSet.concatenate([spectra[:4], spectra[4:5], spectra[5:]])
    assert vars(joined).keys() == vars(spectra).keys()
    for name, values in vars(spectra).items():
        np.testing.assert_array_equal(getattr(joined, name), values, err_msg=name)


def test_concatenate_shares_wavelengths_that_are_the_same():
    one = SpectrumSet(np.ones((2, 3)), np.ones((2, 3)), wavelength=[4.0, 5.0, 6.0])
    assert SpectrumSet.concatenate([one, one[:1]]).wavelength.shape == (3,)
    other = SpectrumSet(np.ones((1, 3)), np.ones((1, 3)), wavelength=[4.0, 5.0, 7.0])
    joined = SpectrumSet.concatenate([one, other])
    np.testing.assert_array_equal(joined.wavelength[1:], [[4, 5, 6], [4, 5, 7]])


def test_concatenate_pads_as_a_list_of_spectra_is_padded(spectra):
    listed = [spectra[0].to_specutils()[0], spectra[2].to_specutils()[0][1:4]]
    joined = SpectrumSet.concatenate([as_spectra(one) for one in listed])
    expected = as_spectra(listed)
    for name, values in vars(expected).items():
        np.testing.assert_array_equal(getattr(joined, name), values, err_msg=name)
    assert joined.n_pixels.tolist() == [P, 3]


@pytest.mark.parametrize(
    "change",
    [{"medium": "vacuum"}, {"wavelength": None}, {"medium": None}],
    ids=["another medium", "no wavelengths", "unknown medium"],
)
def test_concatenate_refuses_sets_that_do_not_go_together(change):
    arguments = {"wavelength": [4.0, 5.0, 6.0], "medium": "air"}
    one = SpectrumSet(np.ones((1, 3)), np.ones((1, 3)), **arguments)
    other = SpectrumSet(np.ones((1, 3)), np.ones((1, 3)), **(arguments | change))
    with pytest.raises(ValueError, match="`sets` must share their medium"):
        SpectrumSet.concatenate([one, other])


def test_concatenate_refuses_plain_flux_of_different_lengths():
    sets = [SpectrumSet(np.ones((1, n)), np.ones((1, n))) for n in (3, 4)]
    with pytest.raises(ValueError, match="their number of pixels and have none; got"):
        SpectrumSet.concatenate(sets)


# Frames --------------------------------------------------------------------------


def star(frame=None, n=P):
    meta = {"medium": "air"} | ({} if frame is None else {"frame": frame})
    axis = (5000.0 + np.arange(n)) * u.AA
    return Spectrum(flux=np.ones(n) * u.one, spectral_axis=axis, meta=meta)


def frames_of(stars):
    return as_spectra(stars, require_uncertainty=False).frame


def test_frames_that_spectra_state_are_kept_row_by_row():
    stars = [star("rest"), star(), star("Barycentric", n=3), star("FK5")]
    assert frames_of(stars).tolist() == ["rest", "", "barycentric", ""]
    assert frames_of([star(), star("ICRS")]) is None
    spectra = as_spectra(stars, require_uncertainty=False)
    assert spectra[[2, 1]].frame.tolist() == ["barycentric", ""]
    metas = [one.meta for one in spectra.to_specutils()]
    assert [meta.get("frame") for meta in metas] == ["rest", None, "barycentric", None]


def test_frame_of_several_rows_is_that_of_each():
    one = Spectrum(
        flux=np.ones((2, P)) * u.one,
        spectral_axis=(5000.0 + np.arange(P)) * u.AA,
        meta={"medium": "air", "frame": "topocentric"},
    )
    assert frames_of(one).tolist() == ["topocentric", "topocentric"]


def test_star_has_the_frame_that_all_of_its_arms_state():
    known = [star("rest"), star("rest")]
    partly = [star("rest"), star()]
    assert frames_of([known, partly]).tolist() == ["rest", ""]
    with pytest.raises(ValueError, match="got barycentric and rest"):
        frames_of([known, [star("rest"), star("barycentric")]])


def test_frame_of_another_number_of_stars_is_refused():
    with pytest.raises(ValueError, match=r"`frame` must have the shape \(2,\)"):
        SpectrumSet(np.ones((2, 3)), np.ones((2, 3)), frame=["rest"])
