"""Tests of reading bundles, against what the toolkit itself predicts with them."""

import pickle

import numpy as np
import pytest
import safetensors.numpy
import torch

import sk_payne
from sk_payne import FineTunedEmulator, SpectrumEmulator
from sk_payne.exceptions import ExtrapolationWarning, FileFormatError
from sk_payne.exchange import read_aet
from sk_payne.networks import evaluate_with_jacobian

WAVELENGTH = np.linspace(4500.0, 4506.0, 41)
# what each bundle leaves open
CASES = {
    "mlp": {},
    "mlp_bare": {"wavelength": WAVELENGTH, "medium": "air"},
    "cannon": {},
    "transformer": {"medium": "vacuum"},
    "transformer_angstrom": {},
}
OWNED = [
    "README.txt",
    "config.json",
    "metadata.json",
    "weights/weights.safetensors",
    "extras/wavelength_angstrom.safetensors",
    "input_domain.safetensors",
    "reference_scaling_inputs.safetensors",
    "reference_scaling_outputs.safetensors",
]


@pytest.fixture(scope="module")
def read(bundles):
    """Emulators by the names of their bundles; don't change them."""
    return {name: read_aet(bundles / name, **said) for name, said in CASES.items()}


@pytest.fixture(scope="module")
def predicted(bundles):
    """Labels and flux of the toolkit, by the names of the bundles."""
    return {name: np.load(bundles / f"{name}_predictions.npz") for name in CASES}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", CASES)
def test_predictions_are_those_of_the_toolkit(read, predicted, name, dtype):
    found = read[name].predict(predicted[name]["labels"].astype(dtype))
    expected = predicted[name]["flux"]
    # both work in single precision, or with weights that were rounded to it
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    assert expected.std(axis=0).mean() > 0.01


def test_a_bundle_becomes_an_ordinary_emulator(read):
    emulator = read["mlp"]
    assert isinstance(emulator, SpectrumEmulator)
    assert emulator.label_names_ == ["teff", "logg", "Fe_H"]
    assert emulator.label_units_ == ["K", "dex", "dex"]
    np.testing.assert_array_equal(emulator.wavelength_, WAVELENGTH)
    assert emulator.medium_ == "air"
    assert emulator.held_out_mae_ is None
    assert emulator.n_training_ == 0
    assert emulator.provenance_["bundle_id"].startswith("sha256:")
    assert emulator.provenance_["provenance"]["toolkit_version"] == "0.1.0"


@pytest.mark.parametrize(
    ("name", "arch"),
    [("mlp", "payne"), ("cannon", "cannon"), ("transformer", "transformer")],
)
def test_families_become_our_architectures(read, name, arch):
    assert read[name].arch_ == arch


@pytest.mark.parametrize("name", CASES)
def test_saving_and_pickling_keep_the_predictions_exactly(
    read, predicted, name, tmp_path
):
    labels = predicted[name]["labels"]
    expected = read[name].predict(labels)
    read[name].save(tmp_path / "it.safetensors")
    again = sk_payne.load(tmp_path / "it.safetensors")
    np.testing.assert_array_equal(again.predict(labels), expected)
    again = pickle.loads(pickle.dumps(read[name]))
    np.testing.assert_array_equal(again.predict(labels), expected)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_finite_differences(read, predicted, name):
    module = read[name].to_torch(dtype=torch.float64)
    labels = module.scaling.scale_labels(predicted[name]["labels"])
    labels = torch.from_numpy(labels)
    _, jacobian = evaluate_with_jacobian(module.network, labels, module.log_wavelength)
    step = 1e-6 * torch.eye(3, dtype=torch.float64)
    for i in range(3):
        up, down = (module.from_scaled(labels + sign * step[i]) for sign in (1, -1))
        expected = (up - down) / 2e-6
        # third derivatives times 1e-12, and rounding 1e-16 / 1e-6
        torch.testing.assert_close(
            jacobian[:, i] * module.flux_scale, expected, rtol=0, atol=1e-7
        )


@pytest.mark.parametrize("name", CASES)
def test_the_domain_of_the_bundle_is_enforced(read, name):
    emulator = read[name]
    wider = 0.1 if name == "mlp_bare" else 0.0
    np.testing.assert_allclose(
        emulator.label_low_, [4500 - 1000 * wider, 4.0 - wider, -1.0 - 1.5 * wider]
    )
    corner = emulator.label_high_
    assert emulator.domain([corner]).tolist() == ["inside"]
    emulator.predict([corner])
    beyond = corner + np.array([1.0, 0.0, 0.0])
    assert emulator.domain([beyond]).tolist() == ["outside"]
    with pytest.warns(ExtrapolationWarning, match="outside the training range of"):
        emulator.predict([beyond])


def test_transformers_predict_between_the_pixels_of_the_bundle(read, predicted):
    # as one bundle takes Å and the other logarithms
    for name in ("transformer", "transformer_angstrom"):
        labels, flux = predicted[name]["labels"], predicted[name]["flux"]
        found = read[name].predict(labels, wavelength=WAVELENGTH[[3, 7, 31]])
        np.testing.assert_allclose(found, flux[:, [3, 7, 31]], rtol=0, atol=2e-6)


def test_a_read_emulator_can_be_fine_tuned(read, predicted):
    base, labels = read["mlp"], predicted["mlp"]["labels"]
    flux = base.predict(labels) + 0.1
    tuned = FineTunedEmulator(base, max_steps=101, random_state=0, device="cpu")
    tuned.fit(labels, flux)
    error = np.abs(tuned.predict(labels) - flux).mean()
    assert error < 0.5 * np.abs(base.predict(labels) - flux).mean()


def test_names_and_units_can_be_given_instead(bundles):
    emulator = read_aet(
        bundles / "mlp", label_names=["a", "b", "c"], label_units={"a": "kK"}
    )
    assert emulator.label_names_ == ["a", "b", "c"]
    assert emulator.label_units_ == ["kK", "", ""]


def test_resolving_power_can_be_given(bundles):
    emulator = read_aet(bundles / "mlp", resolving_power=30000)
    assert emulator.resolving_power_ == 30000


@pytest.mark.parametrize(
    ("name", "said", "missing"),
    [
        ("transformer", {}, "medium"),
        ("mlp_bare", {"medium": "air"}, "wavelength"),
        ("mlp_bare", {"wavelength": WAVELENGTH}, "medium"),
    ],
)
def test_what_the_bundle_does_not_say_must_be_said(bundles, name, said, missing):
    with pytest.raises(ValueError, match=f"`{missing}` must be given, as the bundle"):
        read_aet(bundles / name, **said)


@pytest.mark.parametrize(
    "said",
    [
        {"medium": "vacuum"},
        {"wavelength": WAVELENGTH + 0.1},
        {"wavelength": WAVELENGTH[1:]},
        {"label_low": [4000.0, 4.0, -1.0]},
    ],
    ids=["medium", "shifted", "shorter", "low"],
)
def test_what_contradicts_the_bundle_is_an_error(bundles, said):
    (name,) = said
    with pytest.raises(ValueError, match=f"`{name}` must be what the bundle says"):
        read_aet(bundles / "mlp", **said)


def test_what_agrees_with_the_bundle_may_be_said(bundles):
    read_aet(bundles / "mlp", medium="air", wavelength=WAVELENGTH.astype(np.float32))


def test_wavelengths_as_many_as_the_network_has(bundles):
    with pytest.raises(ValueError, match="`weights` must be those of 'payne'"):
        read_aet(bundles / "mlp_bare", wavelength=WAVELENGTH[1:], medium="air")


def test_without_a_domain_the_range_of_the_scaling_is_taken(copy_bundle, reseal):
    folder = reseal(
        copy_bundle("mlp_bare"), lambda metadata: metadata["spec"].pop("input_domain")
    )
    emulator = read_aet(folder, **CASES["mlp_bare"])
    np.testing.assert_array_equal(emulator.label_low_, [4500.0, 4.0, -1.0])


def test_without_any_range_the_box_must_be_given(copy_bundle, reseal, read):
    def forget(metadata):
        for name in ("input_domain", "reference_scaling_inputs"):
            del metadata["spec"][name]

    folder = reseal(copy_bundle(), forget)
    with pytest.raises(ValueError, match="`label_low` must be given"):
        read_aet(folder)
    emulator = read_aet(folder, label_low=[0.0, 0.0, 0.0], label_high=[1.0, 1.0, 1.0])
    # the network takes labels as they are
    low, high = read["mlp"].label_low_, read["mlp"].label_high_
    expected = read["mlp"].predict([low + 0.3 * (high - low)])
    np.testing.assert_allclose(
        emulator.predict([[0.3, 0.3, 0.3]]), expected, rtol=0, atol=1e-6
    )


def test_wavelengths_outside_the_domain_of_a_transformer_are_an_error(
    copy_bundle, reseal
):
    folder = reseal(
        copy_bundle("transformer"),
        lambda metadata: metadata["extras"].clear(),
    )
    with pytest.raises(ValueError, match="`wavelength` must lie in the domain of the"):
        read_aet(folder, wavelength=WAVELENGTH + 1, medium="air")
    emulator = read_aet(folder, wavelength=WAVELENGTH[2:-2], medium="air")
    assert emulator.n_outputs_ == 37


def test_a_cannon_without_a_constant_is_the_polynomial(copy_bundle, reseal):
    folder = copy_bundle("cannon")
    path = folder / "weights" / "weights.safetensors"
    tensors = safetensors.numpy.load_file(path)
    name = "params/params/core_model/coefficients"
    theta = tensors[name] = tensors[name][1:]
    safetensors.numpy.save_file(tensors, path)

    def change(metadata):
        metadata["resolved"]["model"]["params"]["include_bias"] = False
        del metadata["spec"]["reference_scaling_outputs"]

    a, b, c = 0.1, 0.7, 0.4
    features = [a, b, c, a * a, a * b, a * c, b * b, b * c, c * c]
    labels = [4500 + 1000 * a, 4 + b, -1 + 1.5 * c]
    found = read_aet(reseal(folder, change)).predict([labels])[0]
    np.testing.assert_allclose(found, features @ theta, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", OWNED)
def test_a_missing_file_is_named(copy_bundle, name):
    folder = copy_bundle()
    (folder / name).unlink()
    with pytest.raises(FileFormatError, match=f"'{name}' is missing"):
        read_aet(folder)


@pytest.mark.parametrize("name", OWNED)
def test_a_tampered_file_is_named(copy_bundle, name):
    path = copy_bundle() / name
    content = bytearray(path.read_bytes())
    place = content.index(b"gelu") if name.endswith("json") else len(content) - 3
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=f"'{name}' does not have its SHA-256"):
        read_aet(path.parents[name.count("/")])


def test_a_missing_manifest_is_named(copy_bundle):
    folder = copy_bundle()
    (folder / "bundle_integrity.json").unlink()
    with pytest.raises(FileFormatError, match=r"'bundle_integrity.json' is missing"):
        read_aet(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"tree": [], "bundle_id": ""}'])
def test_a_damaged_manifest_is_named(copy_bundle, content):
    folder = copy_bundle()
    (folder / "bundle_integrity.json").write_text(content)
    with pytest.raises(FileFormatError, match=r"'bundle_integrity.json'"):
        read_aet(folder)


def test_a_manifest_that_was_made_to_fit_is_refused(copy_bundle):
    folder = copy_bundle()
    path = folder / "bundle_integrity.json"
    text = path.read_text()
    path.write_text(text.replace("README.txt", "LICENSE.txt"))
    with pytest.raises(FileFormatError, match="does not have its own checksum"):
        read_aet(folder)


def test_a_manifest_cannot_lead_out_of_the_bundle(copy_bundle, reseal):
    folder = copy_bundle()
    (folder.parent / "other.txt").write_text("")
    path = folder / "bundle_integrity.json"
    path.write_text(path.read_text().replace("README.txt", "../other.txt"))
    with pytest.raises(FileFormatError, match=r"lists '\.\./other.txt', outside"):
        read_aet(reseal(folder))


def test_a_file_that_the_manifest_does_not_list_is_not_used(copy_bundle, reseal):
    folder = copy_bundle()
    (folder / "other.safetensors").write_bytes(
        (folder / "input_domain.safetensors").read_bytes()
    )

    def point_there(metadata):
        metadata["spec"]["input_domain"]["storage"]["filename"] = "other.safetensors"

    with pytest.raises(FileFormatError, match=r"'other.safetensors' is not among"):
        read_aet(reseal(folder, point_there))


def test_another_version_is_refused(copy_bundle, reseal):
    folder = reseal(copy_bundle(), lambda m: m.update(bundle_format_version=2))
    with pytest.raises(FileFormatError, match="bundle_format_version 2, not 1"):
        read_aet(folder)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"output_activation": "sigmoid"}, "no activation after the last layer"),
        ({"hidden_sizes": []}, "a hidden layer"),
        ({"activation": "linear"}, "one of the activations"),
        ({"channels": 2}, "one channel, flux"),
    ],
)
def test_a_network_that_we_do_not_have_is_refused(copy_bundle, reseal, changes, rule):
    folder = reseal(
        copy_bundle(), lambda m: m["resolved"]["model"]["params"].update(changes)
    )
    with pytest.raises(FileFormatError, match=f"must have {rule}"):
        read_aet(folder)


def test_another_family_is_refused(copy_bundle, reseal):
    folder = reseal(
        copy_bundle(), lambda m: m["resolved"]["model"].update(name="siren")
    )
    with pytest.raises(FileFormatError, match="a network of the families"):
        read_aet(folder)


def test_metadata_without_an_entry_are_refused(copy_bundle, reseal):
    folder = reseal(copy_bundle(), lambda metadata: metadata.pop("runtime_contract"))
    with pytest.raises(FileFormatError, match=r"cannot be understood: .*runtime_con"):
        read_aet(folder)


def test_a_path_that_is_no_folder_is_an_error(bundles):
    with pytest.raises(FileNotFoundError, match="must be the folder of a bundle"):
        read_aet(bundles / "nothing")
