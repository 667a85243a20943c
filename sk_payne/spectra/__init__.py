"""What a spectrum is, outside any model: containers, units, media, shifts.

The only room that knows specutils and astropy units; everything behind it is floats.
"""

from sk_payne.spectra._as_spectra import as_spectra
from sk_payne.spectra._doppler import C_KMS, doppler_factor
from sk_payne.spectra._interpolation import GridInterpolator
from sk_payne.spectra._medium import check_medium, convert_medium
from sk_payne.spectra._spectrum_set import SpectrumSet
from sk_payne.spectra._to_spectrum import to_spectrum

__all__ = [
    "C_KMS",
    "GridInterpolator",
    "SpectrumSet",
    "as_spectra",
    "check_medium",
    "convert_medium",
    "doppler_factor",
    "to_spectrum",
]
