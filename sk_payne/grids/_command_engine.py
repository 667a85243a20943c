"""CommandEngine: runs a synthesis program, such as Turbospectrum or MOOG, for grids."""

import os
import signal
import subprocess
import tempfile
from pathlib import Path

import numpy as np

__all__ = ["CommandEngine"]

_N_LINES = 5


class CommandEngine:
    """Synthesis by a program that reads input files and writes output files.

    For each spectrum, templates are filled with the labels and written to a temporary
    folder, the command runs in it, and `parse` reads its output.

    Parameters
    ----------
    templates : dict of str to str
        Text of each input file by name, in which ``{teff:.0f}`` or ``{Fe_H:+.2f}``
        stand for labels, as in `str.format`; double literal braces. Further fields are
        ``{wavelength_min}``, ``{wavelength_max}`` and ``{n_wavelengths}``.
    command : list of str
        Program and arguments. Paths outside the temporary folder must be absolute. Use
        a shell for redirection: ``["bash", "-c", "code < input.txt"]``.
    parse : callable
        Takes the folder (a `pathlib.Path`) and the wavelengths in Å, and returns the
        normalised flux, or a tuple of flux and continuum.
    timeout : float, default=None
        Time limit in s. After it the command and its child processes are killed, and
        the spectrum fails.

    Raises
    ------
    TypeError
        If `command` is a string.

    See Also
    --------
    build_grid : Compute a grid with an engine.

    Notes
    -----
    The folder also holds ``wavelength.txt``, with one wavelength in Å per line.
    Standard output and error go to the files ``stdout`` and ``stderr`` in it.

    Examples
    --------
    >>> import sys
    >>> import numpy as np
    >>> from sk_payne.grids import CommandEngine
    >>> program = "depth = float(open('input').read()); print(1 - depth, 1.0)"
    >>> engine = CommandEngine(
    ...     {"input": "{depth:.3f}"}, [sys.executable, "-c", program],
    ...     lambda folder, wavelength: np.loadtxt(folder / "stdout"), timeout=60,
    ... )
    >>> engine({"teff": 5777.0, "depth": 0.25}, np.array([5000.0, 5001.0]))
    array([0.75, 1.  ])
    """

    def __init__(self, templates, command, parse, *, timeout=None):
        if isinstance(command, str):
            raise TypeError(
                f"`command` must be a list of the program and its arguments; got "
                f"{command!r}. Pass ['bash', '-c', {command!r}] to run it in a shell."
            )
        self.templates = dict(templates)
        self.command = [os.fspath(word) for word in command]
        self.parse = parse
        self.timeout = timeout

    def __call__(self, labels, wavelength):
        """Compute one spectrum.

        Parameters
        ----------
        labels : dict of str to float
            Labels of the star.
        wavelength : ndarray of shape (n_wavelengths,)
            Wavelengths in Å.

        Returns
        -------
        flux : ndarray or tuple of ndarray
            Return value of `parse`.

        Raises
        ------
        ValueError
            If a field of a template is not a label.
        RuntimeError
            If the command fails; the message has the end of its standard error.
        TimeoutError
            If the command takes longer than `timeout`.
        """
        values = labels | {
            "wavelength_min": float(wavelength[0]),
            "wavelength_max": float(wavelength[-1]),
            "n_wavelengths": len(wavelength),
        }
        with tempfile.TemporaryDirectory(prefix="sk_payne_") as name:
            folder = Path(name)
            for file, template in self.templates.items():
                text = _fill(template, values, file)
                (folder / file).write_text(text, encoding="utf-8")
            np.savetxt(folder / "wavelength.txt", wavelength, fmt="%.6f")
            self._run(folder)
            return self.parse(folder, wavelength)

    def to_dict(self):
        """Describe the engine, for the provenance of a grid.

        Returns
        -------
        description : dict
            Templates, command, and the name of `parse`.
        """
        return {
            "engine": "CommandEngine",
            "templates": self.templates,
            "command": self.command,
            "parse": getattr(self.parse, "__qualname__", type(self.parse).__qualname__),
        }

    def _run(self, folder):
        with open(folder / "stdout", "wb") as out, open(folder / "stderr", "wb") as err:
            process = subprocess.Popen(
                self.command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            try:
                code = process.wait(self.timeout)
            except BaseException as error:
                _end(process)
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                raise TimeoutError(
                    f"{self.command[0]!r} took longer than {self.timeout} s. "
                    f"{_last_lines(folder)}"
                ) from None
        if code:
            raise RuntimeError(
                f"{self.command[0]!r} ended with exit code {code}. "
                f"{_last_lines(folder)}"
            )


def _fill(template, values, file):
    try:
        return template.format_map(values)
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"The template of {file!r} cannot be filled ({error!r}). The fields are "
            f"{sorted(values)}; double literal braces."
        ) from error


def _end(process):
    """Kill a process and its child processes."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _last_lines(folder):
    text = (folder / "stderr").read_text(encoding="utf-8", errors="replace")
    lines = text.splitlines()[-_N_LINES:]
    return f"Its standard error ends: {' | '.join(lines)}" if lines else ""
