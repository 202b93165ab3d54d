"""Contexts out to another engine, its continuations in: through files, because engines pin libraries of their own."""

from pathlib import Path

from ..errors import UserError
from ..files import read_jsonl, to_jsonl
from .contexts import Context


def export_contexts(path: Path, contexts: list[Context], max_length: int) -> None:
    """Write what any engine needs: a line per context with id, prompt_token_ids and max_tokens."""
    if path.exists():
        raise UserError(f"{path} exists: give --export_contexts a new file")
    rows = [{"id": c.id, "prompt_token_ids": list(c.ids), "max_tokens": max_length - len(c.ids)} for c in contexts]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_jsonl(rows), encoding="utf-8")


def import_continuations(path: Path, contexts: list[Context], max_length: int, vocabulary: int) -> dict[str, tuple]:
    """Read what another engine made: rows with id, continuation_ids (or token_ids) and perhaps finish_reason.

    Returns:
        id -> (continuation ids, finish reason).

    Raises:
        UserError: missing, doubled or unknown ids, ids beyond the vocabulary, texts that are too long; all at once.
    """
    known, found, problems = {c.id: c for c in contexts}, {}, []
    for number, row in enumerate(read_jsonl(path), 1):
        name, ids = row.get("id"), row.get("continuation_ids", row.get("token_ids"))
        if name not in known:
            problems.append(f"line {number}: id {name!r} is not among the contexts")
        elif name in found:
            problems.append(f"line {number}: id {name!r} stands there twice")
        elif not isinstance(ids, list) or not all(isinstance(i, int) and 0 <= i < vocabulary for i in ids):
            problems.append(f"line {number}: continuation_ids must be ids below {vocabulary}")
        elif len(ids) > max_length - len(known[name].ids):
            problems.append(f"line {number}: {len(ids)} tokens, at most {max_length - len(known[name].ids)} fit")
        else:
            found[name] = ids, row.get("finish_reason") or "length"
    missing = [name for name in known if name not in found]
    if missing:
        problems.append(f"{len(missing)} contexts have no record, the first is {missing[0]!r}")
    if problems:
        shown = problems[:10] + ([f"and {len(problems) - 10} more"] if len(problems) > 10 else [])
        raise UserError(f"{path} cannot be adopted:\n" + "\n".join(f"- {problem}" for problem in shown))
    return found
