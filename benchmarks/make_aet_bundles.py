"""Makes the bundles of tests/exchange/data, and what the toolkit predicts with them.

It runs in an environment of its own, with astro-emulators-toolkit 0.1.0 (JAX on a CPU),
and imports nothing of ours:

    JAX_ENABLE_X64=1 python benchmarks/make_aet_bundles.py

Spectra are a dozen Gaussian lines whose depths depend on three labels. The bundles
differ in what a bundle may say or leave open, see CASES. Beside each bundle lies
``NAME_predictions.npz``: labels as the domain has them, and the flux that the toolkit
predicts, scaled as the bundle says.
"""

import platform
import shutil
import tempfile
from pathlib import Path

import numpy as np
from astro_emulators_toolkit import Emulator, denormalize_tree, normalize_tree
from astro_emulators_toolkit.config import (
    IOSpec,
    IOTreeSpec,
    ModelSpec,
    OptimConfig,
    RootConfig,
    SolverConfig,
    TaskSpec,
    TrainConfig,
)
from astro_emulators_toolkit.data import TreeArrayDataset

FOLDER = Path(__file__).parents[1] / "tests" / "exchange" / "data"

# what bundles tell of the machine does not matter here
platform.platform = platform.system

NAMES, UNITS = ["teff", "logg", "Fe_H"], ["K", "dex", "dex"]
LOW, HIGH = np.array([4500.0, 4.0, -1.0]), np.array([5500.0, 5.0, 0.5])
WAVELENGTH = np.linspace(4500.0, 4506.0, 41)
LOG_RANGE = np.log10(WAVELENGTH[[0, -1]])

CASES = {
    # scaled labels and flux, a scale for each pixel; the medium is said
    "mlp": {
        "model": ("mlp", {"hidden_sizes": (13, 7), "activation": "gelu"}),
        "scaling_outputs": "pixel",
        "extras": {"wavelength_angstrom": WAVELENGTH, "medium": "air"},
    },
    # the flux as it is, no biases, and a domain beyond the range of the scaling;
    # neither names nor wavelengths nor medium
    "mlp_bare": {
        "model": ("mlp", {"hidden_sizes": (11,), "activation": "swish"}),
        "options": {"use_bias": False},
        "wider": 0.1,
        "extras": None,
        "named": False,
    },
    "cannon": {
        "model": ("cannon", {"include_bias": True, "dtype": "float64"}),
        "scaling_outputs": "number",
        "extras": {"wavelength_angstrom": WAVELENGTH, "medium": "vacuum"},
    },
    # as released: no biases; log10 of the wavelength, scaled as well
    "transformer": {
        "model": ("transformer_payne", {"min_period": 0.02, "max_period": 2.0}),
        "options": {"reference_depth": 3},
        "wavelengths": LOG_RANGE,
        "extras": {"wavelength_angstrom": WAVELENGTH},
    },
    # all that can differ: biases, factors, another activation, Å, scaled flux
    "transformer_angstrom": {
        "model": ("transformer_payne", {"min_period": 0.02, "max_period": 2.0}),
        "options": {
            "bias_dense": True,
            "bias_attention": True,
            "activation": "silu",
            "alpha_emb": 0.7,
            "alpha_att": 3.0,
        },
        "scaling_outputs": "number",
        "wavelengths": WAVELENGTH[[0, -1]],
        "extras": {"wavelength_angstrom": WAVELENGTH, "medium": "vacuum"},
    },
}
TINY_TRANSFORMER = {
    "dim": 16,
    "dim_head": 8,
    "no_layers": 2,
    "no_tokens": 3,
    "dim_ff_multiplier": 2,
}


def make_spectra(n, seed):
    """Labels and normalised flux."""
    rng = np.random.default_rng(seed)
    labels = rng.uniform(LOW, HIGH, (n, 3))
    scaled = (labels - (LOW + HIGH) / 2) / (HIGH - LOW) * 2
    rng = np.random.default_rng(7)
    depth = 0.4 / (1 + np.exp(-(scaled @ rng.normal(size=(3, 12)) / 3)))
    center, width = rng.uniform(4500, 4506, 12), rng.uniform(0.2, 0.4, 12)
    lines = np.exp(-(((WAVELENGTH - center[:, None]) / width[:, None]) ** 2) / 2)
    return labels, np.prod(1 - depth[:, :, None] * lines, axis=1)


def main():
    for name, case in CASES.items():
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        make(name, case)


def make(name, case):
    labels, flux = make_spectra(256, 0)
    spec = describe(case, flux)
    with tempfile.TemporaryDirectory() as folder:
        emulator = Emulator.from_config(configure(case, folder))
        emulator.fit(*training(emulator, case, spec, labels, flux))
        if case["model"][0] == "transformer_payne":
            emulator.params = shake(emulator.params)
        emulator.save_bundle(FOLDER / name, spec=spec, extras=case["extras"])
    labels, _ = make_spectra(7, 1)
    emulator = Emulator.from_bundle(FOLDER / name)
    flux = predict(emulator, case, labels)
    np.savez(FOLDER / f"{name}_predictions.npz", labels=labels, flux=flux)


def describe(case, flux):
    """What the bundle is to say of scaling and domain."""
    wider = case.get("wider", 0.0) * (HIGH - LOW)
    spec = {
        "reference_scaling_inputs": minmax({"parameters": LOW}, {"parameters": HIGH}),
        "input_domain": minmax(
            {"parameters": LOW - wider}, {"parameters": HIGH + wider}
        ),
    }
    if "wavelengths" in case:
        for block in spec.values():
            for tree, end in zip(
                (block["min_tree"], block["max_tree"]), case["wavelengths"], strict=True
            ):
                tree["wavelengths"] = float(end)
    kind = case.get("scaling_outputs")
    if kind is not None:
        axis = 0 if kind == "pixel" else None
        spec["reference_scaling_outputs"] = minmax(
            {"flux": flux.min(axis=axis) - 0.1}, {"flux": flux.max(axis=axis) + 0.2}
        )
    return spec


def minmax(low, high):
    return {"min_tree": dict(low), "max_tree": dict(high)}


def configure(case, folder):
    family, params = case["model"]
    inputs = {"parameters": None}
    names, units = {"parameters": NAMES}, {"parameters": UNITS}
    if family == "transformer_payne":
        params = TINY_TRANSFORMER | params
        inputs["wavelengths"] = names["wavelengths"] = units["wavelengths"] = None
    if not case.get("named", True):
        names = units = None
    closed_form = SolverConfig(name="closed_form_linear", params={"ridge": 1e-4})
    return RootConfig(
        io=IOSpec(
            inputs=IOTreeSpec(
                structure_tree=inputs,
                channel_names_tree=names,
                channel_units_tree=units,
            ),
            outputs=IOTreeSpec(structure_tree={"flux": None}),
        ),
        model=ModelSpec(name=family, params=params | case.get("options", {})),
        task=TaskSpec(name="regression", params={"loss": "mse"}),
        solver=closed_form if family == "cannon" else SolverConfig(),
        optim=OptimConfig(name="adamw", lr=1e-2, schedule="cosine", warmup_steps=10),
        training=TrainConfig(
            workdir=folder,
            batch_size=64,
            num_steps=400,
            logging_interval_steps=400,
            evaluation_interval_steps=None,
            checkpoint_interval_steps=0,
            max_saved_checkpoints=0,
        ),
    )


def training(emulator, case, spec, labels, flux):
    """Scaled data, as the toolkit wants them."""
    inputs = {"parameters": labels.astype(np.float32)}
    block = spec["reference_scaling_inputs"]
    if "wavelengths" in case:
        inputs["wavelengths"] = np.broadcast_to(queries(case), flux.shape)
    inputs = normalize_tree(inputs, block["min_tree"], block["max_tree"])
    outputs = {"flux": flux.astype(np.float32)}
    if "reference_scaling_outputs" in spec:
        block = spec["reference_scaling_outputs"]
        outputs = normalize_tree(outputs, block["min_tree"], block["max_tree"])
    arrays = [
        {key: np.asarray(value) for key, value in tree.items()}
        for tree in (inputs, outputs)
    ]
    return (TreeArrayDataset(x=arrays[0], y=arrays[1]),)


def shake(params):
    """Move weights off zero and off symmetry, so that each of them matters."""
    import jax

    rng = np.random.default_rng(2)

    def move(weight):
        return weight + 0.05 * rng.normal(size=weight.shape).astype(weight.dtype)

    return jax.tree.map(move, params)


def queries(case):
    return np.log10(WAVELENGTH) if case["wavelengths"] is LOG_RANGE else WAVELENGTH


def predict(emulator, case, labels):
    inputs = {"parameters": labels}
    if "wavelengths" in case:
        inputs["wavelengths"] = np.tile(queries(case), (len(labels), 1))
    block = emulator.reference_scaling_inputs
    inputs = normalize_tree(inputs, block["min_tree"], block["max_tree"])
    outputs = emulator.predict(inputs)
    block = emulator.reference_scaling_outputs
    if block is not None:
        outputs = denormalize_tree(outputs, block["min_tree"], block["max_tree"])
    return np.asarray(outputs["flux"])


if __name__ == "__main__":
    main()
