"""The command line of launch/score.py."""

import argparse
import functools
import json
from pathlib import Path

from ..codec import Codec, load_codec
from ..corpus import TrainRows, load_training_rows
from ..errors import UserError
from ..files import write_atomically
from ..processes import is_main_process
from ..records import GenerationSet, load_generation_sets
from ..scoring import tables
from ..scoring.metrics import find_metric
from ..scoring.results import Results, score_conditions
from ..scoring.scores import Condition
from .reporting import run_reporting_errors

DESCRIPTION = "Score sets of generated texts: scores.json, scores.md and report.html."
EPILOG = """examples:
  python launch/score.py generations/base generations/hyperfitted --train_rows runs/x --model_scores --output_dir scores/
  python launch/score.py base=made_elsewhere.jsonl --text_column output --output_dir scores/
  python launch/score.py generations/base --group tuned=generations/s0,generations/s1,generations/s2 --output_dir scores/
"""


def build_parser() -> argparse.ArgumentParser:
    """Flags named as the arguments of what they are given to."""
    parser = argparse.ArgumentParser(
        prog="score.py",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("sets", nargs="*", metavar="[NAME=]WHERE", help="folder of launch/generate.py, or any .jsonl with texts")
    add("--group", action="append", default=[], metavar="NAME=WHERE,WHERE,…", help="several seeds as one condition")
    add("--output_dir", "--output", required=True, help="folder of scores.json, scores.md and report.html")
    add("--overwrite", action="store_true", help="replace the scores that output_dir holds")
    add("--baseline", metavar="NAME", help="condition that the others are compared with, paired by context [the first]")
    add("--metrics", nargs="+", metavar="METRIC", help="columns of the table, NAME_words to count words [a selection]")
    add("--train_rows", metavar="RUN|DATASET", help="training rows, for overlap and Dataset-BLEU")
    add("--tokenizer", help="Hub id or local folder: makes ids of texts that come without")
    add("--text_column", default="text", help="column of a foreign file that holds the continuation [text]")
    add("--token_column", default="token_ids", help="column of a foreign file that holds its token ids [token_ids]")
    add("--model_scores", "--model-scores", action="store_true", help="also perplexity, entropy and mass by each model")
    add("--per_device_eval_batch_size", type=int, default=8, help="texts in a forward pass [8]")
    add("--dtype", default="float32", help="float32 or bfloat16 weights for model scores [float32]")
    add("--trust_remote_code", action="store_true", help="run modelling code that comes with a checkpoint")
    add("--mauve_model", metavar="MODEL", help="also MAUVE, with features of this model")
    add("--latex", action="store_true", help="also scores.tex")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run launch/score.py; returns the exit code: 0, 1 for a failure, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    args = build_parser().parse_args(arguments)
    from ..terminal import make_console, quiet_libraries

    quiet_libraries()
    if args.per_device_eval_batch_size < 1:
        raise UserError("per_device_eval_batch_size must be at least 1")
    for name in args.metrics or []:  # what is wrong or missing is said before anything is computed
        find_metric(name)
    if args.mauve_model:
        from ..scoring.mauve import import_mauve

        import_mauve()
    output = Path(args.output_dir)
    _check_free(output, args.overwrite)
    console = make_console(quiet=not is_main_process())
    codec = load_codec(None, args.tokenizer) if args.tokenizer else None
    conditions = read_conditions(args.sets, args.group, args.text_column, args.token_column, codec)
    _check_baseline(args.baseline, conditions)
    train = _load_train_rows(args.train_rows, conditions, codec) if args.train_rows else None
    models = {}
    if args.model_scores:
        from ..scoring.model_scores import score_with_models

        options = args.per_device_eval_batch_size, args.dtype, args.trust_remote_code
        models = score_with_models(conditions, *options, lambda what: console.print(f"model scores: {what}"))
    if not is_main_process():
        return
    find = functools.cache(load_codec)

    def codec_of(texts: GenerationSet) -> Codec | None:
        return codec or (find(texts.manifest["model"]) if "model" in texts.manifest else None)

    results = score_conditions(
        conditions,
        metrics=args.metrics,
        baseline=args.baseline,
        train=train,
        models=models,
        mauve_model=args.mauve_model,
        tokenizers=codec_of,
        say=lambda what: console.print(what),
    )
    _write(output, results, args.latex)
    console.print(tables.terminal(results))
    for note in results.notes:
        console.print(note)
    console.print(f"{output / 'scores.json'}, {output / 'scores.md'}, open {output / 'report.html'}")


def _write(output: Path, results: Results, latex: bool) -> None:
    from ..report import write_report

    output.mkdir(parents=True, exist_ok=True)
    write_atomically(output / "scores.md", tables.markdown(results))
    if latex:
        write_atomically(output / "scores.tex", tables.latex(results))
    write_report(output / "report.html", results)
    text = json.dumps(results.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(output / "scores.json", text + "\n")


def read_conditions(
    sets: list[str], groups: list[str], text_column: str = "text", token_column: str = "token_ids", tokenizer=None
) -> list[Condition]:
    """The conditions of `WHERE …` and `NAME=WHERE,WHERE` arguments, in that order.

    Raises:
        UserError: nothing to score, a group without a name or whose seeds have other policies, two of one name.
    """
    load = functools.partial(
        load_generation_sets, text_column=text_column, token_column=token_column, tokenizer=tokenizer
    )
    conditions = [Condition.of(found.name, [found]) for where in sets for found in load(where)]
    for group in groups:
        name, _, places = group.partition("=")
        if not name or not places:
            raise UserError(f"--group {group!r} must be NAME=WHERE,WHERE,…")
        seeds = [{s.policy: s for s in load(where)} for where in places.split(",")]
        if any(seed.keys() != seeds[0].keys() for seed in seeds):
            raise UserError(f"group {name!r}: its seeds hold different policies, {[sorted(seed) for seed in seeds]}")
        for policy in seeds[0]:
            members = [seed[policy] for seed in seeds]
            conditions.append(Condition.of(name if len(seeds[0]) == 1 else f"{name} {policy}", members))
    if not conditions:
        raise UserError("nothing to score: name folders of launch/generate.py or .jsonl files")
    names = [condition.name for condition in conditions]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two sets are named {name!r}: write NAME=WHERE to tell them apart")
    return conditions


def _check_free(output: Path, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"output_dir {output} is a file")
    if (output / "scores.json").exists() and not overwrite:
        raise UserError(f"{output} holds scores: replace them with --overwrite, or set another --output_dir")


def _check_baseline(name: str | None, conditions: list[Condition]) -> None:
    names = [condition.name for condition in conditions]
    if name is not None and name not in names:
        raise UserError(f"--baseline {name!r} is none of the conditions: {', '.join(names)}")


def _load_train_rows(where: str, conditions: list[Condition], codec: Codec | None) -> TrainRows:
    """The rows of a run, or of a dataset tokenized with --tokenizer.

    Raises:
        UserError: when texts have no token ids, or were made with another tokenizer.
    """
    train = load_training_rows(where, codec)
    for condition in conditions:
        if not all(texts.has_tokens for texts in condition.sets):
            raise UserError(f"--train_rows compares token ids, and {condition.name!r} has none: give --tokenizer")
        made_with = condition.first.manifest.get("tokenizer_fingerprint")
        if made_with is None and codec is not None and not condition.first.manifest:
            made_with = codec.fingerprint
        if made_with not in (None, train.tokenizer_fingerprint):
            raise UserError(f"the rows of {where} were made with another tokenizer than {condition.name!r}")
    return train
