"""Tests of what pixels see, against integrals that are known in closed form."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
import torch
from astropy import units as u
from regressors import make_regressor, model_of
from scipy.special import erf
from specutils import Spectrum

from sk_payne import AbundanceRegressor, Observation
from sk_payne.abundances._fitted_emulator import as_fitted_emulator
from sk_payne.abundances._instrument import Instrument
from sk_payne.abundances._sampling import Sampling
from sk_payne.exceptions import ResolutionWarning
from sk_payne.spectra import C_KMS, SpectrumSet, as_spectra, doppler_factor
from sk_payne.spectra import velocity_sigma as sigma_of

STEP = 3.0  # km/s between wavelengths of the model
LINES = np.array([4504.0, 4504.3, 4507.1, 4509.9])
DEPTHS = np.array([0.5, 0.3, 0.8, 0.6])
WIDTH = 1.3 * STEP  # standard deviation of the lines, as narrow as a grid can hold


def spectrum(wavelength, sigma=0.0, half=None):
    """Gaussian lines, smeared by a Gaussian and averaged over +-half, all in km/s."""
    distance = C_KMS * np.log(wavelength[..., None] / LINES)
    width = np.sqrt(WIDTH**2 + np.asarray(sigma)[..., None] ** 2)
    if half is None:
        profile = np.exp(-((distance / width) ** 2) / 2)
    else:
        half = np.broadcast_to(half, wavelength.shape)[..., None]
        up, down = ((distance + s * half) / (width * np.sqrt(2)) for s in (1, -1))
        profile = np.sqrt(np.pi / 2) * width / (2 * half) * (erf(up) - erf(down))
        profile = profile * np.ones_like(width)
    # what smears a line conserves its area
    return 1 - (DEPTHS * WIDTH / width * profile).sum(-1)


def seen(sampling, n_stars, model=spectrum):
    """What pixels see of the lines, evaluated exactly at the points."""
    rows = torch.arange(n_stars)
    flux = torch.from_numpy(model(sampling.points(rows).numpy()))
    return sampling(torch.stack([flux, 1 - 2 * flux], 1), rows)


def sample(wavelength, **options):
    defaults = {"sigma": None, "integrate": False, "matrix": None, "arm": None}
    return Sampling.of(wavelength, step=STEP, **{**defaults, **options})


PIXELS = np.stack([np.linspace(4501, 4511, 301), np.linspace(4502, 4511.5, 301)])
HALF = C_KMS * np.diff(np.log(PIXELS), axis=1).mean(axis=1, keepdims=True) / 2

# Standard deviations in km/s over the pixels.
INSTRUMENTS = {
    "rising": np.linspace(4.0, 11.0, 301),
    "broad": np.linspace(20.0, 31.0, 301),
    "as narrow as the model": np.linspace(0.0, 2.5, 301),
    "from nothing to broad": np.linspace(0.0, 12.0, 301),
}


@pytest.mark.parametrize("integrate", [False, True])
@pytest.mark.parametrize("name", INSTRUMENTS)
def test_pixels_see_what_their_instrument_smears(name, integrate):
    sigma = np.stack([INSTRUMENTS[name], INSTRUMENTS[name][::-1]])
    found = seen(sample(PIXELS, sigma=sigma, integrate=integrate), 2)
    expected = spectrum(PIXELS, sigma, HALF if integrate else None)
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-4)
    np.testing.assert_allclose(found[:, 1], 1 - 2 * expected, atol=2e-4)


@pytest.mark.parametrize("n_pixels", [41, 101, 301])
def test_pixels_that_integrate_see_their_mean(n_pixels):
    wavelength = np.geomspace(4501, 4511, n_pixels)[None]
    half = C_KMS * np.log(wavelength[0, 1] / wavelength[0, 0]) / 2
    found = seen(sample(wavelength, integrate=True), 1)[:, 0]
    np.testing.assert_allclose(found, spectrum(wavelength, 0, half), atol=1e-4)


def test_nothing_to_do_is_no_sampling():
    assert sample(PIXELS) is None


def test_arms_that_overlap_do_not_see_each_other():
    wavelength = np.concatenate(
        [np.linspace(4501, 4508, 201), np.linspace(4503, 4511, 97)]
    )
    arm = np.repeat([0, 1], [201, 97])
    sigma = np.where(arm == 0, 5.0, 17.0)
    sampling = sample(wavelength[None], sigma=sigma[None], arm=arm[None])
    np.testing.assert_allclose(
        seen(sampling, 1)[0, 0], spectrum(wavelength, sigma), atol=1e-4
    )
    # points of the second arm have another model: no pixel of the first sees it
    rows = torch.arange(1)
    is_second = sampling.arms(rows).double()
    mixed = sampling(is_second[:, None], rows)[0, 0].numpy()
    np.testing.assert_allclose(mixed, arm, atol=1e-12)


def test_resolution_matrix_is_that_of_scipy():
    rng = np.random.default_rng(0)
    diagonals = rng.uniform(0, 1, (5, 301))
    offsets = range(2, -3, -1)
    matrix = scipy.sparse.dia_array((diagonals, offsets), shape=(301, 301))
    star = Spectrum(
        flux=np.ones(301) * u.one,
        spectral_axis=PIXELS[0] * u.AA,
        meta={"medium": "air", "resolution_matrix": diagonals},
    )
    rows = as_spectra([star], snr=1).resolution_matrix
    sampling = sample(PIXELS[:1], matrix=rows)
    found = seen(sampling, 1)[0, 0].numpy()
    np.testing.assert_allclose(found, matrix @ spectrum(PIXELS[0]), rtol=1e-12)
    # a spectrum that runs backwards is turned round, and so is its matrix
    backwards = Spectrum(
        flux=np.ones(301) * u.one,
        spectral_axis=PIXELS[0, ::-1] * u.AA,
        meta={
            "medium": "air",
            # diagonal k of the matrix that is turned is the last but k, turned
            "resolution_matrix": _turned(matrix, 5),
        },
    )
    turned = as_spectra([backwards], snr=1).resolution_matrix
    np.testing.assert_allclose(turned, rows, rtol=1e-12)


def _turned(matrix, n_diagonals):
    """Diagonals of a matrix with both axes turned round, as DESI writes them."""
    dense = matrix.toarray()[::-1, ::-1]
    half = n_diagonals // 2
    diagonals = np.zeros((n_diagonals, len(dense)))
    for k in range(n_diagonals):
        for column in range(len(dense)):
            row = column + k - half
            if 0 <= row < len(dense):
                diagonals[k, column] = dense[row, column]
    return diagonals


def test_resolution_matrix_acts_on_pixels_that_integrate():
    matrix = np.zeros((1, 301, 3))
    matrix[:, :, 0], matrix[:, :, 1], matrix[:, :, 2] = 0.2, 0.5, 0.3
    found = seen(sample(PIXELS[:1], matrix=matrix, integrate=True), 1)[0, 0].numpy()
    mean = spectrum(PIXELS[0], 0, HALF[0])
    inner = 0.2 * mean[:-2] + 0.5 * mean[1:-1] + 0.3 * mean[2:]
    np.testing.assert_allclose(found[1:-1], inner, atol=1e-4)


def test_stars_that_are_observed_alike_share_one_sampling():
    sigma = np.broadcast_to(INSTRUMENTS["rising"], (5, 301))
    shared = Instrument(PIXELS[0], sigma, None, None, False, STEP)
    assert shared.is_shared
    assert shared.sampling(np.array([4])) is shared.sampling(np.array([0, 2]))
    each = Instrument(PIXELS, sigma[:2], None, None, False, STEP)
    assert not each.is_shared
    flux = seen(each.sampling(np.array([1])), 1)[0, 0]
    np.testing.assert_allclose(flux, spectrum(PIXELS[1], sigma[1]), atol=1e-4)


# Cost: each pixel has as many points and weights as it needs


def numbers(sigma, wavelength=None, **options):
    """Points, and numbers that are held, of one star at a pixel for each 3 km/s."""
    if wavelength is None:
        wavelength = np.geomspace(4501, 4541, len(sigma))
    sampling = sample(wavelength[None], sigma=sigma[None], **options)
    return sampling.points(torch.arange(1)).shape[1], sampling.n_numbers


@pytest.mark.parametrize("integrate", [False, True])
@pytest.mark.parametrize("sigma", [0.0, 0.7, np.nan, 2000.0])
def test_one_unlike_pixel_costs_no_more_than_itself(sigma, integrate):
    usual = np.linspace(9.0, 11.0, 901)
    one = usual.copy()
    one[400] = sigma
    points, held = numbers(usual, integrate=integrate)
    points_with_one, held_with_one = numbers(one, integrate=integrate)
    # own points are some 13 or, each 3 km/s, those of 10.6 standard deviations
    band = 10.6 * np.nan_to_num(sigma) / STEP
    assert points_with_one <= points + 4 * 13 + band
    assert held_with_one <= held + 2 * band + 1000


def test_one_unlike_pixel_changes_no_other():
    usual = INSTRUMENTS["rising"]
    for value in (0.0, 1.1, 700.0):
        sigma = usual.copy()
        sigma[150] = value
        found = seen(sample(PIXELS[:1], sigma=sigma[None]), 1)[0, 0]
        np.testing.assert_allclose(found, spectrum(PIXELS[0], sigma), atol=1e-4)


def test_unknown_width_is_that_of_the_model():
    sigma = INSTRUMENTS["rising"].copy()
    sigma[[0, 17, 300]] = np.nan
    found = seen(sample(PIXELS[:1], sigma=sigma[None]), 1)[0, 0]
    expected = spectrum(PIXELS[0], np.nan_to_num(sigma))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_gap_costs_nothing():
    sigma = np.full(901, 9.0)
    whole = np.geomspace(4501, 4541, 901)
    gap = np.where(np.arange(901) < 430, whole, 2 * whole)
    for integrate in (False, True):
        points, held = numbers(sigma, whole, integrate=integrate)
        points_with_gap, held_with_gap = numbers(sigma, gap, integrate=integrate)
        assert points_with_gap < points + 40
        assert held_with_gap < 1.5 * held


@pytest.mark.parametrize("ratio", [0.3, 1.0, 4.0, 50.0])
def test_memory_is_bounded_by_what_bands_need(ratio):
    """For pixels of any size and any mixture of instruments."""
    rng = np.random.default_rng(1)
    wavelength = 4501 * np.exp(ratio * STEP / C_KMS * np.arange(701))
    sigma = STEP * np.exp(rng.uniform(-1, 5, 701))
    sampling = sample(wavelength[None], sigma=sigma[None])
    needed = 10.6 * sigma / STEP + 3
    points = sampling.points(torch.arange(1)).shape[1]
    assert points <= needed.clip(14).sum()
    assert sampling.n_numbers <= points + (6 * needed + 192).sum()


def test_wide_and_narrow_pixels_integrate_over_their_own_widths():
    """Steps that grow tenfold along the spectrum."""
    steps = np.geomspace(1.0, 10.0, 400)
    wavelength = 4501 * np.exp(np.cumsum(steps) / C_KMS)
    wavelength = wavelength[(wavelength > 4502) & (wavelength < 4511)]
    half = C_KMS * np.diff(np.log(wavelength)) / 2
    half = (np.r_[half[:1], half] + np.r_[half, half[-1:]]) / 2
    sampling = sample(wavelength[None], integrate=True)
    found = seen(sampling, 1)[0, 0]
    np.testing.assert_allclose(found, spectrum(wavelength, 0, half), atol=1e-4)


@pytest.mark.parametrize("sigma", [None, 7.0])
def test_pixels_beside_a_gap_are_as_wide_as_their_neighbours(sigma):
    keep = np.r_[0:100, 101:150, 171:301]  # one pixel is absent, and twenty
    wavelength, half = PIXELS[:1, keep], HALF[0]
    options = {} if sigma is None else {"sigma": np.full((1, len(keep)), sigma)}
    found = seen(sample(wavelength, integrate=True, **options), 1)[0, 0]
    expected = spectrum(wavelength[0], 0.0 if sigma is None else sigma, half)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def reach(wavelength, **options):
    defaults = {"sigma": None, "matrix": None, "arm": None, "integrate": False}
    instrument = Instrument(wavelength, step=STEP, **{**defaults, **options})
    return np.broadcast_to(instrument.reach_of(np.arange(1)), (1, len(wavelength)))[0]


def test_each_pixel_reaches_as_far_as_its_own_instrument():
    sigma = INSTRUMENTS["from nothing to broad"]
    found = reach(PIXELS[0], sigma=sigma[None])
    np.testing.assert_allclose(found, 5.3 * sigma)
    found = reach(PIXELS[0], sigma=sigma[None], integrate=True)
    np.testing.assert_allclose(found, 5.3 * sigma + HALF[0], rtol=3e-3)


def test_rows_of_a_matrix_reach_to_the_pixels_they_name():
    keep = np.r_[0:100, 130:301]
    wavelength = PIXELS[0, keep]
    matrix = np.zeros((1, len(keep), 5))
    matrix[:] = [0.05, 0.2, 0.5, 0.2, 0.05]
    matrix[0, 200:] = [0, 0.25, 0.5, 0.25, 0]
    found = reach(wavelength, matrix=matrix)
    pixel = 2 * HALF[0, 0]
    nowhere = found > 1e5
    # two pixels at both sides of the gap and at the beginning, one at the end
    assert np.flatnonzero(nowhere).tolist() == [0, 1, 98, 99, 100, 101, 270]
    np.testing.assert_allclose(found[2:98], 2 * pixel, rtol=2e-3)
    np.testing.assert_allclose(found[202:270], pixel, rtol=2e-3)
    both = reach(wavelength, matrix=matrix, integrate=True)
    np.testing.assert_allclose(both[2:98], 2.5 * pixel, rtol=2e-3)


def test_rows_of_a_matrix_may_be_cut_at_arms():
    arm = np.repeat([0, 1], [150, 151])
    matrix = np.zeros((1, 301, 3))
    matrix[:] = [0.25, 0.5, 0.25]
    found = reach(PIXELS[0], matrix=matrix, arm=arm)
    assert np.flatnonzero(found > 1e5).tolist() == [0, 149, 150, 300]
    matrix[0, [0, 150], 0] = matrix[0, [149, 300], 2] = 0
    assert reach(PIXELS[0], matrix=matrix, arm=arm).max() < 1e3


# In the model


@pytest.mark.parametrize("arch", ["payne", "transformer"])
def test_derivatives_with_arms_and_instrument_equal_differences(emulators, arch):
    inverted = as_fitted_emulator(emulators[arch])
    inverted = replace(inverted, single=inverted.source)  # double precision
    wavelength = np.concatenate(
        [np.linspace(4503, 4511, 61), np.linspace(4509, 4517, 47)]
    )
    arm = np.repeat([0, 1], [61, 47])
    sigma = np.where(arm == 0, 9.0, 14.0)
    instrument = Instrument(wavelength, sigma[None], None, arm, False, 5.0)
    model = model_of(
        inverted,
        torch.from_numpy(np.tile(wavelength, (2, 1))),
        with_velocity=True,
        sampling=instrument.sampling(np.arange(2)),
        arm=torch.from_numpy(np.tile(arm, (2, 1))),
        n_offsets=1,
    )
    parameters = torch.tensor(
        [[0.2, -0.3, 0.1, 2.0, 11.0], [-0.5, 0.4, 0.2, -3.0, -30.0]],
        dtype=torch.float64,
    )
    rows = torch.arange(2)
    found, jacobian = model.linearize(rows, parameters)
    torch.testing.assert_close(found, model.flux(rows, parameters))
    for i in range(5):
        step = 1e-4 * torch.eye(5, dtype=torch.float64)[i]
        ends = [model.flux(rows, parameters + s * step) for s in (1, -1)]
        expected = (ends[0] - ends[1]) / 2e-4
        torch.testing.assert_close(jacobian[:, i], expected, rtol=1e-4, atol=1e-7)
    # the first arm knows no offset
    assert not jacobian[:, 3, :61].any()
    assert jacobian[:, 3, 61:].any()


# In the regressor


def smeared(emulator, labels, wavelength, power, velocity):
    """Flux at pixels, each summed up over its own instrument by brute force."""
    sigma = sigma_of(power, emulator.resolving_power_)[:, None]
    x = np.linspace(-5, 5, 201)
    rest = wavelength[:, None] * np.exp(sigma * x / C_KMS) / doppler_factor(velocity)
    flux = emulator.predict(labels[None], wavelength=rest.ravel())[0].reshape(
        rest.shape
    )
    weight = np.exp(-(x**2) / 2)
    return flux @ (weight / weight.sum())


def observed(flux, wavelength, power=None, snr=200.0, seed=0):
    noise = np.random.default_rng(seed).normal(size=len(flux)) / snr
    meta = {"medium": "air"}
    if power is not None:
        meta["resolving_power"] = power
    return Spectrum(
        flux=(flux + noise) * u.one, spectral_axis=wavelength * u.AA, meta=meta
    )


@pytest.mark.parametrize("how", ["meta", "argument"])
def test_resolving_power_that_rises_with_wavelength_is_allowed_for(
    emulator, draw_labels, how
):
    own = emulator.resolving_power_
    wavelength = np.linspace(4503, 4517, 301)
    power = np.linspace(0.35, 0.8, 301) * own
    labels = draw_labels(3)
    stars = [
        observed(
            smeared(emulator, row, wavelength, power, 17.0),
            wavelength,
            power if how == "meta" else None,
            seed=i,
        )
        for i, row in enumerate(labels)
    ]
    regressor = AbundanceRegressor(
        emulator,
        Observation(
            emulator_error=False, resolving_power=power if how == "argument" else None
        ),
        snr=200.0,
    )
    table = regressor.measure(stars)
    assert (table["flags"] == 0).all()
    assert (table["chi2"] / table["dof"] < 1.4).all()
    for i, name in enumerate(emulator.label_names_):
        pull = (table[name].value - labels[:, i]) / table[f"{name}_error"].value
        assert (np.abs(pull) < 4).all()
    # and matters: one resolving power for all pixels is a bad fit
    constant = regressor.set_params(observation__resolving_power=0.55 * own).measure(
        stars
    )
    assert (constant["chi2"] > table["chi2"]).all()
    assert constant["chi2"].sum() > 1.5 * table["chi2"].sum()


@pytest.fixture(scope="module")
def two_arms(emulator, draw_labels):
    """Labels, and stars in two arms that overlap and differ in zero point by 2 km/s."""
    own = emulator.resolving_power_
    labels = draw_labels(4)
    stars = []
    for i, row in enumerate(labels):
        arms = []
        for wavelength, factor, offset in (
            (np.linspace(4502, 4511, 301), 0.9, 0.0),
            (np.linspace(4509, 4518, 151), 0.5, 2.0),
        ):
            power = np.full(len(wavelength), factor * own)
            flux = smeared(emulator, row, wavelength, power, 20.0 * i + offset)
            arms.append(
                observed(flux, wavelength, factor * own, seed=2 * i + len(arms))
            )
        stars.append(arms)
    return labels, stars


def test_arms_are_fitted_as_one_star_with_their_zero_points(emulator, two_arms):
    labels, stars = two_arms
    regressor = AbundanceRegressor(
        emulator, Observation(emulator_error=False, arm_offsets=(-10, 10)), snr=200.0
    )
    table = regressor.measure(stars)
    assert (table["flags"] == 0).all()
    assert (table["chi2"] / table["dof"] < 1.3).all()
    wanted = {
        **dict(zip(emulator.label_names_, labels.T, strict=True)),
        "radial_velocity": 20.0 * np.arange(4),
        "velocity_offset_1": np.full(4, 2.0),
    }
    for name, value in wanted.items():
        pull = (table[name].value - value) / table[f"{name}_error"].value
        assert (np.abs(pull) < 4).all(), name
    # both arms together know more than one of them
    alone = regressor.measure([arms[0] for arms in stars])
    assert "velocity_offset_1" not in alone.colnames
    assert (table["teff_error"] < alone["teff_error"]).all()
    # without the offset, the velocity is between those of the arms
    without = regressor.set_params(observation__arm_offsets=None).measure(stars)
    shift = without["radial_velocity"].value - 20.0 * np.arange(4)
    assert ((shift > 0) & (shift < 2)).all()
    assert (without["chi2"] > table["chi2"] + 9).all()


def test_arms_have_continua_of_their_own(emulator, two_arms):
    labels, stars = two_arms
    scaled = [
        [arm * (10.0 if i else 0.1) for i, arm in enumerate(arms)] for arms in stars
    ]
    for arms, originals in zip(scaled, stars, strict=True):
        for arm, original in zip(arms, originals, strict=True):
            arm.meta.update(original.meta)
    spectra = as_spectra(scaled, snr=1.0)
    ivar = np.where(spectra.arm == 0, 10.0, 0.1) ** 2 * 200.0**2
    spectra = spectra.replace(ivar=np.broadcast_to(ivar, spectra.shape))
    regressor = AbundanceRegressor(
        emulator,
        Observation(emulator_error=False, continuum_degree=1, arm_offsets=(-10, 10)),
    )
    table = regressor.measure(spectra)
    assert (table["flags"] == 0).all()
    for i, name in enumerate(emulator.label_names_):
        pull = (table[name].value - labels[:, i]) / table[f"{name}_error"].value
        assert (np.abs(pull) < 4).all()


def test_stars_with_one_and_with_two_arms_go_together(emulator, two_arms):
    _, stars = two_arms
    regressor = AbundanceRegressor(
        emulator, Observation(emulator_error=False), snr=200.0
    )
    mixed, error = regressor.predict(
        [stars[0], stars[1][0], [stars[2][1]]], return_std=True
    )
    alone = np.concatenate(
        [regressor.predict([star]) for star in (stars[0], stars[1][0], stars[2][1])]
    )
    # one resolving power alone is applied by Fourier transform, several by a matrix
    assert (np.abs(mixed - alone) < 3e-3 * error).all()


def test_wide_pixels_are_integrated_if_asked(emulator, draw_labels):
    wavelength = np.linspace(4503, 4517, 71)  # 13 km/s, as wide as the lines
    half = (wavelength[1] - wavelength[0]) / 2
    labels = draw_labels(3)
    x = np.linspace(-1, 1, 101)
    fine = (wavelength[:, None] + half * x).ravel()
    flux = emulator.predict(labels, wavelength=fine).reshape(3, 71, 101)
    flux = np.trapezoid(flux, x, axis=2) / 2
    stars = [
        observed(row, wavelength, emulator.resolving_power_, snr=1000, seed=i)
        for i, row in enumerate(flux)
    ]
    regressor = AbundanceRegressor(
        emulator, Observation(emulator_error=False, velocity_range=None), snr=1000
    )
    points = regressor.measure(stars)
    means = regressor.set_params(observation__integrate_pixels=True).measure(stars)
    assert (means["chi2"] / means["dof"] < 1.5).all()
    assert (points["chi2"] > 3 * means["chi2"]).all()
    for i, name in enumerate(emulator.label_names_):
        pull = (means[name].value - labels[:, i]) / means[f"{name}_error"].value
        assert (np.abs(pull) < 4).all()


def test_stated_resolving_power_needs_that_of_the_emulator(
    make_emulator, grid, observe
):
    emulator = make_emulator(resolving_power=None, max_steps=3)
    emulator.fit(grid.data, grid.target)
    star = observe(grid.data[0])
    star.meta["resolving_power"] = 1000.0
    with pytest.warns(UserWarning, match="state their resolving power, but the emul"):
        AbundanceRegressor(emulator).measure(star)


@pytest.mark.parametrize(
    ("arm_offsets", "message"),
    [
        ((1.0, 2.0), "with 0 between them, or None, or"),
        (3.0, "smallest and a largest velocity in km/s"),
        (("low", "high"), "smallest and a largest velocity in km/s"),
        ([(-1, 1), (1, 2)], "or a list of pairs"),
        ([], "or a list of pairs"),
    ],
)
def test_wrong_offsets_are_named(emulator, two_arms, arm_offsets, message):
    regressor = AbundanceRegressor(
        emulator, Observation(arm_offsets=arm_offsets), snr=200
    )
    with pytest.raises(ValueError, match=message):
        regressor.predict(two_arms[1])


def test_listed_offsets_are_there_whichever_arms_stars_have(emulator, two_arms):
    _, stars = two_arms
    single = stars[0][0]
    options = {"snr": 200.0, "emulator_error": False}
    regressor = make_regressor(
        emulator, Observation(arm_offsets=[(-10, 10)]), **options
    )
    expected = regressor.set_params(observation__arm_offsets=(-10, 10)).measure(
        stars[1:2]
    )
    regressor.set_params(observation__arm_offsets=[(-10, 10)])
    alone = make_regressor(emulator, **options).measure(single)
    for table in (regressor.measure(single), regressor.measure([single, stars[1]])):
        assert table.colnames == expected.colnames
        assert table["velocity_offset_1"][0] == 0
        assert np.isinf(table["velocity_offset_1_error"][0])
        # one resolving power alone is applied by Fourier transform, several by a matrix
        difference = table["teff"][0] - alone["teff"][0]
        assert abs(difference) < 3e-3 * alone["teff_error"][0]
    difference = table["velocity_offset_1"][1] - expected["velocity_offset_1"][0]
    assert abs(difference) < 1e-2 * expected["velocity_offset_1_error"][0]


def test_offset_of_an_arm_that_is_absent_is_no_fitted_parameter(emulator, two_arms):
    _, stars = two_arms
    regressor = make_regressor(
        emulator, arm_offsets=[(-10, 10)], continuum_degree=1, snr=200.0
    )
    table = regressor.measure([stars[0], stars[1][0], [stars[2][1]]])
    n_fitted = table["n_pixels"] - table["dof"] - 2 * table["n_segments"]
    # three labels and the velocity; both arms have their own continuum
    np.testing.assert_array_equal(n_fitted, [5, 4, 4])
    np.testing.assert_array_equal(table["n_segments"], [2, 1, 1])


def test_star_with_one_arm_may_be_fitted_again_without_those_with_two(
    emulator, two_arms, monkeypatch
):
    _, stars = two_arms
    regressor = AbundanceRegressor(
        emulator, Observation(emulator_error=False, arm_offsets=(-10, 10)), snr=200.0
    )
    expected = regressor.measure([stars[0][0], stars[1]])
    # batches of one star
    monkeypatch.setattr("sk_payne.abundances._measure._MEMORY", 1)
    table = regressor.measure([stars[0][0], stars[1]])
    difference = table["teff"] - expected["teff"]
    assert (np.abs(difference) < 1e-3 * expected["teff_error"]).all()


def test_too_few_offsets_are_an_error(emulator, two_arms):
    _, stars = two_arms
    regressor = AbundanceRegressor(
        emulator, Observation(arm_offsets=[(-1, 1)]), snr=200
    )
    three = [*stars[0], stars[0][1]]
    with pytest.raises(ValueError, match=r"for each of the 2 arms .* got 1 pairs\."):
        regressor.predict([three])


def test_offsets_need_a_velocity(emulator, two_arms):
    regressor = AbundanceRegressor(
        emulator, Observation(arm_offsets=(-1, 1), velocity_range=None), snr=200
    )
    with pytest.raises(ValueError, match="`velocity_range` must not be None with"):
        regressor.predict(two_arms[1])


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"resolving_power": np.ones(7)}, "one number, or one per pixel"),
        ({"resolving_power": -3.0}, "must be positive; got -3"),
        ({"resolution_matrix": np.ones((4, 301))}, "odd number of diagonals"),
        ({"resolution_matrix": np.ones(301)}, r"of shape \(n_diag, n_pixels\)"),
    ],
)
def test_wrong_resolution_of_a_spectrum_is_named(meta, message):
    star = observed(np.ones(301), PIXELS[0])
    star.meta.update(meta)
    with pytest.raises(ValueError, match=message):
        as_spectra([star], snr=1)


def test_sets_keep_arms_and_resolutions():
    flux = np.ones((2, 3))
    blue = SpectrumSet(flux, flux, wavelength=[1.0, 2.0, 3.0], resolving_power=5 * flux)
    red = SpectrumSet(
        flux, flux, wavelength=[2.5, 3.5, 4.5], resolution_matrix=np.ones((2, 3, 3))
    )
    both = SpectrumSet.join_arms([blue, red])
    assert both.arm.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(both.resolving_power[1], [5, 5, 5, *[np.nan] * 3])
    assert both.resolution_matrix[0].tolist() == [[0, 1, 0]] * 3 + [[1, 1, 1]] * 3
    one = both[1]
    assert one.shape == one.resolving_power.shape == (1, 6)
    joined = SpectrumSet.concatenate([both, blue])
    assert joined.arm.tolist() == [[0, 0, 0, 1, 1, 1]] * 2 + [[0] * 6] * 2
    assert np.isnan(joined.resolving_power[2:, 3:]).all()
    with pytest.raises(ValueError, match="`arm` must have the shape"):
        SpectrumSet(flux, flux, wavelength=[1.0, 2.0, 3.0], arm=[1, 0, 0])
    with pytest.raises(ValueError, match="increase strictly"):
        SpectrumSet(flux, flux, wavelength=[1.0, 3.0, 2.0], arm=[0, 0, 0])
    with pytest.raises(ValueError, match=r"`resolution_matrix` must have the shape"):
        SpectrumSet(flux, flux, resolution_matrix=np.ones((2, 3, 2)))


@pytest.mark.parametrize("prior", [None, 0.01])
def test_resolving_power_is_found_within_limits(emulator, draw_labels, prior):
    own = emulator.resolving_power_
    wavelength = np.linspace(4503, 4517, 301)
    labels, factor = draw_labels(3), np.array([0.3, 0.5, 0.8])
    stars = [
        observed(
            smeared(emulator, row, wavelength, np.full(301, f * own), 5.0),
            wavelength,
            seed=i,
        )
        for i, (row, f) in enumerate(zip(labels, factor, strict=True))
    ]
    regressor = AbundanceRegressor(
        emulator,
        Observation(emulator_error=False, resolving_power=(0.2 * own, own)),
        snr=200.0,
        priors=prior and {"resolving_power": (factor * own, prior * factor * own)},
    )
    table = regressor.measure(stars)
    assert table["resolving_power"].unit == ""
    error = table["resolving_power_error"].value
    assert (error < 0.2 * own).all()
    if prior:
        assert (error < 1.001 * prior * factor * own).all()
    assert (np.abs(table["resolving_power"].value - factor * own) < 4 * error).all()
    for i, name in enumerate(emulator.label_names_):
        pull = (table[name].value - labels[:, i]) / table[f"{name}_error"].value
        assert (np.abs(pull) < 4).all()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((9e3, 8e3), "smallest and a largest one"),
        ((8e3, 9e9), "must not be above that of the spectrum"),
    ],
)
def test_wrong_limits_of_the_resolving_power_are_named(
    emulator, draw_labels, limits, message
):
    with pytest.raises(ValueError, match=message):
        AbundanceRegressor(
            emulator, Observation(resolving_power=limits), snr=9
        ).predict(emulator.predict(draw_labels(1)))


@pytest.mark.parametrize("how", ["points", "integrate", "matrix", "resolving power"])
def test_gap_costs_the_pixels_beside_it_at_most(emulator, draw_labels, how):
    grid = emulator.wavelength_
    flux = emulator.predict(draw_labels(1))
    n_used = []
    for width in (0, 12, 60):
        keep = np.r_[0:100, 100 + width : 257]
        options = {}
        if how == "matrix":
            row = np.array([0.05, 0.2, 0.5, 0.2, 0.05])
            options["resolution_matrix"] = np.tile(row, (1, len(keep), 1))
        if how == "resolving power":
            power = np.linspace(14_000, 15_000, 257)[keep]
            power[20] = np.nan
            options["resolving_power"] = power[None]
        star = SpectrumSet(
            flux[:, keep],
            np.full((1, len(keep)), 1e4),
            wavelength=grid[keep],
            medium=emulator.medium_,
            **options,
        )
        regressor = AbundanceRegressor(
            emulator,
            Observation(
                velocity_range=(-30, 30),
                integrate_pixels=how == "integrate",
                resolving_power=None if options else "emulator",
            ),
        )
        with warnings.catch_warnings():
            # one pixel states no resolving power
            warnings.simplefilter("ignore", ResolutionWarning)
            n_used.append(regressor.measure(star)["n_pixels"][0] + width)
    beside = 4 if how == "matrix" else 0
    assert n_used[0] > 200
    assert n_used[1:] == [n_used[0] - beside] * 2
