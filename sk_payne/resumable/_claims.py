"""Claims: locks of the operating system on the numbered pieces of a folder.

A piece is claimed by locking one byte of a file. The system frees the lock when the
process ends, so a killed process leaves no claim behind.
"""

import errno
import os
import threading
import time
import warnings
from contextlib import contextmanager

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None

__all__ = ["Claims"]

# Locks belong to processes, and closing a file anywhere in a process frees them all. So
# a process opens each file once, and keeps track of the claims of its own threads.
_GUARD = threading.Lock()
_HELD = {}  # by process and file: its descriptor, and the numbers of claimed pieces

_FOLDER = -1  # number of the claim on the folder as a whole
_PAUSE = 0.01  # s between two attempts to claim the folder


class Claims:
    """Claims on pieces of a folder, against other threads and processes.

    Parameters
    ----------
    path : str or path-like
        Empty file to lock, made when the first piece is claimed.

    Examples
    --------
    >>> import tempfile
    >>> from sk_payne.resumable import Claims
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mine, yours = Claims(f"{folder}/lock"), Claims(f"{folder}/lock")
    ...     taken = mine.take(3), yours.take(3), yours.take(4)
    ...     mine.release(3)
    ...     again = yours.take(3)
    ...     yours.release(3), yours.release(4)
    (None, None)
    >>> taken, again
    ((True, False, True), True)
    """

    def __init__(self, path):
        self._path = os.path.realpath(path)

    def take(self, number):
        """Claim a piece, unless another thread or process holds it.

        Parameters
        ----------
        number : int
            Number of the piece, from 0.

        Returns
        -------
        taken : bool
            True if the piece was claimed.
        """
        key = os.getpid(), self._path
        with _GUARD:
            if key not in _HELD:
                flags = os.O_RDWR | os.O_CREAT
                _HELD[key] = os.open(self._path, flags, 0o666), set()
            descriptor, held = _HELD[key]
            taken = number not in held and _lock(descriptor, number + 1, self._path)
            if taken:
                held.add(number)
            _close_unused(key)
        return taken

    def release(self, number):
        """Release a claimed piece.

        Parameters
        ----------
        number : int
            Number of the piece.
        """
        key = os.getpid(), self._path
        with _GUARD:
            descriptor, held = _HELD[key]
            held.remove(number)
            _unlock(descriptor, number + 1)
            _close_unused(key)

    @contextmanager
    def alone(self):
        """Claim the folder as a whole; wait until it is free.

        Yields
        ------
        None
            While the claim is held. Others may claim pieces meanwhile.
        """
        while not self.take(_FOLDER):
            time.sleep(_PAUSE)
        try:
            yield
        finally:
            self.release(_FOLDER)


def _close_unused(key):
    descriptor, held = _HELD[key]
    if not held:
        del _HELD[key]
        os.close(descriptor)


def _lock(descriptor, byte, path):
    try:
        if fcntl is None:
            os.lseek(descriptor, byte, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        warnings.warn(
            f"The file system of '{path}' has no locks ({error}). Let only one process "
            "at a time write to its folder.",
            stacklevel=3,
        )
    return True


def _unlock(descriptor, byte):
    try:
        if fcntl is None:
            os.lseek(descriptor, byte, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)
    except OSError:  # no locks on this file system: `_lock` has warned
        pass
