"""Tests of saving and loading: exact round trips, and files that must be refused."""

import json
import os
import pickle
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors import safe_open
from torch import nn

import sk_payne
from sk_payne import SpectrumEmulator, load
from sk_payne._persistence import FORMAT_VERSION, read_file, write_file
from sk_payne.exceptions import FileFormatError
from sk_payne.networks import NETWORKS, TransformerPayne, register_network

ARCHITECTURES = ["payne", "bigpayne", "convolutional", "transformer"]


class OwnNetwork(nn.Module):
    """An architecture of a user's own."""

    def __init__(self, n_labels, n_wavelengths, n_hidden=5):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_labels, n_hidden), nn.GELU(), nn.Linear(n_hidden, n_wavelengths)
        )

    def forward(self, labels):
        return self.layers(labels)


class OwnOptimizer(torch.optim.SGD):
    """An optimiser of a user's own."""


class Muon(torch.optim.SGD):
    """One that is called like another of torch."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def saved(fitted, folder):
    """Path of the file of each tiny emulator; don't change them."""
    paths = {}
    for arch, emulator in fitted.items():
        paths[arch] = folder / f"{arch}.safetensors"
        emulator.save(paths[arch], provenance={"grid": "made by hand", "lines": 7})
    return paths


@pytest.fixture
def path(saved, tmp_path):
    """A copy of a good file, to be spoilt."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(saved["payne"].read_bytes())
    return path


@pytest.fixture
def rewrite(path):
    """Give a function that changes tensors and description of the copy."""

    def change(edit):
        tensors, description = read_file(path)
        description.pop("sha256")
        edit(tensors, description)
        write_file(path, tensors, description)
        return path

    return change


def header_of(path):
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["sk_payne"])


def write_header(path, header):
    """Write the tensors of a file again under another header."""
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    safetensors.numpy.save_file(tensors, path, metadata=header)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_load_predicts_exactly_what_was_saved(fitted, saved, tiny_grid, arch, dtype):
    P = tiny_grid.data.astype(dtype)
    found = load(saved[arch]).predict(P)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, fitted[arch].predict(P))


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_load_predicts_exactly_at_other_wavelengths(fitted, saved, tiny_grid, arch):
    between = tiny_grid.wavelength[1:-1] + 0.1
    found = load(saved[arch]).predict(tiny_grid.data[:7], wavelength=between)
    expected = fitted[arch].predict(tiny_grid.data[:7], wavelength=between)
    np.testing.assert_array_equal(found, expected)


def test_load_in_a_fresh_process_predicts_identically(fitted, saved, tiny_grid):
    code = (
        "import sys, torch, numpy as np\n"
        "torch.set_num_threads(1)\n"
        "import sk_payne\n"
        "from sk_payne.datasets import make_spectra\n"
        "P = make_spectra(101, n_wavelengths=61, random_state=0).data[:7]\n"
        "for path in sys.argv[1:]:\n"
        "    print(sk_payne.load(path).predict(P).tobytes().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, saved.values())],
        capture_output=True,
        text=True,
        check=True,
    )
    for arch, line in zip(saved, done.stdout.split(), strict=True):
        expected = fitted[arch].predict(tiny_grid.data[:7])
        assert bytes.fromhex(line) == expected.tobytes(), arch


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_load_keeps_the_fitted_attributes(fitted, saved, arch):
    before, after = fitted[arch], load(saved[arch])
    for name in (
        "label_names_",
        "label_units_",
        "medium_",
        "n_features_in_",
        "n_outputs_",
        "n_training_",
        "n_held_out_",
        "n_steps_",
        "arch_params_",
        "recipe_",
        "history_",
    ):
        assert getattr(after, name) == getattr(before, name), name
    for name in (
        "wavelength_",
        "label_low_",
        "label_high_",
        "held_out_mae_",
        "held_out_rms_",
    ):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert after.device_ == "cpu"


def test_load_lacks_no_fitted_attribute_but_the_net(fitted, saved):
    gone = set(vars(fitted["payne"])) - set(vars(load(saved["payne"])))
    assert gone == {"net_"}


def test_load_gives_an_estimator_that_would_be_trained_in_the_same_way(
    fitted, saved, tiny_grid
):
    again = load(saved["payne"]).set_params(device="cpu")
    again.fit(tiny_grid.data, tiny_grid.target)
    np.testing.assert_array_equal(
        again.predict(tiny_grid.data), fitted["payne"].predict(tiny_grid.data)
    )


@pytest.mark.parametrize("value", [None, 20_000, np.inf])
def test_load_keeps_the_resolving_power(make_tiny, tiny_grid, tmp_path, value):
    emulator = make_tiny(resolving_power=value, max_steps=2)
    emulator.fit(tiny_grid.data, tiny_grid.target).save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.resolving_power_ == again.resolving_power == value


def test_load_keeps_provenance_date_and_versions(saved):
    provenance = load(saved["payne"]).provenance_
    assert provenance["grid"] == "made by hand"
    assert provenance["lines"] == 7
    assert provenance["versions"]["sk_payne"] == sk_payne.__version__
    assert provenance["versions"]["torch"] == version("torch")
    assert provenance["saved"].endswith("+00:00")


def test_load_keeps_the_columns_of_a_data_frame(make_tiny, tiny_grid, tmp_path):
    pandas = pytest.importorskip("pandas")
    P = pandas.DataFrame(tiny_grid.data, columns=tiny_grid.label_names)
    emulator = make_tiny(label_names=None, max_steps=3).fit(P, tiny_grid.target)
    emulator.save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(P), emulator.predict(P))
    with pytest.raises(ValueError, match="Did you mean 'Teff'"):
        again.predict(P.rename(columns={"teff": "Teff"}))


def test_load_of_an_emulator_without_wavelengths_or_held_out_spectra(
    make_tiny, tiny_grid, tmp_path
):
    emulator = make_tiny(
        "transformer", wavelength=None, medium=None, validation_fraction=0, max_steps=3
    ).fit(tiny_grid.data, tiny_grid.target)
    emulator.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.wavelength_ is again.held_out_mae_ is again.held_out_rms_ is None
    np.testing.assert_array_equal(
        again.predict(tiny_grid.data), emulator.predict(tiny_grid.data)
    )


def test_load_and_save_again_gives_the_same_tensors(saved, tmp_path):
    load(saved["transformer"]).save(tmp_path / "again.safetensors")
    before, _ = read_file(saved["transformer"])
    after, _ = read_file(tmp_path / "again.safetensors")
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array)


def test_load_accepts_a_path_as_text(saved):
    assert isinstance(load(str(saved["payne"])), SpectrumEmulator)


def test_load_neither_uses_nor_moves_the_random_state(saved):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    load(saved["payne"])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_file_is_hardly_larger_than_the_weights(fitted, saved, arch):
    weights = 4 * sum(p.numel() for p in fitted[arch].net_.module_.parameters())
    arrays = 8 * 4 * fitted[arch].n_outputs_  # wavelength, offset, two errors
    assert saved[arch].stat().st_size < weights + arrays + 8000  # and the header


def test_save_replaces_a_file_and_leaves_no_other(fitted, saved, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("something else")
    fitted["payne"].save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    assert read_file(path)[1]["kind"] == "SpectrumEmulator"


def test_save_that_fails_leaves_the_old_file_as_it_was(path, monkeypatch, fitted):
    before = path.read_bytes()

    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no space left"):
        fitted["transformer"].save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_save_makes_a_file_that_others_may_read_as_any_new_one(path, tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    write_file(path, {}, {"kind": "nothing"})
    assert path.stat().st_mode == plain.stat().st_mode


def test_save_into_a_folder_that_does_not_exist_is_an_error(fitted, tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        fitted["payne"].save(tmp_path / "absent" / "model")


@pytest.mark.parametrize("place", [0.25, 0.5, 0.99])
def test_load_of_a_file_with_a_flipped_bit_is_an_error(path, place):
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")  # of the tensors
    content[start + int(place * (len(content) - start))] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"damaged: .*SHA-256.*Copy it again"):
        load(path)


@pytest.mark.parametrize("kept", [0, 5, 500, -1])
def test_load_of_a_truncated_file_is_an_error(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(FileFormatError, match=r"truncated .*Copy it again"):
        load(path)


def test_load_of_a_pickle_is_an_error_and_executes_nothing(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("executed").touch, ())

    (tmp_path / "model").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(FileFormatError, match="is not a safetensors file"):
        load(tmp_path / "model")
    assert not (tmp_path / "executed").exists()


def test_load_of_a_foreign_safetensors_file_is_an_error(tmp_path):
    safetensors.numpy.save_file({"x": np.zeros(3)}, tmp_path / "model")
    with pytest.raises(
        FileFormatError, match=r"not one of sk_payne: .*Pass a file that `save` wrote"
    ):
        load(tmp_path / "model")


def test_load_of_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"file or folder .* at '.*absent'"):
        load(tmp_path / "absent")


def test_load_of_a_folder_without_an_emulator_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="not the folder of an emulator"):
        load(tmp_path)


def test_load_of_a_newer_format_is_an_error(path):
    header = header_of(path) | {"format_version": FORMAT_VERSION + 1}
    write_header(path, {"sk_payne": json.dumps(header)})
    with pytest.raises(
        FileFormatError,
        match=f"version {FORMAT_VERSION + 1}; this sk_payne reads up to "
        f"{FORMAT_VERSION}. Install a newer",
    ):
        load(path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format_version": "new"}'])
def test_load_of_a_file_with_a_spoilt_header_is_an_error(path, text):
    write_header(path, {"sk_payne": text})
    with pytest.raises(FileFormatError, match="damaged: its header cannot be read"):
        load(path)


def test_load_of_another_kind_of_thing_is_an_error(rewrite):
    path = rewrite(lambda _, description: description.update(kind="Toaster"))
    with pytest.raises(FileFormatError, match="holds a 'Toaster', not a 'Spectrum"):
        load(path)


@pytest.mark.parametrize(
    "name", ["network.layers.0.weight", "scaling.label_center", "scaling.flux_offset"]
)
def test_load_without_some_tensor_is_an_error_that_names_it(rewrite, name):
    path = rewrite(lambda tensors, _: tensors.pop(name))
    with pytest.raises(
        FileFormatError, match=f"(?s)cannot be built here: .*{name.split('.', 1)[1]}"
    ):
        load(path)


def test_load_with_weights_of_another_shape_is_an_error(rewrite):
    def widen(tensors, _):
        tensors["network.layers.0.weight"] = np.zeros((3, 5), np.float32)

    with pytest.raises(FileFormatError, match=r"size mismatch for layers\.0\.weight"):
        load(rewrite(widen))


def test_load_with_an_option_that_the_architecture_lacks_is_an_error(rewrite):
    def rename(_, description):
        description["attributes"]["arch_params_"] = {"n_neurons": 23}

    with pytest.raises(
        FileFormatError, match=r"got 'n_neurons'.*or install the version that wrote it"
    ):
        load(rewrite(rename))


@pytest.mark.parametrize(
    "options",
    [
        {"n_hidden": 10**6},
        {"n_hidden": 10**9},
        {"n_layers": 10**7},
        {"n_hidden": 1, "n_layers": 10**7},
    ],
    ids=str,
)
def test_load_of_a_network_far_larger_than_its_weights_is_an_error(rewrite, options):
    path = rewrite(lambda _, d: d["attributes"].update(arch_params_=options))
    # before their memory is taken, terabytes
    with pytest.raises(FileFormatError, match="cannot be built here: its network has"):
        load(path)


@pytest.mark.parametrize("arch", [3, None, ["payne"], {}])
def test_load_of_an_architecture_that_is_no_name_is_an_error(rewrite, arch):
    path = rewrite(lambda _, description: description.update(arch=arch))
    with pytest.raises(FileFormatError, match="does not name the architecture"):
        load(path)


@pytest.mark.parametrize("value", [3, 0.5, True, [1], "x"])
def test_load_of_attributes_that_are_no_dictionary_is_an_error(rewrite, value):
    path = rewrite(lambda _, description: description.update(attributes=value))
    with pytest.raises(FileFormatError, match="cannot be built here"):
        load(path)


def test_load_of_options_of_a_wrong_kind_is_an_error(make_tiny, tiny_grid, tmp_path):
    emulator = make_tiny("opacity", max_steps=2).fit(tiny_grid.data, tiny_grid.target)
    emulator.save(tmp_path / "model.safetensors")
    tensors, description = read_file(tmp_path / "model.safetensors")
    del description["sha256"]
    description["attributes"]["arch_params_"]["linear"] = "x"
    write_file(tmp_path / "model.safetensors", tensors, description)
    with pytest.raises(FileFormatError, match="cannot be built here"):
        load(tmp_path / "model.safetensors")


def test_load_never_imports_what_a_file_names(rewrite):
    path = rewrite(lambda _, d: d.update(arch="antigravity.Network"))
    with pytest.raises(FileFormatError, match="which loading must not import"):
        load(path)
    assert "antigravity" not in sys.modules


def test_load_of_an_own_architecture_asks_for_its_class(make_tiny, tiny_grid, tmp_path):
    emulator = make_tiny(OwnNetwork, max_steps=3).fit(tiny_grid.data, tiny_grid.target)
    emulator.save(tmp_path / "model")
    with pytest.raises(
        FileFormatError,
        match=r"class .*OwnNetwork, which .*Pass it: load\(path, arch=OwnNetwork\)",
    ):
        load(tmp_path / "model")
    again = load(tmp_path / "model", arch=OwnNetwork)
    np.testing.assert_array_equal(
        again.predict(tiny_grid.data), emulator.predict(tiny_grid.data)
    )


def test_load_with_the_wrong_class_is_an_error(saved):
    with pytest.raises(FileFormatError, match="cannot be built here"):
        load(saved["payne"], arch=TransformerPayne)


def test_load_of_an_own_registered_architecture_needs_no_class(
    make_tiny, tiny_grid, tmp_path
):
    register_network("own")(OwnNetwork)
    try:
        emulator = make_tiny("own", max_steps=3).fit(tiny_grid.data, tiny_grid.target)
        emulator.save(tmp_path / "model")
        again = load(tmp_path / "model")
        np.testing.assert_array_equal(
            again.predict(tiny_grid.data), emulator.predict(tiny_grid.data)
        )
    finally:
        del NETWORKS["own"]


@pytest.mark.parametrize("optimizer", [OwnOptimizer, Muon])
def test_load_of_an_emulator_trained_by_an_own_optimizer(
    make_tiny, tiny_grid, tmp_path, optimizer
):
    emulator = make_tiny(recipe={"optimizer": optimizer}, max_steps=3)
    path = tmp_path / "model.safetensors"
    emulator.fit(tiny_grid.data, tiny_grid.target).save(path)
    again = load(path)
    np.testing.assert_array_equal(
        again.predict(tiny_grid.data), emulator.predict(tiny_grid.data)
    )
    written = header_of(path)["recipe"]["optimizer"]
    assert written == optimizer.__name__


def test_write_file_and_read_file_keep_every_number(tmp_path):
    tensors = {
        "wide": np.array([np.pi, -0.0, np.inf, np.nan]),
        "narrow": np.arange(7, dtype=np.float32)[::-2],  # not contiguous
        "whole": np.arange(6).reshape(2, 3).T,
        "single": np.array(5.0),
    }
    write_file(tmp_path / "file", tensors, {"kind": "numbers", "text": "Å"})
    found, description = read_file(tmp_path / "file")
    assert description["text"] == "Å"
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_write_file_refuses_what_json_does_not_have(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_file(tmp_path / "file", {}, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_saving_over_a_folder_that_fails_leaves_the_old_one(
    fitted, tmp_path, monkeypatch
):
    from sk_payne.trained import _folder

    old, new = fitted["payne"], fitted["bigpayne"]
    old.save(tmp_path / "it")
    plain, calls = _folder.replacing, []

    def fail_at_the_second(path):
        calls.append(path)
        if len(calls) == 2:
            raise OSError("No space left on device")
        return plain(path)

    monkeypatch.setattr(_folder, "replacing", fail_at_the_second)
    with pytest.raises(OSError, match="No space"):
        new.save(tmp_path / "it")
    assert load(tmp_path / "it").arch_ == "payne"
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_saving_over_a_folder_keeps_the_other_files_in_it(fitted, tmp_path):
    fitted["payne"].save(tmp_path / "it")
    (tmp_path / "it" / "notes.txt").write_text("mine")
    fitted["bigpayne"].save(tmp_path / "it")
    assert load(tmp_path / "it").arch_ == "bigpayne"
    assert (tmp_path / "it" / "notes.txt").read_text() == "mine"


def test_files_have_the_mode_of_any_new_file_and_the_umask_is_never_touched(
    fitted, tmp_path, monkeypatch
):
    (tmp_path / "plain").touch()

    def forbidden(mask):
        raise AssertionError("umask")

    monkeypatch.setattr(os, "umask", forbidden)
    fitted["payne"].save(tmp_path / "it.safetensors")
    modes = [(tmp_path / n).stat().st_mode for n in ("plain", "it.safetensors")]
    assert modes[0] == modes[1]
