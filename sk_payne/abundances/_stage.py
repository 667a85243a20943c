"""Stage: an effect on the model spectrum at the observed pixels, with derivatives."""

import threading

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch.autograd import forward_ad

__all__ = ["AppliedStage", "Stage"]

# Forward differentiation has one level per process, not per thread.
_ONE_AT_A_TIME = threading.RLock()


class Stage(BaseEstimator):
    """Base class of effects that change model flux, by factors, sums or otherwise.

    A subclass names its parameters and computes flux in torch; derivatives follow by
    automatic differentiation. Put it into ``Observation(stages=[...])``.
    Stages act on the model at the observed pixels, after the instrument and before the
    continuum.

    See Also
    --------
    Observation : Takes stages.
    Telluric : Stage that multiplies by a telluric template.

    Examples
    --------
    Light of the sky that fills the lines by the same fraction everywhere:

    >>> from sk_payne.abundances import Parameter, Stage
    >>> class StrayLight(Stage):
    ...     def parameters(self):
    ...         return [Parameter("stray_light", "", 0.0, 0.3, start=0.0)]
    ...
    ...     def apply(self, flux, wavelength, values):
    ...         stray = values["stray_light"][:, None]
    ...         return (1 - stray) * flux + stray
    >>> StrayLight().parameters()[0].name
    'stray_light'
    """

    def parameters(self):
        """Return the parameters of the stage.

        Returns
        -------
        parameters : list of Parameter
            Parameters; their names become columns of the results.
        """
        return []

    def prepared(self, medium):
        """Return the stage for wavelengths in a medium.

        Parameters
        ----------
        medium : {"air", "vacuum"}
            Medium of the emulator, and of the wavelengths that `apply` gets.

        Returns
        -------
        stage : Stage
            The stage itself, unless a subclass converts wavelengths.
        """
        return self

    def apply(self, flux, wavelength, values):
        """Change the model flux.

        Parameters
        ----------
        flux : Tensor of shape (n, P)
            Model flux at the pixels, with a continuum of one; do not modify it.
        wavelength : Tensor of shape (n, P)
            Observed wavelengths in Å, in the medium of the emulator.
        values : dict of str to Tensor of shape (n,)
            Values of the parameters in their units.

        Returns
        -------
        flux : Tensor of shape (n, P)
            Flux after the stage.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define `apply(flux, wavelength, values)`."
        )

    def linearize(self, flux, jacobian, wavelength, values):
        """Apply the stage to flux and derivatives.

        Parameters
        ----------
        flux : Tensor of shape (n, P)
            Model flux.
        jacobian : Tensor of shape (n, K, P)
            Its derivatives by parameters of earlier stages.
        wavelength : Tensor of shape (n, P)
            Observed wavelengths in Å.
        values : dict of str to Tensor of shape (n,)
            Values of the parameters of this stage.

        Returns
        -------
        flux : Tensor of shape (n, P)
            Flux after the stage.
        jacobian : Tensor of shape (n, K + n_values, P)
            Its derivatives, those by the parameters of this stage last.
        """
        n, n_before, n_pixels = jacobian.shape
        m = n_before + len(values)
        tangent = torch.cat(
            [jacobian, jacobian.new_zeros(n, len(values), n_pixels)], dim=1
        )
        with _ONE_AT_A_TIME, forward_ad.dual_level():
            dual = forward_ad.make_dual(
                flux.repeat_interleave(m, 0), tangent.flatten(0, 1)
            )
            duals = {}
            for i, (name, value) in enumerate(values.items()):
                along = torch.zeros(n, m, dtype=value.dtype, device=value.device)
                along[:, n_before + i] = 1.0
                duals[name] = forward_ad.make_dual(
                    value.repeat_interleave(m, 0), along.flatten()
                )
            result = self.apply(dual, wavelength.repeat_interleave(m, 0), duals)
            changed, tangent = forward_ad.unpack_dual(result)
        if tangent is None:
            tangent = torch.zeros_like(changed)
        return changed[::m].to(flux), tangent.unflatten(0, (n, m)).to(flux)


class AppliedStage:
    """A stage at the pixels of some stars.

    Parameters
    ----------
    stage : Stage
        The stage, prepared for the medium of the emulator.
    columns : list of int
        Columns of its parameters in the vector of the fit.
    zero, scale : sequence of float
        Values are ``zero + scale * variable``.
    wavelength : Tensor of shape (B, P)
        Observed wavelengths in Å.
    """

    def __init__(self, stage, columns, zero, scale, wavelength):
        self.stage = stage
        self.names = [parameter.name for parameter in stage.parameters()]
        self.columns, self.zero, self.scale = columns, zero, scale
        self.wavelength = wavelength

    def flux(self, rows, variables, flux):
        """Compute flux (n, P) of the stars `rows` after the stage."""
        changed = self.stage.apply(flux, self.wavelength[rows], self._values(variables))
        return self._checked(changed, flux)

    def linearize(self, rows, variables, both):
        """Compute flux and derivatives (n, 1 + K, P), those of the stage last."""
        flux, jacobian = self.stage.linearize(
            both[:, 0], both[:, 1:], self.wavelength[rows], self._values(variables)
        )
        n_own = len(self.names)
        if n_own:
            scale = jacobian.new_tensor(self.scale)[:, None]
            of_stage = jacobian[:, -n_own:] * scale
            jacobian = torch.cat([jacobian[:, :-n_own], of_stage], dim=1)
        return torch.cat([self._checked(flux, both[:, 0])[:, None], jacobian], dim=1)

    def _values(self, variables):
        return {
            name: zero + scale * variables[:, column]
            for name, column, zero, scale in zip(
                self.names, self.columns, self.zero, self.scale, strict=True
            )
        }

    def _checked(self, changed, flux):
        if changed.shape != flux.shape:
            raise ValueError(
                f"`apply` of the stage {type(self.stage).__name__} must give flux of "
                f"the shape {tuple(flux.shape)}; got {np.shape(changed)}."
            )
        return changed
