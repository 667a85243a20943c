"""Effects at the pixels: tellurics, and a stage of one's own."""

import numpy as np
import pytest
import torch
from astropy import units as u
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import Parameter, Stage, Telluric
from sk_payne.spectra import SpectrumSet, doppler_factor

TELLURIC_VELOCITY, DEPTH = -1.3, 1.7


class StrayLight(Stage):
    """Fill lines with the same fraction of the continuum everywhere."""

    def parameters(self):
        return [Parameter("stray_light", "", 0.0, 0.5, start=0.1, scale=0.1)]

    def apply(self, flux, wavelength, values):
        stray = values["stray_light"][:, None]
        return (1 - stray) * flux + stray


@pytest.fixture(scope="module")
def template(grid):
    """Lines over the middle of the grid and beyond one of its ends."""
    wavelength = np.linspace(grid.wavelength[60], grid.wavelength[-1] + 5, 3000)
    centres = np.linspace(wavelength[0] + 1, wavelength[-1] - 1, 7)[:, None]
    depth = 0.8 * np.exp(-(((wavelength - centres) / 0.25) ** 2)).sum(0)
    return wavelength, np.exp(-depth)


@pytest.fixture(scope="module")
def telluric(template, grid):
    return Telluric(*template, medium=grid.medium)


@pytest.fixture(scope="module")
def stars(emulator, draw_labels, template):
    """Stars at 12 km/s behind an atmosphere, with little noise."""
    labels = draw_labels(5, extent=0.7)
    flux = emulator.predict(labels)
    wavelength = emulator.wavelength_ * doppler_factor(12.0)
    rest = wavelength / doppler_factor(TELLURIC_VELOCITY)
    depth = np.interp(rest, template[0], -np.log(template[1]), left=0, right=0)
    flux = flux * np.exp(-DEPTH * depth)
    noise = np.random.default_rng(1).normal(scale=1e-3, size=flux.shape)
    spectra = SpectrumSet(
        flux + noise,
        np.full(flux.shape, 1e6),
        wavelength=wavelength,
        medium=emulator.medium_,
    )
    return labels, spectra


def observation(*stages, **options):
    return Observation(
        velocity_range=(-50, 50),
        resolving_power="emulator",
        emulator_error=False,
        stages=list(stages),
        **options,
    )


def test_pixels_under_telluric_lines_are_fitted(emulator, telluric, stars):
    labels, spectra = stars
    table = AbundanceRegressor(emulator, observation(telluric)).measure(spectra)
    pull = (table["telluric_depth"] - DEPTH) / table["telluric_depth_error"]
    assert (np.abs(pull) < 4).all()
    off = table["telluric_velocity"].value - TELLURIC_VELOCITY
    assert (np.abs(off / table["telluric_velocity_error"].value) < 4).all()
    for i, name in enumerate(emulator.label_names_):
        pull = (table[name].value - labels[:, i]) / table[f"{name}_error"].value
        assert (np.abs(pull) < 4).all(), name
    assert (table["chi2"] < 1.6 * table["dof"]).all()
    assert table["telluric_velocity"].unit == u.km / u.s


def test_labels_are_better_than_with_pixels_masked(emulator, telluric, stars, template):
    _, spectra = stars
    free = AbundanceRegressor(emulator, observation(telluric)).measure(spectra)
    seen = np.interp(spectra.wavelength, *template, left=1, right=1) > 0.99
    masked = spectra.replace(ivar=spectra.ivar * seen)
    without = AbundanceRegressor(emulator, observation()).measure(masked)
    assert (free["Fe_H_error"] < without["Fe_H_error"]).all()


def test_derivatives_of_the_template_are_those_of_differentiation(emulator, telluric):
    stage = telluric.prepared(emulator.medium_)
    rng = np.random.default_rng(0)
    flux = torch.from_numpy(rng.uniform(0.5, 1, (2, 257)))
    jacobian = torch.from_numpy(rng.normal(size=(2, 3, 257)))
    wavelength = torch.from_numpy(np.tile(emulator.wavelength_, (2, 1)))
    values = {
        "telluric_depth": torch.tensor([0.7, 1.3]).double(),
        "telluric_velocity": torch.tensor([-0.4, 1.1]).double(),
    }
    found = stage.linearize(flux, jacobian, wavelength, values)
    expected = Stage.linearize(stage, flux, jacobian, wavelength, values)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1][:, :-1], expected[1][:, :-1])
    # that by the velocity, of the spline, by differences
    step = 1e-4
    up, down = (
        stage.apply(
            flux,
            wavelength,
            values | {"telluric_velocity": values["telluric_velocity"] + shift},
        )
        for shift in (step, -step)
    )
    difference = (up - down) / (2 * step)
    torch.testing.assert_close(found[1][:, -1], difference, atol=1e-5, rtol=1e-4)


def test_known_depth_and_velocity_are_not_fitted(emulator, template, grid, stars):
    stage = Telluric(
        *template,
        medium=grid.medium,
        optical_depth=DEPTH,
        velocity=TELLURIC_VELOCITY * 1000 * u.m / u.s,
    )
    table = AbundanceRegressor(emulator, observation(stage)).measure(stars[1])
    assert (table["telluric_depth"] == DEPTH).all()
    assert (table["telluric_velocity_error"].value == 0).all()
    assert (table["flags"] == 0).all()


def test_template_in_the_other_medium_is_converted(emulator, template, grid, stars):
    from sk_payne.spectra import convert_medium

    other = "vacuum" if grid.medium == "air" else "air"
    wavelength = convert_medium(template[0], grid.medium, other)
    stage = Telluric(wavelength, template[1], medium=other)
    table = AbundanceRegressor(emulator, observation(stage)).measure(stars[1])
    off = table["telluric_velocity"].value - TELLURIC_VELOCITY
    assert (np.abs(off) < 0.1).all()


def test_two_gases_have_a_template_each(emulator, telluric, stars, grid):
    other = Telluric(
        grid.wavelength, np.ones(len(grid.wavelength)), medium=grid.medium, name="water"
    )
    observed = observation(telluric, other)
    known = {"water_velocity": 0.0, "water_depth": 1.0}
    table = AbundanceRegressor(emulator, observed, fixed=known).measure(stars[1])
    alone = AbundanceRegressor(emulator, observation(telluric)).measure(stars[1])
    np.testing.assert_allclose(table["telluric_depth"], alone["telluric_depth"])
    assert (table["water_depth"] == 1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transmission": np.ones(2)}, "one value for each wavelength"),
        ({"transmission": 3 + np.zeros(3000)}, "must lie between 0 and 1; got 3"),
        ({"wavelength": np.linspace(2, 1, 3000)}, "must increase"),
        ({"optical_depth": (-1, 2)}, "`optical_depth` .* at least 0"),
        ({"velocity": (3, -3)}, "`velocity` of a telluric template must be"),
        ({"medium": "water"}, "medium"),
    ],
)
def test_bad_templates_are_named(emulator, telluric, stars, changes, message):
    stage = clone(telluric).set_params(**changes)
    with pytest.raises(ValueError, match=message):
        AbundanceRegressor(emulator, observation(stage)).measure(stars[1])


def test_stage_of_ones_own_is_fitted(emulator, draw_labels):
    labels, stray = draw_labels(4, extent=0.6), np.array([0.02, 0.1, 0.2, 0.3])
    flux = (1 - stray[:, None]) * emulator.predict(labels) + stray[:, None]
    spectra = SpectrumSet(
        flux,
        np.full(flux.shape, 1e6),
        wavelength=emulator.wavelength_,
        medium=emulator.medium_,
    )
    regressor = AbundanceRegressor(
        emulator, observation(StrayLight()), bounds={"teff": (4000, 6000)}
    )
    table = regressor.measure(spectra)
    np.testing.assert_allclose(table["stray_light"], stray, atol=2e-3)
    assert (table["stray_light_error"] > 0).all()
    posterior = regressor.posterior(spectra[:1], sampler="importance", n_draws=50)
    assert posterior.label_names[-1] == "stray_light"
    low = AbundanceRegressor(
        emulator, observation(StrayLight()), fixed={"stray_light": 0.1}
    ).measure(spectra)
    assert (low["stray_light"] == 0.1).all()


def test_stage_that_gives_another_shape_is_named(emulator, stars):
    class Wrong(Stage):
        def apply(self, flux, wavelength, values):
            return flux[:, 1:]

    with pytest.raises(ValueError, match="`apply` of the stage Wrong must give flux"):
        AbundanceRegressor(emulator, observation(Wrong())).measure(stars[1])


def test_stage_with_the_name_of_a_label_is_refused(emulator, stars):
    class Clash(StrayLight):
        def parameters(self):
            return [Parameter("teff", "", 0.0, 0.5)]

    with pytest.raises(ValueError, match="teff"):
        AbundanceRegressor(emulator, observation(Clash())).measure(stars[1])


def test_observation_is_searched_by_scikit_learn(emulator, stars):
    from sklearn.frozen import FrozenEstimator

    labels, spectra = stars
    search = GridSearchCV(
        AbundanceRegressor(FrozenEstimator(emulator), observation(), snr=100),
        {"observation__velocity_range": [None, (-50, 50)]},
        cv=2,
    ).fit(spectra.flux, labels)
    assert "observation__velocity_range" in search.best_params_


def test_former_arguments_go_on_working_with_a_warning(emulator, stars):
    with pytest.warns(FutureWarning, match=r"Observation\(vsini=\(0, 9\)\)"):
        regressor = AbundanceRegressor(emulator, vsini=(0, 9))
    assert regressor.observation.vsini == (0, 9)
    with pytest.warns(FutureWarning, match=r"set_params\(observation=Observation"):
        regressor.set_params(clip=4)
    assert (regressor.observation.clip, regressor.observation.vsini) == (4, (0, 9))
    with pytest.raises(TypeError, match="unexpected keyword argument 'vsni'"):
        AbundanceRegressor(emulator, vsni=3)
    assert clone(regressor).observation.vsini == (0, 9)


def test_parameters_of_an_observation_that_is_not_there_are_set(emulator):
    regressor = AbundanceRegressor(emulator).set_params(observation__vmac=3.0)
    assert regressor.observation.vmac == 3.0
