"""Pack the computed training grid into the file that `load_sme_grid` reads.

It is here so that the shipped data can be made again, and its error measured.

Run with ``SK_PAYNE_DATA`` set to the folder that holds ``window_training.npz``::

    python benchmarks/build_sme_grid.py

How the flux is packed. Flux times 1024 is rounded to integers. A pivoted QR
decomposition picks the pixels that say most about the others (`N_PIVOTS` of them);
each pixel is then predicted by least squares from pivots, and the pixels that are not
pivots also from the `N_BEFORE` ones before them in wavelength. What remains, small
integers close to white noise, is Huffman-coded.

Alternatives measured with the same rounding, in bits per pixel, stored coefficients
included: second differences 7.9; 32 pixels before, alone, 3.9; 300 pivots alone 4.4;
400 pivots alone 4.0; 300 pivots and 16 pixels before 3.5, and 32 before 3.4. Added to
pivots, a model quadratic in the stellar parameters costs more than it saves. LZMA in
place of Huffman codes makes the residuals 5 % larger, the default of zip 16 %.
"""

import json
import zlib
from pathlib import Path

import numpy as np
from record import data, parser
from scipy.linalg import qr
from timing import Timed

from sk_payne.datasets import load_sme_grid

REPOSITORY = Path(__file__).resolve().parents[1]
DESTINATION = REPOSITORY / "sk_payne" / "datasets" / "data" / "sme_grid.npz"
LIMIT = 4_000_000
SCALE = 1024
SHIFT = 11
N_PIVOTS = 300
N_BEFORE = 32


def pixel_order(centred):
    """Pivots first, most telling first; then the others by wavelength."""
    pivots = qr(centred, mode="r", pivoting=True)[1]
    return np.concatenate([pivots[:N_PIVOTS], np.sort(pivots[N_PIVOTS:])])


def predictors(t):
    """Positions, in pixel order, of the pixels that predict pixel `t`."""
    if t < N_PIVOTS:
        return np.arange(t)
    before = np.arange(max(N_PIVOTS, t - N_BEFORE), t)
    return np.concatenate([np.arange(N_PIVOTS), before])


def predict_pixels(pixels):
    """Integer coefficients of each pixel, and what they leave."""
    gram = pixels @ pixels.T
    residuals = pixels.copy()
    coefficients = [np.empty(0)]
    for t in range(1, len(pixels)):
        columns = predictors(t)
        solution = np.linalg.solve(gram[np.ix_(columns, columns)], gram[columns, t])
        weights = np.rint(solution * 2**SHIFT)
        prediction = (weights @ pixels[columns] + 2 ** (SHIFT - 1)) / 2**SHIFT
        residuals[t] -= np.floor(prediction)
        coefficients.append(weights)
    return coefficients, residuals


def flatten(coefficients):
    """In the order of decoding: pivots, all parts on pivots, parts on neighbours."""
    return np.concatenate(
        [
            *coefficients[:N_PIVOTS],
            *[weights[:N_PIVOTS] for weights in coefficients[N_PIVOTS:]],
            *[weights[N_PIVOTS:] for weights in coefficients[N_PIVOTS:]],
        ]
    )


def fold(values):
    """High and low bytes of 0, -1, 1, -2, 2, ... counted 0, 1, 2, 3, 4, ..."""
    values = values.astype(np.int64)
    if abs(values).max() >= 2**15:
        raise OverflowError("A value to be stored does not fit two bytes.")
    folded = np.where(values >= 0, 2 * values, -2 * values - 1)
    return (folded >> 8).astype(np.uint8), (folded & 255).astype(np.uint8)


def huffman(array):
    """A zlib stream without the search for repeats, which noise does not have."""
    coder = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_HUFFMAN_ONLY)
    return np.frombuffer(coder.compress(array.tobytes()) + coder.flush(), np.uint8)


def pack(source):
    """Arrays to be stored, from the arrays of the computed grid."""
    flux = source["flux"].astype(np.float64)
    counts = np.rint(flux * SCALE)
    error = counts / SCALE - flux
    offset = np.rint(counts.mean(axis=0))
    order = pixel_order(counts - offset)
    coefficients, residuals = predict_pixels((counts - offset)[:, order].T)
    coefficients_high, coefficients_low = fold(flatten(coefficients))
    residuals_high, residuals_low = fold(residuals)
    return {
        "labels": source["labels"].astype(np.float32),
        "label_names": source["label_names"],
        "wavelength": source["wavelength"],
        "quantisation_error": [abs(error).max(), np.sqrt(np.mean(error**2))],
        "layout": np.array([N_PIVOTS, N_BEFORE, SHIFT, SCALE]),
        "order": order.astype(np.int16),
        "offset": offset.astype(np.int16),
        "coefficients_high": coefficients_high,
        "coefficients_low": coefficients_low,
        "residuals_high": residuals_high,
        "residuals_low": huffman(residuals_low),
    }


def check(source):
    """Load what was written, compare, and return the record of the run."""
    with Timed() as took:
        grid = load_sme_grid()
    expected = np.rint(source["flux"].astype(np.float64) * SCALE) / SCALE
    np.testing.assert_array_equal(grid.target, expected)
    size = DESTINATION.stat().st_size
    return {
        "n_spectra": len(grid.target),
        "bytes": size,
        "bits_per_pixel": 8 * size / grid.target.size,
        "flux_error": grid.quantisation_error,
        "teff_error": float(abs(grid.data - source["labels"])[:, 0].max()),
        "other_label_error": float(abs(grid.data - source["labels"])[:, 1:].max()),
        "load_seconds": round(took.wall, 2),
    }


def main():
    parser(__doc__).parse_args()
    with np.load(data("window_training.npz")) as archive:
        source = dict(archive)
    stored = pack(source)
    np.savez_compressed(DESTINATION, **stored)
    print(json.dumps(check(source), indent=2))
    if DESTINATION.stat().st_size > LIMIT:
        raise SystemExit(f"The file is larger than {LIMIT} bytes.")


if __name__ == "__main__":
    main()
