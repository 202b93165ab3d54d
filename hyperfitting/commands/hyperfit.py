"""`hyperfitting fit` and launch/hyperfit.py: a flag for every field of the recipe, and a few about this invocation."""

import sys
from dataclasses import dataclass

from ..options import option
from ..processes import is_main_process
from ..training.recipe import Recipe
from .command_line import Invocation, read_command_line
from .reporting import run_reporting_errors

EPILOG = """examples (--config takes a recipe's file, or the name of one of `hyperfitting configs`):
  hyperfitting fit --config builtin
  accelerate launch --config_file accelerate_configs/zero2.yaml launch/hyperfit.py --config llama3_8b \\
      --dataset Salesforce/wikitext --dataset_config wikitext-103-raw-v1 --output_dir runs/llama
  accelerate launch --config_file "$(hyperfitting configs zero2)" -m hyperfitting.commands.hyperfit --config llama3_8b …
"""


@dataclass(kw_only=True)
class FitInvocation(Invocation):
    """What is no part of the recipe."""

    resume: str | None = option(
        None, "Continue the run in output_dir from a checkpoint.", metavar="auto|PATH", path=True
    )
    overwrite: bool = option(
        False, "Replace the run in output_dir; it is deleted once the new one has a whole checkpoint."
    )
    verify_checkpoint: bool = option(
        True, "Compare a checkpoint that is resumed with the digests that it was saved with: reads all of it."
    )
    trust_checkpoint: bool = option(
        False, "Resume DeepSpeed's shards, which can run code when they are loaded, from a folder of another user."
    )
    dry_run: bool = option(False, "Print the resolved recipe and the plan, and stop.")
    cpu: bool = option(False, "Train on the CPU; needed for several processes without GPUs.")


def main(arguments: list[str] | None = None) -> int:
    """Hyperfit; returns the exit code: 0, 1 for a run that failed, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    invocation, recipe = read_command_line(
        arguments,
        command="hyperfitting fit",
        about="Hyperfit a causal language model.",
        epilog=EPILOG,
        invocation=FitInvocation,
        options=Recipe,
    )
    if invocation.dry_run:
        from ..planning.plan import print_plan

        if is_main_process():
            print_plan(recipe, cpu=invocation.cpu)
        return
    from ..terminal import quiet_libraries

    quiet_libraries()
    from ..training.hyperfitter import Hyperfitter

    fitter = Hyperfitter(recipe=recipe, cpu=invocation.cpu)
    fitter.fit(
        resume=invocation.resume,
        overwrite=invocation.overwrite,
        verify_checkpoint=invocation.verify_checkpoint,
        trust_checkpoint=invocation.trust_checkpoint,
    )
    fitter.accelerator.state.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
