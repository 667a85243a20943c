"""A parameter space and engines that tests share, also with processes of their own.

It is here so that a run that is killed and one that goes on have the same engine.
"""

import os
import signal
from pathlib import Path

import numpy as np

WAVELENGTH = np.linspace(5000.0, 5010.0, 23)


class Space:
    """Two labels and a fixed one."""

    label_names, label_units = ["teff", "Fe_H"], ["K", "dex"]

    def __init__(self, hottest=6000.0, logg=4.5):
        self.hottest = hottest
        self.fixed = {"logg": logg}

    def sample(self, n, random_state):
        uniform = np.random.default_rng(random_state).uniform(size=(n, 2))
        return np.array([4000.0, -1.0]) + uniform * [self.hottest - 4000.0, 1.5]

    def to_dict(self):
        return {"teff": [4000.0, self.hottest], "Fe_H": [-1.0, 0.5], **self.fixed}


def engine(labels, wavelength):
    """Two lines, one of which iron makes and one of which is of gravity."""
    assert set(labels) == {"teff", "Fe_H", "logg"}
    strength = 10 ** labels["Fe_H"] * 5000 / labels["teff"]
    iron = strength * np.exp(-((wavelength - 5003) ** 2))
    other = labels["logg"] / 5 * np.exp(-(((wavelength - 5007) / 2) ** 2))
    return np.exp(-iron - other)


class KillingEngine:
    """Ends its process with SIGKILL when it is called for the last time.

    Calls are counted in a file, so that processes may share the count.
    """

    def __init__(self, path, last):
        self.path, self.last = Path(path), last

    def to_dict(self):
        return "engine"

    def __call__(self, labels, wavelength):
        with open(self.path, "ab", buffering=0) as file:
            file.write(b".")
            if file.tell() == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
        return engine(labels, wavelength)
