"""AtmosphereGrid: smooth interpolation in a grid of model atmospheres.

Linear interpolation would leave kinks at the nodes, which an emulator would learn.
"""

import hashlib
import math

import numpy as np
from scipy.interpolate import make_interp_spline

__all__ = ["AtmosphereGrid"]

_AXES = ("metallicity", "log_g", "teff")


class AtmosphereGrid:
    """Plane-parallel model atmospheres, ATLAS9, MARCS or others, on a regular grid.

    Logarithms of all columns are interpolated by cubic splines in [M/H], log g and
    Teff, layer by layer. All models must have layers at the same optical depths, as
    those of ATLAS9 and MARCS do.

    Parameters
    ----------
    metallicity, log_g, teff : array-like
        Nodes, increasing, at least four of each: [M/H] in dex, log g in dex of cm/s2,
        and Teff in K.
    layers : array-like of shape (n_metallicity, n_log_g, n_teff, n_layers, 4)
        Columns of each model, from the surface inwards: column mass in g/cm2,
        temperature in K, gas pressure in dyn/cm2, and electron density in 1/cm3.

    Raises
    ------
    ValueError
        If the shapes of nodes and layers do not agree, nodes do not increase, or layers
        are not positive.

    See Also
    --------
    PySMEEngine : Synthesis with these atmospheres.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_payne.grids import AtmosphereGrid
    >>> teff = np.array([4000.0, 5000.0, 6000.0, 7000.0])
    >>> layers = np.broadcast_to(teff[:, None, None], (4, 4, 4, 2, 4))
    >>> grid = AtmosphereGrid(np.arange(4) - 3, np.arange(1, 5), teff, layers)
    >>> grid(5000, 2.5, -1.3).round(6).tolist()
    [[5000.0, 5000.0, 5000.0, 5000.0], [5000.0, 5000.0, 5000.0, 5000.0]]
    """

    def __init__(self, metallicity, log_g, teff, layers):
        self.nodes = [
            np.array(nodes, dtype=np.float64) for nodes in (metallicity, log_g, teff)
        ]
        layers = np.asarray(layers, dtype=np.float64)
        if layers.ndim != 5 or layers.shape[4] != 4:
            raise ValueError(
                "`layers` must have the shape (n_metallicity, n_log_g, n_teff, "
                f"n_layers, 4); got {layers.shape}."
            )
        for name, nodes, n in zip(_AXES, self.nodes, layers.shape, strict=False):
            if nodes.shape != (n,) or n < 4 or not (np.diff(nodes) > 0).all():
                raise ValueError(
                    f"`{name}` must increase and have one value for each of the {n} of "
                    f"`layers`, at least four; got {nodes.tolist()}."
                )
        if not (np.isfinite(layers).all() and (layers > 0).all()):
            raise ValueError("`layers` must be finite and positive. Fill the gaps.")
        # numpy's logarithm rounds differently on other processors, but the checksum of
        # these numbers identifies a grid
        logs = [math.log(value) for value in layers.flat]
        self._log_layers = np.reshape(logs, layers.shape)

    def __call__(self, teff, log_g, metallicity):
        """Interpolate one atmosphere.

        Parameters
        ----------
        teff : float
            Effective temperature in K.
        log_g : float
            Surface gravity in dex of cm/s2.
        metallicity : float
            [M/H] in dex.

        Returns
        -------
        layers : ndarray of shape (n_layers, 4)
            Columns as in the grid.

        Raises
        ------
        ValueError
            If a parameter is outside the grid.
        """
        layers = self._log_layers
        values = (metallicity, log_g, teff)
        for name, nodes, value in zip(_AXES, self.nodes, values, strict=True):
            if not nodes[0] <= value <= nodes[-1]:
                raise ValueError(
                    f"`{name}` must lie within {nodes[0]:g} to {nodes[-1]:g}, the "
                    f"range of the atmospheres; got {value:g}."
                )
            layers = make_interp_spline(nodes, layers, k=3, axis=0)(value)
        return np.exp(layers)

    def to_dict(self):
        """Describe the atmospheres, for the provenance of a grid.

        Returns
        -------
        description : dict
            Numbers of models and layers, and a checksum.
        """
        digest = hashlib.sha256()
        for array in (*self.nodes, self._log_layers):
            digest.update(array.tobytes())
        return {
            "shape": list(self._log_layers.shape[:4]),
            "sha256": digest.hexdigest(),
        }
