"""Tests of networks of The_Payne, against its formula in numpy."""

import zipfile

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from sk_payne import FineTunedEmulator, SpectrumEmulator
from sk_payne.exceptions import ExtrapolationWarning, FileFormatError
from sk_payne.exchange import read_the_payne, write_the_payne

SAID = {
    "wavelength": np.linspace(4500.0, 4506.0, 41),
    "medium": "vacuum",
    "label_names": ["teff", "logg", "Fe_H"],
}
LEAKY = {"n_hidden": 23, "activation": "leaky_relu"}


@pytest.fixture(scope="module")
def emulator(the_payne_file):
    """What was read; don't change it."""
    return read_the_payne(the_payne_file, **SAID, label_units=["K", "dex", "dex"])


@pytest.fixture(scope="module")
def leaky(tiny_grid, make_tiny):
    """An emulator of ours that the format can hold; don't change it."""
    emulator = make_tiny("payne", arch_params=LEAKY, max_steps=101)
    return emulator.fit(tiny_grid.data, tiny_grid.target)


@pytest.fixture
def change(the_payne_file, tmp_path):
    """Give a function that writes the file with other arrays."""

    def write(**changes):
        arrays = dict(np.load(the_payne_file)) | changes
        path = tmp_path / "changed.npz"
        np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
        return path

    return write


def draw(emulator, n=7):
    low, high = emulator.label_low_, emulator.label_high_
    return np.random.default_rng(3).uniform(low, high, (n, len(low)))


def test_predictions_are_the_formula(emulator, the_payne_file, the_payne_formula):
    labels = draw(emulator)
    expected = [the_payne_formula(the_payne_file, star) for star in labels]
    found = emulator.predict(labels)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert found.std(axis=0).mean() > 0.01


def test_a_file_becomes_an_ordinary_emulator(emulator):
    assert isinstance(emulator, SpectrumEmulator)
    assert emulator.label_names_ == SAID["label_names"]
    assert emulator.label_units_ == ["K", "dex", "dex"]
    assert emulator.medium_ == "vacuum"
    np.testing.assert_array_equal(emulator.wavelength_, SAID["wavelength"])


def test_the_box_of_the_file_is_the_domain(emulator):
    np.testing.assert_array_equal(emulator.label_low_, [4500.0, 4.0, -1.0])
    np.testing.assert_array_equal(emulator.label_high_, [5500.0, 5.0, 0.5])
    with pytest.warns(ExtrapolationWarning, match=r"Fe_H \(-1 to 0.5\)"):
        emulator.predict([[5000.0, 4.5, 0.6]])


def test_hidden_layers_of_two_widths_are_the_formula(
    change, the_payne_file, the_payne_formula
):
    arrays = np.load(the_payne_file)
    path = change(
        w_array_1=arrays["w_array_1"][:7],
        b_array_1=arrays["b_array_1"][:7],
        w_array_2=arrays["w_array_2"][:, :7],
    )
    emulator = read_the_payne(path, **SAID)
    star = [5100.0, 4.2, -0.3]
    expected = the_payne_formula(path, np.array(star))
    np.testing.assert_allclose(emulator.predict([star])[0], expected, rtol=0, atol=1e-6)


def test_written_networks_have_our_predictions(leaky, tmp_path, the_payne_formula):
    write_the_payne(leaky, tmp_path / "net.npz")
    labels = draw(leaky)
    found = [the_payne_formula(tmp_path / "net.npz", star) for star in labels]
    np.testing.assert_allclose(found, leaky.predict(labels), rtol=0, atol=1e-6)


def test_written_networks_have_names_and_shapes_of_the_original(leaky, tmp_path):
    write_the_payne(leaky, tmp_path / "net.npz")
    shapes = {
        name: array.shape for name, array in np.load(tmp_path / "net.npz").items()
    }
    assert shapes == {
        **{"w_array_0": (23, 5), "w_array_1": (23, 23), "w_array_2": (61, 23)},
        **{"b_array_0": (23,), "b_array_1": (23,), "b_array_2": (61,)},
        **{"x_min": (5,), "x_max": (5,)},
    }


def test_fine_tuned_emulators_are_written_with_their_own_box(
    leaky, tiny_grid, tmp_path, the_payne_formula
):
    # whose labels are scaled by the box of the base
    hot = tiny_grid.data[:, 0] > np.median(tiny_grid.data[:, 0])
    tuned = FineTunedEmulator(leaky, max_steps=11, random_state=0, device="cpu")
    tuned.fit(tiny_grid.data[hot], tiny_grid.target[hot])
    assert tuned.label_low_[0] > leaky.label_low_[0]
    write_the_payne(FrozenEstimator(tuned), tmp_path / "net.npz")
    star = draw(tuned, 1)
    found = the_payne_formula(tmp_path / "net.npz", star[0])
    np.testing.assert_allclose(found, tuned.predict(star)[0], rtol=0, atol=1e-6)


def test_a_network_that_is_read_and_written_is_the_same(
    emulator, the_payne_file, tmp_path
):
    write_the_payne(emulator, tmp_path / "net.npz")
    before, after = np.load(the_payne_file), np.load(tmp_path / "net.npz")
    for name in after:
        # the flux offset is nothing, and all scales are one
        np.testing.assert_allclose(after[name], before[name], rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("arch", "arch_params", "reason"),
    [
        ("payne", {"n_hidden": 7}, "the activation 'leaky_relu', .*got GELU"),
        ("payne", LEAKY | {"n_layers": 3}, "two hidden layers; got 3"),
        ("bigpayne", LEAKY, "two hidden layers; got 4"),
        ("cannon", {}, "dense to be written for The_Payne; got Cannon"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(
    make_tiny, tiny_grid, tmp_path, arch, arch_params, reason
):
    emulator = make_tiny(arch, arch_params=arch_params, max_steps=1)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    with pytest.raises(ValueError, match=f"`emulator` must .*{reason}"):
        write_the_payne(emulator, tmp_path / "net.npz")
    assert not list(tmp_path.iterdir())


def test_a_label_that_did_not_vary_is_refused(make_tiny, tiny_grid, tmp_path):
    P = tiny_grid.data.copy()
    P[:, 1] = 4.5
    emulator = make_tiny("payne", arch_params=LEAKY, max_steps=1)
    emulator.fit(P, tiny_grid.target)
    with pytest.raises(ValueError, match=r"\['logg'\] did not: The_Payne would divide"):
        write_the_payne(emulator, tmp_path / "net.npz")


def test_other_things_are_not_written(tmp_path):
    with pytest.raises(TypeError, match=r"must be a SpectrumEmulator .*; got int"):
        write_the_payne(5, tmp_path / "net.npz")
    with pytest.raises(NotFittedError):
        write_the_payne(SpectrumEmulator(), tmp_path / "net.npz")


def test_the_name_of_a_written_file_must_tell_its_kind(leaky, tmp_path):
    # numpy would add the ending by itself
    with pytest.raises(ValueError, match=r"`path` must end with '.npz'"):
        write_the_payne(leaky, tmp_path / "net")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wavelength", np.linspace(4500.0, 4506.0, 40)),
        ("label_names", ["teff", "logg"]),
    ],
)
def test_what_is_said_must_be_as_much_as_the_network_has(the_payne_file, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must have (41|3) values"):
        read_the_payne(the_payne_file, **SAID | {name: value})


def test_the_medium_must_be_one_of_two(the_payne_file):
    with pytest.raises(ValueError, match="`medium` must"):
        read_the_payne(the_payne_file, **SAID | {"medium": None})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"w_array_2": None}, r"it has no \['w_array_2'\]"),
        ({"w_array_1": np.zeros((13, 12))}, "its arrays have the shapes"),
        ({"x_max": np.ones(4)}, "its arrays have the shapes"),
        ({"b_array_0": np.full(13, np.nan)}, "must hold finite numbers"),
        ({"b_array_0": np.full(13, "a")}, "must hold finite numbers"),
        ({"x_max": np.array([4500.0, 5.0, 0.5])}, "must have x_max above x_min"),
    ],
    ids=["missing", "shape", "labels", "nan", "text", "box"],
)
def test_files_that_are_no_networks_are_refused(change, changes, reason):
    with pytest.raises(FileFormatError, match=f"changed.npz' .*{reason}"):
        read_the_payne(change(**changes), **SAID)


def test_arrays_of_objects_are_not_unpickled(change):
    path = change(x_min=np.array([{}, 1, 2], dtype=object))
    with pytest.raises(FileFormatError, match=r"is no .npz file of arrays"):
        read_the_payne(path, **SAID)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing", b"x = 1"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "net.npz"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"net.npz' is no .npz file of arrays"):
        read_the_payne(path, **SAID)


def test_a_single_array_is_refused(tmp_path):
    np.save(tmp_path / "net.npy", np.zeros(3))
    with pytest.raises(FileFormatError, match=r"net.npy' is no .npz file of arrays"):
        read_the_payne(tmp_path / "net.npy", **SAID)


def test_a_network_that_expands_beyond_the_limit_is_refused(change, tmp_path):
    path = change(w_array_0=np.zeros((10**6, 3)))
    np.savez_compressed(path, **dict(np.load(path)))
    with pytest.raises(FileFormatError, match=r"expands to .*`max_bytes` \(99999\)"):
        read_the_payne(path, **SAID, max_bytes=99_999)


def test_wavelengths_that_expand_beyond_the_limit_are_refused(the_payne_file, tmp_path):
    np.savez_compressed(tmp_path / "wave.npz", wavelength=np.zeros(10**6))
    said = SAID | {"wavelength": tmp_path / "wave.npz"}
    with pytest.raises(FileFormatError, match=r"wave.npz' expands to"):
        read_the_payne(the_payne_file, **said, max_bytes=99_999)


def test_an_array_whose_header_states_too_much_is_refused(change):
    path = change(x_min=None)
    header = np.lib.format.header_data_from_array_1_0(np.zeros(3))
    header["shape"] = (10**11,)
    with zipfile.ZipFile(path, "a") as archive, archive.open("x_min.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(24))
    with pytest.raises(FileFormatError, match=r"states 8e\+11 bytes"):
        read_the_payne(path, **SAID)


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a file of The_Payne"):
        read_the_payne(tmp_path / "net.npz", **SAID)


class Predictor:
    """As the PaynePredictor of The_Payne 1.2: arrays in a tuple, and wavelengths."""

    def __init__(self, path, wavelength):
        net = np.load(path)
        names = [f"{kind}_array_{i}" for kind in "wb" for i in range(3)]
        self.NN_coeffs = tuple(net[name] for name in (*names, "x_min", "x_max"))
        self.wavelength = wavelength


def test_a_predictor_brings_its_wavelengths(the_payne_file, emulator):
    predictor = Predictor(the_payne_file, SAID["wavelength"])
    names = SAID["label_names"]
    again = read_the_payne(predictor, medium="vacuum", label_names=names)
    np.testing.assert_array_equal(again.wavelength_, SAID["wavelength"])
    labels = draw(emulator)
    np.testing.assert_array_equal(again.predict(labels), emulator.predict(labels))
    with pytest.raises(ValueError, match="`label_names` must have 3 values"):
        read_the_payne(predictor, medium="vacuum")


def test_wavelengths_are_read_from_a_file_of_their_own(the_payne_file, tmp_path):
    np.savez(tmp_path / "wave.npz", wavelength=SAID["wavelength"])
    said = SAID | {"wavelength": tmp_path / "wave.npz"}
    again = read_the_payne(the_payne_file, **said)
    np.testing.assert_array_equal(again.wavelength_, SAID["wavelength"])


def test_the_labels_of_apogee_are_known_by_name(tmp_path):
    rng = np.random.default_rng(0)
    sizes = (25, 7, 7, 11)
    arrays = {"x_min": np.zeros(25), "x_max": np.ones(25)}
    for i in range(3):
        arrays[f"w_array_{i}"] = rng.normal(size=(sizes[i + 1], sizes[i]))
        arrays[f"b_array_{i}"] = rng.normal(size=sizes[i + 1])
    np.savez(tmp_path / "net.npz", **arrays)
    wavelength = np.linspace(15_100.0, 15_110.0, 11)
    said = {"wavelength": wavelength, "medium": "vacuum"}
    named = read_the_payne(tmp_path / "net.npz", **said, label_names="apogee")
    assert named.label_names_[0] == "Teff"
    assert named.label_names_[18] == "[Fe/H]"
    predictor = Predictor(tmp_path / "net.npz", wavelength)
    same = read_the_payne(predictor, medium="vacuum")
    assert same.label_names_ == named.label_names_
    with pytest.raises(ValueError, match="`label_names` must have 25 values"):
        read_the_payne(tmp_path / "net.npz", **said)
