"""Tests of the commands about emulators: train, check and report."""

import re
import tomllib

import numpy as np
import pytest

from sk_payne import load
from sk_payne.datasets import make_spectra


@pytest.fixture
def grid_file(tmp_path):
    """A grid without its medium."""
    grid = make_spectra(113, n_wavelengths=61, random_state=0)
    path = tmp_path / "grid.npz"
    np.savez(
        path,
        labels=grid.data,
        flux=grid.target,
        wavelength=grid.wavelength,
        label_names=np.array(grid.label_names),
        label_units=np.array(grid.label_units),
    )
    return path


@pytest.fixture
def train(run, grid_file):
    """Give a function that trains a tiny emulator."""

    def call(*options, grid="grid.npz", out="e.safetensors"):
        few = () if "--max-steps" in options else ("--max-steps", 23)
        return run("train", grid, "--out", out, "--arch", "payne", *few, *options)

    return call


def test_train_writes_an_emulator(train, tmp_path):
    done = train(
        *("--medium", "air", "--resolving-power", 20000, "--seed", 3),
        *("--arch-params", "n_hidden=7", "--recipe", "lr=1e-2 batch_size=31"),
        *("--validation-fraction", 0.2, "--device", "cpu"),
    )
    assert done.status == 0, done.err
    assert "Trained payne, 23 steps on cpu" in done.out
    emulator = load(tmp_path / "e.safetensors")
    assert emulator.medium_ == "air"
    assert emulator.resolving_power_ == 20_000
    assert emulator.arch_params_["n_hidden"] == 7
    assert emulator.recipe_.lr == 1e-2
    assert emulator.n_training_ == 91
    assert not (tmp_path / "e.checkpoint").exists()


def test_train_writes_a_folder_with_a_card(train, run, tmp_path):
    assert train("--medium", "air", out="e").status == 0
    assert "grid.npz" in (tmp_path / "e" / "README.md").read_text(encoding="utf-8")
    done = run("check", "e", "dwarfs-4500-4600")
    assert done.status == 0
    assert done.out.count("whole") == 2
    assert "of the largest flux" in done.out


def test_train_needs_the_medium_and_whole_spectra(train, grid_file):
    assert "Pass --medium" in train().err
    contents = dict(np.load(grid_file))
    contents["flux"][5, 7] = np.nan
    np.savez(grid_file, **contents, medium="air", resolving_power=20_000)
    assert "--drop-bad" in train().err
    assert "--medium says vacuum" in train("--medium", "vacuum", "--drop-bad").err
    assert "the grid says 20000" in train("--drop-bad", "--resolving-power", 3e4).err
    assert train("--drop-bad").status == 0


def test_train_check_tells_the_plan_and_trains_nothing(train, run_json, tmp_path):
    done = train("--medium", "air", "--check")
    assert "wavelengths      61" in done.out
    assert "steps            23" in done.out
    assert not (tmp_path / "e.safetensors").exists()
    plan = run_json("train", "shipped", "--out", "e.safetensors", "--check").found
    assert (plan["spectra"], plan["arch"], plan["steps"]) == (3425, "bigpayne", 4000)


def test_train_keeps_its_options_in_a_file(train, run, tmp_path):
    options = ("--medium", "air", "--recipe", "lr=1e-2", "--save-config", "t.toml")
    assert train(*options, "--check").status == 0
    entries = tomllib.loads((tmp_path / "t.toml").read_text(encoding="utf-8"))
    assert entries["recipe"] == {"lr": 0.01}
    assert "check" not in entries
    done = run("train", "--config", "t.toml", "--quiet")
    assert done.status == 0, done.err
    assert (done.out, done.err) == ("", "")
    assert load(tmp_path / "e.safetensors").recipe_.lr == 0.01


def test_an_interrupted_training_is_written_and_goes_on(train, tmp_path, monkeypatch):
    whole = train("--medium", "air", out="whole.safetensors")
    assert whole.status == 0

    from sk_payne.emulators._net import EmulatorNet

    step, count = EmulatorNet.train_step, []

    def interrupted(self, *args, **kwargs):
        count.append(1)
        if len(count) == 12:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(EmulatorNet, "train_step", interrupted)
        done = train("--medium", "air")
    assert done.status == 130
    assert "Run the command again to go on" in done.err
    assert load(tmp_path / "e.safetensors").n_steps_ < 23
    assert train("--medium", "air").status == 0
    again, whole = (load(tmp_path / f"{n}.safetensors") for n in ("e", "whole"))
    star = [(again.label_low_ + again.label_high_) / 2]
    np.testing.assert_array_equal(again.predict(star), whole.predict(star))


def test_check_refuses_what_was_changed(train, run, tmp_path):
    assert train("--medium", "air", out="e").status == 0
    card = tmp_path / "e" / "README.md"
    card.write_text(card.read_text(encoding="utf-8") + "better", encoding="utf-8")
    done = run("check", "e")
    assert done.status == 1
    assert "was changed" in done.err


def test_check_gives_sha256_in_json(run_json):
    (found,) = run_json("check", "dwarfs-4500-4600").found["emulators"]
    assert len(found["sha256"]) == 64
    assert found["difference"] < 1e-6


@pytest.fixture
def line_list(tmp_path, tiny_grid):
    wavelength = tiny_grid.wavelength[30]
    text = f"species,wavelength,e_lower,log_gf\nFe 1,{wavelength:.3f},1.0,-1.0\n"
    (tmp_path / "lines.csv").write_text(text)
    return ("--lines", "lines.csv", "--lines-medium", "air", "--element", "Fe")


def test_report_of_an_emulator(run, run_json, emulator_file, grid_file, line_list):
    options = ("--grid", "grid.npz", "--medium", "air", "--rows", "90:")
    options += ("--snr", 50, "--title", "Tiny things", *line_list, "--n-lines", 2)
    done = run("report", emulator_file, *options, "--out", "e.html")
    assert done.status == 0, done.err
    text = (grid_file.parent / "e.html").read_text(encoding="utf-8")
    assert "Tiny things" in text
    assert "at S/N 50" in text
    assert "Errors at spectral lines" in text
    options = ("--grid", "grid.npz", "--medium", "air", "--drop-bad", "--out", "f.html")
    assert run_json("report", emulator_file, *options).found["kind"] == "emulator"


def test_report_finds_labels_of_a_grid_by_name(run, emulator_file, grid_file):
    stored = dict(np.load(grid_file))
    turned = stored | {
        "labels": stored["labels"][:, ::-1],
        "label_names": stored["label_names"][::-1],
        "label_units": stored["label_units"][::-1],
    }
    np.savez(grid_file.parent / "turned.npz", **turned)
    tables = []
    for grid in ("grid.npz", "turned.npz"):
        done = run(
            *("report", emulator_file, "--grid", grid, "--medium", "air"),
            *("--out", "e.html"),
        )
        assert done.status == 0, done.err
        text = (grid_file.parent / "e.html").read_text(encoding="utf-8")
        tables.append(re.findall("<td.*?</td>", text))
    assert tables[0]
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--grid must name spectra"),
        (("--grid", "grid.npz"), "Pass --medium"),
        (("--grid", "grid.npz", "--medium", "air", "--rows", "x:y"), "FIRST:END"),
        (("--grid", "grid.npz", "--medium", "air", "--rows", "500:"), "among the 113"),
        (
            ("--grid", "grid.npz", "--medium", "air", "--element", "Fe"),
            "--lines and --element go together",
        ),
    ],
)
def test_report_says_what_is_missing(run, emulator_file, grid_file, options, message):
    done = run("report", emulator_file, *options, "--out", "e.html")
    assert done.status == 1
    assert message in done.err


def test_report_of_a_table_of_stars(run, night, emulator_file):
    files = ("a.txt", "broken.fits", "c.fits")
    options = ("--resolving-power", "emulator", "--emulator", emulator_file)
    run("measure", *files, *options, "--out", "stars.fits")
    for what in ("stars.fits", "stars.parts", "stars.parts/catalogue"):
        assert run("report", what, "--out", "stars.html").status == 0
    assert run("report", "stars.fits", "--out", "stars.html").status == 0
    text = (night / "stars.html").read_text(encoding="utf-8")
    assert "broken.fits" in text
    assert "is of no format that is known" in text
    assert "no good pixel" in text
    done = run("report", "a.txt", "--out", "no.html")
    assert done.status == 1
    assert "'a.txt' is a spectrum" in done.err


def test_plot_draws_a_fit_with_lines(run, night, emulator_file, line_list):
    options = ("--emulator", emulator_file, "--velocity-range", "none")
    done = run("plot", "a.txt", *options, *line_list, "--out", "fit.png")
    assert done.status == 0, done.err
    assert done.out.startswith("teff ")
    assert (night / "fit.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--spectrum", 1), "--spectrum must be below 1"),
        (("--lines", "lines.csv"), "--lines and --element go together"),
        (("--lines", "lines.csv", "--element", "Fe"), "Pass --lines-medium air"),
    ],
)
def test_plot_says_what_is_wrong(
    run, night, emulator_file, line_list, options, message
):
    done = run("plot", "a.txt", *options, "--emulator", emulator_file, "--out", "f.png")
    assert done.status == 1
    assert message in done.err


def test_plot_refuses_what_measure_refuses(run, night, emulator_file):
    done = run("plot", "c.fits", "--emulator", emulator_file, "--out", "f.png")
    assert done.status == 1
    assert "--resolving-power R" in done.err
