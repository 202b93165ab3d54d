"""`hyperfitting convert`: pickled .bin weights as safetensors, the only ones that the other commands read."""

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import replace_folder
from ..options import REQUIRED, Options, option
from .command_line import read_command_line
from .reporting import run_reporting_errors


@dataclass(kw_only=True)
class ConvertOptions(Options):
    """What is converted."""

    model: str = option(REQUIRED, "Hub id or local folder of a causal model with .bin weights.", path=True)
    revision: str | None = option(None, "Branch, tag or commit of a Hub model; default: its main branch.")
    output_dir: str = option(REQUIRED, "New folder of the converted model.", path=True)


def main(arguments: list[str] | None = None) -> int:
    """Convert; returns the exit code: 0, 1 for a failure, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    _, options = read_command_line(
        arguments,
        command="hyperfitting convert",
        about="Write a model of pickled .bin weights as safetensors. Nothing but tensors is unpickled, so no code can run.",
        options=ConvertOptions,
    )
    output = Path(options.output_dir)
    if output.exists():
        raise UserError(f"{output} exists: set --output_dir to a new folder")
    from ..terminal import make_console, printable, quiet_libraries

    quiet_libraries()
    from ..codec import load_codec
    from ..models import convert_to_safetensors

    codec = load_codec(options.model, revision=options.revision)
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(
        tempfile.mkdtemp(prefix=f"{output.name}.", suffix=".tmp", dir=output.parent)
    )  # a name that nobody has
    try:
        made = temporary / output.name  # others may read what they may read of any new folder
        made.mkdir()
        unused = convert_to_safetensors(options.model, options.revision, codec, made)
        replace_folder(made, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    say = make_console().print
    for name in unused:
        say(printable(f"left out, because the model does not have it: {name}"))
    say(printable(f"{options.model} as safetensors in {output}"))


if __name__ == "__main__":
    sys.exit(main())
