"""Damaged files by the thousand: do the readers end in a clear error, soon, in memory?

Good files of every format are mutated by hypothesis: bytes flipped, pieces cut out,
doubled or exchanged, cards of FITS headers replaced, words of text, headers of arrays,
numbers in the description of a saved emulator. Each is read by `read_spectra`,
`read_grid`, `read_the_payne`, `read_one_payne` or `sk_payne.load`. It must be read, or
be refused by a ValueError that sk_payne raises. The rest is reported: crashes, with the
line that raised them, and readings of more than --hang seconds. So are the slowest file
and the peak of memory above that of good files, each kind in a process of its own. The
exit status is 1 after a crash, a hang, or more than 1000 MB.

Kinds share --seconds. Writes results/fuzz_readers.json.

    python benchmarks/fuzz_readers.py [--seconds 600] [--kinds fits text npz load]
"""

import gzip
import io
import json
import multiprocessing
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from record import parser, table, write

import sk_payne
from sk_payne import SpectrumEmulator
from sk_payne._persistence import encode_file, read_file
from sk_payne.exchange import read_one_payne, read_the_payne
from sk_payne.grids import read_grid
from sk_payne.spectra import SPECTRUM_FORMATS, read_spectra

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import spectrum_files as files

PACKAGE = str(Path(sk_payne.__file__).parent)
CARD = 80

# Words that a number, a name or a unit may be replaced by.
WORDS = st.sampled_from(
    [
        *("nan", "inf", "-1", "0", "1e309", "-1e-320", "9" * 25, "T", "'x'", "", "'"),
        *("1,5", "#", ";", "\\u00c5", "1 2 3", "99999999", "2147483648", "'erg/s/A'"),
    ]
)
# Values of JSON that another may be replaced by.
VALUES = st.sampled_from(
    [
        *(0, 1, -1, 3, 10**4, 10**6, 10**9, 10**30, 0.5, 1e300, "x", "", None, True),
        *([], [1] * 9, {}, {"n_hidden": 10**6}, {"n_layers": 10**6}),
    ]
)
ANY_BYTES = st.binary(min_size=1, max_size=40)


class HangError(BaseException):
    """A file took too long to read; no ``except Exception`` swallows it."""


# Good files ----------------------------------------------------------------------


def good_fits(folder):
    for name in dir(files):
        is_text = any(word in name for word in ("libre", "csv", "votable"))
        if name.startswith("write_") and not is_text:
            path = getattr(files, name)(folder)
            yield path.read_bytes()
            path.unlink()


def good_text(folder):
    for writer in (files.write_gaia_csv, files.write_libre_esprit):
        yield writer(folder).read_bytes()
    for encoding in ("binary2", "tabledata"):
        yield files.write_gaia_votable(folder, encoding).read_bytes()
    yield b"# medium: air\n" + b"\n".join(b"%d 0.9 0.01" % w for w in range(5000, 5020))
    yield b"wave [nm],flux,ivar,mask\n500.0,0.9,4,0\n500.1,0.8,4,1\n"
    yield b"5000 0,98\n5001 0,95\n5002 0,91\n"
    table = files.table({"wavelength": np.arange(5000.0, 5009), "flux": np.ones(9)})
    text = io.StringIO()
    from astropy.table import Table

    Table(table.data, units={"wavelength": "Angstrom"}, meta={"medium": "air"}).write(
        text, format="ascii.ecsv"
    )
    yield text.getvalue().encode()


def good_npz(folder):
    for save in (np.savez, np.savez_compressed):
        save(
            folder / "grid.npz",
            P=np.random.default_rng(0).normal(size=(5, 2)),
            F=np.ones((5, 31), np.float32),
            wave=np.arange(5000.0, 5031),
            label_names=np.array(["teff", "logg"]),
            medium="air",
        )
        yield (folder / "grid.npz").read_bytes()
    for n_layers in (3, 4):
        sizes = [2, *[5] * (n_layers - 1), 7]
        arrays = {"x_min": np.zeros(2), "x_max": np.ones(2)}
        for i in range(n_layers):
            arrays[f"w_array_{i}"] = np.ones((sizes[i + 1], sizes[i]))
            arrays[f"b_array_{i}"] = np.zeros(sizes[i + 1])
        np.savez(folder / "grid.npz", **arrays)
        yield (folder / "grid.npz").read_bytes()


def good_emulators(folder):
    for arch in ("payne", "opacity"):
        emulator = SpectrumEmulator(arch=arch, max_steps=2, random_state=0)
        if arch == "opacity":
            emulator.set_params(wavelength=np.linspace(5000, 5002, 7), medium="air")
        emulator.fit(np.random.default_rng(0).normal(size=(9, 2)), np.ones((9, 7)))
        emulator.save(folder / "emulator.safetensors")
        yield (folder / "emulator.safetensors").read_bytes()


# Reading -------------------------------------------------------------------------


def read_any_spectra(path, data):
    options = data.draw(
        st.sampled_from(
            [{"medium": "air"}] * 4 + [{}, {"medium": "vacuum", "flux_unit": "Jy"}]
        )
    )
    is_given = data.draw(st.integers(0, 3)) == 0
    name = data.draw(st.sampled_from(SPECTRUM_FORMATS)) if is_given else None
    try:
        return read_spectra(path, name, **options)
    except TypeError as error:
        if "is no option of the format" not in str(error):
            raise
    return read_spectra(path, name)


def read_any_npz(path, data):
    readers = [read_grid, read_the_payne, read_one_payne]
    reader = data.draw(st.sampled_from(readers))
    if reader is read_grid:
        return read_grid(path)
    names, wavelength = ["a", "b"], np.arange(5000.0, 5007)
    return reader(path, medium="air", label_names=names, wavelength=wavelength)


KINDS = {
    "fits": (good_fits, "star.fits", read_any_spectra),
    "text": (good_text, "star.txt", read_any_spectra),
    "npz": (good_npz, "grid.npz", read_any_npz),
    "load": (
        good_emulators,
        "emulator.safetensors",
        lambda path, data: sk_payne.load(path),
    ),
}


# Mutations -----------------------------------------------------------------------


def mutated(content, kind, data):
    """Apply one to four mutations."""
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        choices = [flip, cut, double, exchange, insert]
        if kind == "fits":
            choices += [replace_card] * 5
        elif kind in ("text", "load"):
            choices += [replace_word] * 3 + [change_description] * 3 * (kind == "load")
        else:
            choices += [replace_in_member] * 3
        data.draw(st.sampled_from(choices))(content, data)
    content = bytes(content)
    if kind in ("fits", "text") and data.draw(st.integers(0, 19)) == 0:
        content = gzip.compress(content, 1)
        if data.draw(st.booleans()):
            content = content[: data.draw(st.integers(0, len(content)))]
    return content


def place(content, data):
    return data.draw(st.integers(0, max(len(content) - 1, 0)))


def flip(content, data):
    if content:
        content[place(content, data)] ^= data.draw(st.integers(1, 255))


def cut(content, data):
    start = place(content, data)
    if data.draw(st.booleans()):
        del content[start:]
    else:
        del content[start : start + data.draw(st.integers(1, 4000))]


def double(content, data):
    start = place(content, data)
    piece = content[start : start + data.draw(st.integers(1, 4000))]
    content[start:start] = piece


def exchange(content, data):
    start, other = place(content, data), place(content, data)
    size = data.draw(st.integers(1, 80))
    content[start : start + size] = content[other : other + size]


def insert(content, data):
    start = place(content, data)
    content[start:start] = data.draw(ANY_BYTES)


def replace_card(content, data):
    """Replace the value of a card, or the whole of it."""
    cards = [
        i
        for i in range(0, len(content), CARD)
        if content[i + 8 : i + 10] == b"= " or content[i : i + 8] == b"HIERARCH"
    ]
    if not cards:
        return
    start = data.draw(st.sampled_from(cards))
    if data.draw(st.integers(0, 4)) == 0:
        new = data.draw(st.binary(min_size=CARD, max_size=CARD))
        content[start : start + CARD] = new
        return
    word = data.draw(WORDS).encode("ascii", "replace")
    content[start + 10 : start + CARD] = word.rjust(20).ljust(CARD - 10)[: CARD - 10]


def replace_word(content, data):
    words = bytes(content).split(b" ")
    words[data.draw(st.integers(0, len(words) - 1))] = data.draw(WORDS).encode()
    content[:] = b" ".join(words)


def change_description(content, data):
    """Replace a value in the description of an emulator, whose file stays whole."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(content)
        file.flush()
        try:
            tensors, description = read_file(file.name)
        except ValueError:  # it is damaged already
            return
    del description["sha256"]
    at = description
    while True:
        keys = sorted(at) if isinstance(at, dict) else range(len(at))
        if not keys:
            return
        key = data.draw(st.sampled_from(list(keys)))
        if not isinstance(at[key], dict | list) or data.draw(st.integers(0, 4)) == 0:
            break
        at = at[key]
    at[key] = data.draw(VALUES)
    content[:] = encode_file(tensors, json.loads(json.dumps(description)))


def replace_in_member(content, data):
    """Mutate an array inside an npz file, and pack it again."""
    try:
        with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:  # it is damaged already
        return
    if not members:
        return
    name = data.draw(st.sampled_from(sorted(members)))
    member = bytearray(members[name])
    data.draw(st.sampled_from([flip, cut, double, exchange, replace_word]))(
        member, data
    )
    members[name] = bytes(member)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, values in members.items():
            archive.writestr(name, values)
    content[:] = packed.getvalue()


# Judging -------------------------------------------------------------------------


def is_clear(error):
    """Tell whether sk_payne itself refused the file, with a ValueError."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    return isinstance(error, ValueError) and last.startswith(PACKAGE)


def judged(reader, path, data, hang):
    """Read a file; return what came of it in a word, and the line if it crashed."""
    signal.setitimer(signal.ITIMER_REAL, hang, 1.0)
    try:
        reader(path, data)
        return "read", None
    except HangError:
        return "hang", None
    except Exception as error:
        if is_clear(error):
            return "refused", None
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if f.filename.startswith(PACKAGE)]
        at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        return "crash", f"{type(error).__name__} at {at}: {str(error)[:120]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def on_alarm(signum, frame):
    raise HangError


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fuzz(kind, seconds, hang, keep):
    """Fuzz the readers of a kind; return what came of it."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    signal.signal(signal.SIGALRM, on_alarm)
    make, name, reader = KINDS[kind]
    counts, crashes, slowest = Counter(), Counter(), 0.0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        seeds = list(make(folder))
        path = folder / name
        read_all(reader, seeds, path)
        base = peak_mb()

        @settings(
            max_examples=100,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.data())
        def one(data):
            nonlocal slowest
            content = mutated(data.draw(st.sampled_from(seeds)), kind, data)
            path.write_bytes(content)
            start = time.monotonic()
            word, line = judged(reader, path, data, hang)
            slowest = max(slowest, time.monotonic() - start)
            counts[word] += 1
            if line is not None:
                crashes[line] += 1
            if keep is not None and word in ("crash", "hang"):
                number = counts["crash"] + counts["hang"]
                (keep / f"{kind}-{number}-{name}").write_bytes(content)

        while time.monotonic() - began < seconds:
            one()
    return {
        "kind": kind,
        "seconds": seconds,
        "files": sum(counts.values()),
        **{word: counts[word] for word in ("read", "refused", "crash", "hang")},
        "slowest [s]": slowest,
        "memory [MB]": peak_mb() - base,
        "crashes": dict(crashes.most_common(20)),
    }


def read_all(reader, seeds, path):
    """Read good files once, so that imports do not count as memory of damaged ones."""

    @settings(max_examples=30, deadline=None, database=None, phases=[Phase.generate])
    @given(st.data())
    def one(data):
        path.write_bytes(data.draw(st.sampled_from(seeds)))
        judged(reader, path, data, 60.0)

    one()


def main():
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=600.0, help="of all kinds")
    options.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    options.add_argument("--hang", type=float, default=10.0)
    options.add_argument("--keep", type=Path, help="folder for the files that crash")
    arguments = options.parse_args()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    seconds = arguments.seconds / len(arguments.kinds)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        # one after the other
        rows = [
            pool.submit(fuzz, kind, seconds, arguments.hang, arguments.keep).result()
            for kind in arguments.kinds
        ]
    table(rows)
    for row in rows:
        for line, number in row["crashes"].items():
            print(f"  {row['kind']}: {number} x {line}")
    write("fuzz_readers", {"hang": arguments.hang, "rows": rows})
    wrong = [r for r in rows if r["crash"] or r["hang"] or r["memory [MB]"] > 1000]
    sys.exit(int(bool(wrong)))


if __name__ == "__main__":
    main()
