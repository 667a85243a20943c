"""Tests of the code of wavelengths, against sines in numpy's extended precision."""

import numpy as np
import pytest
import torch

from sk_payne.networks import WavelengthEncoding

LOG_WAVELENGTH = np.log10(np.linspace(3001.0, 24999.0, 1009))


def sines(log_wavelength, periods):
    """Reference in extended precision where numpy has it."""
    w = log_wavelength.astype(np.longdouble)[:, None]
    return np.sin(2 * np.pi * np.mod(w / periods.astype(np.longdouble), 1))


def test_code_in_float32_is_the_sine_to_a_millionth_at_the_shortest_period():
    encoding = WavelengthEncoding(7, 1e-6, 10.0)
    found = encoding(torch.from_numpy(LOG_WAVELENGTH))
    expected = sines(LOG_WAVELENGTH, encoding.periods.numpy())
    assert found.dtype == torch.float32
    # the phase, up to pi, is rounded to float32: 2e-7
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


def test_phases_in_float32_would_not_do():
    # which is why the code is computed in float64
    w = LOG_WAVELENGTH.astype(np.float32)[:, None]
    naive = np.sin(np.float32(2 * np.pi) * w / np.array([1e-6], dtype=np.float32))
    error = np.abs(naive - sines(LOG_WAVELENGTH, np.array([1e-6])))
    assert np.median(error) > 0.1


def test_code_of_a_double_module_is_the_sine_to_the_rounding_of_the_wavelength():
    encoding = WavelengthEncoding(7, 1e-6, 10.0).double()
    found = encoding(torch.from_numpy(LOG_WAVELENGTH))
    assert found.dtype == torch.float64
    # 4 million turns, known to 2e-16 of themselves, times 2 pi
    expected = sines(LOG_WAVELENGTH, encoding.periods.numpy())
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-8)


def test_periods_are_log_spaced_between_their_ends_and_stay_in_float64():
    encoding = WavelengthEncoding(5, 1e-4, 1.0).float()
    assert encoding.periods.dtype == torch.float64
    np.testing.assert_allclose(
        encoding.periods.numpy(), [1e-4, 1e-3, 1e-2, 1e-1, 1.0], rtol=1e-13
    )


def test_code_has_the_periods_that_it_says():
    encoding = WavelengthEncoding(3, 1e-3, 1e-1).double()
    w = torch.tensor([3.7], dtype=torch.float64)
    for j, period in enumerate(encoding.periods):
        assert encoding(w + period)[0, j] == pytest.approx(
            float(encoding(w)[0, j]), abs=1e-10
        )


def test_code_is_of_the_shape_of_its_input_and_one_more():
    encoding = WavelengthEncoding(5, 1e-4, 1.0)
    assert encoding(torch.full((2, 3), 3.7, dtype=torch.float64)).shape == (2, 3, 5)


def test_code_has_no_weights_and_nothing_to_save():
    encoding = WavelengthEncoding(5, 1e-4, 1.0)
    assert not list(encoding.parameters())
    assert not encoding.state_dict()


def test_code_is_differentiable_with_the_derivative_of_a_sine():
    encoding = WavelengthEncoding(3, 1e-3, 1e-1).double()
    w = torch.tensor([3.70003], dtype=torch.float64, requires_grad=True)
    for j, period in enumerate(encoding.periods.tolist()):
        (slope,) = torch.autograd.grad(encoding(w)[0, j], w)
        expected = 2 * np.pi / period * np.cos(2 * np.pi * 3.70003 / period)
        assert float(slope) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("periods", [(0.0, 1.0), (-1e-6, 1.0), (2.0, 1.0)])
def test_periods_out_of_order_are_an_error(periods):
    with pytest.raises(
        ValueError, match=f"not above `longest_period`; got {periods[0]} and"
    ):
        WavelengthEncoding(5, *periods)


def test_origin_and_linear_wavelengths_are_the_formula():
    encoding = WavelengthEncoding(7, 0.02, 5.0, origin=4500.0, linear=True).double()
    wavelength = np.linspace(4501.0, 4521.0, 101)
    found = encoding(torch.from_numpy(np.log10(wavelength)))
    expected = sines(wavelength - 4500.0, encoding.periods.numpy())
    # 1e3 turns of a wavelength that is known to 2e-12 Å after its logarithm
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-8)
