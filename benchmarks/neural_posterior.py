"""Neural posteriors: cost of training, and what fits gain that start from them.

The Payne of benchmarks/trained.py on the shipped grid: 19 labels, velocity within 100
km/s, rotation up to 50 km/s, a continuum of degree 2. The posterior is trained once and
kept as results/neural_posterior.safetensors, with its time in a record of its own.

Mock stars are drawn by the emulator over the whole prior at S/N 50, 100 and 300, and
fitted from the velocity scan and from the posterior, with errors of the emulator left
out. Derivatives are counted, per star. A star is in a wrong valley if its chi2 is more
than 16 above that of the true spectrum. "n_effective" is the median number of
independent samples, of 192, of the first stars (importance sampling). Spectra are
spoilt in three ways, to see which are flagged as novel: flux of the red half raised by
3 %, a line of 10 % depth that no star has, and spectra smeared to half of the resolving
power. The network alone is timed on 2198 pixels.

Writes results/neural_posterior.json.

    python benchmarks/neural_posterior.py [--steps 2500] [--stars 100] [--threads 2]
"""

import warnings

import numpy as np
import torch
from record import RESULTS, parser, read, table, write
from scipy import stats
from timing import Timed
from trained import trained

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import FLAGS, ForwardModel
from sk_payne.abundances._model import ObservedModel
from sk_payne.exceptions import ExtrapolationWarning
from sk_payne.neural_posterior import NeuralPosterior, load_posterior
from sk_payne.spectra import SpectrumSet, broaden, doppler_factor

warnings.simplefilter("ignore", ExtrapolationWarning)

OBSERVATION = Observation(
    velocity_range=(-100.0, 100.0),
    vsini=(0.0, 50.0),
    resolving_power="emulator",
    continuum_degree=2,
    emulator_error=False,
)
MARGIN, TILT, WRONG, SAME = 200.0, 0.1, 16.0, 0.1
N_SAMPLED = 10


def main():
    options = parser(__doc__)
    options.add_argument("--steps", type=int, default=2500)
    options.add_argument("--stars", type=int, default=100, help="of each S/N")
    options.add_argument("--spectra", type=int, default=4096, help="that are timed")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    emulator = trained("payne")
    posterior = trained_posterior(emulator, arguments.steps)
    calibration = posterior.calibration_
    ranks = [stats.kstest(p, "uniform").pvalue for p in calibration.probability.T]
    record = {
        "training": read("neural_posterior_training"),
        "log_density": calibration.log_density,
        "coverage_68": calibration.coverage(0.68).tolist(),
        "uniform_ranks": int((np.array(ranks) > 0.01).sum()),
        "alone": time_alone(emulator, posterior, arguments.spectra),
        "rows": [],
    }
    for snr in (50.0, 100.0, 300.0):
        stars = Stars(emulator, arguments.stars, snr)
        record["rows"].append({"snr": snr, **compare(emulator, posterior, stars)})
        print(record["rows"][-1], flush=True)
        write("neural_posterior", record)
    table(record["rows"])


def trained_posterior(emulator, max_steps):
    """Give the posterior; train it if it is not kept."""
    path = RESULTS / "neural_posterior.safetensors"
    if path.exists():
        return load_posterior(path, emulator, OBSERVATION)
    posterior = NeuralPosterior(
        emulator,
        OBSERVATION,
        max_steps=max_steps,
        checkpoint=RESULTS / "neural_posterior.state",
        random_state=0,
        verbose=1,
    )
    with Timed() as took:
        posterior.fit()
    posterior.save(path)
    about = {
        "steps": posterior.n_steps_,
        "batch_size": posterior.batch_size,
        "seconds": took.wall,
        "cpu_seconds": took.cpu,
        "history": posterior.history_[:: max(1, len(posterior.history_) // 20)],
    }
    write("neural_posterior_training", about)
    return posterior


class Stars:
    """Mock stars, as a fit sees them."""

    def __init__(self, emulator, n, snr):
        rng = np.random.default_rng(7)
        self.model = ForwardModel(emulator, OBSERVATION)
        parameters = self.model.parameters
        self.true = rng.uniform(parameters.low, parameters.high, (n, len(parameters)))
        self.flux = self.model.star(0).flux(self.true).double().numpy()
        self.noise = rng.standard_normal(self.flux.shape)
        grid = emulator.wavelength_
        ends = grid[[0, -1]] * doppler_factor(np.array([MARGIN, -MARGIN]))
        self.good = (grid > ends[0]) & (grid < ends[1])
        x = np.linspace(-1, 1, len(grid))
        tilt = rng.uniform(-TILT, TILT, (n, 3))
        self.continuum = 1 + tilt @ np.polynomial.chebyshev.chebvander(x, 2).T
        self.emulator, self.snr = emulator, snr

    @property
    def chi2(self):
        """Chi2 at the truth."""
        return (self.noise[:, self.good] ** 2).sum(axis=1)

    def spectra(self, flux=None):
        """Spectra of the stars, or of changed flux."""
        flux = self.flux if flux is None else flux
        ivar = np.where(self.good, (self.snr / self.continuum) ** 2, 0.0)
        return SpectrumSet(
            self.continuum * (flux + self.noise / self.snr),
            ivar,
            wavelength=self.emulator.wavelength_,
            medium=self.emulator.medium_,
        )

    def spoilt(self):
        """Give names and spectra of stars that are not what they seem."""
        grid = self.emulator.wavelength_
        step = np.where(grid > grid.mean(), 1.03, 1.0)
        line = 1 - 0.1 * np.exp(-(((grid - 4555.0) / 0.05) ** 2) / 2)
        power = self.emulator.resolving_power_
        smeared = broaden(self.flux, grid, resolving_power=power / 2, already=power)
        return {
            "gain": self.spectra(self.flux * step),
            "line": self.spectra(self.flux * line),
            "smeared": self.spectra(smeared),
        }


class Counted:
    """Counts derivatives, of all stars together."""

    def __enter__(self):
        self.n, self.linearize = 0, ObservedModel.linearize

        def counted(model, rows, variables):
            self.n += len(rows)
            return self.linearize(model, rows, variables)

        ObservedModel.linearize = counted
        return self

    def __exit__(self, *error):
        ObservedModel.linearize = self.linearize


def compare(emulator, posterior, stars):
    """Fit stars without and with the posterior."""
    found, spectra, n = {}, stars.spectra(), len(stars.true)
    tables = []
    for name, start in (("scan", None), ("posterior", posterior)):
        regressor = AbundanceRegressor(emulator, OBSERVATION, start=start)
        regressor.measure(spectra[:1])  # what is prepared once
        with Counted() as counted, Timed() as took:
            tables.append(regressor.measure(spectra))
        some = spectra[:N_SAMPLED]
        sampled = regressor.posterior(
            some, sampler="importance", n_draws=192, random_state=0
        )
        found |= {
            f"evaluations, {name}": counted.n / n,
            f"stars/s, {name}": n / took.wall,
            f"CPU ms, {name}": 1e3 * took.cpu / n,
            f"wrong, {name}": int((tables[-1]["chi2"] > stars.chi2 + WRONG).sum()),
            f"n_effective, {name}": float(np.median(sampled.n_effective)),
        }
    before, after = (np.asarray(one["chi2"]) for one in tables)
    novel = FLAGS["NOVEL_SPECTRUM"][0]
    found |= {
        "n": n,
        "same or lower": float((after < before + SAME).mean()),
        "lower": float((after < before - SAME).mean()),
        "disagree": float(
            (tables[1]["flags"] & FLAGS["POSTERIOR_DISAGREES"][0] > 0).mean()
        ),
        "novel": float((tables[1]["flags"] & novel > 0).mean()),
    }
    for name, spoilt in stars.spoilt().items():
        score = posterior.novelty(spoilt)
        found[f"novel, {name}"] = float((score > posterior.novelty_threshold_).mean())
    found |= spread(posterior, stars, tables[0])
    return found


def spread(posterior, stars, fits):
    """Width of the posterior in errors of the fit, and error of its median."""
    samples = posterior.sample(stars.spectra(), 500, random_state=0)
    names = posterior.parameter_names_
    error = np.column_stack([np.asarray(fits[f"{name}_error"]) for name in names])
    off = np.median(samples, axis=1) - stars.true
    return {
        "width": float(np.median(samples.std(axis=1) / error)),
        "pull": float(np.std(off / samples.std(axis=1))),
    }


def time_alone(emulator, posterior, n):
    """Stars a second of the network."""
    stars = Stars(emulator, min(n, 256), 100.0)
    few = stars.spectra()
    many = few[np.resize(np.arange(len(few)), n)]
    posterior.predict(few)
    with Timed() as took:
        posterior.predict(many)
    return {"stars/s": n / took.wall, "CPU ms": 1e3 * took.cpu / n}


if __name__ == "__main__":
    main()
