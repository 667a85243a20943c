"""Errors of labels measured from synthetic spectra, beside those of the paper.

Measures the test spectra of the shipped grid, which no emulator has seen, with each
architecture: labels only, at rest, with the true continuum. "noise_free" adds no noise
and gives every pixel an error of 1/1000, "snr_100" adds noise and gives its error; both
add the emulator's own error, "equal_weights" is "noise_free" without it. The statistic
is the mean absolute error, as "mean errors" of the paper are understood here, in bins
of the true abundance; beside it stand 1.4826 times the median absolute deviation
(scatter) and the median error claimed.

The paper had 22 315 wavelengths of 4000-5000 Å, up to 100 000 training spectra and
other labels free, so its numbers are not like for like.

Uses the emulators of benchmarks/trained.py. Every 16 stars are a line of
results/raw/inference.jsonl and are not measured again with the same emulator: after an
interruption, the same command goes on. The record, results/inference.json, has all
stars that were measured, so that slow architectures may have fewer of them.

    python benchmarks/inference.py [--arch payne ...] [--cases noise_free snr_100]
        [--stars 300]
"""

import hashlib

import numpy as np
from record import Lines, parser, table, write
from timing import Timed
from trained import path_of, trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.datasets import load_sme_grid
from sk_payne.inspection import RecoveryDisplay
from sk_payne.networks import NETWORKS
from sk_payne.recovery import recovery_statistics

CASES = {
    "noise_free": {"snr": 1000.0, "noise": 0.0, "emulator_error": True},
    "snr_100": {"snr": 100.0, "noise": 0.01, "emulator_error": True},
    "equal_weights": {"snr": 1000.0, "noise": 0.0, "emulator_error": False},
}
BINS = ((-2, -1), (-1, 0), (0, 1))
CHUNK = 16

# Mean errors of Różański, Ting & Jabłońska, "TransformerPayne", arXiv:2407.05751: of
# all stars, or in the bins of the true abundance.
PAPER_ARCHS = ("transformer", "payne", "bigpayne", "convolutional")
PAPER = {
    "teff": "3.7027 43.3008 6.3656 24.3971",
    "logg": "0.0050 0.0632 0.0080 0.0330",
    "C_H": ".4933 .6964 .5955 .7195 .3920 .6510 .4557 .6436 .4629 .7459 .5566 .8036",
    "Na_H": ".0313 .2824 .0493 .1618 .0076 .1678 .0167 .1484 .0070 .0592 .0102 .0324",
    "Mg_H": ".0058 .1444 .0142 .0689 .0052 .0759 .0109 .0300 .0068 .0599 .0081 .0317",
    "Al_H": ".3713 .9599 .5278 .7450 .1884 .9245 .4038 .7979 .0161 .7982 .0332 .7952",
    "Si_H": ".0096 .2231 .0244 .1295 .0089 .1482 .0223 .0922 .0077 .0996 .0133 .0624",
    "K_H": ".2222 .5804 .2996 .5176 .0208 .3401 .0423 .3774 .0230 .4331 .0415 .5008",
    "Ca_H": ".0057 .0829 .0092 .0306 .0054 .0498 .0077 .0204 .0052 .0406 .0064 .0210",
    "Sc_H": ".0105 .1320 .0183 .0549 .0090 .0577 .0103 .0368 .0090 .0504 .0088 .0301",
    "Ti_H": ".0052 .0579 .0073 .0231 .0050 .0466 .0062 .0236 .0053 .0331 .0055 .0176",
    "V_H": ".0064 .1347 .0275 .0766 .0055 .0529 .0069 .0260 .0055 .0359 .0071 .0231",
    "Cr_H": ".0057 .0734 .0098 .0355 .0045 .0425 .0068 .0176 .0051 .0337 .0057 .0181",
    "Mn_H": ".0068 .1227 .0142 .0319 .0053 .0445 .0072 .0211 .0059 .0390 .0074 .0191",
    "Fe_H": ".0042 .0516 .0060 .0192 .0038 .0338 .0050 .0175 .0045 .0333 .0073 .0204",
}


def main():
    arguments = parse()
    grid = load_sme_grid()
    stars = grid.test_indices[: arguments.stars]
    rows = Lines("raw/inference")
    for arch in arguments.arch:
        emulator = trained(arch)
        for case in arguments.cases:
            for job in jobs(arch, case, len(stars)):
                rows.add(job, measure, emulator, grid, stars, job)
    results = [
        summarise(arch, case, chunks, grid)
        for case in CASES
        for arch in NETWORKS
        if (chunks := measured(rows, arch, case, len(grid.test_indices)))
    ]
    write("inference", {"cases": CASES, "results": results})
    for case in CASES:
        show([result for result in results if result["case"] == case])


def parse():
    options = parser(__doc__)
    options.add_argument("--arch", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    options.add_argument(
        "--cases", nargs="+", default=["noise_free", "snr_100"], choices=CASES
    )
    options.add_argument("--stars", type=int, default=300)
    return options.parse_args()


def jobs(arch, case, n_stars):
    """Keys of all chunks of stars."""
    digest = hashlib.sha256(path_of(arch).read_bytes()).hexdigest()[:12]
    for first in range(0, n_stars, CHUNK):
        yield {
            "arch": arch,
            "emulator": digest,
            "case": case,
            "first": first,
            "last": min(first + CHUNK, n_stars),
        }


def measured(rows, arch, case, n_stars):
    """Chunks of stars that were measured, from the first."""
    chunks = []
    if path_of(arch).exists():
        for job in jobs(arch, case, n_stars):
            found = rows.find(job)
            if not found:
                break
            chunks += found
    return chunks


def measure(emulator, grid, stars, job):
    """Labels of a chunk of stars, and the errors claimed for them."""
    case = CASES[job["case"]]
    chunk = slice(job["first"], job["last"])
    true, flux = grid.data[stars], grid.target[stars]
    # of all stars, so that the noise of one does not depend on the chunks
    noise = np.random.default_rng(3).standard_normal(flux.shape)
    flux = flux + case["noise"] * noise
    regressor = AbundanceRegressor(
        emulator,
        Observation(velocity_range=None, emulator_error=case["emulator_error"]),
        snr=case["snr"],
    )
    with Timed() as took:
        found = regressor.measure(flux[chunk])
    display = RecoveryDisplay.from_table(found, true[chunk], emulator.label_names_)
    return {
        "measured": rounded(display.measured, 7),
        "error": rounded(display.error, 3),
        "converged": int(np.sum(found["converged"])),
        "seconds": round(took.wall, 2),
    }


def rounded(values, n_digits):
    return [[float(f"{value:.{n_digits}g}") for value in row] for row in values]


def summarise(arch, case, chunks, grid):
    """Statistics of each label, in bins of the true abundance."""
    true = grid.data[grid.test_indices][: chunks[-1]["last"]]
    measured = np.vstack([chunk["measured"] for chunk in chunks])
    error = np.vstack([chunk["error"] for chunk in chunks])
    rows = []
    for i, label in enumerate(grid.label_names):
        bins = [(-np.inf, np.inf)] if label in ("teff", "logg") else BINS
        for j, (low, high) in enumerate(bins):
            inside = (low <= true[:, i]) & (true[:, i] < high)
            if not inside.any():
                continue
            of_bin = (part[inside, i : i + 1] for part in (true, measured, error))
            found = recovery_statistics(*of_bin)
            rows.append(
                {
                    "label": label,
                    "bin": "all" if len(bins) == 1 else f"{low} to {high}",
                    "n": int(found["n"][0]),
                    "mae": float(np.abs(measured - true)[inside, i].mean()),
                    **{key: float(found[key][0]) for key in ("scatter", "error")},
                    "paper": paper(arch, label, j),
                }
            )
    return {
        "arch": arch,
        "case": case,
        "emulator": chunks[0]["emulator"],
        "n_stars": len(true),
        "converged": sum(chunk["converged"] for chunk in chunks) / len(true),
        "seconds": round(sum(chunk["seconds"] for chunk in chunks), 1),
        "rows": rows,
    }


def paper(arch, label, i):
    """Mean error of the paper in bin i, or None."""
    if arch not in PAPER_ARCHS or label not in PAPER:
        return None
    place = len(PAPER_ARCHS) * i + PAPER_ARCHS.index(arch)
    return float(PAPER[label].split()[place])


def show(results):
    """Print all about a case, then mean errors side by side, for the documents."""
    for result in results:
        print(
            f"\n{result['arch']}, {result['case']}, {result['n_stars']} stars: ", end=""
        )
        print(f"{result['seconds']} s, {result['converged']:.1%} converged")
        table(result["rows"])
    if results:
        print(f"\n.. csv-table:: Mean absolute errors, {results[0]['case']}")
        print("   :header-rows: 1\n")
        for line in zip(*side_by_side(results), strict=True):
            print("   " + ", ".join(line))


def side_by_side(results):
    """Columns of mean errors, ours and the paper's, each below its title."""
    rows = results[0]["rows"]
    columns = [["label", *(row["label"] for row in rows)]]
    columns.append(["[X/H]", *(row["bin"] for row in rows)])
    for result in results:
        for key, title in (("mae", ""), ("paper", " (paper)")):
            values = [row[key] for row in result["rows"]]
            cells = ["" if value is None else f"{value:.4f}" for value in values]
            if any(cells):
                columns.append([result["arch"] + title, *cells])
    return columns


if __name__ == "__main__":
    main()
