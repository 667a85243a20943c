"""Model card of an emulator: content, errors, training, use and citation.

The format is that of the Hugging Face Hub: Markdown below a block of YAML.
"""

import json
import re
import textwrap

import numpy as np

from sk_payne.networks import NETWORKS
from sk_payne.spectra import describe_resolving_power, grid_segments

__all__ = ["model_card"]

# Licences with an identifier on the Hub; others are "other" with a name.
_LICENSES = {
    *("apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-4.0", "gpl-3.0", "lgpl-3.0"),
    *("mit", "mpl-2.0", "unlicense"),
}
# Entries of the provenance with a section of their own.
_PLACED = {
    *("title", "description", "license", "citation", "solar_scale", "repo_id"),
    *("saved", "versions"),
}
_N_REGIONS, _N_WORST = 20, 3

_PAPERS = """\
- The Payne: Ting, Conroy, Rix & Cargile (2019), ApJ 879, 69,
  [arXiv:1804.01530](https://arxiv.org/abs/1804.01530)
- TransformerPayne: Różański, Ting & Jabłońska,
  [arXiv:2407.05751](https://arxiv.org/abs/2407.05751)"""

_CODE = """\
With the Python package sk_payne, and the name of the folder of this file:

```python
import sk_payne

emulator = sk_payne.{load}
# {names}
P = [[{star}]]
flux = emulator.predict(P)
{error}emulator.domain(P)  # is the star among the training spectra?
```

`sk_payne.AbundanceRegressor(emulator)` measures stars with it.
`sk_payne.check("this_folder")` compares files and predictions with the saved ones. No
code in the folder is executed."""


def model_card(trained):
    """Write the model card of an emulator.

    Parameters
    ----------
    trained : TrainedEmulator
        The emulator, whose provenance has "saved" and "versions".

    Returns
    -------
    card : str
        Markdown that begins with a block of YAML.

    Examples
    --------
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.trained._model_card import model_card
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> provenance = {"saved": "today", "versions": {}}
    >>> card = model_card(emulator.trained_.with_provenance(provenance))
    >>> "# Payne emulator of stellar spectra" in card
    True
    """
    provenance = trained.provenance
    own_title = f"{_class_name(trained.arch)} emulator of stellar spectra"
    sections = [
        _front_matter(provenance),
        f"# {' '.join(str(provenance.get('title', own_title)).split())}",
        _opening(trained),
        str(provenance.get("description", "")),
        _table(["", ""], _summary(trained, provenance)),
        "## Labels",
        _labels(trained, provenance),
        "## Error on spectra it has not seen",
        *_errors(trained),
        "## Training",
        *_training(trained, provenance),
        "## How to use it",
        _usage(trained, provenance),
        "## How to cite it",
        _citation(provenance),
        "## Versions it was saved with",
        ", ".join(f"{name} {v}" for name, v in provenance["versions"].items()),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(provenance):
    """Return the block of YAML, with strings and lists written as JSON."""
    entries = {
        "library_name": "sk_payne",
        "tags": ["astronomy", "stellar-spectra", "emulator", "tabular-regression"],
    }
    license = provenance.get("license")
    if str(license).lower() in _LICENSES:
        entries["license"] = str(license).lower()
    elif license is not None:
        slug = re.sub("[^a-z0-9.]+", "-", str(license).lower()).strip("-")
        entries |= {"license": "other", "license_name": slug}
    lines = [f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in entries.items()]
    return "\n".join(["---", *lines, "---"])


def _opening(trained):
    n_labels, n_pixels = (
        len(trained.description.label_names),
        trained.description.n_wavelengths,
    )
    return (
        f"A neural emulator of synthetic stellar spectra, made with sk_payne: from "
        f"{_count(n_labels, 'stellar label')} to the flux at {n_pixels:,} wavelengths. "
        "It reproduces its training grid, with all errors and omissions of the "
        "synthesis."
    )


def _summary(trained, provenance):
    module = trained.module
    n_weights = sum(p.numel() for p in module.parameters())
    power = trained.description.resolving_power
    wavelength = trained.description.wavelength
    rows = [
        ("architecture", f"{_class_name(trained.arch)}, {n_weights:,} weights"),
        ("options", _options(trained.network_params) or "the defaults"),
        ("wavelengths", _wavelengths(trained)),
        ("other wavelengths", _other_wavelengths(trained, module)),
        ("resolving power", describe_resolving_power(power, wavelength)),
        ("solar scale", provenance.get("solar_scale", "not stated")),
        ("training spectra", f"{trained.training.n_training:,}"),
        ("training steps", f"{trained.training.n_steps:,}"),
        ("held-out spectra", f"{trained.training.n_held_out:,}"),
    ]
    if trained.held_out is not None:
        mae, rms = trained.held_out.mae, trained.held_out.rms
        rows.append(("mean absolute error", _number(mae.mean())))
        rows.append(("root mean square error", _number(np.sqrt(np.mean(rms**2)))))
    license = provenance.get("license", "not stated; ask the author before sharing it")
    return [*rows, ("licence", license), ("saved", provenance["saved"])]


def _labels(trained, provenance):
    rows = [
        (f"`{name}`", unit or "-", *_rounded([low, high], high - low, 4))
        for name, unit, low, high in zip(
            trained.description.label_names,
            trained.description.label_units,
            trained.domain.low,
            trained.domain.high,
            strict=True,
        )
    ]
    scale = provenance.get("solar_scale")
    lines = [_table(["label", "unit", "from", "to"], rows)]
    if any(name.endswith("_H") for name in trained.description.label_names):
        sun = f": {str(scale).rstrip('.')}" if scale else ", whose scale was not stated"
        lines.append(f"`Fe_H` stands for [Fe/H], and so on, relative to the Sun{sun}.")
    lines.append(
        "Training spectra may leave parts of the box empty: `emulator.domain(P)` shows "
        "which stars are among them, and `predict` warns about stars outside."
    )
    return "\n\n".join(lines)


def _errors(trained):
    if trained.held_out is None:
        return [_why_no_errors(trained)]
    mae = trained.held_out.mae
    stopped_early = trained.training.recipe.patience is not None
    flux = np.mean(trained.scaling.flux_offset)
    return [
        f"Measured on {trained.training.n_held_out:,} spectra of the training grid, "
        "held out at random"
        + (", which chose the last step" if stopped_early else "")
        + ". Errors "
        f"are in the unit of the flux, whose mean is {flux:.3g}. Quantiles, over "
        "wavelengths, of the error at each wavelength:",
        _table(
            ["error", "5 %", "25 %", "median", "75 %", "95 %", "worst"],
            [
                _quantiles("mean absolute", mae),
                _quantiles("root mean square", trained.held_out.rms),
            ],
        ),
        _worst_regions(trained),
        *_quarters(trained),
    ]


def _why_no_errors(trained):
    if trained.training.recipe is None:
        return "Not known: the network was not trained with sk_payne."
    return "Not known: no spectra were held out from training."


def _quantiles(name, error):
    quantiles = np.quantile(error, [0.05, 0.25, 0.5, 0.75, 0.95, 1])
    return (name, *map(_number, quantiles))


def _worst_regions(trained):
    mae = trained.held_out.mae
    regions = []
    for part in _segments(trained):
        pixels = np.arange(part.start, part.stop)
        n = max(1, round(_N_REGIONS * len(pixels) / len(mae)))
        regions += np.array_split(pixels, min(n, len(pixels)))
    means = np.array([mae[region].mean() for region in regions])
    worst = np.argsort(-means, kind="stable")[:_N_WORST]
    entries = [
        f"{_range(trained, regions[i][0], regions[i][-1])} ({_number(means[i])})"
        for i in worst
    ]
    return (
        f"The worst of {len(regions)} regions, with their mean absolute error: "
        f"{', '.join(entries)}."
    )


def _quarters(trained):
    """Return the table of errors in each quarter of every label that varied."""
    edges, mae = trained.held_out.label_edges, trained.held_out.label_mae
    if mae is None:
        return []
    rows = [
        (f"`{name}`", ", ".join(_rounded(e[1:-1], e[4] - e[0], 3)), *map(_number, m))
        for name, e, m in zip(trained.description.label_names, edges, mae, strict=True)
        if e[4] > e[0]
    ]
    columns = ["label", "quartiles", "lowest quarter", "second", "third", "highest"]
    return [
        "Mean absolute error of the stars in each quarter of every label:",
        _table(columns, rows),
    ]


def _training(trained, provenance):
    others = {k: v for k, v in provenance.items() if k not in _PLACED}
    grid = _nested(others) if others else "The training grid was not described."
    recipe = trained.training.recipe
    if recipe is None:
        return [grid, "The network was trained elsewhere; its recipe is not known."]
    return [grid, f"Recipe: {_options(recipe.to_dict())}."]


def _usage(trained, provenance):
    own = not isinstance(trained.arch, str)
    arch = f", arch={_class_name(trained.arch)}" if own else ""
    load = f'load("this_folder"{arch})'
    if "repo_id" in provenance:
        repo_id = json.dumps(provenance["repo_id"])
        load = f"from_pretrained({repo_id}{arch})  # revision= pins it"
    low, high = trained.domain.low, trained.domain.high
    middle = zip((low + high) / 2, high - low, strict=True)
    star = [_rounded([value], width, 2)[0] for value, width in middle]
    knows_error = trained.held_out is not None
    return _CODE.format(
        load=load,
        names="\n# ".join(_wrapped(", ".join(trained.description.label_names))),
        star="\n      ".join(_wrapped(", ".join(star))),
        error="flux, error = emulator.predict(P, return_std=True)\n" * knows_error,
    )


def _citation(provenance):
    citations = provenance.get("citation", [])
    citations = [citations] if isinstance(citations, str) else citations
    blocks = [
        f"```bibtex\n{text.strip()}\n```" if text.lstrip().startswith("@") else text
        for text in map(str, citations)
    ]
    return "\n\n".join([*blocks, _PAPERS])


# Words and tables ----------------------------------------------------------------


def _class_name(arch):
    return (NETWORKS[arch] if isinstance(arch, str) else arch).__name__


def _wavelengths(trained):
    n = trained.description.n_wavelengths
    if trained.description.wavelength is None:
        return f"{n:,} pixels, whose wavelengths were not stated"
    parts = [_range(trained, p.start, p.stop - 1) for p in _segments(trained)]
    return f"{n:,}, {', '.join(parts)} in {trained.description.medium}"


def _segments(trained):
    """Return the segments of the grid between its gaps, as slices of pixels."""
    if trained.description.wavelength is None:
        return [slice(0, trained.description.n_wavelengths)]
    return grid_segments(trained.description.wavelength)


def _range(trained, first, last):
    if trained.description.wavelength is None:
        return f"pixels {first} to {last}"
    first, last = trained.description.wavelength[[first, last]]
    return f"{first:.2f} to {last:.2f} Å"


def _other_wavelengths(trained, module):
    if trained.description.wavelength is None and not module.takes_wavelength:
        return "none"
    has_gaps = len(_segments(trained)) > 1
    where = "any between, but not in the gaps" if has_gaps else "any between"
    if module.takes_wavelength:
        return f"{where}; the network takes the wavelength"
    return f"{where}, by interpolation"


def _count(n, noun):
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _number(value):
    return "-" if np.isnan(value) else f"{value:.3g}"


def _rounded(values, width, n_digits):
    """Write values with n digits of the width of their range."""
    decimals = n_digits - 1 - int(np.floor(np.log10(width))) if width > 0 else 9
    values = np.round(np.asarray(values, np.float64), decimals) + 0.0  # no -0
    return [np.format_float_positional(value, trim="-") for value in values]


def _wrapped(text):
    return textwrap.wrap(text, 78, break_long_words=False)


def _options(values):
    """List options that are single numbers or words; arrays are left out."""
    return ", ".join(
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in values.items()
        if isinstance(value, bool | int | float | str)
    )


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(value):
    return " ".join(str(value).split()).replace("|", "\\|")


def _nested(values, indent=""):
    """Write nested dicts as nested lists of Markdown."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}- {key}:", _nested(value, indent + "  ")]
        else:
            lines.append(f"{indent}- {key}: {_cell(value)}")
    return "\n".join(lines)
