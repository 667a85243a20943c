"""One of two processes that train the same emulators; its results go to a file.

python train_together.py RANK FOLDER
"""

import pickle
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import distributed

from sk_payne import FineTunedEmulator, SpectrumEmulator
from sk_payne.datasets import make_spectra

N_PROCESSES = 2
CASES = {
    "payne": {},
    "opacity": {"arch": "opacity", "arch_params": {"n_populations": 13, "width": 7}},
    "transformer": {
        "arch": "transformer",
        "arch_params": {"width": 16, "n_layers": 1, "n_tokens": 3},
        "recipe": {
            "optimizer": "AdamW",
            "n_wavelengths": 8,
            "average": 0.2,
        },
    },
    # where its eigenvectors are many and vague, SOAP makes much of rounding
    "SOAP": {
        "recipe": {"optimizer": "SOAP", "optimizer_params": {"max_precondition_dim": 9}}
    },
    # 90 held-out spectra, of which the processes look at 45 each
    "patience": {"recipe": {"patience": 2, "lr": 0.3}, "validation_fraction": 0.9},
}


class StopAt(Callback):
    """Raises an error after a step."""

    def __init__(self, step, error):
        self.step = step
        self.error = error

    def on_batch_end(self, net, training=False, **kwargs):
        if training and net.n_steps == self.step:
            raise self.error


def make(arch="payne", *, arch_params=None, recipe=(), **changes):
    """An emulator of the grid of :func:`spectra`."""
    small = {"n_hidden": 7} if arch == "payne" else arch_params
    common = {"lr": 1e-2, "loss": "mse", "batch_size": 31, "validate_every": 7}
    arguments = {"max_steps": 40, "device": "cpu", "random_state": 0}
    return SpectrumEmulator(
        arch=arch,
        arch_params=small,
        recipe=common | dict(recipe),
        **(arguments | changes),
    )


def spectra():
    """Labels and flux."""
    grid = make_spectra(101, n_wavelengths=61, random_state=0)
    return grid.data, grid.target.astype(np.float32)


def result(emulator):
    """What the processes and one alone must agree on."""
    weights = [w.ravel() for w in emulator.trained_.weights.values()]
    return {
        "weights": np.concatenate(weights),
        "history": [list(epoch.values()) for epoch in emulator.history_],
        "held_out_mae": emulator.held_out_mae_,
        "std": emulator.predict(spectra()[0][:3], return_std=True)[1],
        "n_steps": emulator.n_steps_,
    }


def fine_tune(base):
    P, F = spectra()
    arguments = {"rehearse": (P[40:], F[40:]), "max_steps": 20, "random_state": 1}
    return FineTunedEmulator(base, **arguments).fit(P[:40], F[:40])


def error_of(function):
    try:
        function()
    except (Exception, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}"


def main(rank, folder):
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=N_PROCESSES,
        timeout=timedelta(seconds=120),
    )
    P, F = spectra()
    flux = np.load(folder / "flux.npy", mmap_mode="r")
    results = {name: result(make(**case).fit(P, F)) for name, case in CASES.items()}
    results["on disk"] = result(make().fit(P, flux))
    results["fine-tuned"] = result(fine_tune(make().fit(P, F)))
    results["own seeds"] = result(make(random_state=rank).fit(P, F))

    # a checkpoint of each, of which only that of the first is written and read
    own = folder / f"checkpoint_{rank}"
    stop = StopAt(17, RuntimeError("power cut"))
    results["killed"] = error_of(
        lambda: make(checkpoint=own, callbacks=[stop]).fit(P, F)
    )
    distributed.barrier()
    results["checkpoints"] = sorted(p.name for p in folder.glob("checkpoint_*"))
    distributed.barrier()
    results["resumed"] = result(make(checkpoint=own).fit(P, F))
    distributed.barrier()
    results["checkpoints after"] = sorted(p.name for p in folder.glob("checkpoint_*"))

    bad = folder / "no_checkpoint"
    results["bad checkpoint"] = error_of(lambda: make(checkpoint=bad).fit(P, F))
    results["other spectra"] = error_of(lambda: make().fit(P, F + rank))
    tiny = make(recipe={"batch_size": 1})
    results["tiny batches"] = error_of(lambda: tiny.fit(P, F))
    stop = StopAt(17, KeyboardInterrupt())
    results["Ctrl-C"] = error_of(lambda: make(callbacks=[stop]).fit(P, F))

    make(verbose=1).fit(P, F)
    with open(folder / f"results_{rank}.pickle", "wb") as file:
        pickle.dump(results, file)
    distributed.destroy_process_group()
    (folder / f"threads_{rank}").write_text("\n".join(names_of_threads()))


def names_of_threads():
    """Names of the threads of this process, where the system tells."""
    files = Path("/proc/self/task").glob("*/comm")
    return [file.read_text().strip() for file in files]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]), Path(sys.argv[2]))
