"""Speed of training and predicting, against the machine's limit and the JAX toolkit.

Steps and wavelengths a second of two transformers and a dense network on the shipped
grid, all through `SpectrumEmulator.fit` and `predict`. The limit is the rate of a large
float32 matrix product with as many threads. Floating-point operations are those of the
matrix products, three times as many for a training step as for a forward pass.

The peer is astro-emulators-toolkit, on CPUs, in an environment of its own that
--peer-python names: networks of the same sizes, the same spectra, batches, loss and
AdamW with clipped gradients, weights in float32, wavelengths in float64. Three things
differ by its design: it draws wavelengths off the grid and interpolates the flux, its
data wait on the host, and its dense network has the tanh form of GELU. We have a rate
for each group of weights, which is optional there. Both run on the same cores and take
turns. Not in the times: compiling, the first steps, held-out spectra; a prediction is
of as many stars, at all 2198 wavelengths, and the best of three.

    python benchmarks/training.py [--peer-python PATH] [--cores N] [--rounds 5]
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from record import parser, table, write
from timing import Clock, least_seconds
from trained import count_weights, emulator_of

from sk_payne.datasets import load_sme_grid
from sk_payne.networks import TransformerPayne

PEER = Path(__file__).with_name("training_peer.py")
COMMON = {"lr": 1e-3, "warm_up": 5, "repeat": 3}
SMALL = {"width": 64, "n_layers": 4, "n_tokens": 16}
LARGE = {"width": 128, "n_layers": 8, "n_tokens": 16}
for sizes in (SMALL, LARGE):  # tokens as the toolkit makes them
    sizes |= {"token_hidden": sizes["width"], "token_bias": False}
DENSE = {"n_hidden": 1024, "n_layers": 4}
CASES = {
    "transformer 64 x 4": {"arch": "transformer", **SMALL, "batch": 64, "steps": 60},
    "transformer 128 x 8": {"arch": "transformer", **LARGE, "batch": 16, "steps": 10},
    "dense 1024 x 4": {"arch": "bigpayne", **DENSE, "batch": 64, "steps": 100},
}
CASES["transformer 64 x 4"]["n_wavelengths"] = 64
CASES["transformer 128 x 8"]["n_wavelengths"] = 256


def main():
    options = parser(__doc__)
    options.add_argument("--peer-python", help="has astro-emulators-toolkit installed")
    options.add_argument("--cores", type=int)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    arguments = options.parse_args()
    cores = use_cores(arguments.cores)
    if not arguments.peer_python:
        print("Without --peer-python only sk_payne and the limit are measured.\n")

    grid = load_sme_grid()
    labels, flux = grid.data[grid.train_indices], grid.target[grid.train_indices]
    limits, rows, peer = [], [], {}
    for name in arguments.cases:
        case = {**COMMON, **CASES[name]}
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            limits.append(matrix_product_rate())
            ours.append(measure(case, labels, flux, grid))
            if arguments.peer_python:
                theirs.append(
                    measure_peer(case, labels, flux, grid, arguments.peer_python)
                )
                assert theirs[-1]["dtype"] == ["float32"]
                assert np.isclose(
                    theirs[-1]["n_weights"], ours[-1]["n_weights"], rtol=1e-3
                )
                peer = theirs[-1]["versions"]
        rows += summarize(
            name, case, labels.shape[1], len(grid.wavelength), ours, theirs
        )
    for row in rows:
        row["of limit"] = row["GFLOP/s"] / max(limits)
    table(rows)
    print(f"\nThe limit is {max(limits):.1f} GFLOP/s on {cores} cores.")
    write(
        "training",
        {
            "limit_gflops": max(limits),
            "limits_gflops": limits,
            "cores_used": cores,
            "peer": peer,
            "cases": {name: {**COMMON, **CASES[name]} for name in arguments.cases},
            "rows": rows,
        },
    )


def use_cores(n):
    """Keep to n cores, which what we start inherits; torch has a thread for each."""
    if n:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n])
    n = n or len(os.sched_getaffinity(0))
    torch.set_num_threads(n)
    return n


def matrix_product_rate(n=2048, repeat=5):
    """Best rate of a product of n x n float32 matrices, in GFLOP/s."""
    a, b = torch.rand(n, n), torch.rand(n, n)
    out = torch.empty(n, n)
    seconds = least_seconds(lambda: torch.matmul(a, b, out=out), repeat)
    return 2e-9 * n**3 / seconds


def measure(case, labels, flux, grid):
    """Seconds of a training step and of predicting a batch, ours."""
    options = {"n_hidden"} | SMALL.keys()
    clock = Clock()
    emulator = emulator_of(
        grid,
        arch=case["arch"],
        arch_params={name: case[name] for name in options & case.keys()},
        max_steps=case["warm_up"] + case["steps"],
        recipe={
            "batch_size": case["batch"],
            "n_wavelengths": case.get("n_wavelengths"),
            "loss": "mse",
            "optimizer": "AdamW",
            "lr": case["lr"],
            "weight_decay": 1e-5,
            "grad_clip": 1.0,
        },
        validation_fraction=0,
        callbacks=[clock],
        device="cpu",
        random_state=0,
    ).fit(labels, flux)
    P = labels[: case["batch"]].astype(np.float32)
    times = clock.times_[case["warm_up"] - 1 :]
    return {
        "train": (times[-1] - times[0]) / case["steps"],
        "predict": least_seconds(lambda: emulator.predict(P), case["repeat"]),
        "n_weights": count_weights(emulator),
    }


def measure_peer(case, labels, flux, grid, python):
    """The same, theirs, in a process of its own; its users scale by hand."""
    log_wavelength = np.log10(grid.wavelength)
    periods = TransformerPayne.grid_params(torch.from_numpy(log_wavelength))
    low, high = labels.min(axis=0), labels.max(axis=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "case.npz")
        np.savez(
            path,
            labels=(2 * (labels - low) / (high - low) - 1).astype(np.float32),
            flux=((flux - flux.mean()) / flux.std()).astype(np.float32),
            log_wavelength=log_wavelength,
            case=json.dumps({**case, **periods}),
        )
        done = subprocess.run(
            [python, PEER, path],
            env={**os.environ, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


def summarize(name, case, n_labels, n_grid, ours, theirs):
    """Rows of the table: medians over the rounds, and the spread about them."""
    n_drawn = case.get("n_wavelengths") or n_grid
    rows = []
    n_stars = case["batch"]
    for what, n, factor in (("train", n_drawn, 3), ("predict", n_grid, 1)):
        operations = factor * n_stars * flop_per_star(case, n_labels, n)
        medians = []
        for who, rounds in (("sk_payne", ours), ("toolkit", theirs)):
            if not rounds:
                continue
            seconds = [each[what] for each in rounds]
            medians.append(float(np.median(seconds)))
            rows.append(
                {
                    "network": name,
                    "what": what,
                    "who": who,
                    "batches/s": 1 / medians[-1],
                    "spread": f"{100 * np.ptp(seconds) / medians[-1]:.0f} %",
                    "wavelengths/s": n_stars * n / medians[-1],
                    "GFLOP/s": 1e-9 * operations / medians[-1],
                    "ours/theirs": "",
                    "seconds": seconds,
                }
            )
        if len(medians) == 2:
            rows[-2]["ours/theirs"] = medians[1] / medians[0]
    return rows


def flop_per_star(case, n_labels, n):
    """Operations of the matrix products of a forward pass at n wavelengths."""
    if case["arch"] != "transformer":
        hidden, layers = case["n_hidden"], case["n_layers"]
        return 2 * hidden * (n_labels + (layers - 1) * hidden + n)
    d, layers, tokens = case["width"], case["n_layers"], case["n_tokens"]
    at_a_wavelength = layers * (20 * d**2 + 4 * tokens * d) + 2 * d**2 + 2 * d
    of_the_tokens = 2 * d * (n_labels + tokens * d) + layers * 4 * tokens * d**2
    return n * at_a_wavelength + of_the_tokens


if __name__ == "__main__":
    main()
