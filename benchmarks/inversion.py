"""Stars per second against scipy's curve_fit, and whether the answers agree.

The same network, spectra (its own, S/N 100), pixels, bounds and threads for both, in
one run. "labels" fits labels alone, "everything" also rotation, radial velocity and a
continuum of degree 2. Networks are The Payne of 30 labels on 22 315 toy wavelengths,
trained here, and those of 19 labels on the shipped grid of benchmarks/trained.py.

curve_fit (method "trf") gets one star at a time, bounds, errors, and no derivatives,
through a model in plain numpy and scipy: a forward pass, rotation by Fourier transform,
shift by a cubic spline, coefficients of the continuum as parameters. It starts 3 km/s
from the true velocity, which favours it: ours is sought in -500..500 km/s.

The floor is the time for the derivatives of the network alone: those that a star needs
on average, times what one takes in a batch of 32, in the precision of the fit. Parts
are timed, and derivatives counted, in a second run, so that the first is as it is.
"prepare" comes once for any number of stars.

    python benchmarks/inversion.py [--stars 64] [--peer-stars 8] [--wavelengths 22315]
        [--snr 100] [--threads 2]
"""

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import scipy.fft
import torch
from mocks import spectra_of_grid
from numpy.polynomial import chebyshev
from record import parser, table, write
from scipy.interpolate import CubicSpline
from scipy.optimize import curve_fit
from scipy.special import erf, j1
from threadpoolctl import threadpool_limits
from timing import Timed, least_seconds
from trained import trained as emulator_of_grid

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator
from sk_payne.abundances import _search
from sk_payne.abundances._model import GridModel, ObservedModel
from sk_payne.abundances._problem import Problem
from sk_payne.abundances._starts import Starts
from sk_payne.abundances._velocity_scan import VelocityScan
from sk_payne.datasets import make_spectra
from sk_payne.inspection import RecoveryDisplay
from sk_payne.networks import evaluate_with_jacobian
from sk_payne.spectra import C_KMS, GridInterpolator, broaden, doppler_factor

ELEMENTS = "C O Na Mg Al Si K Ca Sc Ti V Cr Mn Fe Co Ni Ba".split()

# km/s: of the stars, around which the peer starts, and at the ends of the grid, where
# pixels are masked for both, since flux there may come from beyond it.
LARGEST_VSINI, FASTEST = 50.0, 100.0
START, AROUND = 3.0, 25.0
MARGIN = 200.0
DEGREE = 2
LIMB_DARKENING = 0.6

# Parts that are timed; derivatives are part of the fit, the others do not overlap.
PARTS = {
    "prepare": [(Starts, "__init__"), (VelocityScan, "__init__")],
    "velocity scan": [(VelocityScan, "__call__")],
    "starts": [(Starts, "parameters"), (_search, "_sorted")],
    "other valleys": [(_search, "other_valleys")],
    "fit": [(Problem, "fit")],
    "derivatives": [(GridModel, "linearize"), (ObservedModel, "linearize")],
}


def main():
    options = parser(__doc__)
    options.add_argument("--stars", type=int, default=64)
    options.add_argument("--peer-stars", type=int, default=8)
    options.add_argument("--wavelengths", type=int, default=22_315)
    options.add_argument("--snr", type=float, default=100.0)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    cases = []
    with threadpool_limits(arguments.threads):
        for name, emulator, labels, everything in problems(arguments):
            stars = Stars.of(emulator, labels, arguments.snr, everything)
            cases.append({"case": name, **compare(emulator, stars, arguments)})
            print(f"{name}: {cases[-1]['ratio']:.1f} times curve_fit", flush=True)
    for rows in (cases, [case["milliseconds"] for case in cases]):
        show(rows, [case["case"] for case in cases])
    write("inversion", {**vars(arguments), "cases": cases})


def show(rows, titles):
    """Print numbers of all cases, a column for each."""
    names = [name for name, value in rows[0].items() if isinstance(value, int | float)]
    print()
    table(
        [
            {"": name} | {t: row[name] for t, row in zip(titles, rows, strict=True)}
            for name in names
        ]
    )


def problems(arguments):
    """Give name, emulator, labels of stars, and whether everything is free."""
    n = arguments.stars
    toy, labels = trained(arguments.wavelengths, n)
    yield "labels, toy payne", toy, labels, False
    yield "everything, toy payne", toy, labels, True
    for arch in ("payne", "bigpayne"):
        emulator = emulator_of_grid(arch)
        labels, _ = spectra_of_grid(n)
        labels = np.clip(labels, emulator.label_low_, emulator.label_high_)
        yield f"everything, {arch}", emulator, labels, True


def trained(n_wavelengths, n_stars):
    """The Payne on toy spectra with 30 labels, and labels of stars to measure.

    Two sets of analytic spectra, of 19 and of 11 labels, from two windows, multiplied.
    """
    span = np.exp(1e-5 * (n_wavelengths - 1))
    parts = []
    for start, n_labels, seed in ((4000.0, 19, 0), (5500.0, 11, 1)):
        names = ("teff", "logg", *(f"{element}_H" for element in ELEMENTS))
        part = make_spectra(
            1000 + n_stars,
            n_wavelengths=n_wavelengths,
            wavelength_range=(start, start * span),
            label_names=names[:n_labels],
            resolving_power=50_000,
            random_state=seed,
        )
        parts.append(part)
    labels = np.hstack([part.data for part in parts])
    flux = parts[0].target * parts[1].target
    emulator = SpectrumEmulator(
        arch="payne",
        wavelength=parts[0].wavelength,
        medium="air",
        max_steps=1500,
        random_state=0,
        verbose=1,
    ).fit(labels[:1000], flux[:1000])
    inside = np.clip(labels[1000:], emulator.label_low_, emulator.label_high_)
    return emulator, inside


@dataclass
class Stars:
    """Spectra that an emulator made, and what they were made of.

    Attributes
    ----------
    names : list of str
        Of what is to be found, continuum apart.
    true : ndarray of shape (n_stars, n_names)
        Its values.
    flux, sigma : ndarray of shape (n_stars, n_pixels)
        Spectra and their errors.
    good : ndarray of shape (n_pixels,), bool
        Pixels to fit.
    """

    names: list
    true: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray
    good: np.ndarray

    @property
    def everything(self):
        """Whether more than labels is to be found."""
        return self.names[-1] == "radial_velocity"

    @classmethod
    def of(cls, emulator, labels, snr, everything):
        """Observe stars of given labels."""
        rng = np.random.default_rng(2)
        grid, names = emulator.wavelength_, list(emulator.label_names_)
        flux, continuum = emulator.predict(labels), np.ones((len(labels), len(grid)))
        good = np.ones(len(grid), dtype=bool)
        if everything:
            vsini = rng.uniform(0, LARGEST_VSINI, len(labels))
            velocity = rng.uniform(-FASTEST, FASTEST, len(labels))
            rest = grid / doppler_factor(velocity)[:, None]
            flux = broaden(flux, grid, vsini=vsini, limb_darkening=LIMB_DARKENING)
            flux = GridInterpolator(grid)(flux, rest)
            tilt = rng.uniform(-0.1, 0.1, (len(labels), DEGREE + 1))
            continuum += chebyshev.chebval(axis_of(grid), tilt.T)
            ends = grid[[0, -1]] * doppler_factor(np.array([MARGIN, -MARGIN]))
            good = (grid > ends[0]) & (grid < ends[1])
            names += ["vsini", "radial_velocity"]
            labels = np.column_stack([labels, vsini, velocity])
        flux = flux + rng.normal(scale=1 / snr, size=flux.shape)
        return cls(names, labels, continuum * flux, continuum / snr, good)


def axis_of(grid):
    """Wavelengths between -1 and 1."""
    return np.interp(grid, grid[[0, -1]], [-1.0, 1.0])


def compare(emulator, stars, arguments):
    """Measure with both, and say how fast and how alike."""
    measure(emulator, stars, slice(2))  # first calls allocate
    with Timed() as took:
        found = measure(emulator, stars)
    seconds = took.wall / len(stars.flux)
    ours = RecoveryDisplay.from_table(found, stars.true, stars.names)
    ms, n_derivatives = parts(emulator, stars)

    n = min(arguments.peer_stars, len(stars.flux))
    with Timed() as took:
        theirs, their_error, their_chi2 = curve_fit_stars(emulator, stars, n)
    their_seconds = took.wall / len(theirs)

    off = np.abs(ours.measured[:n] - theirs) / ours.error[:n]
    pull = np.abs(theirs - stars.true[:n]) / their_error
    behind = their_chi2 - found["chi2"][:n]
    floor = n_derivatives * derivative_seconds(emulator)
    return {
        "n_pixels": int(stars.good.sum()),
        "n_labels": len(emulator.label_names_),
        "n_stars": len(stars.flux),
        "n_peer_stars": len(theirs),
        "converged": float(np.mean(found["converged"])),
        "stars/s": 1 / seconds,
        "peer stars/s": 1 / their_seconds,
        "ratio": their_seconds / seconds,
        "derivatives a star": n_derivatives,
        "floor stars/s": 1 / floor,
        "times floor": seconds / floor,
        "times floor, prepared": (ms["all"] - ms["prepare"]) / 1e3 / floor,
        "median |pull|": float(np.nanmedian(np.abs(ours.pulls))),
        "peer median |pull|": float(np.nanmedian(pull)),
        "median difference, sigma": float(np.median(off)),
        "largest difference, sigma": float(off.max()),
        "error ratio": float(np.median(ours.error[:n] / their_error)),
        "peer's chi2 lower by 1": int((behind < -1).sum()),
        "peer's chi2 higher by 1": int((behind > 1).sum()),
        "largest, chi2 alike": float(off[np.abs(behind) <= 1].max(initial=0)),
        "milliseconds": ms,
    }


def measure(emulator, stars, rows=slice(None)):
    """Fit with sk_payne."""
    free = {"velocity_range": None}
    if stars.everything:
        free = {
            "vsini": (0.0, LARGEST_VSINI),
            "limb_darkening": LIMB_DARKENING,
            "continuum_degree": DEGREE,
        }
    regressor = AbundanceRegressor(emulator, Observation(emulator_error=False, **free))
    mask = np.broadcast_to(~stars.good, stars.flux.shape)
    return regressor.measure(
        stars.flux[rows], uncertainty=stars.sigma[rows], mask=mask[rows]
    )


def parts(emulator, stars):
    """Milliseconds a star of every part of our fit, and derivatives a star."""
    seconds, evaluations = Counter(), Counter()

    def timed(function, part):
        def wrapper(*args, **kwargs):
            start = time.perf_counter()
            result = function(*args, **kwargs)
            seconds[part] += time.perf_counter() - start
            if part == "derivatives":
                evaluations[part] += len(result[0])
            return result

        return wrapper

    with ExitStack() as stack:
        for part, functions in PARTS.items():
            for owner, name in functions:
                wrapper = timed(getattr(owner, name), part)
                stack.enter_context(patch.object(owner, name, wrapper))
        with Timed() as took:
            measure(emulator, stars)
    seconds["all"] = took.wall
    n = len(stars.flux)
    ms = {part: 1e3 * seconds[part] / n for part in (*PARTS, "all")}
    return ms, evaluations["derivatives"] / n


def derivative_seconds(emulator):
    """Time of one star's flux and derivatives of the network alone, best of ten."""
    network = emulator.to_torch().network
    labels = 2 * torch.rand(32, len(emulator.label_names_)) - 1
    seconds = least_seconds(lambda: evaluate_with_jacobian(network, labels), 10)
    return seconds / len(labels)


def curve_fit_stars(emulator, stars, n):
    """Fit the first n stars one by one with scipy; values, errors and chi2."""
    low, high = emulator.label_low_, emulator.label_high_
    network = numpy_network(emulator)
    if stars.everything:
        model = numpy_star(network, emulator.wavelength_, stars.good)
    else:
        model = network
    found = []
    for star in range(n):
        flux, sigma = stars.flux[star, stars.good], stars.sigma[star, stars.good]
        start, bounds = peer_start(model, emulator, stars, star)
        best, covariance = curve_fit(
            model,
            emulator.wavelength_[stars.good],
            flux,
            p0=start,
            sigma=sigma,
            absolute_sigma=True,
            bounds=bounds,
            method="trf",
        )
        error = np.sqrt(np.diag(covariance))
        chi2 = np.sum(((flux - model(None, *best)) / sigma) ** 2)
        found.append((best, error, chi2))
    best, error, chi2 = (np.array(part) for part in zip(*found, strict=True))
    best, error = best[:, : len(stars.names)], error[:, : len(stars.names)]
    center, half = (low + high) / 2, (high - low) / 2
    best[:, : len(low)] = center + half * best[:, : len(low)]
    error[:, : len(low)] *= half
    return best, error, chi2


def peer_start(model, emulator, stars, star):
    """Where curve_fit starts, in the middle of the box, and bounds."""
    start = np.zeros(len(emulator.label_low_))
    low, high = start - 1, start + 1
    if not stars.everything:
        return start, (low, high)
    velocity = stars.true[star, -1] + START * (-1) ** star
    start = np.append(start, [LARGEST_VSINI / 2, velocity])
    x = axis_of(emulator.wavelength_)[stars.good]
    ratio = stars.flux[star, stars.good] / model(None, *start, 1, 0, 0)
    level = chebyshev.chebfit(x, ratio, DEGREE)
    free = np.full(len(level), np.inf)
    low = np.concatenate([low, [0, velocity - AROUND], -free])
    high = np.concatenate([high, [LARGEST_VSINI, velocity + AROUND], free])
    return np.append(start, level), (low, high)


def numpy_network(emulator):
    """Flux of scaled labels."""
    layers = emulator.to_torch().network.layers
    linear = [layer for layer in layers if hasattr(layer, "weight")]
    weights = [(w.weight.double().numpy(), w.bias.double().numpy()) for w in linear]
    scaling = emulator.trained_.scaling
    offset, scale = scaling.flux_offset, scaling.flux_scale

    def model(_, *scaled):
        hidden = np.array(scaled)
        for matrix, bias in weights[:-1]:
            hidden = matrix @ hidden + bias
            hidden = 0.5 * hidden * (1 + erf(hidden / np.sqrt(2)))
        return offset + scale * (weights[-1][0] @ hidden + weights[-1][1])

    return model


def numpy_star(network, grid, good):
    """Flux at the pixels `good` of labels, rotation, velocity and continuum."""
    n_fft = scipy.fft.next_fast_len(len(grid), real=True)
    step = C_KMS * np.log(grid[1] / grid[0])
    k = 2 * np.pi * scipy.fft.rfftfreq(n_fft, step)
    x = axis_of(grid)[good]

    def model(_, *parameters):
        *labels, vsini, velocity = parameters[: -DEGREE - 1]
        depth = scipy.fft.rfft(1 - network(_, *labels), n_fft)
        depth = scipy.fft.irfft(depth * rotation(k * vsini), n_fft)[: len(grid)]
        depth = CubicSpline(grid, depth)(grid[good] / doppler_factor(velocity))
        return (1 - depth) * chebyshev.chebval(x, parameters[-DEGREE - 1 :])

    return model


def rotation(s):
    """Transform of the profile of rotation (Gray, Photospheres, chapter 18)."""
    s = np.maximum(s, 1e-3)
    disk = 2 * j1(s) / s
    limb = 3 * (np.sin(s) / s - np.cos(s)) / s**2
    # parts of the light of a disk with linear limb darkening
    of_limb = LIMB_DARKENING * (2 / 3) / (1 - LIMB_DARKENING / 3)
    return (1 - of_limb) * disk + of_limb * limb


if __name__ == "__main__":
    main()
