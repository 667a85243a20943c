"""Tests of the contract of architectures, and of classes that do not know it."""

import copy
import pickle
import threading

import pytest
import torch
from torch import nn

from sk_payne.networks import (
    NETWORKS,
    Architecture,
    Recipe,
    TransformerPayne,
    build_network,
    default_recipe,
    register_network,
    resolve_network,
)

GRID = torch.linspace(3.65, 3.66, 11, dtype=torch.float64)
LABELS = torch.linspace(-1, 1, 6).reshape(2, 3)
NAMED = (["teff", "logg", "C_H"], [5000.0, 4.0, 0.0], [1000.0, 1.0, 1.0])


class Own(nn.Module):
    """A user's, on the grid."""

    def __init__(self, n_labels, n_wavelengths, *, n_hidden=5):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_labels, n_hidden), nn.Tanh(), nn.Linear(n_hidden, n_wavelengths)
        )

    def forward(self, labels):
        return self.layers(labels)


class OwnAtWavelengths(nn.Module):
    """A user's, at any wavelengths."""

    takes_wavelength = True
    undecayed = ("layer.bias",)

    def __init__(self, n_labels, n_wavelengths):
        super().__init__()
        self.layer = nn.Linear(n_labels, 1)

    def forward(self, labels, log_wavelength):
        return self.layer(labels) * torch.sin(30 * log_wavelength).to(labels)


class OwnSplit(OwnAtWavelengths):
    """One that says what it computes once for a star."""

    n_contexts = 0

    def context(self, labels):
        type(self).n_contexts += 1
        return self.layer(labels)

    def at(self, context, log_wavelength):
        return context * torch.sin(30 * log_wavelength).to(context)


# classes of users


@pytest.mark.parametrize("own", [Own, OwnAtWavelengths, nn.Linear])
def test_class_of_a_user_becomes_an_architecture_of_the_same_name(own):
    adapted = resolve_network(own)
    assert issubclass(adapted, own)
    assert issubclass(adapted, Architecture)
    assert resolve_network(own) is adapted
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(adapted, name) == getattr(own, name)


def test_architecture_is_left_as_it_is():
    assert resolve_network(TransformerPayne) is TransformerPayne
    assert resolve_network("transformer") is TransformerPayne


def test_class_of_a_user_keeps_its_weights_their_names_and_its_flux():
    torch.manual_seed(3)
    plain = Own(3, 11)
    torch.manual_seed(3)
    network, _ = build_network(Own, 3, GRID)
    assert list(network.state_dict()) == list(plain.state_dict())
    assert torch.equal(network(LABELS), plain(LABELS))
    assert torch.equal(network.evaluate(LABELS), plain(LABELS))


def test_class_of_a_user_has_defaults_for_what_it_does_not_say():
    adapted, of_wavelengths = map(resolve_network, (Own, OwnAtWavelengths))
    assert not adapted.takes_wavelength
    assert of_wavelengths.takes_wavelength
    assert adapted.undecayed == ()
    assert of_wavelengths.undecayed == ("layer.bias",)
    assert adapted.grid_params(GRID) == {}
    assert adapted.label_params(*NAMED) == {}
    assert adapted(3, 11).learning_rate_factors() == []


def test_class_that_is_changed_later_changes_its_architecture():
    # as a notebook does
    class Late(OwnAtWavelengths):
        takes_wavelength = False

    adapted = resolve_network(Late)
    Late.takes_wavelength = True
    assert adapted.takes_wavelength


def test_halves_of_a_users_network_are_used():
    network, _ = build_network(OwnSplit, 3, GRID)
    before = OwnSplit.n_contexts, type(network).n_contexts
    flux = network.evaluate(LABELS, GRID)
    assert type(network).n_contexts == before[1] + 1
    torch.testing.assert_close(flux, network(LABELS, GRID))


def test_methods_of_a_user_do_not_replace_the_evaluation():
    class Lightning(Own):
        def evaluate(self):
            raise AssertionError("meant for something else")

    network, _ = build_network(Lightning, 3, GRID)
    assert network.evaluate(LABELS).shape == (2, 11)


@pytest.mark.parametrize(
    "copy_of", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))]
)
@pytest.mark.parametrize("own", [Own, OwnSplit, "cannon"])
def test_network_survives_copies_and_pickles(own, copy_of):
    network, _ = build_network(own, 3, GRID)
    again = copy_of(network)
    assert type(again) is type(network)
    assert torch.equal(again.evaluate(LABELS, GRID), network.evaluate(LABELS, GRID))


# recipes


def test_recipe_of_a_class_is_its_own():
    class Stated(Own):
        recipe = Recipe(max_steps=7)

    class Inherited(NETWORKS["payne"]):
        pass

    assert default_recipe(Stated) == Recipe(max_steps=7)
    assert default_recipe(Inherited) == NETWORKS["payne"].recipe


def test_recipe_of_a_class_without_one_is_that_of_its_kind():
    assert default_recipe(Own) == NETWORKS["bigpayne"].recipe
    assert default_recipe(OwnAtWavelengths) == NETWORKS["transformer"].recipe


def test_recipe_that_is_none_is_an_error():
    class Wrong(Own):
        recipe = "fast"

    with pytest.raises(TypeError, match="`recipe` of Wrong must be a Recipe; got 'f"):
        default_recipe(Wrong)


# what breaks the contract


class Short(Own):
    """Gives too few wavelengths."""

    def forward(self, labels):
        return self.layers(labels)[:, :7]


class Pair(Own):
    """Gives more than flux."""

    def forward(self, labels):
        return self.layers(labels), labels


class Grown(OwnAtWavelengths):
    """Gives the stars along the wrong axis."""

    def forward(self, labels, log_wavelength):
        return super().forward(labels, log_wavelength).T


class Stubborn(Own):
    """Says that it takes wavelengths, and gives those of its grid."""

    takes_wavelength = True

    def forward(self, labels, log_wavelength):
        return self.layers(labels)


@pytest.mark.parametrize(
    ("wrong", "gives"),
    [
        (Short, r"Short gives \(2, 7\) for 11 wavelengths\.$"),
        (Pair, r"Pair gives tuple for 11 wavelengths\.$"),
        (Grown, r"Grown gives \(3, 2\) for 3 wavelengths\.$"),
        (Stubborn, r"Stubborn gives \(2, 11\) for 3 wavelengths\.$"),
    ],
)
def test_flux_of_another_shape_is_refused_when_the_network_is_built(wrong, gives):
    with pytest.raises(
        ValueError,
        match=r"^`arch` must be a class that maps scaled labels of shape \(B, "
        rf"n_labels\) to flux of shape \(B, n_wavelengths\); {gives}",
    ):
        build_network(wrong, 3, GRID)


@pytest.mark.parametrize("takes_wavelength", [False, True])
def test_forward_that_fails_is_refused_with_its_reason(takes_wavelength):
    class Failing(Own):
        def forward(self, labels, log_wavelength=None):
            return self.layers(labels[:, :2])

    Failing.takes_wavelength = takes_wavelength
    with pytest.raises(
        ValueError, match=r"Failing fails for \(2, 3\).*: RuntimeError: mat1"
    ) as caught:
        build_network(Failing, 3, GRID)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_class_that_takes_other_arguments_is_refused():
    class Other(nn.Module):
        def __init__(self, width):
            super().__init__()

    class Asking(Own):
        def __init__(self, n_labels, n_wavelengths, *, width):
            super().__init__(n_labels, n_wavelengths)

    class Without(nn.Module):
        pass

    for wrong, reason in (
        (Other, r"takes \(width\) \(too many positional"),
        # Python 3.13 says that it is a keyword-only argument
        (Asking, r"takes .* \(missing a required (keyword-only )?argument: 'width'\)"),
        (Without, r"takes \(\) \(too many positional"),
    ):
        name = wrong.__name__
        with pytest.raises(
            TypeError,
            match=rf"`arch` must be constructed as {name}\(n_labels, n_wavelengths, "
            rf"\*\*arch_params\); got a class that {reason}",
        ):
            build_network(wrong, 3, GRID)


def test_layer_with_the_name_of_a_method_is_refused():
    # the method would hide it: `self.context(labels)` would be the labels
    class Hidden(Own):
        def __init__(self, n_labels, n_wavelengths):
            super().__init__(n_labels, n_wavelengths)
            self.context = nn.Linear(n_labels, n_labels)

    with pytest.raises(TypeError, match=r"called 'context', .* Rename it in Hidden\."):
        build_network(Hidden, 3, GRID)


def test_tangents_that_are_promised_and_missing_are_an_error():
    class Promising(OwnAtWavelengths):
        has_tangents = True

    network, _ = build_network(Promising, 3, GRID)
    with pytest.raises(NotImplementedError, match="Promising must define `at_with_tan"):
        network.evaluate_with_jacobian(LABELS, GRID)


# looking at the flux leaves no trace


class Noisy(Own):
    """Draws random numbers, and has statistics and a part that is never trained."""

    def __init__(self, n_labels, n_wavelengths):
        super().__init__(n_labels, n_wavelengths)
        self.norm = nn.BatchNorm1d(n_wavelengths)
        self.drop = nn.Dropout(0.5)
        self.norm.eval()
        self.n_calls = 0

    def forward(self, labels):
        self.n_calls += 1
        return self.drop(self.norm(self.layers(labels))) + torch.rand(())


def test_building_draws_only_the_numbers_of_the_constructor():
    torch.manual_seed(5)
    Noisy(3, 11)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_network(Noisy, 3, GRID)
    assert torch.equal(torch.rand(3), expected)


def test_building_leaves_statistics_modes_and_gradients_alone():
    network, _ = build_network(Noisy, 3, GRID)
    assert network.norm.num_batches_tracked == 0
    assert torch.equal(network.norm.running_mean, torch.zeros(11))
    assert network.training
    assert network.drop.training
    assert not network.norm.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.n_calls == 0


# defaults of torch


@pytest.fixture(params=["float64", "bfloat16", "meta", "float64 and meta"])
def defaults(request):
    """Give another default precision or device of torch."""
    if "float" in request.param:
        torch.set_default_dtype(getattr(torch, request.param.split()[0]))
    if "meta" in request.param:
        torch.set_default_device("meta")
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@pytest.mark.parametrize("arch", [*NETWORKS, Own, OwnAtWavelengths])
def test_network_is_float32_on_the_cpu_whatever_the_defaults_are(arch, defaults):
    named = NAMED if arch == "opacity" else None
    network, _ = build_network(arch, 3, GRID, label_scale=named)
    labels = torch.zeros(2, 3, dtype=torch.float32, device="cpu")
    flux, jacobian = network.evaluate_with_jacobian(
        labels, GRID, by_wavelength=network.takes_wavelength
    )
    found = [*network.parameters(), flux, jacobian, network.evaluate(labels, GRID)]
    assert {tensor.dtype for tensor in found} == {torch.float32}
    tensors = [*found, *network.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}


def test_building_leaves_the_defaults_alone(defaults):
    dtype = torch.get_default_dtype()
    build_network("payne", 3, GRID, {"n_hidden": 5})
    assert torch.get_default_dtype() is dtype
    assert torch.zeros(1).device.type == torch.get_default_device().type


def test_building_does_not_move_the_tensors_of_other_threads():
    inside, leave = threading.Event(), threading.Event()

    class Waiting(Own):
        def __init__(self, n_labels, n_wavelengths):
            super().__init__(n_labels, n_wavelengths)
            inside.set()
            leave.wait(10)

    torch.set_default_device("meta")
    try:
        thread = threading.Thread(target=build_network, args=(Waiting, 3, GRID))
        thread.start()
        assert inside.wait(10)
        assert torch.zeros(1).device.type == "meta"
    finally:
        leave.set()
        thread.join()
        torch.set_default_device(None)


# one that is registered


def test_registered_class_of_a_user_is_adapted_by_name():
    register_network("of a test")(Own)
    try:
        assert NETWORKS["of a test"] is Own
        assert resolve_network("of a test") is resolve_network(Own)
        assert default_recipe("of a test") == NETWORKS["bigpayne"].recipe
    finally:
        del NETWORKS["of a test"]


@pytest.mark.parametrize("arch", sorted(NETWORKS))
def test_methods_of_a_registered_architecture_are_the_contract(arch):
    network, _ = build_network(arch, 3, GRID)
    wavelength = (GRID,) if network.takes_wavelength else ()
    torch.testing.assert_close(
        network.evaluate(LABELS, GRID), network(LABELS, *wavelength)
    )
    flux, jacobian = network.evaluate_with_jacobian(LABELS, GRID)
    torch.testing.assert_close(flux, network.evaluate(LABELS, GRID))
    assert jacobian.shape == (2, 3, 11)
    linear = {n for n, m in network.named_modules() if isinstance(m, nn.Linear)}
    assert set(network.label_layers or ()) <= linear
    assert network.flux_layer is None or network.flux_layer in linear


# parts of a grid


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("payne", {"n_hidden": 5}),
        ("cannon", {}),
        ("opacity", {"n_hidden": 5, "n_populations": 7}),
        ("opacity", {"n_hidden": 5, "n_populations": 7, "rank": 3}),
        ("convolutional", {"n_hidden": 5, "n_channels": 3}),
        (Own, {}),
    ],
)
@pytest.mark.parametrize("pixels", [slice(0, 40), slice(31, 77), slice(90, 101)])
def test_slice_grid_has_the_flux_and_derivatives_of_the_whole_there(
    arch, options, pixels
):
    torch.manual_seed(0)
    grid = torch.linspace(3.65, 3.66, 101, dtype=torch.float64)
    network, _ = build_network(arch, 3, grid, options)
    network.requires_grad_(False).double()
    for weight in network.parameters():
        weight.normal_(std=0.3)  # none is zero, so that all count
    labels = LABELS.double()
    part = network.slice_grid(pixels)
    flux, jacobian = network.evaluate_with_jacobian(labels)
    found, found_jacobian = part.evaluate_with_jacobian(labels)
    close = {"rtol": 1e-10, "atol": 1e-12}
    torch.testing.assert_close(found, flux[:, pixels], **close)
    torch.testing.assert_close(found_jacobian, jacobian[:, :, pixels], **close)
    torch.testing.assert_close(part.evaluate(labels), flux[:, pixels], **close)


def test_part_of_a_part_is_the_part_of_the_whole():
    torch.manual_seed(0)
    grid = torch.linspace(3.65, 3.66, 101, dtype=torch.float64)
    for arch in ("payne", "convolutional", "opacity"):
        network, _ = build_network(arch, 3, grid)
        part = network.slice_grid(slice(20, 90)).slice_grid(slice(11, 40))
        with torch.no_grad():
            expected = network(LABELS)[:, 31:60]
            torch.testing.assert_close(part(LABELS), expected, rtol=1e-4, atol=1e-5)


def test_part_of_a_grid_shares_the_memory_of_the_weights():
    network, _ = build_network("payne", 3, GRID)
    part = network.slice_grid(slice(3, 7))
    last, own = network.layers[-1].weight, part.layers[-1].weight
    assert own.shape == (4, 300)
    assert own.data_ptr() == last[3:7].data_ptr()
