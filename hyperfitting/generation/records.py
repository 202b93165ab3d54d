"""Records and where they lie: token ids are the truth, text is derived from them, and there are no floats.

manifest.json               what made the records: model, policies, contexts, seed, lengths, batch size
batches/POLICY/00003.jsonl  the records of one finished batch, written in one rename
generations.jsonl           all records, policy by policy, in context order
log.jsonl                   what differs between runs: times, memory, split batches
"""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn

from ..errors import UserError
from .contexts import Context


def make_record(
    context: Context,
    continuation: list[int],
    finish_reason: str,
    policy: str,
    blocked: list | None,
    made_by: dict,
    tokenizer,
) -> dict:
    """One continuation; `made_by` holds what the manifest and every record say alike (model fingerprint, seed)."""
    record = {"id": context.id, "source": context.source, "policy": policy, **made_by}
    record |= {"context_ids": list(context.ids), "continuation_ids": continuation, "finish_reason": finish_reason}
    record |= {"reference_ids": list(context.reference)}
    if blocked is not None:
        record["blocked"] = blocked
    record |= {"context": tokenizer.decode(context.ids), "continuation": tokenizer.decode(continuation)}
    return record | {"reference": tokenizer.decode(context.reference)}


def to_jsonl(records: Iterable[dict]) -> str:
    """One line a record, the same bytes for the same records."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def read_jsonl(path: Path) -> list[dict]:
    """The rows of a .jsonl file.

    Raises:
        UserError: when it does not exist or a line is not JSON, with the line's number.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):  # text may hold other line ends
        if not line:
            continue
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number} is not JSON: {error}") from None
    return rows


def folder_name(signature: str) -> str:
    """A policy's signature as the name of a folder."""
    return re.sub(r"[^\w.=+-]+", "_", signature).strip("_")


def model_fingerprint(model: nn.Module) -> str:
    """SHA-256 (first 16 hex digits) of the names, shapes and up to 1024 evenly spaced values of every weight: the same for
    a folder and the model loaded from it, another for any other model."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.named_parameters()):
        flat = weight.detach().flatten()
        values = flat[:: max(1, len(flat) // 1024)][:1024].to("cpu", torch.float32)
        digest.update(f"{name}{tuple(weight.shape)}".encode() + values.numpy().tobytes())
    return digest.hexdigest()[:16]


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
