"""Training of a posterior, from arguments to calibration."""

from pathlib import Path

import numpy as np

from sk_payne.emulators import check_same, read_state, resolve_device
from sk_payne.neural_posterior._arguments import (
    check_arguments,
    digest_of_emulator,
    identity_of,
    random_seed,
)
from sk_payne.neural_posterior._setup import first_network, prepare
from sk_payne.neural_posterior._trained import TrainedPosterior
from sk_payne.neural_posterior._training import train_network

__all__ = ["run_training"]


def run_training(posterior, spectra, state=None):
    """Train a posterior from the start, or continue an earlier training.

    Parameters
    ----------
    posterior : NeuralPosterior
        The estimator; it is not changed.
    spectra : SpectrumSet or None
        Observed stars.
    state : dict, default=None
        State of an earlier training; if None, that of the checkpoint, if it exists.

    Returns
    -------
    trained : TrainedPosterior
        Trained posterior with its calibration.

    Raises
    ------
    ValueError
        If an argument is invalid, or differs from that of the earlier training.
    """
    snr = check_arguments(posterior)
    device = resolve_device(posterior.device)
    setup = prepare(posterior, spectra)
    emulator = digest_of_emulator(setup.forward.plan.emulator)
    start = _begin(posterior, identity_of(posterior, emulator, spectra), state)
    rng = np.random.default_rng(start["seed"])
    representation = setup.represent(rng)
    options = {
        name: getattr(posterior, name)
        for name in ("n_components", "n_hidden", "n_layers", "n_directions")
    }
    network, options = first_network(
        setup, representation, snr, rng, start["seed"], options
    )
    simulation = setup.simulation(representation, snr, start["seed"])
    held_out = simulation.held_out(posterior.n_held_out)
    recipe = ("max_steps", "batch_size", "lr")
    state = train_network(
        network,
        simulation,
        held_out,
        start,
        options={name: getattr(posterior, name) for name in recipe},
        device=device,
        checkpoint=posterior.checkpoint,
        verbose=posterior.verbose,
    )
    parameters = setup.parameters.some(setup.free)
    fixed = np.flatnonzero(~setup.is_free)
    trained = TrainedPosterior(
        network=network,
        representation=representation,
        coordinates=setup.coordinates,
        names=list(parameters.names),
        units=list(parameters.units),
        n_labels=int((setup.free < setup.parameters.n_labels).sum()),
        known={setup.parameters.names[i]: float(setup.base[i]) for i in fixed},
        emulator=emulator,
        snr=snr,
        width=setup.width,
        options=options,
        history=state["history"],
        n_steps=state["n_steps"],
        state=state,
    )
    return trained.calibrated(held_out)


def _begin(posterior, identity, state):
    """Return identity and seed of a new training, or the state of an earlier one."""
    checkpoint, name = posterior.checkpoint, "the training before"
    if state is None and checkpoint is not None and Path(checkpoint).exists():
        state, name = read_state(checkpoint), f"the training in '{checkpoint}'"
    seed, is_chosen = random_seed(posterior.random_state)
    if state is None:
        return identity | {"seed": seed, "held_out": []}
    check_same(state, identity, seed if is_chosen else None, name)
    return state
