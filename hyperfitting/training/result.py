"""What a run leaves to its caller, and in result.json."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..files import write_atomically
from .progress import Progress
from .run_folder import RunFolder


@dataclass(frozen=True)
class HyperfitResult:
    """What `Hyperfitter.fit` returns.

    Attributes:
        status: finished, or interrupted (by SIGTERM or SIGINT; `fit(resume="auto")` goes on).
        stop_reason: epochs, stop_at_loss, saturated, or None when interrupted.
        before, after: the evaluations at step 0 and at the end, as in metrics.jsonl.
        history: every record of metrics.jsonl.
    """

    status: str
    stop_reason: str | None
    steps: int
    before: dict
    after: dict
    history: list[dict]
    run_dir: Path
    final_dir: Path | None
    early_stopped_dir: Path | None


def read_result(run: RunFolder, progress: Progress, status: str) -> HyperfitResult:
    """The result of a run as of now, from its folder; `status`: finished or interrupted."""
    evaluations = run.evaluations() or [{}]
    finished = status == "finished"
    return HyperfitResult(
        status=status,
        stop_reason=progress.stop_reason if finished else None,
        steps=progress.step,
        before=run.first_evaluation(),
        after=evaluations[-1],
        history=run.read_metrics(),
        run_dir=run.path,
        final_dir=run.final if finished else None,
        early_stopped_dir=run.early_stopped if run.early_stopped.is_dir() else None,
    )


def write_result(
    result: HyperfitResult, run: RunFolder, progress: Progress, parameters: int, corpus_fingerprint: str
) -> None:
    """Write result.json: everything but the history, and what it was found with."""
    summary = {name: value for name, value in asdict(result).items() if name != "history"}
    summary |= {"parameters": parameters, "corpus_fingerprint": corpus_fingerprint}
    summary |= {name: getattr(progress, name) for name in ("best_validation_loss", "best_step")}
    write_atomically(run.result, json.dumps(summary, indent=2, default=str) + "\n")
