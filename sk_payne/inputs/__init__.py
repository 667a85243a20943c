"""Readers of arguments: arrays with names, units and masks.

Every room reads its arguments with them, so that a table, a quantity or a masked array
means the same everywhere.
"""

from sk_payne.inputs._columns import is_table
from sk_payne.inputs._flux import FluxTable, read_flux
from sk_payne.inputs._labels import LabelTable, read_labels
from sk_payne.inputs._mapping import read_mapping
from sk_payne.inputs._numbers import (
    list_rows,
    plain_wavelengths,
    to_float,
    to_floats,
    without_unit,
)

__all__ = [
    "FluxTable",
    "LabelTable",
    "is_table",
    "list_rows",
    "plain_wavelengths",
    "read_flux",
    "read_labels",
    "read_mapping",
    "to_float",
    "to_floats",
    "without_unit",
]
