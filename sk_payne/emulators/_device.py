"""Where to compute.

It is here so that "auto" has one meaning and models never remember a machine.
"""

import torch

__all__ = ["cuda_devices", "fits_on", "resolve_device"]


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
        If torch knows no such device, or has none here.

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


def cuda_devices(device):
    """Devices whose random state training may change, for ``torch.random.fork_rng``."""
    return [device] if device.startswith("cuda") else []


def fits_on(device, n_bytes):
    """Whether data may move to the device for good: half of what is free is ours."""
    if not device.startswith("cuda"):
        return True
    return n_bytes < torch.cuda.mem_get_info(device)[0] / 2
