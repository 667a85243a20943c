"""Spectra without any model: containers, files, units, media, shifts, broadening.

The only room that knows specutils and astropy units; everything behind it is floats.
"""

from sk_payne.spectra._arms import group_arms
from sk_payne.spectra._as_spectra import as_spectra
from sk_payne.spectra._broadening import VelocityConvolver, broaden
from sk_payne.spectra._doppler import C_KMS, doppler_factor, rest_wavelength_slope
from sk_payne.spectra._formats import SPECTRUM_FORMATS
from sk_payne.spectra._interpolation import GridInterpolator
from sk_payne.spectra._medium import check_medium, convert_medium
from sk_payne.spectra._profiles import (
    broadening_reach,
    gaussian_transfer,
    instrument_transfer,
    macroturbulence_transfer,
    rotation_transfer,
    velocity_sigma,
)
from sk_payne.spectra._reading import read_spectra
from sk_payne.spectra._resolving_power import (
    describe_resolving_power,
    resolve_resolving_power,
    resolving_power_of_segments,
)
from sk_payne.spectra._segments import (
    break_at_gaps,
    check_covered,
    describe_segments,
    grid_segments,
    is_covered,
    is_gap,
    touches_grid,
)
from sk_payne.spectra._spectrum_set import SpectrumSet
from sk_payne.spectra._to_spectrum import to_spectrum

__all__ = [
    "C_KMS",
    "SPECTRUM_FORMATS",
    "GridInterpolator",
    "SpectrumSet",
    "VelocityConvolver",
    "as_spectra",
    "break_at_gaps",
    "broaden",
    "broadening_reach",
    "check_covered",
    "check_medium",
    "convert_medium",
    "describe_resolving_power",
    "describe_segments",
    "doppler_factor",
    "gaussian_transfer",
    "grid_segments",
    "group_arms",
    "instrument_transfer",
    "is_covered",
    "is_gap",
    "macroturbulence_transfer",
    "read_spectra",
    "resolve_resolving_power",
    "resolving_power_of_segments",
    "rest_wavelength_slope",
    "rotation_transfer",
    "to_spectrum",
    "touches_grid",
    "velocity_sigma",
]
