"""Two stars in one spectrum: found where they are, and nowhere else."""

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.modeling.physical_models import BlackBody

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances import SecondStar, Telluric
from sk_payne.spectra import GridInterpolator, SpectrumSet, broaden, doppler_factor

SNR = 400.0
VELOCITIES = np.array([[20.0, -70.0], [-31.0, 60.0], [5.0, 110.0], [-80.0, 40.0]])
RATIOS = np.array([[0.9], [0.5], [0.3], [0.2]])
COOLER = np.array([-150.0, -400.0, 200.0, -500.0])


def see(emulator, labels, velocity, **widths):
    """Spectra of the emulator at velocities, on its own wavelengths."""
    grid = emulator.wavelength_
    flux = broaden(emulator.predict(labels), grid, **widths)
    return GridInterpolator(grid)(flux, grid / doppler_factor(velocity)[:, None])


def as_set(emulator, flux, seed=0):
    noise = np.random.default_rng(seed).standard_normal(flux.shape) / SNR
    return SpectrumSet(
        flux + noise,
        np.full(flux.shape, SNR**2),
        wavelength=emulator.wavelength_,
        medium=emulator.medium_,
    )


@pytest.fixture(scope="module")
def pairs(emulator, draw_labels):
    """Labels of both stars, which share their composition."""
    first = draw_labels(4, extent=0.5)
    second = first.copy()
    second[:, 0] += COOLER
    return first, second


@pytest.fixture(scope="module")
def doubles(emulator, pairs):
    one, two = (
        see(emulator, labels, velocity)
        for labels, velocity in zip(pairs, VELOCITIES.T, strict=True)
    )
    return as_set(emulator, (one + RATIOS * two) / (1 + RATIOS))


@pytest.fixture(scope="module")
def singles(emulator, draw_labels):
    labels = draw_labels(12, seed=3, extent=0.8)
    velocity = np.linspace(-90, 90, 12)
    return as_set(emulator, see(emulator, labels, velocity), seed=1)


def observation(second=None, **options):
    return Observation(
        velocity_range=(-200, 200),
        resolving_power="emulator",
        emulator_error=False,
        second_star=SecondStar() if second is None else second,
        **options,
    )


@pytest.fixture(scope="module")
def table(emulator, doubles):
    return AbundanceRegressor(emulator, observation()).measure(doubles)


def pulls(table, name, true):
    value = getattr(table[name], "value", table[name])
    error = getattr(table[f"{name}_error"], "value", table[f"{name}_error"])
    return (np.asarray(value) - true) / np.asarray(error)


def test_two_stars_are_found_with_their_velocities_and_ratio(table, pairs):
    assert (table["n_stars"] == 2).all()
    assert (table["delta_bic"] < -10).all()
    assert (table["delta_chi2"] < table["delta_bic"]).all()
    for name, true in (
        ("radial_velocity", VELOCITIES[:, 0]),
        ("radial_velocity_2", VELOCITIES[:, 1]),
        ("flux_ratio", RATIOS[:, 0]),
        ("teff", pairs[0][:, 0]),
        ("teff_2", pairs[1][:, 0]),
        ("Fe_H", pairs[0][:, 1]),
    ):
        assert (np.abs(pulls(table, name, true)) < 4.5).all(), name
    assert (np.abs(table["chi2"] - table["dof"]) < 5 * (2 * table["dof"]) ** 0.5).all()


def test_one_star_stays_one(emulator, singles):
    table = AbundanceRegressor(emulator, observation()).measure(singles)
    alone = AbundanceRegressor(
        emulator, observation().set_params(second_star=None)
    ).measure(singles)
    assert (table["n_stars"] == 1).all()
    assert np.isnan(table["radial_velocity_2"].value).all()
    assert np.isnan(table["teff_2_error"].value).all()
    for name in alone.colnames:
        np.testing.assert_array_equal(np.asarray(table[name]), np.asarray(alone[name]))


def test_results_do_not_depend_on_company(emulator, doubles, singles, table):
    both = SpectrumSet.concatenate([singles, doubles])
    order = np.array([3, 13, 0, 15, 7, 12])
    regressor = AbundanceRegressor(emulator, observation())
    together = regressor.measure(both[order])
    for place, row in enumerate(order):
        one = regressor.measure(both[[row]])
        for name in one.colnames:
            np.testing.assert_array_equal(
                np.asarray(together[name][place]), np.asarray(one[name][0])
            )


def test_ratio_that_is_linear_in_wavelength_is_found(emulator, pairs):
    x = np.linspace(-1, 1, len(emulator.wavelength_))
    ratio = 0.6 + 0.25 * x
    one, two = (
        see(emulator, labels, velocity)
        for labels, velocity in zip(pairs, VELOCITIES.T, strict=True)
    )
    spectra = as_set(emulator, (one + ratio * two) / (1 + ratio))
    second = SecondStar(shape="linear", flux_ratio=(0.05, 1.5))
    found = AbundanceRegressor(emulator, observation(second)).measure(spectra)
    assert (found["n_stars"] == 2).all()
    assert (np.abs(pulls(found, "flux_ratio", 0.6)) < 4.5).all()
    assert (np.abs(pulls(found, "flux_ratio_slope", 0.25)) < 4.5).all()


def test_ratio_of_black_bodies_is_that_of_astropy(emulator, pairs):
    grid = emulator.wavelength_ * u.AA
    unit = u.erg / (u.cm**2 * u.s * u.AA * u.sr)
    planck = [
        np.array([BlackBody(t * u.K, scale=1 * unit)(grid).value for t in labels[:, 0]])
        for labels in pairs
    ]
    ratio = 0.8**2 * planck[1] / planck[0]
    one, two = (
        see(emulator, labels, velocity)
        for labels, velocity in zip(pairs, VELOCITIES.T, strict=True)
    )
    spectra = as_set(emulator, (one + ratio * two) / (1 + ratio))
    second = SecondStar(shape="blackbody")
    found = AbundanceRegressor(emulator, observation(second)).measure(spectra)
    assert (found["n_stars"] == 2).all()
    assert (np.abs(pulls(found, "radius_ratio", 0.8)) < 4.5).all()
    assert "flux_ratio" not in found.colnames


def test_second_star_rotates_by_itself(emulator, pairs):
    one = see(emulator, pairs[0], VELOCITIES[:, 0])
    two = see(emulator, pairs[1], VELOCITIES[:, 1], vsini=35.0)
    spectra = as_set(emulator, (one + 0.9 * two) / 1.9)
    second = SecondStar(vsini=(0, 80))
    found = AbundanceRegressor(emulator, observation(second)).measure(spectra)
    assert (found["n_stars"] == 2).all()
    assert (np.abs(pulls(found, "vsini_2", 35.0)) < 4.5).all()
    assert "vsini" not in found.colnames


@pytest.mark.parametrize("shape", ["constant", "linear", "blackbody"])
def test_derivatives_are_those_of_differences(emulator, doubles, shape):
    from regressors import block_of

    from sk_payne.abundances._fitted_emulator import as_fitted_emulator
    from sk_payne.abundances._observed import observe
    from sk_payne.abundances._problem import pose

    chosen = observation(
        SecondStar(shape=shape, vsini=(0, 40)), vsini=(0, 40), continuum_degree=None
    )
    fitted = as_fitted_emulator(emulator)
    fitted.single = fitted.source  # in double precision
    block = block_of(fitted, doubles[:1], chosen).doubled
    start = block.parameters.start.copy()
    names = block.parameters.names
    start[names.index("radial_velocity")] = 20.0
    start[names.index("radial_velocity_2")] = -70.0
    for i, value in (("vsini", 8.0), ("vsini_2", 13.0)):
        start[names.index(i)] = value
    observed = observe(
        block, previous=start[None], second_limits=np.array([[-90.0, 0.0]])
    )
    problem = pose(observed)
    model, good = problem.model, problem.ivar[0] > 0
    rows = torch.tensor([0])
    at = torch.from_numpy(block.parameters.to_fit(start))[None]
    _, jacobian = model.linearize(rows, at)
    for i in range(len(names)):
        step = torch.zeros_like(at)
        step[0, i] = 1e-4
        up, down = model.flux(rows, at + step), model.flux(rows, at - step)
        expected = ((up - down) / 2e-4)[:, good]
        size = expected.abs().max().clamp_min(1e-6)
        off = (jacobian[:, i, good] - expected).abs()
        assert (off < 2e-4 * size + 1e-7).all(), names[i]


def test_model_of_two_stars_fits_the_spectrum(emulator, doubles):
    _, model = AbundanceRegressor(emulator, observation()).measure(
        doubles, return_model=True
    )
    off = (model - doubles.flux) * SNR
    assert np.nanstd(off) < 1.1


def test_second_star_goes_with_continuum_clipping_and_stages(emulator, doubles):
    grid = emulator.wavelength_
    stage = Telluric(grid, np.ones(len(grid)), medium=emulator.medium_)
    chosen = observation(continuum_degree=1, clip=6.0, stages=[stage])
    found = AbundanceRegressor(
        emulator, chosen, fixed={"telluric_velocity": 0.0}
    ).measure(doubles.replace(flux=3 * doubles.flux, ivar=doubles.ivar / 9))
    assert (found["n_stars"] == 2).all()
    off = np.abs(found["radial_velocity_2"].value - VELOCITIES[:, 1])
    assert (off < 5 * found["radial_velocity_2_error"].value).all()


@pytest.mark.parametrize(
    ("second", "options", "message"),
    [
        (SecondStar(shape="grey"), {}, "`shape` of a second star must be"),
        (SecondStar(flux_ratio=(1, 0.5)), {}, "`flux_ratio` of a second star must be"),
        (SecondStar(own_labels=["logz"]), {}, "`own_labels` .* got 'logz'"),
        (SecondStar(own_labels="teff"), {}, "must be 'all' or a list"),
        (SecondStar(velocity_range=(5, 1)), {}, "`velocity_range` of a second star"),
        (
            SecondStar(own_labels=["Fe_H"], shape="blackbody"),
            {},
            "must not be 'blackbody'",
        ),
        (SecondStar(), {"velocity_range": None}, "must not be None with a second star"),
    ],
)
def test_wrong_arguments_are_named(emulator, doubles, second, options, message):
    chosen = observation(second).set_params(**options)
    with pytest.raises(ValueError, match=message):
        AbundanceRegressor(emulator, chosen).measure(doubles)


@pytest.mark.parametrize("method", ["limits", "posterior"])
def test_what_knows_single_stars_only_refuses_two(emulator, doubles, method):
    regressor = AbundanceRegressor(emulator, observation())
    with pytest.raises(ValueError, match=f"must be None for `{method}`"):
        getattr(regressor, method)(doubles)


def test_means_of_two_stars_are_refused(emulator, doubles):
    regressor = AbundanceRegressor(emulator, observation(), estimate="mean")
    with pytest.raises(ValueError, match="`estimate` must be 'mode' with a second"):
        regressor.measure(doubles)
