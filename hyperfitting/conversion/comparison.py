"""A model and its conversion on the same texts: how many are tokenised alike, how many predictions are the same."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..builtin import BUILTIN
from ..files import read_jsonl
from .converted import Converted

TEXTS, CONTEXTS, CONTEXT_TOKENS, GREEDY_TOKENS = 200, 20, 128, 32
HELD_OUT = ("builtin/held_out_stories", "builtin/held_out_encyclopedia", "builtin/held_out_news")
# What tokenizers disagree on: spaces, digits, line ends, scripts, apostrophes, symbols.
UNUSUAL = (
    "  two spaces  ", "\n\nA line.\n", "\tindented", "1234567890", "3.14159", "don't they're we'll", "naïve café",
    "“quoted” – and so on…", "ПРИВЕТ, мир", "你好，世界", "こんにちは", "สวัสดี", "مرحبا", "🙂🙃 👨‍👩‍👧", "a" * 60, "def f(x):\n    return x",
    "https://example.org/a?b=c#d", "x²+y²=z²", "CamelCaseAndsnake_case", "word\u00a0word",
)  # fmt: skip


@dataclass(frozen=True)
class Agreement:
    """How alike a model and its conversion are.

    Attributes:
        tokenised: for each text, whether its ids are the same.
        start: whether both put the same ids before a text.
        likeliest: for each position of the teacher-forced contexts, whether the arg-max is the same.
        predicted: (positions,) the arg-max of the conversion.
        greedy: for each context, the tokens until the greedy continuations differ; GREEDY_TOKENS where they do not.
        first_text: the first text that is tokenised otherwise.
    """

    tokenised: np.ndarray
    start: bool
    likeliest: np.ndarray
    predicted: np.ndarray
    greedy: list[int]
    first_text: str | None


def sample_texts() -> list[str]:
    """The 200 texts: sentences of the held-out texts that are shipped, and what tokenizers disagree on."""
    sentences = [
        sentence
        for name in HELD_OUT
        for row in read_jsonl(Path(BUILTIN[name]))
        for sentence in re.split(r"(?<=[.!?]) ", row["text"])[:3]
    ]
    spread = np.linspace(0, len(sentences) - 1, TEXTS - len(UNUSUAL)).astype(int)
    return [*UNUSUAL, *(sentences[place] for place in spread)]


def sample_contexts(original: Converted, vocabulary: int) -> list[list[int]]:
    """The 20 contexts: the start of held-out texts, in the original's ids."""
    rows = [row["text"] for name in HELD_OUT for row in read_jsonl(Path(BUILTIN[name]))]
    chosen = [rows[place] for place in np.linspace(0, len(rows) - 1, CONTEXTS).astype(int)]
    encoded = [[*original.start, *original.encode(text)][:CONTEXT_TOKENS] for text in chosen]
    return [[i for i in ids if i < vocabulary] for ids in encoded]


def predictions(model: Converted, contexts: list[list[int]], advance: Callable[[int], None]) -> list[np.ndarray]:
    """The arg-max after each position of each context."""
    found = []
    for ids in contexts:
        found.append(np.asarray(model.likeliest(ids)))
        advance(1)
    return found


def compare(
    original: Converted, converted: Converted, contexts: list[list[int]], expected: list[np.ndarray], advance
) -> Agreement:
    """Compare a conversion with its original, whose `predictions` of `contexts` are `expected`."""
    texts = sample_texts()
    tokenised = np.array([original.encode(text) == converted.encode(text) for text in texts])
    found = predictions(converted, contexts, advance)
    greedy = []
    for ids in contexts:
        half = ids[: len(ids) // 2]
        sides = [model.greedy(half, GREEDY_TOKENS) for model in (original, converted)]
        greedy.append(next((i for i, (a, b) in enumerate(zip(*sides, strict=True)) if a != b), GREEDY_TOKENS))
        advance(1)
    return Agreement(
        tokenised=tokenised,
        start=original.start == converted.start,
        likeliest=np.concatenate([a == b for a, b in zip(expected, found, strict=True)]),
        predicted=np.concatenate(found),
        greedy=greedy,
        first_text=None if tokenised.all() else texts[int(np.argmin(tokenised))],
    )
