"""The console command `hyperfitting`: each of its commands is a module of this folder with a `main`."""

import importlib
import sys

from ..errors import UserError
from ..options import nearest
from .reporting import run_reporting_errors

COMMANDS = {
    "fit": ("hyperfit", "hyperfit a causal language model"),
    "generate": ("generate", "continue contexts with a model, in bulk, under decoding policies"),
    "score": ("score", "score sets of generated texts"),
    "preference": ("preference", "ask people which of two texts is better, and count what they say"),
    "convert": ("convert", "write a model of pickled .bin weights as safetensors"),
    "check": ("check", "compare a model with its conversion for another program"),
    "metrics": ("metrics", "list what can be scored, with definitions"),
    "policies": ("policies", "list the decoding policies, with their parameters"),
    "configs": ("configs", "list the recipes and accelerate configs that come along, or print the path of one config"),
}
HELP = """usage: hyperfitting COMMAND …

{commands}

`hyperfitting COMMAND --help` says more. A command starts no launcher; under one, name its module:
  accelerate launch --config_file "$(hyperfitting configs zero2)" -m hyperfitting.commands.hyperfit --config llama3_8b …
"""


def main(arguments: list[str] | None = None) -> int:
    """Run `hyperfitting`; returns the exit code of its command."""
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] in COMMANDS:
        return importlib.import_module(f".{COMMANDS[words[0]][0]}", __package__).main(words[1:])
    return run_reporting_errors(_help, words)


def _help(words: list[str]) -> None:
    if words and words[0] not in ("-h", "--help"):
        raise UserError(f"unknown command {words[0]!r}{nearest(words[0], COMMANDS)} (there are {', '.join(COMMANDS)})")
    print(HELP.format(commands="\n".join(f"  {name:12}{about}" for name, (_, about) in COMMANDS.items())), end="")


if __name__ == "__main__":
    sys.exit(main())
