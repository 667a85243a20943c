"""Columns of numbers in text: separators, names and values.

Numbers may have decimal commas, and names may be in comments.
"""

import re

import numpy as np

from sk_payne.exceptions import FileFormatError
from sk_payne.spectra._columns import are_spectrum

__all__ = ["header_of", "numbers_of", "starts_with_numbers"]

_WORDS = {"true": 1.0, "false": 0.0, "": np.nan}
# 5,000 may be five thousand, or five with three decimals.
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")


def starts_with_numbers(lines):
    """Return whether the data of some text start with two or three numbers."""
    for _, line in _numbered_data(lines):
        words = _words(line, _separator(line))
        words = words[:-1] if words[-1] == "" else words
        return len(words) in (2, 3) and all(map(_is_number, words))
    return False


def header_of(lines):
    """Return the names of the columns, or None, and whether they are a line of data.

    They are the first line of data, or a comment before it with one name per column;
    wavelength and flux are among them.
    """
    first = next(_numbered_data(lines), None)
    if first is None:
        return None, False
    number, line = first
    names = _names(line)
    if are_spectrum(names):
        return names, True
    n_columns = len(_words(line, _separator(line)))
    for comment in reversed(lines[: number - 1]):
        names = _names(comment.strip().lstrip("#").strip())
        if len(names) == n_columns and are_spectrum(names):
            return names, False
    return None, False


def numbers_of(lines, names, is_named):
    """Return the columns of numbers, as many as there are names, or two or three.

    Parameters
    ----------
    lines : list of str
        The text.
    names : None or list of str
        Those of the columns.
    is_named : bool
        Whether the first line of data holds the names.

    Returns
    -------
    columns : ndarray of shape (n_columns, n_rows)
        NaN where a cell is empty.
    """
    data = list(_numbered_data(lines))[int(is_named) :]
    if not data:
        raise FileFormatError("It has no line of data, only comments or nothing.")
    separator = _separator(data[0][1])
    rows = [_words(line, separator) for _, line in data]
    if separator != ",":
        rows = _with_decimal_points(rows, data)
    allowed = (2, 3) if names is None else (len(names),)
    for i, (number, line) in enumerate(data):
        if rows[i][-1] == "" and (names is None or len(rows[i]) > len(names)):
            rows[i].pop()  # a comma at the end
        try:
            rows[i] = [_number(word) for word in rows[i]]
        except ValueError as error:
            raise FileFormatError(
                f"Line {number} must hold numbers; it is {line[:40]!r}. Mark what is "
                "no data with # at its start."
            ) from error
        if len(rows[i]) not in allowed or len(rows[i]) != len(rows[0]):
            what = "one number for each name, " + ", ".join(names or ())
            if names is None:
                what = "wavelength, flux and, on all lines or none, the error"
            raise FileFormatError(
                f"Each line must hold {what}; line {number} has {len(rows[i])} "
                "columns. Drop the others, or start with a line of names."
            )
    return np.array(rows).T


def _numbered_data(lines):
    """Yield number and content of each line that is neither blank nor a comment."""
    for number, line in enumerate(lines, start=1):
        data = line.partition("#")[0].strip()
        if data:
            yield number, data


def _separator(line):
    """Return what separates the words of a line: a semicolon, a comma or blanks."""
    if ";" in line:
        return ";"
    if "," not in line or re.search(r"\s", re.sub(r"\s*,\s*", ",", line)):
        return " "
    spaced = len(re.findall(r"\s,|,\s", line))
    # of "5000, 0,98" only the first comma separates
    return "," if spaced in (0, line.count(",")) or "." in line else " "


def _words(line, separator):
    if separator == " ":
        return re.split(r"\s*,\s+|\s+,?", line)
    return [word.strip() for word in line.split(separator)]


def _names(line):
    """Return the words of a line of names, without quotes."""
    separator = r"\s*[;,\t]\s*" if re.search("[;,\t]", line) else r"\s+(?![\(\[])"
    names = [word.strip("\"' ") for word in re.split(separator, line)]
    # as pandas writes the column of its index
    return [name or f"column {i}" for i, name in enumerate(names)]


def _with_decimal_points(rows, data):
    """Replace commas within numbers by points, unless that is doubtful."""
    with_comma = [word for words in rows for word in words if "," in word]
    if not with_comma:
        return rows
    points = any("." in word for words in rows for word in words)
    if points or all(map(_THOUSANDS.fullmatch, with_comma)):
        number, line = next(item for item in data if "," in item[1])
        raise FileFormatError(
            f"Commas within numbers cannot be told from separators, as in line "
            f"{number}, {line[:40]!r}. Write decimals with a point and thousands "
            "without anything, and separate columns by blanks."
        )
    return [[word.replace(",", ".") for word in words] for words in rows]


def _is_number(word):
    try:
        return bool([float(word.replace(",", "."))])
    except ValueError:
        return False


def _number(word):
    try:
        return float(word)
    except ValueError:
        if word.lower() not in _WORDS:
            raise
        return _WORDS[word.lower()]
