"""What is asked of every kind of data: documents as token ids, and ids as something that a person can look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import UserError


class DocumentError(UserError):
    """One document cannot be read.

    Attributes:
        place: which of those that were given to `encode`.
        name: its own name, if it has one.
    """

    def __init__(self, place: int, name: str | None, reason: str):
        self.place, self.name = place, name
        super().__init__(reason)


class Codec:
    """A kind of data, as the rest of the library sees it: every place that differs between kinds asks here.

    Documents are texts, and nothing is special about their ids, where a subclass does not say otherwise.

    Attributes:
        readers: ending of a file, in front of that of its compression -> what reads it (hyperfitting/documents/).
        context_len, max_length: tokens that are continued, and with their continuation, where nobody says (section 3: 32, 256).
        fingerprint: changes when the ids of a document would.
        end_ids: ids that end a document.
        pipeline_tag: the Hub's name of what a model of this kind does.
    """

    readers: Mapping[str, str] = {
        ".jsonl": "json",
        ".ndjson": "json",
        ".json": "json",
        ".csv": "csv",
        ".tsv": "csv",
        ".parquet": "parquet",
        ".arrow": "arrow",
        ".txt": "text",
    }
    context_len: int = 32
    max_length: int = 256
    fingerprint: str
    end_ids: set[int] = set()
    pipeline_tag: str = "text-generation"

    def __len__(self) -> int:
        """One more than the largest id that it gives."""
        raise NotImplementedError

    def encode(self, documents: Sequence, special: bool = True) -> list[list[int]]:
        """Token ids of whole documents; with `special` what the kind puts around one, such as a start token.

        Raises:
            DocumentError: one of them cannot be read.
        """
        raise NotImplementedError

    def encode_opening(self, documents: Sequence) -> list[list[int]]:
        """Token ids of what is to be continued: as of whole documents, without what the kind puts behind one."""
        return self.encode(documents)

    def encode_start(self, documents: Sequence, tokens: int) -> list[list[int]]:
        """Token ids of the start of each document: at least `tokens` of `encode_opening` where it holds so many."""
        return self.encode_opening(documents)

    def decode(self, ids: Sequence[int]) -> str | None:
        """Token ids as text; None where they are no text."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write into a model folder what `load_codec` needs."""
        raise NotImplementedError

    def word_starts(self) -> np.ndarray | None:
        """(vocabulary,) bool: whether an id begins a word, where a citation may be cut; None where there are no words."""
        return None

    def column(self, features: Mapping, asked: str, flag: str) -> str:
        """The name of the column of documents.

        Args:
            features: name -> feature of `datasets` of all columns.
            asked: the column that `flag` named.

        Raises:
            UserError: that is none which holds documents; the message goes on from the dataset's name.
        """
        if asked not in features:
            raise UserError(f"has no column {asked!r}; it has {', '.join(features)}: set {flag}")
        if not str(getattr(features[asked], "dtype", "")).startswith(("string", "large_string", "null")):
            raise UserError(f"has a column {asked!r} that does not hold text: set {flag}")
        return asked

    def select(self, table, asked: str, flag: str):
        """The documents of a `datasets.Dataset`: one of the same rows, with their `column` alone, as `document`."""
        column = self.column(table.features, asked, flag)
        return table.select_columns(column).rename_column(column, "document")

    def draw(self, columns: Mapping[str, Sequence[Sequence[int]]], context_len: int) -> bytes | None:
        """A PNG of rows of ids side by side, for who wants to see them at once; None where text says it all.

        Args:
            columns: heading -> rows of ids, line by line what is to be compared.
            context_len: how many ids of each row were given; what was made begins behind them.
        """
        return None

    def facts(self) -> dict:
        """What a folder of generations must say so that its ids can be measured and shown without the model; JSON."""
        return {}

    def notes(self) -> list[str]:
        """Sentences on what was changed in the documents that were read."""
        return []
