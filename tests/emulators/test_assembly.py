"""Tests of emulators out of weights that were trained elsewhere."""

import numpy as np
import pytest
from torch import nn

import sk_payne
from sk_payne.emulators import from_weights
from sk_payne.exceptions import ExtrapolationWarning

RNG = np.random.default_rng(1)
WEIGHTS = {
    "polynomial.weight": RNG.normal(size=(7, 5)),
    "polynomial.bias": RNG.normal(size=7),
}
SAID = {
    "wavelength": np.linspace(4500.0, 4506.0, 7),
    "medium": "air",
    "label_low": [4000.0, 4.0],
    "label_high": [6000.0, 5.0],
}


class Own(nn.Linear):
    """A network of a user's own."""

    def __init__(self, n_labels, n_wavelengths):
        super().__init__(n_labels, n_wavelengths)


def polynomial(a, b):
    features = np.array([a, b, a * a, a * b, b * b])
    return WEIGHTS["polynomial.weight"] @ features + WEIGHTS["polynomial.bias"]


def test_labels_are_scaled_by_the_box():
    emulator = from_weights("cannon", WEIGHTS, **SAID)
    found = emulator.predict([[4500.0, 4.75]])[0]
    # weights are rounded to single precision
    np.testing.assert_allclose(found, polynomial(-0.5, 0.5), rtol=0, atol=1e-6)


def test_other_scales_of_labels_and_flux_are_applied():
    offset = np.linspace(0.0, 1.0, 7)
    emulator = from_weights(
        "cannon",
        WEIGHTS,
        **SAID,
        label_center=[5000.0, 4.0],
        label_half_width=[500.0, 2.0],
        flux_offset=offset,
        flux_scale=0.1,
    )
    found = emulator.predict([[5250.0, 4.5]])[0]
    expected = offset + 0.1 * polynomial(0.5, 0.25)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(emulator.label_low_, SAID["label_low"])


def test_the_box_is_the_domain():
    emulator = from_weights("cannon", WEIGHTS, **SAID, label_names=["teff", "logg"])
    stars = [[4000.0, 5.0], [6000.0, 4.0], [6001.0, 4.0], [np.nextafter(4000, 0), 4.5]]
    expected = ["inside", "inside", "outside", "inside"]
    assert emulator.domain(stars).tolist() == expected
    with pytest.warns(ExtrapolationWarning, match=r"teff \(4000 to 6000\): row 2\."):
        emulator.predict(stars)


def test_it_is_saved_with_what_is_known_of_it(tmp_path):
    emulator = from_weights(
        "cannon", WEIGHTS, **SAID, provenance={"by": "hand"}, resolving_power=500
    )
    assert emulator.provenance_ == {"by": "hand"}
    emulator.save(tmp_path / "it.safetensors", provenance=emulator.provenance_)
    again = sk_payne.load(tmp_path / "it.safetensors")
    assert again.provenance_["by"] == "hand"
    assert again.resolving_power_ == 500
    assert (again.n_training_, again.n_steps_, again.history_) == (0, 0, [])
    stars = [[4321.0, 4.3]]
    np.testing.assert_array_equal(again.predict(stars), emulator.predict(stars))


def test_it_can_be_trained_anew():
    emulator = from_weights("cannon", WEIGHTS, **SAID).set_params(max_steps=3)
    P = RNG.uniform(SAID["label_low"], SAID["label_high"], (23, 2))
    emulator.fit(P, RNG.normal(size=(23, 7)))
    assert emulator.n_steps_ == 3
    assert emulator.n_training_ == 21


def test_a_network_of_ones_own_is_taken():
    weights = {"weight": np.ones((7, 2)), "bias": np.zeros(7)}
    emulator = from_weights(Own, weights, **SAID)
    np.testing.assert_allclose(emulator.predict([[6000.0, 4.5]]), np.ones((1, 7)))


def test_arrays_of_the_caller_stay_theirs():
    low = np.array(SAID["label_low"])
    emulator = from_weights("cannon", WEIGHTS, **SAID | {"label_low": low})
    low[:] = 0
    assert emulator.label_low_[0] == 4000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_low": [4000.0]}, "`label_low` and `label_high` must have one value"),
        ({"label_low": [7000.0, 4.0]}, "must be finite and in this order"),
        ({"label_low": [np.nan, 4.0]}, "must be finite and in this order"),
        ({"label_center": [0.0]}, r"`label_center` must have one value .* 2 labels"),
        ({"label_half_width": [1.0, 0.0]}, "must be positive; got"),
        ({"flux_scale": 0.0}, "must be positive; got"),
        ({"flux_scale": np.inf}, "`flux_scale` must be finite"),
        ({"flux_offset": np.ones(6)}, "`flux_offset` must be one number or 7"),
        ({"wavelength": None}, "`wavelength` must"),
        ({"medium": None}, "`medium` must be given"),
        ({"label_names": ["teff"]}, "`label_names` must be 2 different names"),
        ({"wavelength": np.linspace(4500, 4506, 8)}, "`weights` must be those of 'can"),
    ],
)
def test_what_does_not_fit_is_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        from_weights("cannon", WEIGHTS, **SAID | changes)


def test_weights_that_are_not_finite_are_an_error():
    bad = WEIGHTS | {"polynomial.bias": np.full(7, np.nan)}
    with pytest.raises(ValueError, match=r"`polynomial.bias` must be finite"):
        from_weights("cannon", bad, **SAID)


def test_an_offset_for_each_wavelength_is_not_for_networks_that_take_them():
    with pytest.raises(ValueError, match="`flux_offset` must be one number or 1"):
        from_weights("transformer", {}, **SAID, flux_offset=np.ones(7))
