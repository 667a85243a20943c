"""Tests of programs, run by torch alone and by an ONNX runtime."""

import json
import logging
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from sk_payne import SpectrumEmulator
from sk_payne.exchange import export_onnx, export_torch, read_aet

ARCHITECTURES = ["cannon", "convolutional", "payne", "transformer"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def emulators(fitted, bundles, tiny_grid, make_tiny):
    """One of each kind, with what its program needs most; don't change them."""
    chemical = make_tiny(
        "opacity",
        arch_params={"n_populations": 7, "n_hidden": 5, "width": 3, "n_sums": 2},
        label_names=["teff", "logg", "Fe_H", "C_H", "O_H"],
        max_steps=3,
    )
    chosen = {arch: fitted[arch] for arch in ARCHITECTURES}
    chosen["opacity"] = chemical.fit(tiny_grid.data, tiny_grid.target)
    chosen["of a peer"] = read_aet(bundles / "transformer_angstrom")
    return chosen


def draw(emulator, n):
    low, high = emulator.label_low_, emulator.label_high_
    labels = np.random.default_rng(3).uniform(low, high, (n, len(low)))
    return labels.astype(np.float32)


def check_description(text, emulator):
    said = json.loads(text)
    assert said["label_names"] == emulator.label_names_
    assert said["label_units"] == emulator.label_units_
    assert said["label_low"] == emulator.label_low_.tolist()
    assert said["label_high"] == emulator.label_high_.tolist()
    assert said["wavelength"] == emulator.wavelength_.tolist()
    assert said["medium"] == emulator.medium_


@pytest.mark.parametrize("name", [*ARCHITECTURES, "opacity", "of a peer"])
def test_torch_programs_predict_what_the_emulator_does(emulators, folder, name):
    emulator, path = emulators[name], folder / f"{name}.pt2"
    export_torch(emulator, path)
    said = {"sk_payne": ""}
    program = torch.export.load(path, extra_files=said).module()
    for n in (1, 2, 7):
        labels = draw(emulator, n)
        found = program(torch.from_numpy(labels)).numpy()
        # single precision
        np.testing.assert_allclose(found, emulator.predict(labels), rtol=0, atol=2e-6)
    check_description(said["sk_payne"], emulator)


@pytest.mark.parametrize("name", ["cannon", "convolutional", "payne", "of a peer"])
def test_onnx_programs_predict_what_the_emulator_does(emulators, folder, name):
    emulator, path = emulators[name], folder / f"{name}.onnx"
    export_onnx(emulator, path)
    session = onnxruntime.InferenceSession(path)
    assert session.get_inputs()[0].shape == ["n_spectra", emulator.n_features_in_]
    for n in (1, 2, 7):
        labels = draw(emulator, n)
        (found,) = session.run(["flux"], {"labels": labels})
        # single precision
        np.testing.assert_allclose(found, emulator.predict(labels), rtol=0, atol=2e-6)
    said = session.get_modelmeta().custom_metadata_map["sk_payne"]
    check_description(said, emulator)


def test_onnx_is_written_in_silence(emulators, folder, caplog):
    logger = "torch.onnx._internal.exporter._registration"
    level = logging.getLogger(logger).level
    with caplog.at_level(logging.WARNING):
        export_onnx(emulators["payne"], folder / "silent.onnx")
    assert not [record for record in caplog.records if record.name == logger]
    assert logging.getLogger(logger).level == level


def test_torch_programs_are_differentiable(emulators, folder):
    emulator = emulators["payne"]
    export_torch(emulator, folder / "slopes.pt2")
    program = torch.export.load(folder / "slopes.pt2").module()
    labels = torch.from_numpy(draw(emulator, 3)).requires_grad_()
    (found,) = torch.autograd.grad(program(labels).sum(), labels)
    (expected,) = torch.autograd.grad(emulator.to_torch()(labels).sum(), labels)
    torch.testing.assert_close(found, expected)
    assert found.abs().max() > 0


def test_torch_programs_need_torch_alone(emulators, folder):
    emulator = emulators["transformer"]
    export_torch(emulator, folder / "alone.pt2")
    labels = draw(emulator, 2)
    code = (
        "import sys, torch\n"
        "sys.modules['sk_payne'] = None\n"
        "program = torch.export.load(sys.argv[1]).module()\n"
        f"print(program(torch.tensor({labels.tolist()})).sum().item())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, folder / "alone.pt2"],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    # printed sums of 122 numbers
    assert float(done.stdout) == pytest.approx(emulator.predict(labels).sum(), abs=1e-3)


@pytest.mark.parametrize("resolving_power", [None, 20000.0, np.inf])
def test_descriptions_are_json_whatever_is_known(
    make_tiny, tiny_grid, folder, resolving_power
):
    emulator = make_tiny(
        "payne",
        max_steps=1,
        wavelength=None,
        medium=None,
        resolving_power=resolving_power,
    ).fit(tiny_grid.data, tiny_grid.target)
    said = {"sk_payne": ""}
    export_torch(FrozenEstimator(emulator), folder / "bare.pt2")
    torch.export.load(folder / "bare.pt2", extra_files=said)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    said = json.loads(said["sk_payne"], parse_constant=refuse)
    assert said["wavelength"] is None
    assert said["resolving_power"] in (resolving_power, "inf")


@pytest.mark.parametrize("export", [export_onnx, export_torch])
def test_other_things_are_not_exported(export, folder):
    with pytest.raises(TypeError, match=r"must be a SpectrumEmulator .*; got dict"):
        export({}, folder / "nothing")
    with pytest.raises(NotFittedError):
        export(SpectrumEmulator(), folder / "nothing")
    assert not (folder / "nothing").exists()


def test_onnx_without_its_packages_says_how_to_get_them(emulators, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ImportError, match=r"pip install 'sk_payne\[onnx\]'"):
        export_onnx(emulators["payne"], folder / "nothing")


def test_a_folder_that_is_not_there_is_an_error(emulators, folder):
    with pytest.raises(FileNotFoundError, match="must lie in a folder that exists"):
        export_torch(emulators["payne"], folder / "no" / "program.pt2")
