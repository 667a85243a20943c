"""Tables of the site that come from files of the repository.

They are here so that no number is typed twice: the records in ``benchmarks/results``
and the default recipes are read when the site is built.
"""

import json
from dataclasses import fields
from functools import reduce
from pathlib import Path
from types import MappingProxyType

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def dig(record, path):
    """Follow a path such as "cases/0/ratio" into a record.

    In a list, "arch=payne;snr=100.0" stands for the first entry that has these values.

    >>> record = {"cases": [{"arch": "payne", "ratio": 2.0}, {"arch": "opacity"}]}
    >>> dig(record, "cases/0/ratio"), dig(record, "cases/arch=payne/ratio")
    (2.0, 2.0)
    """
    return reduce(_step, path.split("/"), record)


def _step(at, key):
    if not isinstance(at, list):
        return at[key]
    return select(at, key)[0] if "=" in key else at[int(key)]


def as_text(value, form=""):
    """Write a value in a format of Python, or as what is missing.

    >>> as_text(0.0108387, ".4f"), as_text(757898, ".2fM"), as_text(None, ".1f")
    ('0.0108', '0.76 M', '')
    """
    if value in (None, ""):
        return ""
    if form.endswith("M"):
        return f"{value / 1e6:{form[:-1]}} M"
    return f"{value:{form}}" if form else str(value)


def select(rows, conditions):
    """Rows that have all of some values, compared as text; a comma is an "or".

    >>> rows = [{"label": "teff", "snr": 50.0}, {"label": "logg", "snr": 50.0}]
    >>> select(rows, "label=teff; snr=50.0")
    [{'label': 'teff', 'snr': 50.0}]
    >>> len(select(rows, "label=teff,logg"))
    2
    """
    pairs = [part.split("=") for part in conditions.split(";") if part.strip()]
    return [
        row
        for row in rows
        if all(
            str(row.get(name.strip())) in value.strip().split(",")
            for name, value in pairs
        )
    ]


def machine_text(machine):
    """Say where and when a record was written.

    >>> machine_text({"cpu": "Some CPU", "torch_threads": 1, "date": "2026-11-25",
    ...               "torch": "2.13.0", "accelerator": ""})
    'Some CPU, 1 thread, torch 2.13.0, 2026-11-25'
    """
    threads = machine["torch_threads"]
    parts = [
        machine["cpu"],
        machine.get("accelerator"),
        f"{threads} thread{'s' * (threads > 1)}",
        f"torch {machine['torch']}",
        machine["date"],
    ]
    return ", ".join(part for part in parts if part)


def list_table(header, rows):
    """Lines of a table in reStructuredText.

    >>> print(*list_table(["a", "b"], [["1", ""]]), sep="|")
    .. list-table::|   :header-rows: 1||   * - a|     - b|   * - 1|     -
    """
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [header, *rows]:
        for i, cell in enumerate(row):
            lines.append(f"   {'*' if i == 0 else ' '} - {cell}".rstrip())
    return lines


class _Written(Directive):
    """A directive whose content is written as reStructuredText."""

    def written(self, lines):
        node = nodes.container()
        content = StringList(lines, source=self.state_machine.get_source(self.lineno))
        self.state.nested_parse(content, self.content_offset, node)
        return node.children


class Record(_Written):
    """Rows of a benchmark, one column to a line of the content.

    A line is ``entry | heading | format``; the last two may be left out. An entry that
    starts with a slash is looked for in the whole record, not in the row, whose values
    it may name in braces: ``/cases/arch=payne/rows/label={label}/mae``. A file whose
    name ends in "jsonl" has one row to a line, each with its own machine.
    """

    required_arguments = 1
    has_content = True
    option_spec = MappingProxyType(
        {name: directives.unchanged for name in ("rows", "where", "sort")}
    )

    def run(self):
        """Make the table, and the line on machine and date below it."""
        path = RESULTS / self.arguments[0]
        self.state.document.settings.env.note_dependency(str(path))
        if path.suffix == ".jsonl":
            record = rows = [json.loads(line) for line in path.read_text().splitlines()]
            machines = rows
        else:
            record = json.loads(path.read_text())
            rows = dig(record, self.options.get("rows", "rows"))
            machines = [row.get("machine", record["machine"]) for row in rows]
        rows = select(rows, self.options.get("where", ""))
        names = self.options.get("sort", "").split()
        rows = sorted(rows, key=lambda row: [row[name] for name in names])
        if not rows:
            raise self.error(f"{path.name} has no such rows")
        columns = [[part.strip() for part in line.split("|")] for line in self.content]
        header = [column[1] if len(column) > 1 else column[0] for column in columns]
        cells = [
            [
                as_text(
                    _get(record, row, column[0]), column[2] if len(column) > 2 else ""
                )
                for column in columns
            ]
            for row in rows
        ]
        where = f"From ``benchmarks/results/{path.name}``: {_machines_text(machines)}."
        return self.written([*list_table(header, cells), "", where])


class Pivot(_Written):
    """Means of one number of a benchmark, with two others along the sides.

    The content is ``entry | format``. Where there are several rows, their smallest and
    largest number are in brackets.
    """

    required_arguments = 1
    has_content = True
    option_spec = MappingProxyType(
        {name: directives.unchanged_required for name in ("where", "down", "across")}
    )

    def run(self):
        """Make the table, and the line on machines and dates below it."""
        path = RESULTS / self.arguments[0]
        self.state.document.settings.env.note_dependency(str(path))
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows = select(rows, self.options["where"])
        down, across = self.options["down"], self.options["across"]
        entry, form = (part.strip() for part in self.content[0].split("|"))
        lines, columns = (
            list(dict.fromkeys(r[k] for r in rows)) for k in (down, across)
        )
        cells = [
            [
                str(line),
                *(
                    spread_text(
                        [
                            r[entry]
                            for r in rows
                            if (r[down], r[across]) == (line, name)
                        ],
                        form,
                    )
                    for name in columns
                ),
            ]
            for line in sorted(lines)
        ]
        where = f"From ``benchmarks/results/{path.name}``: {_machines_text(rows)}."
        return self.written([*list_table([down, *columns], cells), "", where])


def spread_text(values, form):
    """Write the mean of some numbers, and between which they are.

    >>> spread_text([0.2, 0.1], ".2f"), spread_text([2.0], ".1f"), spread_text([], "")
    ('0.15 (0.10-0.20)', '2.0', '')
    """
    if not values:
        return ""
    mean = f"{sum(values) / len(values):{form}}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):{form}}-{max(values):{form}})"


class Recipes(_Written):
    """Default recipe of each architecture: entries that differ from the defaults."""

    def run(self):
        """Make the table."""
        from sk_payne.networks import NETWORKS, Recipe

        recipes = {name: network.recipe for name, network in NETWORKS.items()}
        default = Recipe()
        names = [
            field.name
            for field in fields(Recipe)
            if any(
                getattr(recipe, field.name) != getattr(default, field.name)
                for recipe in recipes.values()
            )
        ]
        rows = [
            [f"``{name}``", *(_entry(recipe, name) for recipe in recipes.values())]
            for name in names
        ]
        return self.written(list_table(["", *(f"``{a}``" for a in recipes)], rows))


def _entry(recipe, name):
    value = getattr(recipe, name)
    return "all" if name == "n_wavelengths" and value is None else str(value)


def _get(record, row, entry):
    if entry in row:  # such as "stars/s"
        return row[entry]
    try:
        if entry.startswith("/"):
            return dig(record, entry[1:].format(**row))
        return dig(row, entry)
    except (KeyError, IndexError):
        return None


def _machines_text(machines):
    """Say of each machine once what it is."""
    return "; ".join(dict.fromkeys(machine_text(machine) for machine in machines))


def setup(app):
    """Make the directives known to Sphinx."""
    app.add_directive("record", Record)
    app.add_directive("pivot", Pivot)
    app.add_directive("recipes", Recipes)
    return {"parallel_read_safe": True}
