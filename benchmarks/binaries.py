"""How often a second star is found, and how often one is found that is not there.

Mock spectra of The Payne's network on the shipped grid, R = 50 000, 4500-4600 Å: single
stars over the inner 90 % of its box, and pairs with the same abundances, temperatures
and gravities of their own, a ratio of their continua between 0.1 and 1, and velocities
that differ by 12 (two resolution elements) to 150 km/s. Spectra of the test split of
the grid, which the emulator did not make, are measured as well.

Writes results/binaries.json.

    python benchmarks/binaries.py [--singles 10000] [--doubles 500]
"""

import numpy as np
from mocks import draw, noisy, observed, spectra_of_grid
from record import Rows, parser, table
from timing import Timed
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import SecondStar
from sk_payne.spectra import GridInterpolator, doppler_factor

RATIO, SEPARATION, FASTEST = (0.1, 1.0), (12.0, 150.0), 100.0
CHUNK = 500


def main():
    options = parser(__doc__)
    options.add_argument("--singles", type=int, default=10_000)
    options.add_argument("--doubles", type=int, default=500)
    arguments = options.parse_args()
    rows = Rows("binaries")
    emulator = trained("payne")
    kinds = [
        ("double, S/N 100", arguments.doubles, 100, doubles),
        ("double, S/N 50", arguments.doubles // 2, 50, doubles),
        ("single, S/N 100", arguments.singles, 100, singles),
        ("single, test spectra, S/N 100", 300, 100, of_grid),
    ]
    for name, n, snr, make in kinds:
        if n:
            rows.add({"stars": name, "snr": snr}, judge, emulator, n, snr, make)
    names = ("stars", "n", "called_double", "fraction", "stars_per_second")
    table([{name: row[name] for name in names} for row in rows])


def judge(emulator, n, snr, make):
    """Measure mock stars with an observation that may hold two of them."""
    observation = Observation(
        velocity_range=(-300, 300),
        resolving_power="emulator",
        emulator_error=make is of_grid,
        second_star=SecondStar(flux_ratio=(0.02, 1.0)),
    )
    regressor = AbundanceRegressor(emulator, observation)
    rng, found, seconds = np.random.default_rng(11), [], 0.0
    truth = []
    for first in range(0, n, CHUNK):
        flux, true = make(emulator, rng, min(CHUNK, n - first))
        spectra = observed(emulator, noisy(flux, snr, rng), snr)
        with Timed() as took:
            found.append(regressor.measure(spectra))
        seconds += took.wall
        truth.append(true)
    is_double = np.concatenate([t["n_stars"].value for t in found]) == 2
    row = {
        "n": n,
        "called_double": int(is_double.sum()),
        "fraction": float(is_double.mean()),
        "stars_per_second": n / seconds,
    }
    if make is not doubles:
        return row
    velocity, error = (
        np.stack(
            [
                np.concatenate([t[f"radial_velocity{end}"].value for t in found])
                for end in ends
            ],
            axis=1,
        )[is_double]
        for ends in (("", "_2"), ("_error", "_2_error"))
    )
    true = np.concatenate(truth)[is_double]
    # near a ratio of one either star may be the first
    swapped = true[:, ::-1]
    other = np.abs(velocity - swapped).sum(1) < np.abs(velocity - true).sum(1)
    pull = (velocity - np.where(other[:, None], swapped, true)) / error
    for i, star in enumerate(("first", "second")):
        row |= {
            f"{star}_pull_std": float(pull[:, i].std()),
            f"{star}_within_1": float((np.abs(pull[:, i]) < 1).mean()),
            f"{star}_beyond_4": float((np.abs(pull[:, i]) > 4).mean()),
        }
    return row


def see(emulator, labels, velocity):
    """Give spectra of the emulator at velocities, on its own wavelengths."""
    wavelength = emulator.wavelength_
    rest = wavelength / doppler_factor(velocity)[:, None]
    return GridInterpolator(wavelength)(emulator.predict(labels), rest)


def singles(emulator, rng, n):
    velocity = rng.uniform(-FASTEST, FASTEST, n)
    return see(emulator, draw(emulator, rng, n, 0.05, 0.95), velocity), velocity


def doubles(emulator, rng, n):
    first, other = (draw(emulator, rng, n, 0.05, 0.95) for _ in range(2))
    second = first.copy()
    for name in ("teff", "logg"):
        i = emulator.label_names_.index(name)
        second[:, i] = other[:, i]
    ratio = rng.uniform(*RATIO, (n, 1))
    one = rng.uniform(-FASTEST, FASTEST, n)
    two = one + rng.choice([-1, 1], n) * rng.uniform(*SEPARATION, n)
    flux = see(emulator, first, one) + ratio * see(emulator, second, two)
    return flux / (1 + ratio), np.stack([one, two], axis=1)


def of_grid(emulator, rng, n):
    return spectra_of_grid(n)[1], np.zeros(n)


if __name__ == "__main__":
    main()
