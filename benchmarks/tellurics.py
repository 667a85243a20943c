"""Labels of stars behind telluric lines: fitted with a template, masked, and ignored.

Mock spectra of The Payne's network on the shipped grid at S/N 100, barycentric, with
corrections up to 30 km/s, behind an atmosphere of 40 lines whose optical depth differs
from star to star. A fit with the template, whose velocity is known to 0.5 km/s, is
compared with one where pixels of more than 1 % absorption are masked, and with one that
does not know of the atmosphere.

Writes results/tellurics.json.

    python benchmarks/tellurics.py [--stars 300]
"""

import numpy as np
from mocks import draw, noisy, observed, pulls
from record import parser, table, write
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import Telluric
from sk_payne.spectra import C_KMS, doppler_factor

SNR, N_LINES, WIDTH = 100, 40, 3.0


def main():
    options = parser(__doc__)
    options.add_argument("--stars", type=int, default=300)
    n = options.parse_args().stars
    emulator, rng = trained("payne"), np.random.default_rng(12)
    labels = draw(emulator, rng, n, 0.2, 0.8)
    template = atmosphere(emulator, rng)
    shift, power = rng.uniform(-30, 30, n), rng.uniform(0.5, 2.5, n)
    wavelength = emulator.wavelength_
    rest = wavelength / doppler_factor(shift)[:, None]
    depth = np.interp(rest, template[0], -np.log(template[1]), left=0, right=0)
    transmission = np.exp(-power[:, None] * depth)
    flux = noisy(emulator.predict(labels) * transmission, SNR, rng)

    def measure(*stages, seen=True, **arguments):
        observation = Observation(
            velocity_range=(-50, 50),
            resolving_power="emulator",
            emulator_error=False,
            stages=list(stages),
        )
        regressor = AbundanceRegressor(emulator, observation, **arguments)
        return regressor.measure(observed(emulator, flux, SNR, seen=seen))

    stage = Telluric(*template, medium=emulator.medium_, velocity=(-40, 40))
    known = {"telluric_velocity": (shift + rng.normal(scale=0.5, size=n), 0.5)}
    tables = {
        "template": measure(stage, priors=known),
        "masked": measure(seen=transmission > 0.99),
        "ignored": measure(),
    }
    best = tables["template"]
    rows = [
        {
            "fit": name,
            "n": n,
            "pixels": float(np.median(found["n_pixels"])),
            **judge(emulator, found, labels),
        }
        for name, found in tables.items()
    ]
    for row, found in zip(rows, tables.values(), strict=True):
        row["error_over_template"] = float(
            np.median(
                [
                    np.median(found[f"{x}_error"].value / best[f"{x}_error"].value)
                    for x in emulator.label_names_
                ]
            )
        )
    power_pull = (best["telluric_depth"] - power) / best["telluric_depth_error"]
    table(rows)
    depth_pull_std = float(np.std(power_pull))
    write("tellurics", {"rows": rows, "depth_pull_std": depth_pull_std, "snr": SNR})


def atmosphere(emulator, rng):
    """Give wavelengths and transmission of a template, finer than the spectra."""
    first, last = emulator.wavelength_[[0, -1]]
    wavelength = np.arange(first - 2, last + 2, 0.01)
    centre = rng.uniform(first, last, (N_LINES, 1))
    width = centre * WIDTH / C_KMS
    strength = rng.uniform(0.02, 0.6, (N_LINES, 1))
    depth = (strength * np.exp(-(((wavelength - centre) / width) ** 2) / 2)).sum(0)
    return wavelength, np.exp(-depth)


def judge(emulator, found, labels):
    """Pulls of all labels that the spectrum constrains."""
    pull, constrained = pulls(emulator, found, labels)
    pull = pull[constrained]
    return {
        "pull_std": float(pull.std()),
        "within_1": float((np.abs(pull) < 1).mean()),
        "beyond_4": float((np.abs(pull) > 4).mean()),
        "chi2_per_dof": float(np.median(found["chi2"] / found["dof"])),
    }


if __name__ == "__main__":
    main()
