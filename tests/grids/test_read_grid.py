"""Grids are read under every documented name, and a bad file is told what is wrong.

It is here because a grid misread costs a night of training.
"""

import builtins
import gzip
import os
import pickle
import zipfile

import numpy as np
import pytest
from astropy.io import fits

from sk_payne.exceptions import FileFormatError
from sk_payne.grids import read_grid

N_SPECTRA, N_LABELS, N_WAVELENGTHS = 7, 3, 11


def arrays(**changes):
    """Contents of a good grid, with some arrays changed, added or (None) removed."""
    rng = np.random.default_rng(0)
    good = {
        "labels": rng.normal(size=(N_SPECTRA, N_LABELS)),
        "flux": rng.uniform(size=(N_SPECTRA, N_WAVELENGTHS)).astype(np.float32),
        "wavelength": np.linspace(4500, 4501, N_WAVELENGTHS),
    }
    return {key: v for key, v in {**good, **changes}.items() if v is not None}


def write_npz(folder, contents):
    np.savez(folder / "grid.npz", **contents)
    return folder / "grid.npz"


def write_hdf5(folder, contents):
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "grid.h5", "w") as file:
        for key, value in contents.items():
            value = np.asarray(value)
            if value.dtype.kind == "U":
                value = value.astype(h5py.string_dtype())
            file[key] = value
    return folder / "grid.h5"


both_formats = pytest.mark.parametrize("write", [write_npz, write_hdf5])


@both_formats
def test_arrays_come_back_as_they_were_written(tmp_path, write):
    contents = arrays()
    grid = read_grid(write(tmp_path, contents))
    np.testing.assert_array_equal(grid.data, contents["labels"])
    np.testing.assert_array_equal(grid.target, contents["flux"])
    np.testing.assert_array_equal(grid.wavelength, contents["wavelength"])


@both_formats
@pytest.mark.parametrize("labels", ["labels", "P", "parameters"])
@pytest.mark.parametrize("flux", ["flux", "F", "spectra"])
@pytest.mark.parametrize("wavelength", ["wavelength", "wave"])
def test_every_documented_name_is_read(tmp_path, write, labels, flux, wavelength):
    good = arrays()
    contents = {
        labels: good["labels"],
        flux: good["flux"],
        wavelength: good["wavelength"],
        "something_else": np.zeros(5),
    }
    grid = read_grid(write(tmp_path, contents))
    np.testing.assert_array_equal(grid.data, good["labels"])
    np.testing.assert_array_equal(grid.target, good["flux"])


@both_formats
def test_optional_arrays_are_read(tmp_path, write):
    contents = arrays(
        label_names=["teff", "logg", "Fe_H"],
        label_units=["K", "dex", "dex"],
        medium="vacuum",
        resolving_power=11_500,
    )
    grid = read_grid(write(tmp_path, contents))
    assert grid.label_names == ["teff", "logg", "Fe_H"]
    assert grid.label_units == ["K", "dex", "dex"]
    assert grid.medium == "vacuum"
    assert grid.resolving_power == 11_500.0


def test_optional_entries_of_hdf5_may_be_attributes(tmp_path):
    path = write_hdf5(tmp_path, arrays())
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "a") as file:
        file.attrs["label_names"] = ["teff", "logg", "Fe_H"]
        file.attrs["medium"] = "air"
        file.attrs["flux"] = "an attribute that is no flux"
    grid = read_grid(path)
    assert grid.label_names == ["teff", "logg", "Fe_H"]
    assert grid.medium == "air"


@both_formats
def test_absent_optional_entries_get_defaults(tmp_path, write):
    grid = read_grid(write(tmp_path, arrays()))
    assert grid.label_names == ["label_1", "label_2", "label_3"]
    assert grid.label_units is None
    assert grid.medium is None
    assert grid.resolving_power is None


def test_strings_stored_as_bytes_are_decoded(tmp_path):
    names = np.array([b"teff", b"logg", b"Fe_H"])
    grid = read_grid(write_npz(tmp_path, arrays(label_names=names)))
    assert grid.label_names == ["teff", "logg", "Fe_H"]


def test_single_precision_flux_stays_single_and_the_rest_becomes_double(tmp_path):
    contents = arrays(labels=np.ones((N_SPECTRA, N_LABELS), dtype=np.int32))
    grid = read_grid(write_npz(tmp_path, contents))
    assert grid.target.dtype == np.float32
    assert grid.data.dtype == np.float64
    assert grid.wavelength.dtype == np.float64


def test_big_endian_flux_is_returned_in_native_order(tmp_path):
    flux = arrays()["flux"]
    grid = read_grid(write_npz(tmp_path, arrays(flux=flux.astype(">f4"))))
    assert grid.target.dtype.isnative
    np.testing.assert_array_equal(grid.target, flux)


def test_path_may_be_a_string_with_a_capital_suffix(tmp_path):
    path = write_npz(tmp_path, arrays()).rename(tmp_path / "GRID.NPZ")
    assert read_grid(str(path)).data.shape == (N_SPECTRA, N_LABELS)


def test_computed_training_grid_is_read(data_file):
    grid = read_grid(data_file("window_training.npz"))
    assert grid.target.shape == (len(grid.data), len(grid.wavelength))
    assert grid.label_names[:3] == ["teff", "logg", "C_H"]


def test_missing_file_is_a_file_not_found_error_with_its_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nowhere\.npz"):
        read_grid(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("name", ["grid.csv", "grid", "grid.npy"])
def test_unknown_suffix_is_refused_with_the_known_ones(tmp_path, name):
    with pytest.raises(ValueError, match=r"`path` must end in \.npz, \.h5, \.hdf5 or"):
        read_grid(tmp_path / name)


@both_formats
@pytest.mark.parametrize("key", ["labels", "flux", "wavelength"])
def test_missing_array_is_named_with_what_was_found(tmp_path, write, key):
    path = write(tmp_path, arrays(**{key: None}, noise=np.zeros(5)))
    with pytest.raises(FileFormatError, match=f"has no '{key}'; it has .*'noise'"):
        read_grid(path)


def test_two_names_for_the_same_array_are_refused(tmp_path):
    path = write_npz(tmp_path, arrays(F=arrays()["flux"]))
    with pytest.raises(FileFormatError, match=r"has \['flux', 'F'\]"):
        read_grid(path)


@both_formats
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.zeros((5, 3))}, r"one row per spectrum.*\(5, 3\) and \(7, 11\)"),
        ({"labels": np.zeros(7)}, r"'labels'.*2 dimension.*\(7,\)"),
        ({"labels": np.zeros((7, 0))}, r"'labels'.*length 0.*\(7, 0\)"),
        ({"flux": np.zeros((7, 13))}, r"column per wavelength.*\(7, 13\), with 11"),
        ({"flux": np.full((7, 11), np.nan)}, "'flux'.*finite; 77 of 77"),
        ({"wavelength": np.ones(11)}, "'wavelength'.*increase strictly"),
        ({"wavelength": np.arange(11)}, "'wavelength'.*positive"),
        ({"wavelength": np.arange(11, 0, -1)}, "'wavelength'.*runs from 11.* to 1"),
        ({"label_names": ["teff"]}, "'label_names'.*has 1, for 3 columns"),
        ({"label_names": ["a", "b", "a"]}, "'label_names'.*not repeat"),
        ({"label_names": np.arange(3)}, "'label_names'.*must hold strings"),
        ({"label_units": ["K", "dex"]}, "'label_units'.*has 2, for 3 columns"),
        ({"medium": "water"}, r"'medium'.*'air' or 'vacuum'; it is \['water'\]"),
        ({"medium": ["air", "air"]}, "'medium'.*'air' or 'vacuum'"),
        ({"resolving_power": -1.0}, r"'resolving_power'.*positive number; .*\[-1.0\]"),
        ({"resolving_power": "high"}, "'resolving_power'.*one positive number"),
    ],
)
def test_disagreement_is_a_format_error_that_shows_it(
    tmp_path, write, changes, message
):
    path = write(tmp_path, arrays(**changes))
    with pytest.raises(FileFormatError, match=message) as caught:
        read_grid(path)
    assert str(path) in str(caught.value)


def test_text_in_place_of_numbers_is_refused(tmp_path):
    path = write_npz(tmp_path, arrays(flux=np.full((7, 11), "deep")))
    with pytest.raises(FileFormatError, match=r"'flux'.*real numbers; it holds <U4"):
        read_grid(path)


def test_python_objects_are_refused_without_being_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    names = np.array([Trap(), Trap(), Trap()], dtype=object)
    path = write_npz(tmp_path, arrays(label_names=names))
    with pytest.raises(FileFormatError, match=r"'label_names'.*could run code"):
        read_grid(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"not a grid", pickle.dumps([1, 2, 3])])
@pytest.mark.parametrize("name", ["grid.npz", "grid.h5"])
def test_file_of_another_kind_is_a_format_error(tmp_path, name, content):
    if name.endswith("h5"):
        pytest.importorskip("h5py")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError, match="or is damaged"):
        read_grid(tmp_path / name)


def test_truncated_member_is_a_format_error(tmp_path):
    path = write_npz(tmp_path, arrays())
    content = bytearray(path.read_bytes())
    start = content.index(arrays()["flux"].tobytes())
    content[start] ^= 255
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"'flux' in .* cannot be read"):
        read_grid(path)


def test_hdf5_without_h5py_says_how_to_install_it(tmp_path, monkeypatch):
    def refuse(name, *arguments, **keywords):
        if name == "h5py":
            raise ImportError(name)
        return real_import(name, *arguments, **keywords)

    real_import = builtins.__import__
    (tmp_path / "grid.h5").touch()
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install sk_payne\[hdf5\]"):
        read_grid(tmp_path / "grid.h5")


# FITS ----------------------------------------------------------------------------


def write_fits(path, contents, *, columns=None, units=None, medium=None):
    """A grid by astropy: labels as an image, or as a table if there are columns."""
    hdus = fits.HDUList([fits.PrimaryHDU()])
    if medium is not None:
        hdus[0].header.update({"MEDIUM": medium, "RESPOWER": 11_500})
    for name, array in contents.items():
        if name == "labels" and columns:
            cells = [
                fits.Column(name=column, format="D", unit=unit, array=values)
                for column, unit, values in zip(columns, units, array.T, strict=True)
            ]
            hdus.append(fits.BinTableHDU.from_columns(cells, name=name))
        else:
            hdus.append(fits.ImageHDU(array, name=name))
    hdus.writeto(path)
    return path


@pytest.mark.parametrize("name", ["grid.fits", "GRID.FITS", "grid.fits.gz"])
def test_images_of_fits_come_back_as_they_were_written(tmp_path, name):
    contents = arrays()
    grid = read_grid(write_fits(tmp_path / name, contents))
    np.testing.assert_array_equal(grid.data, contents["labels"])
    np.testing.assert_array_equal(grid.target, contents["flux"])
    np.testing.assert_array_equal(grid.wavelength, contents["wavelength"])
    assert grid.target.dtype == np.float32
    assert grid.label_names == ["label_1", "label_2", "label_3"]
    assert (grid.label_units, grid.medium) == (None, None)


def test_table_of_fits_names_the_labels_and_their_units(tmp_path):
    contents = arrays()
    path = write_fits(
        tmp_path / "grid.fits",
        contents,
        columns=["teff", "logg", "Fe_H"],
        units=["K", None, "dex"],
        medium="vacuum",
    )
    grid = read_grid(path)
    np.testing.assert_array_equal(grid.data, contents["labels"])
    assert grid.label_names == ["teff", "logg", "Fe_H"]
    assert grid.label_units == ["K", "", "dex"]
    assert (grid.medium, grid.resolving_power) == ("vacuum", 11_500.0)


@pytest.mark.parametrize("missing", ["labels", "flux", "wavelength"])
def test_missing_hdu_of_fits_is_named(tmp_path, missing):
    path = write_fits(tmp_path / "grid.fits", arrays(**{missing: None}))
    with pytest.raises(FileFormatError, match=f"has no '{missing}'"):
        read_grid(path)


def test_what_is_no_fits_is_said(tmp_path):
    (tmp_path / "grid.fits").write_bytes(b"no such thing")
    with pytest.raises(FileFormatError, match="is not a FITS file"):
        read_grid(tmp_path / "grid.fits")


def test_two_hdus_of_one_name_are_refused(tmp_path):
    path = write_fits(tmp_path / "grid.fits", arrays())
    fits.append(path, np.ones((7, 11)), fits.Header({"EXTNAME": "flux"}))
    with pytest.raises(FileFormatError, match="two HDUs 'flux'"):
        read_grid(path)


# Values that are not finite ------------------------------------------------------


def with_holes(value=np.nan):
    """A grid with bad flux in rows 1 and 4, and a bad label in row 4 and 5."""
    contents = arrays()
    contents["flux"][1, 3] = contents["flux"][4] = value
    contents["labels"][4:6, 2] = value
    return contents


@both_formats
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20])
def test_rows_that_are_not_finite_are_named_with_a_way_out(tmp_path, write, value):
    contents = with_holes(value)
    message = r"'labels' .* 2 of 21 values .* in 2 of 7 rows: rows 4, 5\. Pass drop_bad"
    with pytest.raises(FileFormatError, match=message):
        read_grid(write(tmp_path, contents))
    contents["labels"] = arrays()["labels"]
    (tmp_path / "other").mkdir()
    path = write(tmp_path / "other", contents)
    with pytest.raises(FileFormatError, match=r"'flux' .* of 77 .*: rows 1, 4\. Pass"):
        read_grid(path)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e20])
def test_rows_that_are_not_finite_are_left_out_on_demand(tmp_path, value):
    ivar = np.full((N_SPECTRA, N_WAVELENGTHS), 4.0)
    mask = np.arange(N_SPECTRA * N_WAVELENGTHS).reshape(N_SPECTRA, -1) % 5 == 0
    path = write_npz(tmp_path, with_holes(value) | {"ivar": ivar, "mask": mask})
    message = r"3 of the 7 spectra .* left out, .* not finite: rows 1, 4, 5\."
    with pytest.warns(UserWarning, match=message):
        grid = read_grid(path, drop_bad=True)
    good = [0, 2, 3, 6]
    np.testing.assert_array_equal(grid.data, arrays()["labels"][good])
    np.testing.assert_array_equal(grid.target, arrays()["flux"][good])
    np.testing.assert_array_equal(grid.mask, mask[good])
    assert grid.uncertainty.shape == (4, N_WAVELENGTHS)


def test_good_grid_is_read_without_a_warning_when_bad_rows_may_be_dropped(tmp_path):
    assert len(read_grid(write_npz(tmp_path, arrays()), drop_bad=True).data) == 7


@pytest.mark.parametrize("drop_bad", [True, False])
def test_wavelengths_that_are_bad_in_all_spectra_are_named(tmp_path, drop_bad):
    flux = arrays()["flux"]
    flux[:, 3:6] = np.nan
    message = "All rows are at 3 wavelengths, from 4500.3 to 4500.5 Å: leave out these"
    with pytest.raises(FileFormatError, match=message):
        read_grid(write_npz(tmp_path, arrays(flux=flux)), drop_bad=drop_bad)


def test_wavelength_that_is_not_finite_is_named(tmp_path):
    wavelength = np.linspace(4500, 4501, N_WAVELENGTHS)
    wavelength[4] = np.nan
    with pytest.raises(FileFormatError, match=r"1 of 11 values are not, .* number 4"):
        read_grid(write_npz(tmp_path, arrays(wavelength=wavelength)))


# Units and names -----------------------------------------------------------------


@both_formats
@pytest.mark.parametrize(("unit", "seen"), [(0.1, "450 to 450.1"), (1e-4, "0.45 to")])
def test_wavelengths_in_nm_and_micrometres_are_refused(tmp_path, write, unit, seen):
    path = write(tmp_path, arrays(wavelength=unit * arrays()["wavelength"]))
    message = f"must be in Å; {seen}.* looks like nm or µm. Multiply nm by 10 and µm by"
    with pytest.raises(FileFormatError, match=message):
        read_grid(path)


def test_unit_of_wavelengths_in_hdf5_is_used(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = write_hdf5(tmp_path, arrays(wavelength=arrays()["wavelength"] / 10))
    with h5py.File(path, "a") as file:
        file["wavelength"].attrs["unit"] = "nm"
    wavelength = read_grid(path).wavelength
    np.testing.assert_allclose(wavelength, arrays()["wavelength"], rtol=1e-14)
    with h5py.File(path, "a") as file:
        file["wavelength"].attrs["unit"] = "km/s"
    with pytest.raises(FileFormatError, match="must be a unit of length; it is 'km/s'"):
        read_grid(path)


def test_unit_of_wavelengths_in_fits_is_used(tmp_path):
    contents = arrays(wavelength=arrays()["wavelength"] / 1e4)
    path = write_fits(tmp_path / "grid.fits", contents)
    fits.setval(path, "BUNIT", value="um", extname="wavelength")
    wavelength = read_grid(path).wavelength
    np.testing.assert_allclose(wavelength, arrays()["wavelength"], rtol=1e-14)


def labels_by_name(**more):
    names = ["teff", "logg", "Fe_H", *more]
    labels = np.empty(
        N_SPECTRA, [(n, more[n].dtype if n in more else float) for n in names]
    )
    for name, values in zip(
        names, [*arrays()["labels"].T, *more.values()], strict=True
    ):
        labels[name] = values
    return labels


@both_formats
def test_fields_of_an_array_name_the_labels(tmp_path, write):
    grid = read_grid(write(tmp_path, arrays(labels=labels_by_name())))
    assert grid.label_names == ["teff", "logg", "Fe_H"]
    np.testing.assert_array_equal(grid.data, arrays()["labels"])


def test_field_that_is_no_label_is_named(tmp_path):
    labels = labels_by_name(star=np.array(["a"] * N_SPECTRA))
    with pytest.raises(FileFormatError, match=r"The column 'star' of 'labels' .* <U1"):
        read_grid(write_npz(tmp_path, arrays(labels=labels)))


def test_names_that_contradict_the_fields_are_refused(tmp_path):
    names = np.array(["logg", "teff", "Fe_H"])
    path = write_npz(tmp_path, arrays(labels=labels_by_name(), label_names=names))
    with pytest.raises(FileFormatError, match=r"'label_names' .* must be the names of"):
        read_grid(path)


def test_empty_cells_of_a_table_of_fits_are_not_finite(tmp_path):
    columns = [
        fits.Column("teff", "J", null=-99, array=[5000, -99, *[6000] * 5]),
        fits.Column("logg", "D", array=np.ones(N_SPECTRA)),
    ]
    hdus = [fits.ImageHDU(arrays()[name], name=name) for name in ("flux", "wavelength")]
    table = fits.BinTableHDU.from_columns(columns, name="LABELS")
    fits.HDUList([fits.PrimaryHDU(), table, *hdus]).writeto(tmp_path / "grid.fits")
    with pytest.raises(FileFormatError, match=r"'labels' .* in 1 of 7 rows: row 1"):
        read_grid(tmp_path / "grid.fits")


# Errors and masks ----------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("name", ["ivar", "flux_ivar", "inverse_variance"])
def test_inverse_variance_becomes_an_uncertainty(tmp_path, write, name):
    ivar = np.full((N_SPECTRA, N_WAVELENGTHS), 4.0)
    ivar[2, 3] = 0
    grid = read_grid(write(tmp_path, arrays(**{name: ivar})))
    assert grid.uncertainty[0, 0] == 0.5
    assert np.argwhere(np.isinf(grid.uncertainty)).tolist() == [[2, 3]]


@pytest.mark.parametrize("name", ["uncertainty", "error", "sigma"])
def test_errors_and_masks_of_fits_are_read(tmp_path, name):
    error = np.full((N_SPECTRA, N_WAVELENGTHS), 0.25)
    bits = np.zeros((N_SPECTRA, N_WAVELENGTHS), int)
    bits[2, 3] = 4
    path = write_fits(tmp_path / "grid.fits", arrays(**{name: error, "mask": bits}))
    grid = read_grid(path)
    np.testing.assert_array_equal(grid.uncertainty, error)
    assert np.argwhere(grid.mask).tolist() == [[2, 3]]


def test_grid_without_errors_and_masks_has_none(tmp_path):
    grid = read_grid(write_npz(tmp_path, arrays()))
    assert grid.uncertainty is grid.mask is None


@pytest.mark.parametrize("name", ["uncertainty", "ivar", "mask"])
def test_errors_of_another_shape_are_refused(tmp_path, name):
    path = write_npz(tmp_path, arrays(**{name: np.ones(N_WAVELENGTHS)}))
    with pytest.raises(
        FileFormatError, match=rf"'{name}' .* value of the flux, .7, 11"
    ):
        read_grid(path)


def test_an_error_and_an_inverse_variance_are_refused(tmp_path):
    ones = np.ones((N_SPECTRA, N_WAVELENGTHS))
    path = write_npz(tmp_path, arrays(uncertainty=ones, ivar=ones))
    with pytest.raises(FileFormatError, match="both the error and the inverse"):
        read_grid(path)


# Files that expand -------------------------------------------------------------------


def test_npz_that_expands_beyond_the_limit_is_refused(tmp_path):
    arrays = {
        "P": np.zeros((3, 2)),
        "F": np.ones((3, 9973)),
        "wave": np.arange(5e3, 14973),
    }
    np.savez_compressed(tmp_path / "grid.npz", **arrays)
    with pytest.raises(FileFormatError, match=r"grid.npz' expands to .*`max_bytes` .9"):
        read_grid(tmp_path / "grid.npz", max_bytes=99_999)
    np.savez(tmp_path / "grid.npz", **arrays)  # as large on disk as in memory
    read_grid(tmp_path / "grid.npz", max_bytes=99_999)


def test_npz_whose_header_states_too_much_is_refused(tmp_path):
    header = np.lib.format.header_data_from_array_1_0(np.zeros(3))
    header["shape"] = (10**11,)
    with zipfile.ZipFile(tmp_path / "grid.npz", "w") as archive:
        with archive.open("flux.npy", "w") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.write(bytes(24))
        for name in ("P.npy", "wave.npy"):
            with archive.open(name, "w") as file:
                np.lib.format.write_array(file, np.zeros(3))
    with pytest.raises(FileFormatError, match=r"'flux' in .* states 8e\+11 bytes"):
        read_grid(tmp_path / "grid.npz")


def test_gzipped_fits_that_expands_beyond_the_limit_is_refused(tmp_path):
    with gzip.open(tmp_path / "grid.fits.gz", "wb") as file:
        file.write(bytes(10**6))
    with pytest.raises(FileFormatError, match="expands to"):
        read_grid(tmp_path / "grid.fits.gz", max_bytes=99_999)


def test_hdf5_that_expands_beyond_the_limit_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "grid.h5", "w") as file:
        file["P"], file["wave"] = np.zeros((3, 2)), np.arange(5e3, 14973)
        file.create_dataset("F", (3, 9973 * 101), "f8", compression="gzip")
    with pytest.raises(FileFormatError, match="expands to"):
        read_grid(tmp_path / "grid.h5", max_bytes=99_999)
