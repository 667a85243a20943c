"""Small files of spectra in the layouts of surveys and pipelines, for the tests.

Each function writes a good file into a folder and returns its path. Numbers are random,
with seeds that tests can repeat.
"""

import numpy as np
from astropy.io import fits
from astropy.table import Table

N_PIXELS = 37


def flux_of(seed, *shape):
    """Flux without zeros and constant stretches."""
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape or (N_PIXELS,))


def write(folder, hdus, name="spectrum.fits"):
    fits.HDUList([hdu for hdu in hdus if hdu is not None]).writeto(folder / name)
    return folder / name


def primary(data=None, **header):
    hdu = fits.PrimaryHDU(data)
    hdu.header.update({key.replace("__", " "): v for key, v in header.items()})
    return hdu


def image(data, name=None, **header):
    hdu = fits.ImageHDU(data, name=name)
    hdu.header.update(header)
    return hdu


def table(columns, name=None, one_row=False, **header):
    """Give a table with a row for each pixel, or one row of vectors."""
    columns = {key: np.asarray(values) for key, values in columns.items()}
    if one_row:
        columns = {key: values[None] for key, values in columns.items()}
    hdu = fits.table_to_hdu(Table(columns))
    hdu.header.update(header)
    if name is not None:
        hdu.name = name
    return hdu


# Surveys -----------------------------------------------------------------------------

LAMOST = {
    "TELESCOP": "LAMOST",
    "VACUUM": True,
    "HELIO": True,
    "DESIG": "LAMOST J1",
    "Z": -0.0002,
}
LAMOST_WAVELENGTH = 10 ** (3.5682 + 1e-4 * np.arange(N_PIXELS))


def lamost_columns():
    ivar = flux_of(2)
    ivar[3] = 0
    mask = np.zeros(N_PIXELS)
    mask[5] = 4
    return {
        "FLUX": flux_of(1).astype(np.float32),
        "IVAR": ivar.astype(np.float32),
        "WAVELENGTH": LAMOST_WAVELENGTH.astype(np.float32),
        "ANDMASK": mask.astype(np.float32),
        "ORMASK": np.ones(N_PIXELS, np.float32),
    }


def write_lamost_image(folder):
    rows = np.array(list(lamost_columns().values()))
    return write(folder, [primary(rows, **LAMOST)])


def write_lamost_table(folder):
    columns = table(lamost_columns(), "COADD", one_row=True)
    return write(folder, [primary(**LAMOST), columns])


def write_lamost_mrs(folder):
    hdus = [primary(**LAMOST)]
    for i, (name, start) in enumerate(
        (("COADD_B", 3.695), ("COADD_R", 3.8), ("B-84420148", 3.695))
    ):
        columns = {
            "FLUX": flux_of(10 + i),
            "IVAR": flux_of(20 + i),
            "LOGLAM": start + 1e-5 * np.arange(N_PIXELS),
            "PIXMASK": np.zeros(N_PIXELS, np.int32),
        }
        hdus.append(table(columns, name))
    return write(folder, hdus)


def write_sdss_spec(folder, **header):
    bits = np.zeros(N_PIXELS, np.int32)
    bits[4], bits[9] = 1 << 16, 1 << 23
    columns = {
        "flux": flux_of(1).astype(np.float32),
        "loglam": (3.5798 + 1e-4 * np.arange(N_PIXELS)).astype(np.float32),
        "ivar": flux_of(2).astype(np.float32),
        "and_mask": bits,
        "or_mask": bits | 1,
        "wdisp": np.full(N_PIXELS, 1.2, np.float32),
    }
    start = primary(
        TELESCOP="SDSS 2.5-M",
        VERS2D="v5_13_2",
        PLATEID=266,
        MJD=51602,
        FIBERID=31,
        BUNIT="1E-17 erg/cm^2/s/Ang",
        **header,
    )
    objects = table({"Z": [1e-4]}, "SPECOBJ")
    return write(folder, [start, table(columns, "COADD"), objects])


def write_mwm_star(folder):
    hdus = [primary(SDSS_ID=54392544, V_ASTRA="0.6.0")]
    for i, name in enumerate(("BOSS/APO", "BOSS/LCO", "APOGEE/APO", "APOGEE/LCO")):
        start, step = (4.179, 6e-6) if "APOGEE" in name else (3.5523, 1e-4)
        n_rows = int(name.endswith("APO"))
        bits = np.zeros((n_rows, N_PIXELS), np.int64)
        bits[:, 3], bits[:, 5] = 1, 1 << 12
        columns = {
            "flux": flux_of(i, n_rows, N_PIXELS),
            "ivar": flux_of(10 + i, n_rows, N_PIXELS),
            "pixel_flags": bits,
            "v_rad": np.full(n_rows, 12.5),
        }
        hdus.append(table(columns, name, CRVAL=start, CDELT=step, NPIXELS=N_PIXELS))
    return write(folder, hdus)


def write_apvisit(folder):
    # chips from red to blue, wavelengths decreasing
    wavelength = np.array([16900.0, 16400.0, 15800.0])[:, None] - 0.2 * np.arange(37)
    bits = np.zeros((3, N_PIXELS), np.int32)
    bits[0, 2], bits[1, 4] = 1 << 1, 1 << 9
    unit = "Flux (10^-17 erg/s/cm^2/Ang)"
    return write(
        folder,
        [
            primary(SURVEY="apogee", OBJID="2M00005414+5522241", BC=-7.25),
            image(flux_of(1, 3, N_PIXELS), BUNIT=unit),
            image(flux_of(2, 3, N_PIXELS), BUNIT=unit),
            image(bits),
            image(wavelength, BUNIT="Wavelength (Ang)"),
        ],
    )


GALAH_AXIS = {"CRVAL1": 4714.0, "CDELT1": 0.046, "CRPIX1": 1.0}


def write_galah_dr4(folder, order=("normalized", "relative_error", "teluric")):
    data = {
        "normalized": flux_of(2),
        "relative_error": 0.05 * flux_of(3),
        "teluric": flux_of(4),
        "resolution_profile": 0.2 * flux_of(5),
    }
    start = primary(
        500 * flux_of(1),
        **GALAH_AXIS,
        OBJ_NAME="gaia 1",
        BARYEFF=-13.25,
        BUNIT="counts",
    )
    names = (*order, "resolution_profile")
    return write(
        folder, [start, *(image(data[name], name, **GALAH_AXIS) for name in names)]
    )


def write_weave(folder, n_fibres=3):
    axis = {"CRVAL1": 6000.0, "CD1_1": 0.25, "CUNIT1": "Angstrom", "CTYPE1": "AWAV"}
    names = ("RED_DATA", "RED_IVAR", "RED_DATA_NOSS", "RED_IVAR_NOSS", "RED_SENSFUNC")
    images = [
        image(flux_of(i, n_fibres, N_PIXELS), name, **axis, BUNIT="counts")
        for i, name in enumerate(names)
    ]
    fibres = table(
        {
            "NSPEC": np.arange(n_fibres, 0, -1),
            "CNAME": [f"WVE_{i}" for i in range(n_fibres)],
        },
        "FIBTABLE",
    )
    return write(folder, [primary(SPECSYS="BARYCENT"), *images, fibres])


def write_gaia_fits(folder):
    columns = {
        "wavelength": np.linspace(846.0, 870.0, N_PIXELS),
        "flux": flux_of(1),
        "flux_error": 0.01 * flux_of(2),
    }
    return write(folder, [primary(), table(columns, **{"HIERARCH SOURCE_ID": 123})])


def write_gaia_csv(folder):
    rows = zip(
        np.linspace(846.0, 870.0, N_PIXELS),
        flux_of(1),
        0.01 * flux_of(2),
        strict=True,
    )
    lines = ["wavelength,flux,flux_error"]
    lines += [f"{w:.2f},{f:.6f},{e:.6f}" for w, f, e in rows]
    (folder / "rvs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "rvs.csv"


def write_gaia_votable(folder, encoding="binary2", name="rvs.xml"):
    from astropy.io import votable
    from astropy.table import Table

    table = Table(
        {
            "wavelength": np.linspace(846.0, 870.0, N_PIXELS),
            "flux": flux_of(1),
            "flux_error": 0.01 * flux_of(2),
        },
        units={"wavelength": "nm"},
    )
    whole = votable.from_table(table)
    number = votable.tree.Param(
        whole, name="source_id", datatype="long", value=str(2**62)
    )
    whole.get_first_table().params.append(number)
    whole.to_xml(str(folder / name), tabledata_format=encoding)
    return folder / name


# Pipelines ---------------------------------------------------------------------------


def write_xshooter(folder):
    """One row of vectors by the standard of ESO, whose columns TUTYP tells."""
    columns = {
        "LAMBDA": np.linspace(990.0, 999.0, N_PIXELS),
        "SIGNAL": flux_of(1),
        "SIGNAL_ERR": flux_of(2),
        "TELL": flux_of(3),
        "QUALITY": (np.arange(N_PIXELS) == 7).astype(np.int32),
    }
    types = (
        "spec:Data.SpectralAxis.Value",
        "spec:Data.FluxAxis.Value",
        "spec:Data.FluxAxis.Accuracy.StatError",
        "eso:Data.FluxAxis.Value",
        "spec:Data.FluxAxis.Accuracy.QualityStatus",
    )
    keywords = {f"TUTYP{i + 1}": word for i, word in enumerate(types)}
    keywords |= {"TUCD1": "em.wl;obs.atmos", "TUNIT1": "nm", "TUNIT2": "adu"}
    start = primary(
        PRODCATG="SCIENCE.SPECTRUM",
        OBJECT="HD 1",
        SPECSYS="HELIOCEN",
        SPEC_RES=5300.0,
    )
    return write(folder, [start, table(columns, "SPECTRUM", one_row=True, **keywords)])


def write_harps_s1d(folder):
    header = {
        "CRVAL1": 3781.5,
        "CDELT1": 0.01,
        "CTYPE1": "Wavelength",
        "BUNIT": "Relative Flux",
        "INSTRUME": "HARPS",
        "OBJECT": "HD10700",
        "HIERARCH__ESO__DRS__BERV": 12.5,
    }
    return write(folder, [primary(1000 * flux_of(1), **header)])


E2DS_COEFFICIENTS = (4000.0, 0.02, -1e-6, 4050.0, 0.021, -2e-6)


def write_harps_e2ds(folder):
    header = {
        f"HIERARCH__ESO__DRS__CAL__TH__COEFF__LL{i}": c
        for i, c in enumerate(E2DS_COEFFICIENTS)
    }
    header |= {
        "HIERARCH__ESO__DRS__CAL__TH__DEG__LL": 2,
        "HIERARCH__ESO__DRS__BERV": 12.5,
        "INSTRUME": "HARPS",
        "OBJECT": "HD10700",
    }
    return write(folder, [primary(1000 * flux_of(1, 2, N_PIXELS), **header)])


def write_espresso_s1d(folder):
    wavelength = np.linspace(5000.0, 5001.8, N_PIXELS)
    columns = {
        "wavelength": wavelength,
        "wavelength_air": wavelength / 1.00028,
        "flux": flux_of(1),
        "error": flux_of(2),
        "quality": (np.arange(N_PIXELS) == 6).astype(np.int32),
    }
    header = {
        "INSTRUME": "ESPRESSO",
        "OBJECT": "HD10700",
        "HIERARCH__ESO__QC__BERV": -3.5,
        "HIERARCH__ESO__INS__MODE": "SINGLEHR",
    }
    return write(folder, [primary(**header), table(columns)])


def write_espresso_s2d(folder):
    shape = (2, N_PIXELS)
    wavelength = np.array([[4000.0], [4060.0]]) + 0.02 * np.arange(N_PIXELS)
    quality = np.zeros(shape, np.int32)
    quality[1, 3] = 1
    data = {
        "SCIDATA": flux_of(1, *shape),
        "ERRDATA": flux_of(2, *shape),
        "QUALDATA": quality,
        "WAVEDATA_VAC_BARY": wavelength,
        "WAVEDATA_AIR_BARY": wavelength / 1.00028,
    }
    header = {"INSTRUME": "ESPRESSO", "OBJECT": "HD10700"}
    return write(folder, [primary(**header), *(image(v, k) for k, v in data.items())])


def write_libre_esprit(folder, n_columns=2):
    """Two orders that overlap."""
    wavelength = np.r_[np.linspace(500.0, 500.9, 20), np.linspace(500.7, 501.5, 17)]
    columns = [wavelength, *(flux_of(i) for i in range(n_columns))]
    lines = ["***Reduced spectrum of 'HD 1'", f" {N_PIXELS} {n_columns}"]
    lines += [" ".join(f"{v:.6f}" for v in row) for row in zip(*columns, strict=True)]
    (folder / "star.s").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "star.s"


def write_espadons(folder, n_rows=12, **header):
    """Two orders; four blocks of rows, of which the last is not normalised."""
    size = n_rows // 4
    blocks = flux_of(3, 4, size, N_PIXELS)
    wavelength = np.r_[np.linspace(500.0, 500.9, 20), np.linspace(500.7, 501.5, 17)]
    blocks[:, 0] = wavelength
    blocks[2:, 0] -= 0.001  # without the correction by telluric lines
    blocks[[1, 3], 1] *= 1e5
    cards = {"INSTRUME": "ESPaDOnS", "OBJECT": "HD 1"} | header
    return write(folder, [primary(blocks.reshape(n_rows, N_PIXELS), **cards)])


def write_multispec(folder, *specs, n_bands=1, **header):
    """Rows whose dispersions are `specs`, spread over cards as IRAF does."""
    specs = specs or (f"1 1 0 5000.0 0.1 {N_PIXELS} 0. 1.0 2.0",) * 2
    text = "wtype=multispec"
    text += "".join(f' spec{i + 1} = "{spec}"' for i, spec in enumerate(specs))
    cards = {
        f"WAT2_{i // 68 + 1:03d}": text[i : i + 68] for i in range(0, len(text), 68)
    }
    cards |= {
        "WAT0_001": "system=multispec",
        "WAT1_001": "wtype=multispec label=Wavelength units=angstroms",
        "CTYPE1": "MULTISPE",
        "OBJECT": "HR 1",
    }
    if n_bands > 1:
        cards |= {"BANDID1": "spectrum - background none", "BANDID2": "sigma - x"}
    shape = (n_bands, len(specs), N_PIXELS) if n_bands > 1 else (len(specs), N_PIXELS)
    return write(folder, [primary(flux_of(1, *shape), **cards | header)])


def write_spec1d(folder, names=("SPAT0234-SLIT0240-DET01",), **header):
    hdus = [primary(TARGET="HD 1", **header)]
    for i, name in enumerate(names):
        wavelength = 5000.0 + 50 * i + np.arange(N_PIXELS)
        wavelength[:2] = 0.0
        columns = {
            "OPT_WAVE": wavelength,
            "OPT_COUNTS": flux_of(i),
            "OPT_COUNTS_IVAR": flux_of(10 + i),
            "OPT_MASK": np.arange(N_PIXELS) != 5,
        }
        hdus.append(table(columns, name, VEL_TYPE="heliocentric"))
    return write(folder, hdus)


def write_coadd1d(folder):
    columns = {
        "wave": 5000.0 + np.arange(N_PIXELS),
        "wave_grid_mid": 5000.1 + np.arange(N_PIXELS),
        "flux": flux_of(1),
        "ivar": flux_of(2),
        "mask": (np.arange(N_PIXELS) != 5).astype(np.int32),
    }
    return write(
        folder, [primary(OBJECT="HD 1"), table(columns, "SPECTRUM", FLUXED=True)]
    )


def write_fits_arms(folder):
    axis = {"CRVAL1": 5000.0, "CDELT1": 0.05, "CTYPE1": "AWAV"}
    names = ("BLUE_DATA", "BLUE_IVAR", "RED_DATA", "RED_IVAR")
    return write(
        folder,
        [primary(), *(image(flux_of(i), n, **axis) for i, n in enumerate(names))],
    )
