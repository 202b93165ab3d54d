"""Pairs that tell nothing but what they say, and a fair share of them for every annotator."""

import re
from collections import Counter

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfitting.codec import Codec
from hyperfitting.errors import UserError
from hyperfitting.preference.assignment import Plan, assign
from hyperfitting.preference.build import choose_ruler
from hyperfitting.preference.cutting import Tokens, Words, cut_alike
from hyperfitting.preference.pairs import SHUFFLED, draw_pairs
from hyperfitting.preference.tells import TELLS, without_tells
from hyperfitting.records import GeneratedText, GenerationSet
from hyperfitting.scoring.conditions import Condition


class Letters(Codec):
    """A codec whose tokens are letters."""

    fingerprint = "letters"

    def encode(self, texts, special=True):
        return [[ord(letter) for letter in text] for text in texts]

    def decode(self, ids):
        return "".join(map(chr, ids))


PROSE = (
    "The dog ran home, and then it slept. It found a boat under the old tree, near the river where the king sang of it"
)


def texts(name, tails, context="Once upon a time there was a dog .", reference=PROSE, source="a"):
    made = tuple(
        GeneratedText(id=f"c{n}", source=source[n % len(source)], context=f"{context} {n}", text=tail, reference=reference)
        for n, tail in enumerate(tails)
    )  # fmt: skip
    return Condition.of(name, [GenerationSet(name, made)])


def test_tells_go_and_are_counted():
    text = "He said \u201cno\u201d  and left<|endoftext|></s> the house @,@ his\u00a0own .\n\n\nIt\u2019s \u2026 gone\ufffd "
    shown, found = without_tells(text)
    assert shown == 'He said "no" and left the house,his own.\nIt\'s ... gone'
    assert found["marker of a special token"] == 2 and found["typographic quotation mark"] == 2
    assert found["double space"] >= 1 and found["empty line"] == 1


@given(st.text(st.sampled_from("ab .,\n\t\u201c\u2019\u2026\ufffd<|>s/@-\u00a0"), max_size=40))
def test_what_is_clean_stays_as_it_is(text):
    shown, _ = without_tells(text)
    again, found = without_tells(shown)
    assert len(again) <= len(shown) and not (again == shown and found)
    assert not re.search(r"  |\n\n|\t", shown)


WORDS = st.lists(
    st.sampled_from(["go", "stop.", "why?", 'it."', "andante", "so,", "e\u0301te\u0301", "I"]), max_size=90
)


def good_ends(text):
    """Characters behind which a word ends that ends no sentence, by reading the text one character after another."""
    shown, found = list(regex.finditer(r"\X", text)), set()
    for number, character in enumerate(shown[1:], 1):
        before = text[: character.start()]
        if character[0] == " " and before.rstrip('"')[-1] not in ".?!":
            found.add(number)
    return found


@given(WORDS, WORDS)
def test_both_sides_are_as_long_and_end_no_sentence_where_they_can(first, second):
    texts = " ".join(first), " ".join(second)
    cut = cut_alike(texts)
    assert all(whole.startswith(part) for whole, part in zip(texts, cut.texts, strict=True))
    assert cut.counts == tuple(len(regex.findall(r"\X", part)) for part in cut.texts)
    longest = min(len(regex.findall(r"\X", text)) for text in texts)
    window = range(longest - min(160, longest // 4), longest + 1)
    own, other = ({end for end in good_ends(text) if end in window} for text in texts)
    if own & other:
        assert cut.counts == (max(own & other),) * 2 and cut.ending == "word"
    elif own and other:
        apart = min(abs(a - b) for a in own for b in other)
        assert cut.ending == "nearest" and abs(cut.counts[0] - cut.counts[1]) == apart
        assert cut.counts[0] in own and cut.counts[1] in other
    else:
        assert cut.counts[0] == cut.counts[1] in window
        assert (cut.ending == "any") == any(text.rstrip('" ')[-1:] in (".", "?", "!") for text in cut.texts if text)


@pytest.mark.parametrize(
    "text",
    ["\u306d\u3053\u304c\u5bb6\u306b\u5e30\u3063\u3066\u304d\u305f" * 9, "\u0e44\u0e21\u0e48\u0e23\u0e39\u0e49" * 24, "cafe\u0301s and\U0001f44d\U0001f3fd " * 12],
    ids=["Japanese", "Thai", "accents"],
)  # fmt: skip
def test_what_is_read_as_one_character_is_not_split(text):
    cut = cut_alike((text, PROSE))
    assert cut.counts[0] == cut.counts[1] >= 50 and cut.ending == "word"
    whole = regex.findall(r"\X", text)
    assert "".join(whole[: cut.counts[0]]) == cut.texts[0]


def test_tokens_are_taken_by_the_codec_and_no_more_than_the_length_says():
    ruler = Tokens(Letters(), own_ids=False)
    assert ruler.of_text("one two three four").start(13) == "one two three"
    long = " ".join(["word"] * 60)
    pair = draw([texts("a", [long], reference=long[::-1])], lengths=(140,), ruler=ruler).pairs[0]
    room = 140 - len(pair.context)
    assert room - 40 < len(pair.text) == len(pair.other) <= room


def test_a_ruler_is_found_where_one_tokenizer_made_all():
    plain = texts("a", [PROSE])
    assert isinstance(choose_ruler([plain], None), Words)
    given = choose_ruler([plain], Letters())
    assert isinstance(given, Tokens) and not given.own_ids


def draw(conditions, against="original", lengths=(40,), num=None, ruler=None):
    return draw_pairs(conditions, against, lengths, ruler or Words(), num, seed=0)


def test_pairs_of_all_conditions_on_the_same_contexts():
    long = " ".join(f"word{n}" for n in range(80))
    base, tuned = (
        texts(name, [f"{name} {long}"] * 6, reference=f"truly {long}", source="aabbbb") for name in ("base", "tuned")
    )
    drawn = draw([base, tuned], lengths=(30, 60), num=4)
    assert drawn.grid.shape == (2, 2, 4) and len(drawn.checks) == 4
    for place in np.ndindex(drawn.grid.shape):
        pair = drawn.pairs[drawn.grid[place]]
        assert (pair.condition, pair.length) == (("base", "tuned")[place[0]], (30, 60)[place[1]])
        assert abs(len(pair.text) - len(pair.other)) <= 1 and 0 < len(pair.text.split()) <= pair.length - 10
        assert pair.context_id == drawn.pairs[drawn.grid[0, 0, place[2]]].context_id and pair.other.startswith("truly")
    check = drawn.pairs[drawn.checks[0]]
    assert check.condition == SHUFFLED and sorted(check.text.split()) == sorted(check.other.split())
    assert check.text != check.other
    assert Counter(drawn.pairs[i].source for i in drawn.checks) == {"a": 2, "b": 2}
    other = draw([base, tuned], against="base")
    assert {(pair.condition, pair.against) for pair in other.pairs[: other.grid.size]} == {("tuned", "base")}


def test_contexts_that_cannot_be_shown_are_left_out_of_all_conditions_and_named():
    long, true = " ".join(["word"] * 60), " ".join(["term"] * 60)
    drawn = draw([texts("base", [long, long, "short"], reference=true), texts("tuned", [long] * 3, reference=true)])
    assert drawn.left_out == {"have a continuation of fewer than 16 words": ["c2"]} and drawn.grid.shape == (2, 1, 2)
    with pytest.raises(UserError, match="--num_contexts 3: only 2 can be shown; 1 have a continuation of fewer"):
        draw([texts("base", [long, long, "short"], reference=true)], num=3)
    with pytest.raises(UserError, match="no context can be shown: 1 have a context that leaves fewer than 16 words"):
        draw([texts("base", [long], reference=true)], lengths=(20,))


def prose(seed, words=60):
    return " ".join(np.random.default_rng(seed).choice(PROSE.split(), words))


def condition(name, tails, references=None, contexts=None):
    references = references or [prose(99 + n) for n in range(len(tails))]
    contexts = contexts or [f"Context {n}" for n in range(len(tails))]
    rows = enumerate(zip(tails, references, contexts, strict=True))
    made = tuple(GeneratedText(f"c{n}", "a", start, tail, reference=true) for n, (tail, true, start) in rows)
    return Condition.of(name, [GenerationSet(name, made)])


def test_no_pair_shows_one_text_twice():
    tails, true = [prose(n) for n in range(4)], [prose(n + 50) for n in range(4)]
    tails[1] = true[1].replace(" ", "  ") + " and more"  # what differs is a tell, or cut off
    assert draw([condition("a", tails, true)]).left_out == {"read the same on both sides": ["c1"]}
    other = condition("b", [*tails[:2], prose(7), prose(8)])
    drawn = draw([condition("a", tails), other], against="a")
    assert drawn.grid.shape == (1, 1, 2) and len(drawn.left_out["read the same on both sides"]) == 2


def test_what_is_spelled_otherwise_reads_the_same():
    true = [prose(50), prose(51), prose(52).replace("e", "\u00e9"), prose(53)]
    tails = [prose(0), prose(1), true[2].replace("\u00e9", "e\u0301"), true[3].replace("o", "o\u00ad")]
    (same,) = draw([condition("a", tails, true)]).left_out.items()
    assert (same[0], sorted(same[1])) == ("read the same on both sides", ["c2", "c3"])


def test_contexts_that_differ_in_a_sign_are_several():
    tails = [prose(n) for n in range(5)]
    contexts = ["Solve x < 3", "Solve x > 3", "I feel \U0001f600", "I feel \U0001f622", "solve  x > 3"]
    left_out = draw([condition("a", tails, contexts=contexts)]).left_out
    assert list(left_out.values()) in ([["c1"]], [["c4"]])  # whichever comes second


def test_letters_and_emoji_keep_what_joins_them():
    family, persian = "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    for text in (family, persian, f"{family} {persian}."):
        assert without_tells(text) == (text, Counter())
    assert without_tells("a\u200db \u200cc\u200d")[0] == "ab c"


def test_a_context_comes_under_one_id():
    tails = [prose(n) for n in range(4)]
    contexts = ["It was late", "it was late ", "It was early", "It was late</s>"]
    drawn = draw([condition("a", tails, contexts=contexts)])
    assert len(drawn.left_out["continue a context that is in the study under another id"]) == 2
    assert draw([condition("a", tails, contexts=[""] * 4)]).left_out == {}  # texts that continue nothing
    assert (
        "continue a context that is in the study under another id"
        in draw([condition("a", tails, contexts=["...", "...", "!!", "🐱"])]).left_out
    )
    with pytest.raises(UserError, match="only 1 context can be shown, and intervals need 2: 3 continue a context"):
        draw([condition("a", tails, contexts=["It was late"] * 4)])


def test_true_continuations_are_the_same_in_all_sets():
    tails, true = [prose(n) for n in range(4)], [prose(n + 50) for n in range(4)]
    others = [true[0], true[1][:200], prose(70), None]  # cut at another length, another one, none
    drawn = draw([condition("a", tails, true), condition("b", tails[::-1], others)])
    assert drawn.left_out == {"have another true continuation in one set than in another": ["c2"]}
    assert draw([condition("a", tails, true), condition("b", tails[::-1], others)], against="a").left_out == {}


def test_true_continuations_are_those_of_the_first_set_that_holds_them():
    tails, true = [prose(n) for n in range(4)], [prose(n + 50) for n in range(4)]
    whole, none, some = (condition("a", tails, true), condition("b", tails[::-1], [None] * 4),
                         condition("c", tails[1:] + tails[:1], [None, *true[1:]]))  # fmt: skip
    for order in ([whole, none, some], [none, some, whole]):
        drawn = draw(order)
        assert drawn.left_out == {} and {pair.other[:9] for pair in drawn.pairs[:12]} == {text[:9] for text in true}
    with pytest.raises(UserError, match="or no set has that of each context"):
        draw([none, some])


def test_no_condition_is_called_as_the_study_calls_its_own():
    for name in ("original", "original text", SHUFFLED, "all pairs", "Original ", "ALL  PAIRS"):
        with pytest.raises(UserError, match=f"calls something '{name}': write NAME=WHERE"):
            draw([condition(name, [prose(0), prose(1)])])


def test_a_check_differs_from_its_shuffle():
    """A text of one word, or that hardly changes when its words are shuffled, checks nobody's attention."""
    true = [prose(50), "no " * 60, "no no no yes " * 15, prose(51)]
    drawn = draw([condition("a", [prose(n) for n in range(4)], true)])
    assert drawn.left_out == {} and sorted(drawn.unchecked) == ["c1", "c2"]
    assert sorted(place >= 0 for place in drawn.checks) == [False, False, True, True]
    plan = Plan(annotators=2, votes=1, repeats=0.0, checks=0.5, seed=0)
    for own in assign(drawn.grid, drawn.checks, plan):
        checks = [drawn.pairs[one.pair] for one in own if one.role == "check"]
        assert checks and all(pair.condition == SHUFFLED and pair.text != pair.other for pair in checks)


def test_texts_without_spaces_make_a_study():
    """Chinese in words, which are its characters: they are counted, cut between, and shuffled."""
    letters = "从前有一只小猫它住在山里的个村子每天都去河边看鱼遇见狗他们起田野玩耍直到太阳落"
    tails = ["".join(np.random.default_rng(n).choice(list(letters), 90)) for n in range(6)]
    made = [condition("a", tails[:3], tails[3:], [f"故事{n}" for n in range(3)])]
    ruler = choose_ruler(made, None)
    drawn = draw(made, ruler=ruler)
    assert (ruler.name, drawn.left_out, drawn.endings) == ("words and characters", {}, {"word": 3})
    for pair in drawn.pairs[:3]:
        assert 16 < len(pair.text) == len(pair.other) <= 37
    for check in (drawn.pairs[place] for place in drawn.checks):
        assert check.text != check.other and sorted(check.text) == sorted(check.other)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 2), st.integers(1, 30), st.integers(1, 7), st.integers(1, 3), st.integers(0, 50)
)
def test_what_every_assignment_holds(conditions, lengths, contexts, annotators, votes, seed):
    grid = np.arange(conditions * lengths * contexts).reshape(conditions, lengths, contexts)
    checks = list(range(grid.size, grid.size + contexts))
    plan = Plan(annotators, votes, repeats=0.2, checks=0.1, seed=seed)
    if votes * lengths > annotators:
        with pytest.raises(UserError, match=f"give --annotators {votes * lengths} or fewer --votes"):
            assign(grid, checks, plan)
        return
    lists = assign(grid, checks, plan)
    where = {int(pair): place for place, pair in np.ndenumerate(grid)}
    given_votes = Counter(one.pair for own in lists for one in own if one.role == "vote")
    assert given_votes == {pair: votes for pair in where}  # on every pair as many, and on no check
    by_condition = np.zeros((annotators, conditions), dtype=int)
    for annotator, own in enumerate(lists):
        asked = [one for one in own if one.role == "vote"]
        seen = Counter((where[one.pair][0], where[one.pair][2]) for one in asked)
        assert not seen or max(seen.values()) == 1  # no context twice under one condition, at whatever length
        for one in asked:
            by_condition[annotator, where[one.pair][0]] += 1
        for condition in range(conditions):
            sides = [one.swapped for one in asked if where[one.pair][0] == condition]
            assert abs(2 * sum(sides) - len(sides)) <= 1
        first = {one.pair: (place, one.swapped) for place, one in enumerate(own) if one.role == "vote"}
        repeats = [(place, one) for place, one in enumerate(own) if one.role == "repeat"]
        assert len({one.pair for _, one in repeats}) == len(repeats) <= round(0.2 * len(asked))
        assert all(first[one.pair][0] < place and first[one.pair][1] != one.swapped for place, one in repeats)
        assert len({one.pair for one in own if one.role == "check"} & set(checks)) == min(
            round(0.1 * len(asked)), contexts
        )
    assert (np.ptp(by_condition, axis=0) <= 1).all()
    assert assign(grid, checks, plan) == lists


def test_contexts_that_come_again_are_far_apart_and_repeats_are_late():
    grid = np.arange(4 * 60).reshape(4, 1, 60)
    for own in assign(grid, [], Plan(annotators=6, votes=3, repeats=0.1, checks=0.0, seed=0)):
        contexts = {}
        for place, one in enumerate(own):
            contexts.setdefault(one.pair % 60, []).append((place, one.role))
        gaps = [
            b[0] - a[0] for seen in contexts.values() for a, b in zip(seen, seen[1:], strict=False) if b[1] == "vote"
        ]
        assert min(gaps) > len(own) / 8 and np.mean(gaps) > len(own) / 3
        repeats = [place for place, one in enumerate(own) if one.role == "repeat"]
        assert len(repeats) == 12 and min(repeats) > len(own) / 3


def test_every_tell_has_a_name_of_its_own():
    assert len({tell.name for tell in TELLS}) == len(TELLS)
