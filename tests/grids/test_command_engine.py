"""Programs make spectra, and what goes wrong with them is said.

It is here because the output of a program that failed looks like that of one that did
not.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sk_payne.grids import CommandEngine

WAVELENGTH = np.linspace(5000.0, 5010.0, 7)
LABELS = {"teff": 5777.25, "Fe_H": -0.125}

CODE = """
import pathlib
teff, metallicity = pathlib.Path("star.in").read_text().split()
start, stop, n = pathlib.Path("range.in").read_text().split()
wavelength = [float(line) for line in pathlib.Path("wavelength.txt").open()]
assert (wavelength[0], wavelength[-1], len(wavelength)) == (
    float(start), float(stop), int(n))
with open("out", "w") as file:
    for w in wavelength:
        print(float(teff), float(metallicity) * w, file=file)
"""
TEMPLATES = {
    "star.in": "{teff:.1f} {Fe_H:+.3f}\n",
    "range.in": "{wavelength_min} {wavelength_max} {n_wavelengths}",
}


def read(folder, wavelength):
    return tuple(np.loadtxt(folder / "out", unpack=True))


def python(code):
    return [sys.executable, "-c", code]


def test_program_is_given_labels_and_wavelengths_and_its_output_is_read():
    flux, continuum = CommandEngine(TEMPLATES, python(CODE), read)(LABELS, WAVELENGTH)
    np.testing.assert_array_equal(flux, np.full(7, 5777.2))
    np.testing.assert_allclose(continuum, -0.125 * WAVELENGTH, rtol=1e-9)


def test_every_run_has_a_folder_of_its_own_which_is_removed():
    seen = []

    def parse(folder, wavelength):
        seen.append(folder)
        assert not (folder / "seen").exists()
        (folder / "seen").touch()
        return wavelength

    engine = CommandEngine({}, python("pass"), parse)
    engine(LABELS, WAVELENGTH)
    engine(LABELS, WAVELENGTH)
    assert len(set(seen)) == 2
    assert not any(folder.exists() for folder in seen)


def test_exit_code_is_an_error_with_the_end_of_standard_error():
    code = "import sys\nfor i in range(9): print('no', i, file=sys.stderr)\nsys.exit(3)"
    with pytest.raises(RuntimeError, match=r"exit code 3\. .* ends: no 4 \| .*no 8$"):
        CommandEngine({}, python(code), read)(LABELS, WAVELENGTH)


def test_program_that_a_signal_ends_is_an_error():
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(RuntimeError, match="exit code -11"):
        CommandEngine({}, python(code), read)(LABELS, WAVELENGTH)


def test_timeout_ends_the_program_and_what_it_has_started(tmp_path):
    child = f"echo $$ > {tmp_path}/pid; exec sleep 1000"
    engine = CommandEngine(
        {"run.sh": child}, ["sh", "-c", "sh run.sh & wait"], read, timeout=1.5
    )
    with pytest.raises(TimeoutError, match=r"'sh' took longer than 1\.5 s"):
        engine(LABELS, WAVELENGTH)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(500):  # until the system has taken the child away
        if not is_running(pid):
            return
        time.sleep(0.01)
    raise AssertionError("the child lives on")


def is_running(pid):
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def test_template_that_asks_for_no_label_is_an_error_that_lists_them():
    engine = CommandEngine({"in": "{Teff}"}, python("pass"), read)
    with pytest.raises(ValueError, match=r"'in' cannot .*'Teff'.*\['Fe_H', .*'teff'"):
        engine(LABELS, WAVELENGTH)


def test_braces_that_are_doubled_are_braces():
    engine = CommandEngine(
        {"in": "{{{teff:.0f}}}"}, python("pass"), lambda f, w: (f / "in").read_text()
    )
    assert engine(LABELS, WAVELENGTH) == "{5777}"


def test_program_that_does_not_exist_is_an_error():
    with pytest.raises(FileNotFoundError, match="no_such_code"):
        CommandEngine({}, ["no_such_code"], read)(LABELS, WAVELENGTH)


def test_command_of_one_string_is_an_error_that_shows_the_way():
    with pytest.raises(TypeError, match=r"Pass \['bash', '-c', 'code < input'\]"):
        CommandEngine({}, "code < input", read)


def test_description_tells_the_engine_but_not_its_patience():
    first = CommandEngine(TEMPLATES, ["code"], read, timeout=1).to_dict()
    assert first == CommandEngine(TEMPLATES, ["code"], read).to_dict()
    assert first["templates"] == TEMPLATES
    assert first["parse"] == "read"
