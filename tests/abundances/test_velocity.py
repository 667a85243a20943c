"""Tests of radial velocities against spectra that others have shifted."""

import numpy as np
from astropy import constants
from astropy import units as u
from scipy.interpolate import make_interp_spline

from sk_payne import AbundanceRegressor, Observation
from sk_payne.spectra import SpectrumSet

N_PHASES = 25


def test_velocity_is_unbiased_to_a_fiftieth_of_a_pixel(emulator, draw_labels):
    """At every phase of the pixels; shifted by scipy's spline and astropy's Doppler."""
    grid = emulator.wavelength_
    pixel = constants.c.to_value(u.km / u.s) * np.log(grid[1] / grid[0])
    velocity = 40.0 + pixel * np.arange(N_PHASES) / N_PHASES
    # where the star would show its rest wavelengths
    rest = (velocity * u.km / u.s).to(
        u.AA, u.doppler_relativistic(5000 * u.AA)
    ).value / 5000.0
    flux = emulator.predict(draw_labels(N_PHASES))
    observed = [
        make_interp_spline(grid, row, k=5)(grid[5:-5] / shift)
        for row, shift in zip(flux, rest, strict=True)
    ]
    spectra = SpectrumSet(
        observed,
        np.full((N_PHASES, len(grid) - 10), 1e6),
        wavelength=grid[5:-5],
        medium=emulator.medium_,
    )
    regressor = AbundanceRegressor(
        emulator, Observation(emulator_error=False, resolving_power="emulator")
    )
    table = regressor.measure(spectra)
    off = table["radial_velocity"].value - velocity
    assert np.abs(off).max() < pixel / 50
    assert np.abs(off.mean()) < pixel / 200
