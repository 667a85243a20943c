"""Tests of matrix products by the faster library: what they change, and what not."""

import threading

import pytest
import torch

import sk_payne.networks._products as products
from sk_payne.networks import fast_products


class Switch:
    """Stands for torch's, which older versions lack."""

    fp32_precision = "none"


@pytest.fixture
def faster(monkeypatch):
    """Let the other library be the faster one, on any processor."""
    stand_in = Switch()
    monkeypatch.setattr(torch.backends.mkldnn, "matmul", stand_in, raising=False)
    monkeypatch.setattr(products, "_onednn_is_faster", lambda: True)
    return stand_in


def test_products_have_the_precision_of_float32_on_this_machine():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 401, 401, generator=generator)
    exact = a.double() @ b.double()
    with fast_products():
        found = a @ b
    assert ((found - exact).abs().max() / exact.std()) < 2e-5


def test_the_switch_is_on_inside_and_off_afterwards(faster):
    with fast_products():
        assert faster.fp32_precision == "bf16"
    assert faster.fp32_precision == "none"


def test_the_switch_is_put_back_after_an_error(faster):
    with pytest.raises(KeyError), fast_products():
        raise KeyError
    assert faster.fp32_precision == "none"


def test_the_last_user_switches_off(faster):
    with fast_products():
        with fast_products():
            pass
        assert faster.fp32_precision == "bf16"
    assert faster.fp32_precision == "none"


def test_another_thread_that_leaves_takes_nothing_away(faster):
    inside, leave = threading.Event(), threading.Event()

    def other():
        with fast_products():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(10)
    with fast_products():
        leave.set()
        thread.join()
        assert faster.fp32_precision == "bf16"
    assert faster.fp32_precision == "none"


@pytest.mark.parametrize("chosen", ["ieee", "bf16"])
def test_a_precision_that_the_user_has_chosen_is_left_alone(faster, chosen):
    faster.fp32_precision = chosen
    with fast_products():
        assert faster.fp32_precision == chosen
    assert faster.fp32_precision == chosen


def test_processors_of_others_are_left_alone(monkeypatch):
    monkeypatch.setattr(products, "_is_amd", lambda: False)
    assert not products._onednn_is_faster.__wrapped__()


def test_a_library_that_rounds_to_bfloat16_is_not_used(monkeypatch):
    class Rounding:
        """Multiplies in bfloat16 if allowed to, as processors with AMX do."""

        fp32_precision = "none"

    stand_in = Rounding()
    exact_product = torch.Tensor.__matmul__

    def product(a, b):
        if stand_in.fp32_precision == "bf16" and a.dtype == torch.float32:
            return exact_product(a.bfloat16(), b.bfloat16()).float()
        return exact_product(a, b)

    monkeypatch.setattr(torch.backends.mkldnn, "matmul", stand_in, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(products, "_is_amd", lambda: True)
    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    assert not products._onednn_is_faster.__wrapped__()
    monkeypatch.setattr(torch.Tensor, "__matmul__", exact_product)
    assert products._onednn_is_faster.__wrapped__()
    assert stand_in.fp32_precision == "none"
