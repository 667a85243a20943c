"""Tests of token responses and attention, against differences and the forward pass."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sk_payne.exceptions import WavelengthMismatchError
from sk_payne.inspection import (
    AttentionDisplay,
    TokenResponseDisplay,
    attention_maps,
    token_response,
)
from sk_payne.inspection._token_response import leaf_order

LINES = {"Fe": [4501.0, 4507.5, 4999.0], "Mg": [4512.0]}


@pytest.fixture(scope="module", params=["pre", "post"])
def transformer(request, fitted, make_tiny, tiny_grid):
    if request.param == "pre":
        return fitted["transformer"]
    params = {"width": 16, "n_layers": 3, "n_tokens": 5, "n_heads": 2}
    emulator = make_tiny("transformer", arch_params=params | {"residual": "post"})
    return emulator.fit(tiny_grid.data, tiny_grid.target)


@pytest.fixture
def maps(fitted, tiny_grid):
    return attention_maps(fitted["transformer"], tiny_grid.data[:7])


# Tokens --------------------------------------------------------------------------


def normalised_tokens(emulator, P):
    """Tokens by definition, with the scaling of labels done here."""
    network = emulator.to_torch(dtype=torch.float64).network
    low, high = emulator.label_low_, emulator.label_high_
    tokens = network.tokens(torch.tensor((2 * P - low - high) / (high - low)))
    tokens = tokens.numpy()
    if network.residual == "post":
        tokens = tokens - tokens.mean(axis=-1, keepdims=True)
    return tokens / np.sqrt(np.mean(tokens**2, axis=-1, keepdims=True))


def test_response_is_that_of_finite_differences(transformer, tiny_grid):
    P = tiny_grid.data[:11]
    half = (transformer.label_high_ - transformer.label_low_) / 2
    found = token_response(transformer, P).response
    for i, size in enumerate(half):
        step = np.zeros(len(half))
        step[i] = 1e-5 * size
        up, down = (normalised_tokens(transformer, P + s) for s in (step, -step))
        norm = np.linalg.norm(up - down, axis=-1) / 2e-5 / np.sqrt(up.shape[-1])
        # layer norm adds 1e-5 to the variance
        np.testing.assert_allclose(found[:, i], norm.mean(axis=0), rtol=1e-4)


def test_orders_are_permutations_that_put_similar_rows_together():
    groups = np.array([[1, 0, 0], [0, 1, 0], [1, 0.1, 0], [0, 1, 0.1], [1.1, 0, 0]])
    order = leaf_order(groups).tolist()
    assert sorted(order) == [0, 1, 2, 3, 4]
    first = [i in (0, 2, 4) for i in order]
    assert first in ([True] * 3 + [False] * 2, [False] * 2 + [True] * 3)


def test_labels_that_never_varied_have_no_response(make_tiny, tiny_grid):
    P = tiny_grid.data.copy()
    P[:, 1] = 4.5
    emulator = make_tiny("transformer", max_steps=3).fit(P, tiny_grid.target)
    response = token_response(emulator, P[:3])
    assert response.label_names == ["teff", "Fe_H", "Mg_H", "Ca_H"]
    assert response.response.shape == (3, 4)


def test_networks_without_tokens_are_refused(fitted, tiny_grid):
    for arch in ("opacity", "payne"):
        for function in (token_response, attention_maps):
            with pytest.raises(ValueError, match=r"must be a transformer .* no tokens"):
                function(fitted[arch], tiny_grid.data)


def test_response_is_drawn_in_its_order(fitted, tiny_grid, pyplot):
    display = TokenResponseDisplay.from_estimator(
        fitted["transformer"], tiny_grid.data[:7]
    ).plot(image_kwargs={"cmap": "Greys"})
    r = display.response
    np.testing.assert_array_equal(
        display.image_.get_array(), r.response[r.token_order][:, r.label_order]
    )
    ticks = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert ticks == [r.label_names[i] for i in r.label_order]
    assert display.image_.get_cmap().name == "Greys"


# Attention -----------------------------------------------------------------------


def test_flux_of_the_recomputed_pass_is_that_of_predict(transformer, tiny_grid):
    P = tiny_grid.data[:7]
    maps = attention_maps(transformer, P)
    np.testing.assert_allclose(maps.flux, transformer.predict(P), rtol=0, atol=1e-6)
    assert maps.attention.min() > 0
    np.testing.assert_allclose(maps.attention.sum(axis=2), 1, rtol=0, atol=1e-12)


def test_first_layer_is_softmax_of_queries_and_keys(fitted, tiny_grid):
    emulator, P = fitted["transformer"], tiny_grid.data[:1]
    network = emulator.to_torch(dtype=torch.float64).network
    attention = network.layers[0].attention
    low, high = emulator.label_low_, emulator.label_high_
    tokens = network.tokens(torch.tensor((2 * P - low - high) / (high - low)))[0]
    code = network.encoding(torch.tensor(np.log10(emulator.wavelength_)))
    query = attention.query(F.rms_norm(code, (16,)))
    key = attention.key(F.rms_norm(tokens, (16,)))
    expected = torch.softmax(key @ query.T / 16, dim=0)
    found = attention_maps(emulator, P, layers=[0]).attention
    np.testing.assert_allclose(found[0, 0], expected, rtol=0, atol=1e-12)


def test_attention_of_stars_is_their_mean_whatever_the_blocks(
    transformer, tiny_grid, monkeypatch
):
    P = tiny_grid.data[:5]
    whole = attention_maps(transformer, P)
    single = [attention_maps(transformer, star[None]).attention for star in P]
    np.testing.assert_allclose(whole.attention, np.mean(single, axis=0), rtol=1e-12)
    monkeypatch.setattr("sk_payne.networks._evaluate._PIXELS_CPU", 17)
    again = attention_maps(transformer, P)
    np.testing.assert_allclose(again.attention, whole.attention, rtol=1e-9)
    np.testing.assert_allclose(again.flux, whole.flux, rtol=1e-12)


def test_wavelengths_and_layers_can_be_chosen(transformer, tiny_grid):
    P, at = tiny_grid.data[:2], [4503.21, 4510.0]
    maps = attention_maps(transformer, P, at, [1])
    assert maps.attention.shape[0] == 1
    np.testing.assert_array_equal(maps.wavelength, at)
    expected = transformer.predict(P, wavelength=at)
    np.testing.assert_allclose(maps.flux, expected, rtol=0, atol=1e-6)
    on_grid = attention_maps(transformer, P)
    again = attention_maps(transformer, P, transformer.wavelength_, [1])
    np.testing.assert_allclose(again.attention[0], on_grid.attention[1], rtol=1e-9)


def test_the_emulator_is_left_as_it_was(fitted, tiny_grid):
    emulator = fitted["transformer"]
    before = emulator.predict(tiny_grid.data[:3])
    attention_maps(emulator, tiny_grid.data[:3])
    np.testing.assert_array_equal(emulator.predict(tiny_grid.data[:3]), before)


def test_bad_layers_and_wavelengths_are_errors(fitted, make_tiny, tiny_grid):
    emulator, P = fitted["transformer"], tiny_grid.data[:1]
    for layers in ([2], [-1], [0.5], []):
        with pytest.raises(ValueError, match="`layers` must be whole numbers from 0"):
            attention_maps(emulator, P, layers=layers)
    with pytest.raises(WavelengthMismatchError, match=r"4500.000-4520.000 Å.*600"):
        attention_maps(emulator, P, [4510.0, 600.0])
    pixels = make_tiny("transformer", wavelength=None, medium=None, max_steps=2)
    pixels.fit(tiny_grid.data, tiny_grid.target)
    with pytest.raises(ValueError, match="`wavelength` cannot be chosen"):
        attention_maps(pixels, P, [4510.0])
    assert attention_maps(pixels, P).medium is None


def test_map_spectrum_and_lines_are_drawn(maps, pyplot):
    display = AttentionDisplay(maps).plot(1, 0, lines=LINES)
    (image,) = display.images_
    np.testing.assert_array_equal(image.get_array(), maps.attention[1, 0])
    np.testing.assert_array_equal(
        display.ax_[1].lines[0].get_ydata(), maps.flux.mean(axis=0)
    )
    iron, magnesium = display.lines_
    seen = [segment[0, 0] for segment in iron.get_segments()]
    assert seen == [4501.0, 4507.5]  # one is beyond the range
    assert len(magnesium.get_segments()) == 1
    names = [text.get_text() for text in display.ax_[2].get_yticklabels()]
    assert names == ["Fe", "Mg"]
    assert display.ax_[2].get_xlabel() == "wavelength in air [Å]"
    display.figure_.canvas.draw()


def test_map_without_lines_has_no_strip(maps, pyplot):
    display = AttentionDisplay(maps).plot(0, 0, image_kwargs={"vmax": 0.5})
    assert len(display.ax_) == 2
    assert display.images_[0].get_clim() == (0, 0.5)


def test_several_heads_share_the_spectrum_and_the_lines(maps, pyplot):
    display = AttentionDisplay(maps).plot([1, 0], 0, lines=LINES)
    for image, layer in zip(display.images_, [1, 0], strict=True):
        np.testing.assert_array_equal(image.get_array(), maps.attention[layer, 0])
    titles = [panel.get_title() for panel in display.ax_]
    assert titles == ["layer 1, head 0", "layer 0, head 0", "", ""]
    assert display.ax_[2].lines
    assert display.ax_[3].get_ylim() == (1.6, -0.6)
    display.figure_.canvas.draw()


def test_overview_has_every_layer_and_head_on_one_scale(transformer, tiny_grid, pyplot):
    display = AttentionDisplay.from_estimator(transformer, tiny_grid.data[:2])
    display.plot_overview()
    maps = display.attention.attention
    assert display.ax_.shape == maps.shape[:2]
    for image, expected in zip(
        display.images_, maps.reshape(-1, *maps.shape[2:]), strict=True
    ):
        np.testing.assert_array_equal(image.get_array(), expected)
        assert image.get_clim() == display.images_[0].get_clim()
    display.figure_.canvas.draw()


def test_unknown_layer_and_head_are_errors(maps):
    with pytest.raises(ValueError, match=r"`layer` must be one of \[0, 1\]; got 2"):
        AttentionDisplay(maps).of(2, 0)
    with pytest.raises(ValueError, match=r"`head` must be .* from 0 to 0; got 1"):
        AttentionDisplay(maps).of(0, 1)
