"""Files of surveys, built here by their published layouts, come in with nothing lost.

An error that is read wrongly makes every later number wrong.
"""

import gzip
import warnings
from importlib.resources import files

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance, StdDevUncertainty
from astropy.utils.exceptions import AstropyUserWarning
from scipy.optimize import curve_fit
from scipy.sparse import dia_array
from specutils import Spectrum, SpectrumList

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra import as_spectra, doppler_factor, read_spectra

N_PIXELS = 31
CGS = u.Unit("1e-17 erg / (s cm2 Angstrom)")


def random(seed, *shape, dtype=np.float32):
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape).astype(dtype)


def write(folder, hdus, name="spectrum.fits"):
    """Write HDUs, of which None stand for those that are missing."""
    fits.HDUList([hdu for hdu in hdus if hdu is not None]).writeto(folder / name)
    return folder / name


def image(data, keywords=(), name=None, kind=fits.ImageHDU):
    hdu = kind(data)
    hdu.header.update(dict(keywords))
    if name is not None:
        hdu.name = name
    return hdu


# Builders: each writes a good file, with changes -----------------------------------

APOGEE_GRID = {"CRVAL1": 4.179, "CDELT1": 6e-6, "CRPIX1": 1, "CTYPE1": "LOG-LINEAR"}


def write_apstar(
    folder, *, shape=(5, N_PIXELS), grid=APOGEE_GRID, header=(), **changes
):
    primary = fits.PrimaryHDU()
    primary.header.update(dict(header))
    primary.header["OBJID"] = "2M00005414+5522241"
    primary.header["SFILE1"] = "apVisit-r12-5094-55874-123.fits"
    primary.header["HISTORY"] = "APOGEE APSTAR"
    data = {
        "flux": random(1, *shape),
        "error": random(2, *shape),
        "bitmask": np.zeros(shape, np.int16),
    } | changes
    hdus = [None if v is None else image(v, grid) for v in data.values()]
    return write(folder, [primary, *hdus])


def write_aspcapstar(folder, *, shape=(N_PIXELS,), **changes):
    data = {f: random(i, *shape) for i, f in enumerate(("flux", "error", "model"))}
    data |= changes
    hdus = [None if v is None else image(v, APOGEE_GRID) for v in data.values()]
    columns = [fits.Column("APOGEE_ID", "18A", array=["2M00005414+5522241"])]
    table = fits.BinTableHDU.from_columns(columns)
    return write(folder, [fits.PrimaryHDU(), *hdus, table])


GALAH_GRID = {"CRVAL1": 4713.0, "CDELT1": 0.046, "CRPIX1": 1}
GALAH_NAMES = ("input_sigma", "no_sky_spectrum", "no_sky_sigma", "normalised_spectrum")


def write_galah(folder, *, grid=GALAH_GRID, n_hdus=5, **changes):
    data = {f"hdu{i}": random(i, N_PIXELS) for i in range(n_hdus)} | changes
    header = {**grid, "ORIGIN": "GALAH", "OBJECT": "170418003701205", "BARYEFF": -0.5}
    primary = image(data.pop("hdu0"), header, kind=fits.PrimaryHDU)
    hdus = [
        None if values is None else image(values, grid, name)
        for values, name in zip(data.values(), GALAH_NAMES, strict=False)
    ]
    return write(folder, [primary, *hdus])


def one_row(columns, hdu_name, header, n_rows=1, **keywords):
    """Primary HDU and a table of `n_rows` times {name: (values, unit)}."""
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(
                column,
                f"{len(values)}{'J' if values.dtype.kind == 'i' else 'D'}",
                unit=unit,
                array=[values] * n_rows,
            )
            for column, (values, unit) in columns.items()
            if values is not None
        ],
        name=hdu_name,
    )
    table.header.update(keywords)
    primary = fits.PrimaryHDU()
    primary.header.update(header)
    return [primary, table]


ESO_HEADER = {
    "PRODCATG": "SCIENCE.SPECTRUM",
    "OBJECT": "HD 1",
    "SPECSYS": "BARYCENT",
    "FLUXCAL": "UNCALIBRATED",
    "CONTNORM": False,
    "SPEC_RES": 115000.0,
}
AIR_UCD = "em.wl;obs.atmos"


def write_eso(folder, *, header=ESO_HEADER, ucd=AIR_UCD, n_rows=1, **changes):
    columns = {
        "WAVE": (np.linspace(500.0, 500.3, N_PIXELS), "nm"),
        "FLUX": (random(1, N_PIXELS), "adu"),
        "ERR": (random(2, N_PIXELS), "adu"),
        "QUAL": (np.zeros(N_PIXELS, np.int32), None),
    } | changes
    columns = {name: value for name, value in columns.items() if value is not None}
    keywords = {} if ucd is None else {"TUCD1": ucd}
    return write(folder, one_row(columns, "SPECTRUM", header, n_rows, **keywords))


PER_ANGSTROM = "erg/(s*cm^2*Angstrom)"


def write_4most(folder, *, ucd="em.wl", name="PHASE3SPECTRUM", **changes):
    columns = {
        "WAVE": (np.linspace(5000.0, 5007.5, N_PIXELS), "Angstrom"),
        "FLUX": (3e-17 * random(1, N_PIXELS), PER_ANGSTROM),
        "ERR_FLUX": (1e-17 * random(2, N_PIXELS), PER_ANGSTROM),
        "QUAL": (np.zeros(N_PIXELS, np.int32), None),
    } | changes
    columns = {name: value for name, value in columns.items() if value is not None}
    keywords = {} if ucd is None else {"TUCD1": ucd}
    header = {"INSTRUME": "QMOST", "OBJ_NME": "star 7"}
    return write(folder, one_row(columns, name, header, **keywords))


TARGETS = (39633297352951412, 39633300968442591, 39633297352951412)


def gaussian_matrix(n_targets, n_pixels, sigma=1.1, reach=5):
    distance = np.arange(-reach, reach + 1)
    profile = np.exp(-0.5 * (distance / sigma) ** 2)
    profile /= profile.sum()
    shape = (n_targets, 2 * reach + 1, n_pixels)
    return np.broadcast_to(profile[:, None], shape).astype(np.float32)


def write_desi(folder, *, targets=TARGETS, arms="BRZ", **changes):
    n = len(targets)
    column = fits.Column("TARGETID", "K", array=np.array(targets, np.int64))
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column], name="FIBERMAP")]
    for i, arm in enumerate(arms):
        n_pixels = N_PIXELS + 2 * i
        start = {"B": 3600.0, "R": 5760.0, "Z": 7520.0}[arm]
        data = {
            f"{arm}_WAVELENGTH": start + 0.8 * np.arange(n_pixels),
            f"{arm}_FLUX": random(i, n, n_pixels),
            f"{arm}_IVAR": random(i + 10, n, n_pixels),
            f"{arm}_MASK": np.zeros((n, n_pixels), np.int32),
            f"{arm}_RESOLUTION": gaussian_matrix(n, n_pixels),
        }
        data |= {name: v for name, v in changes.items() if name in data}
        for name, values in data.items():
            if values is not None:
                hdus.append(image(values, name=name))
                if name.endswith("FLUX"):
                    hdus[-1].header["BUNIT"] = "10**-17 erg/(s cm2 Angstrom)"
    return write(folder, hdus)


BUILDERS = {
    "apogee-apstar": write_apstar,
    "apogee-aspcapstar": write_aspcapstar,
    "galah-dr3": write_galah,
    "4most-l1": write_4most,
    "eso-sdp": write_eso,
    "desi": lambda folder: write_desi(folder, targets=TARGETS[:1]),
}


# All formats -----------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILDERS)
def test_every_format_is_recognised_by_content_alone(tmp_path, name):
    path = BUILDERS[name](tmp_path).rename(tmp_path / "no_suffix")
    found = read_spectra(path)
    for spectrum in found if isinstance(found, SpectrumList) else [found]:
        assert spectrum.meta["format"] == name
        assert spectrum.meta["header"]["SIMPLE"]
        assert {"medium", "frame", "object", "resolving_power"} <= set(spectrum.meta)


@pytest.mark.parametrize("name", BUILDERS)
def test_every_format_goes_straight_through_as_spectra(tmp_path, name):
    found = read_spectra(BUILDERS[name](tmp_path))
    spectra = as_spectra(found)
    first = found[0] if isinstance(found, SpectrumList) else found
    n = len(first.flux)
    np.testing.assert_array_equal(spectra.flux[0, :n], first.flux.value)
    sigma = first.uncertainty.represent_as(StdDevUncertainty).array
    np.testing.assert_allclose(spectra.ivar[0, :n], sigma**-2.0, rtol=1e-12)
    assert spectra.medium == first.meta["medium"]


@pytest.mark.parametrize("name", BUILDERS)
def test_spectra_outlive_the_file(tmp_path, name):
    path = BUILDERS[name](tmp_path)
    found = read_spectra(path)
    path.unlink()
    first = found[0] if isinstance(found, SpectrumList) else found
    assert np.isfinite(first.flux.value.sum())
    assert first.flux.dtype.isnative


def test_compressed_file_is_read(tmp_path):
    path = write_apstar(tmp_path)
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_spectra(packed).flux, read_spectra(path).flux)


@pytest.mark.parametrize("name", BUILDERS)
def test_truncated_file_is_said_to_be_truncated(tmp_path, name):
    path = BUILDERS[name](tmp_path)
    with fits.open(path) as hdus:
        first = hdus[0 if name == "galah-dr3" else 1].fileinfo()["datLoc"]
    path.write_bytes(path.read_bytes()[: first + 4])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        with pytest.raises(FileFormatError, match=r"spectrum.fits'.*HDU"):
            read_spectra(path, name)


# APOGEE ----------------------------------------------------------------------------


def test_apstar_holds_flux_errors_bitmask_and_grid(tmp_path):
    spectrum = read_spectra(write_apstar(tmp_path))
    assert spectrum.flux.unit == CGS
    np.testing.assert_array_equal(spectrum.flux.value, random(1, 5, N_PIXELS)[0])
    np.testing.assert_array_equal(spectrum.uncertainty.array, random(2, 5, N_PIXELS)[0])
    grid = 10 ** (4.179 + 6e-6 * np.arange(N_PIXELS))
    np.testing.assert_allclose(spectrum.wavelength.value, grid, rtol=1e-14)
    assert spectrum.wavelength[0].to_value(u.AA) == pytest.approx(15100.802, abs=1e-3)
    assert not spectrum.mask.any()
    meta = spectrum.meta
    assert (meta["medium"], meta["frame"]) == ("vacuum", "rest")
    assert meta["object"] == "2M00005414+5522241"
    assert meta["resolving_power"] == 22500


def test_apstar_agrees_with_specutils(tmp_path):
    path = write_apstar(tmp_path)
    theirs = Spectrum.read(path, format="APOGEE apStar")
    ours = read_spectra(path)
    np.testing.assert_allclose(ours.wavelength, theirs.wavelength, rtol=1e-14)
    np.testing.assert_array_equal(ours.flux.value, theirs.flux.value)
    np.testing.assert_array_equal(ours.uncertainty.array, theirs.uncertainty.array)


@pytest.mark.parametrize("bit", range(15))
def test_bits_of_apogee_mask_as_the_survey_says(tmp_path, bit):
    bitmask = np.zeros((5, N_PIXELS), np.int16)
    bitmask[0, 3] = 1 << bit
    spectrum = read_spectra(write_apstar(tmp_path, bitmask=bitmask))
    assert spectrum.mask[3] == (bit < 8 or bit == 14)
    assert spectrum.mask.sum() == spectrum.mask[3]
    assert spectrum.meta["bitmask"][3] == 1 << bit
    assert spectrum.meta["bitmask"].dtype == np.int64


def test_rows_of_apstar_are_chosen(tmp_path):
    path = write_apstar(tmp_path)
    flux = random(1, 5, N_PIXELS)
    np.testing.assert_array_equal(read_spectra(path, row=3).flux.value, flux[3])
    visits = read_spectra(path, row=range(2, 5))
    assert isinstance(visits, SpectrumList)
    np.testing.assert_array_equal([v.flux.value for v in visits], flux[2:])
    assert {v.meta["format"] for v in visits} == {"apogee-apstar"}


def test_apstar_of_one_visit_has_one_row(tmp_path):
    path = write_apstar(tmp_path, shape=(N_PIXELS,))
    spectrum = read_spectra(path)
    np.testing.assert_array_equal(spectrum.flux.value, random(1, N_PIXELS))
    with pytest.raises(ValueError, match="`row` must be an int from 0 to 0"):
        read_spectra(path, row=1)


@pytest.mark.parametrize("row", [5, -1, 1.0, "first"])
def test_row_that_is_not_there_is_refused(tmp_path, row):
    with pytest.raises(ValueError, match=r"`row` must be an int from 0 to 4.*; got"):
        read_spectra(write_apstar(tmp_path), row=row)


def test_pixels_of_apogee_without_an_error_are_masked(tmp_path):
    error = random(2, 5, N_PIXELS)
    error[0, :3] = 0, np.nan, np.inf
    flux = random(1, 5, N_PIXELS)
    flux[0, 3] = np.nan
    spectrum = read_spectra(write_apstar(tmp_path, error=error, flux=flux))
    np.testing.assert_array_equal(np.flatnonzero(spectrum.mask), [0, 1, 2, 3])
    assert (as_spectra(spectrum).ivar[0] == 0).sum() == 4


def test_aspcapstar_holds_normalised_flux_and_model(tmp_path):
    spectrum = read_spectra(write_aspcapstar(tmp_path))
    assert spectrum.flux.unit == u.dimensionless_unscaled
    np.testing.assert_array_equal(spectrum.flux.value, random(0, N_PIXELS))
    np.testing.assert_array_equal(spectrum.uncertainty.array, random(1, N_PIXELS))
    np.testing.assert_array_equal(spectrum.meta["model"], random(2, N_PIXELS))
    assert spectrum.meta["object"] == "2M00005414+5522241"
    assert "bitmask" not in spectrum.meta


def without(grid, name):
    return {key: value for key, value in grid.items() if key != name}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bitmask": None}, r"as 'apogee-apstar': It has no HDU 3, but 0 PRIMARY"),
        ({"error": np.ones((5, 7))}, r"HDU 2 must have the shape of the flux, \(5, 31"),
        ({"grid": without(APOGEE_GRID, "CDELT1")}, "a number for the keyword CDELT1"),
        ({"flux": np.ones((2, 5, 31))}, "HDU 1 must have 1 or 2 dimensions"),
        ({"bitmask": np.ones((5, N_PIXELS))}, "must hold a bitmask of integers"),
    ],
)
def test_apstar_with_a_fault_is_told_which(tmp_path, changes, message):
    with pytest.raises(FileFormatError, match=message):
        read_spectra(write_apstar(tmp_path, **changes), "apogee-apstar")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"error": np.ones(7)}, "HDU 2 must have the shape of the flux"),
        ({"model": None}, r"HDU 3 must be an image, and is a table"),
        ({"flux": np.ones((2, N_PIXELS))}, "HDU 1 must have 1 dimensions"),
    ],
)
def test_aspcapstar_with_a_fault_is_told_which(tmp_path, changes, message):
    with pytest.raises(FileFormatError, match=message):
        read_spectra(write_aspcapstar(tmp_path, **changes), "apogee-aspcapstar")


VELOCITIES = {"VHELIO": 20.5, "VHELIO1": 19.5, "BC1": -24.0, "VHELIO2": 21.5}


@pytest.mark.parametrize(
    ("shape", "row", "velocity", "correction"),
    [
        ((5, N_PIXELS), 0, 20.5, None),
        ((5, N_PIXELS), 1, 20.5, None),
        ((5, N_PIXELS), 2, 19.5, -24.0),
        ((5, N_PIXELS), 3, 21.5, None),
        ((5, N_PIXELS), 4, None, None),
        ((N_PIXELS,), 0, 19.5, -24.0),
    ],
)
def test_apstar_keeps_the_velocity_by_which_it_was_shifted_to_rest(
    tmp_path, shape, row, velocity, correction
):
    path = write_apstar(tmp_path, shape=shape, header=VELOCITIES)
    meta = read_spectra(path, row=row).meta
    assert meta["frame"] == "rest"
    assert meta["velocity"] == velocity
    assert meta["barycentric_correction"] == correction


def test_velocity_that_apogee_calls_barycentric_is_preferred(tmp_path):
    header = VELOCITIES | {"VHBARY": 20.25}
    meta = read_spectra(write_apstar(tmp_path, header=header)).meta
    assert meta["velocity"] == 20.25


# GALAH -----------------------------------------------------------------------------


def test_errors_of_galah_are_relative(tmp_path):
    spectrum = read_spectra(write_galah(tmp_path))
    flux, relative = random(0, N_PIXELS), random(1, N_PIXELS)
    np.testing.assert_array_equal(spectrum.flux.value, flux)
    np.testing.assert_allclose(
        spectrum.uncertainty.array, flux.astype(float) * relative, rtol=1e-15
    )
    assert spectrum.flux.unit == u.count
    grid = 4713.0 + 0.046 * np.arange(N_PIXELS)
    np.testing.assert_allclose(spectrum.wavelength.value, grid, rtol=1e-15)
    meta = spectrum.meta
    assert (meta["medium"], meta["frame"]) == ("air", "barycentric")
    assert (meta["object"], meta["resolving_power"]) == ("170418003701205", 28000)
    assert (meta["barycentric_correction"], meta["velocity"]) == (-0.5, None)


def test_flux_that_galah_normalised_has_the_same_relative_error(tmp_path):
    spectrum = read_spectra(write_galah(tmp_path), normalized=True)
    flux, relative = random(4, N_PIXELS), random(1, N_PIXELS)
    np.testing.assert_array_equal(spectrum.flux.value, flux)
    np.testing.assert_allclose(
        spectrum.uncertainty.array, flux.astype(float) * relative, rtol=1e-15
    )
    assert spectrum.flux.unit == u.dimensionless_unscaled


def test_flux_that_galah_normalised_is_at_rest(tmp_path):
    path = write_galah(tmp_path)
    velocity = 63.149
    with fits.open(path, mode="update") as hdus:
        for name in ("CRVAL1", "CDELT1"):
            hdus[4].header[name] /= doppler_factor(velocity)
    meta = read_spectra(path, normalized=True).meta
    assert (meta["frame"], meta["barycentric_correction"]) == ("rest", -0.5)
    assert meta["velocity"] == pytest.approx(velocity, abs=1e-6)
    assert read_spectra(path).meta["frame"] == "barycentric"
    with fits.open(path, mode="update") as hdus:
        hdus[4].header["CDELT1"] *= 1.01
    assert read_spectra(path, normalized=True).meta["velocity"] is None


def test_negative_flux_of_galah_has_a_positive_error(tmp_path):
    flux = random(0, N_PIXELS)
    flux[4] = -0.25
    spectrum = read_spectra(write_galah(tmp_path, hdu0=flux))
    assert spectrum.uncertainty.array[4] == 0.25 * random(1, N_PIXELS)[4]
    assert not spectrum.mask[4]


def test_flux_and_wavelengths_of_galah_agree_with_specutils(tmp_path):
    path = write_galah(tmp_path)
    normalised, reduced, _ = SpectrumList.read(path, format="GALAH")
    for theirs, ours in (
        (reduced, read_spectra(path)),
        (normalised, read_spectra(path, normalized=True)),
    ):
        np.testing.assert_allclose(ours.wavelength, theirs.wavelength, rtol=1e-15)
        np.testing.assert_array_equal(ours.flux.value, theirs.flux.value)
        assert ours.flux.unit == theirs.flux.unit


def test_reference_pixel_of_zero_means_the_first(tmp_path):
    spectrum = read_spectra(write_galah(tmp_path, grid={**GALAH_GRID, "CRPIX1": 0}))
    assert spectrum.wavelength[0].to_value(u.AA) == 4713.0


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        (
            {"n_hdus": 4},
            {"normalized": True},
            "no HDU whose name starts with 'normalised'",
        ),
        ({"hdu1": np.ones(7)}, {}, "HDU 1 must have the shape of the flux"),
        (
            {"grid": without(GALAH_GRID, "CRVAL1")},
            {},
            "a number for the keyword CRVAL1",
        ),
        ({"grid": {**GALAH_GRID, "CDELT1": 0.0}}, {}, "strictly increasing"),
    ],
)
def test_galah_with_a_fault_is_told_which(tmp_path, changes, options, message):
    with pytest.raises(FileFormatError, match=f"as 'galah-dr3': .*{message}"):
        read_spectra(write_galah(tmp_path, **changes), **options)


# ESO -------------------------------------------------------------------------------


def test_eso_holds_one_row_of_vectors(tmp_path):
    spectrum = read_spectra(write_eso(tmp_path))
    np.testing.assert_array_equal(spectrum.flux.value, random(1, N_PIXELS))
    np.testing.assert_array_equal(spectrum.uncertainty.array, random(2, N_PIXELS))
    grid = np.linspace(5000, 5003, N_PIXELS)
    np.testing.assert_allclose(spectrum.wavelength.value, grid, rtol=1e-14)
    assert spectrum.flux.unit == u.adu
    meta = spectrum.meta
    assert (meta["medium"], meta["frame"]) == ("air", "barycentric")
    assert (meta["object"], meta["resolving_power"]) == ("HD 1", 115000.0)
    assert (meta["flux_calibration"], meta["normalized"]) == ("UNCALIBRATED", False)


@pytest.mark.parametrize(
    ("word", "frame"),
    [
        ("BARYCENT", "barycentric"),
        ("HELIOCEN", "heliocentric"),
        ("TOPOCENT", "topocentric"),
        ("LSRK", None),
    ],
)
def test_frame_of_eso_is_that_of_specsys(tmp_path, word, frame):
    path = write_eso(tmp_path, header={**ESO_HEADER, "SPECSYS": word})
    assert read_spectra(path).meta["frame"] == frame


@pytest.mark.parametrize("keyword", ["ESO QC VRAD BARYCOR", "ESO DRS BERV"])
def test_barycentric_correction_of_eso_is_kept(tmp_path, keyword):
    header = {**ESO_HEADER, "SPECSYS": "TOPOCENT", f"HIERARCH {keyword}": 1.066579}
    meta = read_spectra(write_eso(tmp_path, header=header)).meta
    assert (meta["frame"], meta["barycentric_correction"]) == ("topocentric", 1.066579)


@pytest.mark.parametrize(("ucd", "medium"), [(AIR_UCD, "air"), ("em.wl", "vacuum")])
def test_medium_of_eso_is_that_of_the_ucd(tmp_path, ucd, medium):
    path = write_eso(tmp_path, ucd=ucd)
    assert read_spectra(path).meta["medium"] == medium
    assert read_spectra(path, medium=medium).meta["medium"] == medium
    other = {"air": "vacuum", "vacuum": "air"}[medium]
    with pytest.raises(FileFormatError, match=f"are in {medium}, but `medium` is"):
        read_spectra(path, medium=other)


def test_medium_that_eso_does_not_state_is_asked_for(tmp_path):
    path = write_eso(tmp_path, ucd=None)
    with pytest.raises(FileFormatError, match=r"Pass medium='air' or medium='vacuum'"):
        read_spectra(path)
    assert read_spectra(path, medium="vacuum").meta["medium"] == "vacuum"


def test_quality_of_eso_masks_and_is_kept(tmp_path):
    quality = np.zeros(N_PIXELS, np.int32)
    quality[[2, 5]] = 1, 4
    spectrum = read_spectra(write_eso(tmp_path, QUAL=(quality, None)))
    np.testing.assert_array_equal(np.flatnonzero(spectrum.mask), [2, 5])
    np.testing.assert_array_equal(spectrum.meta["bitmask"], quality)


def test_quality_of_eso_may_be_absent(tmp_path):
    spectrum = read_spectra(write_eso(tmp_path, QUAL=None))
    assert not spectrum.mask.any()
    assert "bitmask" not in spectrum.meta


def test_errors_of_eso_that_are_all_nan_are_no_errors(tmp_path):
    nothing = (np.full(N_PIXELS, np.nan), "adu")
    spectrum = read_spectra(write_eso(tmp_path, ERR=nothing))
    assert spectrum.uncertainty is None
    assert not spectrum.mask.any()
    assert as_spectra(spectrum, snr=100).ivar.all()


def test_reduced_flux_of_eso_is_taken_with_its_own_error(tmp_path):
    flux, error = random(3, N_PIXELS), random(4, N_PIXELS)
    changes = {"FLUX_REDUCED": (flux, "adu"), "ERR_REDUCED": (error, "adu")}
    spectrum = read_spectra(write_eso(tmp_path, FLUX=None, **changes))
    np.testing.assert_array_equal(spectrum.flux.value, flux)
    np.testing.assert_array_equal(spectrum.uncertainty.array, error)


def test_reduced_flux_of_eso_has_a_quality_of_its_own(tmp_path):
    bits = (np.arange(N_PIXELS) == 3).astype(np.int32)
    changes = {
        "FLUX_REDUCED": (random(3, N_PIXELS), "adu"),
        "ERR_REDUCED": (random(4, N_PIXELS), "adu"),
        "QUAL_REDUCED": (bits, None),
    }
    spectrum = read_spectra(write_eso(tmp_path, FLUX=None, **changes))
    assert np.flatnonzero(spectrum.mask).tolist() == [3]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("ADU", u.adu),
        ("10**(-16)erg.cm**(-2).s**(-1).angstrom**(-1)", 10 * CGS),
        ("erg/s/cm2/Angstrom", 1e17 * CGS),
    ],
)
def test_units_as_surveys_write_them_are_understood(tmp_path, text, unit):
    spectrum = read_spectra(write_eso(tmp_path, FLUX=(random(1, N_PIXELS), text)))
    assert spectrum.flux.unit.to(unit) == pytest.approx(1)


def test_unit_that_nobody_understands_can_be_given(tmp_path):
    path = write_eso(tmp_path, FLUX=(random(1, N_PIXELS), "cows"))
    with pytest.raises(FileFormatError, match=r"column FLUX, 'cows', .* flux_unit="):
        read_spectra(path)
    assert read_spectra(path, flux_unit="adu").flux.unit == u.adu


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ERR": None}, r"the columns FLUX and ERR, or .*; it has WAVE, FLUX, QUAL"),
        ({"WAVE": None}, "HDU SPECTRUM has no column WAVE"),
        ({"n_rows": 3}, "HDU SPECTRUM must have one row, .*; it has 3"),
        ({"FLUX": (np.ones(7), "adu")}, r"flux must have one value per wavelength"),
        ({"ERR": (np.ones(7), "adu")}, r"error must have one value per wavelength"),
        ({"WAVE": (np.ones(N_PIXELS), "s")}, "WAVE, 's', must be one of length"),
    ],
)
def test_eso_with_a_fault_is_told_which(tmp_path, changes, message):
    with pytest.raises(FileFormatError, match=f"as 'eso-sdp': .*{message}"):
        read_spectra(write_eso(tmp_path, **changes))


# 4MOST -----------------------------------------------------------------------------


def test_4most_is_read_in_units_of_1e_17(tmp_path):
    spectrum = read_spectra(write_4most(tmp_path))
    assert spectrum.flux.unit == CGS
    flux, error = 3 * random(1, N_PIXELS), random(2, N_PIXELS)
    np.testing.assert_allclose(spectrum.flux.value, flux, rtol=1e-6)
    np.testing.assert_allclose(spectrum.uncertainty.array, error, rtol=1e-6)
    meta = spectrum.meta
    assert (meta["medium"], meta["frame"], meta["object"]) == ("vacuum", None, "star 7")
    assert meta["resolving_power"] is None


def test_inverse_variance_of_4most_is_rescaled_with_the_flux(tmp_path):
    ivar = random(2, N_PIXELS, dtype=float)
    changes = {"ERR_FLUX": None, "FLUX_IVAR": (1e34 * ivar, None), "QUAL": None}
    spectrum = read_spectra(write_4most(tmp_path, **changes))
    assert isinstance(spectrum.uncertainty, InverseVariance)
    np.testing.assert_allclose(as_spectra(spectrum).ivar[0], ivar, rtol=1e-12)
    assert not spectrum.mask.any()


def test_quality_of_4most_masks(tmp_path):
    quality = np.zeros(N_PIXELS, np.int32)
    quality[5] = 1
    spectrum = read_spectra(write_4most(tmp_path, QUAL=(quality, None)))
    np.testing.assert_array_equal(spectrum.mask, quality == 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "SPECTRUM"}, "It has no HDU PHASE3SPECTRUM, but 0 PRIMARY"),
        ({"ERR_FLUX": None}, "the columns .* FLUX and ERR_FLUX, or FLUX and FLUX_IVAR"),
        ({"FLUX": (np.ones(N_PIXELS), None)}, r"must amount to .* Pass flux_unit="),
        ({"ucd": None}, r"Pass medium='air' or medium='vacuum'"),
        ({"QUAL": (np.zeros(7, np.int32), None)}, "mask must have one value per"),
    ],
)
def test_4most_with_a_fault_is_told_which(tmp_path, changes, message):
    with pytest.raises(FileFormatError, match=f"as '4most-l1': .*{message}"):
        read_spectra(write_4most(tmp_path, **changes), "4most-l1")


# DESI ------------------------------------------------------------------------------


def test_desi_gives_one_spectrum_per_arm(tmp_path):
    spectra = read_spectra(write_desi(tmp_path), target=TARGETS[1])
    assert isinstance(spectra, SpectrumList)
    assert [s.meta["arm"] for s in spectra] == ["B", "R", "Z"]
    for i, spectrum in enumerate(spectra):
        n_pixels = N_PIXELS + 2 * i
        assert spectrum.flux.unit == CGS
        np.testing.assert_array_equal(spectrum.flux.value, random(i, 3, n_pixels)[1])
        assert isinstance(spectrum.uncertainty, InverseVariance)
        np.testing.assert_array_equal(
            spectrum.uncertainty.array, random(i + 10, 3, n_pixels)[1]
        )
        meta = spectrum.meta
        assert (meta["medium"], meta["frame"]) == ("vacuum", "barycentric")
        assert meta["object"] == str(TARGETS[1])
    np.testing.assert_allclose(
        spectra[0].wavelength.value, 3600 + 0.8 * np.arange(N_PIXELS), rtol=1e-15
    )


def test_target_of_several_exposures_gives_them_all(tmp_path):
    spectra = read_spectra(write_desi(tmp_path, arms="R"), target=TARGETS[0])
    flux = random(0, 3, N_PIXELS)[[0, 2]]
    np.testing.assert_array_equal([s.flux.value for s in spectra], flux)


def test_any_bit_of_desi_masks_and_so_does_an_ivar_of_zero(tmp_path):
    bits, ivar = np.zeros((1, N_PIXELS), np.int32), random(10, 1, N_PIXELS)
    bits[0, 4], ivar[0, 9] = 512, 0
    path = write_desi(tmp_path, targets=TARGETS[:1], arms="B", B_MASK=bits, B_IVAR=ivar)
    (spectrum,) = read_spectra(path)
    np.testing.assert_array_equal(np.flatnonzero(spectrum.mask), [4, 9])
    np.testing.assert_array_equal(spectrum.meta["bitmask"], bits[0])


def test_resolving_power_of_desi_is_that_of_its_gaussian(tmp_path):
    (spectrum,) = read_spectra(write_desi(tmp_path, targets=TARGETS[:1], arms="B"))
    # A Gaussian cut at five pixels, 4.5 sigma, has nearly all of its variance.
    fwhm = np.sqrt(8 * np.log(2)) * 1.1 * 0.8
    expected = spectrum.wavelength.value / fwhm
    np.testing.assert_allclose(spectrum.meta["resolving_power"], expected, rtol=1e-3)


def test_resolution_matrix_that_is_empty_gives_no_resolving_power(tmp_path):
    empty = np.zeros((1, 11, N_PIXELS))
    path = write_desi(tmp_path, targets=TARGETS[:1], arms="B", B_RESOLUTION=empty)
    assert np.isnan(read_spectra(path)[0].meta["resolving_power"]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"B_WAVELENGTH": None}, "It has no HDU B_WAVELENGTH, but 0 PRIMARY"),
        ({"R_IVAR": None}, "It has no HDU R_IVAR"),
        ({"Z_FLUX": np.ones((3, 7))}, r"HDU Z_FLUX must have the shape of the flux"),
        ({"B_RESOLUTION": np.ones((3, 4, 31))}, "odd, smaller n_diag; its shape is"),
        ({"B_RESOLUTION": np.ones((31, 3, 11))}, "B_RESOLUTION must have the shape"),
    ],
)
def test_desi_with_a_fault_is_told_which(tmp_path, changes, message):
    with pytest.raises(FileFormatError, match=f"as 'desi': .*{message}"):
        read_spectra(write_desi(tmp_path, **changes), target=TARGETS[0])


def test_target_is_asked_for_where_there_are_several(tmp_path):
    path = write_desi(tmp_path)
    with pytest.raises(ValueError, match=r"`target` must be given .* 2 targets"):
        read_spectra(path)
    with pytest.raises(ValueError, match=r"`target` must be a TARGETID .*; got 7"):
        read_spectra(path, target=7)
    with pytest.raises(ValueError, match=r"`target` must be .* got \[.*\] with 7\."):
        read_spectra(path, target=[TARGETS[0], 7])
    with pytest.raises(ValueError, match=r"`target` must be .* got \[\]"):
        read_spectra(path, target=[])


@pytest.mark.parametrize("targets", [[13, 12], [11, 13, 12], (12,), np.array([12, 11])])
def test_targets_are_read_in_the_order_of_asking_and_are_a_star_each(tmp_path, targets):
    path = write_desi(tmp_path, targets=(11, 12, 13))
    spectra = read_spectra(path, target=targets)
    assert [(s.meta["object"], s.meta["arm"]) for s in spectra] == [
        (str(target), arm) for target in targets for arm in "BRZ"
    ]
    together = as_spectra(spectra)
    assert len(together) == len(targets)
    alone = as_spectra([read_spectra(path, target=target) for target in targets])
    np.testing.assert_array_equal(together.flux, alone.flux)
    np.testing.assert_array_equal(together.arm, alone.arm)


def test_exposures_of_a_target_are_measured_one_by_one(tmp_path):
    spectra = read_spectra(write_desi(tmp_path), target=TARGETS[0])
    assert len(spectra) == 6
    assert len(as_spectra(spectra)) == 2


@pytest.fixture
def desi_file():
    """Give a function that finds real data of DESI, which specutils has for tests."""
    folder = files("specutils.io.default_loaders") / "tests" / "desi_test_data"

    def find(kind):
        path = folder / f"{kind}-sv3-dark-26065.fits"
        if not path.is_file():
            pytest.skip("this installation of specutils is without its tests")
        return path

    return find


@pytest.mark.parametrize("kind", ["coadd", "spectra"])
def test_real_file_of_desi_agrees_with_specutils(desi_file, kind):
    path = desi_file(kind)
    theirs = SpectrumList.read(path, format=f"DESI {kind}")
    row = 2
    target = theirs[0].meta["fibermap"]["TARGETID"][row]
    ours = read_spectra(path, target=target)
    assert len(ours) == len(theirs) == 3
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(our.wavelength, their.wavelength)
        np.testing.assert_array_equal(our.flux.value, their.flux.value[row])
        np.testing.assert_array_equal(
            our.uncertainty.array, their.uncertainty.array[row]
        )
        bad = their.mask[row] | (their.uncertainty.array[row] == 0)
        np.testing.assert_array_equal(our.mask, bad)
        np.testing.assert_array_equal(our.meta["bitmask"], their.meta["int_mask"][row])


def test_matrix_of_desi_widens_a_line_as_its_resolving_power_says(desi_file):
    path = desi_file("spectra")
    with fits.open(path) as hdus:
        target = hdus["FIBERMAP"].data["TARGETID"][1]
    for spectrum in read_spectra(path, target=target):
        diagonals = spectrum.meta["resolution_matrix"]
        n_diag, n = diagonals.shape
        offsets = range(n_diag // 2, -(n_diag // 2) - 1, -1)
        matrix = dia_array((diagonals, offsets), shape=(n, n))
        line = np.zeros(n)
        line[700] = 1.0
        wavelength = spectrum.wavelength.value

        def gaussian(x, height, centre, sigma):
            return height * np.exp(-0.5 * ((x - centre) / sigma) ** 2)

        (_, centre, sigma), _ = curve_fit(
            gaussian, wavelength, matrix @ line, p0=(0.5, wavelength[700], 0.8)
        )
        assert centre == pytest.approx(wavelength[700], abs=0.1)
        power = centre / (np.sqrt(8 * np.log(2)) * abs(sigma))
        # 5 %: wings of the real profile count in the moment more than in the fit.
        assert spectrum.meta["resolving_power"][700] == pytest.approx(power, rel=0.05)
