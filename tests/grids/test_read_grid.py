"""Grids are read under every documented name, and a bad file is told what is wrong.

It is here because a grid misread costs a night of training.
"""

import builtins
import os
import pickle

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
