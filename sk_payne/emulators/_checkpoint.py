"""State of an unfinished training: captured, restored, written and read.

A training that continues from a state gives the result of an uninterrupted one.
"""

import copy

import numpy as np
import torch
from skorch.callbacks import EarlyStopping, PassthroughScoring
from skorch.history import History

from sk_payne._persistence import replacing
from sk_payne.emulators._device import read_random_state, write_random_state
from sk_payne.exceptions import FileFormatError

__all__ = [
    "capture",
    "check_same",
    "read_state",
    "restore",
    "write_state",
]

# Keys by which a checkpoint is recognised.
_KEYS = {"held_out", "network", "optimizer", "settings", "spectra"}


def capture(net):
    """Copy the state of a training, from which it can continue.

    Parameters
    ----------
    net : EmulatorNet
        Net between two steps.

    Returns
    -------
    state : dict
        Nested dicts and lists of tensors and plain values. Of callbacks of the user,
        only early stopping is in it.
    """
    state = _copy(
        {
            "network": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "order": net.order.state_dict(),
            "random": read_random_state(net.device),
            "n_steps": net.n_steps,
            "callbacks": {
                name: {key: getattr(callback, key) for key in _remembered(callback)}
                for name, callback in net.callbacks_
            },
        }
    )
    # not copied: there may be many epochs, and past ones do not change
    return state | {"history": list(net.history)}


def restore(net, state):
    """Restore a captured state; the state itself is not changed.

    Parameters
    ----------
    net : EmulatorNet
        Net of the same module and recipe, whose training has begun.
    state : dict
        State from :func:`capture`.
    """
    state = _copy(state)
    net.module_.load_state_dict(state["network"])
    net.optimizer_.load_state_dict(state["optimizer"])
    net.order.load_state_dict(state["order"])
    net.history_ = History(state["history"])
    write_random_state(state["random"], net.device)
    for name, callback in net.callbacks_:
        memory = state["callbacks"].get(name, {})
        vars(callback).update(_copy(memory, net.device))
    # the only state of the schedule is the number of steps
    dict(net.callbacks_)["schedule"].lr_scheduler_.last_epoch = net.n_steps


def check_same(state, identity, seed, training):
    """Check that a state belongs to the requested training.

    Parameters
    ----------
    state : dict
        State from :func:`capture`, with the identity of its training.
    identity : dict
        Fingerprint of the "spectra", and "settings", of the requested training.
    seed : int or None
        Requested seed; None for any.
    training : str
        Name of the earlier training in error messages.

    Raises
    ------
    ValueError
        If spectra, settings or seed differ; the message names the arguments.

    Examples
    --------
    >>> from sk_payne.emulators import check_same
    >>> before = {"spectra": "a1", "settings": {"snr": 50}, "n_steps": 7}
    >>> now = {"spectra": "a1", "settings": {"snr": 80}}
    >>> check_same(before, now, None, "the training before")
    Traceback (most recent call last):
    ValueError: `snr` must be those of the training before, which took 7 steps; ...
    """
    before, now = state["settings"], identity["settings"]
    if state["spectra"] != identity["spectra"]:
        differing = ["`X` and `y`"]
    else:
        differing = [
            "`recipe` and `max_steps`" if name == "recipe" else f"`{name}`"
            for name in now
            if before.get(name) != now[name]
        ]
        if seed is not None and seed != state.get("seed", seed):
            differing.append("`random_state`")
    if differing:
        raise ValueError(
            f"{', '.join(differing)} must be those of {training}, which took "
            f"{state['n_steps']} steps; got others. Use the same again, start anew "
            "with `fit` and no old checkpoint, or train on with FineTunedEmulator."
        )


def write_state(path, state):
    """Write a state to a file; the file is replaced only by a complete one.

    Parameters
    ----------
    path : str or path-like
        File; replaced if it exists.
    state : dict
        State of tensors and plain values.

    Examples
    --------
    >>> import tempfile
    >>> from sk_payne.emulators import read_state, write_state
    >>> state = dict.fromkeys(
    ...     ["held_out", "network", "optimizer", "settings", "spectra"], {}
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_state(f"{folder}/state", state | {"n_steps": 7})
    ...     read_state(f"{folder}/state")["n_steps"]
    7
    """
    with replacing(path) as file:
        torch.save(_copy(state, "cpu"), file)


def read_state(path):
    """Read a state that :func:`write_state` wrote; nothing in the file is executed.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    state : dict
        State with tensors on the CPU.

    Raises
    ------
    FileFormatError
        If the file is no checkpoint, or damaged.

    Examples
    --------
    >>> from sk_payne.emulators import read_state
    >>> read_state("nowhere")
    Traceback (most recent call last):
    FileNotFoundError: ...
    """
    with open(path, "rb") as file:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            if not isinstance(state, dict) or not state.keys() >= _KEYS:
                raise ValueError("it holds something else")
        except Exception as error:  # torch raises many kinds of errors here
            raise FileFormatError(
                f"'{path}' is no checkpoint of a training, or damaged. Remove it, or "
                "pass another `checkpoint`."
            ) from error
    return state


def _remembered(callback):
    """Names of the attributes that a callback keeps from step to step."""
    if isinstance(callback, EarlyStopping):
        return ("misses_", "dynamic_threshold_", "best_model_weights_", "best_epoch_")
    if isinstance(callback, PassthroughScoring):
        return ("best_score_",)
    return getattr(callback, "remembered", ())


def _copy(value, device=None):
    """Deep copy with tensors on the device, and numbers of numpy as those of Python."""
    if isinstance(value, dict):
        return {key: _copy(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(item, device) for item in value)
    if isinstance(value, torch.Tensor):
        return value.detach().to(device or value.device, copy=True)
    if isinstance(value, np.generic):
        return value.item()
    return copy.deepcopy(value)
