"""Contexts out to another engine, its continuations in: through files, because engines pin libraries of their own."""

from collections.abc import Collection
from pathlib import Path

from ..errors import UserError
from ..files import iterate_jsonl, to_jsonl, write_atomically
from ..records import REASONS
from .contexts import Context
from .decoding import cut_at_end


def export_contexts(path: Path, contexts: list[Context], max_length: int) -> None:
    """Write what any engine needs: a line per context with id, prompt_token_ids and max_tokens."""
    if path.exists():
        raise UserError(f"{path} exists: give --export_contexts a new file")
    rows = [{"id": c.id, "prompt_token_ids": list(c.ids), "max_tokens": max_length - len(c.ids)} for c in contexts]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_jsonl(rows))


def import_continuations(
    path: Path, contexts: list[Context], max_length: int, vocabulary: int, ends: Collection[int]
) -> dict[str, tuple[list[int], str]]:
    """Read what another engine made: rows with id, continuation_ids (or token_ids) and finish_reason (eos or stop, length).

    A text that holds one of `ends` is cut there, whatever its reason. One that does not may leave its reason out when it has the
    full length.

    Returns:
        id -> (continuation ids without the end, finish reason).

    Raises:
        UserError: missing, doubled or unknown ids, ids beyond the vocabulary, texts that are too long, unknown reasons; all at
            once.
    """
    known, found, problems = {c.id: c for c in contexts}, {}, []
    for number, row in iterate_jsonl(path):
        name, ids = row.get("id"), row.get("continuation_ids", row.get("token_ids"))
        if not isinstance(name, str) or name not in known:
            problems.append(f"line {number}: id {name!r} is not among the contexts")
        elif name in found:
            problems.append(f"line {number}: id {name!r} stands there twice")
        elif not isinstance(ids, list) or not all(type(i) is int and 0 <= i < vocabulary for i in ids):
            problems.append(f"line {number}: continuation_ids must be ids below {vocabulary}")
        elif len(ids) > max_length - len(known[name].ids):
            problems.append(f"line {number}: {len(ids)} tokens, at most {max_length - len(known[name].ids)} fit")
        elif row.get("finish_reason") not in (None, *REASONS):
            problems.append(f"line {number}: finish_reason {row['finish_reason']!r} is none of {', '.join(REASONS)}")
        else:
            continuation, reason = cut_at_end(ids, ends)
            given, full = REASONS.get(row.get("finish_reason")), len(ids) == max_length - len(known[name].ids)
            if reason != "eos" and given is None and not full:
                problems.append(f"line {number}: a text of {len(ids)} tokens without an end needs its finish_reason")
            found[name] = continuation, "eos" if reason == "eos" else given or "length"
    missing = [name for name in known if name not in found]
    if missing:
        problems.append(f"{len(missing)} contexts have no record, the first is {missing[0]!r}")
    if problems:
        shown = problems[:10] + ([f"and {len(problems) - 10} more"] if len(problems) > 10 else [])
        raise UserError(f"{path} cannot be adopted:\n" + "\n".join(f"- {problem}" for problem in shown))
    return found
