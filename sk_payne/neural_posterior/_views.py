"""What a fitted NeuralPosterior tells, and what it does for the fits of others."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sk_payne.neural_posterior._arguments import digest_of_emulator
from sk_payne.neural_posterior._proposal import Proposal
from sk_payne.resumable import digest

__all__ = ["FittedViews"]

# Widths of the instrument that differ by less than this factor are the same, and those
# below this one in km/s are none.
_SAME, _SHARP = 1.05, 0.05


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
        """How the posterior does on held-out mock spectra."""
        return self._trained().calibration

    @property
    def novelty_threshold_(self):
        """Novelty that one in a thousand held-out mock spectra exceeds."""
        return self._trained().novelty.threshold

    @property
    def history_(self):
        """Losses by step."""
        return list(self._trained().history)

    @property
    def n_steps_(self):
        """Training steps that were taken."""
        return self._trained().n_steps

    @property
    def digest_(self):
        """Text that differs if what was learned does."""
        trained = self._trained()
        return digest([trained.network.state_dict(), trained.emulator, trained.names])

    def require(self, plan):
        """Refuse to start fits of which this is no posterior.

        Parameters
        ----------
        plan : FitPlan
            Plan of the fits.

        Raises
        ------
        NotFittedError
            If the posterior is not fitted.
        ValueError
            If it was trained with another emulator, or a parameter is fitted that it
            does not know.
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
                f"`start` must know all parameters that are fitted; {missing} are not "
                f"among its {trained.names}. Train it with the observation of the "
                "regressor."
            )

    def propose(self, flux, ivar, wavelength, arm, *, width, parameters):
        """Give the posterior of a star that is to be fitted.

        Parameters
        ----------
        flux, ivar : ndarray of shape (n_pixels,)
            Flux and inverse variances, 0 for bad pixels.
        wavelength, arm : ndarray of shape (n_pixels,) or None
            Å in the medium of the emulator, and arm of each pixel; None for its grid.
        width : float
            Standard deviation of the instrument in km/s, beyond that of the emulator.
        parameters : Parameters
            What is fitted, in its order.

        Returns
        -------
        proposal : Proposal or None
            None for a star without a pixel that counts, or whose instrument is 5 %
            wider or sharper than those of the training.
        """
        trained = self._trained()
        low, high = trained.width
        if not low / _SAME - _SHARP < width < high * _SAME + _SHARP:
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
        """Wavelengths of flux on the grid of the emulator, if they are not given."""
        grid = self._trained().representation.grid
        return (grid, None) if wavelength is None else (wavelength, arm)
