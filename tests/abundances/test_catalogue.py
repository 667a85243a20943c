"""Tests of catalogues: parts add up to the whole, whatever happens between."""

import json
import os
import pickle
import signal
import subprocess
import sys
import weakref

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from astropy.table import QTable
from regressors import make_regressor
from sklearn.exceptions import NotFittedError
from specutils import Spectrum, SpectrumList

from sk_payne import AbundanceRegressor, Observation, SpectrumEmulator, load
from sk_payne.abundances import FLAGS, measure_catalogue, read_catalogue
from sk_payne.exceptions import FileFormatError
from sk_payne.spectra import SpectrumSet, as_spectra

N_STARS = 11
ADDED = ["star", "item", "object"]


@pytest.fixture(scope="module")
def stars(observe, draw_labels):
    """Noisy spectra of eleven stars on one grid; don't change them."""
    spectra = [
        observe(row, velocity=17.0, seed=i)
        for i, row in enumerate(draw_labels(N_STARS))
    ]
    for i, spectrum in enumerate(spectra):
        spectrum.meta["object"] = f"HD {i}"
    return SpectrumList(spectra)


@pytest.fixture(scope="module")
def regressor(emulator):
    return AbundanceRegressor(emulator)


@pytest.fixture(scope="module")
def expected(regressor, stars, tmp_path_factory):
    """Folder of an uninterrupted catalogue in chunks of three; don't change it."""
    path = tmp_path_factory.mktemp("catalogue") / "whole"
    return measure(regressor, stars, path)


def measure(regressor, spectra, path, **options):
    options = {"chunk_size": 3, "verbose": 0} | options
    return measure_catalogue(regressor, spectra, path, **options)


def contents(path):
    """All files of a folder, to the last byte."""
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def failures_of(path):
    lines = (path / "failures.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def assert_same(table, other, *, rtol=0.0):
    """Alike in columns, units and values, floats to a part of their errors.

    Derivatives are of single precision, and matrix products round by the number of
    stars: a millionth of the error is what both leave.
    """
    assert table.colnames == other.colnames
    for name in table.colnames:
        assert getattr(table[name], "unit", None) == getattr(other[name], "unit", None)
        values, others = np.asarray(table[name]), np.asarray(other[name])
        if values.dtype.kind != "f":
            np.testing.assert_array_equal(values, others, err_msg=name)
            continue
        error = table.colnames.count(f"{name}_error") and table[f"{name}_error"].value
        known = np.isfinite(others)
        difference = np.abs(values[known] - others[known])
        limit = rtol * (np.abs(others) + error)[known]
        assert (difference <= limit).all(), name
        np.testing.assert_array_equal(values[~known], others[~known])


@pytest.fixture
def count_measured(monkeypatch):
    """Numbers of stars of all calls of `measure`."""
    calls, plain = [], AbundanceRegressor.measure

    def counted(self, X, **options):
        calls.append(len(as_spectra(X)))
        return plain(self, X, **options)

    monkeypatch.setattr(AbundanceRegressor, "measure", counted)
    return calls


# Parts and the whole


def test_catalogue_of_one_part_is_what_measure_gives(regressor, stars, tmp_path):
    path = measure(regressor, stars, tmp_path / "new" / "survey", chunk_size=1000)
    table = read_catalogue(path)
    assert isinstance(table, QTable)
    np.testing.assert_array_equal(table["star"], np.arange(N_STARS))
    np.testing.assert_array_equal(table["item"], np.arange(N_STARS))
    assert table["star"].dtype == table["item"].dtype == np.int64
    assert list(table["object"]) == [f"HD {i}" for i in range(N_STARS)]
    alone = regressor.measure(stars)
    assert table.meta == alone.meta
    assert table["flags"].description == alone["flags"].description
    table.remove_columns(ADDED)
    assert_same(table, alone)
    assert [table[name].dtype for name in table.colnames] == [
        alone[name].dtype for name in alone.colnames
    ]


def test_size_of_chunks_changes_no_more_than_rounding(
    regressor, stars, expected, tmp_path
):
    table = read_catalogue(measure(regressor, stars, tmp_path / "7", chunk_size=7))
    # not to the last bit: matrix products round by the number of their rows
    assert_same(table, read_catalogue(expected), rtol=1e-6)
    assert len(list(expected.glob("part-*"))) == 4
    assert len(list((tmp_path / "7").glob("part-*"))) == 2


def test_combinations_are_passed_on(regressor, stars, tmp_path):
    wanted = {"Mg_Fe": {"Mg_H": 1, "Fe_H": -1}}
    path = measure(regressor, stars[:2], tmp_path / "x", combinations=wanted)
    alone = regressor.measure(stars[:2], combinations=wanted)
    np.testing.assert_array_equal(
        read_catalogue(path)["Mg_Fe_error"].value, alone["Mg_Fe_error"].value
    )


def test_stars_may_come_one_by_one_and_in_blocks(regressor, stars, expected, tmp_path):
    wavelength = stars[0].spectral_axis
    block = Spectrum(
        flux=np.stack([star.flux.value for star in stars[3:5]]) * u.one,
        spectral_axis=wavelength,
        uncertainty=StdDevUncertainty(np.full((2, len(wavelength)), 0.01)),
        meta={"medium": "air", "resolving_power": 20_000.0, "object": ["HD 3", "HD 4"]},
    )
    items = [stars[0], stars[1:3], block, as_spectra(stars[5:10]), stars[10]]
    path = measure(regressor, iter(items), tmp_path / "blocks", chunk_size=4)
    table = read_catalogue(path)
    np.testing.assert_array_equal(table["item"], [0, 1, 1, 2, 2, 3, 3, 3, 3, 3, 4])
    assert list(table["object"]) == [
        *("HD 0", "HD 1", "HD 2", "HD 3", "HD 4", "", "", "", "", "", "HD 10")
    ]
    assert len(list(path.glob("part-*"))) == 3  # of 5, 5 and 1
    whole = read_catalogue(expected)
    for each in (table, whole):
        each.remove_columns(["item", "object"])
    assert_same(table, whole, rtol=1e-6)


def test_stars_on_other_wavelengths_share_a_chunk(regressor, stars, observe, tmp_path):
    short = observe([5000.0, -0.5, 0.0], velocity=-30.0, pixels=slice(40, 230), seed=5)
    path = measure(regressor, [stars[0], short, stars[1]], tmp_path / "mixed")
    table = read_catalogue(path)["radial_velocity", "radial_velocity_error", "n_pixels"]
    alone = regressor.measure(short)
    assert table["n_pixels"][1] == alone["n_pixels"][0]
    difference = table["radial_velocity"][1] - alone["radial_velocity"][0]
    assert abs(difference) < 1e-6 * alone["radial_velocity_error"][0]


def test_rows_of_an_array_and_whole_arrays_are_flux_on_the_grid(
    emulator, draw_labels, tmp_path
):
    flux = emulator.predict(draw_labels(5))
    regressor = AbundanceRegressor(emulator, snr=100)
    rows = read_catalogue(measure(regressor, flux, tmp_path / "rows", chunk_size=2))
    alone = regressor.measure(flux)
    np.testing.assert_allclose(rows["teff"].value, alone["teff"].value, rtol=1e-9)
    blocks = [flux[:2], flux[2:]]
    table = read_catalogue(measure(regressor, blocks, tmp_path / "b", chunk_size=2))
    np.testing.assert_allclose(table["teff"].value, alone["teff"].value, rtol=1e-9)
    assert list(table["item"]) == [0, 0, 1, 1, 1]


def test_no_more_than_a_chunk_is_held(regressor, stars, tmp_path):
    alive, most = weakref.WeakSet(), 0

    def survey():
        nonlocal most
        for star in stars:
            spectra = as_spectra(star)
            alive.add(spectra)
            most = max(most, len(alive))
            yield spectra
            del spectra

    measure(regressor, survey(), tmp_path / "stream", chunk_size=2)
    # two that are measured were given back, or wait for the one that is made
    assert 2 <= most <= 5


def test_names_may_be_found_in_other_ways(regressor, stars, tmp_path):
    odd = Spectrum(
        flux=stars[0].flux,
        spectral_axis=stars[0].spectral_axis,
        uncertainty=stars[0].uncertainty,
        meta={"medium": "air", "resolving_power": 20_000.0, "ID": 'ξ "Boo",\n A'},
    )
    by_key = measure(regressor, [odd, stars[1]], tmp_path / "key", names="ID")
    assert list(read_catalogue(by_key)["object"]) == ['ξ "Boo", A', ""]
    by_call = measure(
        regressor, stars[:2], tmp_path / "call", names=lambda s: s.meta["object"][-1]
    )
    assert list(read_catalogue(by_call)["object"]) == ["0", "1"]


def test_regressor_that_trained_its_emulator_is_as_good(grid, make_emulator, tmp_path):
    regressor = AbundanceRegressor(make_emulator(max_steps=53), snr=100)
    regressor.fit(grid.target, grid.data)
    path = measure(regressor, grid.target[:2], tmp_path / "fit")
    assert len(read_catalogue(path)) == 2


# Stopped and gone on with


def test_finished_parts_are_neither_measured_nor_read_again(
    regressor, stars, expected, tmp_path, count_measured
):
    seen = []

    def reader(i):
        seen.append(i)
        return stars[i]

    def run():
        return measure(regressor, range(N_STARS), tmp_path / "x", reader=reader)

    found = run()
    assert seen == list(range(N_STARS))
    assert count_measured == [1, 3, 3, 3, 2]  # first the star without data
    before = contents(found)
    assert_same(read_catalogue(found), read_catalogue(expected))
    (found / "part-000002.ecsv").unlink()
    seen.clear()
    count_measured.clear()
    assert contents(run()) == before
    assert seen == [6, 7, 8]
    assert count_measured == [1, 3]


# Kills its own process while the eighth star is read.
KILLED = """
import os, pickle, signal, sys, torch
torch.set_num_threads(1)
from sk_payne import AbundanceRegressor, load
from sk_payne.abundances import measure_catalogue

def survey(spectra):
    for i, star in enumerate(spectra):
        if i == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        yield star

model, spectra, path = sys.argv[1:]
with open(spectra, "rb") as file:
    stars = pickle.load(file)
measure_catalogue(
    AbundanceRegressor(load(model)), survey(stars), path, chunk_size=3, verbose=0
)
"""


def test_killed_catalogue_goes_on_as_if_it_had_lived(
    emulator, regressor, stars, expected, tmp_path
):
    emulator.save(tmp_path / "model")
    spectra = [as_spectra(star) for star in stars]
    (tmp_path / "spectra").write_bytes(pickle.dumps(spectra))
    path = tmp_path / "survey"
    arguments = [tmp_path / "model", tmp_path / "spectra", path]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)])
    assert done.returncode == -signal.SIGKILL
    assert sorted(file.name for file in path.iterdir()) == [
        *("catalogue.json", "claims.lock", "part-000000.ecsv", "part-000001.ecsv")
    ]
    whole = read_catalogue(expected)
    assert_same(read_catalogue(path)["star", "teff"], whole["star", "teff"][:6])
    measure(regressor, spectra, path)
    # sets of spectra have no names
    measured = [name for name in whole.colnames if name != "object"]
    assert_same(read_catalogue(path)[measured], whole[measured])


# Reads stars, each of which it writes down; the first when another process reads, too.
SHARING = """
import pickle, sys, time, torch
from pathlib import Path
torch.set_num_threads(1)
from sk_payne import AbundanceRegressor, load
from sk_payne.abundances import measure_catalogue

folder, me, n_stars = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
stars = pickle.loads((folder / "spectra").read_bytes())

def reader(i):
    (folder / f"reading {me}").touch()
    give_up = time.monotonic() + 120
    while len(list(folder.glob("reading *"))) < 2 and time.monotonic() < give_up:
        time.sleep(0.01)
    with open(folder / "log", "ab", buffering=0) as log:
        log.write(f"{i}\\n".encode())
    return stars[i]

regressor = AbundanceRegressor(load(folder / "model"))
measure_catalogue(
    regressor, range(n_stars), folder / "x", reader=reader, chunk_size=1, verbose=0
)
"""


def test_two_processes_share_a_catalogue(emulator, regressor, stars, tmp_path):
    emulator.save(tmp_path / "model")
    spectra = [as_spectra(star) for star in stars]
    (tmp_path / "spectra").write_bytes(pickle.dumps(spectra))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SHARING, tmp_path, name, str(N_STARS)],
            stderr=subprocess.PIPE,
        )
        for name in "AB"
    ]
    told = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    read = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert sorted(read) == list(range(N_STARS))
    alone = measure(
        regressor, range(N_STARS), tmp_path / "y", reader=spectra.__getitem__,
        chunk_size=1,
    )  # fmt: skip
    assert contents(tmp_path / "x") == contents(alone)


def test_ctrl_c_leaves_what_is_measured(regressor, stars, expected, tmp_path):
    def survey():
        yield from stars[:7]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(regressor, survey(), tmp_path / "x")
    assert len(read_catalogue(tmp_path / "x")) == 6
    assert contents(measure(regressor, stars, tmp_path / "x")) == contents(expected)


@pytest.mark.parametrize("when", ["written", "replaced"])
def test_interruption_while_a_part_is_written_leaves_no_half_of_it(
    regressor, stars, expected, tmp_path, monkeypatch, when
):
    replace = os.replace

    def fail(partial, path):
        if "part-000001" in path.name:
            if when == "written":
                partial.write_text(partial.read_text()[:997])
            raise KeyboardInterrupt
        replace(partial, path)

    path = tmp_path / "x"
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        with pytest.raises(KeyboardInterrupt):
            measure(regressor, stars, path)
    assert len(read_catalogue(path)) == 3
    assert contents(measure(regressor, stars, path)) == contents(expected)


def test_further_spectra_at_the_end_join_the_catalogue(
    regressor, stars, expected, tmp_path, count_measured
):
    path = measure(regressor, stars[:8], tmp_path / "x")
    count_measured.clear()
    assert contents(measure(regressor, stars, path)) == contents(expected)
    assert count_measured == [1, 3, 2]


def test_damaged_part_is_an_error_that_says_what_to_do(
    regressor, stars, expected, tmp_path
):
    path = measure(regressor, stars, tmp_path / "x")
    part = path / "part-000001.ecsv"
    part.write_text(part.read_text()[:700])
    with pytest.raises(FileFormatError, match=r"part-000001.*damaged.* Remove it, and"):
        measure(regressor, stars, path)
    part.unlink()
    assert contents(measure(regressor, stars, path)) == contents(expected)


# Fewer, others, none


def test_stars_that_are_no_longer_given_are_not_in_the_catalogue(
    regressor, stars, expected, tmp_path, count_measured
):
    path = measure(regressor, stars, tmp_path / "x")
    assert_same(read_catalogue(path), read_catalogue(expected))
    for n_stars in (6, 4):
        measure(regressor, stars[:n_stars], path)
        assert read_catalogue(path)["star"].tolist() == list(range(n_stars))
    count_measured.clear()
    measure(regressor, stars, path)
    assert contents(path) == contents(expected)
    assert count_measured == [1, 3]  # the part that was shortened


def test_other_spectra_are_measured_and_not_taken_for_those_before(
    regressor, stars, tmp_path
):
    path = measure(regressor, stars[:6], tmp_path / "x")
    measure(regressor, [*stars[:3], *stars[5:2:-1]], path)
    turned = measure(regressor, [*stars[:3], *stars[5:2:-1]], tmp_path / "y")
    assert contents(path) == contents(turned)


def test_numbers_of_items_follow_those_before(regressor, stars, tmp_path):
    path = measure(regressor, [stars[:3], *stars[3:6]], tmp_path / "x")
    measure(regressor, [*stars[:3], *stars[3:6]], path)
    assert read_catalogue(path)["item"].tolist() == list(range(6))


def test_other_names_are_another_catalogue(regressor, stars, tmp_path):
    measure(regressor, stars[:1], tmp_path / "x")
    with pytest.raises(ValueError, match="another `names`: 'object', not 'ID'"):
        measure(regressor, stars[:1], tmp_path / "x", names="ID")


def test_other_files_are_read(regressor, stars, tmp_path):
    def reader(path):
        return stars[int(path.name)]

    paths = [tmp_path / str(i) for i in range(4)]
    path = measure(regressor, paths, tmp_path / "x", reader=reader)
    measure(regressor, paths[::-1], path, reader=reader)
    assert list(read_catalogue(path)["object"]) == ["HD 3", "HD 2", "HD 1", "HD 0"]


def test_parts_behind_a_missing_one_are_left_out_with_a_warning(
    regressor, stars, tmp_path
):
    path = measure(regressor, stars, tmp_path / "x")
    (path / "part-000001.ecsv").unlink()
    with pytest.warns(UserWarning, match=r"2 parts .* 'part-000001.ecsv' before them"):
        table = read_catalogue(path)
    assert table["star"].tolist() == [0, 1, 2]


def test_catalogue_of_nothing_is_an_empty_table_with_columns(
    regressor, stars, expected, tmp_path
):
    path = measure(regressor, [], tmp_path / "x")
    table = read_catalogue(path)
    assert len(table) == 0
    assert table.colnames == [*ADDED, *regressor.measure(stars[0]).colnames]
    measure(regressor, stars, path)
    assert contents(path) == contents(expected)
    measure(regressor, iter([]), path)
    assert len(read_catalogue(path)) == 0


# Folders of others


@pytest.mark.parametrize(
    ("parameters", "options", "named"),
    [
        ({"snr": 50}, {}, r"`regressor.snr`: None, not 50\."),
        ({"vsini": (0, 5)}, {}, r"`regressor.observation.vsini`: 0.0, not \[0, 5\]\."),
        ({}, {"chunk_size": 4}, r"`chunk_size`: 3, not 4\."),
        ({}, {"combinations": {"x": {"Fe_H": 1}}}, "`combinations`: None, not {'x'"),
    ],
)
def test_folder_of_another_run_is_an_error_that_names_the_difference(
    emulator, stars, expected, parameters, options, named
):
    before = contents(expected)
    with pytest.raises(ValueError, match=named):
        measure(make_regressor(emulator, **parameters), stars, expected, **options)
    assert contents(expected) == before


def test_folder_of_another_emulator_is_an_error(grid, make_emulator, stars, expected):
    other = make_emulator(max_steps=606).fit(grid.data, grid.target)
    with pytest.raises(
        ValueError, match=r"made with another `emulator`: '[0-9a-f]+', not"
    ):
        measure(AbundanceRegressor(other), stars, expected)


def test_folder_of_another_version_is_an_error(regressor, stars, tmp_path):
    path = measure(regressor, stars[:1], tmp_path / "x")
    manifest = path / "catalogue.json"
    manifest.write_text(manifest.read_text().replace('"sk_payne": "', '"sk_payne": "9'))
    with pytest.raises(ValueError, match="another `sk_payne`: '9"):
        measure(regressor, stars[:1], path)


def test_folder_with_other_files_is_an_error(regressor, stars, tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"other files, such as 'thesis.tex'. Pass"):
        measure(regressor, stars, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_emulator_is_the_same_after_saving_and_pickling(
    emulator, stars, tmp_path, count_measured
):
    emulator.save(tmp_path / "model")
    path = tmp_path / "x"
    measure(AbundanceRegressor(emulator), stars[:2], path)
    count_measured.clear()
    for same in (load(tmp_path / "model"), pickle.loads(pickle.dumps(emulator))):
        measure(AbundanceRegressor(same, verbose=1), stars[:2], path)
    assert count_measured == [1, 1]


# What fails


def test_item_that_cannot_be_read_loses_only_its_stars(regressor, stars, tmp_path):
    def reader(path):
        if path.name == "4":
            raise OSError("no such file\non the tape")
        return stars[int(path.name)]

    paths = [tmp_path / str(i) for i in range(N_STARS)]
    with pytest.warns(
        UserWarning,
        match="1 items or stars could not be read .*failures.jsonl' names them; the "
        "first error is OSError: no such",
    ):
        path = measure(regressor, paths, tmp_path / "x", reader=reader)
    table = read_catalogue(path)
    assert list(table["star"]) == list(table["item"]) == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    failure = {"item": 4, "row": None, "error": "OSError: no such file on the tape"}
    about = {"part": 1, "file": str(tmp_path / "4"), "size": None, "mtime": None}
    assert failures_of(path) == [failure | about]
    before = contents(path)
    with pytest.warns(UserWarning, match="1 items"):
        measure(regressor, paths, path, reader=reader)
    assert contents(path) == before


def test_part_that_is_removed_is_measured_again(
    regressor, stars, tmp_path, count_measured
):
    blocks, bad = [stars[:3], stars[3:5], stars[5:]], {0}

    def reader(i):
        if i in bad:
            raise OSError
        return blocks[i]

    options = {"reader": reader, "chunk_size": 1}
    with pytest.warns(UserWarning, match="1 items"):
        path = measure(regressor, range(3), tmp_path / "x", **options)
    assert read_catalogue(path)["star"].tolist() == list(range(1, 9))
    bad.clear()
    (path / "part-000000.ecsv").unlink()
    count_measured.clear()
    measure(regressor, range(3), path, **options)
    assert count_measured == [1, 3]
    whole = measure(regressor, range(3), tmp_path / "y", **options)
    assert contents(path) == contents(whole)


def test_failed_item_is_tried_again_when_its_file_has_changed(
    regressor, stars, expected, tmp_path, count_measured
):
    def reader(path):
        return stars[int(path.read_text())]

    files = [tmp_path / f"{i}.txt" for i in range(N_STARS)]
    for i, file in enumerate(files):
        file.write_text("torn" if i in (1, 4) else str(i))

    def run(**options):
        count_measured.clear()
        return measure(regressor, files, tmp_path / "x", reader=reader, **options)

    with pytest.warns(UserWarning, match="2 items"):
        path = run()
    assert read_catalogue(path)["star"].tolist() == [0, 2, 3, *range(5, N_STARS)]
    assert [(f["item"], f["part"], f["file"]) for f in failures_of(path)] == [
        (1, 0, str(files[1])),
        (4, 1, str(files[4])),
    ]
    files[4].write_text("4 ")
    with pytest.warns(UserWarning, match="2 items"):
        run(retry_failed=False)
    assert count_measured == [1]
    with pytest.warns(UserWarning, match="1 items"):
        run()
    assert count_measured == [1, 1]  # one star, and not its part
    assert [f["item"] for f in failures_of(path)] == [1]
    files[1].unlink()
    with pytest.warns(UserWarning, match="FileNotFoundError"):
        run()
    files[1].write_text("1")
    run()
    assert failures_of(path) == []
    assert_same(read_catalogue(path), read_catalogue(expected), rtol=1e-6)


def test_star_whose_file_has_changed_is_measured_again(
    regressor, stars, expected, tmp_path, count_measured
):
    files = [tmp_path / f"{i}.txt" for i in range(N_STARS)]
    for i, file in enumerate(files):
        file.write_text(str((i + 1) % N_STARS if i == 3 else i))

    def run():
        count_measured.clear()
        return measure(
            regressor,
            files,
            tmp_path / "x",
            reader=lambda path: stars[int(path.read_text())],
        )

    run()
    files[3].write_text(" 3")
    files[5].unlink()  # what was measured of it stays
    path = run()
    assert count_measured == [1, 1]  # a star without data, and one star
    assert_same(read_catalogue(path), read_catalogue(expected), rtol=1e-6)
    run()
    assert count_measured == [1]


def test_failed_items_are_tried_again_if_asked(
    regressor, stars, expected, tmp_path, count_measured
):
    bad = {0, 7}

    def reader(i):
        if i in bad:
            raise OSError("busy")
        return stars[i]

    def run(**options):
        count_measured.clear()
        return measure(
            regressor, range(N_STARS), tmp_path / "x", reader=reader, **options
        )

    with pytest.warns(UserWarning, match="2 items"):
        run()
    bad.clear()
    with pytest.warns(UserWarning, match="2 items"):
        run()
    path = run(retry_failed=True)
    assert count_measured == [1, 1, 1]
    assert_same(read_catalogue(path), read_catalogue(expected), rtol=1e-6)


def test_stars_of_an_item_that_grew_are_numbered_anew(regressor, stars, tmp_path):
    blocks = {0: stars[:2], 1: stars[2:5], 2: stars[5:7]}
    bad = {1}

    def reader(i):
        if i in bad:
            raise OSError("busy")
        return blocks[i]

    options = {"reader": reader, "chunk_size": 2}
    with pytest.warns(UserWarning, match="1 items"):
        path = measure(regressor, range(3), tmp_path / "x", **options)
    assert read_catalogue(path)["star"].tolist() == [0, 1, 3, 4]
    bad.clear()
    measure(regressor, range(3), path, retry_failed=True, **options)
    assert read_catalogue(path)["star"].tolist() == list(range(7))
    assert list(read_catalogue(path)["object"]) == [f"HD {i}" for i in range(7)]


@pytest.mark.parametrize(
    "bad",
    [None, "negative", "no medium", np.ones((2, 5, 7)), SpectrumList([])],
    ids=["nothing", "negative error", "no medium", "a cube", "an empty list"],
)
def test_item_that_holds_no_good_spectrum_is_left_out(regressor, stars, tmp_path, bad):
    if isinstance(bad, str):
        star = stars[0]
        sigma = -star.uncertainty.array if bad == "negative" else star.uncertainty.array
        bad = Spectrum(
            flux=star.flux,
            spectral_axis=star.spectral_axis,
            uncertainty=StdDevUncertainty(sigma),
            meta={"medium": "air", "resolving_power": 20_000.0}
            if bad == "negative"
            else {},
        )
    with pytest.warns(UserWarning, match="1 items or stars"):
        path = measure(regressor, [stars[0], bad, stars[1]], tmp_path / "x")
    table = read_catalogue(path)
    assert list(table["item"]) == [0, 2]
    [failure] = failures_of(path)
    assert failure["item"] == 1
    assert failure["error"].startswith(("TypeError: `X`", "ValueError: "))


def test_star_that_cannot_be_measured_loses_only_itself(
    regressor, stars, expected, tmp_path, monkeypatch
):
    plain, bad = AbundanceRegressor.measure, as_spectra(stars[7]).flux[0]

    def touchy(self, X, **options):
        if (as_spectra(X).flux == bad).all(axis=1).any():
            raise ArithmeticError("singular")
        return plain(self, X, **options)

    monkeypatch.setattr(AbundanceRegressor, "measure", touchy)
    items = [as_spectra(stars[:2]), as_spectra(stars[2:])]
    with pytest.warns(UserWarning, match="ArithmeticError: singular"):
        path = measure(regressor, items, tmp_path / "x", chunk_size=N_STARS)
    failure = {"item": 1, "row": 5, "error": "ArithmeticError: singular"}
    assert failures_of(path) == [failure | {"part": 0, "file": None}]
    table, whole = read_catalogue(path), read_catalogue(expected)
    whole.remove_row(7)
    for each in (table, whole):
        each.remove_columns(["item", "object"])
    assert_same(table, whole, rtol=1e-6)


def test_star_that_misses_the_emulator_has_no_data_alone_and_beside_others(
    regressor, stars, tmp_path
):
    far = Spectrum(
        flux=stars[0].flux,
        spectral_axis=stars[0].spectral_axis * 1.5,
        uncertainty=stars[0].uncertainty,
        meta=stars[0].meta,
    )
    for size in (1, 2):
        measure(regressor, [far, stars[1]], tmp_path / str(size), chunk_size=size)
    alone, beside = (read_catalogue(tmp_path / size) for size in "12")
    assert alone["flags"][0] & FLAGS["NO_DATA"][0]
    assert_same(alone, beside, rtol=1e-6)


def test_catalogue_without_a_good_item_has_columns(regressor, stars, tmp_path):
    with pytest.warns(UserWarning, match="2 items or stars"):
        path = measure(regressor, [None, "a path"], tmp_path / "x", reader=lambda x: x)
    table = read_catalogue(path)
    assert len(table) == 0
    assert table.colnames == [*ADDED, *regressor.measure(stars[0]).colnames]
    assert table["teff"].unit == u.K


# Files for others


@pytest.mark.filterwarnings(
    # astropy's own words on its own units; they come back nevertheless
    "ignore:The unit 'dex' could not be saved in native FITS format",
    "ignore:.*W50.*Invalid unit string 'dex'",
)
@pytest.mark.parametrize(
    ("form", "options"),
    [("fits", {}), ("votable", {"unit_format": "generic"}), ("ascii.ecsv", {})],
    ids=["fits", "votable", "ecsv"],
)
def test_table_survives_the_way_to_a_file_and_back(expected, tmp_path, form, options):
    table = read_catalogue(expected)
    table.write(tmp_path / "table", format=form)
    back = QTable.read(tmp_path / "table", format=form, **options)
    back.convert_bytestring_to_unicode()
    assert_same(back, table)
    assert back["teff"].unit == u.K
    assert back["Fe_H"].unit == u.dex
    assert back["radial_velocity_error"].unit == u.km / u.s
    for name in table.colnames:
        assert back[name].dtype.newbyteorder("=") == table[name].dtype
    for name, (bit, meaning) in FLAGS.items():
        described = " ".join(back["flags"].description.split())
        assert f"{bit} {name}: {meaning}" in described


# Workers


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_workers_make_the_same_catalogue_and_are_not_flooded(
    regressor, stars, expected, tmp_path, client
):
    there, ahead = tmp_path / "there", []

    def survey():
        for i, star in enumerate(stars):
            ahead.append(i - len(list(there.glob("part-*.ecsv"))))
            yield star

    measure(regressor, survey(), there, chunk_size=1, client=client)
    here = measure(regressor, stars, tmp_path / "here", chunk_size=1)
    assert contents(there) == contents(here)
    # two for each of the two workers
    assert 2 <= max(ahead) <= 4
    threes = measure(regressor, stars, tmp_path / "threes", client=client)
    assert contents(threes) == contents(expected)


def test_workers_read_files_and_go_on_with_what_was_begun_elsewhere(
    regressor, stars, tmp_path, client
):
    paths = [tmp_path / f"{i}" for i in range(N_STARS + 1)]
    for path, star in zip(paths, stars, strict=False):
        path.write_bytes(pickle.dumps(as_spectra(star)))

    def reader(path):
        return pickle.loads(path.read_bytes())

    def names(spectra):
        return str(os.getpid())

    options = {"reader": reader, "names": names, "chunk_size": 2}
    measure(regressor, paths[:4], tmp_path / "x", **options)
    message = "1 items or stars .*FileNotFoundError"
    with pytest.warns(UserWarning, match=message):
        measure(regressor, paths, tmp_path / "x", client=client, **options)
    with pytest.warns(UserWarning, match=message):
        measure(regressor, paths, tmp_path / "here", **options)
    there, here = (read_catalogue(tmp_path / name) for name in ("x", "here"))
    assert set(there["object"][:4]) == {str(os.getpid())}
    assert str(os.getpid()) not in there["object"][4:]
    for table in (there, here):
        table.remove_column("object")
    assert_same(there, here)


# Arguments


def test_progress_is_counted_in_stars(regressor, stars, tmp_path, capsys):
    measure(regressor, stars, tmp_path / "quiet")
    assert capsys.readouterr().err == ""
    items = [stars[:4], *stars[4:]]
    measure(regressor, items, tmp_path / "loud", verbose=1)
    assert "11/11" in capsys.readouterr().err
    measure(regressor, items, tmp_path / "loud", verbose=1)
    assert "11/11" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"chunk_size": 0}, ValueError, "`chunk_size` .* at least 1; got 0"),
        ({"chunk_size": 2.5}, ValueError, "`chunk_size` must be an integer .*got 2.5"),
        ({"retry_failed": "no"}, ValueError, "`retry_failed` must be .* got 'no'"),
        ({"spectra": "a.fits"}, TypeError, r"got 'a.fits'. Pass \[path\] for a single"),
        ({"combinations": {"x": {"Fe_h": 1}}}, ValueError, "Did you mean 'Fe_H'?"),
    ],
)
def test_bad_arguments_are_errors_before_anything_is_written(
    regressor, stars, tmp_path, changes, error, message
):
    arguments = {"spectra": stars} | changes
    with pytest.raises(error, match=message):
        measure(regressor, path=tmp_path / "x", **arguments)
    assert not (tmp_path / "x").exists()


def test_arms_come_and_go_but_columns_stay(emulator, observe, draw_labels, tmp_path):
    arms = [
        observe(draw_labels(1)[0], pixels=pixels)
        for pixels in (slice(0, 140), slice(120, 257))
    ]
    stars = [arms[0], [arms], arms[0], [arms]]
    regressor = AbundanceRegressor(emulator, Observation(arm_offsets=[(-9, 9)]))
    path = measure(regressor, stars, tmp_path / "a", chunk_size=1)
    parts = [QTable.read(part) for part in sorted(path.glob("part-*.ecsv"))]
    assert len(parts) == 4
    assert all(part.colnames == parts[0].colnames for part in parts)
    table = read_catalogue(path)
    np.testing.assert_array_equal(
        np.isfinite(table["velocity_offset_1_error"]), [False, True, False, True]
    )
    regressor.set_params(observation__arm_offsets=(-9, 9))
    with pytest.raises(ValueError, match=r"`arm_offsets` .* Pass \[\(-9, 9\)\] for"):
        measure(regressor, stars, tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.fixture
def arms(observe, draw_labels):
    """Two arms of each of two stars, which state no arm."""
    return [
        [observe(row, pixels=pixels) for pixels in (slice(0, 130), slice(140, 257))]
        for row in draw_labels(2)
    ]


def state(arms, **entries):
    """The arms with further entries of meta, one value for each arm."""
    for star in arms:
        for i, arm in enumerate(star):
            arm.meta |= {name: values[i] for name, values in entries.items()}
    return arms


def test_stars_of_arms_have_the_name_that_an_arm_states(regressor, arms, tmp_path):
    state(arms, object=[None, "HD 1"])
    path = measure(regressor, [[star] for star in arms], tmp_path / "x")
    assert list(read_catalogue(path)["object"]) == ["HD 1", "HD 1"]
    path = measure(
        regressor, [arms], tmp_path / "call", names=lambda arms: f"{len(arms)} arms"
    )
    assert list(read_catalogue(path)["object"]) == ["2 arms", "2 arms"]


@pytest.mark.parametrize("how", ["read", "flat", "list"])
def test_arms_that_a_reader_gives_one_by_one_are_one_star(
    regressor, arms, tmp_path, how
):
    state(arms[:1], object=["HD 1", "HD 1"], arm=["B", "R"])
    state(arms[1:], object=["HD 2", "HD 2"], arm=["B", "R"])
    flat = SpectrumList([*arms[0], *arms[1]])
    spectra, options = {
        "read": ([0, 1], {"reader": lambda i: SpectrumList(arms[i])}),
        "flat": (iter(flat), {}),
        "list": ([flat], {}),
    }[how]
    table = read_catalogue(measure(regressor, spectra, tmp_path / "x", **options))
    assert list(table["object"]) == ["HD 1", "HD 2"]
    table.remove_columns(ADDED)
    assert_same(table, regressor.measure(arms), rtol=1e-6)
    assert_same(regressor.measure(flat), regressor.measure(arms))


@pytest.mark.parametrize("path", ["cat.fits", "survey.ECSV"])
def test_path_that_looks_like_a_file_is_an_error(regressor, stars, tmp_path, path):
    with pytest.raises(ValueError, match=r"`path` must be a folder.* got .*Pass '"):
        measure(regressor, stars, tmp_path / path)
    assert list(tmp_path.iterdir()) == []


def test_path_of_a_file_is_an_error(regressor, stars, tmp_path):
    (tmp_path / "cat").write_text("of mine")
    with pytest.raises(ValueError, match=r"`path` must be a folder"):
        measure(regressor, stars, tmp_path / "cat")
    assert (tmp_path / "cat").read_text() == "of mine"


def test_arrays_enter_the_identity_by_content(emulator, stars, tmp_path):
    flux = np.ones((1, emulator.n_outputs_))
    power = np.full(flux.shape[1], 9000.0)
    other = power.copy()
    other[100:150] = 4000.0

    def run(power, **options):
        regressor = make_regressor(emulator, snr=50, resolving_power=power, **options)
        measure(regressor, flux, tmp_path / "x")

    with np.printoptions(threshold=7):  # as it is of more than a thousand numbers
        assert repr(power) == repr(other)
        run(power)
        run(power.copy())
        with pytest.raises(
            ValueError, match=r"`regressor.observation.resolving_power`: 'fl"
        ):
            run(other)
    with pytest.raises(ValueError, match=r"`regressor.priors.*: None, not .*\[0.0, 1"):
        run(power, priors={"Fe_H": (0.0, 1.0)})


def test_paths_without_a_reader_are_an_error(regressor, tmp_path):
    with pytest.raises(TypeError, match=r"`reader` must be given .* got 'a.fits'"):
        measure(regressor, ["a.fits"], tmp_path / "x")


def test_an_unfitted_emulator_is_an_error(stars, tmp_path):
    with pytest.raises(NotFittedError):
        measure(AbundanceRegressor(SpectrumEmulator()), stars, tmp_path / "x")


def test_one_snr_for_each_star_is_an_error(emulator, stars, tmp_path):
    regressor = AbundanceRegressor(emulator, snr=np.full(N_STARS, 50.0))
    with pytest.raises(
        ValueError, match=r"`snr` of the regressor .* got 11. Pass spec"
    ):
        measure(regressor, stars, tmp_path / "x")


def test_folder_without_a_catalogue_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="`path` must be the folder of a cat"):
        read_catalogue(tmp_path)


def test_catalogue_of_an_earlier_format_is_an_error(regressor, stars, tmp_path):
    path = measure(regressor, stars[:1], tmp_path / "x")
    manifest = json.loads((path / "catalogue.json").read_text())
    del manifest["n_parts"]
    (path / "catalogue.json").write_text(json.dumps(manifest))
    with pytest.raises(FileFormatError, match="of an earlier format"):
        read_catalogue(path)


def test_catalogue_without_a_part_says_so(regressor, stars, tmp_path):
    def survey():
        yield stars[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(regressor, survey(), tmp_path / "x")
    with pytest.raises(FileNotFoundError, match=r"has no part yet. Call"):
        read_catalogue(tmp_path / "x")


def test_sets_of_stars_are_spectra_as_well(regressor, stars, expected, tmp_path):
    spectra = as_spectra(stars)
    assert isinstance(spectra, SpectrumSet)
    path = measure(regressor, spectra, tmp_path / "x")
    table, whole = read_catalogue(path), read_catalogue(expected)
    table.remove_column("object"), whole.remove_column("object")
    assert_same(table, whole)
