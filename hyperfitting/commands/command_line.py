"""Flags made of options, and a command line read into them."""

import argparse
import sys
import typing
from dataclasses import dataclass

from ..errors import UserError
from ..options import Options, OptionsError, field_help, nearest, option


@dataclass(kw_only=True)
class Invocation(Options):
    """What belongs to this call of a command and to nothing that it makes."""

    config: str | None = option(
        None, "YAML file of options, its keys named as the flags; flags go over it.", metavar="FILE"
    )


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours: printed once, and not by every process."""

    def error(self, message: str):
        raise UserError(message)


def read_command_line(
    arguments: list[str] | None,
    *,
    command: str,
    about: str,
    options: type[Options] = Options,
    invocation: type[Options] = Options,
    epilog: str = "",
) -> tuple:
    """(invocation, options) of an argument list; default: the one that Python was started with.

    Raises:
        OptionsError: all problems of both at once.
    """
    words = sys.argv[1:] if arguments is None else arguments
    own_kinds, kinds = typing.get_type_hints(invocation), typing.get_type_hints(options)
    parser = build_parser(command, about, epilog, invocation, options)
    given, unknown = parser.parse_known_args(_spell_out_switches(words, own_kinds | kinds))
    given = vars(given)
    own = {name: given.pop(name) for name in own_kinds if name in given}
    problems = [_unknown_flag(word, [*own_kinds, *kinds]) for word in unknown if word.startswith("-")]
    problems += [f"unexpected argument {word!r}" for word in unknown[:1] if not word.startswith("-")]
    read = []
    for part, file, values in ((invocation, None, own), (options, own.get("config"), given)):
        try:
            read.append(part.load(file, **values))
        except OptionsError as error:
            problems += error.problems
    if problems:
        raise OptionsError(problems)
    return tuple(read)


def build_parser(
    command: str, about: str, epilog: str, invocation: type[Options], options: type[Options]
) -> argparse.ArgumentParser:
    """Flags named as the fields. Values stay strings: `Options.load` checks them all at once."""
    parser = Parser(
        prog=command,
        description=about,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for part, title in ((invocation, "this invocation"), (options, None)):
        groups, kinds = {}, typing.get_type_hints(part)
        for section, name, text in field_help(part):
            heading = title or section.removesuffix("Recipe").removesuffix("Options").lower()
            if heading not in groups:
                groups[heading] = parser.add_argument_group(heading)
            facts = part.__dataclass_fields__[name].metadata
            flag = name if facts["words"] == "positional" else f"--{name}"
            groups[heading].add_argument(flag, help=text.replace("%", "%%"), **_form(kinds[name], facts))
    return parser


def _form(kind, facts) -> dict:
    """How argparse reads the values of a field, and shows them."""
    if kind is bool:
        return {"nargs": "?", "const": "true", "metavar": "true|false"}
    several = typing.get_origin(kind) is tuple
    forms = {"repeated": {"action": "append"}, "together": {"nargs": "+"}, "positional": {"nargs": "*"}}
    return {"metavar": facts["metavar"], **(forms[facts["words"]] if several else {})}


def _spell_out_switches(words: list[str], kinds: dict) -> list[str]:
    """`--pack` as `--pack=true`, or argparse would take the next word, such as a positional, for its value."""
    switches = {f"--{name}" for name, kind in kinds.items() if kind is bool}
    following = [*words, ""][1:]
    return [
        f"{word}=true" if word in switches and after.lower() not in ("true", "false") else word
        for word, after in zip(words, following, strict=True)
    ]


def _unknown_flag(word: str, known: list[str]) -> str:
    name = word.lstrip("-").split("=")[0]
    if name in ("local_rank", "local-rank"):  # what DeepSpeed's launcher and torch.distributed.launch add
        return (
            "--local_rank comes from a launcher that knows nothing of accelerate configs: start with `accelerate launch --config_file "
            "accelerate_configs/zero2.yaml --num_processes N`, then the script and its flags"
        )
    return f"unknown flag --{name}{nearest(name, known)}".replace("did you mean '", "did you mean '--")
