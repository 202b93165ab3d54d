"""`hyperfitting configs`: the recipes and accelerate configs that come with the package."""

from dataclasses import dataclass
from pathlib import Path

from ..builtin import ACCELERATE_CONFIGS, RECIPES
from ..options import Options, named_file, option, shipped_files
from .command_line import read_command_line
from .reporting import run_reporting_errors


@dataclass(kw_only=True)
class ConfigsOptions(Options):
    """Which of them."""

    name: tuple[str, ...] = option(
        (), "Accelerate config whose path is printed; default: all are listed.", words="positional", metavar="NAME"
    )


def main(arguments: list[str] | None = None) -> int:
    """List the shipped files, or print the path of an accelerate config; returns the exit code."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    _, options = read_command_line(
        arguments,
        command="hyperfitting configs",
        about="The recipes and accelerate configs that come with the package.",
        options=ConfigsOptions,
    )
    for name in options.name:
        print(named_file(name, ACCELERATE_CONFIGS))
    if not options.name:
        _list(
            'accelerate configs, for `accelerate launch --config_file "$(hyperfitting configs NAME)"`',
            ACCELERATE_CONFIGS,
        )
        _list("recipes, for `hyperfitting fit --config NAME`", RECIPES)


def _list(title: str, folder: Path) -> None:
    print(f"{title}:")
    for name, file in shipped_files(folder).items():
        lines = file.read_text(encoding="utf-8").splitlines()
        comment = " ".join(line.removeprefix("# ") for line in lines if line.startswith("# "))
        print(f"  {name:18}{comment.partition('. ')[0].removesuffix('.')}")
