import re

import numpy as np
import pytest

from sk_payne.exceptions import WavelengthMismatchError
from sk_payne.spectra import (
    break_at_gaps,
    check_covered,
    describe_resolving_power,
    describe_segments,
    grid_segments,
    is_covered,
    is_gap,
    resolve_resolving_power,
    touches_grid,
)

# Steps of 0.05, 0.05 and 0.1 Å.
ARMS = np.concatenate(
    [
        np.arange(4500, 4510, 0.05),
        np.arange(5000, 5010, 0.05),
        np.arange(6000, 6010, 0.1),
    ]
)


def sizes(grid):
    return [part.stop - part.start for part in grid_segments(grid)]


def test_segments_of_three_arms_are_the_arms():
    assert sizes(ARMS) == [200, 200, 100]
    assert np.flatnonzero(is_gap(ARMS)).tolist() == [199, 399]


def test_segments_of_a_fine_grid_end_at_a_gap_of_an_angstrom_and_a_half():
    grid = np.r_[np.arange(0, 300) * 0.02, 300 * 0.02 + 1.6 + np.arange(0, 200) * 0.02]

    assert sizes(5000 + grid) == [300, 200]


def test_segments_of_a_grid_that_lacks_a_few_pixels_is_one():
    grid = np.delete(np.geomspace(5000, 5100, 1000), [3, 500, 501, 502, 503, 504, 505])

    assert sizes(grid) == [993]


def test_segments_of_steps_that_grow_smoothly_is_one():
    grid = 5000 + np.cumsum(np.linspace(0.1, 0.3, 1000))

    assert sizes(grid) == [1000]


@pytest.mark.parametrize("grid", [[5000.0], [5000.0, 7000.0]])
def test_segments_of_one_or_two_wavelengths_is_one(grid):
    assert sizes(grid) == [len(grid)]


def test_segments_may_have_one_two_or_three_pixels():
    grid = np.r_[
        5000 + 0.1 * np.arange(20), 5100, 5200, 5200.1, 5300 + np.r_[0, 0.1, 0.2]
    ]

    assert sizes(grid) == [20, 1, 2, 3]
    assert is_covered([5100, 5099.9], [5100, 5099.9], grid).tolist() == [True, False]


def test_close_pair_of_wavelengths_does_not_make_gaps():
    grid = np.sort(np.r_[np.arange(4500, 4600, 0.05), 4550.0001])

    assert sizes(grid) == [2001]


def test_ranges_are_covered_within_one_segment_only():
    low, high = (
        [4500, 4509, 4509, 4400, 4505, 4700],
        [4505, 4510, 5001, 4501, 4504, 4800],
    )

    covered = is_covered(low, high, ARMS)

    assert covered.tolist() == [True, False, False, False, False, False]


def test_ranges_touch_a_grid_where_they_reach_a_segment():
    parts = [ARMS[part] for part in grid_segments(ARMS)]
    ends = np.concatenate([part[[0, -1]] for part in parts])
    # at, before and behind every end of a segment, and in every gap
    places = np.sort(np.concatenate([ends, ends - 0.01, ends + 0.01, [4800, 5500]]))
    first, second = (axis.ravel() for axis in np.meshgrid(places, places))
    lowest, highest = np.minimum(first, second), np.maximum(first, second)
    expected = np.any(
        [(part[0] <= highest) & (part[-1] >= lowest) for part in parts], axis=0
    )
    assert not expected.all()
    np.testing.assert_array_equal(touches_grid(lowest, highest, ARMS), expected)


def test_wavelengths_at_the_ends_of_segments_pass_to_the_last_bit():
    ends = ARMS[[0, 199, 200, 399, 400, 499]]

    check_covered(ends, ARMS)
    check_covered(ends * (1 + 4e-16), ARMS)
    check_covered(ends * (1 - 4e-16), ARMS)


def test_wavelengths_in_a_gap_are_refused_with_the_segments():
    with pytest.raises(
        WavelengthMismatchError,
        match=r"`where` must lie within 4500.000-4509.950, 5000.000-5009.950, "
        r"6000.000-6009.900 Å, the segments .*; 2 of 3 do not, such as 4700.000",
    ):
        check_covered([4501.0, 4700.0, 5500.0], ARMS, "where")


def test_wavelengths_that_are_not_numbers_are_refused():
    with pytest.raises(WavelengthMismatchError, match="1 of 2 do not, such as nan"):
        check_covered([4501.0, np.nan], ARMS)


def test_many_segments_are_counted_not_listed():
    grid = (5000 + 100 * np.arange(30)[:, None] + [0, 0.1, 0.2]).ravel()

    assert describe_segments(grid).endswith("5700.0-5700.2 Å and 22 more segments")


def test_lines_break_at_gaps():
    x, y = break_at_gaps(ARMS, np.ones((2, 500)))

    assert x.shape == (502,)
    assert y.shape == (2, 502)
    assert np.flatnonzero(np.isnan(x)).tolist() == [200, 401]
    assert np.array_equal(np.isnan(y[1]), np.isnan(x))


def test_resolving_power_of_segments_is_that_of_their_pixels():
    power = resolve_resolving_power([20000, 18000, 15000], ARMS)

    assert power.shape == (500,)
    assert power[[0, 199, 200, 399, 400]].tolist() == [2e4, 2e4, 1.8e4, 1.8e4, 1.5e4]


def test_resolving_power_of_wavelengths_is_copied():
    mine = np.linspace(20000, 30000, len(ARMS))

    power = resolve_resolving_power(mine, ARMS)

    assert np.array_equal(power, mine)
    assert power is not mine
    assert not np.shares_memory(power, mine)


@pytest.mark.parametrize("given", [22500, np.float32(22500), [22500] * 3])
def test_resolving_power_that_is_the_same_everywhere_is_a_float(given):
    power = resolve_resolving_power(given, ARMS)

    assert type(power) is float
    assert power == 22500


def test_resolving_power_may_be_unknown_or_infinite():
    assert resolve_resolving_power(None, ARMS) is None
    assert resolve_resolving_power(np.inf) == np.inf


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0, "must be a positive number, .* got 0"),
        (np.nan, "must be a positive number"),
        ("high", "must be a positive number, .* got 'high'"),
        ([20000, -1, 3], "must be a positive number"),
        ([[20000, 15000, 1]], "must be a positive number"),
        (
            [20000, 15000],
            r"must be .* each of the 3 segments of the grid, 4500.0-.*; got 2",
        ),
    ],
)
def test_resolving_power_that_fits_no_rule_is_refused(given, message):
    with pytest.raises(ValueError, match=f"`resolving_power` {message}"):
        resolve_resolving_power(given, ARMS)


def test_resolving_powers_without_wavelengths_are_refused():
    with pytest.raises(ValueError, match="if there are no wavelengths; got 2"):
        resolve_resolving_power([20000, 15000])


@pytest.mark.parametrize(
    ("power", "text"),
    [
        (None, "not stated"),
        (np.inf, "infinite: not broadened"),
        (22500.0, "22,500"),
        (np.repeat([2e4, np.inf, 1.5e4], [200, 200, 100]), "20,000, inf, 15,000 by .*"),
        (np.linspace(2e4, 3e4, 500), "20,000 to 30,000, by wavelength"),
    ],
)
def test_resolving_power_is_told_as_short_as_possible(power, text):
    assert re.fullmatch(text, describe_resolving_power(power, ARMS))
