"""Asks a language model which text is better, every pair in both orders, and stores what it says as votes.

A raw answer is on the disk before its vote is stored, and an answer that is there is not asked for again.
"""

import contextlib
import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...errors import UserError
from ...files import append_jsonl, lock_file, read_jsonl, sync_file, to_jsonl, write_atomically
from ...scoring.signature import Signature
from ...terminal import Progress
from ..study import Annotator, Assignment, Item, Study
from .reading import read_choice, was_cut

PROMPT = "judge_prompt.md"
_FIELD = re.compile(r"\{(context|a|b)\}")
_WHO = ("model", "served")  # of a reply's details: what tells who answered


@dataclass(frozen=True)
class Reply:
    """What was answered to one prompt; `answer` is None when there was none, and `details` then says why.

    Attributes:
        details: what else the raw answer holds, such as counted tokens; plain JSON values. `finish_reason` says whether the model ended
            it, `model` and `served` who it came from, and, where there is no answer, `overlong` that the prompt was too long.
    """

    key: str
    answer: str | None
    details: dict


class Judge(Protocol):
    """Who is asked. `facts` are all that an answer depends on beside the prompt."""

    facts: dict[str, str]

    def ask(self, prompts: Iterable[tuple[str, str]]) -> Iterator[Reply]:
        """A reply to each (key, prompt), in any order."""
        ...


def read_prompt(folder: Path) -> str:
    """The template of the prompt in a study's folder; the one that comes along is copied there first where it has none.

    Raises:
        UserError: it cannot be read, or does not name {context}, {a} and {b} once each.
    """
    path = folder / PROMPT
    if not path.exists():
        shutil.copyfile(Path(__file__).parent / PROMPT, path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    if Counter(_FIELD.findall(text)) != {"context": 1, "a": 1, "b": 1}:
        raise UserError(f"{path} must hold each of {{context}}, {{a}} and {{b}} once: there the texts are put in")
    return text


def fill(template: str, item: Item) -> str:
    """A prompt. What stands in a text is put in as it is, also where it looks like a field."""
    return _FIELD.sub(lambda field: getattr(item, field[1]), template)


@dataclass
class Asked:
    """What one call of `run_judge` came to: votes stored; answers without a choice, those that were cut before it apart; prompts
    without an answer, those that are longer than the model reads apart, with the last reason."""

    judge: Annotator
    raw: Path
    stored: int = 0
    unreadable: int = 0
    cut: int = 0
    unanswered: int = 0
    overlong: int = 0
    why: str = ""


def run_judge(study: Study, judge: Judge, progress: Progress) -> Asked:
    """Let a judge vote on every pair that people are asked about, in both orders; what it has voted on is not asked again.

    Another prompt, model or setting is another judge. An answer that names no choice is kept and counted, and no vote.

    Raises:
        UserError: the same judge is at work in another process, or another model answers under its name.
    """
    template = read_prompt(study.folder)
    fingerprint = hashlib.sha256(template.encode()).hexdigest()[:12]
    name = str(Signature({**judge.facts, "prompt": fingerprint}))
    annotator = study.add_judge(name, _both_orders(study))
    raw = study.folder / "judges" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.jsonl"
    raw.parent.mkdir(exist_ok=True)
    asked = Asked(annotator, raw)
    with lock_file(raw.with_suffix(".lock"), f"judge {name} is at work", "wait for it or stop it"):
        kept = _kept(raw, name)
        who = next(({key: row.get(key) for key in _WHO} for row in kept.values()), None)
        left = []
        for item in study.items(annotator):
            if item.assignment in kept:  # a kill came between the answer and its vote
                _vote(study, asked, item.assignment, kept[item.assignment])
            else:
                left.append((item.assignment, fill(template, item)))
        done, total = study.progress(annotator)
        replies = judge.ask(left)
        with contextlib.closing(replies), progress.task("judge", total=total, unit="answer", done=done) as task:
            for reply in replies:
                if reply.answer is None:
                    asked.why = reply.details["why"]
                    asked.overlong += bool(reply.details.get("overlong"))
                    asked.unanswered += not reply.details.get("overlong")
                else:
                    who = _same(who, {key: reply.details.get(key) for key in _WHO}, raw)
                    row = {"assignment": reply.key, "answer": reply.answer, **reply.details}
                    append_jsonl(raw, row)
                    sync_file(raw)
                    _vote(study, asked, reply.key, row)
                task.advance()
                task.note = ", ".join(f"{count} {what}" for count, what in _remarks(asked))
    return asked


def _remarks(asked: Asked) -> list[tuple[int, str]]:
    counts = (
        (asked.unreadable, "name no choice"),
        (asked.cut, "cut short"),
        (asked.unanswered, "unanswered"),
        (asked.overlong, "too long"),
    )
    return [(count, what) for count, what in counts if count]


def _same(known: dict | None, now: dict, raw: Path) -> dict:
    """Who answers, where it is who answered before or nothing tells.

    Raises:
        UserError: it is somebody else.
    """
    for key in _WHO:
        before = known and known[key]
        if before is not None and now[key] is not None and before != now[key]:
            raise UserError(
                f"{now[key]!r} answers, and the answers in {raw} are those of {before!r}: two models would be one judge. "
                f"Serve {before!r} again, or give another model a name of its own by --model"
            )
    return {key: now[key] if known is None or known[key] is None else known[key] for key in _WHO}


def _vote(study: Study, asked: Asked, assignment: str, row: dict) -> None:
    reason = row.get("finish_reason")
    choice = read_choice(row["answer"], reason)
    if choice is not None:
        asked.stored += study.vote(asked.judge, assignment, choice)
    elif was_cut(reason):
        asked.cut += 1
    else:
        asked.unreadable += 1


def _both_orders(study: Study) -> list[Assignment]:
    """Every pair that is a vote of some person, as it is and with its sides swapped."""
    drawn = [one for person in study.annotators() for one in study.assignments(person)]
    pairs = sorted({one.pair for one in drawn if one.role == "vote"})
    return [Assignment(pair, swapped, "vote") for pair in pairs for swapped in (False, True)]


def _kept(raw: Path, name: str) -> dict[str, dict]:
    """The answers of earlier calls by their assignments; a last line that a kill cut short is taken off the file.

    Raises:
        UserError: a line holds no answer.
    """
    rows = read_jsonl(raw, cut_short=True) if raw.exists() else []
    rows = rows or [{"judge": name}]
    kept = {}
    for number, row in enumerate(rows[1:], 2):
        reason = row.get("finish_reason")
        if not all(isinstance(row.get(key), str) for key in ("assignment", "answer")) or not isinstance(
            reason, str | None
        ):
            raise UserError(f"{raw}, answer {number - 1} is damaged: take its line away, and its prompt is asked again")
        kept[row["assignment"]] = row
    write_atomically(raw, to_jsonl(rows))
    return kept
