"""Tests of the model card, read by programs as its readers would."""

import re

import numpy as np
import pytest

from sk_payne.trained._model_card import model_card

yaml = pytest.importorskip("yaml")

PROVENANCE = {"saved": "2026-11-25T12:00:00+00:00", "versions": {"torch": "2.13.0"}}


def card_of(emulator, provenance=PROVENANCE):
    """Card of a fitted emulator, with another provenance."""
    return model_card(emulator.trained_.with_provenance(provenance))


@pytest.fixture(scope="module")
def make_card(fitted):
    """Give a function that writes the card of a tiny emulator."""

    def make(arch="payne", **provenance):
        return card_of(fitted[arch], PROVENANCE | provenance)

    return make


def front_matter_of(card):
    _, front, _ = card.split("---\n", 2)
    return yaml.safe_load(front)


def table_of(card, corner):
    """Rows of the table whose header begins with a word, by their first cell."""
    lines = card.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {corner} |"))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return rows
        first, *others = (cell.strip() for cell in line.strip("|").split(" | "))
        rows[first] = others
    return rows


def test_front_matter_is_what_the_hub_reads(make_card):
    front = front_matter_of(make_card(license="CC-BY-4.0"))
    assert front["library_name"] == "sk_payne"
    assert front["license"] == "cc-by-4.0"
    assert "astronomy" in front["tags"]


def test_licence_that_the_hub_does_not_know_goes_by_its_name(make_card):
    card = make_card(license="ESO: data policy, 2")
    front = front_matter_of(card)
    assert (front["license"], front["license_name"]) == ("other", "eso-data-policy-2")
    assert table_of(card, "")["licence"] == ["ESO: data policy, 2"]


def test_card_without_a_licence_says_so(make_card):
    assert "license" not in front_matter_of(make_card())
    assert "ask the author" in table_of(make_card(), "")["licence"][0]


def test_hub_package_reads_the_card(make_card):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard(make_card(license="mit"))
    assert card.data.license == "mit"
    assert card.data.library_name == "sk_payne"
    assert card.text.lstrip().startswith("# Payne emulator")


def test_card_says_what_the_emulator_is(make_card, fitted, tiny_grid):
    emulator = fitted["transformer"]
    rows = table_of(make_card("transformer", solar_scale="Asplund (2009)"), "")
    n_weights = sum(p.numel() for p in emulator.net_.module_.parameters())
    assert rows["architecture"] == [f"TransformerPayne, {n_weights:,} weights"]
    assert "n_tokens = 3" in rows["options"][0]
    low, high = tiny_grid.wavelength[[0, -1]]
    assert rows["wavelengths"] == [f"61, {low:.2f} to {high:.2f} Å in air"]
    assert rows["resolving power"] == ["not stated"]
    assert rows["solar scale"] == ["Asplund (2009)"]
    assert rows["training spectra"] == ["91"]
    assert rows["held-out spectra"] == ["10"]
    assert rows["training steps"] == ["53"]


def test_card_leaves_out_options_that_are_tables(make_card, fitted):
    assert isinstance(fitted["opacity"].arch_params_["linear"], dict)
    options = table_of(make_card("opacity"), "")["options"][0]
    assert options.startswith("n_populations = 13, n_hidden = 11, width = 7")
    assert "linear" not in options


@pytest.mark.parametrize(
    ("power", "told"), [(47_300, "47,300"), (np.inf, "infinite: not broadened")]
)
def test_card_tells_the_resolving_power(make_tiny, tiny_grid, power, told):
    emulator = make_tiny(resolving_power=power, max_steps=2)
    emulator.fit(tiny_grid.data, tiny_grid.target)
    rows = table_of(card_of(emulator), "")
    assert rows["resolving power"] == [told]


def test_card_gives_units_and_ranges_of_labels(make_card, fitted):
    emulator = fitted["payne"]
    rows = table_of(make_card(), "label")
    assert list(rows) == [f"`{name}`" for name in emulator.label_names_]
    width = emulator.label_high_ - emulator.label_low_
    for i, (unit, low, high) in enumerate(rows.values()):
        assert unit == emulator.label_units_[i]
        assert float(low) == pytest.approx(emulator.label_low_[i], abs=1e-3 * width[i])
        assert float(high) == pytest.approx(
            emulator.label_high_[i], abs=1e-3 * width[i]
        )


def test_card_gives_the_held_out_errors(make_card, fitted):
    emulator, card = fitted["payne"], make_card()
    rows = table_of(card, "")
    mae, rms = emulator.held_out_mae_, emulator.held_out_rms_
    assert float(rows["mean absolute error"][0]) == pytest.approx(mae.mean(), rel=5e-3)
    assert float(rows["root mean square error"][0]) == pytest.approx(
        np.sqrt(np.mean(rms**2)), rel=5e-3
    )
    found = np.array(table_of(card, "error")["mean absolute"], float)
    np.testing.assert_allclose(
        found, np.quantile(mae, [0.05, 0.25, 0.5, 0.75, 0.95, 1]), rtol=5e-3
    )


def test_card_names_the_worst_region(make_card, fitted, tiny_grid):
    low, high, told = re.search(
        r"worst of 20 regions.*?: ([\d.]+) to ([\d.]+) Å \(([\d.]+)\)", make_card()
    ).groups()
    wavelength, mae = tiny_grid.wavelength, fitted["payne"].held_out_mae_
    inside = (wavelength > float(low) - 0.01) & (wavelength < float(high) + 0.01)
    assert mae[inside].mean() == pytest.approx(float(told), rel=5e-3)
    assert mae[inside].mean() > 1.2 * mae.mean()


def test_card_gives_the_error_in_each_quarter_of_every_label(make_card, fitted):
    emulator = fitted["payne"]
    card = make_card()
    rows = table_of(card[card.index("| label | quartiles") :], "label")
    for i, (quartiles, *errors) in enumerate(rows.values()):
        assert len(quartiles.split(", ")) == 3
        np.testing.assert_allclose(
            np.array(errors, float), emulator.held_out_label_mae_[i], rtol=5e-3
        )
    assert len(rows) == 5


def test_card_shows_all_that_was_said_of_the_grid(make_card):
    card = make_card(
        grid={"name": "mine", "engine": {"code": "PySME", "version": "1.2"}},
        description="For cool dwarfs only.",
        title="Cool\ndwarfs",
    )
    assert "\n# Cool dwarfs\n" in card
    assert "\nFor cool dwarfs only.\n" in card
    assert "- grid:\n  - name: mine\n  - engine:\n    - code: PySME\n" in card
    assert "torch 2.13.0" in card


def test_card_cites_the_papers_and_what_the_author_gives(make_card):
    card = make_card(
        citation=["@article{me,\n  title={Dwarfs}}", "Me (2026), in prep."]
    )
    assert "```bibtex\n@article{me,\n  title={Dwarfs}}\n```" in card
    for text in ("\nMe (2026), in prep.\n", "arXiv:1804.01530", "arXiv:2407.05751"):
        assert text in card


@pytest.mark.parametrize("arch", ["payne", "convolutional", "transformer"])
def test_code_in_the_card_runs(make_card, fitted, tmp_path, monkeypatch, arch):
    fitted[arch].save(tmp_path / "this_folder")
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", make_card(arch), re.DOTALL)[1]
    names = {}
    exec(code, names)
    assert names["flux"].shape == names["error"].shape == (1, 61)
    assert list(fitted[arch].domain(names["P"])) == ["inside"]


def test_card_of_an_emulator_that_knows_little(make_tiny, tiny_grid, tmp_path):
    P = np.column_stack([tiny_grid.data[:, :2], np.zeros(101)])
    emulator = make_tiny(
        wavelength=None,
        medium=None,
        label_names=None,
        label_units=None,
        validation_fraction=0,
        max_steps=2,
    ).fit(P, tiny_grid.target)
    card = card_of(emulator)
    assert "61 pixels, whose wavelengths were not stated" in card
    assert "Not known: no spectra were held out" in card
    assert "return_std" not in card
    assert table_of(card, "label")["`label_2`"] == ["-", "0", "0"]


def test_label_that_did_not_vary_has_no_quarters(make_tiny, tiny_grid):
    P = np.column_stack([tiny_grid.data, np.full(101, 7.0)])
    names = [*tiny_grid.label_names, "fixed"]
    emulator = make_tiny(label_names=names, label_units=None, max_steps=2)
    card = card_of(emulator.fit(P, tiny_grid.target))
    assert table_of(card, "label")["`fixed`"] == ["-", "7", "7"]
    assert "`fixed`" not in card[card.index("| label | quartiles") :]


def test_large_and_small_labels_are_written_in_full(make_tiny, tiny_grid):
    P = tiny_grid.data * np.array([1, 1, 1e6, 1e-6, 1]) + [60_000, 0, 0, 0, 0]
    emulator = make_tiny(max_steps=2).fit(P, tiny_grid.target)
    rows = [row[1:] for row in table_of(card_of(emulator), "label").values()]
    low = np.array([row[0] for row in rows], float)
    width = emulator.label_high_ - emulator.label_low_
    assert (np.abs(low - emulator.label_low_) < 1e-3 * width).all()
    assert not any("e" in text for row in rows for text in row)


def test_bar_in_what_was_said_does_not_break_a_table(make_card):
    card = make_card(solar_scale="a | b\nc")
    assert "| solar scale | a \\| b c |" in card


def test_emulator_of_an_older_file_has_a_card_without_quarters(fitted, tmp_path):
    from sk_payne import load
    from sk_payne._persistence import read_file, write_file

    path = tmp_path / "old.safetensors"
    fitted["payne"].save(path)
    tensors, description = read_file(path)
    del tensors["attribute.held_out_label_edges_"]
    del tensors["attribute.held_out_label_mae_"]
    del description["sha256"]
    write_file(path, tensors, description)
    old = load(path)
    assert old.held_out_label_mae_ is None
    assert "quartiles" not in card_of(old)


def test_card_of_a_grid_with_a_gap_claims_nothing_across_it(make_tiny, tiny_grid):
    arms = np.r_[0:25, 38:61]
    grid = tiny_grid.wavelength[arms]
    emulator = make_tiny(wavelength=grid, resolving_power=[20_000, 15_000])
    card = card_of(emulator.fit(tiny_grid.data, tiny_grid.target[:, arms]))

    rows = table_of(card, "")
    assert rows["wavelengths"] == [
        f"48, {grid[0]:.2f} to {grid[24]:.2f} Å, {grid[25]:.2f} to {grid[-1]:.2f} Å "
        "in air"
    ]
    assert rows["other wavelengths"] == [
        "any between, but not in the gaps, by interpolation"
    ]
    assert rows["resolving power"] == ["20,000, 15,000 by segment"]
    worst = next(line for line in card.splitlines() if "worst of" in line)
    for low, high in re.findall(r"([0-9.]+) to ([0-9.]+) Å", worst):
        assert float(high) < grid[24] + 0.01 or float(low) > grid[25] - 0.01
