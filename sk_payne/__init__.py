"""Neural emulators of stellar spectra, and stars measured with them.

`emulators` learn stellar parameters -> flux with the `networks`; `abundances` inverts
any emulator to measure stars on `spectra`; `neural_posterior` learns distributions of
labels from mock spectra; `recovery` tests errors on stars of known labels; `grids` and
`datasets` give training spectra; `inspection` draws fitted emulators and regressors;
`exchange` reads and writes models of other codes. `python -m sk_payne` runs the whole
job.
"""

from sk_payne._sharing import from_pretrained, push_to_hub
from sk_payne.abundances import AbundanceRegressor, Observation
from sk_payne.emulators import FineTunedEmulator, SpectrumEmulator, check, load

__version__ = "0.1.0"

__all__ = [
    "AbundanceRegressor",
    "FineTunedEmulator",
    "Observation",
    "SpectrumEmulator",
    "__version__",
    "check",
    "from_pretrained",
    "load",
    "push_to_hub",
]
