"""Fixtures of models that other codes made, see benchmarks/make_aet_bundles.py."""

import hashlib
import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def bundles():
    """Folder of the bundles, not to be written to."""
    return DATA


@pytest.fixture
def copy_bundle(tmp_path):
    """Give a function that copies a bundle, to be spoilt."""

    def copy(name="mlp"):
        return Path(shutil.copytree(DATA / name, tmp_path / name))

    return copy


@pytest.fixture
def reseal():
    """Give a function that makes the checksums of a changed bundle right again."""

    def seal(folder, edit=lambda metadata: None):
        path = folder / "metadata.json"
        metadata = json.loads(path.read_text())
        edit(metadata)
        path.write_text(json.dumps(metadata, indent=2, sort_keys=True))
        manifest = json.loads((folder / "bundle_integrity.json").read_text())
        manifest.pop("bundle_id")
        for entry in manifest["tree"]:
            content = (folder / entry["path"]).read_bytes()
            entry["sha256"] = hashlib.sha256(content).hexdigest()
        content = json.dumps(manifest, indent=2, sort_keys=True).encode()
        manifest["bundle_id"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
        (folder / "bundle_integrity.json").write_text(json.dumps(manifest))
        return folder

    return seal


@pytest.fixture(scope="session")
def the_payne_file(tmp_path_factory):
    """A network of The_Payne with random weights, in the types of its own files."""
    rng = np.random.default_rng(5)
    sizes = (3, 13, 13, 41)
    arrays = {}
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        weights = rng.normal(size=(n_out, n_in)) / np.sqrt(n_in)
        arrays[f"w_array_{i}"] = weights.astype(np.float32)
        arrays[f"b_array_{i}"] = rng.normal(size=n_out).astype(np.float32)
    arrays["w_array_0"] *= 4
    arrays["w_array_2"] *= 0.1
    arrays["b_array_2"] = arrays["b_array_2"] * 0.1 + 0.8
    path = tmp_path_factory.mktemp("the_payne") / "NN_normalized_spectra.npz"
    np.savez(
        path,
        **arrays,
        x_min=np.array([4500.0, 4.0, -1.0]),
        x_max=np.array([5500.0, 5.0, 0.5]),
        training_loss=np.ones(3),
    )
    return path


@pytest.fixture(scope="session")
def the_payne_formula():
    """Give a function that evaluates a file of The_Payne for one star, in numpy."""

    def leaky_relu(z):
        return np.where(z > 0, z, 0.01 * z)

    def evaluate(path, labels):
        net = {name: array.astype(np.float64) for name, array in np.load(path).items()}
        x = (labels - net["x_min"]) / (net["x_max"] - net["x_min"]) - 0.5
        inside = leaky_relu(net["w_array_0"] @ x + net["b_array_0"])
        outside = leaky_relu(net["w_array_1"] @ inside + net["b_array_1"])
        return net["w_array_2"] @ outside + net["b_array_2"]

    return evaluate
