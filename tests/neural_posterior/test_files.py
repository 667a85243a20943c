"""Files of posteriors: the same bits come back, and what is wrong is refused."""

import numpy as np
import pytest

from sk_payne import Observation, load
from sk_payne.exceptions import FileFormatError
from sk_payne.neural_posterior import load_posterior


@pytest.fixture(scope="module")
def path(posterior, tmp_path_factory):
    path = tmp_path_factory.mktemp("posterior") / "p.safetensors"
    posterior.save(path)
    return path


def test_loaded_posterior_says_the_same(posterior, path, emulator, observation, stars):
    loaded = load_posterior(path, emulator, observation)
    spectra, labels, _ = stars(3)
    np.testing.assert_array_equal(loaded.predict(spectra), posterior.predict(spectra))
    for method in ("log_prob", "score"):
        found = getattr(loaded, method)(spectra, labels)
        np.testing.assert_array_equal(
            found, getattr(posterior, method)(spectra, labels)
        )
    np.testing.assert_array_equal(loaded.novelty(spectra), posterior.novelty(spectra))
    assert loaded.history_ == posterior.history_
    assert loaded.parameter_units_ == posterior.parameter_units_
    np.testing.assert_array_equal(
        loaded.calibration_.probability, posterior.calibration_.probability
    )


def test_loaded_posterior_has_the_arguments_and_can_be_fitted_again(
    posterior, path, emulator, observation
):
    loaded = load_posterior(path, emulator, observation)
    for name in ("n_hidden", "n_directions", "max_steps", "batch_size", "lr", "snr"):
        assert getattr(loaded, name) == getattr(posterior, name)
    with pytest.raises(ValueError, match="a loaded posterior has no state"):
        loaded.partial_fit()
    assert loaded.set_params(max_steps=2).fit().n_steps_ == 2


def test_priors_and_fixed_values_come_back(
    make_posterior, emulator, observation, tmp_path
):
    posterior = make_posterior(
        max_steps=2, fixed={"teff": 5000.0}, priors={"Fe_H": (0.0, 0.1)}
    ).fit()
    posterior.save(tmp_path / "p")
    loaded = load_posterior(tmp_path / "p", emulator, observation)
    assert loaded.fixed == {"teff": 5000.0}
    assert loaded.priors == {"Fe_H": (0.0, 0.1)}


def test_another_emulator_or_observation_is_refused(
    path, make_emulator, emulator, observation
):
    other = make_emulator(random_state=1, max_steps=20)
    with pytest.raises(ValueError, match="`emulator` must be the one"):
        load_posterior(path, other, observation)
    with pytest.raises(ValueError, match="`observation` must be that of the training"):
        load_posterior(path, emulator, Observation(velocity_range=(-10, 10)))


def test_other_files_are_refused(path, emulator, tmp_path):
    emulator.save(tmp_path / "emulator.safetensors")
    with pytest.raises(FileFormatError, match="not a 'NeuralPosterior'"):
        load_posterior(tmp_path / "emulator.safetensors", emulator)
    with pytest.raises(FileFormatError, match="not a 'SpectrumEmulator'"):
        load(path)
    content = path.read_bytes()
    (tmp_path / "half").write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFormatError, match="truncated"):
        load_posterior(tmp_path / "half", emulator)
