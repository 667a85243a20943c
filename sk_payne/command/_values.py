"""Values of options: numbers, pairs, words and NAME=VALUE lists, from text or TOML."""

import re
import shlex

import click

from sk_payne.exceptions import did_you_mean

__all__ = ["PAIRS", "SUMS", "TABLE", "VALUE", "as_value", "refuse_unknown"]

_WORDS = {"none": None, "true": True, "false": False}
_TERM = re.compile(
    r"\s*(?P<sign>[+-]?)\s*(?:(?P<factor>\d+\.?\d*(?:e[+-]?\d+)?)\s*\*\s*)?"
    r"(?P<name>\[[^\]]*\]|[A-Za-z_]\w*)"
)


def as_value(value):
    """Give the value that a text or an entry of TOML stands for.

    Parameters
    ----------
    value : object
        "none", "true", "false", a number, "LOW,HIGH", words, or what TOML gives.

    Returns
    -------
    value : object
        None, a bool, a number, or a text. What is separated by commas, and a list of
        TOML, is a tuple.

    Examples
    --------
    >>> from sk_payne.command._values import as_value
    >>> as_value("-10,12.5"), as_value("fit"), as_value("none"), as_value([1, 2])
    ((-10.0, 12.5), 'fit', None, (1.0, 2.0))
    """
    if isinstance(value, list | tuple):
        parts = [as_value(one) for one in value]
    elif isinstance(value, str) and "," in value:
        parts = [as_value(one) for one in value.split(",") if one.strip()]
    elif isinstance(value, str):
        return _one_value(value.strip())
    else:
        return value
    numbers = all(isinstance(one, int | float) and one is not True for one in parts)
    return tuple(map(float, parts)) if numbers else tuple(parts)


def _one_value(text):
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return text


class _Value(click.ParamType):
    """A number, LOW,HIGH, or a word."""

    name = "value"

    def convert(self, value, param, ctx):
        return as_value(value)


class _Pairs(click.ParamType):
    """Pairs of numbers, separated by semicolons."""

    name = "low,high;low,high"

    def convert(self, value, param, ctx):
        if isinstance(value, str):
            value = [one for one in value.split(";") if one.strip()]
        if value is None or value == ["none"]:
            return None
        return [as_value(one) for one in value]


class _Table(click.ParamType):
    """NAME=VALUE, separated by blanks; a first word without a name is the `file`."""

    name = "name=value ..."

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            if not isinstance(value, dict):
                self.fail(f"{value!r} is no table of names and values.", param, ctx)
            return {key: as_value(one) for key, one in value.items()}
        found = {}
        for word in shlex.split(value):
            name, equals, text = word.partition("=")
            if not equals and not found:
                name, text = "file", word
            elif not equals:
                self.fail(f"{word!r} must be NAME=VALUE.", param, ctx)
            # names of files are no values
            found[name] = text if name == "file" else as_value(text)
        return found


class _Sums(click.ParamType):
    """NAME=SUM, separated by blanks, where a sum is like Mg_H-Fe_H or 0.5*C_H+N_H."""

    name = "name=sum ..."

    def convert(self, value, param, ctx):
        if isinstance(value, str):
            pairs = [word.partition("=") for word in shlex.split(value)]
            value = {name: text for name, _, text in pairs}
        if not isinstance(value, dict):
            self.fail(f"{value!r} is no table of names and sums.", param, ctx)
        return {
            name: factors if isinstance(factors, dict) else self._sum(factors, param)
            for name, factors in value.items()
        }

    def _sum(self, text, param):
        factors, position = {}, 0
        while position < len(text):
            term = _TERM.match(text, position)
            if term is None or (position and not term["sign"]):
                self.fail(
                    f"{text!r} must be a sum of labels, such as Mg_H-Fe_H or "
                    "0.5*C_H+0.5*N_H.",
                    param,
                )
            factor = float(term["factor"] or 1) * (-1 if term["sign"] == "-" else 1)
            factors[term["name"]] = factors.get(term["name"], 0.0) + factor
            position = term.end()
        if not factors:
            self.fail("each NAME=SUM must name a label at least.", param)
        return factors


def refuse_unknown(names, known, what):
    """Refuse names that are not known.

    Parameters
    ----------
    names : iterable of str
        Names that were given.
    known : iterable of str
        Names that there are.
    what : str
        Owner of the names, for the message.

    Raises
    ------
    ValueError
        If one is not known.
    """
    known = sorted(known)
    for name in names:
        if name not in known:
            raise ValueError(
                f"{what} takes {', '.join(known)}; got {name!r}."
                f"{did_you_mean(name, known)}"
            )


VALUE, PAIRS, TABLE, SUMS = _Value(), _Pairs(), _Table(), _Sums()
