"""CommandEngine: a synthesis code that is a program, as an engine of grids.

It is here so that Turbospectrum, MOOG, Korg or any script can make a grid, each run in
a folder of its own.
"""

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

    For each spectrum, a temporary folder is made, templates are filled with the labels
    and written into it, the command is run in it, and `parse` reads what it left.

    Parameters
    ----------
    templates : dict of str to str
        Input files: name and text, in which ``{teff:.0f}`` or ``{Fe_H:+.2f}`` stand for
        labels, as in `str.format`; braces that are meant must be doubled. There are
        also ``{wavelength_min}``, ``{wavelength_max}`` and ``{n_wavelengths}``.
    command : list of str
        Program and arguments. Paths must be absolute, but for files in the folder. For
        redirection, let a shell do it: ``["bash", "-c", "code < input.txt"]``.
    parse : callable
        Takes the folder (a `pathlib.Path`) and the wavelengths in Å, and gives the
        normalised flux at these, or a tuple of flux and continuum.
    timeout : float, default=None
        Seconds after which the command, and all it has started, is ended and the
        spectrum given up.

    Raises
    ------
    TypeError
        If `command` is a string.

    See Also
    --------
    build_grid : Takes an engine.

    Notes
    -----
    The folder also holds ``wavelength.txt``, one in Å per line, for codes that take
    them. Standard output and error go to the files ``stdout`` and ``stderr`` in it.

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
                f"{command!r}. Pass ['bash', '-c', {command!r}] to have it read by a "
                "shell."
            )
        self.templates = dict(templates)
        self.command = [os.fspath(word) for word in command]
        self.parse = parse
        self.timeout = timeout

    def __call__(self, labels, wavelength):
        """Make one spectrum.

        Parameters
        ----------
        labels : dict of str to float
            Of the star.
        wavelength : ndarray of shape (n_wavelengths,)
            Å.

        Returns
        -------
        flux : ndarray or tuple of ndarray
            What `parse` gives.

        Raises
        ------
        ValueError
            If a template asks for what is no label.
        RuntimeError
            If the command fails; the end of its standard error is in the message.
        TimeoutError
            If it takes too long.
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
        """Tell what the engine is, for the provenance of a grid.

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
            f"The template of {file!r} cannot be filled ({error!r}). There are "
            f"{sorted(values)}; double the braces that are meant."
        ) from error


def _end(process):
    """End a process and all that it has started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _last_lines(folder):
    text = (folder / "stderr").read_text(encoding="utf-8", errors="replace")
    lines = text.splitlines()[-_N_LINES:]
    return f"Its standard error ends: {' | '.join(lines)}" if lines else ""
