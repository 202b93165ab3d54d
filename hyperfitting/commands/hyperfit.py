"""The command line of launch/hyperfit.py: a flag for every field of the recipe, and a few about this invocation."""

import argparse

from ..options import nearest
from ..processes import is_main_process
from ..training.recipe import Recipe, RecipeError, field_help
from .reporting import run_reporting_errors

EPILOG = """examples:
  accelerate launch launch/hyperfit.py --config launch/recipes/builtin.yaml
  accelerate launch --config_file accelerate_configs/zero2.yaml launch/hyperfit.py --config launch/recipes/llama3_8b.yaml \\
      --dataset Salesforce/wikitext --dataset_config wikitext-103-raw-v1 --output_dir runs/llama
"""


def build_parser() -> argparse.ArgumentParser:
    """Flags named as the recipe's fields. Values stay strings: the recipe checks them all at once."""
    parser = argparse.ArgumentParser(
        prog="hyperfit.py",
        description="Hyperfit a causal language model.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    this = parser.add_argument_group("this invocation")
    this.add_argument("--config", metavar="FILE", help="recipe file (YAML); flags go over it")
    this.add_argument("--resume", metavar="auto|PATH", help="continue the run in output_dir from a checkpoint")
    this.add_argument("--overwrite", action="store_true", help="delete the run in output_dir first")
    this.add_argument("--dry_run", action="store_true", help="print the resolved recipe and the plan, and stop")
    this.add_argument("--cpu", action="store_true", help="train on the CPU; needed for several processes without GPUs")
    groups = {}
    for section, name, text in field_help():
        if section not in groups:
            groups[section] = parser.add_argument_group(section.removesuffix("Recipe").lower())
        groups[section].add_argument(
            f"--{name}", nargs="?", const="true", metavar="VALUE", help=text.replace("%", "%%")
        )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run launch/hyperfit.py; returns the exit code: 0, 1 for a run that failed, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    parser = build_parser()
    given, unknown = parser.parse_known_args(arguments)
    given = vars(given)
    flags = {name: given.pop(name, None) for name in ("config", "resume", "overwrite", "dry_run", "cpu")}
    problems = [
        _unknown_flag(word, [*given, *flags, *Recipe.__dataclass_fields__]) for word in unknown if word.startswith("-")
    ]
    problems += [f"unexpected argument {word!r}" for word in unknown[:1] if not word.startswith("-")]
    try:
        recipe = Recipe.load(flags["config"], **given)
    except RecipeError as error:
        problems += error.problems
    if problems:
        raise RecipeError(problems)

    if flags["dry_run"]:
        from ..planning.plan import print_plan

        if is_main_process():
            print_plan(recipe)
        return
    from ..terminal import quiet_libraries

    quiet_libraries()
    from ..training.hyperfitter import Hyperfitter

    fitter = Hyperfitter(recipe=recipe, cpu=bool(flags["cpu"]))
    fitter.fit(resume=flags["resume"], overwrite=bool(flags["overwrite"]))
    fitter.accelerator.state.destroy_process_group()


def _unknown_flag(word: str, known: list[str]) -> str:
    name = word.lstrip("-").split("=")[0]
    return f"unknown flag --{name}{nearest(name, known)}".replace("did you mean '", "did you mean '--")
