"""Line lists of every format become one table; what is wrong in a file is told.

Fixtures follow the layouts that are published; the numbers are those of NIST: levels,
wavelengths in air and log gf of Mg b and Na D.
"""

import gzip

import numpy as np
import pytest
from astropy import constants
from astropy import units as u
from astropy.io import ascii
from astropy.table import QTable
from specutils.utils.wcs_utils import air_to_vac, vac_to_air

from sk_payne.exceptions import FileFormatError
from sk_payne.grids import lines_by_element, read_line_list

COLUMNS = (
    *("wavelength", "species", "element", "ion", "e_lower", "log_gf"),
    *("gamma_rad", "gamma_stark", "gamma_vdw", "depth"),
)
# species, codes, air wavelength in Å, lower and upper level in 1/cm, log gf
LINES = [
    ("Mg 1", 12.00, 12.0, 5167.3216, 21850.405, 41197.403, -0.870),
    ("Mg 1", 12.00, 12.0, 5172.6843, 21870.464, 41197.403, -0.393),
    ("Mg 1", 12.00, 12.0, 5183.6042, 21911.178, 41197.403, -0.167),
    ("Na 1", 11.00, 11.0, 5889.9510, 0.0, 16973.368, 0.108),
    ("Na 1", 11.00, 11.0, 5895.9242, 0.0, 16956.172, -0.194),
    ("Ba 2", 56.01, 56.1, 4554.0333, 0.0, 21952.404, 0.140),
]
SPECIES, _, _, AIR, LOWER, UPPER, LOG_GF = map(list, zip(*LINES, strict=True))
EV = (LOWER / u.cm).to_value("eV", u.spectral())


def in_vacuum(air):
    return air_to_vac(air * u.AA, scheme="Piskunov").value


def vald(kind, medium="air", unit="A", energy="eV"):
    """Lines of text as VALD3 sends them."""
    stellar = "stellar" in kind
    text = []
    if stellar:
        text.append(
            f" 4500.0, 6000.0, {len(LINES)}, 999, 1.0 Wavelength region, lines "
            "selected, lines processed, Vmicro"
        )
    first = "Spec" if stellar else "Elm"
    where = f"{first} Ion  WL_{medium}({unit}) "
    if "long" in kind:
        text.append("        Lande factors        Damping parameters   Central")
        text.append(
            f"{where} log gf* E_low({energy}) J lo  E_up({energy}) J up  lower  "
            f"upper   mean   Rad.  Stark  Waals{'  depth' * stellar}"
        )
    else:
        text.append("                    Damping parameters  Lande  Central")
        text.append(
            f"{where} Excit({energy}){' Vmic' * stellar} log gf* Rad.  Stark  Waals "
            f"factor{'  depth' * stellar}  References"
        )
    for i in range(len(LINES)):
        text += vald_line(kind, i, medium, unit, energy)
    if stellar:
        text += [
            "'castelli_ap00k2_T05750G40.krz',",
            "'H :  0.92','He: -1.11',",
            "'END'",
        ]
    text.append("* oscillator strengths were scaled by the solar isotopic ratios.")
    return [*text, " References:", "  1. NIST, 2010"]


def vald_line(kind, i, medium, unit, energy):
    wavelength = AIR[i] if medium == "air" else in_vacuum(AIR[i])
    wavelength /= 10 if unit == "nm" else 1
    levels = [LOWER[i], UPPER[i]] / u.cm
    low, high = levels.to_value("eV" if energy == "eV" else "1/cm", u.spectral())
    damping = "7.990,-5.680, 238.249"
    depth = f" {0.5 + i / 100:.3f}," if "stellar" in kind else ""
    start = f"'{SPECIES[i]}',  {wavelength:11.5f},"
    if "long" in kind:
        return [
            f"{start} {LOG_GF[i]:6.3f}, {low:.4f}, 1.0, {high:.4f}, 1.0, 1.500, 2.000, "
            f"1.750, {damping},{depth}",
            "'  LS                      3s.3p 3P*'",
            "  LS                      3s.4s 3S",
            "'_          NIST 2010   1 wl:N   1 gf:N   1 N   1 N             Mg'",
        ]
    vmic = " 1.0," if "stellar" in kind else ""
    return [
        f"{start} {low:.4f},{vmic} {LOG_GF[i]:.3f}, {damping}, 1.750,{depth} "
        "'  1 wl:N  1 gf:N            Mg'"
    ]


def gfall_line(wavelength, log_gf, code, first, second, damping, component=""):
    """One line by the format of Kurucz's page, without what follows the isotopes."""
    return (
        f"{wavelength:11.4f}{log_gf:7.3f}{code:6.2f}{first:12.3f}{1.0:5.1f} "
        f"{'3s3p 3P':10}{second:12.3f}{1.0:5.1f} {'3s4s 3S':10}"
        f"{damping[0]:6.2f}{damping[1]:6.2f}{damping[2]:6.2f}{'NBS':4} 0 0"
        f"{component or '  0 0.000  0 0.000'}"
    )


def gfall(medium="air"):
    return [
        gfall_line(
            (air if medium == "air" else in_vacuum(air)) / 10,
            *(log_gf, code, lower, upper, (7.99, 0.0, -7.27)),
        )
        for _, code, _, air, lower, upper, log_gf in LINES
    ]


def moog(title="Mg b and Na D"):
    lines = [
        f"{w:10.4f}{code:10.5f}{e:10.4f}{log_gf:10.3f}{-7.27:10.2f}{'':20}     NIST"
        for w, code, e, log_gf in zip(
            AIR, [r[2] for r in LINES], EV, LOG_GF, strict=True
        )
    ]
    return [title, *lines]


def as_csv(header="species,wlcent,excit,gflog,gamvw"):
    rows = zip(SPECIES, AIR, EV, LOG_GF, strict=True)
    return [header, *(f"{s},{w},{e},{gf},0.0" for s, w, e, gf in rows)]


@pytest.fixture
def read(tmp_path):
    """Give a function that reads lines of text from a file."""

    def read(text, format=None, medium=None):
        path = tmp_path / "lines.txt"
        path.write_text("\n".join(text) + "\n", encoding="utf-8")
        return read_line_list(path, format, medium=medium)

    return read


def test_the_numbers_of_these_tests_agree_with_each_other():
    # Ritz: a vacuum wavelength is that between two levels
    vacuum = 1e8 / (np.array(UPPER) - LOWER) * u.AA
    np.testing.assert_allclose(vac_to_air(vacuum).value, AIR, atol=5e-4)
    # spin-orbit: oscillator strengths of Mg b go as 1 : 3 : 5, of Na D as 2 : 1
    gf = 10.0 ** np.array(LOG_GF)
    np.testing.assert_allclose(gf[:3] / gf[0], [1, 3, 5], rtol=0.02)
    assert gf[3] / gf[4] == pytest.approx(2, rel=0.01)


# Every format -----------------------------------------------------------------------

VALD_KINDS = ["short all", "short stellar", "long all", "long stellar"]
TEXTS = {kind: (vald(kind), "vald", None) for kind in VALD_KINDS} | {
    "gfall": (gfall(), "gfall", None),
    "moog": (moog(), "moog", "air"),
    "csv": (as_csv(), "csv", "air"),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_format_is_recognised_and_gives_the_lines_in_units(read, kind):
    text, format, medium = TEXTS[kind]
    lines = read(text, medium=medium)
    assert isinstance(lines, QTable)
    assert tuple(lines.colnames) == COLUMNS
    assert lines.meta == {"medium": "air", "format": format}
    assert (lines["wavelength"].unit, lines["e_lower"].unit) == (u.AA, u.eV)
    np.testing.assert_allclose(lines["wavelength"].value, AIR, atol=6e-4)
    np.testing.assert_allclose(lines["e_lower"].value, EV, atol=6e-5)
    np.testing.assert_allclose(lines["log_gf"], LOG_GF, atol=1e-9)
    assert lines["species"].tolist() == SPECIES
    assert lines["element"].tolist() == [name.split()[0] for name in SPECIES]
    assert lines["ion"].tolist() == [int(name.split()[1]) for name in SPECIES]


@pytest.mark.parametrize("kind", TEXTS)
def test_asking_for_a_format_gives_what_recognising_it_does(read, kind):
    text, format, medium = TEXTS[kind]
    one, two = read(text, medium=medium), read(text, format, medium=medium)
    for name in COLUMNS:
        np.testing.assert_array_equal(one[name], two[name])


def test_energies_of_the_na_d_lines_are_those_of_their_photons(read):
    # the lower level is the ground state: h c / wavelength is the upper one, 2.104 eV
    lines = read(gfall())[3:5]
    photon = constants.h * constants.c / (in_vacuum(lines["wavelength"].value) * u.AA)
    np.testing.assert_allclose(photon.to_value("eV"), [2.1044, 2.1023], atol=5e-5)
    assert lines["e_lower"].value.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        *((kind, (7.99, -5.68, 238.249)) for kind in VALD_KINDS),
        ("gfall", (7.99, np.nan, -7.27)),
        ("moog", (np.nan, np.nan, -7.27)),
        ("csv", (np.nan, np.nan, np.nan)),
    ],
)
def test_damping_is_kept_where_a_file_gives_it(read, kind, expected):
    text, _, medium = TEXTS[kind]
    lines = read(text, medium=medium)
    for name, value in zip(COLUMNS[6:9], expected, strict=True):
        np.testing.assert_array_equal(lines[name], np.full(len(LINES), value))
        assert "log10" in lines[name].info.description


@pytest.mark.parametrize("kind", TEXTS)
def test_depth_is_that_of_extract_stellar_alone(read, kind):
    text, _, medium = TEXTS[kind]
    depth = read(text, medium=medium)["depth"]
    expected = 0.5 + np.arange(len(LINES)) / 100 if "stellar" in kind else np.nan
    np.testing.assert_allclose(depth, np.broadcast_to(expected, len(LINES)))


def test_a_compressed_file_is_read_as_it_is(tmp_path):
    path = tmp_path / "lines.gz"
    path.write_bytes(gzip.compress("\n".join(gfall()).encode()))
    assert len(read_line_list(path)) == len(LINES)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(FileFormatError, match=r"lines.gz' cannot be unpacked by gzip"):
        read_line_list(path)


# VALD -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", VALD_KINDS)
@pytest.mark.parametrize("unit", ["A", "nm"])
@pytest.mark.parametrize("energy", ["eV", "cm^-1"])
def test_vald_tells_its_units_and_its_medium(read, kind, unit, energy):
    lines = read(vald(kind, "vac", unit, energy))
    assert lines.meta["medium"] == "vacuum"
    expected = 1e8 / (np.array(UPPER) - LOWER)
    np.testing.assert_allclose(lines["wavelength"].value, expected, atol=6e-4)
    np.testing.assert_allclose(lines["e_lower"].value, EV, atol=6e-5)


def test_vald_may_hold_comments_and_molecules(read):
    text = vald("long all")
    molecule = [line.replace("Mg 1", "CN 1") for line in text[2:6]]
    lines = read(
        ["# begin request", "", *text[:2], *molecule, "# a comment", *text[2:]]
    )
    assert lines["species"].tolist() == ["CN 1", *SPECIES]
    assert lines["element"][0] == "CN"


def test_vald_that_is_cut_off_is_noticed(read):
    text = vald("short stellar")
    with pytest.raises(
        FileFormatError, match="holds 5 spectral lines, but announces 6"
    ):
        read(text[:3] + text[4:])
    with pytest.raises(FileFormatError, match=r"line 7 begins .* but the file ends"):
        read(vald("long all")[:8])
    with pytest.raises(FileFormatError, match=r"line 9 must be a spectral line of 6"):
        read([*vald("short all")[:8], "'Mg 1', 5167.3, 2.7"])


def test_vald_with_a_line_too_many_is_noticed(read):
    text = vald("long all")
    with pytest.raises(FileFormatError, match="line 7 must be a spectral line of 12"):
        read([*text[:5], text[5], *text[5:]])


@pytest.mark.parametrize(("unit", "energy"), [("cm^-1", "eV"), ("A", "Ry")])
def test_vald_in_other_units_is_refused(read, unit, energy):
    with pytest.raises(
        FileFormatError, match="line 2 must name wavelengths in A or nm"
    ):
        read(vald("short all", "vac", unit, energy))


def test_vald_without_its_header_is_refused(read):
    with pytest.raises(FileFormatError, match=r"'vald': no line names the columns"):
        read(vald("short all")[2:], "vald")


# Kurucz -----------------------------------------------------------------------------


def test_gfall_in_vacuum_is_told_from_gfall_in_air_by_the_energies(read):
    lines = read(gfall("vacuum"))
    assert lines.meta["medium"] == "vacuum"
    np.testing.assert_allclose(
        vac_to_air(lines["wavelength"]).value, AIR, rtol=0, atol=1e-3
    )


def test_gfall_below_2000_is_vacuum(read):
    # Al II 1670.787 Å
    line = gfall_line(167.0787, 0.32, 13.01, 0.0, 59852.02, (9.0, 0.0, 0.0))
    assert read([line]).meta["medium"] == "vacuum"


def test_gfall_takes_the_lower_level_whatever_its_place_and_sign(read):
    _, code, _, air, lower, upper, log_gf = LINES[2]
    for first, second in [(upper, lower), (-upper, lower), (lower, -upper)]:
        line = gfall_line(air / 10, log_gf, code, first, second, (0, 0, 0))
        assert read([line])["e_lower"][0].value == pytest.approx(EV[2], abs=1e-6)


def test_hyperfine_components_of_gfall_add_up_to_their_isotope(read):
    # Ba II 6141.713 Å, isotope 137, 11 % of barium: F to F' by Kurucz
    fractions = [-1.234, -0.426, -2.380, -0.632, -1.137, -2.204, -0.882, -1.250, -1.204]
    text = [
        gfall_line(
            *(614.1713, -0.030, 56.01, 5674.807, 21952.404, (0, 0, 0)),
            component=f"137{fraction:6.3f}137{-0.950:6.3f}",
        )
        for fraction in fractions
    ]
    total = np.sum(10.0 ** read(text)["log_gf"])
    assert total == pytest.approx(10 ** (-0.030) * 0.1122, rel=2e-3)


def test_short_lines_of_gfall_have_no_damping(read):
    lines = read([line[:80] for line in gfall()])
    assert np.isnan(lines["gamma_rad"]).all()
    np.testing.assert_allclose(lines["log_gf"], LOG_GF)


def test_a_line_of_gfall_that_is_wrong_is_named(read):
    text = gfall()
    for place, wrong, message in [
        (slice(12, 18), " oops ", r"'gfall': line 3 must hold numbers .*oops"),
        (slice(18, 24), "100.00", "line 3 has an unknown species: 100 is not the"),
        (slice(18, 24), 6 * " ", "line 3 has an unknown species"),
        (slice(11, 18), 7 * " ", "line 3 must have a positive wavelength.* and nan"),
        (slice(0, 11), f"{0.0:11.4f}", "line 3 must have a positive wavelength"),
    ]:
        line = text[2][: place.start] + wrong + text[2][place.stop :]
        with pytest.raises(FileFormatError, match=message):
            read([*text[:2], line, *text[3:]])


# MOOG -------------------------------------------------------------------------------


def test_codes_of_moog_name_ions_isotopes_and_molecules(read):
    codes = {
        **{"26.0": "Fe 1", "26.1": "Fe 2", "21.1045": "Sc 2", "56.1137": "Ba 2"},
        **{"3.0006": "Li 1", "58.2": "Ce 3", "106.00112": "CH 1", "107.0": "NH 1"},
        **{"108.0": "OH 1", "112.00124": "MgH 1", "606.01213": "C2 1"},
        **{"607.01214": "CN 1", "608.0": "CO 1", "822.0": "TiO 1", "126.0": "FeH 1"},
        **{"814.0": "SiO 1", "10108.0": "H2O 1", "101.0": "H2 1", "120.0": "CaH 1"},
    }
    text = [f"{6000.0:10.3f}{code:>10}{1.0:10.3f}{-1.0:10.3f}" for code in codes]
    lines = read(["title", *text], medium="air")
    assert lines["species"].tolist() == list(codes.values())


def test_damping_and_dissociation_energy_of_moog_keep_to_their_columns(read):
    text = [
        "  5117.898   25.0055     3.132    -3.363     0.000               -11.5",
        "  5100.249 112.00124     0.607     0.520               1.340     LAWLER",
        "  5100.300      26.0     0.607     0.520     2.200",
        " -5100.300      26.0     0.607     0.520    -7.500",
    ]
    lines = read(["title", "", "# comment", " # comment", *text], medium="air")
    np.testing.assert_array_equal(lines["gamma_vdw"], [np.nan, np.nan, np.nan, -7.5])
    assert lines["wavelength"].value[3] == 5100.3


def test_moog_without_a_title_loses_no_line(read):
    assert len(read(moog()[1:], medium="air")) == len(LINES)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("5172.6843 12.0 2.71 -0.393", "line 4 must have .* columns of ten"),
        ("5172.6843\t12.0\t2.71\t-0.393 and more than forty", "line 4 must have"),
        (f"{5172.6:10.3f}{12.0:10.1f}{'x':>10}{0.1:10.3f}", "line 4 must hold numbers"),
        (f"{5172.6:10.3f}{0.0:10.1f}{2.7:10.3f}{0.1:10.3f}", "line 4 has an unknown"),
        (f"{5172.6:10.3f}{'inf':>10}{2.7:10.3f}{0.1:10.3f}", "line 4 has an unknown"),
    ],
)
def test_a_line_of_moog_that_is_wrong_is_named(read, line, message):
    text = moog()
    with pytest.raises(FileFormatError, match=message):
        read([*text[:3], line, *text[3:]], medium="air")


# CSV --------------------------------------------------------------------------------


def test_csv_takes_our_names_too(read):
    text = as_csv("species, wavelength, e_lower, log_gf, gamma_vdw")
    np.testing.assert_allclose(read(text, medium="air")["log_gf"], LOG_GF)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Mg 1,5172.68,2.7", "line 3 must have 5 cells, as line 1; it has 3"),
        ("Mg,5172.68,2.7,-0.4,0", "line 3 has an unknown species: 'Mg' is not a"),
        ("Mx 1,5172.68,2.7,-0.4,0", "line 3 has an unknown species: 'Mx 1'"),
        ("Mg 0,5172.68,2.7,-0.4,0", "line 3 has an unknown species: 'Mg 0'"),
        ("Mg 1,5172.68,,-0.4,0", "line 3 must have a positive wavelength.* nan"),
        ("Mg 1,5172.68,2.7,weak,0", "line 3 must hold numbers .*'weak'"),
    ],
)
def test_a_line_of_csv_that_is_wrong_is_named(read, line, message):
    text = as_csv()
    with pytest.raises(FileFormatError, match=rf"lines.txt', as 'csv': {message}"):
        read([*text[:2], line, *text[2:]], medium="air")


def test_csv_without_a_column_that_it_needs_is_refused(read):
    with pytest.raises(
        FileFormatError, match="line 1 must name a column e_lower or ex"
    ):
        read(as_csv("species,wlcent,energy,gflog,gamvw"), medium="air")


def test_the_list_of_this_project_is_read_as_astropy_reads_it(data_file):
    path = data_file("line_list_4000_5000.csv.gz")
    lines, plain = read_line_list(path, medium="air"), ascii.read(str(path))
    assert len(lines) == 54_309
    assert lines["species"].tolist() == plain["species"].tolist()
    for name, theirs in {
        **{"wavelength": "wlcent", "e_lower": "excit", "log_gf": "gflog"},
        **{"gamma_rad": "gamrad", "gamma_stark": "gamqst", "gamma_vdw": "gamvw"},
    }.items():
        ours = np.nan_to_num(getattr(lines[name], "value", lines[name]), nan=0.0)
        np.testing.assert_array_equal(ours, plain[theirs])
    # as said of it: no Stark widths but for hydrogen, C2 above 4675 Å only
    stark = np.isfinite(lines["gamma_stark"])
    assert set(lines["element"][stark].tolist()) == {"H"}
    assert lines["wavelength"][lines["element"] == "C2"].min() > 4675 * u.AA


def test_strong_lines_of_the_list_of_this_project_are_those_of_nist(data_file):
    lines = read_line_list(data_file("line_list_4000_5000.csv.gz"), medium="air")
    for species, wavelength, log_gf in [
        ("Fe 1", 4045.812, 0.280),
        ("Mg 1", 4571.096, -5.62),
        ("Ca 1", 4226.728, 0.244),
        ("Sr 2", 4077.709, 0.151),
    ]:
        own = lines["species"] == species
        near = own & (np.abs(lines["wavelength"].value - wavelength) < 0.06)
        total = np.log10(np.sum(10.0 ** lines["log_gf"][near]))  # over components
        assert total == pytest.approx(log_gf, abs=0.05), species


# The door ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["moog", "csv"])
def test_a_medium_that_is_not_told_must_be_given(read, kind):
    text = TEXTS[kind][0]
    with pytest.raises(ValueError, match=r"does not state .* Pass `medium=\"air\"` or"):
        read(text)
    assert read(text, medium="vacuum").meta["medium"] == "vacuum"


def test_a_medium_other_than_told_is_refused(read):
    assert read(gfall(), medium="air").meta["medium"] == "air"
    with pytest.raises(ValueError, match=r"`medium` must be that of .*'air'; got 'va"):
        read(gfall(), medium="vacuum")


@pytest.mark.parametrize("text", [[], [""], ["wavelength flux", "5000 1.0"]])
def test_a_file_of_no_format_is_refused(read, text):
    with pytest.raises(
        FileFormatError, match=r"lines.txt' has an unknown format; line 1 is"
    ):
        read(text)


@pytest.mark.parametrize(
    ("text", "format"), [(vald("short all")[:2], "vald"), (["title"], "moog")]
)
def test_a_file_without_lines_is_refused(read, text, format):
    with pytest.raises(FileFormatError, match="holds no spectral line"):
        read(text, format, medium="air")


def test_arguments_that_are_unknown_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"got 'vlad'. Did you mean 'vald'\?"):
        read_line_list(tmp_path, "vlad")
    with pytest.raises(ValueError, match=r"`medium` must be one of .* got 'vac'"):
        read_line_list(tmp_path, medium="vac")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        read_line_list(tmp_path / "nothing")


# Marks ------------------------------------------------------------------------------


def test_the_strongest_lines_of_each_element_come_in_order(read):
    lines = read(gfall())
    marks = lines_by_element(lines, ["Na", "Mg"], n=2)
    assert list(marks) == ["Na", "Mg"]
    np.testing.assert_allclose(marks["Na"], AIR[3:5], atol=1e-3)
    np.testing.assert_allclose(marks["Mg"], AIR[1:3], atol=1e-3)


def test_depth_counts_before_oscillator_strength(read):
    # depths of the fixture grow along the list
    lines = read(vald("short stellar"))
    assert lines_by_element(lines, ["Na"], n=1)["Na"] == pytest.approx(AIR[4], abs=1e-3)
    lines["depth"] = np.nan
    assert lines_by_element(lines, ["Na"], n=1)["Na"] == pytest.approx(AIR[3], abs=1e-3)


def test_lines_out_of_range_are_no_marks(read):
    lines = read(gfall())
    marks = lines_by_element(lines, ["Mg", "Na", "Ba 2"], (5170, 5890))
    assert [len(wavelengths) for wavelengths in marks.values()] == [2, 1, 0]


def test_lower_levels_that_are_hardly_populated_make_weaker_lines():
    lines = QTable(
        {
            "wavelength": [5000.0, 5001.0] * u.AA,
            **{"element": ["Fe", "Fe"], "species": ["Fe 1", "Fe 2"]},
            "e_lower": [0.0, 4.0] * u.eV,
            **{"log_gf": [-3.0, 0.0], "depth": [np.nan, np.nan]},
        }
    )
    assert lines_by_element(lines, ["Fe"], n=1)["Fe"] == [5000.0]
    assert lines_by_element(lines, ["Fe 2"], n=1)["Fe 2"] == [5001.0]


def test_components_of_a_line_are_one_mark(data_file):
    lines = read_line_list(data_file("line_list_4000_5000.csv.gz"), medium="air")
    marks = lines_by_element(lines, ["Ba"], (4500, 4600), n=5)["Ba"]
    assert np.abs(marks - 4554.03).min() < 0.03
    assert np.diff(marks).min() > 0.1


def test_marks_are_what_the_display_of_a_fit_takes(read, pyplot):
    from sk_payne.inspection import SpectrumFitDisplay

    wavelength = np.linspace(5160, 5190, 31)
    display = SpectrumFitDisplay(
        wavelength=wavelength,
        flux=np.ones(31),
        error=np.full(31, 0.01),
        model=np.ones(31),
        medium="air",
    )
    display.plot(lines=lines_by_element(read(gfall()), ["Mg", "Na"]))
    assert [len(marks.get_segments()) for marks in display.lines_] == [3, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["Fe"],), "`elements` must be in the list .* got 'Fe'"),
        ((["mg"],), r"`elements` .* which holds \['Ba', 'Mg', 'Na'\]; got 'mg'"),
        ((["Mg 2"],), r"which holds \['Ba 2', 'Mg 1', 'Na 1'\]; got 'Mg 2'"),
        (("Mg",), "got the single string 'Mg'"),
        ((["Mg"], (5000, 4000)), "`wavelength_range` must be two increasing"),
        ((["Mg"], 5000), "`wavelength_range` must be two increasing"),
    ],
)
def test_marks_refuse_what_is_not_there(read, arguments, message):
    with pytest.raises(ValueError, match=message):
        lines_by_element(read(gfall()), *arguments)


@pytest.mark.parametrize("n", [0, 1.5, True])
def test_marks_refuse_what_is_no_number(read, n):
    with pytest.raises(ValueError, match=f"`n` must be a positive integer; got {n}"):
        lines_by_element(read(gfall()), ["Mg"], n=n)
