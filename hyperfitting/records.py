"""Generated texts: the record that the generation runner writes, and sets of them, read from its folders or from a JSON file of
another tool. Token ids are the truth, text is derived from them, and there are no floats."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

from .codec import as_codec
from .documents import json_rows
from .errors import UserError
from .files import read_json
from .options import name_and_place

_MANIFEST_TYPES = {  # of what later stages ask a manifest, where it says it
    "model": str,
    "revision": str,
    "dtype": str,
    "model_fingerprint": str,
    "tokenizer_fingerprint": str,
    "contexts_fingerprint": str,
    "batch_size": int,
    "pixels": dict,
}
HARNESS = {"doc_id", "arguments", "resps", "filtered_resps"}  # keys of a sample of lm-evaluation-harness


@dataclass(frozen=True)
class GenerationRecord:
    """One continuation, a line of generations.jsonl; its fields are the keys, in order.

    Attributes:
        id, source: of the context.
        policy: signature of the decoding policy.
        model_fingerprint, seed: what made it, besides the policy.
        context_ids, continuation_ids, reference_ids: token ids; the end of sequence is not part of a continuation.
        finish_reason: eos or length.
        blocked: what the citation blocker blocked, step by step; None, and no key, without a blocker.
        context, continuation, reference: the ids as text.
    """

    id: str
    source: str
    policy: str
    model_fingerprint: str
    seed: int
    context_ids: list[int]
    continuation_ids: list[int]
    finish_reason: str
    reference_ids: list[int]
    blocked: list[dict] | None
    context: str
    continuation: str
    reference: str

    def to_json(self) -> dict:
        row = asdict(self)
        return {key: value for key, value in row.items() if key != "blocked" or value is not None}


@dataclass(frozen=True)
class GeneratedText:
    """One continuation. Ids are None where the tool that made it wrote none; a reference is None where there is none.

    Attributes:
        id: the line's number where the tool wrote none.
        ended: whether it ended before its limit; None where the tool did not say.
        unknown: of a text that has neither id nor context, what stands for its context: equal to itself alone.
    """

    id: str
    source: str
    context: str
    text: str | None
    ids: tuple[int, ...] | None = None
    context_ids: tuple[int, ...] | None = None
    reference: str | None = None
    reference_ids: tuple[int, ...] | None = None
    ended: bool | None = None
    unknown: object | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.ids if self.ids is not None else self.text)


@dataclass(frozen=True)
class GenerationSet:
    """What one model continued under one policy (one seed), in the order of its file.

    Attributes:
        manifest: the generation runner's manifest.json, or empty.
    """

    name: str
    texts: tuple[GeneratedText, ...]
    policy: str = ""
    manifest: dict = field(default_factory=dict)

    @property
    def ids(self) -> list[str]:
        return [text.id for text in self.texts]

    @property
    def sources(self) -> list[str]:
        """Names of the corpora of the contexts, in order of appearance."""
        return list(dict.fromkeys(text.source for text in self.texts))

    @cached_property
    def has_tokens(self) -> bool:
        return all(text.ids is not None for text in self.texts)

    @cached_property
    def has_words(self) -> bool:
        return all(text.text is not None for text in self.texts)

    def original(self) -> "GenerationSet | None":
        """The true continuations as a set of their own, the line that every score stands beside; None if any is missing."""
        tokens = all(text.reference_ids for text in self.texts)
        words = all(text.reference for text in self.texts)
        if not tokens and not words:
            return None
        texts = tuple(
            GeneratedText(
                id=t.id,
                source=t.source,
                context=t.context,
                text=t.reference if words else None,
                ids=t.reference_ids if tokens else None,
                context_ids=t.context_ids,
                unknown=t.unknown,
            )
            for t in self.texts
        )
        kept = ("tokenizer_fingerprint", "contexts_fingerprint", "pixels")
        facts = {key: self.manifest[key] for key in kept if key in self.manifest}
        return GenerationSet("original image" if "pixels" in facts else "original text", texts, "", facts)


def load_generation_sets(
    where: str | Path, text_column: str = "text", token_column: str = "token_ids", tokenizer=None
) -> list[GenerationSet]:
    """The sets of a folder of the generation runner, or of a file of JSON lines or a JSON array, one for each policy. The files
    `samples_….jsonl` of lm-evaluation-harness hold one set, of the raw texts.

    Args:
        where: a path, or as text `PATH` or `NAME=PATH`; the name is by default that of the folder or file.
        text_column, token_column: where a foreign file holds the continuation; one of the two is enough.
        tokenizer: makes token ids of texts that come without, and text of ids that come without.

    Raises:
        UserError: no such file, no texts, a missing column, a value that is not what its column holds, two texts of one id.
    """
    codec = None if tokenizer is None else as_codec(tokenizer)
    name, path = (None, where) if isinstance(where, Path) else name_and_place(where)
    path = Path(path)
    file = path / "generations.jsonl" if path.is_dir() else path
    if not file.exists():
        hint = "it holds no generations.jsonl: let launch/generate.py finish" if path.is_dir() else "it does not exist"
        raise UserError(f"{path} cannot be scored: {hint}")
    manifest_file = path / "manifest.json"
    manifest = read_manifest(manifest_file) if manifest_file.exists() else {}
    # A model may have, and choose, more ids than its tokenizer gives: of its own records nothing is checked.
    own = codec is not None and manifest.get("tokenizer_fingerprint") == codec.fingerprint
    vocabulary = None if codec is None or own else len(codec)
    policies: dict[str, list[GeneratedText]] = {}
    wanted = (text_column, "continuation", token_column, "continuation_ids", *HARNESS)
    filters: list[str | None] = []
    for at, number, row in json_rows(file, wanted):
        place = f"{file}, {at}"
        if row.keys() >= HARNESS and text_column not in row:
            row = _row_of_harness(row, place, filters)
        if row is None:
            continue
        text = _read_text(row, place, number, text_column, token_column, codec, vocabulary)
        policies.setdefault(_name(row, "policy", place) or "", []).append(text)
    if not policies:
        raise UserError(f"{file} holds no texts")
    for policy, texts in policies.items():
        _check_ids(file, policy, texts)
    name = name or (path.name if path.is_dir() else path.stem) or str(path)
    return [
        GenerationSet(name if len(policies) == 1 else f"{name} {policy}", tuple(texts), policy, manifest)
        for policy, texts in policies.items()
    ]


def generation_set(records: Iterable[dict], name: str = "texts") -> GenerationSet:
    """Records of the generation runner, or any dicts with `continuation_ids`, `continuation`, `token_ids` or `text`."""
    texts = [_read_text(row, f"record {n}", n, "text", "token_ids", None, None) for n, row in enumerate(records, 1)]
    if not texts:
        raise UserError("there are no texts to score")
    _check_ids(name, "", texts)
    return GenerationSet(name, tuple(texts))


def read_manifest(path: Path) -> dict:
    """The generation runner's manifest.json.

    Raises:
        UserError: it is damaged, or what later stages ask of it is of another type.
    """
    found = read_json(path)
    for key, kind in _MANIFEST_TYPES.items():
        if not isinstance(found.get(key), kind | None):
            raise UserError(f"{path} is damaged: {key} is {found[key]!r}")
    return found


def _row_of_harness(sample: dict, place: str, first_filter: list) -> dict | None:
    """A sample of lm-evaluation-harness as a record: its prompt, the text that the model gave, and the target as the reference.
    It is there once for each of the task's filters, which change the text for their metrics: None after the first.

    Raises:
        UserError: the task asks for no text, or for several.
    """
    if not first_filter:
        first_filter.append(sample.get("filter"))
    if sample.get("filter") != first_filter[0]:
        return None
    match sample["resps"]:
        case [[str(text)]]:
            pass
        case _:
            raise UserError(
                f"{place}: a sample of lm-evaluation-harness without one generated text: score takes those of tasks of the kind "
                "generate_until, with one repeat"
            )
    match sample["arguments"]:
        case {"gen_args_0": {"arg_0": str(prompt)}} | [[str(prompt), *_], *_]:
            context = prompt
        case _:
            context = ""
    return {"id": sample["doc_id"], "context": context, "text": text, "reference": str(sample.get("target") or "")}


def _words(row: dict, column: str, place: str, hint: str = "mend the file") -> str | None:
    """The text in a column; None where there is none, which tools write as null."""
    text = row.get(column)
    if text is not None and not isinstance(text, str):
        raise UserError(f"{place}: the {column} is {type(text).__name__}, not a string: {hint}")
    try:
        (text or "").encode()
    except UnicodeEncodeError:  # JSON can spell what UTF-8 cannot
        raise UserError(f"{place}: the {column} holds half a character (a lone surrogate): mend the file") from None
    return text


def _name(row: dict, column: str, place: str) -> str | None:
    """As `_words`, of a column in which tools also write numbers."""
    name = row.get(column)
    return str(name) if isinstance(name, int | float) else _words(row, column, place)


def _read_text(
    row: dict, place: str, number: int, text_column: str, token_column: str, codec, vocabulary: int | None
) -> GeneratedText:
    text = _words(row, text_column if text_column in row else "continuation", place, "set --text_column")
    ids = row.get(token_column, row.get("continuation_ids"))
    if text is None and ids is None:
        raise UserError(
            f"{place}: no column {text_column!r} or {token_column!r}; it has {', '.join(row)}: set --text_column or "
            "--token_column"
        )
    if ids is None and codec is not None:
        (ids,) = codec.encode([text], special=False)
    context_ids, reference_ids = row.get("context_ids"), row.get("reference_ids")
    for what, values in (("token ids", ids), ("context_ids", context_ids), ("reference_ids", reference_ids)):
        if values is not None:
            _check_tokens(values, f"{place}: {what}", vocabulary)
    if codec is not None and text is None:
        text = codec.decode(ids)
    name, context = _name(row, "id", place), _words(row, "context", place) or ""
    return GeneratedText(
        id=str(number - 1) if name is None else name,
        source=_name(row, "source", place) or "",
        context=context,
        text=text,
        ids=None if ids is None else tuple(ids),
        context_ids=None if context_ids is None else tuple(context_ids),
        reference=_words(row, "reference", place) or None,
        reference_ids=tuple(reference_ids) if reference_ids else None,
        ended=_ended(row.get("finish_reason")),
        unknown=None if name is not None or context or context_ids else object(),
    )


# What tools call the end of a text: ours, vLLM's and OpenAI's.
REASONS = {"eos": "eos", "stop": "eos", "length": "length"}


def _ended(reason) -> bool | None:
    """Whether a text ended by itself; None for a reason that says neither, such as abort."""
    return REASONS[reason] == "eos" if isinstance(reason, str) and reason in REASONS else None


def _check_tokens(ids, place: str, vocabulary: int | None) -> None:
    if not isinstance(ids, list) or not all(type(i) is int and 0 <= i < 2**63 for i in ids):
        raise UserError(f"{place} must be a list of whole numbers from 0: set --token_column to the right column")
    if vocabulary is not None and ids and max(ids) >= vocabulary:
        raise UserError(
            f"{place} hold {max(ids)}, the tokenizer knows {vocabulary} ids: set --tokenizer to the model's own"
        )


def _check_ids(where, policy: str, texts: Sequence[GeneratedText]) -> None:
    seen: set[str] = set()
    for text in texts:
        if text.id in seen:
            under = f" under policy {policy}" if policy else ""
            raise UserError(f"{where} holds two texts of context {text.id!r}{under}: one text for each id, please")
        seen.add(text.id)
