"""Tests of attention, against the textbook formula in numpy."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from sk_payne.networks._attention import CrossAttention

B, P, T, E, H = 2, 5, 3, 12, 3


@pytest.fixture(
    params=[("sqrt", True), ("linear", False)], ids=["sqrt, bias", "linear, no bias"]
)
def attention(request):
    scale, bias = request.param
    torch.manual_seed(0)
    return CrossAttention(E, H, scale=scale, bias=bias).double().requires_grad_(False)


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(1)
    draw = {"generator": generator, "dtype": torch.float64}
    return torch.randn(B, P, E, **draw), torch.randn(B, T, E, **draw)


def apply(linear, x):
    y = x.numpy() @ linear.weight.numpy().T
    return y if linear.bias is None else y + linear.bias.numpy()


def by_hand(attention, wave, tokens):
    """Weights and output, head by head."""
    query, key, value = (
        apply(linear, x)
        for linear, x in (
            (attention.query, wave),
            (attention.key, tokens),
            (attention.value, tokens),
        )
    )
    d = E // H
    scale = d**-0.5 if attention.query.bias is not None else 1 / d
    weights, mixed = [], []
    for h in range(H):
        mine = slice(h * d, (h + 1) * d)
        logits = query[..., mine] @ key[..., mine].swapaxes(1, 2)
        weights.append(softmax(scale * logits, axis=-1))
        mixed.append(weights[-1] @ value[..., mine])
    out = apply(attention.out, torch.from_numpy(np.concatenate(mixed, axis=-1)))
    return np.stack(weights, axis=1), out


def test_forward_is_the_formula(attention, inputs):
    wave, tokens = inputs
    found = attention(wave, attention.memory(tokens)).numpy()
    _, expected = by_hand(attention, wave, tokens)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


def test_attention_weights_are_the_formula_and_rows_sum_to_one(attention, inputs):
    wave, tokens = inputs
    found = attention.attention_weights(wave, attention.memory(tokens)).numpy()
    expected, _ = by_hand(attention, wave, tokens)
    assert found.shape == (B, H, P, T)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=0, atol=1e-14)


def test_attention_weights_reproduce_the_forward(attention, inputs):
    wave, tokens = inputs
    memory = attention.memory(tokens)
    weights = attention.attention_weights(wave, memory)
    value = attention.value(tokens).unflatten(-1, (H, -1)).transpose(1, 2)
    again = attention.out((weights @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(again, attention(wave, memory), rtol=0, atol=1e-14)


def test_memory_is_of_one_row_per_star_head_and_token(attention, inputs):
    look, *_, give = attention.memory(inputs[1])
    assert look.mT.shape == give.shape == (B, H * T, E)


def test_a_wavelength_ignores_the_other_wavelengths(attention, inputs):
    wave, tokens = inputs
    memory = attention.memory(tokens)
    alone = attention(wave[:, 2:3], memory)
    changed = wave.clone()
    changed[:, :2] += 7
    among_others = attention(changed, memory)[:, 2:3]
    torch.testing.assert_close(among_others, alone, rtol=0, atol=1e-14)


def test_order_of_the_tokens_does_not_matter(attention, inputs):
    wave, tokens = inputs
    found = attention(wave, attention.memory(tokens.flip(1)))
    expected = attention(wave, attention.memory(tokens))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_width_that_the_heads_do_not_divide_is_an_error():
    with pytest.raises(
        ValueError, match=r"`width` \(=13\) must be divisible by `n_heads` \(=3\)"
    ):
        CrossAttention(13, 3, scale="sqrt", bias=True)
