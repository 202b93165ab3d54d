"""`hyperfitting score` and launch/score.py."""

import functools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..codec import Codec, load_codec
from ..corpus import TrainRows, load_training_rows
from ..errors import UserError
from ..files import read_json, write_atomically
from ..options import REQUIRED, Options, option
from ..processes import is_main_process
from ..records import GenerationSet, load_generation_sets
from ..scoring import tables
from ..scoring.conditions import Condition, check_names
from ..scoring.metrics import find_metric
from ..scoring.model_metrics import SIDES
from ..scoring.readiness import check_ready
from ..scoring.results import Results, score_conditions
from .command_line import Invocation, read_command_line
from .reporting import run_reporting_errors

EPILOG = """examples:
  python launch/score.py generations/base generations/hyperfitted --train_rows runs/x --model_scores --output_dir scores/
  python launch/score.py base=made_elsewhere.jsonl --text_column output --output_dir scores/
  python launch/score.py generations/base --group tuned=generations/s0,generations/s1,generations/s2 --output_dir scores/
"""
WRITTEN = ("options.yaml", "scores.md", "scores.tex", "report.html", "scores.json")


@dataclass(kw_only=True)
class ScoreInvocation(Invocation):
    """What changes no score."""

    overwrite: bool = option(False, "Replace the scores that output_dir holds.")


@dataclass(kw_only=True)
class TextOptions:
    """What is scored, and beside what."""

    sets: tuple[str, ...] = option(
        (),
        "Folders of launch/generate.py, or any .jsonl with texts.",
        words="positional",
        metavar="[NAME=]WHERE",
    )
    group: tuple[str, ...] = option((), "Several seeds as one condition; repeatable.", metavar="NAME=WHERE,WHERE,…")
    baseline: str | None = option(
        None, "Condition that the others are compared with, paired by context; default: the first.", metavar="NAME"
    )
    train_rows: str | None = option(
        None, "Training rows, for overlap and Dataset-BLEU.", metavar="RUN|DATASET", path=True
    )
    train_rows_column: str = option("text", "Column of a dataset of train_rows that holds the text.")
    tokenizer: str | None = option(None, "Hub id or local folder: makes ids of texts that come without.", path=True)
    text_column: str = option("text", "Column of a foreign file that holds the continuation.")
    token_column: str = option("token_ids", "Column of a foreign file that holds its token ids.")


@dataclass(kw_only=True)
class MeasureOptions:
    """What is measured."""

    metrics: tuple[str, ...] = option(
        (),
        "Columns of the table, as `hyperfitting metrics` lists them, NAME_words to count words; default: a selection.",
        words="together",
        metavar="METRIC",
    )
    model_scores: bool = option(False, "Also perplexity, entropy and mass by each model.")
    model_scores_of: str = option(
        "both",
        "Continuations that a model is run over: the true ones, once a model, its own, or both.",
        choices=("both", *SIDES),
    )
    preference: str | None = option(
        None,
        "Also win, tie and loss of this study's votes, for the conditions that it names.",
        metavar="STUDY",
        path=True,
    )
    mauve_model: str | None = option(None, "Also MAUVE, with features of this model.", metavar="MODEL", path=True)
    inception_weights: str | None = option(
        None, "Also KID, precision and recall of pictures on features of InceptionV3.", metavar="FILE", path=True
    )
    per_device_eval_batch_size: int = option(8, "Texts in a forward pass of a model.", least=1)
    dtype: str = option("float32", "Dtype of the weights for model scores.", choices=("float32", "bfloat16", "auto"))
    trust_remote_code: bool = option(False, "Run code that comes with a checkpoint or tokenizer.")


@dataclass(kw_only=True)
class TableOptions:
    """What is written."""

    output_dir: str = option(REQUIRED, "Folder of scores.json, scores.md and report.html.", path=True)
    latex: bool = option(False, "Also scores.tex.")


@dataclass(kw_only=True)
class ScoreOptions(TextOptions, MeasureOptions, TableOptions, Options):
    """All settings of a scoring: the keys of options.yaml and the flags of the command line."""


def main(arguments: list[str] | None = None) -> int:
    """Score; returns the exit code: 0, 1 for a failure, 2 for something the user can fix."""
    return run_reporting_errors(_run, arguments)


def _run(arguments: list[str] | None) -> None:
    invocation, options = read_command_line(
        arguments,
        command="hyperfitting score",
        about="Score sets of generated texts: scores.json, scores.md and report.html.",
        epilog=EPILOG,
        invocation=ScoreInvocation,
        options=ScoreOptions,
    )
    from ..terminal import Progress, make_console, printable, quiet_libraries

    quiet_libraries()
    for name in options.metrics:  # what is wrong or missing is said before anything is computed
        find_metric(name)
    if options.mauve_model:
        from ..scoring.mauve import import_mauve

        import_mauve()
    if options.inception_weights:
        from ..scoring.inception import check_inception

        check_inception(options.inception_weights)
    output = Path(options.output_dir)
    _check_free(output, invocation.overwrite)
    console = make_console(quiet=not is_main_process())
    trust = options.trust_remote_code
    codec = load_codec(None, options.tokenizer, trust_remote_code=trust) if options.tokenizer else None
    conditions = read_conditions(options.sets, options.group, options.text_column, options.token_column, codec)
    _check_baseline(options.baseline, conditions)
    train = None
    if options.train_rows:
        train = _load_train_rows(options.train_rows, options.train_rows_column, conditions, codec)
    study, voted = None, {}
    if options.preference:
        from ..preference.study import Study
        from ..preference.table import scores_beside

        study = Study(options.preference)
        voted = scores_beside(study, conditions)
    asked = {name: getattr(options, name) for name in ("metrics", "baseline", "model_scores", "preference")}
    asked |= {name: getattr(options, name) for name in ("mauve_model", "inception_weights")}
    check_ready(conditions, trust_remote_code=trust, **asked)
    codec_of = _quoting(codec, trust)
    for condition in conditions if train else ():
        codec_of(condition.first)
    models = {}
    if options.model_scores:
        from ..scoring.model_scores import score_with_models

        with Progress(console) as progress:
            models = score_with_models(
                conditions,
                sides=SIDES if options.model_scores_of == "both" else (options.model_scores_of,),
                batch_size=options.per_device_eval_batch_size,
                dtype=options.dtype,
                trust_remote_code=trust,
                advance=lambda what: console.print(printable(f"model scores: {what}")),
                progress=progress,
            )
    if not is_main_process():
        return
    with Progress(console) as progress, progress.task("scoring") as task:

        def say(what: str) -> None:
            console.print(printable(what))
            task.note = printable(what)

        results = score_conditions(
            conditions,
            metrics=options.metrics or None,
            baseline=options.baseline,
            train=train,
            models=models,
            voted=voted,
            mauve_model=options.mauve_model,
            inception_weights=options.inception_weights,
            batch_size=options.per_device_eval_batch_size,
            trust_remote_code=trust,
            tokenizers=codec_of,
            say=say,
        )
    if study is not None:
        from ..preference.table import with_study

        results = with_study(results, study)
    _write(output, results, options)
    console.print(tables.terminal(results))
    for note in results.notes:
        console.print(printable(note))
    console.print(f"{output / 'scores.json'}, {output / 'scores.md'}, open {output / 'report.html'}")


def _quoting(codec: Codec | None, trust_remote_code: bool) -> Callable[[GenerationSet], Codec | None]:
    """A set -> what writes its quotations as text: --tokenizer, or that of the set's model."""
    find = functools.cache(functools.partial(load_codec, trust_remote_code=trust_remote_code))

    def codec_of(texts: GenerationSet) -> Codec | None:
        made_by = texts.manifest
        if codec or "model" not in made_by or "pixels" in made_by:  # pixels are quoted by no text
            return codec
        try:
            return find(made_by["model"], revision=made_by.get("revision"))
        except UserError as error:
            raise UserError(f"quotations need the tokenizer of {texts.name!r}: give --tokenizer ({error})") from None

    return codec_of


def _write(output: Path, results: Results, options: ScoreOptions) -> None:
    from ..report import write_report

    output.mkdir(parents=True, exist_ok=True)
    options.save(output / "options.yaml")
    write_atomically(output / "scores.md", tables.markdown(results))
    if options.latex:
        write_atomically(output / "scores.tex", tables.latex(results))
    write_report(output / "report.html", results)
    text = json.dumps(results.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(output / "scores.json", text + "\n")


def read_conditions(
    sets: Sequence[str],
    groups: Sequence[str],
    text_column: str = "text",
    token_column: str = "token_ids",
    tokenizer=None,
) -> list[Condition]:
    """The conditions of `WHERE …` and `NAME=WHERE,WHERE` arguments, in that order.

    Raises:
        UserError: nothing to score, a group without a name, whose seeds have other policies or are the same, two of one name.
    """
    load = functools.partial(
        load_generation_sets, text_column=text_column, token_column=token_column, tokenizer=tokenizer
    )
    conditions = [Condition.of(found.name, [found]) for where in sets for found in load(where)]
    for group in groups:
        name, _, places = group.partition("=")
        if not name or not places:
            raise UserError(f"--group {group!r} must be NAME=WHERE,WHERE,…")
        seeds = [{s.policy: s for s in load(Path(where).expanduser())} for where in places.split(",")]
        if any(seed.keys() != seeds[0].keys() for seed in seeds):
            raise UserError(f"group {name!r}: its seeds hold different policies, {[sorted(seed) for seed in seeds]}")
        for policy in seeds[0]:
            condition = Condition.of(
                name if len(seeds[0]) == 1 else f"{name} {policy}", [seed[policy] for seed in seeds]
            )
            made = [(seed.texts, seed.manifest) for seed in condition.sets]
            if any(one in made[:index] for index, one in enumerate(made)):
                raise UserError(f"group {name!r} counts the same texts as two seeds: name each seed once")
            conditions.append(condition)
    if not conditions:
        raise UserError("nothing to score: name folders of launch/generate.py or .jsonl files")
    check_names(conditions)
    return conditions


def _check_free(output: Path, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"output_dir {output} is a file")
    existing = next(path for path in (output, *output.absolute().parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise UserError(
            f"output_dir {output} is not writable ({error.strerror}): set --output_dir to a folder of your own"
        ) from None
    there = [name for name in WRITTEN if os.path.lexists(output / name)]
    foreign = [name for name in there if (output / name).is_symlink()] or _not_of_a_scoring(output, there)
    if foreign:
        raise UserError(f"{output} holds {foreign[0]}, which no scoring wrote: set another --output_dir")
    if "scores.json" in there and not overwrite:
        raise UserError(f"{output} holds scores: replace them with --overwrite, or set another --output_dir")


def _not_of_a_scoring(output: Path, there: list[str]) -> list[str]:
    """Those of the files that no scoring, finished or killed, wrote: its options are the first of its files, its scores the last."""
    if not there:
        return []
    try:
        if "scores.json" in there and "conditions" not in read_json(output / "scores.json"):
            return there
        made_latex = ScoreOptions.load(output / "options.yaml").latex
    except UserError:
        return there
    return [name for name in there if name == "scores.tex" and not made_latex]


def _check_baseline(name: str | None, conditions: list[Condition]) -> None:
    names = [condition.name for condition in conditions]
    if name is not None and name not in names:
        raise UserError(f"--baseline {name!r} is none of the conditions: {', '.join(names)}")


def _load_train_rows(where: str, column: str, conditions: list[Condition], codec: Codec | None) -> TrainRows:
    """The rows of a run, or of a dataset (its text in `column`) tokenized with --tokenizer.

    Raises:
        UserError: when texts have no token ids, or were made with another tokenizer.
    """
    train = load_training_rows(where, codec, column)
    for condition in conditions:
        if not all(texts.has_tokens for texts in condition.sets):
            raise UserError(f"--train_rows compares token ids, and {condition.name!r} has none: give --tokenizer")
        made_with = condition.first.manifest.get("tokenizer_fingerprint")
        if made_with is None and codec is not None and not condition.first.manifest:
            made_with = codec.fingerprint
        if made_with not in (None, train.tokenizer_fingerprint):
            raise UserError(f"the rows of {where} were made with another tokenizer than {condition.name!r}")
    return train


if __name__ == "__main__":
    sys.exit(main())
