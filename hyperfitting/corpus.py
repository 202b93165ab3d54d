"""From documents to rows: exactly seq_len token ids each, chosen by seed, saved in the run.

A row is token ids and nothing more; every later stage (validation probe, generation, overlap with the training data)
reads the rows that the run saved.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .codec import Codec, as_codec
from .documents import encode_drawn, load_documents
from .documents.loading import say
from .errors import UserError
from .files import read_json, read_jsonl, replace_folder, to_jsonl, write_file
from .options import option
from .removal import discard

if TYPE_CHECKING:  # recipes are read without torch, which takes seconds to import
    import torch


@dataclass(kw_only=True)
class CorpusRecipe:
    """The rows of token ids that the model is trained and validated on."""

    dataset: str | None = option(
        None,
        "Hub dataset id, or a local .jsonl, .json, .csv, .tsv, .parquet, .arrow, .txt or image file or folder.",
        path=True,
    )
    validation_dataset: str | None = option(
        None, "Dataset or file of the validation rows; default: other documents of `dataset`.", path=True
    )
    dataset_config: str | None = option(
        None, "Configuration of a Hub dataset, or of its clone, such as wikitext-103-raw-v1."
    )
    dataset_split: str = option("train", "Split of a Hub dataset, or of a folder that has some.")
    text_column: str = option("text", "Column that holds the text; of images by default the only one that does.")
    seq_len: int = option(256, "Tokens per row, exactly (section 3: 256).", least=2)
    num_train: int = option(2000, "Training rows (section 3: 2000).", least=1)
    num_validation: int = option(100, "Validation rows, from other documents than the training rows.", least=1)
    pack: bool = option(
        False, "Cut every document into as many rows as it holds; default: its first seq_len tokens only."
    )
    data_seed: int = option(
        0, "Seed that chooses the rows; separate from `seed`, so that runs can share their rows.", least=0
    )


@dataclass(frozen=True)
class Corpus:
    """The rows of a run.

    Attributes:
        train: (num_train, seq_len) int64 token ids.
        validation: (num_validation, seq_len) int64 token ids, from other documents.
        train_documents, validation_documents: for each row, `source#index` of its document.
        tokenizer_fingerprint: see `codec.tokenizer_fingerprint`.
    """

    train: torch.Tensor
    validation: torch.Tensor
    train_documents: list[str]
    validation_documents: list[str]
    tokenizer_fingerprint: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 (first 16 hex digits) of both row sets: equal exactly when the token ids are."""
        digest = hashlib.sha256()
        for rows in (self.train, self.validation):
            digest.update(repr(tuple(rows.shape)).encode() + rows.numpy().astype("<i4").tobytes())
        return digest.hexdigest()[:16]

    def save(self, folder: Path, tokenizer) -> None:
        """Write train.jsonl, validation.jsonl (one row a line: id, document, input_ids, text) and corpus.json, in one rename."""
        codec, temporary = as_codec(tokenizer), folder.with_name(folder.name + ".tmp")
        discard(temporary, corpus_files(temporary), ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, rows, documents in (
            ("train", self.train, self.train_documents),
            ("validation", self.validation, self.validation_documents),
        ):
            lines = [
                {"id": index, "document": document, "input_ids": ids, "text": codec.decode(ids)}
                for index, (ids, document) in enumerate(zip(rows.tolist(), documents, strict=True))
            ]
            write_file(temporary / f"{name}.jsonl", to_jsonl(lines))
        facts = {
            "fingerprint": self.fingerprint,
            "tokenizer_fingerprint": self.tokenizer_fingerprint,
            "num_train": len(self.train),
            "num_validation": len(self.validation),
            "seq_len": self.train.shape[1],
        }
        write_file(temporary / "corpus.json", json.dumps(facts, indent=2) + "\n")
        replace_folder(temporary, folder, corpus_files)

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        """Read what `save` wrote.

        Raises:
            UserError: when a file is missing or its rows are not the ones that were saved.
        """
        import torch

        try:
            facts = read_json(folder / "corpus.json")
            rows = {name: read_jsonl(folder / f"{name}.jsonl") for name in ("train", "validation")}
            corpus = cls(
                train=torch.tensor([row["input_ids"] for row in rows["train"]], dtype=torch.int64),
                validation=torch.tensor([row["input_ids"] for row in rows["validation"]], dtype=torch.int64),
                train_documents=[row["document"] for row in rows["train"]],
                validation_documents=[row["document"] for row in rows["validation"]],
                tokenizer_fingerprint=facts["tokenizer_fingerprint"],
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:  # the last: torch, of a number beyond 64 bits
            raise UserError(f"the saved rows in {folder} cannot be read ({error}); start the run anew") from None
        if corpus.fingerprint != facts.get("fingerprint"):
            raise UserError(f"the rows in {folder} were changed since the run saved them; start the run anew")
        return corpus


def check_made_with(fingerprint: str, codec: Codec, holder: str) -> None:
    """Raise UserError when the ids of `holder` (in the plural) were made with another tokenizer than the model's."""
    if fingerprint != codec.fingerprint:
        raise UserError(
            f"{holder} were made with another tokenizer than the model's: their ids mean other words; name the run that the "
            "model comes from, or its text as a dataset"
        )


def build_corpus(recipe: CorpusRecipe, tokenizer, say: Callable[[str], None] = say) -> Corpus:
    """Choose the rows of `recipe`: documents in an order drawn from `data_seed`; each gives its first seq_len tokens
    (with `pack`: as many rows as it holds), shorter ones are left out, exact duplicates are dropped (section 3 and the
    paper's script). Validation rows are chosen before training rows, so they do not depend on `num_train`.

    Args:
        say: takes what was left out of a folder, or chosen.

    Raises:
        UserError: naming the file, the count found and what to change.
    """
    if recipe.dataset is None:
        raise UserError(
            "no dataset: give --dataset a Hub id, a local .jsonl, .json, .csv, .parquet, .txt or image file, or a folder"
        )
    codec, seen = as_codec(tokenizer), set()
    parts = []
    if recipe.validation_dataset is None:
        rows, documents = _choose(recipe, recipe.dataset, codec, [recipe.num_validation, recipe.num_train], seen, say)
        parts = list(zip(rows, documents, strict=True))
    else:
        for source, count in (
            (recipe.validation_dataset, recipe.num_validation),
            (recipe.dataset, recipe.num_train),
        ):
            rows, documents = _choose(recipe, source, codec, [count], seen, say)
            parts.append((rows[0], documents[0]))
    (validation, validation_documents), (train, train_documents) = parts
    return Corpus(train, validation, train_documents, validation_documents, codec.fingerprint)


def corpus_folder(run: str | Path) -> Path:
    """Where the rows of a run lie."""
    return Path(run) / "corpus"


def corpus_files(folder: Path) -> tuple[str, ...]:
    """What `Corpus.save` writes into its folder."""
    return "train.jsonl", "validation.jsonl", "corpus.json"


def corpus_of_run(where: str | Path) -> Corpus | None:
    """The rows of the run in the folder `where`; None when it is no run's folder."""
    folder = corpus_folder(where)
    return Corpus.load(folder) if folder.is_dir() else None


@dataclass(frozen=True)
class TrainRows:
    """Training rows as later stages use them.

    Attributes:
        rows: sequences of token ids.
        names: of each row's document.
        run: folder of the run that they come from, if one.
        fingerprint: of the rows; tokenizer_fingerprint: of what made their ids.
    """

    rows: list[list[int]]
    names: list[str]
    run: Path | None = None
    fingerprint: str = ""
    tokenizer_fingerprint: str = ""


def load_training_rows(
    where: str,
    codec: Codec | None = None,
    column: str = "text",
    config: str | None = None,
    split: str = "train",
) -> TrainRows:
    """The training rows of a run, or each document (in `column`) of any dataset as one row.

    Raises:
        UserError: a dataset and no codec to make ids of its text.
    """
    corpus = corpus_of_run(where)
    if corpus is not None:
        rows, facts = corpus.train.tolist(), (corpus.fingerprint, corpus.tokenizer_fingerprint)
        return TrainRows(rows, corpus.train_documents, Path(where), *facts)
    if codec is None:
        raise UserError(f"--train_rows {where} is no folder of a run: to read it as a dataset give --tokenizer")
    documents = load_documents(where, codec, column, config, split, column_flag="--train_rows_column")
    rows = [ids for _, part in encode_drawn(where, documents, range(len(documents)), codec.encode) for ids in part]
    names = [f"{Path(where).name}#{index}" for index in range(len(rows))]
    digest = hashlib.sha256()
    for ids in rows:
        digest.update(np.array([len(ids), *ids], dtype="<i8").tobytes())
    return TrainRows(rows, names, fingerprint=digest.hexdigest()[:16], tokenizer_fingerprint=codec.fingerprint)


def _choose(
    recipe: CorpusRecipe, source: str, codec: Codec, counts: list[int], seen: set[bytes], say: Callable[[str], None]
):
    """For each count, that many rows (count, seq_len) and their documents; no two counts share a document."""
    import torch

    where = recipe.text_column, recipe.dataset_config, recipe.dataset_split
    documents = load_documents(source, codec, *where, say=say)
    order = np.random.default_rng(recipe.data_seed).permutation(len(documents))
    chosen: list[list] = [[] for _ in counts]
    names: list[list[str]] = [[] for _ in counts]
    filling, long_enough, duplicates = 0, 0, 0

    def encode(part: list) -> list[list[int]]:
        return codec.encode(part) if recipe.pack else codec.encode_start(part, recipe.seq_len)

    for indices, rows in encode_drawn(source, documents, order, encode):
        for index, ids in zip(indices, rows, strict=True):
            held = len(ids) // recipe.seq_len
            long_enough += held > 0
            for row in range(held if recipe.pack else min(held, 1)):
                cut = np.array(ids[row * recipe.seq_len : (row + 1) * recipe.seq_len], dtype=np.int64)
                if cut.tobytes() in seen:
                    duplicates += 1
                elif len(chosen[filling]) < counts[filling]:
                    seen.add(cut.tobytes())
                    chosen[filling].append(cut)
                    names[filling].append(f"{Path(source).name}#{index}")
            if len(chosen[filling]) == counts[filling]:  # the rest of this document goes to no one
                filling += 1
                if filling == len(counts):
                    return [torch.from_numpy(np.stack(rows)) for rows in chosen], names
    found = sum(map(len, chosen))
    raise UserError(
        f"dataset {source} gives {found} rows of {recipe.seq_len} tokens, {sum(counts)} are needed "
        f"(num_train and num_validation): of {len(order)} documents {long_enough} are long enough, {duplicates} rows were "
        f"duplicates. Add documents, lower --num_train, --num_validation or --seq_len, or use --pack to cut long documents "
        f"into several rows"
    )
