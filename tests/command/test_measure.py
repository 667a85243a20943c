"""Tests of `sk-payne measure`: files of several formats, options, and going on."""

import inspect
import os
import signal
import subprocess
import sys
import time
import tomllib
import warnings

import numpy as np
import pytest
from astropy.table import QTable, Table

from sk_payne import load
from sk_payne.abundances import AbundanceRegressor, Observation
from sk_payne.command._measure import measure
from sk_payne.inspection import SpectrumFitDisplay
from sk_payne.neural_posterior import NeuralPosterior, load_posterior

SHARP = ("--resolving-power", "emulator")
REST = ("--velocity-range", "none")
NEAR = ("--velocity-range", "-20,20")


@pytest.fixture
def measured(run, night, emulator_file):
    """Give a function that measures the night into a table."""

    def call(*options, files=("a.txt", "b.ecsv", "c.fits"), out="stars.ecsv"):
        done = run(
            *("measure", *files, "--emulator", emulator_file, "--out", out, *options)
        )
        is_ecsv = out.endswith(".ecsv") and (night / out).exists()
        done.table = QTable.read(night / out) if is_ecsv else None
        return done

    return call


def reasons(table):
    return dict(zip(table["file"], np.ma.filled(table["error"], ""), strict=True))


def test_files_of_three_formats_become_one_table(measured, star):
    done = measured(*SHARP, *REST)
    assert done.status == 0, done.err
    assert list(done.table["file"]) == ["a.txt", "b.ecsv", "c.fits"]
    assert list(done.table["object"]) == ["a.txt", "b", "c"]
    for row, number in zip(done.table, (1, 2, 3), strict=True):
        pull = (row["teff"].value - star(number).labels[0]) / row["teff_error"].value
        assert abs(pull) < 5
    assert "Measured 3 of 3 spectra" in done.out
    assert "3/3" in done.err


def test_a_file_that_fails_is_a_row_with_its_reason(measured):
    done = measured(*REST, files=["a.txt", "broken.fits", "c.fits", "no.fits"])
    assert done.status == 3
    why = reasons(done.table)
    assert list(why) == ["a.txt", "broken.fits", "c.fits", "no.fits"]
    assert why["a.txt"] == ""
    assert "is of no format that is known here" in why["broken.fits"]
    assert why["c.fits"].startswith("It lacks the resolving power: --resolving-power R")
    assert "There is no file" in why["no.fits"]
    assert np.isnan(done.table["teff"][1:]).all()
    assert "c.fits: It lacks the resolving power" in done.err


def test_what_is_missing_is_named_by_its_option(measured, write_text):
    write_text("medium.txt", head="resolving_power: 20000")
    write_text("errors.txt", errors=False)
    write_text("counts.txt", level=1500.0)
    files = ("medium.txt", "errors.txt", "counts.txt")
    why = reasons(measured(*REST, files=files).table)
    assert "--medium" in why["medium.txt"]
    assert "errors of the flux: --snr" in why["errors.txt"]
    assert "--continuum-degree 2 fits it" in why["counts.txt"]
    done = measured(
        *(*REST, *SHARP, "--medium", "air", "--snr", 200, "--continuum-degree", 0),
        *("--out", "all.ecsv"),
        files=files,
    )
    assert done.status == 0, done.err


def test_a_star_without_pixels_does_not_stop_others_of_its_file(
    measured, star, night, monkeypatch
):
    from astropy import units as u
    from astropy.nddata import StdDevUncertainty
    from specutils import Spectrum

    def read_three(path, format, **options):
        spectra = []
        for number in range(3):
            one = star(number)
            spectra.append(
                Spectrum(
                    flux=one.flux * u.one,
                    spectral_axis=one.wavelength * u.AA,
                    uncertainty=StdDevUncertainty(one.error),
                    mask=np.full(len(one.flux), number == 1),
                    meta={"medium": "air", "resolving_power": 20_000},
                )
            )
        return spectra

    monkeypatch.setattr("sk_payne.command._star_reader.read_spectra", read_three)
    done = measured(*REST, files=["a.txt"])
    assert done.status == 3
    assert list(done.table["spectrum"]) == [0, 1, 2]
    assert list(np.isnan(done.table["teff"])) == [False, True, False]
    errors = list(np.ma.filled(done.table["error"], ""))
    assert errors[1].startswith("no good pixel in the range")
    assert (errors[0], errors[2]) == ("", "")


def test_the_medium_counts_for_files_that_do_not_state_theirs(measured, write_text):
    write_text("silent.txt", 1, head="resolving_power: 20000")
    files = ("a.txt", "silent.txt")  # the same star
    options = ("--velocity-range", "-150,150", "--medium")
    air = measured(*options, "air", files=files, out="air.ecsv").table
    assert air["radial_velocity"][0] == air["radial_velocity"][1]
    vacuum = measured(*options, "vacuum", files=files, out="vacuum.ecsv").table
    shift = np.diff(vacuum["radial_velocity"].value)
    assert shift == pytest.approx(-83, abs=3)
    done = measured(*options, "vacuum", files=files, out="air.ecsv")
    assert "Pass --restart" in done.err
    assert measured("--medium", "water").status == 1


def test_spectra_elsewhere_are_refused_with_both_ranges(measured, night):
    np.savetxt(
        night / "red.txt",
        np.transpose([np.linspace(8000, 8100, 50), np.ones(50), np.full(50, 0.01)]),
        header="medium: air\nresolving_power: 20000",
    )
    why = reasons(measured(files=["red.txt"]).table)["red.txt"]
    assert "the spectrum covers 8000.0-8100.0 Å" in why
    assert "another --emulator" in why
    assert "`sk-payne train`" in why


@pytest.mark.parametrize("suffix", ["fits", "fit", "ecsv", "vot", "xml", "csv"])
def test_the_ending_says_the_format_of_the_table(measured, night, suffix):
    out = f"stars.{suffix}"
    done = measured(*SHARP, *REST, out=out, files=["a.txt", "broken.fits"])
    assert done.status == 3
    formats = {"csv": "ascii.csv", "vot": "votable", "xml": "votable"}
    with warnings.catch_warnings():
        # dex is no unit of the standards
        warnings.filterwarnings("ignore", ".*dex")
        table = Table.read(night / out, format=formats.get(suffix))
    assert table["teff"][0] == pytest.approx(5000, abs=1500)
    assert np.isnan(np.ma.filled(table["teff"], np.nan)[1])
    if suffix != "csv":
        assert table["teff"].unit == "K"
        assert str(table["Fe_H"].unit) == "dex"


def test_other_endings_and_missing_folders_are_refused(measured):
    done = measured(out="stars.parquet")
    assert done.status == 1
    assert "--out must end in one of .fits, " in done.err
    assert measured(out="nowhere/stars.fits").status == 1


def test_a_second_run_measures_nothing_again(measured, night):
    files = ["a.txt", "c.fits"]
    first = measured(*REST, files=files)
    parts = night / "stars.parts" / "catalogue"
    before = {path: path.stat().st_mtime_ns for path in parts.glob("part-*")}
    again = measured(*REST, files=files)
    assert again.status == first.status == 3
    assert {path: path.stat().st_mtime_ns for path in parts.glob("part-*")} == before
    assert reasons(again.table) == reasons(first.table)
    np.testing.assert_array_equal(again.table["teff"], first.table["teff"])


def test_files_that_changed_are_measured_again(measured, write_text, night):
    write_text("s.txt", 1)
    options = (*REST, "--chunk-size", 1)
    first = measured(*options, files=["a.txt", "s.txt"])
    part = night / "stars.parts" / "catalogue" / "part-000000.ecsv"
    before = part.stat().st_mtime_ns
    write_text("s.txt", 5)
    again = measured(*options, files=["a.txt", "s.txt"])
    assert again.table["teff"][0] == first.table["teff"][0]
    assert again.table["teff"][1] != first.table["teff"][1]
    assert part.stat().st_mtime_ns == before


def test_files_of_the_same_name_in_another_folder_are_others(
    measured, write_text, night
):
    for number, folder in enumerate(("one", "two")):
        (night / folder).mkdir()
        write_text(f"{folder}/star.txt", number)
    one = measured(*REST, files=["one/star.txt"]).table
    two = measured(*REST, files=["two/star.txt"]).table
    assert two["file"][0] == "two/star.txt"
    assert one["teff"][0] != two["teff"][0]


def test_other_options_are_refused_until_restart(measured):
    assert measured(*SHARP, *REST).status == 0
    done = measured(*SHARP, *REST, "--clip", 5)
    assert done.status == 1
    assert "Or pass --restart to discard it." in done.err
    done = measured(*SHARP, *REST, "--read", "wavelength_unit=nm")
    assert done.status == 1
    assert "Pass --restart to measure them again" in done.err
    assert measured(*SHARP, *REST, "--clip", 5, "--restart").status == 0


def test_restart_leaves_a_folder_of_other_things(measured, night):
    (night / "stars.parts").mkdir()
    (night / "stars.parts" / "thesis.tex").write_text("all of it")
    done = measured("--restart")
    assert done.status == 1
    assert "which holds other things" in done.err
    assert (night / "stars.parts" / "thesis.tex").exists()


def test_failed_files_are_tried_again_on_demand(measured, night, monkeypatch):
    monkeypatch.setattr(
        "sk_payne.command._star_reader.read_spectra",
        lambda *args, **options: (_ for _ in ()).throw(ValueError("no disk")),
    )
    assert set(reasons(measured(*SHARP, *REST).table).values()) == {"no disk"}
    monkeypatch.undo()
    monkeypatch.chdir(night)
    assert measured(*SHARP, *REST).status == 3
    assert measured(*SHARP, *REST, "--retry-failed").status == 0


def test_ctrl_c_keeps_what_is_done(measured, monkeypatch, night):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("sk_payne.command._measure.measure_catalogue", interrupt)
    done = measured()
    assert done.status == 130
    assert "Run the command again to go on" in done.err
    assert "interrupted" in done.err
    assert done.table is None


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_ends_with_the_same_table(
    measured, write_text, night, emulator_file, end
):
    files = [write_text(f"s{i:02d}.txt", i).name for i in range(23)]
    options = (*SHARP, "--chunk-size", "1", "--vsini", "0,30")
    whole = measured(*options, files=files, out="whole.ecsv").table
    command = [sys.executable, "-m", "sk_payne", "measure", *files, *options]
    command += ["--emulator", emulator_file, "--out", "stars.ecsv", "--quiet"]
    started = subprocess.Popen(command, cwd=night)
    parts = night / "stars.parts" / "catalogue"
    # a file that is being written has another ending
    while not list(parts.glob("part-*.ecsv")) and started.poll() is None:
        time.sleep(0.01)
    started.send_signal(end)
    assert started.wait() == (130 if end == signal.SIGINT else -signal.SIGKILL)
    assert not (night / "stars.ecsv").exists()
    assert 0 < len(list(parts.glob("part-*.ecsv"))) < 23
    again = measured(*options, files=files).table
    assert whole.colnames == again.colnames
    for name in whole.colnames:
        np.testing.assert_array_equal(whole[name], again[name], err_msg=name)


def test_workers_give_the_table_of_one(measured, write_text):
    files = [write_text(f"s{i}.txt", i).name for i in range(5)]
    one = measured(*SHARP, *REST, files=files, out="one.ecsv").table
    options = (*SHARP, *REST, "--workers", 2, "--chunk-size", 1)
    two = measured(*options, files=files, out="two.ecsv").table
    np.testing.assert_array_equal(one["teff"], two["teff"])


def test_a_dask_cluster_gives_the_same_table(measured):
    distributed = pytest.importorskip("distributed")
    here = measured(*SHARP, *REST, out="here.ecsv").table
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        options = (*SHARP, *REST, "--dask", cluster.scheduler_address)
        there = measured(*options, out="there.ecsv")
    assert there.status == 0, there.err
    np.testing.assert_array_equal(here["teff"], there.table["teff"])


def test_plots_are_drawn_of_what_was_measured(measured, night):
    done = measured(*REST, "--plots", "fits", files=["a.txt", "c.fits"])
    assert done.status == 3
    assert [path.name for path in (night / "fits").iterdir()] == ["0000_a.txt.png"]
    assert (night / "fits" / "0000_a.txt.png").stat().st_size > 10_000


def test_quiet_verbose_and_json(measured, run, run_json, emulator_file):
    files = ["a.txt", *(f"no{i}.txt" for i in range(7))]
    quiet = measured(*REST, "--quiet", files=files)
    assert (quiet.out, quiet.err) == ("", "")
    told = measured(*REST, files=files)
    assert "and 2 more" in told.err
    assert "no6.txt" in measured(*REST, "--verbose", files=files).err
    done = run_json(
        *("measure", *files, *REST, "--emulator", emulator_file, "--out", "stars.ecsv")
    )
    assert done.status == 3
    assert done.found["n_measured"] == 1
    assert [one["file"] for one in done.found["failed"]] == files[1:]


# Options -------------------------------------------------------------------------


def test_every_argument_of_the_estimators_is_an_option():
    options = {parameter.name: parameter for parameter in measure.params}
    arguments = dict(inspect.signature(Observation).parameters)
    arguments |= inspect.signature(AbundanceRegressor).parameters
    for ours in ("emulator", "observation", "verbose"):
        del arguments[ours]
    for name, argument in arguments.items():
        assert options[name].help, name
        if argument.default is not None:
            assert options[name].default == argument.default, name


@pytest.mark.parametrize(
    ("options", "column"),
    [
        (("--velocity-range", "-50,50"), "radial_velocity"),
        (("--velocity-range", "none"), "teff"),
        (("--vsini", "0,30"), "vsini"),
        (("--vmac", "0,10"), "vmac"),
        (("--vsini", "7", "--limb-darkening", "0.3"), "teff"),
        (("--integrate-pixels",), "teff"),
        (("--continuum-degree", "1"), "n_segments"),
        (("--no-emulator-error",), "teff"),
        (("--error-floor", "fit"), "error_floor"),
        (("--error-length", "fit"), "correlated_error"),
        (("--clip", "5"), "n_clipped"),
        (("--arm-offsets", "-2,2", *NEAR), "radial_velocity"),
        (("--second-star", "shape=linear own_labels=teff", *NEAR), "delta_bic"),
        (("--second-star", "", *NEAR), "delta_bic"),
        (("--medium", "air"), "teff"),
        (("--bounds", "teff=4500,5500"), "teff"),
        (("--priors", "logg=4.4,0.1"), "logg"),
        (("--fixed", "teff=5100 logg=4.4"), "teff"),
        (("--estimate", "mean"), "teff_p16"),
        (("--search", "thorough"), "teff"),
        (("--max-iterations", "50"), "n_iterations"),
        (("--combinations", "Mg_Fe=Mg_H-Fe_H"), "Mg_Fe"),
        (("--format", "text"), "teff"),
        (("--read", "wavelength_unit=Angstrom"), "teff"),
    ],
    ids=" ".join,
)
def test_options_reach_the_fit(measured, options, column):
    done = measured(*SHARP, *REST, *options, files=["a.txt"])
    assert done.status == 0, done.err
    assert column in done.table.colnames
    if "teff=5100" in options[-1]:
        assert done.table["teff"][0].value == 5100


def test_fits_start_from_a_saved_posterior(measured, night, emulator_file):
    pytest.importorskip("zuko")
    posterior = NeuralPosterior(
        load(emulator_file),
        Observation(velocity_range=(-50, 50), resolving_power="emulator"),
        n_directions=8,
        n_hidden=8,
        max_steps=3,
        n_held_out=100,
        random_state=0,
    ).fit()
    posterior.save(night / "p.safetensors")
    sought = (*SHARP, "--velocity-range", "-50,50")
    plain = measured(*sought, files=["a.txt"], out="plain.ecsv")
    options = (*sought, "--start", "p.safetensors")
    done = measured(*options, files=["a.txt"])
    assert done.status == 0, done.err
    assert (done.table["chi2"] < plain.table["chi2"] + 0.1).all()
    for wrong in (("--velocity-range", "-9,9"), ("--start", "nowhere")):
        done = measured(*options, *wrong, "--restart", files=["a.txt"])
        assert done.status == 1
        assert "--start must name a neural posterior" in done.err


@pytest.fixture
def tiny_training(monkeypatch):
    """Make trainings short, whatever the command asks for."""
    pytest.importorskip("zuko")
    of = NeuralPosterior.of
    short = {"n_directions": 8, "n_hidden": 8, "max_steps": 3, "n_held_out": 100}

    def made(regressor, **options):
        return of(regressor, **options, **short)

    monkeypatch.setattr(NeuralPosterior, "of", made)


def test_a_start_is_learned_once_and_told(measured, night, tiny_training):
    options = (*SHARP, *NEAR, "--learn-start")
    first = measured(*options, files=["a.txt", "b.ecsv"])
    assert first.status == 0, first.err
    assert "trained, once for this catalogue, on 1536 mock spectra" in first.err
    kept = night / "stars.parts" / "catalogue" / "start.safetensors"
    content = kept.read_bytes()
    done = measured(*options)
    assert done.status == 0, done.err
    assert "mock spectra" not in done.err
    assert kept.read_bytes() == content
    plain = measured(*SHARP, *NEAR, out="plain.ecsv")
    assert (done.table["chi2"] < plain.table["chi2"] + 0.1).all()
    assert "mock spectra" not in plain.err
    done = measured(*SHARP, *NEAR)
    assert done.status == 1
    assert "Or pass --restart to discard it." in done.err


def test_plotted_fits_start_where_those_of_the_table_did(
    measured, night, tiny_training, monkeypatch
):
    starts, draw = [], SpectrumFitDisplay.from_regressor

    def drawn(regressor, stars):
        starts.append(regressor.start)
        return draw(regressor, stars)

    monkeypatch.setattr(SpectrumFitDisplay, "from_regressor", drawn)
    options = (*SHARP, *NEAR, "--learn-start", "--plots", "fits")
    done = measured(*options, files=["a.txt"])
    assert done.status == 0, done.err
    kept = night / "stars.parts" / "catalogue" / "start.safetensors"
    [start] = starts
    expected = load_posterior(kept, start.emulator, start.observation)
    assert start.digest_ == expected.digest_


def test_learning_a_start_without_zuko_tells_how_to_get_it(
    measured, night, tiny_training, monkeypatch
):
    monkeypatch.setitem(sys.modules, "zuko", None)
    done = measured(*SHARP, *NEAR, "--learn-start")
    assert done.status == 1
    assert "pip install 'sk_payne[neural]'" in done.err
    monkeypatch.undo()
    monkeypatch.chdir(night)
    # nothing stands in the way of a run without
    assert measured(*SHARP, *NEAR).status == 0


def test_a_telluric_template_is_a_stage(measured, night, star):
    wavelength = star().wavelength
    transmission = 1 - 0.1 * np.exp(-(((wavelength - wavelength[30]) / 0.1) ** 2))
    np.savetxt(night / "sky.txt", np.transpose([wavelength, transmission]))
    template = "sky.txt medium=air optical_depth=0,2 name=water"
    done = measured(*SHARP, *REST, "--stages", template, files=["a.txt"])
    assert done.status == 0, done.err
    assert "water_depth" in done.table.colnames
    for wrong, message in (
        ("medium=air", "--stages must be given with the file"),
        ("sky.txt", "--stages must say the medium"),
        ("sky.txt medium=air depth=3", "--stages takes"),
        ("b.ecsv medium=air", "must name a text of two columns"),
    ):
        done = measured("--stages", wrong, "--restart", files=["a.txt"])
        assert done.status == 1
        assert message in done.err


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (("--vsini", "-3"), 1, "--vsini must be a velocity in km/s"),
        (("--clip", "0"), 1, "--clip must be None or a positive number"),
        (("--second-star", "radius=3"), 1, "--second-star takes"),
        (("--second-star", "shape"), 1, "--second-star takes"),
        (("--combinations", "Mg_Fe=Mg_H Fe_H"), 2, "must name a label"),
        (("--combinations", "Mg_Fe=Mg_H/2"), 2, "must be a sum of labels"),
        (("--fixed", "teff=5000 logg"), 2, "'logg' must be NAME=VALUE"),
        (("--format", "jpeg"), 2, "'jpeg' is not one of"),
        (("--workers", "0"), 2, "--workers"),
        (("--emulator", "dwarfs-4500-4601"), 1, "Did you mean 'dwarfs-4500-4600'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_values_are_refused_in_words_of_options(
    measured, options, status, message
):
    done = measured(*options)
    assert done.status == status
    assert message in " ".join(done.err.split())


def test_options_are_kept_in_a_file_and_read_from_it(
    measured, run, night, emulator_file
):
    options = (*SHARP, "--velocity-range", "-20,20", "--fixed", "logg=4.4")
    options += ("--integrate-pixels", "--second-star", "flux_ratio=0.1,1")
    first = measured(*options, "--save-config", "my.toml", "--clip", "none")
    assert first.status == 0, first.err
    entries = tomllib.loads((night / "my.toml").read_text(encoding="utf-8"))
    assert entries == {
        "emulator": str(emulator_file),
        "files": ["a.txt", "b.ecsv", "c.fits"],
        "out": "stars.ecsv",
        "velocity_range": [-20.0, 20.0],
        "resolving_power": "emulator",
        "fixed": {"logg": 4.4},
        "integrate_pixels": True,
        "second_star": {"flux_ratio": [0.1, 1.0]},
        "clip": "none",
    }
    done = run("measure", "--config", "my.toml", "--out", "again.ecsv")
    assert done.status == 0, done.err
    again = QTable.read(night / "again.ecsv")
    np.testing.assert_array_equal(first.table["teff"], again["teff"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("visini = 3", "Did you mean 'vsini'?"),
        ("vsini = = 3", "is no TOML"),
        ("dry_run = true", "takes"),
    ],
)
def test_a_file_of_options_is_checked(run, night, emulator_file, text, message):
    (night / "my.toml").write_text(text)
    done = run("measure", "a.txt", "--emulator", emulator_file, "--config", "my.toml")
    assert done.status == 1
    assert message in done.err
    assert run("measure", "a.txt", "--config", "no.toml").status == 1


def test_the_table_is_needed_but_for_a_dry_run(run, night, emulator_file):
    done = run("measure", "a.txt", "--emulator", emulator_file)
    assert done.status == 2
    assert "--out is needed" in done.err


# Files and dry runs --------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["*.txt"], ["a.txt"]),
        (["."], ["a.txt", "b.ecsv", "broken.fits", "c.fits"]),
        (["@list.lis", "a.txt"], ["./b.ecsv", "./c.fits", "a.txt"]),
        (["[ab].*"], ["a.txt", "b.ecsv"]),
    ],
)
def test_files_are_names_patterns_folders_and_lists(
    run_json, night, emulator_file, words, expected
):
    (night / "list.lis").write_text("b.ecsv  # the second\n\n# none\n[c].fits\n")
    done = run_json("measure", *words, "--emulator", emulator_file, "--dry-run")
    found = [one["file"] for one in done.found["spectra"]]
    assert [os.path.normpath(one) for one in found] == [
        os.path.normpath(one) for one in expected
    ]


def test_a_table_among_the_files_is_no_spectrum_of_the_next_run(measured, night):
    first = measured(*SHARP, *REST, files=["."])
    assert (night / "stars.ecsv").exists()
    again = measured(*SHARP, *REST, files=["."])
    assert list(again.table["file"]) == list(first.table["file"])
    assert len(again.table) == 4


@pytest.mark.parametrize("word", ["no*.txt", "@no.lis", "empty"])
def test_words_without_files_are_an_error(run, night, emulator_file, word):
    (night / "empty").mkdir()
    done = run("measure", word, "--emulator", emulator_file, "--dry-run")
    assert done.status == 1
    assert word.strip("@") in done.err


def test_no_files_at_all_are_an_error(run, night, emulator_file):
    done = run("measure", "--emulator", emulator_file, "--dry-run")
    assert done.status == 1
    assert "FILES must name a file at least" in done.err


def test_a_dry_run_tells_what_files_are_and_lack(run, run_json, night, emulator_file):
    files = ["a.txt", "c.fits", "broken.fits"]
    done = run("measure", *files, "--emulator", emulator_file, "--dry-run")
    assert done.status == 3
    assert "1 of 3 spectra can be measured." in done.out
    assert "missing          the resolving power: --resolving-power R" in done.out
    found = run_json("measure", *files, "--emulator", emulator_file, "--dry-run").found
    first, second, third = found["spectra"]
    assert first["format"] == "text"
    assert first["medium"] == "air"
    assert first["resolving_power"] == 20_000
    assert first["overlap"] == 1.0
    assert 100 < first["snr"] < 210
    assert first["missing"] == []
    assert second["resolving_power"] is None
    assert "no format that is known" in third["missing"][0]
    assert not (night / "stars.parts").exists()


def test_an_emulator_of_a_table_brings_no_note_of_column_names(
    run, night, make_tiny, tiny_grid
):
    table = Table(tiny_grid.data, names=tiny_grid.label_names)
    emulator = make_tiny(label_names=None, label_units=None, max_steps=3)
    emulator.fit(table, tiny_grid.target).save("named.safetensors")
    done = run("measure", "a.txt", "--emulator", "named.safetensors", "--dry-run")
    assert done.status == 0
    assert "feature names" not in done.err


def test_a_dry_run_gives_no_signal_to_noise_ratio_where_there_are_no_pixels(
    run, night, emulator_file
):
    lines = ["# medium: air", *(f"{9000 + i / 10} 1 0.01" for i in range(99))]
    (night / "red.txt").write_text("\n".join(lines), encoding="utf-8")
    done = run("measure", "red.txt", "--emulator", emulator_file, "--dry-run")
    assert "missing          good pixels of the emulator" in done.out
    assert "S/N" not in done.out


def test_the_command_runs_as_a_program(night, emulator_file):
    code = "import sys; from sk_payne.command import main; sys.exit(main())"
    words = ("measure", "a.txt", "--emulator", emulator_file, "--out", "stars.csv")
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=night,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Measured 1 of 1 spectra" in done.stdout


def test_completion_knows_commands_and_options(night):
    environment = os.environ | {
        "_SK_PAYNE_COMPLETE": "bash_complete",
        "COMP_WORDS": "sk-payne mea",
        "COMP_CWORD": "1",
    }
    code = "import sys; from sk_payne.command import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "plain,measure"
