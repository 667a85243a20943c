"""Options of a command in a TOML file: written by --save-config, read by --config."""

import json
import math
import tomllib
from pathlib import Path

import click
from click.core import ParameterSource

from sk_payne._persistence import replacing
from sk_payne.command._values import refuse_unknown

__all__ = ["config_option", "save_config", "save_config_option", "to_toml"]

# Options of a single run, which are not written to a file.
_OF_RUN = {"config", "save_config", "check", "dry_run", "restart"}
_OF_RUN |= {"quiet", "verbose", "as_json"}


save_config_option = click.option(
    "--save-config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write these options to a TOML file, for --config.",
)
"""Adds the option --save-config to a command, which calls `save_config`."""


def config_option(command):
    """Add the option --config to a command; its file has defaults of other options.

    Parameters
    ----------
    command : callable
        A command.

    Returns
    -------
    command : callable
        With the option.
    """
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        help="TOML file of options; those on the command line take precedence.",
    )(command)


def _read_config(ctx, param, path):
    if path is None:
        return
    if not path.is_file():
        raise FileNotFoundError(f"--config must be a TOML file; got '{path}'.")
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"--config '{path}' is no TOML: {error}.") from error
    entries = {name.replace("-", "_"): value for name, value in entries.items()}
    known = {one.name for one in ctx.command.params} - _OF_RUN
    refuse_unknown(entries, known, f"--config '{path}'")
    ctx.default_map = {**(ctx.default_map or {}), **entries}


def save_config(ctx, path):
    """Write the options of a command that differ from their defaults.

    Parameters
    ----------
    ctx : click.Context
        Context of the command.
    path : path-like
        TOML file; replaced if it exists.
    """
    entries = {
        name: value
        for name, value in ctx.params.items()
        if name not in _OF_RUN
        and ctx.get_parameter_source(name) != ParameterSource.DEFAULT
    }
    with replacing(Path(path)) as file:
        file.write(to_toml(entries).encode())


def to_toml(entries):
    """Write a table of plain values as TOML.

    Parameters
    ----------
    entries : dict of str to object
        None becomes "none"; paths become text.

    Returns
    -------
    text : str
        One line for each entry.

    Examples
    --------
    >>> from sk_payne.command._config import to_toml
    >>> print(to_toml({"vsini": (0.0, 40.0), "fixed": {"teff": 5777}}), end="")
    vsini = [0.0, 40.0]
    fixed = {teff = 5777}
    """
    return "".join(f"{_key(name)} = {_value(one)}\n" for name, one in entries.items())


def _key(name):
    is_bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if is_bare else _text(name)


def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        pairs = ", ".join(
            f"{_key(name)} = {_value(one)}" for name, one in value.items()
        )
        return f"{{{pairs}}}"
    return _text("none" if value is None else str(value))


def _text(text):
    # strings of JSON are strings of TOML, but for DEL
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
