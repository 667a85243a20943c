"""Tests of emulators that travel: folders, addresses, the Hub, and spoilt copies."""

import dataclasses
import hashlib
import inspect
import json
import shutil
import subprocess
import sys
import threading
import types
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import sk_payne
from sk_payne import FineTunedEmulator, SpectrumEmulator, check, from_pretrained, load
from sk_payne.exceptions import FileFormatError

FILES = ["README.md", "SHA256SUMS", "emulator.safetensors", "fingerprint.json"]
PARTS = [name for name in FILES if name != "SHA256SUMS"]
ARCHITECTURES = ["payne", "bigpayne", "convolutional", "opacity", "transformer"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class OwnNetwork(nn.Module):
    """An architecture of a user's own."""

    def __init__(self, n_labels, n_wavelengths):
        super().__init__()
        self.layer = nn.Linear(n_labels, n_wavelengths)

    def forward(self, labels):
        return self.layer(labels)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    """A folder of each tiny emulator; don't change them."""
    folder = tmp_path_factory.mktemp("models")
    for arch, emulator in fitted.items():
        emulator.save(folder / arch, provenance={"grid": "made by hand"})
    return {arch: folder / arch for arch in fitted}


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of a good folder, to be spoilt."""
    return shutil.copytree(saved["payne"], tmp_path / "emulator")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def serve():
    """Give a function that serves a folder on this machine, and counts the files."""
    servers = []

    def start(folder, handler=SimpleHTTPRequestHandler):
        class Handler(handler):
            def log_message(self, text, *arguments):
                served.append(self.path.rsplit("/", 1)[-1])

        served = []
        bound = partial(Handler, directory=str(folder))
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), bound))
        run = partial(servers[-1].serve_forever, poll_interval=0.01)
        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}", served

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def no_address(monkeypatch):
    def fail(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", fail)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def write_sums(folder):
    """Make the list of a folder agree with its files, as a forger would."""
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in PARTS
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


def assert_same(again, emulator, P):
    np.testing.assert_array_equal(again.predict(P), emulator.predict(P))


# folders


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_saved_folder_is_checked_and_loaded_with_equal_predictions(
    fitted, saved, tiny_grid, arch
):
    assert sorted(path.name for path in saved[arch].iterdir()) == FILES
    report = check(saved[arch])
    assert report.difference < 1e-12
    assert sorted(report.files) == FILES
    assert_same(load(saved[arch]), fitted[arch], tiny_grid.data)


def test_other_programs_find_the_same_sums(saved):
    lines = (saved["payne"] / "SHA256SUMS").read_text().splitlines()
    named = dict(line.split("  ")[::-1] for line in lines)
    assert sorted(named) == PARTS
    for name, digest in named.items():
        content = (saved["payne"] / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
    listed = (saved["payne"] / "SHA256SUMS").read_bytes()
    assert check(saved["payne"]).sha256 == hashlib.sha256(listed).hexdigest()


def test_fingerprint_holds_what_predict_gives(fitted, saved):
    kept = json.loads((saved["transformer"] / "fingerprint.json").read_text())
    flux = fitted["transformer"].predict(np.array(kept["labels"]))
    np.testing.assert_allclose(kept["flux"], flux[:, kept["columns"]], rtol=1e-12)
    assert kept["label_names"] == fitted["transformer"].label_names_
    assert set(fitted["transformer"].domain(kept["labels"])) <= {"inside", "edge"}


def test_file_in_the_folder_is_the_file_that_saving_alone_gives(fitted, saved):
    alone = saved["payne"] / "emulator.safetensors"
    assert load(alone).provenance_ == load(saved["payne"]).provenance_
    report = check(alone)
    assert report.difference is None
    assert report.sha256 == hashlib.sha256(alone.read_bytes()).hexdigest()


def test_fine_tuned_emulator_travels_as_well(fitted, tiny_grid, tmp_path):
    tuned = FineTunedEmulator(fitted["payne"], max_steps=3, device="cpu")
    tuned.fit(tiny_grid.data, tiny_grid.target).save(tmp_path / "tuned")
    assert check(tmp_path / "tuned").difference < 1e-12
    again = load(tmp_path / "tuned")
    assert type(again) is SpectrumEmulator
    assert_same(again, tuned, tiny_grid.data)
    card = (tmp_path / "tuned" / "README.md").read_text(encoding="utf-8")
    assert "- fine_tuned_from:\n  - training_spectra: 91\n" in card


def test_folder_may_be_the_base_of_another_emulator(saved, tiny_grid):
    tuned = FineTunedEmulator(saved["payne"], max_steps=3, device="cpu")
    tuned.fit(tiny_grid.data, tiny_grid.target)
    known = tuned.provenance_["fine_tuned_from"]
    assert known["grid"] == "made by hand"
    assert known["training_steps"] == 53


def test_own_network_travels_with_its_class_given(make_tiny, tiny_grid, tmp_path):
    emulator = make_tiny(OwnNetwork, max_steps=3).fit(tiny_grid.data, tiny_grid.target)
    emulator.save(tmp_path / "own")
    card = (tmp_path / "own" / "README.md").read_text(encoding="utf-8")
    assert 'load("this_folder", arch=OwnNetwork)' in card
    assert check(tmp_path / "own", arch=OwnNetwork).difference < 1e-12
    again = from_pretrained(tmp_path / "own", arch=OwnNetwork)
    assert_same(again, emulator, tiny_grid.data)


def test_saving_again_replaces_the_folder_and_keeps_what_was_said(
    fitted, saved, folder, tiny_grid
):
    load(saved["transformer"]).save(folder, provenance={"license": "mit"})
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert check(folder).difference < 1e-12
    again = load(folder)
    assert again.provenance_["grid"] == "made by hand"
    assert again.provenance_["license"] == "mit"
    assert_same(again, fitted["transformer"], tiny_grid.data)


def test_emulator_that_is_trained_again_forgets_what_was_said(
    saved, tiny_grid, tmp_path
):
    again = load(saved["payne"]).set_params(max_steps=2, device="cpu")
    again.fit(tiny_grid.data, tiny_grid.target).save(tmp_path / "new")
    assert "grid" not in load(tmp_path / "new").provenance_


def test_folder_with_other_files_is_not_written_into(fitted, tmp_path):
    (tmp_path / "README.md").write_text("My thesis")
    with pytest.raises(FileExistsError, match=r"holds other files\. Pass another"):
        fitted["payne"].save(tmp_path)
    assert (tmp_path / "README.md").read_text() == "My thesis"
    with pytest.raises(FileExistsError, match=r"or end in '\.safetensors'"):
        fitted["payne"].save(tmp_path / "README.md")
    with pytest.raises(FileNotFoundError, match=r"Make the folder '.*absent' first"):
        fitted["payne"].save(tmp_path / "absent" / "model")


def test_saving_that_fails_leaves_the_folder_as_it_was(fitted, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TypeError, match="`provenance` must be a dict of strings"):
        fitted["bigpayne"].save(folder, provenance={"grid": object()})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_saving_that_is_stopped_half_way_leaves_the_folder_as_it_was(
    fitted, folder, monkeypatch
):
    import os

    replace, calls = os.replace, []

    def stop(*paths):
        calls.append(paths)
        if len(calls) == 2:
            raise KeyboardInterrupt
        replace(*paths)

    monkeypatch.setattr("os.replace", stop)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        fitted["bigpayne"].save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(before) == FILES
    load(folder)


# spoilt copies


@pytest.mark.parametrize("read", [load, check, from_pretrained])
@pytest.mark.parametrize("name", PARTS)
def test_folder_with_one_bit_flipped_is_refused_and_the_file_named(folder, name, read):
    flip(folder / name)
    with pytest.raises(FileFormatError, match=f"{name}' is damaged or was changed"):
        read(folder)


@pytest.mark.parametrize("read", [load, check, from_pretrained])
@pytest.mark.parametrize("name", PARTS)
def test_folder_with_a_truncated_file_is_refused_and_the_file_named(folder, name, read):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1])
    with pytest.raises(FileFormatError, match=f"{name}' is damaged or was changed"):
        read(folder)


@pytest.mark.parametrize("read", [load, check, from_pretrained])
@pytest.mark.parametrize("name", FILES)
def test_folder_without_a_file_is_refused_and_the_file_named(folder, name, read):
    (folder / name).unlink()
    with pytest.raises((FileFormatError, FileNotFoundError), match=name):
        read(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: "", r"SHA256SUMS' is damaged: each line"),
        (lambda text: text.replace("  ", " "), r"SHA256SUMS' is damaged: each line"),
        (lambda text: text[1:], r"SHA256SUMS' is damaged: each line"),
        (
            lambda text: text.replace("README", "../README"),
            r"SHA256SUMS' is damaged: each line",
        ),
        (
            lambda text: "".join(text.splitlines(keepends=True)[:-1]),
            "SHA256SUMS' does not list 'fingerprint.json'",
        ),
    ],
    ids=["empty", "blank", "digit", "way out", "line"],
)
def test_folder_with_a_spoilt_list_is_refused(folder, spoil, message):
    path = folder / "SHA256SUMS"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(FileFormatError, match=message):
        load(folder)


def test_check_tells_by_how_much_predictions_differ(folder):
    path = folder / "fingerprint.json"
    kept = json.loads(path.read_text())
    kept["flux"][2][5] += 0.25 * np.abs(kept["flux"]).max()
    path.write_text(json.dumps(kept))
    write_sums(folder)
    with pytest.raises(
        FileFormatError,
        match=r"files it should, but predictions differ .* by up to 0\.2\d* of the .*"
        r"1e-06 is allowed\. Install the versions .*'torch'",
    ):
        check(folder)


def test_check_allows_for_the_arithmetic_of_other_machines(folder):
    path = folder / "fingerprint.json"
    kept = json.loads(path.read_text())
    kept["flux"] = (np.array(kept["flux"]) * (1 + 1e-8)).tolist()
    path.write_text(json.dumps(kept))
    write_sums(folder)
    assert check(folder).difference == pytest.approx(1e-8, rel=1e-3)


@pytest.mark.parametrize("text", ["{", "{}", '{"labels": 1, "flux": 1, "columns": 1}'])
def test_check_of_a_fingerprint_of_something_else_is_an_error(folder, text):
    (folder / "fingerprint.json").write_text(text)
    write_sums(folder)
    with pytest.raises(FileFormatError, match="fingerprint does not fit this emulat"):
        check(folder)


def test_forged_folder_is_refused_by_who_knows_its_sha256(folder):
    known = check(folder).sha256
    (folder / "README.md").write_text("Trust me.")
    write_sums(folder)
    check(folder)
    with pytest.raises(FileFormatError, match="SHA256SUMS' is another version than"):
        from_pretrained(folder, sha256=known)


# addresses


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_folder_is_fetched_once_from_an_address(
    fitted, saved, serve, cache, tiny_grid, scheme
):
    served = None
    address = saved["payne"].as_uri()
    if scheme == "http":
        address, served = serve(saved["payne"])
    sha256 = check(saved["payne"]).sha256
    for _ in range(2):
        again = from_pretrained(address + "/", sha256=sha256, cache=cache)
        assert_same(again, fitted["payne"], tiny_grid.data)
    assert sorted(path.name for path in (cache / sha256).iterdir()) == FILES
    if served is not None:
        assert sorted(served) == FILES


def test_file_is_fetched_once_from_an_address(
    fitted, saved, serve, cache, tiny_grid, monkeypatch
):
    address, served = serve(saved["payne"])
    sha256 = check(saved["payne"] / "emulator.safetensors").sha256
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    for _ in range(2):
        again = from_pretrained(
            f"{address}/emulator.safetensors?download=1", sha256=sha256.upper()
        )
        assert_same(again, fitted["payne"], tiny_grid.data)
    assert served == ["emulator.safetensors?download=1"]
    assert [path.name for path in cache.iterdir()] == ["sk_payne"]


def test_fetched_emulator_needs_no_network(saved, cache, no_address, monkeypatch):
    address, sha256 = "https://nowhere.example/payne", check(saved["payne"]).sha256
    with pytest.raises(
        ConnectionError, match=r"payne/SHA256SUMS' cannot be read \(no network\), and"
    ):
        from_pretrained(address, sha256=sha256, cache=cache)
    monkeypatch.undo()
    from_pretrained(saved["payne"].as_uri(), sha256=sha256, cache=cache)
    monkeypatch.setattr("urllib.request.urlopen", None)
    assert from_pretrained(address, sha256=sha256, cache=cache).n_outputs_ == 61


@pytest.mark.parametrize("name", FILES)
def test_other_content_at_an_address_is_refused_and_not_kept(
    folder, serve, cache, name
):
    sha256 = check(folder).sha256
    flip(folder / name)
    address, _ = serve(folder)
    with pytest.raises(FileFormatError, match=f"{name}' is another version than"):
        from_pretrained(address, sha256=sha256, cache=cache)
    assert not (cache / sha256 / name).exists()
    assert not list(cache.rglob("*.partial"))


def test_download_that_breaks_off_is_refused_and_goes_on_later(saved, serve, cache):
    class BreaksOff(SimpleHTTPRequestHandler):
        def copyfile(self, source, output):
            content = source.read()
            output.write(content[: len(content) - 7 * self.path.endswith("tensors")])

    sha256 = check(saved["payne"]).sha256
    address, served = serve(saved["payne"], BreaksOff)
    with pytest.raises(FileFormatError, match=r"emulator\.safetensors' .*truncated"):
        from_pretrained(address, sha256=sha256, cache=cache)
    half = cache / sha256
    assert [path.name for path in half.iterdir()] == ["SHA256SUMS"]
    with pytest.raises(FileFormatError, match=r"emulator\.safetensors' is missing"):
        load(half)
    address, served = serve(saved["payne"])
    from_pretrained(address, sha256=sha256, cache=cache)
    assert sorted(served) == PARTS


def test_killed_download_leaves_nothing_that_looks_complete(saved, cache, monkeypatch):
    class Killed:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def read(self, n):
            if seen:
                raise KeyboardInterrupt
            seen.append(n)
            return content[:100]

    seen, path = [], saved["payne"] / "emulator.safetensors"
    content, sha256 = path.read_bytes(), check(path).sha256
    with monkeypatch.context() as patch:
        patch.setattr("urllib.request.urlopen", lambda *_, **__: Killed())
        with pytest.raises(KeyboardInterrupt):
            from_pretrained(path.as_uri(), sha256=sha256, cache=cache)
    assert not list((cache / sha256).iterdir())
    # without a chance to tidy up, half a file stays under another name
    (cache / sha256 / "emulator.safetensorsxyz.partial").write_bytes(content[:100])
    assert from_pretrained(path.as_uri(), sha256=sha256, cache=cache).n_outputs_ == 61


def test_spoilt_cache_is_fetched_again(saved, cache):
    address, sha256 = saved["payne"].as_uri(), check(saved["payne"]).sha256
    from_pretrained(address, sha256=sha256, cache=cache)
    for name in FILES:
        flip(cache / sha256 / name)
    from_pretrained(address, sha256=sha256, cache=cache)
    assert check(cache / sha256).sha256 == sha256


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ("https://a.example/b", {}, ValueError, "`sha256` must be given with an addr"),
        ("https://a.example/b", {"sha256": "12"}, ValueError, "64 hexadecimal digits"),
        ("ftp://a.example/b", {"sha256": "0" * 64}, ValueError, "got 'ftp://a.exampl"),
        ("https://a.example/b", {"revision": "v1"}, ValueError, "`revision` is for"),
        ("no such/folder/", {}, FileNotFoundError, "'no such/folder/', which is none"),
    ],
)
def test_bad_argument_of_from_pretrained_is_an_error(source, options, error, message):
    with pytest.raises(error, match=message):
        from_pretrained(source, **options)


def test_absent_file_at_an_address_is_an_error_that_names_it(tmp_path, serve, cache):
    address, _ = serve(tmp_path)
    with pytest.raises(ConnectionError, match=r"/SHA256SUMS' cannot be read \(.*404"):
        from_pretrained(address, sha256="0" * 64, cache=cache)


# a fresh process without network

OFFLINE = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
        raise PermissionError(event)

sys.addaudithook(refuse)
import socket
try:
    socket.create_connection(("127.0.0.1", 9))
except PermissionError:
    print("offline")

import numpy as np
import torch
torch.set_num_threads(1)
import sk_payne
from sk_payne.datasets import make_spectra

folder, address, sha256, cache = sys.argv[1:]
assert sk_payne.check(folder).sha256 == sha256
P = make_spectra(101, n_wavelengths=61, random_state=0).data[:7]
emulator = sk_payne.load(folder)
print(emulator.predict(P).tobytes().hex())
fetched = sk_payne.from_pretrained(address, sha256=sha256, cache=cache)
print(fetched.predict(P).tobytes().hex())
fetched.save(folder + "_again", provenance={"title": "Again"})
print(sk_payne.check(folder + "_again").difference)
"""


def test_emulator_travels_to_a_fresh_process_without_network(
    fitted, folder, serve, cache, tiny_grid
):
    address, _ = serve(folder)
    sha256 = check(folder).sha256
    from_pretrained(address, sha256=sha256, cache=cache)
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(folder), address, sha256, str(cache)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    offline, loaded, fetched, difference = done.stdout.split()
    assert offline == "offline"
    expected = fitted["payne"].predict(tiny_grid.data[:7]).tobytes().hex()
    assert loaded == fetched == expected
    assert float(difference) < 1e-12


# the Hub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub that is a folder; its `calls` are names, arguments and options."""
    home, calls = tmp_path / "hub", []

    def snapshot_download(*arguments, **options):
        calls.append(("snapshot_download", arguments, options))
        revision = options["revision"] or "main"
        place = Path(options["cache_dir"] or tmp_path / "hub_cache", revision)
        if not place.exists():
            shutil.copytree(home / arguments[0] / revision, place)
        return str(place)

    def create_repo(*arguments, **options):
        calls.append(("create_repo", arguments, options))

    def upload_folder(*arguments, **options):
        calls.append(("upload_folder", arguments, options))
        for revision in ("main", COMMIT):
            target = home / options["repo_id"] / revision
            shutil.copytree(options["folder_path"], target, dirs_exist_ok=True)
        return types.SimpleNamespace(oid=COMMIT)

    fake = types.ModuleType("huggingface_hub")
    fake.snapshot_download, fake.create_repo = snapshot_download, create_repo
    fake.upload_folder, fake.calls, fake.home = upload_folder, calls, home
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    return fake


def test_emulator_is_put_on_the_hub_and_loaded_from_it(fitted, hub, cache, tiny_grid):
    emulator = fitted["transformer"]
    revision = sk_payne.push_to_hub(
        emulator, "me/dwarfs", provenance={"license": "mit"}, private=True
    )
    assert revision == COMMIT
    for pinned in (revision, None):
        again = from_pretrained("me/dwarfs", revision=pinned, cache=cache)
        assert_same(again, emulator, tiny_grid.data)
    assert again.provenance_["license"] == "mit"
    card = (hub.home / "me/dwarfs/main/README.md").read_text(encoding="utf-8")
    assert 'sk_payne.from_pretrained("me/dwarfs")' in card
    assert hub.calls[0] == (
        "create_repo",
        ("me/dwarfs",),
        {"private": True, "exist_ok": True},
    )


def test_emulator_from_the_hub_is_loaded_again_without_it(fitted, hub, cache):
    sk_payne.push_to_hub(fitted["payne"], "me/dwarfs")
    from_pretrained("me/dwarfs", revision=COMMIT, cache=cache)
    shutil.rmtree(hub.home)
    again = from_pretrained("me/dwarfs", revision=COMMIT, cache=cache)
    assert again.n_outputs_ == 61


def test_spoilt_emulator_from_the_hub_is_refused(fitted, hub, cache):
    sk_payne.push_to_hub(fitted["payne"], "me/dwarfs")
    flip(hub.home / "me/dwarfs/main/emulator.safetensors")
    with pytest.raises(FileFormatError, match=r"emulator\.safetensors' is damaged"):
        from_pretrained("me/dwarfs", cache=cache)


def test_emulator_from_the_hub_must_have_the_sha256_asked_for(fitted, hub, cache):
    sk_payne.push_to_hub(fitted["payne"], "me/dwarfs")
    sha256 = check(hub.home / "me/dwarfs/main").sha256
    from_pretrained("me/dwarfs", sha256=sha256, cache=cache)
    with pytest.raises(FileFormatError, match="another version than asked for"):
        from_pretrained("me/dwarfs", sha256="0" * 64, cache=cache)


def test_local_folder_comes_before_the_hub(saved, hub, monkeypatch):
    monkeypatch.chdir(saved["payne"].parent.parent)
    name = f"{saved['payne'].parent.name}/payne"
    assert from_pretrained(name).n_outputs_ == 61
    assert not hub.calls


def test_hub_without_its_package_says_what_to_install(fitted, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'sk_payne\[hub\]'"):
        from_pretrained("me/dwarfs")
    with pytest.raises(ImportError, match=r"pip install 'sk_payne\[hub\]'"):
        sk_payne.push_to_hub(fitted["payne"], "me/dwarfs")


def test_real_hub_package_takes_what_we_give_it(fitted, request, cache):
    real = pytest.importorskip("huggingface_hub")
    functions = real.create_repo, real.upload_folder, real.snapshot_download
    hub = request.getfixturevalue("hub")
    sk_payne.push_to_hub(fitted["payne"], "me/dwarfs")
    from_pretrained("me/dwarfs", revision=COMMIT, cache=cache)
    for function, call in zip(functions, hub.calls, strict=True):
        name, arguments, options = call
        assert function.__name__ == name
        inspect.signature(function).bind(*arguments, **options)
    assert "oid" in {field.name for field in dataclasses.fields(real.CommitInfo)}


def test_real_hub_package_finds_in_its_cache_what_it_fetched(
    fitted, saved, cache, tiny_grid, monkeypatch
):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    place = cache / "models--me--dwarfs"
    shutil.copytree(saved["payne"], place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    for revision in (COMMIT, None):
        again = from_pretrained("me/dwarfs", revision=revision, cache=cache)
        assert_same(again, fitted["payne"], tiny_grid.data)
