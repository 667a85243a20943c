"""Export of emulators as programs that do not need sk_payne: torch.export and ONNX.

They serve codes without sk_payne, and other languages than Python.
"""

import io
import json
import logging
import warnings
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from sk_payne._persistence import replacing
from sk_payne.exchange._opened import open_emulator
from sk_payne.spectra import resolving_power_of_segments

__all__ = ["export_onnx", "export_torch"]

_KEY = "sk_payne"


class _Program(nn.Module):
    """Labels to flux at the wavelengths of an emulator, all stars in one block."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.register_buffer("log_wavelength", module.log_wavelength)

    def forward(self, labels):
        module = self.module
        scaled = (labels - module.label_center) / module.label_half_width
        if module.takes_wavelength:
            return module.unscale(module.network(scaled, self.log_wavelength))
        return module.unscale(module.network(scaled))


def export_torch(emulator, path):
    """Write an emulator as a program that torch alone can run.

    The program takes labels, of shape (n_spectra, n_labels) in single precision and in
    their units, and gives flux of shape (n_spectra, n_wavelengths), on the grid of the
    emulator. It can be differentiated and compiled.

    Parameters
    ----------
    emulator : SpectrumEmulator or FineTunedEmulator
        Fitted.
    path : str or path-like
        The file, by custom ".pt2"; replaced if it exists. Labels, units, box,
        wavelengths and medium are in it as JSON, under the name "sk_payne".

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.

    See Also
    --------
    sk_payne.SpectrumEmulator.save : Keeps all of an emulator.

    Notes
    -----
    The program neither checks labels nor warns when it extrapolates, and all stars are
    in flight at once. Loading one from a stranger is no safer than running a program
    of theirs.

    Examples
    --------
    >>> import json
    >>> import tempfile
    >>> import torch
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.exchange import export_torch
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> said = {"sk_payne": ""}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_torch(emulator, f"{folder}/toy.pt2")
    ...     program = torch.export.load(f"{folder}/toy.pt2", extra_files=said)
    >>> program.module()(torch.tensor([[0.3]])).shape
    torch.Size([1, 2])
    >>> json.loads(said["sk_payne"])["label_names"]
    ['label_0']
    """
    emulator = open_emulator(emulator)
    program, labels = _trace(emulator)
    stars = torch.export.Dim("n_spectra")
    program = torch.export.export(program, (labels,), dynamic_shapes=({0: stars},))
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={_KEY: _describe(emulator)})
    with replacing(path) as file:
        file.write(content.getvalue())


def export_onnx(emulator, path):
    """Write an emulator as an ONNX file, which many languages can run.

    Its input "labels", of shape (n_spectra, n_labels), has labels in single precision
    and in their units; its output "flux", of shape (n_spectra, n_wavelengths), is on
    the grid of the emulator. It needs the packages of ``pip install 'sk_payne[onnx]'``
    to be written, and an ONNX runtime to be run.

    Parameters
    ----------
    emulator : SpectrumEmulator or FineTunedEmulator
        Fitted.
    path : str or path-like
        The file, by custom ".onnx"; replaced if it exists. Labels, units, box,
        wavelengths and medium are in its metadata as JSON, under the name "sk_payne".

    Raises
    ------
    NotFittedError
        If the emulator is not fitted.
    ImportError
        If onnx or onnxscript is not installed.

    Notes
    -----
    As with :func:`export_torch`, nothing warns of extrapolation, and all stars are in
    flight at once.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import onnxruntime
    >>> from sk_payne import SpectrumEmulator
    >>> from sk_payne.exchange import export_onnx
    >>> emulator = SpectrumEmulator(arch="payne", max_steps=2, random_state=0)
    >>> emulator = emulator.fit([[0.0], [1.0]], [[1.0, 0.5], [0.9, 0.4]])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(emulator, f"{folder}/toy.onnx")
    ...     session = onnxruntime.InferenceSession(f"{folder}/toy.onnx")
    >>> (flux,) = session.run(["flux"], {"labels": np.array([[0.3]], np.float32)})
    >>> bool(abs(flux - emulator.predict([[0.3]])).max() < 1e-6)
    True
    """
    emulator = open_emulator(emulator)
    program, labels = _trace(emulator)
    try:
        import onnxscript  # noqa: F401  (torch needs it, and it needs onnx)
    except ImportError as error:
        raise ImportError(
            "`export_onnx` needs onnx and onnxscript: pip install 'sk_payne[onnx]'."
        ) from error
    with _silent_torch():
        model = torch.onnx.export(
            program,
            (labels,),
            dynamo=True,
            dynamic_shapes=({0: "n_spectra"},),
            input_names=["labels"],
            output_names=["flux"],
            verbose=False,
        ).model_proto
    model.metadata_props.add(key=_KEY, value=_describe(emulator))
    with replacing(path) as file:
        file.write(model.SerializeToString())


@contextmanager
def _silent_torch():
    """Keep what torch says of itself, and of a torchvision that nobody asked for."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _trace(emulator):
    """Give the program of an emulator, and labels to trace it with."""
    program = _Program(emulator.to_torch(device="cpu")).eval()
    # of more than one star, as the number is to stay open
    middle = (emulator.label_low_ + emulator.label_high_) / 2
    return program, torch.tensor(
        np.tile(middle, (2, 1)), dtype=torch.float32, device="cpu"
    )


def _describe(emulator):
    """Write what a user of the program must know, as JSON."""
    wavelength = emulator.wavelength_
    power = resolving_power_of_segments(emulator.resolving_power_, wavelength)
    return json.dumps(
        {
            "label_names": list(emulator.label_names_),
            "label_units": list(emulator.label_units_),
            "label_low": emulator.label_low_.tolist(),
            "label_high": emulator.label_high_.tolist(),
            "wavelength": None if wavelength is None else wavelength.tolist(),
            "medium": emulator.medium_,
            # JSON has no infinity
            "resolving_power": _without_infinity(power),
        }
    )


def _without_infinity(power):
    if isinstance(power, list):
        return [_without_infinity(one) for one in power]
    return str(power) if power == np.inf else power
