"""fast_products: float32 matrix products at the full speed of AMD processors.

The default library of torch, MKL, is slow on processors that are not from Intel.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

# Relative errors of a product with sums of 512 terms: 6e-6 in float32, 1e-2 in
# bfloat16. The limit lies between them.
_TERMS = 512
_FLOAT32 = 1e-4

_LOCK = threading.Lock()
_users = 0


@contextmanager
def fast_products() -> Iterator[None]:
    """Multiply float32 matrices by oneDNN where MKL is slow.

    torch has two libraries. MKL, its choice for float32, uses half of the vector width
    of AMD processors with AVX-512; oneDNN uses all of it. The only switch to oneDNN
    also permits rounding to bfloat16, which happens on processors with AMX. So it is
    used on AMD processors with AVX-512 only, and only if a test product there has the
    precision of float32. A precision that the user has chosen is not changed.

    The switch is global to all threads; it is reset when the last user leaves.

    Yields
    ------
    nothing : None
        Products inside the block are fast.

    Examples
    --------
    >>> import torch
    >>> from sk_payne.networks import fast_products
    >>> a = torch.rand(300, 500)
    >>> with fast_products():
    ...     product = a @ a.T
    >>> bool((product.double() - a.double() @ a.double().T).abs().max() < 1e-3)
    True
    """
    global _users
    if not _onednn_is_faster():
        yield
        return
    switch = torch.backends.mkldnn.matmul
    with _LOCK:
        switched = _users > 0 or switch.fp32_precision == "none"
        if switched:
            _users += 1
            switch.fp32_precision = "bf16"
    try:
        yield
    finally:
        if switched:
            with _LOCK:
                _users -= 1
                if not _users:
                    switch.fp32_precision = "none"


@cache
def _onednn_is_faster() -> bool:
    """Whether oneDNN can be chosen, is faster than MKL, and as precise."""
    switch = getattr(torch.backends.mkldnn, "matmul", None)
    if not (
        hasattr(switch, "fp32_precision")
        and torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and _is_amd()
    ):
        return False
    before = switch.fp32_precision
    generator = torch.Generator("cpu").manual_seed(0)
    a = torch.randn(
        *(_TERMS, _TERMS), generator=generator, dtype=torch.float32, device="cpu"
    )
    exact = a.double() @ a.double()
    try:
        switch.fp32_precision = "bf16"
        error = (a @ a - exact).abs().max() / exact.std()
    finally:
        switch.fp32_precision = before
    return bool(error < _FLOAT32)


def _is_amd() -> bool:
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        processor = platform.processor()
    return "AuthenticAMD" in processor
