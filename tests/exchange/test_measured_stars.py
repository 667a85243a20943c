"""Tests of stars measured with networks of other codes, against scipy on the originals.

The originals are evaluated by formulas written out here, not by what reads them.
"""

import numpy as np
import pytest
import scipy.optimize
from safetensors.numpy import load_file

from sk_payne import AbundanceRegressor, Observation
from sk_payne.exchange import read_aet, read_the_payne

LOW, HIGH = np.array([4500.0, 4.0, -1.0]), np.array([5500.0, 5.0, 0.5])
TRUTH = np.array([5120.0, 4.61, -0.17])
SIGMA = 0.003


def gelu(z):
    """JAX's default, the approximation of Hendrycks & Gimpel, arXiv:1606.08415."""
    return z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))) / 2


@pytest.fixture(scope="module")
def aet_formula(bundles):
    """Give the flux of one star by the dense network of a bundle."""
    folder = bundles / "mlp"
    weights = load_file(folder / "weights" / "weights.safetensors")
    scaling = load_file(folder / "reference_scaling_outputs.safetensors")

    def evaluate(labels):
        z = (labels - LOW) / (HIGH - LOW)
        for i in range(3):
            layer = f"params/params/core_model/layers/{i}"
            z = gelu(z) if i else z
            z = z @ weights[f"{layer}/kernel"] + weights[f"{layer}/bias"]
        low, high = scaling["min/flux"], scaling["max/flux"]
        return low + z * (high - low)

    return evaluate


def measure_by_scipy(formula, flux):
    """Labels and errors in units of the box, in which scipy takes its steps."""
    scaled, covariance = scipy.optimize.curve_fit(
        lambda _, *z: formula(LOW + np.array(z) * (HIGH - LOW)),
        None,
        flux,
        p0=[0.5, 0.5, 0.5],
        sigma=np.full(flux.shape, SIGMA),
        absolute_sigma=True,
        xtol=1e-12,
        ftol=1e-12,
    )
    errors = np.sqrt(np.diag(covariance))
    return LOW + scaled * (HIGH - LOW), errors * (HIGH - LOW)


def test_the_formula_is_what_the_toolkit_predicts(bundles, aet_formula):
    predicted = np.load(bundles / "mlp_predictions.npz")
    found = [aet_formula(star) for star in predicted["labels"]]
    # the toolkit works in single precision
    np.testing.assert_allclose(found, predicted["flux"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("code", ["toolkit", "The_Payne"])
def test_labels_are_those_of_curve_fit_on_the_original(
    bundles, aet_formula, the_payne_file, the_payne_formula, code, seed
):
    if code == "toolkit":
        formula, emulator = aet_formula, read_aet(bundles / "mlp")
    else:
        names = ["teff", "logg", "Fe_H"]
        wavelength = np.linspace(4500.0, 4506.0, 41)
        emulator = read_the_payne(
            the_payne_file, wavelength=wavelength, medium="air", label_names=names
        )

        def formula(labels):
            return the_payne_formula(the_payne_file, labels)

    noise = np.random.default_rng(seed).normal(scale=SIGMA, size=41)
    flux = formula(TRUTH) + noise
    expected, expected_errors = measure_by_scipy(formula, flux)
    assert ((LOW < expected) & (expected < HIGH)).all()
    regressor = AbundanceRegressor(emulator, Observation(velocity_range=None))
    labels, errors = regressor.predict(
        [flux], uncertainty=np.full((1, 41), SIGMA), return_std=True
    )
    assert (np.abs(labels[0] - expected) < 0.1 * expected_errors).all()
    np.testing.assert_allclose(errors[0], expected_errors, rtol=0.02)
