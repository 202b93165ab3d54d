"""Which texts stand beside each other, which count once, and whose numbers a line of the table holds."""

import json

import numpy as np
import pytest

from hyperfitting.commands.score import read_conditions
from hyperfitting.errors import UserError
from hyperfitting.generation import load_contexts
from hyperfitting.records import generation_set, load_generation_sets
from hyperfitting.scoring import tables
from hyperfitting.scoring.conditions import Condition, one_per_model
from hyperfitting.scoring.results import score_conditions
from hyperfitting.scoring.scores import score

RNG = np.random.default_rng(0)


def condition(name, rows, **manifest):
    texts = generation_set(rows, name)
    texts.manifest.update(manifest)
    return Condition.of(name, [texts])


def rows_of(count, **columns):
    """`count` random texts; a column is a function of the row's index."""
    return [
        {"token_ids": RNG.integers(0, 30, 100).tolist(), **{name: made(index) for name, made in columns.items()}}
        for index in range(count)
    ]


@pytest.mark.parametrize(
    "columns", [{}, {"id": lambda i: None}, {"context": lambda i: ""}], ids=["none", "null", "empty"]
)
def test_line_numbers_pair_nothing(columns):
    a, b = condition("a", rows_of(9, **columns)), condition("b", rows_of(9, **columns))
    results = score_conditions([a, b], metrics=["ttr"])
    assert results.differences == []
    assert results.notes == ["Not compared with a, because without ids or contexts nothing pairs their texts: b."]
    with pytest.raises(UserError, match="nothing pairs the texts of 'a' and 'b': give each an id or its context"):
        score_conditions([a, b], metrics=["ttr"], baseline="a")
    with pytest.raises(UserError, match="takes several seeds as one condition, and nothing pairs the texts"):
        score([a.first, b.first], ["ttr"])


@pytest.mark.parametrize("column", ["id", "context", "context_ids"])
def test_an_id_or_a_context_pairs(column):
    value = {"id": lambda i: f"c{i}", "context": lambda i: f"word {i}", "context_ids": lambda i: [i]}[column]
    conditions = [condition(name, rows_of(9, **{column: value})) for name in "ab"]
    results = score_conditions(conditions, metrics=["ttr"])
    assert [d.condition for d in results.differences] == ["b"] and results.notes == []


def test_a_file_without_ids_is_compared_with_its_own_true_continuations():
    rows = rows_of(6, reference_ids=lambda i: RNG.integers(0, 30, 100).tolist())
    results = score_conditions([condition("a", rows)], metrics=["ttr"])
    assert [(d.condition, d.n) for d in results.differences] == [("original text", 6)]


def test_null_is_no_context_and_no_id(tmp_path):
    (tmp_path / "f.jsonl").write_text('{"id": null, "context": null, "source": null, "policy": null, "text": "a"}\n')
    ((text,),) = (one.texts for one in load_generation_sets(tmp_path / "f.jsonl"))
    assert (text.id, text.context, text.source) == ("0", "", "")


def test_texts_of_one_context_are_resampled_as_one():
    """20 texts of 3 contexts, those of one context alike, are worth 3 texts and not 20."""
    three = [RNG.integers(0, 9 * (n + 1), 100).tolist() for n in range(3)]
    sizes = [7, 7, 6]
    many = [
        {"id": f"{n}-{k}", "context": f"context {n}", "token_ids": three[n]} for n in range(3) for k in range(sizes[n])
    ]
    few = [{"id": str(n), "context": f"context {n}", "token_ids": three[n]} for n in range(3)]
    base = [{**row, "token_ids": [1, 2] * 50} for row in many]
    results = score_conditions([condition("base", base), condition("tuned", many)], metrics=["ttr"])
    found, of_three = results.scored["tuned"]["ttr"], score(few, ["ttr"])["ttr"]
    assert found.n == 20 and found.high - found.low == pytest.approx(of_three.high - of_three.low, rel=0.1)
    (difference,) = results.differences
    assert difference.p == pytest.approx(0.25, abs=0.02)  # of 8 flips of 3 signs two are as extreme
    (note,) = results.notes
    assert note.startswith(
        "20 texts continue only 3 different contexts in base, tuned: those of one context are resampled"
    )
    assert tables.score_table(results).rows[0][1][0] == "20 of 3 contexts"
    assert [c["distinct_contexts"] for c in results.to_json()["conditions"]] == [3, 3]
    part = found.of(np.arange(20) < 7)  # one context alone
    assert part.low == part.value == part.high


def test_contexts_that_differ_are_not_mentioned():
    results = score_conditions([condition("a", rows_of(3, context=lambda i: f"c{i}"))], metrics=["ttr"])
    assert results.notes == [] and "distinct_contexts" not in results.to_json()["conditions"][0]
    assert tables.score_table(results).rows[0][1][0] == "3"


def test_a_name_belongs_to_one_line():
    def referenced():
        return rows_of(4, id=str, reference_ids=lambda i: [1, 2] * 50)

    with pytest.raises(UserError, match="called 'original text' already: write NAME=WHERE"):
        score_conditions([condition("original text", referenced())], metrics=["ttr"])
    results = score_conditions([condition("original text", rows_of(4, id=str))], metrics=["ttr"])
    assert list(results.scored) == ["original text"]  # without true continuations the name is free
    with pytest.raises(UserError, match="two sets are named 'a'"):
        score_conditions([condition("a", rows_of(4, id=str)) for _ in range(2)], metrics=["ttr"])
    facts = {"model": "m", "model_fingerprint": "f", "contexts_fingerprint": "c"}
    with pytest.raises(UserError, match=r"called 'a \(model\)' already"):
        score_conditions(
            [condition("a", rows_of(4, id=str), **facts), condition("a (model)", rows_of(4, id=str))], metrics=["ttr"]
        )


def test_every_model_has_a_label_of_its_own():
    names = {"a": "p", "b p": "p", "b": "q", "b p p": "p"}
    conditions = []
    for index, (name, policy) in enumerate(names.items()):
        facts = {"model": "m", "model_fingerprint": str(index), "contexts_fingerprint": "c"}
        texts = generation_set(rows_of(1), name)
        conditions.append(Condition(name, (type(texts)(name, texts.texts, policy, facts),)))
    assert [c.name for c in one_per_model(conditions).values()] == list(names)
    assert len(one_per_model(conditions)) == 4


def test_paths_that_hold_an_equals_sign(tiny, tmp_path, monkeypatch):
    """Beside each lies a file that would be read if the path were cut at its `=`."""
    from transformers import AutoTokenizer

    monkeypatch.chdir(tmp_path)
    for folder, word in (("seed=0", "boat"), ("seed=1", "tree"), ("0", "wrong"), ("1", "wrong"), ("2", "wrong")):
        (tmp_path / folder).mkdir()
        rows = [{"id": str(n), "text": f"{word} {n} " * 9} for n in range(2)]
        (tmp_path / folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = AutoTokenizer.from_pretrained(tiny / "fp32")
    for source, name in (("seed=0/a.jsonl", "a"), ("mine=seed=0/a.jsonl", "mine")):
        contexts = load_contexts([source], tokenizer, 2, 8, 16)
        assert contexts[0].source == name and tokenizer.decode(contexts[0].ids).startswith("boat")
        (made,) = read_conditions([source], [])
        assert made.name == name and made.first.texts[0].text.startswith("boat")
    (group,) = read_conditions([], ["both=seed=0/a.jsonl,seed=1/a.jsonl"])
    assert [texts.texts[0].text[:4] for texts in group.sets] == ["boat", "tree"]
    with pytest.raises(UserError, match="seed=2/a.jsonl cannot be scored: it does not exist"):
        read_conditions([], ["both=seed=0/a.jsonl,seed=2/a.jsonl"])


def test_ids_of_other_tools_may_be_numbers(tmp_path):
    rows = [{"id": 7, "source": 3, "policy": 1, "text": "a"}, {"id": 8.5, "source": 3, "policy": 1, "text": "b"}]
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (found,) = load_generation_sets(tmp_path / "f.jsonl")
    assert found.ids == ["7", "8.5"] and found.sources == ["3"] and found.policy == "1"
