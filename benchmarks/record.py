"""What every benchmark says of itself: machine, versions, date.

It is here so that no number is ever written without them.
"""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


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


def write(name, record):
    """Write a record to results/NAME.json, and say so."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), **record}, indent=1) + "\n")
    print(f"\nWrote {path}")


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
    """Print dicts as a table."""
    names = list(rows[0])
    cells = [names] + [[_text(row[name]) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    for line in cells:
        print("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)))


def _text(value):
    return f"{value:.4g}" if isinstance(value, float) else str(value)
