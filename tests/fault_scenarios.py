"""What faults.py disturbs: short runs, generations and scorings, how each is tried again, and what must then be there."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from hyperfitting.commands import generate, hyperfit, score
from hyperfitting.training.checkpoint import MARK

OUTPUT = "out"  # what a scenario writes; paths are relative, so that every try leaves the same bytes
RESUME, OVERWRITE = ["--resume", "auto"], ["--overwrite"]

# All that may differ between an undisturbed command and one that failed and was given again: file -> what of it.
MAY_DIFFER = {
    "metrics.jsonl": r'"time": [\d.]+',
    "result.json": r'"time": [\d.]+',
    "log.jsonl": r'\{"rank": 0, .*\}\n',  # seconds of each batch, and which call made it
    ".lock": r"(?s).*",  # which process holds it
    "environment.json": r'"git_commit": .*',  # whoever tries this may be at work on the code
}


@dataclass(frozen=True)
class Ended:
    """A command that is over: its arguments, its exit code, and what it printed."""

    words: list[str]
    code: int
    said: str
    errors: str


@dataclass(frozen=True)
class Scenario:
    """A command in a folder of its own.

    Attributes:
        main, words: the command, whose output folder is OUTPUT.
        again: gives the command once more through a function (words, wanted exit code), and returns what is lost.
        before: commands that make what is there when it begins.
    """

    main: Callable[[list[str]], int]
    words: list[str]
    again: Callable[[Path, Path, Callable], list[str]]
    before: list[tuple[Callable, list[str]]] = field(default_factory=list)


def make_scenarios(tiny: Path) -> dict[str, Scenario]:
    """name -> scenario, with the model and the texts of the folder that the fixture `tiny` makes."""
    source = ["--model", str(tiny / "fp32")]
    out = ["--output_dir", OUTPUT]
    fit = [*source, "--dataset", str(tiny / "stories.jsonl"), "--seq_len", "32", "--num_train", "16"]
    fit += [
        "--num_validation",
        "4",
        "--learning_rate",
        "1e-3",
        "--global_batch_size",
        "8",
        "--probe_contexts",
        "2",
        "--probe_context_len",
        "8",
    ]
    fit += ["--probe_max_length", "16", "--save_steps", "2", "--keep_checkpoints", "1", "--keep_early_stopped", *out]
    short, long = [*fit, "--epochs", "1"], [*fit, "--epochs", "2"]
    old = [*fit, "--epochs", "1", "--seed", "1"]
    continued = [*source, "--contexts", f"own={tiny / 'stories.jsonl'}", "--num_contexts", "4", "--context_len", "8"]
    continued += ["--max_length", "40", "--batch_size", "2", "--ban_eos", "--policy", "greedy", "--policy", "nucleus"]
    scored = ["texts", "--train_rows", str(tiny / "stories.jsonl"), "--tokenizer", str(tiny / "fp32")]
    scored += ["--latex", *out]
    exported = [*continued, *out, "--export_contexts", f"{OUTPUT}/contexts.jsonl"]
    return {
        "fit": Scenario(hyperfit.main, long, partial(again_with, long + RESUME)),
        "extend": Scenario(hyperfit.main, long + RESUME, partial(again_with, long + RESUME), [(hyperfit.main, short)]),
        "overwrite": Scenario(hyperfit.main, long + OVERWRITE, partial(again_replacing, long), [(hyperfit.main, old)]),
        "generate": Scenario(
            generate.main, [*continued, *out, "--parquet"], partial(again_with, [*continued, *out, "--parquet"])
        ),
        "export": Scenario(generate.main, exported, partial(again_unless_whole, exported, "contexts.jsonl")),
        "score": Scenario(
            score.main,
            scored,
            partial(again_unless_whole, scored, "scores.json"),
            [(generate.main, [*continued, "--output_dir", "texts"])],
        ),
    }


def again_with(words: list[str], folder: Path, before: Path, run: Callable) -> list[str]:
    """The next try of a command that goes on where the last one ended."""
    run(words, 0)
    return []


def again_unless_whole(words: list[str], last: str, folder: Path, before: Path, run: Callable) -> list[str]:
    """The next try of a command that refuses to replace its result, whose last file is `last`."""
    run(words, 2 if (folder / OUTPUT / last).exists() else 0)
    return []


def again_replacing(words: list[str], folder: Path, before: Path, run: Callable) -> list[str]:
    """The next tries of a run that replaces another: any command has to bring back the old run, or the new one goes on."""
    run(words, 2)  # a run is there, whichever
    is_old = content(folder / OUTPUT) == content(before / OUTPUT)
    if not is_old and newest_mark(folder / OUTPUT) is None:
        return ["the old run is gone, and the new one has no checkpoint"]
    run(words + (OVERWRITE if is_old else RESUME), 0)
    return []


def finished() -> dict:
    """What a fault finds finished in OUTPUT: the newest checkpoint with its mark, and when each batch was written."""
    out = Path(OUTPUT)
    mark = newest_mark(out)
    return {
        "checkpoint": mark and [mark.parent.name, mark.read_text()],
        "batches": {str(file): file.stat().st_mtime_ns for file in sorted(out.glob("batches/*/*.jsonl"))},
    }


def lost(folder: Path, before: Path, finished: dict, last: Ended) -> list[str]:
    """What was finished at the fault, and was made again by the last try."""
    found = []
    if finished["checkpoint"]:
        name, mark = finished["checkpoint"]
        resumed = re.search(r"resumed from \S*(step_\d+)", last.said)
        old = before / OUTPUT / "checkpoints" / name / MARK
        to_replace = OVERWRITE[0] in last.words and old.exists() and old.read_text() == mark
        if not to_replace and not (resumed and resumed[1] >= name):
            found.append(f"the checkpoint {name} was not resumed: {last.said}")
    for name, when in finished["batches"].items():
        file = folder / name
        if not file.exists() or file.stat().st_mtime_ns != when:
            found.append(f"{name} is gone or was made again")
    return found


def newest_mark(out: Path) -> Path | None:
    """The mark of the newest checkpoint that has its name."""
    return max((m for m in out.glob(f"checkpoints/step_*/{MARK}") if m.parent.suffix == ""), default=None)


def content(folder: Path) -> dict[str, bytes]:
    """path -> bytes of every file and folder, without MAY_DIFFER."""
    found = {}
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() else b"a folder"
        if path.name in MAY_DIFFER:
            data = re.sub(MAY_DIFFER[path.name].encode(), b"", data)
        found[str(path.relative_to(folder))] = data
    return found


def differences(found: dict[str, bytes], wanted: dict[str, bytes]) -> list[str]:
    """One line for each file that is not as it should be."""
    return [
        f"{name}: {'is missing' if name not in found else 'should not be there' if name not in wanted else 'differs'}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
