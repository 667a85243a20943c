"""Several processes that train one model together, each on its part of every batch.

They are the default group of `torch.distributed`, if it was initialised.
"""

import torch
from torch import distributed

if distributed.is_available():
    # Imported before there is a group: its functions would keep a reference to it (the
    # compiler of torch imports them later). Threads of the group would outlive
    # destroy_process_group and sometimes abort the interpreter when it ends.
    import torch.distributed.nn

__all__ = [
    "check_agreement",
    "from_first",
    "is_first",
    "mean_over_processes",
    "my_part",
    "n_processes",
    "take_from_first",
]


def n_processes():
    """Size of the group of processes, 1 if there is no group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1


def is_first():
    """Whether this process is the first, which prints and writes files for all."""
    return n_processes() == 1 or distributed.get_rank() == 0


def my_part(rows):
    """Part of the rows that this process handles.

    Parameters
    ----------
    rows : Tensor
        Rows of all processes, the same in each.

    Returns
    -------
    part : Tensor
        A view. The concatenated parts of all processes are the rows.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.emulators._processes import my_part
    >>> my_part(torch.arange(3))
    tensor([0, 1, 2])
    """
    if n_processes() == 1:
        return rows
    return rows.tensor_split(n_processes())[distributed.get_rank()]


def mean_over_processes(tensors, weight):
    """Replace tensors by their mean over all processes.

    Parameters
    ----------
    tensors : list of Tensor
        Finite tensors of the same shapes in each process; changed in place.
    weight : int
        Weight of this process in the mean.

    Returns
    -------
    total : int
        Sum of the weights of all processes.
    """
    last = tensors[0].new_tensor([1.0])
    flat = torch.cat([tensor.reshape(-1) for tensor in [*tensors, last]]) * weight
    distributed.all_reduce(flat)
    total = flat[-1]
    flat = flat / total
    start = 0
    for tensor in tensors:
        tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()
    return round(total.item())


def from_first(make):
    """Call a function in the first process, and share the result.

    Parameters
    ----------
    make : callable
        Function without arguments.

    Returns
    -------
    value : object
        Result of the call. An error of the call is raised in each process.
    """
    if n_processes() == 1:
        return make()
    result = [None, None]
    if is_first():
        try:
            result[0] = make()
        except Exception as error:
            result[1] = error
    distributed.broadcast_object_list(result)
    value, error = result
    if error is not None:
        raise error
    return value


def check_agreement(identity):
    """Check that all processes are about to run the same training.

    Parameters
    ----------
    identity : dict
        Plain values that identify a training.

    Raises
    ------
    ValueError
        In every process if the identity differs in any, so that none waits forever.
    """
    if n_processes() == 1:
        return
    identities = [None] * n_processes()
    distributed.all_gather_object(identities, identity)
    others = [n for n, other in enumerate(identities) if other != identities[0]]
    if others:
        raise ValueError(
            "`X`, `y` and the parameters of the emulator must be the same in every "
            f"process of the group of torch.distributed; got others in {others} than "
            "in 0. Give each all spectra; it takes its part of every batch."
        )


def take_from_first(tensors):
    """Overwrite tensors by those of the first process.

    Parameters
    ----------
    tensors : iterable of Tensor
        Tensors of the same shapes in each process.
    """
    if n_processes() > 1:
        for tensor in tensors:
            distributed.broadcast(tensor, 0)
