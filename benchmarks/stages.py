"""The stages of an experiment, in one folder: public scripts, each kept when it is finished, so that the same command goes on after
a kill."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from noise_damage import damage, load, validation_losses

from hyperfitting.corpus import Corpus
from hyperfitting.errors import UserError
from hyperfitting.files import read_jsonl, to_jsonl, write_atomically
from hyperfitting.training.recipe import Recipe
from hyperfitting.training.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--config_file"]
SINGLE = ROOT / "accelerate_configs" / "single.yaml"


class Stages:
    """Stages of one call, in its folder. Each writes a folder of it, whose path is its name in stages.jsonl, and is passed over where it
    was finished by the very same command after everything that this command reads. Any other is handed to its script, which
    goes on with what is there or says why it cannot."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "stages.jsonl"

    def hyperfit(self, run: Path, config_file: Path, *flags) -> None:
        self._script(run, config_file, "hyperfit.py", *flags, "--resume", "auto", leaves=RunFolder(run).result)

    def generate(self, folder: Path, model: str | Path, policies: Sequence[str], *flags) -> None:
        """Continue contexts under every policy."""
        named = [word for policy in policies for word in ("--policy", policy)]
        self._script(folder, SINGLE, "generate.py", "--model", model, *flags, *named)

    def damage(self, run: Path, folder: Path) -> None:
        """Noise on the run's base, of the same validation loss as the run's last."""

        def noise() -> None:
            recipe, rows = Recipe.load(run / "recipe.yaml"), Corpus.load(RunFolder(run).corpus).validation
            target = validation_losses(load(run / "final"), rows).mean()
            damage(recipe.model, rows, target, recipe.seed, folder)

        self.make(folder, ["damage", run], noise)

    def score(self, folder: Path, *words) -> None:
        self._script(folder, SINGLE, "score.py", *words, "--overwrite")

    def make(self, folder: Path, command: list, run: Callable[[], None]) -> None:
        """Call `run`, which does what `command` says and writes `folder`, unless that was done."""
        name, words = folder.relative_to(self.folder).as_posix(), [str(word) for word in command]
        if not self._is_done(name, words):
            started = time.time()
            run()
            stage = {"stage": name, "seconds": round(time.time() - started, 1), "command": words}
            write_atomically(self.log, to_jsonl([*self._finished(), stage]))

    def hours(self) -> float:
        """Of all stages; what was lost in a kill is not counted."""
        return sum(stage["seconds"] for stage in self._finished()) / 3600

    def _script(self, folder: Path, config: Path, script: str, *flags, leaves: Path | None = None) -> None:
        """Run a script, which writes the file `leaves` when it comes to its end."""
        command = [script, *flags, "--output_dir", folder]

        def run() -> None:
            started = time.time()
            words = [*LAUNCH, config, ROOT / "launch" / script, *command[1:]]
            code = subprocess.run([str(word) for word in words]).returncode
            if code:
                raise UserError(
                    f"launch/{script} ended with exit code {code}: see its message above; a restart goes on here"
                )
            if leaves and not (leaves.exists() and leaves.stat().st_mtime >= started):
                raise UserError(f"{folder} was interrupted: the same command goes on from its last checkpoint")

        self.make(folder, command, run)

    def _is_done(self, name: str, command: list[str]) -> bool:
        for stage in reversed(self._finished()):
            if stage["stage"] == name:
                return stage.get("command") == command
            if any(str(self.folder / stage["stage"]) in word for word in command):
                return False  # it reads what was made after it
        return False

    def _finished(self) -> list[dict]:
        return read_jsonl(self.log) if self.log.exists() else []
