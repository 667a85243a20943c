"""Files of trained posteriors: tensors and JSON, read without executing code."""

import numpy as np
import torch

from sk_payne._persistence import read_file, write_file
from sk_payne.exceptions import FileFormatError
from sk_payne.neural_posterior._bins import Bins
from sk_payne.neural_posterior._coordinates import Coordinates
from sk_payne.neural_posterior._network import PosteriorNetwork
from sk_payne.neural_posterior._novelty import Novelty
from sk_payne.neural_posterior._representation import Representation
from sk_payne.neural_posterior._trained import Calibration, TrainedPosterior

__all__ = ["KEPT", "read_posterior", "save_posterior"]

KEPT = ("n_directions", "n_hidden", "n_layers", "n_components", "max_steps")
KEPT += ("batch_size", "lr", "n_held_out")
"""Names of the arguments that a file stores unchanged."""

_KIND = "NeuralPosterior"

# Attributes stored as JSON (_OWN, _REPRESENTATION) or as tensors, by part of the
# posterior.
_OWN = ("names", "units", "n_labels", "known", "emulator", "snr", "width", "options")
_OWN += ("history", "n_steps")
_REPRESENTATION = ("velocities", "velocity_range", "reach", "degree")
_COORDINATES = ("low", "high", "mean", "error")
_NOVELTY = ("mean", "whitening", "usual", "log_snr", "middle", "spread")


def save_posterior(trained, path, arguments):
    """Write a trained posterior.

    Parameters
    ----------
    trained : TrainedPosterior
        The posterior.
    path : str or path-like
        Name of the file; an existing file is replaced.
    arguments : dict
        Arguments of the estimator, as values that JSON can represent.

    Raises
    ------
    FileNotFoundError
        If the folder of `path` does not exist.
    """
    representation, coordinates = trained.representation, trained.coordinates
    tensors = {
        f"network.{name}": value.numpy()
        for name, value in trained.network.state_dict().items()
    }
    for name in _COORDINATES:
        tensors[f"coordinates.{name}"] = getattr(coordinates, name)
    for name in ("mean", "templates", "grid"):
        if getattr(representation, name) is not None:
            tensors[f"representation.{name}"] = getattr(representation, name)
    for name in _NOVELTY:
        tensors[f"novelty.{name}"] = getattr(trained.novelty, name)
    for name in ("probability", "snr"):
        tensors[f"calibration.{name}"] = getattr(trained.calibration, name)
    bins = representation.bins
    header = {
        "kind": _KIND,
        "arguments": arguments,
        "trained": {name: getattr(trained, name) for name in _OWN},
        "representation": {n: getattr(representation, n) for n in _REPRESENTATION},
        "bins": None if bins is None else [bins.first, bins.step, bins.n],
        "velocity": [coordinates.velocity, coordinates.scale],
        "novelty": trained.novelty.threshold,
        "calibration": [
            trained.calibration.log_density,
            trained.calibration.distance,
        ],
    }
    write_file(path, tensors, header)


def read_posterior(path):
    """Read a posterior that :func:`save_posterior` wrote.

    Parameters
    ----------
    path : str or path-like
        Name of the file.

    Returns
    -------
    trained : TrainedPosterior
        The posterior.
    arguments : dict
        Arguments of the estimator.

    Raises
    ------
    FileNotFoundError
        If the file does not exist.
    FileFormatError
        If the file is damaged, of another kind or of a newer format.
    """
    tensors, header = read_file(path)
    if header.get("kind") != _KIND:
        raise FileFormatError(
            f"'{path}' holds a {header.get('kind')!r}, not a {_KIND!r}. Read an "
            "emulator with sk_payne.load."
        )
    try:
        return _decode(tensors, header), header["arguments"]
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"'{path}' describes a posterior that cannot be built here: {error}. Save "
            "it again with this version."
        ) from error


def _decode(tensors, header):
    def part(name):
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value
            for key, value in tensors.items()
            if key.startswith(prefix)
        }

    settings = header["representation"]
    for name in ("velocities", "velocity_range"):
        ends = settings[name]
        settings[name] = None if ends is None else tuple(ends)
    arrays = {"grid": None} | part("representation")
    bins = None if header["bins"] is None else Bins(*header["bins"])
    own = header["trained"]
    for name in ("snr", "width"):
        own[name] = tuple(own[name])
    network = PosteriorNetwork(**own["options"])
    network.load_state_dict(
        {name: torch.from_numpy(np.array(v)) for name, v in part("network").items()}
    )
    log_density, distance = header["calibration"]
    return TrainedPosterior(
        network=network.requires_grad_(False).eval(),
        representation=Representation(bins, **arrays, **settings),
        coordinates=Coordinates(**part("coordinates"), **_velocity(header)),
        calibration=Calibration(
            log_density=log_density, distance=distance, **part("calibration")
        ),
        novelty=Novelty(**part("novelty"), threshold=header["novelty"]),
        **own,
    )


def _velocity(header):
    column, scale = header["velocity"]
    return {"velocity": column, "scale": scale}
