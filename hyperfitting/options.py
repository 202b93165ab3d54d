"""Options as dataclass fields: read from YAML, from keyword arguments or a command line over it, checked all at once.

A field knows its help, its bounds and whether a run that goes on may change it. What depends on several fields is in
`Options.problems`; commands/command_line.py makes flags of fields.
"""

import contextlib
import difflib
import functools
import inspect
import math
import operator
import os
import types
import typing
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path

import yaml

from .errors import UserError
from .files import write_atomically

SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}  # those of YAML
REQUIRED = MISSING  # the default of an option that must be given


class OptionsError(UserError):
    """All problems of a set of options at once, one line each, saying what to change."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        super().__init__(problems[0] if len(problems) == 1 else "\n".join(f"- {problem}" for problem in problems))


def option(
    default,
    help: str,
    *,
    least: float | None = None,
    above: float | None = None,
    greatest: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    hint: str = "",
    may_change: bool = False,
    words: str = "repeated",
    metavar: str | None = None,
    path: bool = False,
):
    """A field.

    Args:
        default: REQUIRED where there is none; a tuple where several values can be given.
        help: its docstring, with unit and source, and the text that `--help` prints.
        least, above, greatest, below: bounds of a number.
        choices: all that a string can be.
        hint: what the refusal of a value adds.
        may_change: whether a run that goes on may have another value than it began with, because that changes how long or how
            fast it computes or what is kept of it, and not what a step computes.
        words: how several values are given: `repeated`, the flag before each; `together`, after one flag; `positional`.
        metavar: what stands for the value in `--help`; default: its choices.
        path: whether it may be a path, in which `~` is the home folder; the shell sees none in `--flag=~/x` and in YAML.
    """
    facts = {"help": help, "choices": choices, "hint": hint, "may_change": may_change, "words": words, "path": path}
    facts["metavar"] = metavar or "|".join(choices) or "VALUE"
    bounds = {"least": least, "above": above, "greatest": greatest, "below": below}
    return field(default=default, metadata={**facts, **bounds})


@dataclass(kw_only=True)
class Options:
    """Settings in one flat namespace: the keys of a file and the flags of a command line."""

    SHIPPED = None  # a folder of files that `load` also finds by name

    @classmethod
    def load(cls, path: str | Path | None = None, **overrides) -> "Options":
        """Read a file (YAML, keys as the fields) and put `overrides` over it; values may be strings.

        Raises:
            OptionsError: naming every unknown key, wrong type and impossible value at once.
        """
        known, kinds = {f.name: f for f in fields(cls)}, typing.get_type_hints(cls)
        values = {} if path is None else read_yaml(named_file(path, cls.SHIPPED))
        checked, problems = {}, []
        for key, value in {**values, **overrides}.items():
            if key not in known:
                problems.append(f"unknown key {key!r}{nearest(key, known)}")
                continue
            try:
                value = coerce(value, kinds[key])
                _check_bounds(known[key], value)
                checked[key] = os.path.expanduser(value) if known[key].metadata["path"] and value else value
            except ValueError as error:
                problems.append(f"{key}{error}")
        required = [key for key, f in known.items() if f.default is REQUIRED]
        refused = {**values, **overrides}.keys() - checked.keys()
        problems += [f"no {key}: give --{key}" for key in required if key not in refused and not checked.get(key)]
        if all(key in checked for key in required):
            options = cls(**checked)  # what was refused has its default, and can be held against the rest
            problems += options.problems()
        if problems:
            raise OptionsError(problems)
        return options

    def problems(self) -> list[str]:
        """One line for each set of values that do not go together."""
        return []

    def changes_from(self, earlier: "Options") -> list[str]:
        """One line for each field that differs from `earlier` and that a run which goes on may not change."""
        return [
            f"{f.name} was {getattr(earlier, f.name)!r} and is now {getattr(self, f.name)!r}"
            for f in fields(self)
            if not f.metadata["may_change"] and getattr(earlier, f.name) != getattr(self, f.name)
        ]

    def to_dict(self) -> dict:
        return asdict(self)

    def save(self, path: Path) -> None:
        """Write what `load` reads."""
        write_atomically(path, self._text())

    @classmethod
    def wrote(cls, path: Path) -> bool:
        """Whether `save` of such options wrote this file, and nobody changed it since."""
        try:
            return path.read_text(encoding="utf-8") == cls.load(path)._text()
        except (UserError, OSError, UnicodeDecodeError):
            return False

    def _text(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False)


def field_help(options: type[Options]) -> list[tuple[str, str, str]]:
    """(section, field, help with bounds and default) of every field; a section is the class that declares it."""
    return [
        (section.__name__, f.name, _shown(f))
        for section in options.__mro__
        if is_dataclass(section)
        for f in fields(section)
        if f.name in inspect.get_annotations(section)
    ]


def nearest(key: str, known) -> str:
    """', did you mean …?' for the known name that is nearest to `key`, or nothing."""
    close = difflib.get_close_matches(str(key), list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def shipped_files(folder: Path) -> dict[str, Path]:
    """name -> file of the YAML files in a folder of the package."""
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def named_file(name: str | Path, folder: Path | None = None) -> Path:
    """The file at a path, or the one of that name in a folder of the package, with or without its .yaml.

    Raises:
        OptionsError: there is neither; with the nearest name.
    """
    path, shipped = Path(name).expanduser(), shipped_files(folder) if folder else {}
    if path.is_file():
        return path
    if str(path) in (path.stem, f"{path.stem}.yaml") and path.stem in shipped:
        return shipped[path.stem]
    there = f" (there are {', '.join(shipped)})" if shipped else ""
    raise OptionsError([f"file {name} does not exist{nearest(path.stem, shipped)}{there}"])


def name_and_place(text: str) -> tuple[str | None, str]:
    """`NAME=PLACE` in two, or None and the place. What exists as it is written is not cut: paths may hold `=`."""
    name, equals, place = text.partition("=")
    if not (name and equals) or Path(text).expanduser().exists():
        return None, os.path.expanduser(text)
    return name, os.path.expanduser(place)


class _AsWritten(yaml.SafeLoader):
    """Reads a plain value as the text that it is written as wherever YAML 1.1 would make another of it: of what type a value is
    is said by its field. YAML takes the word no for false, 012 for 10, and 1:30 for 90."""

    def construct_object(self, node, deep=False):
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        try:
            value = super().construct_object(node, deep)
        except (ValueError, yaml.constructor.ConstructorError):  # 2026-13-01, or a lone equals sign
            if not plain:
                raise
            return node.value
        return node.value if plain and value is not None and str(value) != node.value else value


def read_yaml(path: Path) -> dict:
    """The `key: value` lines of a file.

    Raises:
        OptionsError: it is not YAML, or holds something else.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8-sig"), _AsWritten) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionsError([f"file {path} is not valid YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(values, dict):
        raise OptionsError([f"file {path} must hold `key: value` lines"])
    return values


def coerce(value, kind):
    """`value` as the field type `kind`; the command line gives all as strings, and files most.

    Raises:
        ValueError: it is none; the message goes on from the field's name.
    """
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in kinds and (value is None or str(value).lower() in ("none", "null")):
        return None
    kind = next(one for one in kinds if one is not type(None))
    if value is None:
        raise ValueError(": needs a value")
    if typing.get_origin(kind) is tuple:
        if isinstance(value, str):
            return (_string(value),)
        if not isinstance(value, list | tuple):
            raise ValueError(f": expected a list, not {value!r}")
        return tuple(coerce(one, str) for one in value)
    if kind is bool:
        if str(value).lower() in SWITCHES:
            return SWITCHES[str(value).lower()]
        raise ValueError(f": expected true or false, not {value!r}")
    if kind is str:
        return _string(value)
    return _number(value, kind)


def _string(value) -> str:
    if isinstance(value, dict | list | tuple):
        raise ValueError(f": expected one text, not {value!r}")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of an argument that are no UTF-8, or half a character in YAML
        raise ValueError(f" is not valid UTF-8: {text!r}") from None
    if "\0" in text:
        raise ValueError(f" must not hold a NUL character: {text!r}")
    return text


def _number(value, kind):
    if kind is int and type(value) in (int, str):
        for read in (int, functools.partial(int, base=0)):  # a float would round what has more than 15 digits
            with contextlib.suppress(ValueError, TypeError):
                return read(value)
    try:
        number = float(value) if not isinstance(value, bool) else None
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None:
        raise ValueError(f": expected a number, not {value!r}")
    if not math.isfinite(number):
        raise ValueError(f": expected a finite number, not {value!r}")
    if kind is float:
        return number
    if number != int(number):
        raise ValueError(f": expected a whole number, not {value!r}")
    return int(number)


def _check_bounds(f: Field, value) -> None:
    """Raise ValueError when the value is beyond a bound or none of the choices; the message goes on from the field's name."""
    if value is None:
        return
    choices, hint = f.metadata["choices"], f.metadata["hint"]
    wanted = [words for holds, bound, words in _bounds(f) if not holds(value, bound)]
    if choices and value not in choices:
        wanted = [f"{', '.join(choices[:-1])} or {choices[-1]}"]
    if wanted:
        raise ValueError(f" must be {wanted[0]}, not {value!r}{hint and f': {hint}'}")


def _bounds(f: Field) -> list[tuple]:
    """(comparison, bound, words) of each bound of a field."""
    kinds = {
        "least": (operator.ge, "at least"),
        "above": (operator.gt, "above"),
        "greatest": (operator.le, "at most"),
        "below": (operator.lt, "below"),
    }
    bounds = {name: f.metadata[name] for name in kinds if f.metadata[name] is not None}
    return [(kinds[name][0], bound, f"{kinds[name][1]} {bound}") for name, bound in bounds.items()]


def _shown(f: Field) -> str:
    """Help, bounds and default of a field."""
    bounds = ", ".join(words for _, _, words in _bounds(f)).capitalize()
    default = f.default
    if isinstance(default, tuple):
        default = " ".join(default) or None
    return f"{f.metadata['help']}{bounds and f' {bounds}.'} [{'required' if default is REQUIRED else default}]"
