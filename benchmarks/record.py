"""What every benchmark needs: its arguments, its data, and its record.

A record is results/NAME.json, which names machine, versions and date, so that no number
is ever written without them. The folder is another one if the environment variable
SK_PAYNE_RESULTS names it.
"""

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

RESULTS = Path(os.environ.get("SK_PAYNE_RESULTS", Path(__file__).parent / "results"))

# figures are files, and need no screen
os.environ.setdefault("MPLBACKEND", "agg")


def parser(description):
    """Give a parser of arguments that shows the first line of a docstring."""
    return argparse.ArgumentParser(description=description.splitlines()[0])


def data(name):
    """Path of a file in the folder that SK_PAYNE_DATA names."""
    folder = os.environ.get("SK_PAYNE_DATA")
    if not folder:
        raise SystemExit(f"Set SK_PAYNE_DATA to the folder of {name}.")
    return Path(folder, name)


def machine():
    """Describe the machine and the libraries."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":")[1].strip() for line in lines if "model name" in line]
        model = names[0] if names else model
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": model,
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else "",
        "python": platform.python_version(),
        **{
            name: version(name)
            for name in ("torch", "numpy", "scikit-learn", "skorch", "sk_payne")
        },
    }


def read(name):
    """Read results/NAME.json; an empty dict if there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write(name, record):
    """Write a record to results/NAME.json, and say so."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_json({"machine": machine(), **record}) + "\n")
    print(f"\nWrote {path}")


def update(name, **entries):
    """Replace some entries of results/NAME.json, and the machine."""
    write(name, read(name) | {"machine": machine()} | entries)


def as_json(value, indent=""):
    """Write a value as JSON, innermost lists and dicts on one line each."""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not any(map(is_nested, inner)):
        return json.dumps(value)
    deeper = f"{indent} "
    if isinstance(value, dict):
        ends = "{}"
        parts = [f"{json.dumps(k)}: {as_json(v, deeper)}" for k, v in value.items()]
    else:
        ends, parts = "[]", [as_json(v, deeper) for v in value]
    lines = f",\n{deeper}".join(parts)
    return f"{ends[0]}\n{deeper}{lines}\n{indent}{ends[1]}"


class Rows(list):
    """Rows of a record, which is written after each new one.

    Rows that are in the record are not measured again: after an interruption, the same
    command goes on. Facts are further entries of the record.
    """

    def __init__(self, name, entry="rows", **facts):
        super().__init__(read(name).get(entry, []))
        self.name, self.entry, self.facts = name, entry, facts

    def find(self, key):
        """Rows that have all entries of a dict."""
        return [row for row in self if key.items() <= row.items()]

    def add(self, key, measure, *given, **options):
        """Add a key and what a function measures, unless the key is there."""
        if self.find(key):
            return
        self.append(key | measure(*given, **options))
        self.save()
        print(plain(self[-1]), flush=True)

    def drop(self, key):
        """Leave out rows that have all entries of a dict."""
        self[:] = [row for row in self if not key.items() <= row.items()]

    def save(self):
        """Write all rows."""
        update(self.name, **self.facts, **{self.entry: self})


class Lines(Rows):
    """Rows of results/NAME.jsonl, a line each, which names its machine."""

    def __init__(self, name):
        self.path = RESULTS / f"{name}.jsonl"
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        list.__init__(self, map(json.loads, lines))

    def save(self):
        """Append the last row."""
        about = machine()
        self[-1] |= {
            key: about[key] for key in ("date", "cpu", "torch_threads", "torch")
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(self[-1]) + "\n")


def picture(figure, path):
    """Save a figure with few colours, which makes a small file, and say so."""
    from PIL import Image

    figure.savefig(path, dpi=100)
    image = Image.open(path).convert("RGB")
    # this method keeps colours that few pixels have
    few = image.quantize(200, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    print(f"Wrote {path}")


def table(rows):
    """Print dicts as a table, without their entries that are lists or dicts."""
    rows = [plain(row) for row in rows]
    if not rows:
        return
    names = list(rows[0])
    cells = [names] + [[_text(row[name]) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    for line in cells:
        print("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)))


def plain(row):
    """Entries of a dict that are neither lists nor dicts."""
    return {name: value for name, value in row.items() if not is_nested(value)}


def is_nested(value):
    return isinstance(value, dict | list)


def _text(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)
