"""Compressed files are read, and those that expand without end are not."""

import bz2
import gzip
import io
import subprocess
import sys

import numpy as np
import pytest
import spectrum_files as files
from astropy.io import fits

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra import read_spectra

TEXT = "# medium: air\n" + "\n".join(f"{5000 + i} 0.{i}" for i in range(1, 30))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_text_and_fits_may_be_compressed(tmp_path, compress):
    (tmp_path / "star.txt").write_bytes(compress(TEXT.encode()))
    assert read_spectra(tmp_path / "star.txt").flux.size == 29
    path = files.write_sdss_spec(tmp_path)
    flux = read_spectra(path).flux.value
    path.write_bytes(compress(path.read_bytes()))
    np.testing.assert_array_equal(read_spectra(path).flux.value, flux)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_compressed_file_that_is_cut_off_is_told_so(tmp_path, compress):
    packed = compress(TEXT.encode())
    for end in (len(packed) // 2, len(packed) - 5):
        (tmp_path / "star.txt").write_bytes(packed[:end])
        with pytest.raises(FileFormatError, match=r"star.txt'.*damaged or truncated"):
            read_spectra(tmp_path / "star.txt")


def test_compressed_bytes_that_are_altered_are_told_so(tmp_path):
    packed = bytearray(gzip.compress(TEXT.encode()))
    packed[len(packed) // 2] ^= 255
    (tmp_path / "star.txt").write_bytes(packed)
    with pytest.raises(FileFormatError, match="damaged or truncated"):
        read_spectra(tmp_path / "star.txt")


def test_limit_to_the_size_can_be_raised(tmp_path):
    (tmp_path / "star.txt").write_bytes(gzip.compress(TEXT.encode()))
    with pytest.raises(FileFormatError, match="more than `max_bytes`, 100 bytes"):
        read_spectra(tmp_path / "star.txt", max_bytes=100)
    (tmp_path / "long.txt").write_text("5000 1\n" * 400)
    with pytest.raises(FileFormatError, match=r"25000 bytes or 390 lines.*`max_bytes="):
        read_spectra(tmp_path / "long.txt", max_bytes=100_000)
    assert read_spectra(tmp_path / "star.txt", max_bytes=10_000).flux.size == 29


@pytest.mark.parametrize("max_bytes", [0, -1, 1.5, "many", True])
def test_limit_must_be_a_number_of_bytes(tmp_path, max_bytes):
    (tmp_path / "star.txt").write_text(TEXT)
    with pytest.raises(ValueError, match="`max_bytes` must be a positive integer"):
        read_spectra(tmp_path / "star.txt", max_bytes=max_bytes)


def test_image_that_expands_beyond_the_limit_is_refused(tmp_path):
    hdu = fits.CompImageHDU(np.zeros((1, 100_000), np.float32), name="FLUX")
    hdu.header.update({"CRVAL1": 5000.0, "CDELT1": 0.1})
    hdu.writeto(tmp_path / "star.fits")
    with pytest.raises(FileFormatError, match="HDU FLUX expands to more"):
        read_spectra(tmp_path / "star.fits", max_bytes=399_999)


def test_line_without_end_is_no_text(tmp_path):
    (tmp_path / "star.txt").write_text("1," * 100_000)
    with pytest.raises(FileFormatError, match="neither FITS nor text"):
        read_spectra(tmp_path / "star.txt")


BOMB = """
import resource, sys
from sk_payne.spectra import read_spectra
import specutils, astropy.io.fits, astropy.table
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        read_spectra(path, medium="air")
    except ValueError as error:
        print(type(error).__name__)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_bombs_are_refused_before_they_fill_the_memory(tmp_path):
    heads = {"zeros": b"", "fits": b"SIMPLE  =                    T", "text": b"5 1\n"}
    for name, head in heads.items():
        with gzip.open(tmp_path / name, "wb", compresslevel=1) as file:
            file.write(head)
            block = head * 2**22 if name == "text" else bytes(2**24)
            for _ in range(17):
                file.write(block)
    done = subprocess.run(
        [sys.executable, "-c", BOMB, *(tmp_path / name for name in heads)],
        capture_output=True,
        text=True,
        check=True,
    )
    *errors, peak = done.stdout.split()
    assert errors == ["FileFormatError"] * 3
    assert int(peak) < 700  # MB


def test_compressed_image_is_read(tmp_path):
    flux = files.flux_of(0, 1, 1000).astype(np.float32)
    hdu = fits.CompImageHDU(
        flux, name="FLUX", compression_type="GZIP_1", quantize_level=0
    )
    hdu.header.update({"CRVAL1": 5000.0, "CDELT1": 0.1})
    hdu.writeto(tmp_path / "star.fits")
    star = read_spectra(tmp_path / "star.fits", medium="air")
    np.testing.assert_array_equal(star.flux.value, flux[0])


@pytest.mark.parametrize(
    ("keyword", "value"), [("TFIELDS", 2**31), ("TFORM1", "'~'"), ("XTENSION", "'X'")]
)
def test_header_that_cannot_be_is_refused(tmp_path, keyword, value):
    path = files.write_sdss_spec(tmp_path)
    content = path.read_bytes()
    start = content.index(keyword.ljust(8).encode() + b"= ")
    card = f"{keyword:8}= {value:>20}".ljust(80).encode()
    path.write_bytes(content[:start] + card + content[start + 80 :])
    with pytest.raises(FileFormatError, match=r"spectrum.fits'.*HDU 1 is damaged"):
        read_spectra(path)


@pytest.mark.parametrize(
    ("keyword", "value", "place", "number"),
    [
        ("NAXIS", 9999999999, 0, 0),
        ("NAXIS", 9999999999, 1, 1),
        ("NAXIS2", -5, 0, 1),
        ("PCOUNT", -99999999, 0, 1),
    ],
)
def test_header_on_which_astropy_would_hang_is_refused(
    tmp_path, keyword, value, place, number
):
    path = files.write_sdss_spec(tmp_path)
    content, name = path.read_bytes(), keyword.ljust(8).encode()
    starts = [i for i in range(0, len(content), 80) if content[i : i + 8] == name]
    start, card = starts[place], name + f"= {value:>20}".ljust(72).encode()
    path.write_bytes(content[:start] + card + content[start + 80 :])
    with pytest.raises(FileFormatError, match=f"HDU {number} is damaged .it states"):
        read_spectra(path)


def test_header_that_states_too_much_data_is_refused(tmp_path):
    path = files.write_harps_s1d(tmp_path)
    content = path.read_bytes()
    start = content.index(b"NAXIS1  = ")
    card = b"NAXIS1  =           9999999999".ljust(80)
    path.write_bytes(content[:start] + card + content[start + 80 :])
    with pytest.raises(FileFormatError, match="truncated"):
        read_spectra(path)


def test_image_of_bytes_that_grows_eightfold_in_memory_is_refused(tmp_path):
    header = fits.Header({"CRVAL1": 5000.0, "CDELT1": 0.1, "CTYPE1": "AWAV"})
    packed = io.BytesIO()
    fits.PrimaryHDU(np.zeros(300_000, np.uint8), header).writeto(packed)
    path = tmp_path / "star.fits.gz"
    path.write_bytes(gzip.compress(packed.getvalue()))
    with pytest.raises(FileFormatError, match="expands to more than `max_bytes`"):
        read_spectra(path, max_bytes=1_000_000)
    assert len(read_spectra(path, max_bytes=3_000_000).flux) == 300_000
