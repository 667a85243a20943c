"""Setup of a training: preprocessing and initial weights, from mock spectra."""

import numpy as np
import torch

from sk_payne.abundances import ForwardModel, Observation
from sk_payne.networks import RANDOM_STATE
from sk_payne.neural_posterior._bins import Bins
from sk_payne.neural_posterior._coordinates import Coordinates
from sk_payne.neural_posterior._network import PosteriorNetwork, import_zuko
from sk_payne.neural_posterior._representation import Representation
from sk_payne.neural_posterior._simulation import Simulation
from sk_payne.spectra import C_KMS, SpectrumSet, velocity_sigma

__all__ = ["RATIOS", "Setup", "first_network", "prepare"]

# Number of model spectra for principal components; half of them are for mean and
# templates.
_N_SPECTRA = 1536

# Largest number of observed stars, evenly spaced among all, whose pixels training
# spectra have.
_N_STARS = 64

# Edges of the bins of rotation velocity in km/s; a template is the mean of one bin.
_WIDTHS = (0.0, 8.0, 25.0, np.inf)

RATIOS = (30.0, 100.0, 300.0)
"""Signal-to-noise ratios of the regressions whose vectors are initial directions."""

# Signal-to-noise ratio of practically noiseless spectra.
_NOISELESS = 1e5

# Smallest standard deviation of a projection.
_SMALLEST = 1e-6

# Widths of instruments in km/s below which they count as zero; full width at half
# maximum of a Gaussian in standard deviations.
_SHARP, _FWHM = 1e-3, 2 * np.sqrt(2 * np.log(2))

# Names of the parameters radial velocity and rotation velocity.
_VELOCITY, _ROTATION = "radial_velocity", "vsini"


class Setup:
    """Model, free parameters and coordinates of a training.

    Parameters
    ----------
    forward : ForwardModel
        Forward model of the spectra.
    stars : ndarray of int
        Rows of the observed stars that have data.
    """

    def __init__(self, forward, stars):
        self.forward, self.stars = forward, stars
        plan, known = forward.plan, forward.plan.constraints
        self.parameters = plan.parameters
        self.is_free = ~known.is_fixed[0]
        self.free = np.flatnonzero(self.is_free)
        self.base = np.where(self.is_free, plan.parameters.start, known.value[0])
        names = [plan.parameters.names[i] for i in self.free]
        self.names = names
        models = [forward.star(row) for row in stars]
        self.width = (
            min(model.width for model in models),
            max(model.width for model in models),
        )
        bins = None
        if plan.emulator.wavelength is not None and models[0].wavelength is not None:
            bins = Bins.of_grid(plan.emulator.wavelength)
        has_velocity = bins is not None and _VELOCITY in names
        self.coordinates = Coordinates(
            plan.parameters.low[self.free],
            plan.parameters.high[self.free],
            known.mean[0, self.free],
            known.error[0, self.free],
            names.index(_VELOCITY) if has_velocity else None,
            bins.step_kms / 3 if bins is not None else 1.0,
        )
        self._reach = max(model.reach for model in models)
        self._bins = bins
        self.with_velocity = has_velocity

    @property
    def n_bins(self):
        """Number of bins of a spectrum."""
        if self._bins is not None:
            return self._bins.n
        return self.forward.plan.emulator.n_pixels

    def represent(self, rng):
        """Create the preprocessing, with mean and templates of new model spectra."""
        plan, values = self.forward.plan, self.coordinates.draw(rng, _N_SPECTRA // 2)
        every = np.tile(self.base, (len(values), 1))
        every[:, self.free] = values
        if self._bins is None:
            flux = self.forward.star(self.stars[0]).flux(every).cpu().double().numpy()
            mean = flux.mean(axis=0)
            return Representation(
                None,
                mean,
                mean[None],
                grid=None,
                velocities=(0.0, 0.0),
                velocity_range=None,
                reach=0.0,
                degree=None,
            )
        flux = self._at_rest(every)
        rotation = np.zeros(len(values))
        if _ROTATION in self.names:
            rotation = values[:, self.names.index(_ROTATION)]
        place = np.searchsorted(_WIDTHS, rotation, side="right")
        templates = [flux[place == i].mean(axis=0) for i in np.unique(place)]
        velocity_range = None
        if self.with_velocity:
            velocity_range = tuple(map(float, plan.observation.velocity_range))
        return Representation(
            self._bins,
            flux.mean(axis=0),
            np.array(templates),
            grid=plan.emulator.wavelength,
            velocities=plan.velocities,
            velocity_range=velocity_range,
            reach=self._reach,
            degree=plan.observation.continuum_degree,
        )

    def simulation(self, representation, snr, seed):
        """Create the simulation of training spectra."""
        return Simulation(
            self.forward,
            self.stars,
            self.coordinates,
            self.free,
            self.base,
            representation,
            snr,
            seed,
        )

    def _at_rest(self, values):
        """Compute model spectra at rest in the bins, at the observed resolution."""
        plan, bins = self.forward.plan, self._bins
        grid, flux = plan.emulator.wavelength, plan.emulator.template_flux.numpy()
        inside = bins.wavelength.clip(grid[0], grid[-1])
        # strictly increasing, also where clipping made wavelengths equal
        inside = np.maximum.accumulate(inside) * (1 + 1e-14 * np.arange(bins.n))
        flux = np.interp(inside, grid, flux.mean(axis=0))[None]
        star = SpectrumSet(
            flux,
            np.full(flux.shape, np.abs(flux).max() ** -2.0),
            wavelength=inside,
            medium=plan.emulator.medium,
        )
        observation = Observation(
            velocity_range=None,
            resolving_power=self._usual_power(),
            vsini=plan.observation.vsini,
            vmac=plan.observation.vmac,
            limb_darkening=plan.observation.limb_darkening,
        )
        at_bins = ForwardModel(plan.emulator.estimator, observation, star)
        columns = plan.parameters.columns(at_bins.parameters.names)
        model = at_bins.star(0)
        return model.flux(values[:, columns]).cpu().double().numpy()

    def _usual_power(self):
        """Return one resolving power that is typical of the observed stars."""
        plan = self.forward.plan
        observation, emulator = plan.observation, plan.emulator
        if observation.fits_power:
            return observation.resolving_power
        width = sum(self.width) / 2
        if width < _SHARP or emulator.resolving_power is None:
            return "emulator"
        own = float(velocity_sigma(np.median(emulator.resolving_power)))
        return C_KMS / (_FWHM * np.hypot(own, width))


def prepare(posterior, spectra):
    """Prepare a training.

    Parameters
    ----------
    posterior : NeuralPosterior
        The estimator.
    spectra : SpectrumSet or None
        Observed stars; None for the grid of the emulator.

    Returns
    -------
    setup : Setup
        Model, free parameters and coordinates of the training.

    Raises
    ------
    ImportError
        If zuko is not installed.
    ValueError
        If no parameter is free, or no star has usable pixels.
    """
    import_zuko()
    forward = ForwardModel(
        posterior.emulator,
        posterior.observation,
        spectra,
        bounds=posterior.bounds,
        fixed=posterior.fixed,
        priors=posterior.priors,
    )
    n = len(forward.plan.spectra)
    rows = np.unique(np.linspace(0, n - 1, min(n, _N_STARS)).round().astype(np.intp))
    stars = np.array([row for row in rows if forward.star(row) is not None])
    if not len(stars):
        raise ValueError(
            "`X` must have a star with good pixels within the range of the emulator at "
            f"every velocity of {forward.plan.observation.velocity_range} km/s; got "
            f"{len(rows)} without. Narrow `velocity_range` of the observation."
        )
    setup = Setup(forward, stars)
    if not len(setup.free):
        raise ValueError(
            "`fixed` must leave a parameter free; got values for all of "
            f"{forward.parameters.names}."
        )
    return setup


def first_network(setup, representation, snr, rng, seed, options):
    """Create a network that starts with principal components and regressions.

    Parameters
    ----------
    setup : Setup
        Setup of the training.
    representation : Representation
        Preprocessing of spectra.
    snr : tuple of float
        Smallest and largest signal-to-noise ratio.
    rng : numpy Generator
        Source of random numbers.
    seed : int
        Seed of the random weights.
    options : dict
        Values of "n_components", "n_hidden", "n_layers" and "n_directions".

    Returns
    -------
    network : PosteriorNetwork
        Network with its initial weights.
    arguments : dict
        Arguments of the network.
    """
    simulation = setup.simulation(representation, snr, int(rng.integers(2**31)))
    clean = simulation.held_out(_N_SPECTRA, snr=_NOISELESS)
    residual = clean.spectra.residual.double()
    coordinates = clean.coordinates.double()
    coordinates = coordinates - coordinates.mean(0)
    kernel = residual @ residual.mT
    _, _, principal = torch.linalg.svd(residual, full_matrices=False)
    principal = principal[: options["n_directions"]]
    vectors = [principal]
    n_used = float((clean.spectra.variance > 0).sum(1).double().mean())
    for ratio in RATIOS:
        ridge = n_used * (representation.unit / ratio) ** 2 / 2
        ridge = ridge + 1e-9 * kernel.trace()
        ridged = kernel.clone()
        ridged.diagonal().add_(ridge)
        vectors.append((residual.mT @ torch.linalg.solve(ridged, coordinates)).mT)
    directions = torch.cat(vectors)
    scale = (residual @ directions.mT).std(0).clamp_min(_SMALLEST)[:, None]
    spectra = torch.zeros_like(directions)
    spectra[: len(principal)] = principal * scale[: len(principal)]
    arguments = {
        "n_bins": representation.n_bins,
        "n_parameters": len(setup.free),
        "n_directions": len(directions),
        "n_components": options["n_components"],
        "n_hidden": options["n_hidden"],
        "n_layers": options["n_layers"],
    }
    # weights are float32 on the CPU, whatever the defaults of torch
    with RANDOM_STATE, torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        network = PosteriorNetwork(**arguments).float()
    network.begin((directions / scale).float(), spectra.float())
    noisy = simulation.held_out(_N_SPECTRA)
    network.regress(noisy.spectra.residual, noisy.spectra.variance, noisy.coordinates)
    return network, arguments
