"""Scores of sets of texts: every definition against a naive count, and what is counted, left out, refused and compared."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfitting.errors import UserError
from hyperfitting.records import generation_set, load_generation_sets
from hyperfitting.scoring.conditions import Condition, one_per_model
from hyperfitting.scoring.descriptions import NEEDS, Description
from hyperfitting.scoring.differences import compare
from hyperfitting.scoring.metrics import METRICS, WORDS, find_metric, metric_descriptions, without_doubles
from hyperfitting.scoring.quotes import longest_quotes
from hyperfitting.scoring.results import score_conditions
from hyperfitting.scoring.scores import score, summarize, ttr_curve
from hyperfitting.scoring.signature import Signature
from hyperfitting.scoring.statistics import bootstrap_interval, holm, paired_interval, permutation_p
from hyperfitting.scoring.text import loop_start, rep_n_compat, repetition_shades, ttr_by_position

tokens = st.lists(st.integers(0, 4), max_size=40)
sets = st.lists(tokens, min_size=1, max_size=5)
quick = settings(max_examples=60, deadline=None)


def as_text(ids):
    return " ".join("abcdefgh"[i] for i in ids)


def records(texts, **more):
    """Token ids as records; `more` are lists of other fields."""
    extra = [dict(zip(more, values, strict=True)) for values in zip(*more.values(), strict=True)] or [{}] * len(texts)
    return [{"id": f"c{i}", "token_ids": text, **e} for i, (text, e) in enumerate(zip(texts, extra, strict=True))]


def values(found, name):
    return found[name].values[0].tolist()


def nan_for_none(numbers):
    return [np.nan if number is None else number for number in numbers]


def naive_grams(text, n):
    return [tuple(text[i : i + n]) for i in range(len(text)) if i + n <= len(text)]


@quick
@given(sets)
def test_repetition_in_words_and_in_tokens_equals_a_naive_count(texts):
    names = [f"{kind}_{n}" for kind in ("rep", "distinct") for n in (2, 3, 4)]
    found = score(
        [{"token_ids": text, "text": as_text(text)} for text in texts], [*names, *(f"{n}_words" for n in names)]
    )
    for n in (2, 3, 4):
        rep = [
            1 - len(set(grams)) / len(grams) if (grams := naive_grams(text, n)) else None for text in map(tuple, texts)
        ]
        of_words = [
            1 - len(set(grams)) / len(grams) if (grams := naive_grams(as_text(text).split(), n)) else None
            for text in texts
        ]
        for suffix, expected in (("", rep), ("_words", of_words)):
            assert values(found, f"rep_{n}{suffix}") == pytest.approx(nan_for_none(expected), nan_ok=True)
            one_minus = [None if value is None else 1 - value for value in expected]
            assert values(found, f"distinct_{n}{suffix}") == pytest.approx(nan_for_none(one_minus), nan_ok=True)


@quick
@given(tokens, st.integers(2, 4))
def test_rep_n_compat_is_simctgs_definition(text, n):
    """simctg/evaluation.py of yxuansu/SimCTG: `while end_idx < len(token_list)`."""
    grams = []
    for start in range(len(text) - n):
        grams.append(tuple(text[start : start + n]))
    expected = 1 - len(set(grams)) / len(grams) if grams else None
    assert rep_n_compat(text, n) == (None if expected is None else pytest.approx(expected))
    found = score(records([text]), [f"rep_{n}_compat", "diversity_compat"])
    assert values(found, f"rep_{n}_compat") == pytest.approx(nan_for_none([expected]), nan_ok=True)
    if len(text) >= 5:
        product = np.prod([1 - rep_n_compat(text, k) for k in (2, 3, 4)])
        assert values(found, "diversity_compat") == pytest.approx([product])


def papers_ttr(batch, end):
    """src/validation.py of FreddeFrallan/Hyperfitting: `generate` pads with the end to the longest; short texts count."""
    ttrs = []
    for padded in batch:
        last = padded[-96:]
        ttrs.append(len(set(last)) / len(last) if len(last) > 0 else 0)
    assert end in {token for padded in batch for token in padded}
    return np.mean(ttrs)


def test_ttr_compat_is_the_papers_definition():
    rng, end = np.random.default_rng(0), 99
    texts = [rng.integers(0, 30, length).tolist() for length in (120, 60, 97, 0, 119)]
    ended = [False, True, True, True, True]
    width = max(len(text) + stop for text, stop in zip(texts, ended, strict=True))
    batch = [text + [end] * (width - len(text)) for text in texts]
    reasons = ["eos" if stop else "length" for stop in ended]
    found = score(records(texts, finish_reason=reasons), ["ttr_compat", "ttr"])
    assert found["ttr_compat"].value == pytest.approx(papers_ttr(batch, end))
    assert (found["ttr_compat"].n, found["ttr"].n, found["ttr"].left_out) == (5, 3, 2)
    ends = [[1, 2, 3], [1, 1]]  # all ended: the longest is padded by the end itself
    found = score(records(ends, finish_reason=["eos", "eos"]), ["ttr_compat"])
    assert found["ttr_compat"].value == pytest.approx(papers_ttr([[1, 2, 3, end], [1, 1, end, end]], end))


def repeats_with(text, period):
    return all(text[i] == text[i + period] for i in range(len(text) - period))


@settings(max_examples=300, deadline=None)
@given(tokens | st.builds(lambda a, b, n, k: a + (b * n)[k:], tokens, tokens, st.integers(2, 4), st.integers(0, 3)))
def test_the_start_of_a_loop(text):
    """Brute force: for the shortest period, the earliest suffix of at least two periods that has it."""
    expected = None
    for period in range(3, len(text) + 1):
        starts = [s for s in range(len(text) - 2 * period + 1) if repeats_with(text[s:], period)]
        if starts:
            expected = starts[0]
            break
    assert loop_start(text) == expected
    found = score(records([text]), ["loop_start", "loop_rate"])
    assert values(found, "loop_start") == pytest.approx(nan_for_none([expected]), nan_ok=True)
    assert found["loop_rate"].n == bool(text) and (not text or found["loop_rate"].value == (expected is not None))


def test_ttr_by_position():
    text = [*range(32), *[7] * 32, *[1, 2] * 16, 5]
    assert ttr_by_position(text) == [1.0, 1 / 32, 2 / 32]
    assert ttr_by_position(text[:31]) == []
    one, two = generation_set(records([text, text[:70]])), generation_set(records([text, list(range(64))]))
    assert ttr_curve(Condition("a", (one,))) == pytest.approx([1, 1 / 32])  # as far as every text reaches
    assert ttr_curve(Condition("b", (one, two))) == pytest.approx([1, (3 / 32 + 1) / 4])


@quick
@given(st.lists(st.sampled_from("abcde"), max_size=50), st.lists(st.sampled_from("abcde"), max_size=40))
def test_shades_are_the_share_that_was_said_before(words, before):
    whole = before + words
    shades = repetition_shades(words, before)
    assert len(shades) == len(words)
    for i, shade in enumerate(shades):
        window = whole[: len(before) + i + 1][-32:]
        repeated = sum(1 for k, word in enumerate(window) if word in window[:k])
        assert shade == pytest.approx(repeated / len(window))


def test_reference_bleu_compares_with_the_true_continuation():
    texts, truth = [[1, 2, 3, 4, 5], [1, 2, 3, 4], []], [[1, 2, 3, 4, 5], [9, 9, 9, 9], [1, 2]]
    found = score(records(texts, reference_ids=truth), ["reference_bleu_4"])["reference_bleu_4"]
    assert found.values[0].tolist() == pytest.approx([1.0, 0.0, np.nan], nan_ok=True)


@quick
@given(sets)
def test_no_text_is_dropped(texts):
    rows = [{"token_ids": text, "text": as_text(text), "finish_reason": "length"} for text in texts]
    found = score(rows, train_rows=[[0, 1, 2]])
    assert set(found) >= set(METRICS) - {"reference_bleu_4"} - {f"self_bleu_{n}" for n in range(1, 6)}
    for name, one in found.items():
        assert one.n + one.left_out == len(texts) == one.values.size, name
        assert (
            (one.value == one.value) == (one.n > 0)
            and not one.low > one.value + 1e-9
            and not one.high < one.value - 1e-9
        )
    filled = sum(map(bool, texts))
    assert found["length"].n == found["eos_rate"].n == found["ttr_compat"].n == len(texts)
    assert found["overlap"].n == found["dataset_bleu_4"].n == found["loop_rate"].n == found["ttr_whole"].n == filled
    if len(texts) > 1:
        assert found["self_bleu_4"].n == (filled if filled > 1 else 0)


def test_short_and_empty_texts_are_counted():
    found = score(records([list(range(96)), list(range(95)), []]), ["ttr", "rep_4", "length"])
    assert (found["ttr"].value, found["ttr"].n, found["ttr"].left_out) == (1.0, 1, 2)
    assert (found["rep_4"].n, found["rep_4"].left_out) == (2, 1)
    assert (found["length"].value, found["length"].n) == (pytest.approx(191 / 3), 3)
    none = score(records([[1, 2]]), ["ttr"])["ttr"]
    assert np.isnan([none.value, none.low, none.high, none.maximum]).all() and none.n == 0


def test_how_texts_ended_must_be_known_of_all():
    """A record without a finish reason, or with one that says neither, leaves no number; true continuations have none."""
    texts, asked = [[1, 2], [3]], ["eos_rate"]
    assert score(records(texts, finish_reason=["stop", "length"]), asked)["eos_rate"].values[0].tolist() == [1, 0]
    for reasons in ([None, None], ["eos", None], ["eos", "abort"], ["eos", {"type": "stop"}]):
        rows = records(texts, finish_reason=reasons, reference_ids=texts)
        assert "eos_rate" not in score(rows)
        with pytest.raises(
            UserError, match="'eos_rate' cannot be computed of 'texts': it needs finish reasons, and [12] of"
        ):
            score(rows, asked)
    whole = Condition("whole", (generation_set(records(texts, finish_reason=["eos"] * 2, reference_ids=texts)),))
    found = score_conditions([whole], asked).scored
    assert found["whole"]["eos_rate"].value == 1 and "eos_rate" not in found["original text"]


def test_every_score_is_signed():
    found = score([{"token_ids": [1, 2, 3, 4] * 30, "text": "a b c"}] * 1, train_rows=[[1, 2]])
    assert len({one.signature for one in found.values()}) == len(found)
    for name, one in found.items():
        interval = "interval:bootstrap over contexts, 2000 resamples, 95 %"
        form = rf"metric:{name}\|unit:(tokens|words)\|.+\|{interval}\|version:hyperfitting \d+\.\d+\.\d+"
        assert re.fullmatch(form, one.signature)
        assert ("|unit:words|" in one.signature) == name.endswith("_words")
    assert set(WORDS) - {"self_bleu_4_words"} <= set(found)


def test_every_metric_describes_itself():
    described = {metric.name: metric for metric in metric_descriptions()}
    assert set(described) >= {*METRICS, "mauve", "entropy_original", "entropy_generated", "perplexity_original"}
    assert all(find_metric(name) is metric for name, metric in described.items())
    assert {m.needs for m in described.values()} <= {None, *NEEDS} and all(
        m.label and m.unit for m in described.values()
    )
    places = [(metric.column, metric.name) for metric in described.values() if metric.column is not None]
    assert [name for _, name in sorted(places)] == [
        *("ttr", "rep_4", "diversity", "loop_rate", "self_bleu_4", "overlap", "mauve", "perplexity_original"),
        *("entropy_original", "mass_top1_original"),
        *("repeated_lines", "column_run", "colours", "completion_error", "nearest_training"),
        *("patch_kid", "patch_precision", "patch_recall"),
        *("inception_kid", "inception_precision", "inception_recall"),
    ]
    assert {name for name, metric in described.items() if not metric.paired} == {
        *("mauve", "perplexity_original", "perplexity_generated"),
    }
    assert [name for name, metric in described.items() if metric.shows_maximum] == ["overlap"]
    assert all(metric.of_model == name.endswith("_original") for name, metric in described.items())
    assert find_metric("rep_4_words").column == 2 and find_metric("diversity_words").column is None
    names = [metric.name for metric in without_doubles(["ttr_words", "ttr", "length_words"])]
    assert names == ["ttr", "length_words"]


def test_the_same_texts_give_the_same_numbers():
    rng = np.random.default_rng(1)
    texts = records([rng.integers(0, 9, 120).tolist() for _ in range(6)])
    once, again = score(texts), score(texts)
    assert [str(one) for one in once.values()] == [str(one) for one in again.values()]
    found = once["rep_4"]
    assert (found.low, found.high) == bootstrap_interval(found.values)


def test_seeds_of_one_condition():
    rng = np.random.default_rng(2)
    texts = [[rng.integers(0, 10 * (i + 1), 100).tolist() for i in range(5)] for _ in range(3)]
    seeds = [generation_set(records(part), f"s{i}") for i, part in enumerate(texts)]
    turned = generation_set(records(texts[1])[::-1], "s1")  # another order of the same contexts
    found = score([seeds[0], turned, seeds[2]], ["ttr"])["ttr"]
    assert found.values.shape == (3, 5) and found.n == 15
    assert found.values.tolist() == [values(score([s], ["ttr"]), "ttr") for s in seeds]
    assert (found.low, found.high) == bootstrap_interval(found.values) != bootstrap_interval(found.values.mean(0))
    assert "bootstrap over seeds and contexts" in found.signature
    with pytest.raises(UserError, match="takes several seeds as one condition.*context 'c4' is only in one"):
        score([seeds[0], generation_set(records(texts[1][:4]), "short")], ["ttr"])


def test_part_of_the_contexts():
    texts = [[1, 2] * 50, list(range(100)), [3] * 20]
    found = score(records(texts), ["ttr"])["ttr"]
    part = found.of(np.array([True, False, True]))
    assert (part.value, part.n, part.left_out, part.signature) == (2 / 96, 1, 1, found.signature)
    assert found.of(np.array([False, False, True])).n == 0
    assert found.maximum == 1.0 and part.maximum == 2 / 96


def test_what_cannot_be_computed():
    with pytest.raises(UserError, match="unknown metric 'rep4', did you mean 'rep_4'"):
        find_metric("rep4")
    assert find_metric("rep_4_words").unit == "words" and find_metric("rep_4").unit == "tokens"
    with pytest.raises(UserError, match="unknown metric 'overlap_words'"):  # rows are token ids
        find_metric("overlap_words")
    texts = records([[1, 2, 3]])
    for name, message in (
        ("overlap", "needs the training rows: give --train_rows"),
        ("dataset_bleu_4", "needs the training rows"),
        ("self_bleu_4", "needs at least two texts"),
        ("reference_bleu_4", "no true continuations"),
        ("ttr_words", "have no text: give --tokenizer"),
        ("entropy_original", "it needs the model that made the texts: give --model_scores"),
        ("mauve", "give --mauve_model"),
    ):
        with pytest.raises(UserError, match=message):
            score(texts, [name])
    with pytest.raises(UserError, match="no token ids: give --tokenizer, or ask for the metric with _words"):
        score([{"text": "a b"}], ["ttr"])
    assert set(score([{"text": "a b"}, {"text": "c"}])) == set(WORDS)
    with pytest.raises(UserError, match="no texts to score"):
        score([])


def condition(name, texts, ids=None, contexts=None):
    ids, contexts = ids or [f"c{i}" for i in range(len(texts))], contexts or [""] * len(texts)
    rows = [{"id": i, "token_ids": t, "context": c} for i, t, c in zip(ids, texts, contexts, strict=True)]
    return Condition(name, (generation_set(rows, name),))


def scored_of(conditions, names):
    return {one.name: score(one.sets, names) for one in conditions}


def test_conditions_are_compared_context_by_context():
    rng, names = np.random.default_rng(3), ["ttr", "rep_2"]
    base = [rng.integers(0, 12, 100).tolist() for _ in range(12)]
    better = [rng.integers(0, 40, 100).tolist() for _ in range(12)]
    better[3] = better[3][:50]  # too short for TTR, long enough for rep-2
    ids = [f"c{i}" for i in range(12)]
    turned = condition("better", better[::-1], ids[::-1])
    conditions = [condition("base", base), turned, condition("same", base)]
    found = compare(scored_of(conditions, names), conditions, "base", names)
    assert [(d.condition, d.metric) for d in found] == [(c, m) for c in ("better", "same") for m in names]
    one, two = found[0], found[1]
    a, b = score(records(better), names), score(records(base), names)
    there = np.arange(12) != 3
    differences = (a["ttr"].values - b["ttr"].values)[0, there]
    assert one.n == 11 and two.n == 12
    assert one.value == pytest.approx(differences.mean()) and one.low <= one.value <= one.high
    assert (one.low, one.high) == paired_interval(a["ttr"].values[:, there], b["ttr"].values[:, there])
    assert one.p == permutation_p(differences) < 0.01
    assert (found[2].value, found[2].p) == (0, 1)
    assert [d.p_holm for d in found] == holm([d.p for d in found]) and one.p_holm > one.p


def test_what_belongs_to_a_model_is_compared_once_for_each_model():
    """Two policies of a model and one of another: the second policy adds no difference, and p-values are not multiplied."""
    rng, entropy = np.random.default_rng(5), Description("e", "e", Signature({"of": "model"}), of_model=True)

    def made(name, model, values):
        manifest = {"model": model, "model_fingerprint": model, "contexts_fingerprint": "c"}
        rows = generation_set([{"id": str(i), "token_ids": [1]} for i in range(12)], name)
        texts = replace(rows, manifest=manifest, policy=name.partition(" ")[2])
        return Condition(name, (texts,)), {"e": summarize(entropy, [values]), **score([texts], ["length"])}

    base, tuned = rng.normal(size=12), rng.normal(size=12) + 1
    names = {"base greedy": ("b", base), "base nucleus": ("b", base)}
    names |= {"tuned greedy": ("t", tuned), "tuned nucleus": ("t", tuned)}
    pairs = {name: made(name, *rest) for name, rest in names.items()}
    scored, conditions = {name: s for name, (_, s) in pairs.items()}, [c for c, _ in pairs.values()]
    found = compare(scored, conditions, "base nucleus", ["length", "e"])
    assert [(d.condition, d.metric) for d in found] == [
        *((name, "length") for name in ("base greedy", "tuned greedy", "tuned nucleus")),
        ("tuned (model)", "e"),
    ]
    assert found[-1].value == pytest.approx((tuned - base).mean()) and found[-1].baseline == "base nucleus"
    (alone,) = compare(scored, conditions, "base nucleus", ["e"])
    assert alone.p_holm == alone.p  # one comparison, not three
    same = [replace(c, name=f"all {c.first.policy}") if c.name == "tuned greedy" else c for c in conditions]
    same[0] = replace(same[0], name="all")  # two models whose short names are alike
    assert list(one_per_model(same)) == ["all (model)", "all greedy (model)"]


def test_a_difference_lies_in_its_interval_when_seeds_leave_texts_out():
    long, short = list(range(96)), [0] * 10
    seeds = [[long, [0] * 96], *[[short, [0] * 96]] * 3]  # the first context is measured in one seed of four
    a = Condition("a", tuple(generation_set(records(part), f"s{i}") for i, part in enumerate(seeds)))
    b = condition("b", [[0, 1] * 48, [0, 1] * 48])
    scores = scored_of([a, b], ["ttr"])
    (found,) = compare(scores, [a, b], "b", ["ttr"])
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(scores["a"]["ttr"].value - scores["b"]["ttr"].value)


def test_other_contexts_are_refused():
    names, texts = ["length"], [[1], [2]]
    conditions = [condition("a", texts), condition("b", texts, ["c0", "c7"])]
    with pytest.raises(UserError, match="'a' and 'b' have different ones: context 'c1' is only in one of them"):
        compare(scored_of(conditions, names), conditions, "a", names)
    conditions = [condition("a", texts, contexts=["x", "y"]), condition("b", texts, contexts=["x", "z"])]
    with pytest.raises(UserError, match="the texts of their contexts differ"):
        compare(scored_of(conditions, names), conditions, "a", names)


def test_quotations_are_listed_longest_first():
    rows = [list(range(100, 130)), list(range(200, 230))]
    texts = [[1, *rows[1][4:14]], [2, 2, *rows[0][:20]], rows[0][:7]]
    found = longest_quotes(generation_set(records(texts)), rows)
    assert [(q.id, q.start, q.length, q.row, q.row_start) for q in found] == [("c1", 2, 20, 0, 0), ("c0", 1, 10, 1, 4)]


def write(path, rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def test_sets_are_read_by_policy(tmp_path):
    rows = [
        {"id": i, "source": "news", "policy": policy, "context": f"x{i}", "context_ids": [1], "continuation": "a b"}
        | {"continuation_ids": [i, 2], "finish_reason": reason, "reference": "c", "reference_ids": [3]}
        for policy in ("greedy", "nucleus")
        for i, reason in ((0, "eos"), (1, "length"))
    ]
    (tmp_path / "run").mkdir()
    write(tmp_path / "run" / "generations.jsonl", rows)
    (tmp_path / "run" / "manifest.json").write_text('{"model": "m"}')
    greedy, nucleus = load_generation_sets(tmp_path / "run")
    assert (greedy.name, nucleus.name, greedy.policy) == ("run greedy", "run nucleus", "greedy")
    assert greedy.manifest == {"model": "m"} and greedy.sources == ["news"] and greedy.ids == ["0", "1"]
    assert [text.ids for text in greedy.texts] == [(0, 2), (1, 2)]
    assert [text.ended for text in greedy.texts] == [True, False]
    original = greedy.original()
    assert [(t.ids, t.text, t.context) for t in original.texts] == [((3,), "c", "x0"), ((3,), "c", "x1")]
    (one,) = load_generation_sets(f"mine={write(tmp_path / 'one.jsonl', rows[:2])}")
    assert (one.name, one.policy, one.manifest) == ("mine", "greedy", {})
    assert load_generation_sets(write(tmp_path / "a=b.jsonl", rows[:2]))[0].name == "a=b"


def test_files_of_other_tools(tmp_path):
    file = write(tmp_path / "f.jsonl", [{"output": "a b", "ids": [1, 2]}, "\n", {"output": "c", "ids": []}])
    (words,) = load_generation_sets(file, text_column="output")
    assert (words.name, words.has_words, words.has_tokens) == ("f", True, False)
    assert words.texts[1].text == "c" and words.original() is None
    (both,) = load_generation_sets(file, text_column="output", token_column="ids")
    assert [text.ids for text in both.texts] == [(1, 2), ()] and both.texts[1].is_empty
    (mixed,) = load_generation_sets(write(tmp_path / "m.jsonl", [{"continuation": "x", "output": "y"}]), "output")
    assert mixed.texts[0].text == "y"  # the column that was named


def test_a_tokenizer_makes_what_is_missing(tiny, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny / "fp32")
    ids = tokenizer("the red boat")["input_ids"]
    text, tokens = (
        write(tmp_path / "t.jsonl", [{"text": "the red boat"}]),
        write(tmp_path / "i.jsonl", [{"token_ids": ids}]),
    )
    for file in (text, tokens):
        (found,) = load_generation_sets(file, tokenizer=tokenizer)
        assert (found.texts[0].ids, found.texts[0].text) == (tuple(ids), "the red boat")
    with pytest.raises(UserError, match="token ids hold 320, the tokenizer knows 320 ids: set --tokenizer"):
        load_generation_sets(write(tmp_path / "b.jsonl", [{"token_ids": [1, 320]}]), tokenizer=tokenizer)


@pytest.mark.parametrize(
    "rows, message",
    [
        (
            [{"body": "x", "number": 3}],
            "line 1: no column 'text' or 'token_ids'; it has body, number: set --text_column",
        ),
        ([{"text": "x"}, "no json\n"], "line 2 is not JSON"),
        (["[1]\n"], "line 1 is no JSON object"),
        ([{"id": "a", "text": "x"}, {"id": "a", "text": "y"}], "two texts of context 'a': one text for each id"),
        ([{"id": "a", "text": "x", "policy": "p"}] * 2, "two texts of context 'a' under policy p"),
        ([{"text": 3}], "the text is int, not a string: set --text_column"),
        ([{"token_ids": "1 2"}], "token ids must be a list of whole numbers from 0"),
        ([{"token_ids": [1, -2]}], "token ids must be a list of whole numbers from 0"),
        ([{"token_ids": [1, 2.0]}], "token ids must be a list of whole numbers from 0"),
        ([{"token_ids": [True]}], "token ids must be a list of whole numbers from 0"),
        ([{"token_ids": [1], "reference_ids": ["x"]}], "reference_ids must be a list of whole numbers from 0"),
        ([], "holds no texts"),
        (["\n"], "holds no texts"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, rows, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load_generation_sets(write(tmp_path / "f.jsonl", rows))


def test_arrays_and_other_forms_of_json_hold_the_same_texts(tmp_path):
    rows = [{"id": "a", "text": "the red boat"}, {"id": "b", "text": "a dog"}]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "b.json").write_text(json.dumps({"outputs": rows}))
    (tmp_path / "c.jsonl").write_bytes(b"\xef\xbb\xbf" + "\n".join(map(json.dumps, rows)).encode())
    found = [load_generation_sets(tmp_path / name)[0].texts for name in ("a.json", "b.json", "c.jsonl")]
    assert [text.id for text in found[0]] == ["a", "b"] and found[0] == found[1] == found[2]
    (tmp_path / "a.json").write_text(json.dumps([*rows, {"id": "c", "text": 7}]))
    with pytest.raises(UserError, match="a.json, row 3: the text is int, not a string"):
        load_generation_sets(tmp_path / "a.json")


def test_samples_of_the_evaluation_harness_are_their_raw_texts(tmp_path):
    """As lm-eval 0.4.13 writes them: a row for each filter of the task, arguments by number."""

    def sample(number, filtered, resps):
        arguments = {"gen_args_0": {"arg_0": f"prompt {number}", "arg_1": {"until": ["\n"]}}}
        facts = {"doc_id": number, "doc": {}, "target": f"target {number}", "arguments": arguments, "resps": resps}
        return {**facts, "filtered_resps": ["x"], "filter": filtered, "metrics": ["exact_match"], "exact_match": 0.0}

    rows = [sample(n, f, [[f"answer {n}"]]) for f in ("strict-match", "flexible-extract") for n in range(2)]
    (found,) = load_generation_sets(write(tmp_path / "samples_x.jsonl", rows))
    assert [(t.id, t.context, t.text, t.reference) for t in found.texts] == [
        (str(n), f"prompt {n}", f"answer {n}", f"target {n}") for n in range(2)
    ]
    for resps in ([[["-1.2", "False"]], [["-2", "True"]]], [["one", "two"]]):
        with pytest.raises(UserError, match="line 1: a sample of lm-evaluation-harness without one generated text"):
            load_generation_sets(write(tmp_path / "samples_y.jsonl", [sample(0, "none", resps)]))


def test_places_that_hold_nothing(tmp_path):
    with pytest.raises(UserError, match="it does not exist"):
        load_generation_sets(tmp_path / "gone.jsonl")
    with pytest.raises(UserError, match="holds no generations.jsonl"):
        load_generation_sets(tmp_path)


def test_the_original_text_has_what_was_asked_for_as_far_as_it_can_be_measured():
    rows = [{"id": str(i), "text": f"one {i} two", "reference": f"one {i} one {i}"} for i in range(4)]
    texts = Condition.of("texts", [generation_set(rows, "texts")])
    results = score_conditions([texts], metrics=["rep_2_words", "ttr_whole_words"])
    assert results.scored["original text"]["rep_2_words"].value == pytest.approx(1 / 3)
    assert results.scored["original text"]["ttr_whole_words"].value == 0.5
