"""Tests of TransformerPayne, against published sizes and what muP promises."""

import math

import pytest
import torch

from sk_payne.networks import TransformerPayne

GRID = torch.linspace(3.650, 3.652, 13, dtype=torch.float64)


def small(residual="pre", *, seed=0, zero_init=False, **options):
    """A network in float64 with random weights, also in the biases."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = TransformerPayne(
            3,
            len(GRID),
            **{
                "residual": residual,
                "width": 12,
                "n_heads": 3,
                "n_layers": 2,
                "n_tokens": 5,
                "shortest_period": 1e-4,
                "longest_period": 1e-2,
                "zero_init": zero_init,
            }
            | options,
        ).double()
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter)
    return network.requires_grad_(False)


@pytest.fixture(params=["pre", "post"])
def network(request):
    return small(request.param)


@pytest.fixture
def labels():
    return torch.randn(
        4, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )


def count(network):
    return sum(p.numel() for p in network.parameters())


def test_pre_has_as_many_parameters_as_the_released_weights():
    # released in 2025: 96 labels, width 128, 8 layers
    network = TransformerPayne(
        96, 1, width=128, n_layers=8, token_hidden=128, token_bias=False
    )
    assert count(network) == 1_863_808


def test_post_has_as_many_parameters_as_the_layers_add_up_to():
    L, E, n_layers, T = 19, 256, 16, 16
    tokens = L * 4 * E + 4 * E + 4 * E * T * E + T * E
    attention = 4 * (E * E + E)
    feed_forward = 4 * E * E + 4 * E + 4 * E * E + E
    norms = 3 * 2 * E
    head = 2 * E + E * E + E + E + 1
    expected = tokens + n_layers * (attention + feed_forward + norms) + head
    found = count(
        TransformerPayne(L, 1, residual="post", width=E, n_layers=n_layers, n_tokens=T)
    )
    assert found == expected
    # "17 million" of the paper
    assert round(found / 1e6) == 17


@pytest.mark.parametrize(
    ("width", "n_heads"), [(32, 1), (128, 4), (256, 8), (16, 1), (48, 1)]
)
def test_heads_have_32_channels_unless_the_width_forbids(width, n_heads):
    network = TransformerPayne(3, 1, width=width, n_layers=1)
    assert network.layers[0].attention.n_heads == n_heads


def test_number_of_parameters_does_not_depend_on_the_wavelengths():
    assert count(TransformerPayne(3, 7, width=8)) == count(
        TransformerPayne(3, 2198, width=8)
    )


def test_forward_at_a_wavelength_ignores_the_other_wavelengths(network, labels):
    full = network(labels, GRID)
    for i in (0, 5, 12):
        alone = network(labels, GRID[i : i + 1])
        torch.testing.assert_close(full[:, i : i + 1], alone, rtol=0, atol=1e-13)


def test_forward_of_a_star_ignores_the_other_stars(network, labels):
    full = network(labels, GRID)
    for i in range(4):
        alone = network(labels[i : i + 1], GRID)
        torch.testing.assert_close(full[i : i + 1], alone, rtol=0, atol=1e-13)


def test_forward_takes_wavelengths_of_each_star(network, labels):
    shifts = torch.linspace(0, 1e-4, 4, dtype=torch.float64)
    own = GRID + shifts[:, None]
    found = network(labels, own)
    for i in range(4):
        expected = network(labels[i : i + 1], own[i])
        torch.testing.assert_close(found[i : i + 1], expected, rtol=0, atol=1e-13)


def test_forward_is_at_of_context(network, labels):
    context = network.context(labels)
    assert len(context) == 2
    for look, *_, give in context:
        assert look.mT.shape == give.shape == (4, 15, 12)  # stars, heads x tokens, E
    torch.testing.assert_close(
        network.at(context, GRID), network(labels, GRID), rtol=0, atol=0
    )


def test_forward_depends_on_labels_and_wavelength(network, labels):
    flux = network(labels, GRID)
    assert flux.std(dim=0).min() > 1e-3
    assert flux.std(dim=1).min() > 1e-3


@pytest.mark.parametrize("argument", ["labels", "wavelength"])
def test_derivatives_are_those_of_finite_differences(network, labels, argument):
    step = 1e-6 if argument == "labels" else 1e-10  # of the shortest period: 1e-6
    labels = labels[:1].clone().requires_grad_(argument == "labels")
    grid = GRID[3:4].clone().requires_grad_(argument == "wavelength")
    x = labels if argument == "labels" else grid
    (slope,) = torch.autograd.grad(network(labels, grid).sum(), x)
    with torch.no_grad():
        there = [
            network(labels + s, grid)
            if argument == "labels"
            else network(labels, grid + s)
            for s in (step, -step)
        ]
    by_difference = float((there[0] - there[1]).sum()) / (2 * step)
    # rounding of the flux over the step
    assert float(slope.sum()) == pytest.approx(
        by_difference, rel=1e-4 if argument == "wavelength" else 1e-7
    )


def test_zero_init_starts_with_the_same_flux_everywhere(labels):
    network = small(zero_init=True)
    assert (network(labels, GRID) == 0).all()
    changed = [name for name, p in network.named_parameters() if (p == 0).all()]
    per_layer = ("attention.query", "attention.out", "feed_forward.2")
    assert changed == [
        *(f"layers.{i}.{part}.weight" for i in range(2) for part in per_layer),
        "head.2.weight",
    ]


def test_zero_init_learns_all_the_same(labels):
    network = small(zero_init=True).requires_grad_(True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    # in turn: the head, the last layers, the queries, and then keys and all others
    for _ in range(4):
        optimizer.zero_grad()
        (network(labels, GRID) - 1).square().mean().backward()
        optimizer.step()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_post_ignores_zero_init(labels):
    torch.testing.assert_close(
        small("post", zero_init=True)(labels, GRID),
        small("post", zero_init=False)(labels, GRID),
        rtol=0,
        atol=0,
    )


def test_pre_has_biases_in_the_tokens_only_and_post_everywhere():
    biases = [name for name, _ in small("pre").named_parameters() if "bias" in name]
    assert biases == ["tokens.0.bias", "tokens.2.bias"]
    without = small("pre", token_bias=False)
    assert not any("bias" in name for name, _ in without.named_parameters())
    for name, module in small("post").named_modules():
        if isinstance(module, torch.nn.Linear):
            assert module.bias is not None, name


def test_first_weights_have_the_variance_of_lecun_and_end_at_two_sigma():
    torch.manual_seed(0)
    network = TransformerPayne(7, 1, width=128, n_layers=1, zero_init=False)
    for module in network.modules():
        if isinstance(module, torch.nn.Linear) and module.weight.numel() > 10_000:
            scaled = module.weight.detach() * math.sqrt(module.in_features)
            # 16384 draws give their deviation to 0.4 per cent
            assert float(scaled.std()) == pytest.approx(1, abs=0.02)
            assert float(scaled.abs().max()) <= 2 / 0.8796 * 1.0001


@pytest.mark.parametrize(
    ("width", "n_layers", "tokens", "layers", "head"),
    [
        (64, 4, 1.0, 1.0, 1.0),
        (128, 4, 0.5, 0.5, 0.5),
        (256, 16, 0.25, 0.125, 0.25),
    ],
)
def test_learning_rate_factors_fall_with_width_and_depth(
    width, n_layers, tokens, layers, head
):
    network = TransformerPayne(3, 1, width=width, n_layers=n_layers)
    assert network.learning_rate_factors() == [
        ("tokens.2.weight", tokens),
        ("layers.*", layers),
        ("head.*", head),
    ]


def test_tokens_start_with_a_part_that_all_stars_share():
    tokens = TransformerPayne(3, 1, width=64).tokens(torch.randn(100, 3)).detach()
    assert 0.5 < float(tokens.mean(dim=0).std()) < 2
    assert 0.1 < float((tokens - tokens.mean(dim=0)).std()) < 2


def test_learning_rate_factors_of_post_are_none():
    network = TransformerPayne(3, 1, residual="post", width=128)
    assert network.learning_rate_factors() == []


def test_first_layer_and_biases_of_the_tokens_keep_the_full_learning_rate():
    # the fan-in is the number of labels, or one, which do not grow
    from fnmatch import fnmatch

    network = TransformerPayne(3, 1, width=128)
    patterns = [pattern for pattern, _ in network.learning_rate_factors()]
    free = [
        name
        for name, _ in network.named_parameters()
        if not any(fnmatch(name, pattern) for pattern in patterns)
    ]
    assert free == ["tokens.0.weight", "tokens.0.bias", "tokens.2.bias"]


@pytest.mark.parametrize("n_layers", [1, 4, 16])
def test_branches_of_pre_shrink_with_the_square_root_of_the_depth(n_layers):
    network = TransformerPayne(3, 1, width=8, n_layers=n_layers)
    assert network.layers[0].factor == pytest.approx(math.sqrt(4 / n_layers))


def test_grid_params_are_two_steps_and_twice_the_range():
    grid = torch.linspace(3.6, 3.7, 101, dtype=torch.float64)
    params = TransformerPayne.grid_params(grid)
    assert params == {
        "shortest_period": pytest.approx(0.002),
        "longest_period": pytest.approx(0.2),
    }


def test_grid_params_of_a_grid_with_a_gap_keep_the_usual_step():
    grid = torch.cat([GRID, GRID + 0.1])
    step = float(GRID[1] - GRID[0])
    assert TransformerPayne.grid_params(grid)["shortest_period"] == pytest.approx(
        2 * step, rel=1e-9
    )


@pytest.mark.parametrize(("n", "expected"), [(1, set()), (2, {"shortest", "longest"})])
def test_grid_params_of_tiny_grids_build_a_network(n, expected):
    params = TransformerPayne.grid_params(GRID[:n])
    assert {name.removesuffix("_period") for name in params} == expected
    flux = TransformerPayne(3, n, width=8, **params)(torch.zeros(2, 3), GRID[:n])
    assert flux.shape == (2, n)


def test_unknown_residual_is_an_error():
    with pytest.raises(ValueError, match="must be 'pre' or 'post'; got 'middle'"):
        TransformerPayne(3, 1, residual="middle")


@pytest.mark.parametrize(
    "name", ["width", "n_layers", "n_tokens", "token_hidden", "feed_forward"]
)
def test_size_of_zero_is_an_error_that_names_it(name):
    with pytest.raises(ValueError, match=f"`{name}` must be at least 1; got 0"):
        TransformerPayne(3, 1, **{name: 0})


def test_heads_that_do_not_divide_the_width_are_an_error():
    with pytest.raises(ValueError, match="must be divisible"):
        TransformerPayne(3, 1, width=32, n_heads=5)


def test_a_factor_of_zero_leaves_the_wavelength_code(labels):
    # so that the head sees nothing of the star
    network = small(factor=0.0)
    flux = network(labels, GRID)
    torch.testing.assert_close(flux, flux[:1].expand_as(flux))
    stream = network.encoding(GRID)
    norm = stream.square().mean(dim=-1, keepdim=True).sqrt()
    torch.testing.assert_close(flux[0], network.head(stream / norm)[:, 0])


def test_norm_eps_is_added_to_the_mean_square(labels):
    network = small(factor=0.0, norm_eps=0.5)
    stream = network.encoding(GRID)
    norm = (stream.square().mean(dim=-1, keepdim=True) + 0.5).sqrt()
    expected = network.head(stream / norm)[:, 0]
    torch.testing.assert_close(network(labels, GRID)[0], expected)


def test_biases_of_pre_are_those_of_every_layer_but_the_code():
    with_biases = dict(small(bias=True).named_parameters())
    without = dict(small(token_bias=False).named_parameters())
    assert set(without) == {name for name in with_biases if name.endswith("weight")}


def test_activation_is_that_of_all_layers():
    network = small(activation="tanh")
    kinds = [type(m) for m in network.modules() if not list(m.children())]
    assert kinds.count(torch.nn.Tanh) == 1 + 2 + 1
    assert torch.nn.GELU not in kinds
