"""The stages of an experiment, in one folder: public scripts, each kept when it is finished, so that the same command goes on after
a kill."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from noise_damage import damage, load, validation_losses

from hyperfitting.corpus import Corpus
from hyperfitting.errors import UserError
from hyperfitting.files import append_jsonl, read_jsonl
from hyperfitting.training.recipe import Recipe
from hyperfitting.training.run_folder import RunFolder

ROOT = Path(__file__).parent.parent
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--config_file"]
SINGLE = ROOT / "accelerate_configs" / "single.yaml"


class Stages:
    """Stages of one call, in its folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def hyperfit(self, run: Path, config_file: Path, *flags) -> None:
        if not RunFolder(run).result.exists():
            self._run(run.name, config_file, "hyperfit.py", *flags, "--resume", "auto", "--output_dir", run)
        if not RunFolder(run).result.exists():
            raise UserError(f"{run} was interrupted: the same command goes on from its last checkpoint")

    def generate(self, folder: Path, model: str | Path, policies: Sequence[str], *flags) -> None:
        """Continue contexts under every policy."""
        if not (folder / "generations.jsonl").exists():
            named = [word for policy in policies for word in ("--policy", policy)]
            flags = ["--model", model, *flags, *named, "--output_dir", folder]
            self._run(f"{folder.parent.name}/{folder.name}", SINGLE, "generate.py", *flags)

    def damage(self, run: Path, folder: Path) -> None:
        """Noise on the run's base, of the same validation loss as the run's last."""
        if not folder.exists():
            started, recipe = time.time(), Recipe.load(run / "recipe.yaml")
            rows = Corpus.load(RunFolder(run).corpus).validation
            target = validation_losses(load(run / "final"), rows).mean()
            damage(recipe.model, rows, target, recipe.seed, folder)
            self._log(folder.name, time.time() - started)

    def score(self, folder: Path, *words) -> None:
        if not (folder / "scores.json").exists():
            self._run(folder.name, SINGLE, "score.py", *words, "--output_dir", folder)

    def hours(self) -> float:
        """Of all stages; what was lost in a kill is not counted."""
        return sum(stage["seconds"] for stage in read_jsonl(self.folder / "stages.jsonl")) / 3600

    def _run(self, name: str, config: Path, script: str, *flags) -> None:
        started = time.time()
        command = [*LAUNCH, config, ROOT / "launch" / script, *flags]
        code = subprocess.run([str(word) for word in command]).returncode
        if code:
            raise UserError(
                f"launch/{script} ended with exit code {code}: see its message above; a restart goes on here"
            )
        self._log(name, time.time() - started)

    def _log(self, stage: str, seconds: float) -> None:
        append_jsonl(self.folder / "stages.jsonl", {"stage": stage, "seconds": round(seconds, 1)})
