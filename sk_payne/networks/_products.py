"""Matrix products at the full rate of AMD processors, in float32 as before.

It is here because torch sends them to MKL, which knows only processors of Intel well.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

# Products with sums of this many terms tell float32 (6e-6) from bfloat16 (1e-2).
_TERMS = 512
_FLOAT32 = 1e-4

_LOCK = threading.Lock()
_users = 0


@contextmanager
def fast_products() -> Iterator[None]:
    """Multiply float32 matrices by oneDNN where MKL is slow.

    torch carries two libraries. MKL, its choice for float32, uses half of the vector
    width of AMD processors with AVX-512; oneDNN uses all of it. The only switch allows
    oneDNN to round to bfloat16 as well, which it does on processors with AMX. So it is
    used on AMD processors with AVX-512 only, and only if a product there has the
    precision of float32. A precision that the user has chosen is left alone.

    The switch is one for all threads; it is put back when the last user leaves.

    Yields
    ------
    nothing : None
        Products are fast inside.

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
        mine = _users > 0 or switch.fp32_precision == "none"
        if mine:
            _users += 1
            switch.fp32_precision = "bf16"
    try:
        yield
    finally:
        if mine:
            with _LOCK:
                _users -= 1
                if not _users:
                    switch.fp32_precision = "none"


@cache
def _onednn_is_faster() -> bool:
    """Whether oneDNN can be chosen, is the faster one, and as precise."""
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
