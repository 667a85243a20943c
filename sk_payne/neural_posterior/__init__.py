"""Neural posterior estimation: from spectra to distributions of their parameters."""

from sk_payne.neural_posterior._estimator import NeuralPosterior
from sk_payne.neural_posterior._loading import load_posterior

__all__ = ["NeuralPosterior", "load_posterior"]
