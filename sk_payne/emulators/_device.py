"""Device of a training, and the random states of the CPU and of that device."""

from contextlib import contextmanager, nullcontext

import torch

__all__ = [
    "fits_on",
    "keep_random_state",
    "read_random_state",
    "resolve_device",
    "seed_random_state",
    "write_random_state",
]


def resolve_device(device):
    """Turn the argument `device` into a device that exists.

    Parameters
    ----------
    device : str
        "auto" or a torch device.

    Returns
    -------
    device : str
        "auto" becomes "cuda" if there is one, else "cpu".

    Raises
    ------
    ValueError
        If torch does not know the device, or this machine has none.

    Examples
    --------
    >>> from sk_payne.emulators._device import resolve_device
    >>> resolve_device("cpu")
    'cpu'
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"`device` must be 'auto' or a device that torch has here; got {device!r}. "
            "Use 'cpu' or 'auto'."
        ) from error
    return str(device)


def read_random_state(device):
    """Copy the random states of the CPU and of one device.

    Parameters
    ----------
    device : str
        Device.

    Returns
    -------
    state : dict of str to Tensor
        Random states by type of device; the tensors are on the CPU.
    """
    state = {"cpu": torch.random.get_rng_state()}
    kind, module, arguments = _generator_of(device)
    if module is not None:
        state[kind] = module.get_rng_state(*arguments)
    return state


def write_random_state(state, device):
    """Restore random states from :func:`read_random_state` on a device of that type.

    Parameters
    ----------
    state : dict of str to Tensor
        Random states by type of device; those of other types are ignored.
    device : str
        Device.
    """
    torch.random.set_rng_state(state["cpu"])
    kind, module, arguments = _generator_of(device)
    if module is not None and kind in state:
        module.set_rng_state(state[kind], *arguments)


@contextmanager
def keep_random_state(device):
    """Restore the random states of the CPU and of a device at the end of the block.

    Parameters
    ----------
    device : str
        Device.
    """
    state = read_random_state(device)
    try:
        yield
    finally:
        write_random_state(state, device)


def seed_random_state(seed, device):
    """Seed the CPU and one device; `torch.manual_seed` would seed all devices.

    Parameters
    ----------
    seed : int
        Seed.
    device : str
        Device.
    """
    torch.default_generator.manual_seed(seed)
    _, module, arguments = _generator_of(device)
    if module is not None:
        with module.device(*arguments) if arguments else nullcontext():
            module.manual_seed(seed)


def _generator_of(device):
    """Type of a device, and the functions of its random state and their arguments."""
    kind = torch.device(device).type
    if kind in ("cpu", "meta"):
        return kind, None, ()
    # a computer has one "mps" at most
    return kind, torch.get_device_module(kind), () if kind == "mps" else (device,)


def fits_on(device, n_bytes):
    """Whether data may stay on the device: they take less than half of free memory."""
    if not device.startswith("cuda"):
        return True
    return n_bytes < torch.cuda.mem_get_info(device)[0] / 2
