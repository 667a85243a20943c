"""AbundanceRegressor by scikit-learn's own checks, around our emulator and another."""

from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from sk_payne import AbundanceRegressor, SpectrumEmulator

ESTIMATORS = [
    AbundanceRegressor(
        SpectrumEmulator(
            arch="payne",
            arch_params={"n_hidden": 17},
            max_steps=150,
            recipe={"lr": 3e-2, "loss": "mse"},
            device="cpu",
            random_state=0,
        ),
        snr=10.0,
    ),
    # errors about as large as what a line misses, or every fit is repeated in doubt
    AbundanceRegressor(Ridge(alpha=1e-3), snr=1.0),
]


@parametrize_with_checks(ESTIMATORS)
def test_regressor_passes_the_check_of_scikit_learn(estimator, check):
    check(estimator)
