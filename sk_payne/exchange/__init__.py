"""Models from and for other codes."""

from sk_payne.exchange._aet import read_aet
from sk_payne.exchange._one_payne import read_one_payne
from sk_payne.exchange._programs import export_onnx, export_torch
from sk_payne.exchange._the_payne import read_the_payne, write_the_payne

__all__ = [
    "export_onnx",
    "export_torch",
    "read_aet",
    "read_one_payne",
    "read_the_payne",
    "write_the_payne",
]
