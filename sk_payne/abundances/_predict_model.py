"""Flux of any fitted regressor, with numerical derivatives."""

import numpy as np
import torch

__all__ = ["PredictModel"]

# Step of numerical derivatives in units of half the range of a label.
_STEP = 1e-4


class PredictModel:
    """Flux of any fitted regressor, with numerical derivatives.

    Parameters
    ----------
    regressor : estimator
        Estimator whose ``predict(labels)`` returns flux.
    center, half_width : ndarray of shape (n_labels,)
        Center and half width of the box of labels; parameters are -1 to 1 in it.
    """

    def __init__(self, regressor, center, half_width):
        self.regressor = regressor
        self.center = center
        self.half_width = half_width

    def flux(self, rows, parameters):
        """Compute flux of shape (n, P)."""
        labels = self.center + self.half_width * parameters.numpy()
        flux = np.asarray(self.regressor.predict(labels), dtype=np.float64)
        return torch.from_numpy(flux.reshape(len(labels), -1))

    def linearize(self, rows, parameters):
        """Compute flux (n, P) and derivatives (n, K, P) by central differences."""
        n, n_parameters = parameters.shape
        # stay inside the box, where the regressor was trained
        middle = parameters.clamp(-1 + _STEP, 1 - _STEP)
        step = _STEP * torch.eye(
            n_parameters, dtype=parameters.dtype, device=parameters.device
        )
        around = torch.cat([middle[:, None] + step, middle[:, None] - step], dim=1)
        points = torch.cat([parameters[:, None], around], dim=1).flatten(0, 1)
        flux = self.flux(None, points).unflatten(0, (n, -1))
        up, down = flux[:, 1 : n_parameters + 1], flux[:, n_parameters + 1 :]
        return flux[:, 0], (up - down) / (2 * _STEP)

    def spectra(self, row, parameters):
        """Compute spectra (n, P) of one star with other labels."""
        return self.flux(None, parameters)

    def directions(self, rows, variables, directions):
        """Return changes (n, D, P) of the flux unchanged."""
        return directions
