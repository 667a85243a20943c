"""Tests of networks of one_payne against the formula in numpy, and on a 4MOST star."""

from itertools import pairwise

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from sk_payne import load
from sk_payne.command import main
from sk_payne.exceptions import FileFormatError
from sk_payne.exchange import read_one_payne, read_the_payne, write_the_payne

LABELS = ["teff", "logg", "feh"]
LOW, HIGH = np.array([4500.0, 3.5, -1.0]), np.array([6500.0, 5.0, 0.5])
# Two arms of a spectrograph, and the gap between them.
WAVELENGTH = np.concatenate(
    [np.linspace(5300.0, 5310.0, 97), np.linspace(6100.0, 6108.0, 83)]
)
POWER = 20_000


@pytest.fixture(scope="module")
def arrays():
    """A network with random weights that draws lines, in the layout of one_payne."""
    rng = np.random.default_rng(11)
    sizes = (3, 17, 13, 17, len(WAVELENGTH))
    found = {"x_min": LOW, "x_max": HIGH}
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        weights = 2.5 * rng.normal(size=(n_out, n_in)) / np.sqrt(n_in)
        found[f"w_array_{i}"] = weights.astype(np.float32)
        found[f"b_array_{i}"] = rng.normal(size=n_out).astype(np.float32)
    found["w_array_0"] *= 2
    found["w_array_3"] *= 0.3
    found["b_array_3"] += 2
    found["wavelength"] = WAVELENGTH
    found["label_names"] = np.array(LABELS)
    found["hidden_neurons"] = np.array(17)
    return found


@pytest.fixture
def write(arrays, tmp_path):
    """Give a function that writes the network with other arrays."""

    def call(**changes):
        path = tmp_path / "net.npz"
        found = {k: v for k, v in (arrays | changes).items() if v is not None}
        np.savez(path, **found)
        return path

    return call


def formula(arrays, labels):
    """Flux of one star, in float64."""
    net = {
        name: np.asarray(one, np.float64)
        for name, one in arrays.items()
        if name != "label_names"
    }

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    x = (labels - net["x_min"]) / (net["x_max"] - net["x_min"]) - 0.5
    for i in range(3):
        x = net[f"w_array_{i}"] @ x + net[f"b_array_{i}"]
        x = x * sigmoid(x)
    return sigmoid(net["w_array_3"] @ x + net["b_array_3"])


def test_predictions_are_the_formula(write, arrays):
    emulator = read_one_payne(write(), medium="vacuum", label_units=["K", "dex", "dex"])
    labels = np.random.default_rng(2).uniform(LOW, HIGH, (19, 3))
    expected = np.array([formula(arrays, star) for star in labels])
    np.testing.assert_allclose(emulator.predict(labels), expected, rtol=0, atol=1e-6)
    assert expected.std(axis=0).mean() > 0.02


def test_names_wavelengths_and_box_are_those_of_the_file(write):
    emulator = read_one_payne(write(), medium="air", resolving_power=POWER)
    assert emulator.label_names_ == LABELS
    np.testing.assert_array_equal(emulator.wavelength_, WAVELENGTH)
    np.testing.assert_array_equal(emulator.label_low_, LOW)
    np.testing.assert_array_equal(emulator.label_high_, HIGH)
    assert emulator.medium_ == "air"
    assert emulator.resolving_power_ == POWER


def test_what_the_file_lacks_can_be_given(write, tmp_path):
    path = write(wavelength=None, label_names=np.array(LABELS, dtype=object))
    with pytest.raises(ValueError, match="`label_names` must have 3 values"):
        read_one_payne(path, medium="air")
    with pytest.raises(ValueError, match="`wavelength` must have 180 values"):
        read_one_payne(path, medium="air", label_names=LABELS)
    np.savez(tmp_path / "wave.npz", wavelength=WAVELENGTH)
    given = {"label_names": ["a", "b", "c"], "wavelength": tmp_path / "wave.npz"}
    emulator = read_one_payne(path, medium="air", **given)
    assert emulator.label_names_ == ["a", "b", "c"]
    np.testing.assert_array_equal(emulator.wavelength_, WAVELENGTH)


def test_derivatives_are_those_of_the_formula(write, arrays):
    emulator = read_one_payne(write(), medium="air")
    star, step = (LOW + HIGH) / 2, (HIGH - LOW) * 1e-5
    module = emulator.to_torch(device="cpu").double()
    import torch

    scaled = torch.from_numpy(emulator.trained_.scaling.scale_labels(star[None]))
    _, jacobian = module.network.jacobian(scaled)
    for i, width in enumerate(step):
        shift = width * (np.arange(3) == i)
        slope = formula(arrays, star + shift) - formula(arrays, star - shift)
        expected = slope / (2 * width) * (HIGH - LOW)[i]
        np.testing.assert_allclose(jacobian[0, i].numpy(), expected, atol=1e-6)


def test_a_network_is_saved_and_loaded_as_ours(write, tmp_path):
    emulator = read_one_payne(write(), medium="air")
    emulator.save(tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    star = [(LOW + HIGH) / 2]
    np.testing.assert_array_equal(again.predict(star), emulator.predict(star))


def test_each_reader_names_the_other(write, the_payne_file):
    given = {"medium": "air", "wavelength": WAVELENGTH, "label_names": LABELS}
    with pytest.raises(FileFormatError, match=r"Read it with .*read_one_payne"):
        read_the_payne(write(), **given)
    with pytest.raises(FileFormatError, match=r"Read it with .*read_the_payne"):
        read_one_payne(the_payne_file, **given)


def test_a_sigmoid_is_not_written_for_the_payne(write, tmp_path):
    emulator = read_one_payne(write(), medium="air")
    with pytest.raises(ValueError, match=r"must have the output 'linear'; got Sigmoid"):
        write_the_payne(emulator, tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w_array_1": np.zeros((3, 3))}, "one_payne with three hidden layers"),
        ({"b_array_3": None}, r"has no \['b_array_3'\]"),
        ({"b_array_0": np.full(17, np.nan)}, "finite numbers"),
        ({"x_max": LOW}, "x_max above x_min"),
    ],
)
def test_files_at_fault_are_refused(write, changes, message):
    with pytest.raises(FileFormatError, match=message):
        read_one_payne(write(**changes), medium="air")


def test_a_network_that_expands_beyond_the_limit_is_refused(write):
    path = write(wavelength=np.zeros(10**6))
    np.savez_compressed(path, **dict(np.load(path)))
    with pytest.raises(FileFormatError, match=r"expands to .*`max_bytes` \(99999\)"):
        read_one_payne(path, medium="air", max_bytes=99_999)


def test_a_file_of_wavelengths_must_have_them(write, tmp_path):
    np.savez(tmp_path / "wave.npz", wave=WAVELENGTH)
    for name, error in (("wave", FileFormatError), ("no", FileNotFoundError)):
        with pytest.raises(error, match="wavelength"):
            read_one_payne(write(), medium="air", wavelength=tmp_path / f"{name}.npz")


def test_a_star_like_those_of_4most_is_measured(
    write, arrays, tmp_path, monkeypatch, capsys
):
    emulator = read_one_payne(
        write(), medium="air", label_units=["K", "dex", "dex"], resolving_power=POWER
    )
    emulator.save(tmp_path / "net.safetensors")
    truth = np.array([5500.0, 4.4, -0.3])
    noise = np.random.default_rng(7).normal(size=len(WAVELENGTH)) * 0.005
    flux = formula(arrays, truth) + noise
    vector = f"{len(WAVELENGTH)}D"
    columns = [
        fits.Column("WAVE", vector, unit="Angstrom", array=[WAVELENGTH]),
        fits.Column("FLUX", vector, unit="erg/(s cm2 Angstrom)", array=[flux * 1e-16]),
        fits.Column(
            "ERR_FLUX",
            vector,
            array=[np.full(len(flux), 5e-19)],
            unit="erg/(s cm2 Angstrom)",
        ),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="PHASE3SPECTRUM")
    table.header["TUCD1"] = "em.wl;obs.atmos"
    primary = fits.PrimaryHDU()
    primary.header["OBJ_NME"], primary.header["SPEC_RES"] = "HD 1", POWER
    fits.HDUList([primary, table]).writeto(tmp_path / "star.fits")
    monkeypatch.chdir(tmp_path)
    command = "measure star.fits --emulator net.safetensors --out star.ecsv"
    options = "--continuum-degree 0 --velocity-range -30,30"
    assert main([*command.split(), *options.split()]) == 0, capsys.readouterr().err
    (row,) = QTable.read(tmp_path / "star.ecsv")
    for name, true in zip(LABELS, truth, strict=True):
        value, error = row[name], row[f"{name}_error"]
        assert abs(value.value - true) < 4 * error.value, name
    assert abs(row["radial_velocity"].value) < 4 * row["radial_velocity_error"].value
    assert row["object"] == "HD 1"
