"""`hyperfitting check`: whether a converted model is still the model."""

import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import TrainingError, UserError
from ..options import REQUIRED, Options, option
from .command_line import read_command_line
from .reporting import run_reporting_errors


@dataclass(kw_only=True)
class CheckOptions(Options):
    """A model and what another program made of it."""

    model: tuple[str, ...] = option((), "Local folder or Hub id of the original.", words="positional")
    converted: str = option(REQUIRED, "A .gguf file, a CTranslate2 folder, or another transformers folder.", path=True)

    def problems(self) -> list[str]:
        return (
            [] if len(self.model) == 1 else ["give one original: hyperfitting check FOLDER --converted FILE_OR_FOLDER"]
        )


def main(arguments: list[str] | None = None) -> int:
    """Check; returns the exit code: 0 for the same model, 1 for another, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    _, options = read_command_line(
        arguments,
        command="hyperfitting check",
        about="Compare a model with its conversion for another program: token ids of 200 texts, the likeliest next token at each\n"
        "position of 20 texts, and greedy continuations. Exits with 1 where the conversion is another model.",
        options=CheckOptions,
    )
    path, name = Path(options.converted), options.model[0]
    if not path.exists():
        raise UserError(f"{path} does not exist: set --converted to a file or a folder")
    from ..terminal import make_console, quiet_libraries

    quiet_libraries()
    from ..conversion.verdict import check_conversion

    verdict = check_conversion(name, path, make_console())
    if not verdict.same:
        raise TrainingError(f"{path} is not the model in {name}: {verdict.reason}")


if __name__ == "__main__":
    sys.exit(main())
