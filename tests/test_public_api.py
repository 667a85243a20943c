"""Tests of what users may import, and of what importing costs them."""

import importlib
import pkgutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import sk_payne

ROOT = Path(sk_payne.__file__).parent
ROOMS = sorted(
    f"sk_payne.{info.name}" for info in pkgutil.iter_modules([ROOT]) if info.ispkg
)
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages([ROOT], prefix="sk_payne.")
    if not info.name.endswith("__main__")
)


def ruff_order(name):
    """Order of ruff's RUF022: CONSTANTS, then Classes, then the rest."""
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name


@pytest.mark.parametrize("name", ["sk_payne", *MODULES])
def test_all_is_sorted_and_every_name_importable(name):
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    assert public == sorted(set(public), key=ruff_order)
    for entry in public:
        assert hasattr(module, entry), entry


@pytest.mark.parametrize("name", ["sk_payne", *ROOMS])
def test_all_of_a_room_is_complete(name):
    room = importlib.import_module(name)
    assert room.__doc__, "a room says what is in it"
    public = {
        entry
        for entry, value in vars(room).items()
        if not entry.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(room.__all__) - {"__version__"}


@pytest.mark.parametrize("room", ROOMS)
def test_implementation_files_start_with_an_underscore(room):
    folder = ROOT / room.removeprefix("sk_payne.")
    for path in folder.glob("*.py"):
        assert path.name.startswith("_"), path


FILES_WITH_ALL = [
    name
    for name in MODULES
    if name.count(".") == 2 and hasattr(importlib.import_module(name), "__all__")
]


@pytest.mark.parametrize("name", FILES_WITH_ALL)
def test_all_of_a_file_holds_what_its_room_takes_from_it(name):
    room = importlib.import_module(name.rpartition(".")[0])
    taken = {
        entry
        for entry in room.__all__
        if getattr(getattr(room, entry), "__module__", None) == name
    }
    assert taken <= set(importlib.import_module(name).__all__)


def test_top_level_holds_the_estimators_and_the_version():
    assert {"SpectrumEmulator", "__version__", "load"} <= set(sk_payne.__all__)
    assert sk_payne.SpectrumEmulator is sk_payne.emulators.SpectrumEmulator
    assert sk_payne.load is sk_payne.emulators.load


def test_version_is_that_of_the_installed_package():
    from importlib.metadata import version

    assert sk_payne.__version__ == version("sk_payne")


def run_python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_import_of_the_package_does_not_import_what_is_slow():
    code = "import sys, sk_payne; print(*sorted(sys.modules))"
    loaded = set(run_python(code).split())
    assert "sk_payne.emulators" in loaded
    slow = {"astropy", "matplotlib", "specutils", "h5py", "huggingface_hub", "onnx"}
    slow |= {"onnxscript", "zuko"}
    assert not loaded & slow


def test_import_and_fit_work_without_the_optional_packages():
    # None in sys.modules makes an import fail; scikit-learn, too, tries pandas.
    code = (
        "import sys\n"
        "for name in ('matplotlib', 'h5py', 'pandas', 'huggingface_hub', 'onnx'):\n"
        "    sys.modules[name] = None\n"
        "import sk_payne.exchange\n"
        "from sk_payne import SpectrumEmulator\n"
        "emulator = SpectrumEmulator(arch='payne', max_steps=2, device='cpu')\n"
        "print(emulator.fit([[0.0], [1.0]], [[1.0], [0.5]]).n_steps_)"
    )
    assert run_python(code) == "2"
