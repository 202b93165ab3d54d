"""The built-in demonstration from the command to the report: where the wall clock goes.

    python benchmarks/end_to_end.py

Runs launch/whole_path.sh, which is what `make hyperfit` does. When each of its commands began is read from bash's trace of
it; training and evaluation from `time` in metrics.jsonl, decoding from the log.jsonl of each generation. What is left of
a command is imports, loading, saving, scoring and the report.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import report

REPOSITORY = Path(__file__).parent.parent
OUTPUTS = ("runs", "generations", "scores")


def read_jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def traced_commands(name: str) -> list[tuple[list[str], float]]:
    """(words of a command, seconds it took) for every command of launch/whole_path.sh that starts Python, in turn."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    trace_and_run = (
        "PS4='+trace $EPOCHREALTIME '; set -x; . launch/whole_path.sh"  # root's bash takes no PS4 from outside
    )
    with tempfile.TemporaryFile("w+") as trace:
        command = ["bash", "-c", trace_and_run, "launch/whole_path.sh", name]
        done = subprocess.run(command, cwd=REPOSITORY, env=environment, stderr=trace)
        end = time.time()
        trace.seek(0)
        if done.returncode:
            raise SystemExit(f"launch/whole_path.sh failed:\n{trace.read()[-4000:]}")
        lines = [line.split() for line in trace if line.lstrip("+").startswith("trace ")]
    starts = [(words[2:], float(words[1])) for words in lines]
    ends = [start for _, start in starts[1:]] + [end]
    commands = [(words, end - start) for (words, start), end in zip(starts, ends, strict=True)]
    return [(words, seconds) for words, seconds in commands if script_of(words)]


def script_of(words: list[str]) -> str | None:
    """hyperfit, generate or score: the script of launch/ that a command runs; None for another command."""
    return next((Path(w).stem for w in words if w.startswith("launch/") and w.endswith(".py")), None)


def training_seconds(metrics: list[dict]) -> tuple[float, float]:
    """Seconds of training and of evaluating: the time between two steps, and between a step and its evaluation.

    A loss is read when the next step is there, the last one before an evaluation at once: two steps lie between an evaluation
    and the next loss. What is above that is a checkpoint. The evaluation of step 0 follows nothing, and counts as the median.
    True of the built-in recipe, whose checkpoints fall on evaluations and which takes four steps or more between them.
    """
    between: dict[tuple[str, str], list[float]] = {}
    for a, b in zip(metrics, metrics[1:], strict=False):
        between.setdefault((a["kind"], b["kind"]), []).append(b["time"] - a["time"])
    steps, evaluations = between["train", "train"], between["train", "evaluation"]
    two = 2 * statistics.median(steps)
    training = sum(steps) + sum(min(seconds, two) for seconds in between["evaluation", "train"])
    return training, sum(evaluations) + statistics.median(evaluations)


def output_folder(words: list[str]) -> Path:
    return REPOSITORY / words[words.index("--output_dir") + 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the run, its generations and its scores")
    args = parser.parse_args()
    name = f"end-to-end-{os.getpid()}"
    rows, totals, whole = [], {"training": 0.0, "evaluating": 0.0, "generating": 0.0, "the rest": 0.0}, 0.0
    try:
        for words, seconds in traced_commands(name):
            script, folder = script_of(words), output_folder(words)
            parts = dict.fromkeys(totals, 0.0)
            if script == "hyperfit":
                parts["training"], parts["evaluating"] = training_seconds(read_jsonl(folder / "metrics.jsonl"))
            elif script == "generate":
                log = read_jsonl(folder / "log.jsonl")
                parts["generating"] = sum(r["seconds"] for r in log if "peak_memory_bytes" in r)
            parts["the rest"] = seconds - sum(parts.values())
            rows.append([f"{script} {folder.name}" if script == "generate" else script, f"{seconds:.1f}"])
            rows[-1] += [f"{part:.1f}" if part else "" for part in parts.values()]
            totals = {key: totals[key] + part for key, part in parts.items()}
            whole += seconds
    finally:
        if not args.keep:
            for output in OUTPUTS:
                shutil.rmtree(REPOSITORY / output / name, ignore_errors=True)
    rows.append(["all", f"{whole:.1f}", *(f"{part:.1f}" for part in totals.values())])
    rows.append(["share", "100%", *(f"{part / whole:.0%}" for part in totals.values())])
    columns = ["command", "wall, s", *(f"{key}, s" for key in totals)]
    report("end-to-end", "The built-in demonstration, from command to report", columns, rows, {"seconds": totals})


if __name__ == "__main__":
    main()
