"""Claims: nobody else has what one process has, and the dead have nothing."""

import signal
import subprocess
import sys
import threading

import pytest

from sk_payne.resumable import Claims
from sk_payne.resumable import _claims as module

# Of the file alone, as the package would import torch.
IMPORT = f"""
import runpy, sys
Claims = runpy.run_path({module.__file__!r})["Claims"]
"""
# Takes two pieces, says so, and waits to be told to end.
HOLDER = f"""{IMPORT}
claims = Claims(sys.argv[1])
print(claims.take(2), claims.take(5), flush=True)
sys.stdin.readline()
claims.release(2)
print("released", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has the pieces 2 and 5."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline().split() == ["True", "True"]
        yield process
        process.kill()


def test_piece_of_another_process_cannot_be_taken_until_it_is_released(
    tmp_path, holder
):
    claims = Claims(tmp_path / "lock")
    assert [claims.take(number) for number in (2, 3, 5)] == [False, True, False]
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "released\n"
    assert [claims.take(number) for number in (2, 5)] == [True, False]
    claims.release(2), claims.release(3)


def test_killed_process_has_nothing(tmp_path, holder):
    claims = Claims(tmp_path / "lock")
    assert not claims.take(5)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert claims.take(5)
    claims.release(5)


def test_another_claimant_of_one_process_takes_and_frees_nothing(tmp_path, holder):
    # closing a file frees the locks that a process has on it
    mine = Claims(tmp_path / "lock")
    assert mine.take(7)
    yours = Claims(tmp_path / "lock")
    assert not yours.take(7)
    assert yours.take(8)
    yours.release(8)
    code = f"{IMPORT}print(Claims(sys.argv[1]).take(7))"
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "lock")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == "False\n"
    mine.release(7)


def test_threads_have_a_folder_one_after_the_other(tmp_path):
    inside, most = [], []

    def change():
        for _ in range(5):
            with Claims(tmp_path / "lock").alone():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=change) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 15


def test_file_is_closed_when_nothing_is_held(tmp_path):
    claims = Claims(tmp_path / "lock")
    claims.take(0), claims.take(1)
    claims.release(0)
    assert len(module._HELD) == 1
    claims.release(1)
    assert module._HELD == {}


def test_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(module.fcntl, "lockf", refuse)
    claims = Claims(tmp_path / "lock")
    with pytest.warns(UserWarning, match=r"has no locks .* Let only one process"):
        assert claims.take(0)
    claims.release(0)
