"""PySME makes the spectra it made before, with what the labels say and nothing else.

It is here because a wrong abundance makes a spectrum as smooth as a right one.
"""

import pickle

import numpy as np
import pytest
from scipy.interpolate import make_interp_spline

from sk_payne.grids import (
    AtmosphereGrid,
    PySMEEngine,
    read_grid,
    read_line_list,
)
from sk_payne.grids._pysme_engine import _abundances

pysme = pytest.importorskip("pysme", reason="PySME is an extra, sk_payne[sme]")

WAVELENGTH = 4550 * np.exp(1e-5 * np.arange(300))
SUN = {"teff": 5777.0, "logg": 4.44, "Fe_H": 0.0}


@pytest.fixture(scope="module")
def lines(data_file):
    lines = read_line_list(data_file("line_list_4000_5000.csv.gz"), medium="air")
    # what the shared grid was made with
    near = abs(lines["wavelength"].value - 4550) <= 58
    return lines[near | (lines["species"] == "H 1")]


@pytest.fixture(scope="module")
def models(data_file):
    with np.load(data_file("atlas9_k2.npz")) as archive:
        return [archive[n] for n in ("metallicity", "log_g", "teff", "layers")]


@pytest.fixture(scope="module")
def atmospheres(models):
    return AtmosphereGrid(*models)


@pytest.fixture(scope="module")
def engine(lines, atmospheres):
    return PySMEEngine(lines, atmospheres, medium="air", resolving_power=50_000)


def test_spectra_made_elsewhere_with_pysme_are_made_again(lines, models, data_file):
    *nodes, layers = models
    depths = make_interp_spline(np.arange(72), np.log(layers), k=3, axis=3)
    engine = PySMEEngine(
        lines[lines["species"] != "H 1"],
        AtmosphereGrid(*nodes, np.exp(depths(np.linspace(4, 66, 52)))),
        medium="air",
        resolving_power=50_000 * 299_792.458 / 300_000,
        step=5e-6,
    )
    grid = read_grid(data_file("window_training.npz"))
    star = dict(zip(grid.label_names, grid.data[1], strict=True))
    flux, expected = engine(star, grid.wavelength), grid.target[1]
    np.testing.assert_allclose(flux, expected, rtol=0, atol=2e-6)
    assert expected.std() > 0.05


def test_flux_does_not_depend_on_where_the_computed_steps_fall(engine):
    flux = engine(SUN, WAVELENGTH)
    # the same wavelengths, from computed ones that are half a step aside
    shifted = engine(SUN, np.insert(WAVELENGTH, 0, WAVELENGTH[0] * np.exp(-1e-6)))
    assert abs(shifted[1:] - flux).max() < 2e-4


def test_elements_are_those_of_the_labels_and_others_follow_iron():
    solar = _abundances({"Fe_H": 0.0})("H=12")
    changed = _abundances({"Fe_H": -1.0, "Mg_H": 0.5})("H=12")
    assert solar["Fe"] == pytest.approx(7.50)
    assert solar["Mg"] == pytest.approx(7.60)
    assert changed["Mg"] == pytest.approx(solar["Mg"] + 0.5)
    assert changed["Ni"] == pytest.approx(solar["Ni"] - 1)
    assert changed["H"] == 12
    assert changed["He"] == pytest.approx(solar["He"])


@pytest.mark.parametrize("helium", [0.0, 0.0784, 0.1568])
def test_helium_is_its_part_of_all_atoms(helium):
    star = {"Fe_H": 0.5, "N_He/N_tot": helium}
    assert _abundances(star)("n/nTot")["He"] == pytest.approx(helium)


def test_iron_deepens_lines_of_iron_and_helium_broadens_nothing_much(engine):
    flux = engine(SUN, WAVELENGTH)
    assert 0 < flux.min() < 0.5 < flux.max() <= 1.001
    richer = engine(SUN | {"Fe_H": 0.4}, WAVELENGTH)
    assert richer.mean() < flux.mean() - 0.01
    helium = engine(SUN | {"N_He/N_tot": 0.15}, WAVELENGTH)
    assert 1e-5 < abs(helium - flux).max() < 0.05


def test_engines_of_one_process_do_not_take_the_lines_of_each_other(
    engine, lines, atmospheres
):
    flux = engine(SUN, WAVELENGTH)
    other = PySMEEngine(lines[lines["species"] == "Fe 1"], atmospheres, medium="air")
    assert other(SUN, WAVELENGTH).mean() > flux.mean() + 0.01
    np.testing.assert_array_equal(engine(SUN, WAVELENGTH), flux)
    again = pickle.loads(pickle.dumps(engine))
    np.testing.assert_array_equal(again(SUN, WAVELENGTH), flux)
    assert again.to_dict() == engine.to_dict() != other.to_dict()


def test_step_that_is_not_positive_is_an_error(lines, atmospheres):
    with pytest.raises(ValueError, match=r"`step` must be a positive .* got 0"):
        PySMEEngine(lines, atmospheres, medium="air", step=0)


def test_label_that_is_not_known_is_an_error(engine):
    with pytest.raises(ValueError, match=r"such as Fe_H; got \['Fe/H'\]"):
        engine(SUN | {"Fe/H": 0.0}, WAVELENGTH)
