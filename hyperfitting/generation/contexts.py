"""What is continued: contexts of a fixed number of tokens, each with its true continuation where there is one."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..codec import Codec, as_codec
from ..corpus import check_made_with, corpus_of_run, encode_drawn, load_documents
from ..errors import UserError
from ..options import name_and_place


@dataclass(frozen=True)
class Context:
    """One text to continue.

    Attributes:
        id: unique name, `source-00012`.
        source: name of the corpus it comes from, such as wiki.
        ids: token ids of the context.
        reference: token ids of the true continuation, perhaps none.
    """

    id: str
    source: str
    ids: tuple[int, ...]
    reference: tuple[int, ...] = ()


def load_contexts(
    sources: list[str],
    tokenizer,
    num_contexts: int = 300,
    context_len: int | None = None,
    max_length: int | None = None,
    text_column: str = "text",
    dataset_config: str | None = None,
    dataset_split: str = "train",
    seed: int = 0,
) -> list[Context]:
    """Contexts from datasets, files and runs, an equal share from each (section 3: 100 of each of three, 32 tokens). Lengths are by
    default the codec's.

    A source is `NAME=WHERE` or `WHERE`: a Hub dataset, a local file or folder (documents in an order drawn from `seed`,
    those of fewer than context_len tokens left out), or the folder of a run, whose validation rows are taken in order.

    Raises:
        UserError: too few documents, an empty file, two sources of one name, rows that another tokenizer made.
    """
    codec = as_codec(tokenizer)
    context_len = codec.context_len if context_len is None else context_len
    max_length = codec.max_length if max_length is None else max_length
    if context_len >= max_length:
        raise UserError(f"context_len {context_len} must be below max_length {max_length}")
    shares = [num_contexts // len(sources) + (i < num_contexts % len(sources)) for i in range(len(sources))]
    chosen: dict[str, list[Context]] = {}
    for source, share in zip(sources, shares, strict=True):
        name, where = name_and_place(source)
        name = name or Path(where).stem or where
        if name in chosen:
            raise UserError(f"two sources of contexts are named {name!r}: write NAME=WHERE to tell them apart")
        corpus = corpus_of_run(where)
        if corpus is not None:
            check_made_with(corpus.tokenizer_fingerprint, codec, f"the validation rows of {where}")
            found = [ids for ids in corpus.validation.tolist() if not _ends(ids, context_len, codec)][:share]
        else:
            documents = load_documents(where, codec, text_column, dataset_config, dataset_split)
            found = _long_enough(where, documents, codec, context_len, max_length, share, seed)
        if len(found) < share:
            raise UserError(
                f"contexts {where} hold {len(found)} texts of at least {context_len} tokens, {share} are needed: lower "
                "--num_contexts or --context_len, or add texts"
            )
        chosen[name] = [
            Context(f"{name}-{i:05d}", name, tuple(ids[:context_len]), _reference(ids[context_len:max_length], codec))
            for i, ids in enumerate(found)
        ]
    return [context for part in chosen.values() for context in part]


def _ends(ids: list[int], length: int, codec: Codec) -> bool:
    """Whether the first `length` ids end with the end of a document, behind which nothing goes on. A start token, which may be
    the same id, is none."""
    return not codec.end_ids.isdisjoint(ids[1:length][-1:])


def _reference(ids: list[int], codec: Codec) -> tuple[int, ...]:
    """A true continuation without the end of its document, which is no part of a continuation either."""
    return tuple(ids[:-1] if ids and ids[-1] in codec.end_ids else ids)


def contexts_fingerprint(contexts: list[Context]) -> str:
    """SHA-256 (first 16 hex digits) of ids and tokens of all contexts, in order."""
    digest = hashlib.sha256()
    for context in contexts:
        digest.update(f"{context.id}:{context.ids}\n".encode())
    return digest.hexdigest()[:16]


def _long_enough(
    source: str, documents, codec: Codec, context_len: int, length: int, count: int, seed: int
) -> list[list[int]]:
    """The first `length` ids, or more, of `count` documents that hold at least `context_len`."""
    found: list[list[int]] = []
    order = np.random.default_rng(seed).permutation(len(documents))
    for _, rows in encode_drawn(source, documents, order, lambda part: codec.encode_start(part, length)):
        found += [ids for ids in rows if len(ids) >= context_len and not _ends(ids, context_len, codec)]
        if len(found) >= count:
            break
    return found[:count]
