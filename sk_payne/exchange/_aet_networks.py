"""Conversion of networks of astro-emulators-toolkit: dense, Cannon, transformer.

All that depends on the family of the network is in this file.
"""

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.exchange._dense_weights import dense_network

__all__ = ["ROUNDING", "convert_network"]

# Wavelengths in a bundle may be known to single precision only.
ROUNDING = 1e-6

_ACTIVATIONS = {
    "gelu": "gelu_tanh",  # JAX's default is the approximation
    "relu": "relu",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "squared_relu": "squared_relu",
    "swish": "silu",
    "tanh": "tanh",
}


def convert_network(bundle, wavelength):
    """Give our network with the output of that in a bundle.

    Parameters
    ----------
    bundle : Bundle
        Checked.
    wavelength : array-like of shape (n_wavelengths,)
        Å.

    Returns
    -------
    arguments : dict
        Those of :func:`sk_payne.emulators.from_weights` that say what the network is.

    Raises
    ------
    FileFormatError
        If there is no such network.
    ValueError
        If the wavelengths are not those of the bundle.
    """
    model = bundle.metadata["resolved"]["model"]
    family, params = model["name"], model["params"]
    _check(bundle, family, params)
    limits = bundle.limits("reference_scaling_outputs", bundle.leaf("output"))
    low, high = limits or (np.zeros(1), np.ones(1))
    scale = float(np.mean(high - low))
    # ours has one scale for all wavelengths; the last layer takes the rest
    gain = (high - low) / scale
    if family == "mlp":
        arch, (arch_params, weights) = "payne", _dense(bundle.weights, params, gain)
    elif family == "cannon":
        arch, arch_params = "cannon", {}
        weights = _cannon(bundle.weights, params, gain)
    else:
        arch, weights = "transformer", _transformer(bundle.weights, params)
        code = _wavelength_code(bundle, params, wavelength)
        arch_params = _transformer_options(params) | code
    return {
        "arch": arch,
        "arch_params": arch_params,
        "weights": weights,
        "flux_offset": low,
        "flux_scale": scale,
    }


def _check(bundle, family, params):
    families = ("cannon", "mlp", "transformer_payne")
    for holds, rule in (
        (family in families, f"a network of the families {families}"),
        (params.get("hidden_sizes") != [], "a hidden layer"),
        (
            params.get("output_activation", "linear") == "linear",
            "no activation after the last layer",
        ),
        (
            params.get("activation", "gelu") in _ACTIVATIONS,
            f"one of the activations {sorted(_ACTIVATIONS)}",
        ),
        (params.get("channels", 1) == 1, "one channel, flux"),
    ):
        if not holds:
            raise FileFormatError(
                f"'{bundle.path}' must have {rule} to be read; its 'metadata.json' has "
                f"{family!r} with {params}."
            )


def _dense(weights, params, gain):
    numbers = range(len(params["hidden_sizes"]) + 1)
    matrices = [weights[f"layers/{i}/kernel"].T for i in numbers]
    biases = [
        weights.get(f"layers/{i}/bias", np.zeros(len(matrix)))
        for i, matrix in enumerate(matrices)
    ]
    matrices[-1], biases[-1] = gain[:, None] * matrices[-1], gain * biases[-1]
    options, weights = dense_network(matrices, biases)
    return options | {"activation": _ACTIVATIONS[params["activation"]]}, weights


def _cannon(weights, params, gain):
    coefficients = gain * weights["coefficients"]
    if not params["include_bias"]:
        coefficients = np.pad(coefficients, ((1, 0), (0, 0)))
    return {
        "polynomial.bias": coefficients[0],
        "polynomial.weight": coefficients[1:].T,
    }


def _transformer_options(params):
    n_layers, reference = params["no_layers"], params["reference_depth"]
    return {
        "residual": "pre",
        "width": params["dim"],
        "n_layers": n_layers,
        "n_heads": params["dim"] // params["dim_head"],
        "n_tokens": params["no_tokens"],
        "token_hidden": params["dim"],
        "feed_forward": params["dim_ff_multiplier"],
        "activation": _ACTIVATIONS[params["activation"]],
        "factor": 1.0 if reference is None else reference / n_layers,
        "norm_eps": 1e-6,
        # zero where the toolkit has none
        "token_bias": True,
        "bias": True,
    }


def _transformer(weights, params):
    layers = {
        "tokens.0": ("param_embedding/w0", "param_embedding/b0"),
        "tokens.2": ("param_embedding/w1", "param_embedding/b1"),
        "head.0": ("head/proj0/w", "head/proj0/b"),
        "head.2": ("head/proj1/w", "head/proj1/b"),
    }
    for i in range(params["no_layers"]):
        ours, theirs = f"layers.{i}.attention", f"attn_layers/{i}"
        for name in ("query", "key", "value", "out"):
            letter = name[0]
            layers[f"{ours}.{name}"] = f"{theirs}/w{letter}", f"{theirs}/b{letter}"
        ours, theirs = f"layers.{i}.feed_forward", f"ff_layers/{i}"
        for number, name in ((0, "in_proj"), (2, "out_proj")):
            layers[f"{ours}.{number}"] = f"{theirs}/{name}/w", f"{theirs}/{name}/b"
    found = {}
    for ours, (matrix, bias) in layers.items():
        matrix = weights[matrix]
        # heads and their channels are axes of their own there, in front only here
        n_in = params["dim"] if ours.endswith("out") else len(matrix)
        matrix = matrix.reshape(n_in, -1).T
        factor = 1.0
        if ours == "tokens.2":
            factor = params["alpha_emb"]
        elif ours.endswith("key"):
            factor = params["alpha_att"]
        bias = weights.get(bias, np.zeros(len(matrix))).ravel()
        found |= {f"{ours}.weight": factor * matrix, f"{ours}.bias": factor * bias}
    return found


def _wavelength_code(bundle, params, wavelength):
    """Periods and origin of the code, which the toolkit makes of scaled wavelengths."""
    leaf = bundle.leaf("wavelength")
    scaling = bundle.limits("reference_scaling_inputs", leaf)
    domain = bundle.limits("input_domain", leaf) or scaling
    if domain is None:
        raise FileFormatError(
            f"'{bundle.path}' says neither domain nor scaling of its wavelengths in "
            "'metadata.json', so that nobody knows whether they are in Å or "
            "logarithms. Save it again with an `input_domain`."
        )
    (low,), (high,) = domain
    (origin,), (end,) = scaling or ([0.0], [1.0])
    span = float(end - origin)
    return {
        "origin": float(origin),
        "linear": _is_linear(np.asarray(wavelength), low, high),
        "shortest_period": params["min_period"] * span,
        "longest_period": params["max_period"] * span,
    }


def _is_linear(wavelength, low, high):
    """Whether wavelengths in Å lie in a domain, and not their logarithms."""
    for linear, w in ((True, wavelength), (False, np.log10(wavelength))):
        inside = (w >= low * (1 - ROUNDING)) & (w <= high * (1 + ROUNDING))
        if inside.all():
            return linear
    raise ValueError(
        f"`wavelength` must lie in the domain of the bundle, {low:g} to {high:g}, in Å "
        f"or as logarithm; got {wavelength.min():g} to {wavelength.max():g} Å."
    )
