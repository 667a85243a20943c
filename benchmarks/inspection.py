"""What a transformer has learned: tokens, attention, and elements that heads mark.

The paper's three pictures of a saved transformer, for stars drawn uniformly from its
training box: the response of its tokens to the labels; maps of attention, of all heads
and of the best head of some elements above strips of spectral lines; and how well
every head marks the lines of every element, with a null of shifted lines. Lines are the
strongest of each element whose abundance is a label, in line_list_4000_5000.csv.gz in
the folder that the environment variable SK_PAYNE_DATA names; lines closer than twice
the window count once.

Writes results/inspection.json and pictures beside it (results/inspection_*.png).

    python benchmarks/inspection.py [PATH] [--stars 50] [--lines 12]

PATH is of a file of `emulator.save`; results/transformer.safetensors if left out.
"""

import argparse
import csv
import gzip
import os
from pathlib import Path

import numpy as np
from record import RESULTS, table, write

from sk_payne import load
from sk_payne.inspection import (
    AttentionDisplay,
    HeadElementDisplay,
    TokenResponseDisplay,
    attention_maps,
    head_element_scores,
)
from sk_payne.spectra import convert_medium

HALF_WIDTH = 0.06  # Å: about the half width of lines at a resolving power of 50 000
N_MAPS = 3
LIKELY, RATE = 0.01, 0.05  # of p-values and of false discoveries


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = RESULTS / "transformer.safetensors"
    parser.add_argument("path", nargs="?", type=Path, default=default)
    parser.add_argument("--stars", type=int, default=50)
    parser.add_argument("--lines", type=int, default=12, help="of each element")
    arguments = parser.parse_args()
    emulator = load(arguments.path)
    lines = strongest(read_lines(emulator), arguments.lines)
    rng = np.random.default_rng(0)
    low, high = emulator.label_low_, emulator.label_high_
    P = rng.uniform(low, high, (arguments.stars, len(low)))
    attention = attention_maps(emulator, P)
    scores = head_element_scores(attention, lines, half_width=HALF_WIDTH)
    rows = [
        {name: value.item() for name, value in zip(row.dtype.names, row, strict=True)}
        for row in scores.table
    ]
    table(rows[:20])
    summary = summarise(scores)
    table([summary])
    write(
        "inspection",
        {
            "emulator": arguments.path.name,
            "stars": arguments.stars,
            "half_width": HALF_WIDTH,
            "lines": lines,
            "summary": summary,
            "table": rows,
        },
    )
    draw(emulator, P, attention, scores, lines)


def read_lines(emulator):
    """Strength and wavelength of the lines of every element among the labels."""
    folder = os.environ.get("SK_PAYNE_DATA")
    if not folder:
        raise SystemExit("Set SK_PAYNE_DATA to the folder of the line list.")
    elements = [n.removesuffix("_H") for n in emulator.label_names_ if n[-2:] == "_H"]
    found = {name: [] for name in elements}
    path = Path(folder, "line_list_4000_5000.csv.gz")
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            element = row["species"].split()[0]
            if element in found:
                pair = float(row["almax_extreme"]), float(row["wlcent"])
                found[element].append(pair)
    for pairs in found.values():
        strength, wavelength = np.array(pairs).T
        wavelength = convert_medium(wavelength, "air", emulator.medium_)
        first, last = emulator.wavelength_[[0, -1]]
        inside = (wavelength > first) & (wavelength < last)
        pairs[:] = zip(strength[inside], wavelength[inside], strict=True)
    return found


def strongest(found, n):
    """Wavelengths of the n strongest lines of each element, apart from each other."""
    lines = {}
    for element, pairs in found.items():
        kept = []
        for _, wavelength in sorted(pairs, reverse=True):
            apart = all(abs(wavelength - other) > 2 * HALF_WIDTH for other in kept)
            if apart and len(kept) < n:
                kept.append(float(wavelength))
        if kept:
            lines[element] = sorted(kept)
    return lines


def summarise(scores):
    """Numbers of heads and elements that go together, and how many by chance."""
    found = scores.table[scores.table["q_value"] < RATE]
    specific = found[found["margin"] > 0]
    return {
        "pairs": len(scores.table),
        f"p < {LIKELY}": int((scores.table["p_value"] < LIKELY).sum()),
        "by chance": LIKELY * len(scores.table),
        f"q < {RATE}": len(found),
        "and first of all elements": len(specific),
        "elements": len(scores.elements),
        "with such a head": len(np.unique(specific["element"])),
    }


def draw(emulator, P, attention, scores, lines):
    import matplotlib

    matplotlib.use("agg")

    def save(display, name):
        display.figure_.savefig(RESULTS / f"inspection_{name}.png", dpi=120)

    save(TokenResponseDisplay.from_estimator(emulator, P).plot(), "tokens")
    display = AttentionDisplay(attention)
    save(display.plot_overview(), "overview")
    _, first = np.unique(scores.table["element"], return_index=True)
    for i, row in enumerate(scores.table[np.sort(first)[:N_MAPS]], start=1):
        where = int(row["layer"]), int(row["head"])
        save(display.plot(*where, lines=lines), f"attention_{i}")
    save(HeadElementDisplay(scores).plot(), "heads")
    save(HeadElementDisplay(scores).plot_best(attention, lines, n_best=6), "best")


if __name__ == "__main__":
    main()
