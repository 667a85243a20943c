"""Tests of what is published: wheel, source archive, citation, lowest versions."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import sk_payne

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TESTED = ("plot", "hdf5", "dask", "posterior", "test")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the archives, built from the checkout without a network."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def sources(folder):
    """Files of a folder of the checkout, relative to the checkout."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_wheel_holds_the_package_with_its_data_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    files = {name for name in names if ".dist-info/" not in name}
    assert files == sources("sk_payne")
    assert "sk_payne/datasets/data/sme_grid.npz" in files
    assert "sk_payne/datasets/descr/sme_grid.rst" in files
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_source_archive_holds_what_its_tests_need(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        names = {name.partition("/")[2] for name in content.getnames()}
    assert sources("sk_payne") | sources("tests") <= names
    for path in PROJECT["tool"]["pytest"]["ini_options"]["testpaths"]:
        assert any(name == path or name.startswith(f"{path}/") for name in names), path
    assert {"pyproject.toml", "CITATION.cff", "constraints-lowest.txt"} <= names
    assert "requirements-hashes.txt" in names


def test_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == sk_payne.__version__
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["authors"] == PROJECT["project"]["authors"]
    assert citation["keywords"] == PROJECT["project"]["keywords"]


def test_lowest_constraints_are_the_lower_bounds_of_the_project():
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(bound(line) for line in lines if not line.startswith("#"))
    project = PROJECT["project"]
    wanted = [*project["dependencies"]]
    for extra in TESTED:
        wanted += project["optional-dependencies"][extra]
    assert pinned == dict(map(bound, wanted))


def test_files_with_hashes_are_of_the_versions_of_the_constraints():
    text = (ROOT / "requirements-hashes.txt").read_text(encoding="utf-8")
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tried = dict(bound(line) for line in constraints if not line.startswith("#"))
    tried = {canonicalize_name(name): version for name, version in tried.items()}
    found = {}
    for entry in text.replace("\\\n", "").splitlines():
        if entry.startswith("#"):
            continue
        requirement, *hashes = entry.split(" --hash=sha256:")
        assert hashes, requirement
        assert all(len(one.strip()) == 64 for one in hashes), requirement
        name, version = bound(requirement)
        found[name] = version
        # what one system needs, as CUDA, no test ran with
        if Requirement(requirement).marker is None:
            assert version == tried[name], name
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    wanted += PROJECT["project"]["optional-dependencies"]["plot"]
    assert {Requirement(one).name for one in wanted} <= set(found)
    for one in map(Requirement, wanted):
        assert found[one.name] in one.specifier, one.name


def bound(requirement):
    """Name and version of a requirement with one bound."""
    requirement = Requirement(requirement)
    (specifier,) = requirement.specifier
    assert specifier.operator in ("==", ">=")
    return requirement.name, Version(specifier.version)


def test_licences_of_all_dependencies_are_listed():
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    needed = {Requirement(r).name for r in sum(extras, project["dependencies"])}
    page = (ROOT / "docs" / "licences.rst").read_text(encoding="utf-8")
    listed = {line.split()[0] for line in page.splitlines() if line.count("  ") >= 2}
    assert needed <= listed
