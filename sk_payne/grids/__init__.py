"""Training grids: parameter spaces, synthesis engines, grids on disk, line lists."""

from sk_payne.grids._atmosphere_grid import AtmosphereGrid
from sk_payne.grids._build import build_grid
from sk_payne.grids._command_engine import CommandEngine
from sk_payne.grids._line_list import read_line_list
from sk_payne.grids._line_marks import lines_by_element
from sk_payne.grids._paper import (
    paper_pretraining,
    paper_training,
    paper_wavelengths,
)
from sk_payne.grids._parameter_space import ParameterSpace
from sk_payne.grids._pysme_engine import PySMEEngine
from sk_payne.grids._read_grid import read_grid
from sk_payne.grids._row_view import RowView
from sk_payne.grids._store import StoredGrid, open_grid

__all__ = [
    "AtmosphereGrid",
    "CommandEngine",
    "ParameterSpace",
    "PySMEEngine",
    "RowView",
    "StoredGrid",
    "build_grid",
    "lines_by_element",
    "open_grid",
    "paper_pretraining",
    "paper_training",
    "paper_wavelengths",
    "read_grid",
    "read_line_list",
]
