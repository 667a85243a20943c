"""Tests of flux on disk: the same emulator to the last bit, and never all in memory."""

import threading
import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score, learning_curve
from skorch.callbacks import Callback

from sk_payne import FineTunedEmulator, SpectrumEmulator
from sk_payne.datasets import make_spectra
from sk_payne.emulators import neg_mean_absolute_error
from sk_payne.emulators._batches import read_ahead
from sk_payne.emulators._flux import TrainingFlux, is_streamed
from sk_payne.exceptions import TrainingInterruptedWarning
from sk_payne.grids import RowView, open_grid
from sk_payne.grids._store_writer import StoreWriter
from sk_payne.trained import HeldOutErrors

WIDTH = 7


class StopAt(Callback):
    """Raises an error after a step."""

    def __init__(self, step, error=KeyboardInterrupt):
        self.step = step
        self.error = error

    def on_batch_end(self, net, training=False, **kwargs):
        if training and net.n_steps == self.step:
            raise self.error


class Watched:
    """An array that is no array of numpy, and remembers how much was asked for."""

    def __init__(self, array):
        self.shape, self.dtype = array.shape, array.dtype
        self._array = array
        self.n_rows = []

    def __getitem__(self, key):
        found = self._array[key]
        self.n_rows.append(1 if found.ndim == 1 else len(found))
        return found

    def __array__(self, *args, **kwargs):
        raise AssertionError("read as a whole")


@pytest.fixture(scope="module")
def flux(tiny_grid):
    return tiny_grid.target.astype(np.float32)


@pytest.fixture
def on_disk(tmp_path):
    """Give a function that writes an array and maps it into memory."""

    def write(array, name="flux"):
        np.save(tmp_path / f"{name}.npy", array)
        return np.load(tmp_path / f"{name}.npy", mmap_mode="r")

    return write


@pytest.fixture
def stored(tiny_grid, tmp_path):
    """The tiny grid in a folder, whose rows 3 and 70 are missing."""
    description = {
        "label_names": list(tiny_grid.label_names),
        "label_units": list(tiny_grid.label_units),
        "fixed": {},
        "medium": tiny_grid.medium,
        "provenance": {},
    }
    writer = StoreWriter(tmp_path / "grid", description, tiny_grid.wavelength, {})
    writer.extend(tiny_grid.data)
    for row in np.setdiff1d(np.arange(101), [3, 70]):
        writer.write(row, tiny_grid.target[row])
    return open_grid(tmp_path / "grid")


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 100 spectra of seven wavelengths."""
    monkeypatch.setattr("sk_payne.trained._blocks._FLUX_BLOCK", 100 * WIDTH)


def bare(**changes):
    """An emulator that knows nothing of a grid."""
    arguments = {
        "arch": "payne",
        "arch_params": {"n_hidden": 23},
        "recipe": {"validate_every": 7, "batch_size": 31},
        "max_steps": 20,
        "device": "cpu",
        "random_state": 0,
    }
    return SpectrumEmulator(**(arguments | changes))


def assert_same_bits(found, expected, P):
    for a, b in zip(
        found.predict(P, return_std=True),
        expected.predict(P, return_std=True),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    assert found.history_ == expected.history_
    np.testing.assert_array_equal(found.held_out_mae_, expected.held_out_mae_)
    np.testing.assert_array_equal(found.held_out_rms_, expected.held_out_rms_)


# the same emulator


@pytest.mark.parametrize("arch", ["payne", "convolutional", "opacity", "transformer"])
def test_flux_on_disk_gives_the_bits_of_flux_in_memory(
    make_tiny, tiny_grid, flux, on_disk, arch
):
    recipe = {"validate_every": 7, "n_wavelengths": 8, "patience": 5}
    emulator = make_tiny(arch, recipe=recipe, max_steps=30)
    expected = clone(emulator).fit(tiny_grid.data, flux)
    found = emulator.fit(tiny_grid.data, on_disk(flux))
    assert_same_bits(found, expected, tiny_grid.data)


@pytest.mark.parametrize(
    "kind", ["memmap", "view", "view of a memmap", "h5py", "no array"]
)
def test_every_kind_of_flux_gives_the_same_bits(
    tiny_grid, flux, on_disk, tmp_path, kind
):
    import h5py

    with h5py.File(tmp_path / "flux.h5", "w") as file:
        given = {
            "memmap": lambda: on_disk(flux),
            "view": lambda: RowView(flux),
            "view of a memmap": lambda: RowView(on_disk(flux[::-1]))[::-1],
            "h5py": lambda: file.create_dataset("flux", data=flux),
            "no array": lambda: Watched(flux),
        }[kind]()
        found = bare().fit(tiny_grid.data, given)
        assert found.score(tiny_grid.data, given) == pytest.approx(
            found.score(tiny_grid.data, flux), rel=1e-12
        )
    assert_same_bits(found, bare().fit(tiny_grid.data, flux), tiny_grid.data)


@pytest.mark.parametrize("dtype", ["f8", "f2", "i2", ">f4"])
def test_flux_of_every_precision_gives_the_same_bits(tiny_grid, flux, on_disk, dtype):
    values = (100 * flux).astype(dtype)
    found = bare().fit(tiny_grid.data, on_disk(values))
    assert_same_bits(found, bare().fit(tiny_grid.data, values), tiny_grid.data)


def test_small_blocks_change_no_bit(tiny_grid, flux, on_disk, small_blocks):
    found = bare().fit(tiny_grid.data, on_disk(flux))
    assert_same_bits(found, bare().fit(tiny_grid.data, flux), tiny_grid.data)


@pytest.mark.parametrize("first", [True, False])
def test_training_stopped_in_memory_goes_on_from_disk_and_back(
    tiny_grid, flux, on_disk, first
):
    P, pair = tiny_grid.data, (flux, on_disk(flux))
    stop = StopAt(10)
    with pytest.warns(TrainingInterruptedWarning):
        found = bare(callbacks=[stop]).fit(P, pair[first])
    found.set_params(callbacks=None).partial_fit(P, pair[not first])
    assert_same_bits(found, bare().fit(P, flux), P)


def test_killed_training_on_disk_goes_on_from_its_checkpoint(
    tiny_grid, flux, on_disk, tmp_path
):
    P, mapped = tiny_grid.data, on_disk(flux)
    stop = StopAt(10, error=RuntimeError("power cut"))
    path = tmp_path / "checkpoint"
    with pytest.raises(RuntimeError, match="power cut"):
        bare(callbacks=[stop], checkpoint=path).fit(P, mapped)
    assert path.exists()
    assert_same_bits(
        bare(checkpoint=path).fit(P, mapped), bare().fit(P, flux), tiny_grid.data
    )


def test_reading_in_advance_ends_with_an_interrupted_training(tiny_grid, on_disk, flux):
    stop = StopAt(3)
    with pytest.warns(TrainingInterruptedWarning):
        bare(callbacks=[stop]).fit(tiny_grid.data, on_disk(flux))
    assert not [t for t in threading.enumerate() if t.name.startswith("read_ahead")]


# stored grids


def test_fit_takes_all_it_needs_from_a_stored_grid(stored, tiny_grid):
    found = bare().fit(stored)
    assert found.label_names_ == tiny_grid.label_names
    assert found.label_units_ == tiny_grid.label_units
    assert found.medium_ == tiny_grid.medium
    np.testing.assert_array_equal(found.wavelength_, tiny_grid.wavelength)
    expected = bare(wavelength=stored.wavelength, medium=stored.medium).fit(
        stored.data, np.asarray(stored.target)
    )
    assert found.n_training_ + found.n_held_out_ == 99
    assert_same_bits(found, expected, tiny_grid.data)


def test_what_is_said_twice_must_be_the_same(stored, tiny_grid):
    agreeing = {
        "wavelength": tiny_grid.wavelength,
        "medium": tiny_grid.medium,
        "label_names": tuple(tiny_grid.label_names),
        "label_units": {tiny_grid.label_names[0]: tiny_grid.label_units[0]},
    }
    found = bare(**agreeing).fit(stored)
    assert found.label_units_ == tiny_grid.label_units


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"wavelength": np.linspace(4500, 4501, 61)},
            r"`wavelength` must be that of the grid '.*grid', 61 from 4500 to 4520 Å; "
            "got 61 from 4500 to 4501 Å. Leave it out",
        ),
        ({"medium": "vacuum"}, "`medium` must be .*, 'air'; got 'vacuum'"),
        ({"label_names": list("abcde")}, r"`label_names` must be .*; got \['a', 'b'"),
        (
            {"label_units": {"teff": "eV"}},
            r"`label_units` must be .*; got {'teff': 'eV'",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_contradiction_with_a_grid_is_an_error(stored, changes, message):
    with pytest.raises(ValueError, match=message):
        bare(**changes).fit(stored)


def test_flux_besides_a_grid_is_an_error(stored, flux):
    with pytest.raises(ValueError, match="`y` must be left out when `X` is a StoredG"):
        bare().fit(stored, flux)


def test_partial_fit_goes_on_with_a_grid(stored, tiny_grid):
    with pytest.warns(TrainingInterruptedWarning):
        found = bare(callbacks=[StopAt(10)]).fit(stored)
    found.set_params(callbacks=None).partial_fit(stored)
    assert_same_bits(found, bare().fit(stored), tiny_grid.data)


def test_fine_tuning_takes_labels_and_wavelengths_from_a_grid(fitted, stored):
    tuned = FineTunedEmulator(fitted["transformer"], max_steps=3, random_state=0)
    assert tuned.fit(stored).label_names_ == stored.label_names
    with pytest.raises(ValueError, match="`medium` must be that of the grid"):
        tuned.set_params(medium="vacuum").fit(stored)


# rehearsal


def test_rehearsed_flux_may_be_on_disk(fitted, tiny_grid, flux, on_disk):
    P = tiny_grid.data
    in_memory = flux[:40], flux[40:]
    mapped = on_disk(flux[:40], "new"), on_disk(flux[40:], "old")

    def tune(new, old):
        how = {"rehearse": (P[40:], old), "max_steps": 11, "random_state": 0}
        return FineTunedEmulator(fitted["payne"], **how).fit(P[:40], new)

    expected = tune(*in_memory)
    for new, old in zip((0, 1, 1), (1, 0, 1), strict=True):
        sources = (in_memory, mapped)
        found = tune(sources[new][0], sources[old][1])
        assert_same_bits(found, expected, P[:40])


def test_grid_may_be_rehearsed(fitted, tiny_grid, flux, stored):
    P = tiny_grid.data
    how = {"max_steps": 11, "random_state": 0}
    tuned = FineTunedEmulator(fitted["payne"], rehearse=stored, **how)
    pair = stored.data, np.asarray(stored.target)
    expected = FineTunedEmulator(fitted["payne"], rehearse=pair, **how)
    assert_same_bits(tuned.fit(P, flux), expected.fit(P, flux), P)


def test_grid_of_other_wavelengths_cannot_be_rehearsed(fitted, tiny_grid, flux, stored):
    stored.wavelength = stored.wavelength + 1
    tuned = FineTunedEmulator(fitted["payne"], rehearse=stored, max_steps=3)
    with pytest.raises(ValueError, match="`rehearse` must have the `wavelength` of"):
        tuned.fit(tiny_grid.data, flux)


def test_clones_share_what_is_rehearsed(fitted, tiny_grid, flux, on_disk):
    mapped = on_disk(flux)
    tuned = FineTunedEmulator(fitted["payne"], rehearse=(tiny_grid.data, mapped))
    assert clone(tuned).rehearse[1] is mapped


# memory


def grid_of_many(n=1500):
    grid = make_spectra(n, n_wavelengths=WIDTH, random_state=0)
    return grid.data, grid.target.astype(np.float32)


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_fit_and_score_never_ask_for_more_than_a_block(small_blocks, arch):
    P, F = grid_of_many()
    watched = Watched(F)
    params = {"width": 8, "n_layers": 1} if arch == "transformer" else None
    emulator = bare(arch=arch, arch_params=params, max_steps=3).fit(P, watched)
    # blocks of spectra of which squares are summed
    assert 256 <= max(watched.n_rows) < 512
    watched.n_rows = []
    emulator.score(P, watched)
    assert set(watched.n_rows) == {100}


def test_rehearsal_never_asks_for_more_than_a_block(small_blocks):
    P, F = grid_of_many()
    base = bare(max_steps=3).fit(P[:100], F[:100])
    new, old = Watched(F[:700]), Watched(F[700:])
    FineTunedEmulator(base, rehearse=(P[700:], old), max_steps=3, random_state=0).fit(
        P[:700], new
    )
    assert max(new.n_rows) == max(old.n_rows) == 100


def test_cross_validation_never_asks_for_more_than_a_block(small_blocks):
    P, F = grid_of_many()
    watched = Watched(F)
    scorer = neg_mean_absolute_error
    found = cross_val_score(
        bare(max_steps=3), P, RowView(watched), cv=3, scoring=scorer
    )
    assert max(watched.n_rows) < 512
    expected = cross_val_score(
        bare(max_steps=3), P, F, cv=3, scoring="neg_mean_absolute_error"
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_learning_curve_on_disk_is_that_in_memory(tiny_grid, flux, on_disk):
    how = {"train_sizes": [0.3, 1.0], "cv": 3, "shuffle": True, "random_state": 0}
    how["estimator"] = bare(max_steps=5)
    found = learning_curve(X=tiny_grid.data, y=RowView(on_disk(flux)), **how)
    expected = learning_curve(X=tiny_grid.data, y=flux, **how)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_memory_of_fit_and_learning_curve_is_a_part_of_the_flux(on_disk, monkeypatch):
    monkeypatch.setattr("sk_payne.trained._blocks._FLUX_BLOCK", 2**17)
    P = np.random.default_rng(0).uniform(size=(6000, 2))
    mapped = on_disk(np.ones((6000, 1009), np.float32) - P[:, :1].astype("f4") / 3)
    how = {"arch_params": {"n_hidden": 3}, "validation_fraction": 0.01}
    emulator = bare(max_steps=3, **how)
    emulator.fit(P[:9], mapped[:9])  # imports what it needs
    tracemalloc.start()
    emulator.fit(P, mapped)
    learning_curve(emulator, P, RowView(mapped), train_sizes=[1.0], cv=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * mapped.nbytes


def test_held_out_errors_of_flux_on_disk_are_those_of_flux_in_memory(monkeypatch):
    rng = np.random.default_rng(0)
    F, P = rng.normal(size=(23, 3)), rng.uniform(size=(11, 1))
    rows = np.arange(2, 23, 2)

    def measure(flux):
        errors = HeldOutErrors.measure(
            lambda labels: np.ones((len(labels), 3)),
            P,
            TrainingFlux(flux),
            rows,
            np.zeros(1),
            np.ones(1),
        )
        np.testing.assert_allclose(errors.mae, np.abs(1 - F[rows]).mean(axis=0), 1e-6)
        rms = np.sqrt(((1 - F[rows]) ** 2).mean(axis=0))
        np.testing.assert_allclose(errors.rms, rms, rtol=1e-6)
        return errors

    assert len(np.unique(measure(F).label_mae)) == 4
    # of flux on disk, the residuals of some spectra are kept
    monkeypatch.setattr("sk_payne.trained._held_out._MAX_KEPT", 5)
    few = measure(RowView(F))
    quartiles = np.quantile(P[[0, 2, 4, 6, 8]], np.linspace(0, 1, 5))
    np.testing.assert_allclose(few.label_edges, quartiles[None])


# bad flux


def test_flux_that_is_not_finite_is_named_by_its_row(small_blocks, on_disk):
    P, F = grid_of_many()
    F[1234, 2] = np.nan
    with pytest.raises(ValueError, match=r"`y` .*NaN or infinity is in row 1234\."):
        bare().fit(P, on_disk(F))


def test_flux_of_no_numbers_is_an_error(tiny_grid, flux, on_disk):
    with pytest.raises(ValueError, match=r"`y` .*real numbers; got complex64"):
        bare().fit(tiny_grid.data, on_disk(flux.astype("c8")))


def test_numbers_of_stars_and_spectra_must_agree(tiny_grid, flux, on_disk):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        bare().fit(tiny_grid.data[:-1], on_disk(flux))


def test_flux_of_one_dimension_on_disk_is_an_error_as_in_memory(tiny_grid, on_disk):
    with pytest.raises(ValueError, match=r"must have the shape \(n_spectra, n_wave"):
        bare().fit(tiny_grid.data, on_disk(np.ones(101, np.float32)))


def test_rehearsed_flux_on_disk_must_be_finite(fitted, tiny_grid, flux, on_disk):
    bad = np.full_like(flux, np.inf)
    tuned = FineTunedEmulator(
        fitted["payne"], rehearse=(tiny_grid.data, on_disk(bad)), max_steps=3
    )
    with pytest.raises(ValueError, match=r"`rehearse` .*is in row 0"):
        tuned.fit(tiny_grid.data, flux)


def test_only_what_is_not_in_memory_is_streamed(flux, on_disk):
    import pandas
    from scipy import sparse

    assert is_streamed(on_disk(flux))
    assert is_streamed(on_disk(flux)[3:])
    assert is_streamed(Watched(flux))
    in_memory = [
        flux,
        flux.tolist(),
        torch.from_numpy(flux),
        pandas.DataFrame(flux),
        pandas.Series(flux[0]),
        sparse.csr_array(flux),
        on_disk(flux)[[0, 3]],
        None,
    ]
    assert not any(is_streamed(one) for one in in_memory)


# reading in advance


def test_read_ahead_keeps_the_order_and_reads_elsewhere():
    names = []

    def read(key):
        names.append(threading.current_thread().name)
        return -key

    assert list(read_ahead(read, range(31))) == [-key for key in range(31)]
    assert all(name.startswith("read_ahead") for name in names)


def test_read_ahead_draws_few_keys_more_than_it_yields():
    drawn = []
    keys = (drawn.append(key) or key for key in range(31))
    found = read_ahead(abs, keys)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    assert len(drawn) == 7
    found.close()
    assert len(drawn) == 7


def test_read_ahead_raises_what_reading_raised():
    found = read_ahead(lambda key: 1 // key, [1, 0, 1])
    assert next(found) == 1
    with pytest.raises(ZeroDivisionError):
        next(found)
