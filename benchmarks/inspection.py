"""What a transformer has learned: tokens, attention, and elements that heads mark.

The paper's three pictures of a saved transformer, for stars drawn uniformly from its
training box: the response of its tokens to the labels; maps of attention, of all heads
and of the best heads of some elements above a strip of spectral lines; and how well
every head marks the lines of every element, with a null of shifted lines, where the
peaks of the best heads are, and whether their tokens are those that respond most to the
abundance of the element. Lines are the strongest of each element whose abundance is
a label, in line_list_4000_5000.csv.gz in the folder that the environment variable
SK_PAYNE_DATA names; lines closer than twice the window count once. What inspection
computes is checked: sums of attention, flux, derivatives against finite differences,
Cramér-Rao errors against those of fits.

Writes results/inspection.json and pictures beside it (results/inspection_*.png).

    python benchmarks/inspection.py [PATH] [--stars 50] [--lines 12]
                                    [--pictures docs/images]

PATH is of a file of `emulator.save`; the transformer of benchmarks/trained.py if left
out.
"""

import csv
import gzip
from pathlib import Path

import numpy as np
from record import RESULTS, data, parser, picture, table, write
from trained import path_of

from sk_payne import AbundanceRegressor, Observation, load
from sk_payne.inspection import (
    AttentionDisplay,
    HeadElementDisplay,
    TokenResponseDisplay,
    attention_maps,
    cramer_rao,
    head_element_scores,
    sensitivity,
    token_response,
)
from sk_payne.spectra import convert_medium

HALF_WIDTH = 0.06  # Å: about the half width of lines at a resolving power of 50 000
N_MAPS = 3
N_CHECKED, SNR = 8, 100.0
LIKELY, RATE = 0.01, 0.05  # of p-values and of false discoveries
PEAK, N_MANY = 3.0, 40  # σ above the mean attention, and lines that it is compared with


def main():
    options = parser(__doc__)
    default = path_of("transformer")
    options.add_argument("path", nargs="?", type=Path, default=default)
    options.add_argument("--stars", type=int, default=50)
    options.add_argument("--lines", type=int, default=12, help="of each element")
    options.add_argument("--pictures", type=Path, default=RESULTS, help="folder")
    arguments = options.parse_args()
    emulator = load(arguments.path)
    found = read_lines(emulator)
    lines = strongest(found, arguments.lines)
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
    response = token_response(emulator, P)
    best = describe_best(attention, scores, response, strongest(found, N_MANY))
    table(best)
    checks = check(emulator, P, attention)
    table([checks])
    write(
        "inspection",
        {
            "emulator": arguments.path.name,
            "stars": arguments.stars,
            "half_width": HALF_WIDTH,
            "lines": lines,
            "summary": summary,
            "best": best,
            "checks": checks,
            "table": rows,
        },
    )
    draw(attention, scores, response, lines, arguments.pictures)


def read_lines(emulator):
    """Strength and wavelength of the lines of every element among the labels."""
    elements = [n.removesuffix("_H") for n in emulator.label_names_ if n[-2:] == "_H"]
    found = {name: [] for name in elements}
    with gzip.open(data("line_list_4000_5000.csv.gz"), "rt") as file:
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


def best_heads(scores):
    """Rows of the best head of every element."""
    _, first = np.unique(scores.table["element"], return_index=True)
    return scores.table[np.sort(first)]


def describe_best(attention, scores, response, lines):
    """How many peaks of the best head of every element are at lines of it.

    And the rank of its token, among all tokens, in response to the abundance.
    """
    rows = []
    for best in best_heads(scores):
        weights = attention.attention[best["layer"], best["head"], best["token"]]
        middle = weights[1:-1]
        high = middle > weights.mean() + PEAK * weights.std()
        peak = high & (middle > weights[:-2]) & (middle >= weights[2:])
        distance = np.abs(attention.wavelength[1:-1, None] - lines[best["element"]])
        near = (distance <= HALF_WIDTH).any(axis=1)
        column = response.label_names.index(f"{best['element']}_H")
        mine = response.response[:, column]
        rows.append(
            {
                "element": str(best["element"]),
                "lines": len(lines[best["element"]]),
                "peaks": int(peak.sum()),
                "at a line": int((peak & near).sum()),
                "by chance": float(peak.sum() * near.mean()),
                "rank of the token": int((mine >= mine[best["token"]]).sum()),
            }
        )
    return rows


def check(emulator, P, attention):
    """Largest errors of what inspection computes, against other ways to it."""
    some = P[:N_CHECKED]
    found = sensitivity(emulator, some).derivative
    off = []
    for i, width in enumerate(emulator.label_high_ - emulator.label_low_):
        step = np.where(np.arange(some.shape[1]) == i, 1e-4 * width, 0.0)
        change = emulator.predict(some + step) - emulator.predict(some - step)
        difference = change / (2 * step[i]) - found[:, i]
        off.append(np.abs(difference).max() / np.abs(found[:, i]).max())
    regressor = AbundanceRegressor(
        emulator, Observation(velocity_range=None, emulator_error=False), snr=SNR
    )
    flux = emulator.predict(some)
    labels, std = regressor.predict(flux, return_std=True)
    bound = cramer_rao(emulator, some, SNR).error
    # labels that hardly show may run to an edge of the box, where errors differ
    fitted = np.abs(labels - some) < 0.1 * bound
    return {
        "sum of attention": float(np.abs(attention.attention.sum(axis=2) - 1).max()),
        "flux": float(np.abs(attention.flux - emulator.predict(P)).max()),
        "derivatives, relative": float(max(off)),
        "Cramér-Rao, relative": float(np.abs(bound / std - 1)[fitted].max()),
        "of fits": int(fitted.all(axis=1).sum()),
    }


def draw(attention, scores, response, lines, folder):
    def save(display, name):
        picture(display.figure_, folder / f"inspection_{name}.png")

    save(TokenResponseDisplay(response).plot(), "tokens")
    display = AttentionDisplay(attention)
    save(display.plot_overview(), "overview")
    best = best_heads(scores)
    _, first = np.unique(best[["layer", "head"]], return_index=True)
    chosen = best[np.sort(first)[:N_MAPS]]
    save(display.plot(chosen["layer"], chosen["head"], lines=lines), "attention")
    save(HeadElementDisplay(scores).plot(), "heads")
    save(HeadElementDisplay(scores).plot_best(attention, lines, n_best=5), "best")


if __name__ == "__main__":
    main()
