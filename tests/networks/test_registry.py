"""Tests of the table of architectures and of how networks are built from it."""

import pytest
import torch
from torch import nn

from sk_payne.networks import (
    NETWORKS,
    BigPayne,
    Cannon,
    Convolutional,
    OpacityPayne,
    Payne,
    TransformerPayne,
    build_network,
    register_network,
    resolve_network,
)

GRID = torch.linspace(3.65, 3.66, 11, dtype=torch.float64)


class Linear(nn.Linear):
    """An architecture of a user's own."""

    def __init__(self, n_labels, n_wavelengths, scale=1.0):
        super().__init__(n_labels, n_wavelengths)


class Anything(nn.Linear):
    """One that takes any option."""

    def __init__(self, n_labels, n_wavelengths, **options):
        super().__init__(n_labels, n_wavelengths)
        self.options = options


@pytest.fixture
def name():
    """A free name, which is free again afterwards."""
    name = "name of a test"
    assert name not in NETWORKS
    yield name
    NETWORKS.pop(name, None)


def test_networks_holds_the_published_architectures_and_ours():
    published = {
        "payne": Payne,
        "bigpayne": BigPayne,
        "cannon": Cannon,
        "convolutional": Convolutional,
        "opacity": OpacityPayne,
        "transformer": TransformerPayne,
    }
    assert published.items() <= NETWORKS.items()


def test_register_network_returns_the_class_and_resolve_finds_it(name):
    assert register_network(name)(Linear) is Linear
    assert resolve_network(name) is resolve_network(Linear)


def test_register_network_twice_with_the_same_class_is_harmless(name):
    # as happens when a notebook cell is run again
    register_network(name)(Linear)
    again = type("Linear", (nn.Linear,), {"__module__": __name__})
    assert register_network(name)(again) is again
    assert issubclass(resolve_network(name), again)


def test_register_network_with_a_name_that_is_taken_is_an_error():
    with pytest.raises(
        ValueError, match="'payne' already stands for Payne; choose another name"
    ):
        register_network("payne")(Linear)
    assert NETWORKS["payne"] is Payne


@pytest.mark.parametrize(
    ("arch", "meant"),
    [("Payne", "payne"), ("transfomer", "transformer"), ("big_payne", "bigpayne")],
)
def test_resolve_network_with_a_misspelt_name_says_what_was_meant(arch, meant):
    with pytest.raises(
        ValueError, match=f"must be one of .*got '{arch}'. Did you mean '{meant}'"
    ):
        resolve_network(arch)


def test_resolve_network_with_an_unlike_name_guesses_nothing():
    with pytest.raises(ValueError, match=r"got 'xyz'\.$"):
        resolve_network("xyz")


@pytest.mark.parametrize("arch", [Linear(2, 3), 5, None, dict], ids=str)
def test_resolve_network_with_anything_but_a_module_class_is_an_error(arch):
    with pytest.raises(TypeError, match="Pass the class itself, not an instance"):
        resolve_network(arch)


def test_build_network_passes_options_and_reports_them():
    network, params = build_network("payne", 3, GRID, {"n_hidden": 5, "n_layers": 1})
    assert params == {"n_hidden": 5, "n_layers": 1}
    assert [p.shape for p in network.parameters()] == [(5, 3), (5,), (11, 5), (11,)]


def test_build_network_leaves_the_dict_of_the_caller_alone():
    given = {"width": 8}
    _, params = build_network("transformer", 3, GRID, given)
    assert given == {"width": 8}
    assert set(params) == {"width", "shortest_period", "longest_period"}


def test_build_network_sets_the_periods_of_the_grid_unless_told_otherwise():
    given = {"width": 8, "longest_period": 3.0}
    network, params = build_network("transformer", 3, GRID, given)
    # two steps of 0.001
    assert params["shortest_period"] == pytest.approx(0.002, rel=1e-9)
    assert params["longest_period"] == 3.0
    assert float(network.encoding.periods[0]) == pytest.approx(0.002, rel=1e-9)
    assert float(network.encoding.periods[-1]) == pytest.approx(3.0, rel=1e-12)


def test_build_network_again_from_the_reported_options_gives_the_same_shapes():
    _, params = build_network("transformer", 3, GRID, {"width": 8})
    # a grid of another step would give other periods
    again, params_again = build_network("transformer", 3, GRID[::2], params)
    assert params_again == params
    assert float(again.encoding.periods[0]) == pytest.approx(0.002, rel=1e-9)


def test_build_network_with_an_unknown_option_says_what_was_meant():
    with pytest.raises(
        ValueError,
        match=r"`arch_params` of Payne may have \['n_hidden', 'n_layers', "
        r"'activation', 'output'\]; got 'hidden'. Did you mean 'n_hidden'",
    ):
        build_network("payne", 3, GRID, {"hidden": 5})


@pytest.mark.parametrize("name", ["n_labels", "n_wavelengths", "self"])
def test_build_network_with_an_option_that_the_data_decide_is_an_error(name):
    with pytest.raises(ValueError, match=f"got '{name}'"):
        build_network("payne", 3, GRID, {name: 5})


def test_build_network_with_a_class_checks_its_own_options():
    network, params = build_network(Linear, 3, GRID, {"scale": 2.0})
    assert isinstance(network, Linear)
    assert params == {"scale": 2.0}
    with pytest.raises(ValueError, match=r"of Linear may have \['scale'\]; got 'wdth'"):
        build_network(Linear, 3, GRID, {"wdth": 5})


def test_build_network_with_a_class_that_takes_any_option_passes_all():
    network, _ = build_network(Anything, 3, GRID, {"width": 7, "depth": 2})
    assert network.options == {"width": 7, "depth": 2}


@pytest.mark.parametrize("arch", sorted(NETWORKS))
def test_build_network_with_the_same_seed_gives_the_same_weights(arch):
    with torch.random.fork_rng():
        twins = []
        for _ in range(2):
            torch.manual_seed(17)
            twins.append(build_network(arch, 3, GRID)[0].state_dict())
    assert twins[0].keys() == twins[1].keys()
    for key, value in twins[0].items():
        torch.testing.assert_close(value, twins[1][key], rtol=0, atol=0)
