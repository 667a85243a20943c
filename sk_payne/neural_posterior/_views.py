"""Attributes of a fitted NeuralPosterior, and proposals for least-squares fits."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_payne.neural_posterior._arguments import digest_of_emulator
from sk_payne.neural_posterior._proposal import Proposal
from sk_payne.resumable import digest

__all__ = ["FittedViews"]

# Factor, and difference in km/s, by which the standard deviation of an instrument may
# be outside the range of the training.
_FACTOR, _MARGIN = 1.05, 0.05


class FittedViews:
    """Views of the attribute `trained_`, which `fit` sets once."""

    @property
    def parameter_names_(self):
        """Names of the free parameters, labels first."""
        return list(self._trained().names)

    @property
    def parameter_units_(self):
        """Units of the free parameters."""
        return list(self._trained().units)

    @property
    def label_names_(self):
        """Names of the free labels."""
        trained = self._trained()
        return list(trained.names[: trained.n_labels])

    @property
    def calibration_(self):
        """Comparison of the posterior with held-out mock spectra."""
        return self._trained().calibration

    @property
    def novelty_threshold_(self):
        """0.999 quantile of the novelty of held-out mock spectra."""
        return self._trained().novelty.threshold

    @property
    def history_(self):
        """Losses of training and held-out spectra by step."""
        return list(self._trained().history)

    @property
    def n_steps_(self):
        """Number of training steps taken."""
        return self._trained().n_steps

    @property
    def digest_(self):
        """Digest of weights, emulator and names of the parameters."""
        trained = self._trained()
        return digest([trained.network.state_dict(), trained.emulator, trained.names])

    def require(self, plan):
        """Check that emulator and parameters are those of a plan.

        Parameters
        ----------
        plan : FitPlan
            Plan of the fits.

        Raises
        ------
        NotFittedError
            If the posterior is not fitted.
        ValueError
            If the emulators differ, or the posterior lacks a fitted parameter.
        """
        trained = self._trained()
        if digest_of_emulator(plan.emulator) != trained.emulator:
            raise ValueError(
                "`start` must be a NeuralPosterior of the same emulator; this one was "
                "trained with another. Train it with the emulator of the regressor."
            )
        is_known = plan.constraints.is_fixed.all(axis=0)
        names = np.array(plan.parameters.names)
        missing = [str(n) for n in names[~is_known] if n not in trained.names]
        if missing:
            raise ValueError(
                f"`start` must have all fitted parameters; {missing} are not among its "
                f"{trained.names}. Train it with the observation of the regressor."
            )

    def propose(self, flux, ivar, wavelength, arm, *, width, parameters):
        """Compute the posterior of one star, for its fit.

        Parameters
        ----------
        flux, ivar : ndarray of shape (n_pixels,)
            Flux and inverse variances, 0 for bad pixels.
        wavelength, arm : ndarray of shape (n_pixels,) or None
            Wavelengths in Å in the medium of the emulator, and arms of the pixels; None
            for the grid of the emulator.
        width : float
            Standard deviation of the instrument in km/s, beyond that of the emulator.
        parameters : Parameters
            Parameters of the fit, in their order.

        Returns
        -------
        proposal : Proposal or None
            Posterior of the star; None for a star without usable pixels, or whose
            instrument is 5 % wider or sharper than those of the training.
        """
        trained = self._trained()
        low, high = trained.width
        if not low / _FACTOR - _MARGIN < width < high * _FACTOR + _MARGIN:
            return None
        pixels = self._own_grid(wavelength, arm)
        spectra = trained.represent(flux[None], ivar[None], *pixels, block=1)
        answer = trained.answer(spectra, block=1)
        if not answer.has_data[0]:
            return None
        return Proposal(trained, answer, parameters.names, parameters.start)

    def __sklearn_is_fitted__(self):
        return "trained_" in vars(self)

    def _trained(self):
        check_is_fitted(self)
        return self.trained_

    def _own_grid(self, wavelength, arm):
        """Replace missing wavelengths by those of the emulator."""
        grid = self._trained().representation.grid
        return (grid, None) if wavelength is None else (wavelength, arm)
