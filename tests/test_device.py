"""Tests of the pretended device: it refuses what a real one refuses, and no more."""

import copy

import fake_accelerator
import numpy as np
import pytest
import torch
from torch import nn
from torch.func import jvp, vmap

KINDS = ("cuda", "mps")


@pytest.fixture(params=KINDS)
def pretended(request):
    with fake_accelerator.pretend(request.param):
        yield request.param


@pytest.mark.parametrize(
    "meet",
    [
        lambda there, here: there + here,
        lambda there, here: here.add_(there),
        lambda there, here: torch.cat([there, here]),
        lambda there, here: there @ here,
        lambda there, here: here * there.sum(),
        lambda there, here: here[there.long()],
        lambda there, here: there.index_put_((there.long(),), here),
        lambda there, here: nn.Linear(3, 2)(there),
    ],
)
def test_device_pretended_refuses_tensors_of_the_cpu(pretended, meet):
    with pytest.raises(fake_accelerator.DeviceMismatchError, match="two devices"):
        meet(torch.zeros(3, device=pretended), torch.zeros(3))


def test_device_pretended_takes_numbers_and_indices_of_the_cpu(pretended):
    there = torch.arange(4.0, device=pretended)
    there[torch.tensor([True, False, False, True])] = 7.0
    there[1:2] = torch.tensor([5.0])
    total = there + torch.tensor(1.0)
    assert total.device.type == pretended
    assert total[torch.tensor([0, 1])].tolist() == [8.0, 6.0]
    assert total.sum().item() == 25.0


@pytest.mark.parametrize("convert", [np.asarray, torch.Tensor.numpy])
def test_device_pretended_gives_no_numpy_array_before_cpu(pretended, convert):
    there = torch.ones(3).to(pretended)
    with pytest.raises(TypeError, match="numpy"):
        convert(there)
    assert convert(there.cpu()).sum() == 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.zeros(2, dtype=torch.float64, device="mps"),
        lambda: torch.zeros(2, dtype=torch.float64).to("mps"),
        lambda: torch.zeros(2, device="mps").double(),
        lambda: torch.zeros(2, device="mps").new_tensor([1.0], dtype=torch.float64),
    ],
)
def test_device_pretended_mps_refuses_float64(make):
    with fake_accelerator.pretend("mps"), pytest.raises(TypeError, match="float64"):
        make()


def test_device_pretended_computes_gradients_and_forward_mode(pretended):
    x = torch.linspace(-1, 1, 6).reshape(2, 3)
    network = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2))
    there = copy.deepcopy(network).to(pretended)

    def slopes(module, x):
        unit = torch.eye(3, device=x.device)[:, None].expand(-1, 2, -1)
        return vmap(lambda t: jvp(module, (x,), (t,))[1])(unit)

    expected, found = slopes(network, x), slopes(there, x.to(pretended))
    torch.testing.assert_close(found.cpu(), expected)
    for module, values in ((network, x), (there, x.to(pretended))):
        module(values).square().mean().backward()
    gradient = there[0].weight.grad
    assert gradient.device.type == pretended
    torch.testing.assert_close(gradient.cpu(), network[0].weight.grad)


def test_device_pretended_draws_from_a_random_state_of_its_own(pretended):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    torch.rand(9, device=pretended)
    nn.Dropout(0.5)(torch.ones(9, device=pretended))
    assert torch.equal(torch.rand(4), expected)


def test_device_pretended_is_gone_afterwards():
    with fake_accelerator.pretend("cuda"):
        there = torch.ones(3, device="cuda")
        assert torch.cuda.is_available()
        assert there.is_cuda
        assert not there.is_meta
    assert torch.ones(3).device.type == "cpu"
    assert fake_accelerator.used_random_state() == []
