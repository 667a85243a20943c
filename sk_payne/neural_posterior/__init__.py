"""Neural posterior estimation: probability distributions of parameters from spectra."""

from sk_payne.neural_posterior._estimator import NeuralPosterior
from sk_payne.neural_posterior._loading import load_posterior

__all__ = ["NeuralPosterior", "load_posterior"]
