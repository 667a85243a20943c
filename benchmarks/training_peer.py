"""The side of astro-emulators-toolkit in training.py, which runs this file.

It runs in the toolkit's own environment and imports nothing of ours. Configuration,
data set and `fit` are those of the toolkit's documentation, and so is the compiled
`make_frozen_apply`, its fast way to predict.

    JAX_ENABLE_X64=1 python benchmarks/training_peer.py CASE.npz
"""

import json
import sys
import tempfile
import time
from importlib.metadata import version

import jax
import numpy as np
from astro_emulators_toolkit import Emulator
from astro_emulators_toolkit.config import (
    IOSpec,
    IOTreeSpec,
    ModelSpec,
    OptimConfig,
    RootConfig,
    TaskSpec,
    TrainConfig,
)
from astro_emulators_toolkit.data import TreeArrayDataset
from astro_emulators_toolkit.training.callbacks import Callback


class Clock(Callback):
    """Notes the time of the steps that are logged; logging waits for their end."""

    def __init__(self):
        self.times = []

    def on_train_batch_end(self, step, logs):
        self.times.append(time.perf_counter())


def main():
    file = np.load(sys.argv[1])
    case = json.loads(str(file["case"]))
    with tempfile.TemporaryDirectory() as folder:
        emulator = Emulator.from_config(config(case, folder))
        clock = Clock()
        emulator.fit(
            TreeArrayDataset(
                x={"parameters": file["labels"]}, y={"flux": file["flux"]}
            ),
            callbacks=[clock],
            device_batch_transform=transform(emulator, case, file["log_wavelength"]),
        )
    weights = jax.tree.leaves(emulator.params)
    print(
        json.dumps(
            {
                "train": (clock.times[1] - clock.times[0]) / case["steps"],
                "predict": predict(emulator, case, file),
                "n_weights": sum(weight.size for weight in weights),
                "dtype": sorted({str(weight.dtype) for weight in weights}),
                "versions": {
                    name: version(name)
                    for name in ("astro-emulators-toolkit", "jax", "flax", "optax")
                },
            }
        )
    )


def config(case, folder):
    inputs = {"parameters": None}
    if case["arch"] == "transformer":
        inputs["wavelengths"] = None
        model = ModelSpec(
            name="transformer_payne",
            params={
                "dim": case["width"],
                "no_layers": case["n_layers"],
                "no_tokens": case["n_tokens"],
                "min_period": case["shortest_period"],
                "max_period": case["longest_period"],
                "reference_depth": 4,
                "init_att_q": "zero",
                "init_att_o": "zero",
                "ff_init": "zero",
                "head_init": "zero",
            },
        )
    else:
        hidden = (case["n_hidden"],) * case["n_layers"]
        model = ModelSpec(name="mlp", params={"hidden_sizes": hidden})
    # one step more, as the toolkit logs a step after it has begun the next
    first, last = case["warm_up"], case["warm_up"] + case["steps"]
    return RootConfig(
        io=IOSpec(
            inputs=IOTreeSpec(structure_tree=inputs),
            outputs=IOTreeSpec(structure_tree={"flux": None}),
        ),
        model=model,
        task=TaskSpec(name="regression", params={"loss": "mse"}),
        optim=OptimConfig(
            name="adamw",
            lr=case["lr"],
            schedule="cosine",
            warmup_steps=first,
            weight_decay=1e-5,
            grad_clip=1.0,
        ),
        training=TrainConfig(
            workdir=folder,
            batch_size=case["batch"],
            num_steps=last + 1,
            steps_per_epoch=last + 1,
            logging_interval_steps=None,
            logging_steps=(first, last),
            evaluation_interval_steps=None,
            checkpoint_interval_steps=0,
            max_saved_checkpoints=0,
        ),
    )


def transform(emulator, case, log_wavelength):
    """Draw wavelengths and interpolate the flux, on the device, as the toolkit does."""
    if case["arch"] != "transformer":
        return None
    return emulator.make_device_batch_transform(
        wavelength_grid=log_wavelength,
        n_wavelength=case["n_wavelengths"],
        eval_wavelength_grid=log_wavelength[: case["n_wavelengths"]],
    )


def predict(emulator, case, file):
    """Least seconds for a batch of stars at all wavelengths, compiled before."""
    x = {"parameters": file["labels"][: case["batch"]]}
    if case["arch"] == "transformer":
        shape = (case["batch"], len(file["log_wavelength"]))
        x["wavelengths"] = np.broadcast_to(file["log_wavelength"], shape)
    apply = emulator.make_frozen_apply(jit=True)
    seconds = []
    for _ in range(1 + case["repeat"]):
        start = time.perf_counter()
        flux = np.asarray(apply(x)["flux"])
        seconds.append(time.perf_counter() - start)
    assert flux.shape == (case["batch"], len(file["log_wavelength"]))
    return min(seconds[1:])


if __name__ == "__main__":
    main()
