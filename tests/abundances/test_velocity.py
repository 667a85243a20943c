"""Tests of radial velocities against spectra that others have shifted."""

import numpy as np
import pytest
from astropy import constants
from astropy import units as u
from scipy.interpolate import make_interp_spline

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import measure_catalogue, read_catalogue
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


def test_prior_decides_which_valley_is_fitted(emulator, draw_labels):
    """At a S/N of 10, noise draws one star in ten more than 20 km/s away without it."""
    flux = emulator.predict(draw_labels(100))
    flux = flux + np.random.default_rng(3).normal(scale=0.1, size=flux.shape)
    spectra = SpectrumSet(
        flux,
        np.full(flux.shape, 100.0),
        wavelength=emulator.wavelength_,
        medium=emulator.medium_,
    )
    far = []
    for prior in (None, {"radial_velocity": (0.0, 1.0)}):
        regressor = AbundanceRegressor(
            emulator, Observation(resolving_power="emulator"), priors=prior
        )
        velocity = regressor.measure(spectra)["radial_velocity"].value
        far.append((np.abs(velocity) > 20).sum())
    assert far[0] > 3
    assert far[1] == 0


def test_labels_that_are_known_choose_the_spectra_of_the_scan(emulator, draw_labels):
    """Among spectra of all labels, noise finds one that suits it twice as often."""
    labels = draw_labels(200)
    flux = emulator.predict(labels)
    flux = flux + np.random.default_rng(4).normal(scale=0.1, size=flux.shape)
    spectra = SpectrumSet(
        flux,
        np.full(flux.shape, 100.0),
        wavelength=emulator.wavelength_,
        medium=emulator.medium_,
    )
    names = list(emulator.label_names_)
    fixed = dict(zip(names, labels.T, strict=True))
    width = emulator.label_high_ - emulator.label_low_
    priors = {
        name: (column, np.full(len(column), 0.02 * size))
        for (name, column), size in zip(fixed.items(), width, strict=True)
    }
    far = []
    for options in ({}, {"fixed": fixed}, {"priors": priors}):
        regressor = AbundanceRegressor(
            emulator,
            Observation(resolving_power="emulator", velocity_range=(-300, 300)),
            **options,
        )
        velocity = regressor.measure(spectra)["radial_velocity"].value
        far.append((np.abs(velocity) > 20).sum())
    unknown, *known = far
    assert 3 < min(known)
    assert max(known) < 0.7 * unknown


def test_velocity_of_flux_in_any_unit_is_that_of_normalised_flux(
    grid, make_emulator, draw_labels
):
    """Photons of a photosphere, in cgs units, are 1e18 and more."""
    found = []
    for scale in (1.0, 1e20):
        emulator = make_emulator(max_steps=211).fit(grid.data, scale * grid.target)
        spectra = SpectrumSet(
            emulator.predict(draw_labels(5)),
            np.full((5, 257), 1e4 / scale**2),
            wavelength=grid.wavelength,
            medium=grid.medium,
        )
        regressor = AbundanceRegressor(
            emulator, Observation(resolving_power="emulator")
        )
        found.append(regressor.measure(spectra)["radial_velocity"].value)
    np.testing.assert_allclose(found[1], found[0], atol=0.01)
    assert np.abs(found[0]).max() < 0.1


# Frames --------------------------------------------------------------------------


def with_frame(spectrum, frame):
    spectrum.meta["frame"] = frame
    return spectrum


def test_table_tells_what_velocities_are_relative_to(emulator, draw_labels, observe):
    labels = draw_labels(4)
    frames = ["rest", "barycentric", "topocentric", None]
    stars = [with_frame(observe(row), f) for row, f in zip(labels, frames, strict=True)]
    regressor = AbundanceRegressor(emulator)
    table = regressor.measure(stars)
    assert table["frame"].tolist() == ["rest", "barycentric", "topocentric", ""]
    assert "frame" not in regressor.measure(stars[3:]).colnames


def test_frame_of_a_star_of_several_arms_is_theirs(emulator, draw_labels, observe):
    (row,) = draw_labels(1)
    arms = [
        with_frame(observe(row, pixels=pixels), "rest")
        for pixels in (slice(0, 120), slice(110, 257))
    ]
    assert AbundanceRegressor(emulator).measure([arms])["frame"].tolist() == ["rest"]
    arms[1].meta["frame"] = "topocentric"
    with pytest.raises(ValueError, match="All arms of a star must have one frame"):
        AbundanceRegressor(emulator).measure([arms])


@pytest.mark.parametrize("chunk_size", [1, 2, 5])
def test_catalogue_has_the_frames_of_all_its_parts(
    emulator, draw_labels, observe, tmp_path, chunk_size
):
    frames = ["", "", "rest", "", "barycentric"]
    stars = [
        with_frame(observe(row), f or None)
        for row, f in zip(draw_labels(5), frames, strict=True)
    ]
    how = {"chunk_size": chunk_size, "verbose": 0}
    regressor = AbundanceRegressor(emulator)
    path = measure_catalogue(regressor, stars, tmp_path / "stars", **how)
    table = read_catalogue(path)
    assert table["frame"].tolist() == frames
    assert not getattr(table["frame"], "mask", np.zeros(1)).any()
    assert np.isfinite(table["radial_velocity"].value).all()
