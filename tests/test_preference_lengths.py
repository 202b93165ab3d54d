"""Real generations: how long a text is must not tell whose it is, nor must its ending (tests/continuations/README.md)."""

import json
import lzma
from functools import cache
from pathlib import Path

import pytest

from hyperfitting.codec import load_codec
from hyperfitting.preference.cutting import Tokens, Words
from hyperfitting.preference.pairs import draw_pairs
from hyperfitting.records import GeneratedText, GenerationSet
from hyperfitting.scoring.conditions import Condition


@cache
def conditions():
    with lzma.open(Path(__file__).parent / "continuations" / "preference.jsonl.xz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    names = [name for name in rows[0] if name not in ("source", "context", "reference")]
    return [
        Condition.of(name, [GenerationSet(name, tuple(
            GeneratedText(id=f"c{number}", source=row["source"], context=row["context"], text=row[name], reference=row["reference"])
            for number, row in enumerate(rows)))])
        for name in names
    ]  # fmt: skip


@cache
def ruler(unit):
    return Words() if unit == "words" else Tokens(load_codec("builtin/base_model"), own_ids=False)


@pytest.mark.parametrize(
    ("unit", "length", "against"),
    [("tokens", 128, "original"), ("tokens", 128, "base greedy"), ("words", 90, "original")],
)
def test_the_longer_text_is_as_often_the_one_as_the_other(unit, length, against):
    drawn = draw_pairs(conditions(), against, [length], ruler(unit), None, seed=0)
    assert drawn.grid.shape[:2] == (4 - (against != "original"), 1) and drawn.grid.shape[2] > 300
    for (places,) in drawn.grid:
        of_one = [drawn.pairs[place] for place in places]
        apart = [len(pair.text) - len(pair.other) for pair in of_one]
        longer = sum((by > 0) + 0.5 * (by == 0) for by in apart) / len(apart)
        assert 0.4 <= longer <= 0.6, (of_one[0].condition, longer)
        assert apart.count(0) > 0.8 * len(apart) and max(map(abs, apart)) <= 10
        ends = [
            sum(text.rstrip('"')[-1] in ".?!:;" for text in texts)
            for texts in zip(*((p.text, p.other) for p in of_one), strict=True)
        ]
        assert max(ends) <= 0.03 * len(of_one)
