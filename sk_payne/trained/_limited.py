"""A limit to the tensors that a network makes, for networks that a file describes.

A damaged or malicious file of a few kilobytes can state a layer of a billion neurons.
"""

import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["LimitedTensors"]

# Bytes and tensors that any network may have, whatever its weights.
_BYTES, _TENSORS = 2**29, 10_000
_TIMES = 4
_BYTES_PER_NUMBER = 8

_SIZED = ("empty", "zeros", "ones", "full", "rand", "randn", "new_empty", "eye")
_COUNTED = ("arange", "linspace", "logspace")


class LimitedTensors(TorchDispatchMode):
    """Context in which new tensors may not be larger than weights that are known.

    Parameters
    ----------
    n_bytes : int
        Bytes of the weights. New tensors may have four times as many in all, and
        512 MiB, if each number takes eight bytes.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.trained._limited import LimitedTensors
    >>> with LimitedTensors(1000):
    ...     torch.nn.Linear(10**5, 10**5)
    Traceback (most recent call last):
        ...
    RuntimeError: its network has tensors of 80000000000 bytes or more, and its weights
    have 1000
    """

    def __init__(self, n_bytes):
        super().__init__()
        self.n_weights = n_bytes
        self.left = _TIMES * n_bytes + _BYTES
        self.n_left = _TENSORS

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Count the numbers of a new tensor before it is made."""
        name = func.overloadpacket.__name__
        numbers = 0
        if name in _SIZED and args:
            sizes = [arg for arg in args if isinstance(arg, (list, tuple))]
            numbers = math.prod(sizes[0]) if sizes else args[0] ** 2
        elif name in _COUNTED:
            numbers = _length(name, [arg for arg in args if not torch.is_tensor(arg)])
        if name in (*_SIZED, *_COUNTED):
            self._take(numbers)
        return func(*args, **(kwargs or {}))

    def _take(self, numbers):
        taken = _BYTES_PER_NUMBER * numbers
        self.left -= taken
        self.n_left -= 1
        if self.left < 0 or self.n_left < 0:
            raise RuntimeError(
                f"its network has tensors of {taken} bytes or more, and its weights "
                f"have {self.n_weights}"
            )


def _length(name, numbers):
    """Give the length of a range of numbers."""
    if name != "arange":
        return numbers[2]
    start, end, step = {
        1: (0, *numbers, 1),
        2: (*numbers, 1),
        3: tuple(numbers),
    }[len(numbers)]
    return max(0, (end - start) / step)
