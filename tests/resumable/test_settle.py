"""Pieces are made once, by whoever has claimed them."""

import threading

import pytest

from sk_payne.resumable import Claims, Folder, settle, spread


class Store(dict):
    """Results by number, that of a piece being ten times its content."""

    def to_do(self, number, item):
        return None if number in self else item

    def keep(self, number, result, reason):
        self[number] = reason if result is None else result


def ten_times(item):
    return 10 * item


def test_only_missing_pieces_are_made(tmp_path):
    store, seen = Store({1: "there"}), []

    def work(item):
        seen.append(item)
        return ten_times(item)

    settle(enumerate(range(5)), store, work, Claims(tmp_path / "lock"))
    assert store == {0: 0, 1: "there", 2: 20, 3: 30, 4: 40}
    assert seen == [0, 2, 3, 4]


def test_piece_of_another_is_waited_for_and_not_made(tmp_path):
    store, other, seen = Store(), Claims(tmp_path / "lock"), []
    assert other.take(1)

    def finish():
        while 4 not in store:  # all that is free is made in the meantime
            pass
        store[1] = "by another"
        other.release(1)

    def work(item):
        seen.append(item)
        return ten_times(item)

    thread = threading.Thread(target=finish)
    thread.start()
    settle(enumerate(range(5)), store, work, Claims(tmp_path / "lock"))
    thread.join()
    assert store[1] == "by another"
    assert seen == [0, 2, 3, 4]


def test_piece_that_another_gave_up_is_made(tmp_path):
    store, other = Store(), Claims(tmp_path / "lock")
    assert other.take(1)

    def give_up():
        while 4 not in store:
            pass
        other.release(1)

    thread = threading.Thread(target=give_up)
    thread.start()
    settle(enumerate(range(5)), store, ten_times, Claims(tmp_path / "lock"))
    thread.join()
    assert store == {i: 10 * i for i in range(5)}


def test_error_frees_what_was_claimed(tmp_path):
    def work(item):
        raise KeyboardInterrupt

    claims = Claims(tmp_path / "lock")
    with pytest.raises(KeyboardInterrupt):
        settle(enumerate(range(5)), Store(), work, claims)
    assert claims.take(0)
    claims.release(0)


def test_workers_are_not_started_for_nothing(monkeypatch):
    monkeypatch.setattr("sk_payne.resumable._spread._pool", None)
    assert list(spread(ten_times, iter([]), n_jobs=2)) == []


# Folders


def test_notes_may_change_and_the_identity_not(tmp_path):
    folder = Folder(tmp_path / "x", "grid", {"medium": "air"}, {"n": 0})
    folder.note(lambda notes: {"n": 5})
    again = Folder(tmp_path / "x", "grid", {"medium": "air"}, {"n": 0})
    assert again.manifest() == {"medium": "air", "n": 5}
    with pytest.raises(ValueError, match="another `medium`: 'air', not 'vacuum'"):
        Folder(tmp_path / "x", "grid", {"medium": "vacuum"}, {"n": 0})


def test_halves_that_a_killed_process_left_are_removed(tmp_path):
    folder = Folder(tmp_path / "x", "grid", {}, {})
    (tmp_path / "x" / "a.npy0123.partial").write_text("half")
    folder.replace("a.npy", b"whole")
    assert sorted(file.name for file in (tmp_path / "x").iterdir()) == [
        *("a.npy", "claims.lock", "grid.json")
    ]


@pytest.mark.parametrize(
    ("name", "instead"), [("cat.fits", "cat'"), ("a.b.NPZ", "a.b'")]
)
def test_name_of_a_file_is_refused(tmp_path, name, instead):
    with pytest.raises(
        ValueError, match=f"must be a folder.*/{name}'.*Pass .*/{instead}"
    ):
        Folder(tmp_path / name, "grid", {}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["survey", "dr3.1", "2026.11.27"])
def test_name_with_dots_is_one_of_a_folder(tmp_path, name):
    assert Folder(tmp_path / name, "grid", {}, {}).path.is_dir()
