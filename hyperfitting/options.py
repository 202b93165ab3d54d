"""Settings as dataclass fields: read from YAML, from keyword arguments or a command line over it, checked all at once."""

import difflib
import math
import types
import typing
from dataclasses import field
from pathlib import Path

import yaml

from .errors import UserError


class OptionsError(UserError):
    """All problems of a set of options at once, one line each, saying what to change."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        super().__init__(problems[0] if len(problems) == 1 else "\n".join(f"- {problem}" for problem in problems))


def option(default, help: str):
    """A field; `help` is its docstring, with unit and source, and the text that `--help` prints."""
    return field(default=default, metadata={"help": help})


def nearest(key: str, known) -> str:
    """', did you mean …?' for the known name that is nearest to `key`, or nothing."""
    close = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def read_yaml(path: Path) -> dict:
    """The `key: value` lines of a file.

    Raises:
        OptionsError: it does not exist, is not YAML, or holds something else.
    """
    if not path.is_file():
        raise OptionsError([f"recipe file {path} does not exist"])
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionsError([f"recipe file {path} is not valid YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(values, dict):
        raise OptionsError([f"recipe file {path} must hold `key: value` lines"])
    return values


def coerce(value, kind):
    """`value` as the field type `kind`. YAML reads 1e-6 as a string, and the command line reads all as strings.

    Raises:
        ValueError: it is none.
    """
    choices = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None or (isinstance(value, str) and value.lower() in ("none", "null")):
        if type(None) in choices or (kind is str and value is not None):
            return None if type(None) in choices else value
        raise ValueError("needs a value")
    kind = next(choice for choice in choices if choice is not type(None))
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        raise ValueError(f"expected true or false, not {value!r}")
    if kind is str:
        return str(value)
    if isinstance(value, bool):
        raise ValueError(f"expected a number, not {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"expected a number, not {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number, not {value!r}")
    if kind is int:
        if number != int(number):
            raise ValueError(f"expected a whole number, not {value!r}")
        return int(number)
    return number
