"""The state of an unfinished training: taken, put back, written and read.

It is here so that a training that was stopped goes on as if it had not been.
"""

import copy
import hashlib

import numpy as np
import torch
from skorch.callbacks import EarlyStopping, PassthroughScoring
from skorch.history import History

from sk_payne._persistence import replacing
from sk_payne.exceptions import FileFormatError

__all__ = [
    "capture",
    "check_same",
    "fingerprint",
    "read_state",
    "restore",
    "to_cpu",
    "update_digest",
    "write_state",
]

# What a checkpoint holds, besides what is only needed to go on from it.
_KEYS = {"held_out", "network", "optimizer", "settings", "spectra"}


def capture(net):
    """Copy all that decides how a training goes on.

    Parameters
    ----------
    net : EmulatorNet
        Between two steps.

    Returns
    -------
    state : dict
        Nested dicts and lists of tensors and plain values. Callbacks of the user are
        not in it, except early stopping.
    """
    random = {"cpu": torch.random.get_rng_state()}
    if net.device.startswith("cuda"):
        random["cuda"] = torch.cuda.get_rng_state(net.device)
    state = _copy(
        {
            "network": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "order": net.order.state_dict(),
            "random": random,
            "n_steps": net.n_steps,
            "callbacks": {
                name: {key: getattr(callback, key) for key in _remembered(callback)}
                for name, callback in net.callbacks_
            },
        }
    )
    # epochs that are over do not change, and there may be many
    return state | {"history": list(net.history)}


def restore(net, state):
    """Put a captured state back; the state itself stays as it is.

    Parameters
    ----------
    net : EmulatorNet
        Made in the same way, with its callbacks begun.
    state : dict
        What :func:`capture` gave.
    """
    state = _copy(state)
    net.module_.load_state_dict(state["network"])
    net.optimizer_.load_state_dict(state["optimizer"])
    net.order.load_state_dict(state["order"])
    net.history_ = History(state["history"])
    torch.random.set_rng_state(state["random"]["cpu"])
    if "cuda" in state["random"]:
        torch.cuda.set_rng_state(state["random"]["cuda"], net.device)
    for name, callback in net.callbacks_:
        memory = state["callbacks"].get(name, {})
        vars(callback).update(_copy(memory, net.device))
    # the schedule remembers nothing but the number of steps
    dict(net.callbacks_)["schedule"].lr_scheduler_.last_epoch = net.n_steps


def to_cpu(state):
    """Copy a state to where every machine can read it.

    Parameters
    ----------
    state : dict or None
        What :func:`capture` gave.

    Returns
    -------
    state : dict or None
        On the CPU.
    """
    return _copy(state, "cpu")


def check_same(state, identity, what):
    """Check that a state belongs to the training that is asked for.

    Parameters
    ----------
    state : dict
        What :func:`capture` gave, with what it was of.
    identity : dict
        A fingerprint of the "spectra", and "settings".
    what : str
        The training before, for errors.

    Raises
    ------
    ValueError
        If it does not, naming what is different.
    """
    before, now = state["settings"], identity["settings"]
    if state["spectra"] != identity["spectra"]:
        others = ["`X` and `y`"]
    else:
        others = [
            "`recipe` and `max_steps`" if name == "recipe" else f"`{name}`"
            for name in now
            if before.get(name) != now[name]
        ]
    if others:
        raise ValueError(
            f"{', '.join(others)} must be those of {what}, which took "
            f"{state['n_steps']} steps; got others. Use the same again, start anew "
            "with `fit` and no old checkpoint, or train on with FineTunedEmulator."
        )


def fingerprint(*arrays):
    """Give a short text that other arrays do not have.

    Parameters
    ----------
    *arrays : ndarray or StreamedFlux
        Labels and flux.

    Returns
    -------
    text : str
        Follows from types, shapes and all values.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.emulators._state import fingerprint
    >>> fingerprint(np.zeros(3)) == fingerprint(np.zeros(4))
    False
    """
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        known = getattr(array, "fingerprint", None)
        digest.update((known or _fingerprint_of(array)).encode())
    return digest.hexdigest()


def update_digest(digest, dtype, shape, rows):
    """Feed a digest with an array, of which rows may follow.

    Parameters
    ----------
    digest : hashlib.blake2b
        Changed in place.
    dtype : numpy.dtype
        Of the array.
    shape : tuple of int
        Of the whole array.
    rows : iterable of ndarray
        The first of its rows.
    """
    digest.update(f"{dtype.str}{shape}".encode())
    for row in rows:
        digest.update(np.ascontiguousarray(row))


def write_state(path, state):
    """Write a state to a file, which is never half written.

    Parameters
    ----------
    path : str or path-like
        Replaced if it exists.
    state : dict
        Of tensors and plain values.
    """
    with replacing(path) as file:
        torch.save(to_cpu(state), file)


def read_state(path):
    """Read what :func:`write_state` wrote; nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    state : dict
        With its tensors on the CPU.

    Raises
    ------
    FileFormatError
        If it is another file, or damaged.
    """
    with open(path, "rb") as file:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            if not isinstance(state, dict) or not state.keys() >= _KEYS:
                raise ValueError("it holds something else")
        except Exception as error:  # torch raises whatever the bytes happen to mean
            raise FileFormatError(
                f"'{path}' is no checkpoint of a training, or damaged. Remove it, or "
                "pass another `checkpoint`."
            ) from error
    return state


def _fingerprint_of(array):
    digest = hashlib.blake2b(digest_size=16)
    update_digest(digest, array.dtype, array.shape, array)
    return digest.hexdigest()


def _remembered(callback):
    """Names of what a callback carries from step to step."""
    if isinstance(callback, EarlyStopping):
        return ("misses_", "dynamic_threshold_", "best_model_weights_", "best_epoch_")
    if isinstance(callback, PassthroughScoring):
        return ("best_score_",)
    return getattr(callback, "remembered", ())


def _copy(value, device=None):
    """Deep copy in which numbers are Python's own, as files want them."""
    if isinstance(value, dict):
        return {key: _copy(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(item, device) for item in value)
    if isinstance(value, torch.Tensor):
        return value.detach().to(device or value.device, copy=True)
    if isinstance(value, np.generic):
        return value.item()
    return copy.deepcopy(value)
