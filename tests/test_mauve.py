"""MAUVE with features of the built-in model on built-in texts."""

import json
import sys

import numpy as np
import pytest
import torch

from hyperfitting.builtin import BUILTIN
from hyperfitting.codec import load_codec
from hyperfitting.errors import UserError
from hyperfitting.models import load_for_inference
from hyperfitting.records import generation_set
from hyperfitting.scoring import mauve
from hyperfitting.scoring.conditions import Condition
from hyperfitting.scoring.results import score_conditions

pytestmark = pytest.mark.slow

pytest.importorskip("mauve", reason='pip install "hyperfitting[mauve]"')
STORIES = [json.loads(line)["text"].split(" ") for line in open(BUILTIN["builtin/held_out_stories"])]


def part(words, start, stop):
    return " " + " ".join(words[start:stop])


def condition(texts, references, name="texts"):
    rows = [
        {"context": " ".join(words[:10]), "text": text, "reference": reference}
        for words, text, reference in zip(STORIES, texts, references, strict=False)
    ]
    return Condition(name, (generation_set(rows, name),))


def mauve_score(of, model="builtin/base_model", **options):
    return mauve.mauve_scores([of], model, **options)[of.name]


TRUE = [part(words, 10, 50) for words in STORIES]


@pytest.fixture(scope="module")
def same():
    return mauve_score(condition(TRUE, TRUE), "builtin/base_model")


def test_the_same_texts_are_as_near_as_can_be(same):
    assert same.value == pytest.approx(1.0) and same.values.shape == (5, 1) and (same.n, same.left_out) == (32, 0)


def test_far_texts_score_lower(same):
    near = mauve_score(condition([part(words, 50, 90) for words in STORIES], TRUE), "builtin/base_model")
    far = mauve_score(condition([" the" * 40 for _ in STORIES], TRUE), "builtin/base_model")
    assert 0 < far.value < 0.1 < near.value < same.value
    assert near.low == near.values.min() <= near.value <= near.values.max() == near.high
    assert near.value == pytest.approx(near.values.mean())


def test_the_score_says_how_it_was_made(same):
    assert same.label == "MAUVE (n < 2000)" and "n < 2000: unreliable" in same.signature
    assert same.signature.startswith("metric:mauve|unit:words|features:builtin/base_model, ")
    assert "lowest and highest of 5 clustering seeds" in same.signature


def test_length_does_not_tell_texts_apart():
    longer = [part(words, 10, 90) for words in STORIES]
    assert mauve_score(condition(longer, TRUE), "builtin/base_model").value == pytest.approx(1.0)


def test_empty_texts_are_counted_and_seeds_of_generation_too():
    texts = ["", *TRUE[1:]]
    two = Condition("two", (condition(texts, TRUE).first, condition(TRUE, TRUE).first))
    found = mauve_score(two, "builtin/base_model", batch_size=3)
    assert found.values.shape == (10, 1) and (found.n, found.left_out) == (63, 1)


def test_one_model_for_all_conditions(monkeypatch):
    """It is loaded once, with the options of the call, whatever the number of conditions."""
    loaded, widths, load, forward = [], [], mauve.load_for_inference, mauve.forward_texts

    def counted(name, dtype, **options):
        loaded.append((name, options))
        return load(name, dtype, **options)

    def watched(run, texts, batch_size, *rest):
        widths.append(batch_size)
        forward(run, texts, batch_size, *rest)

    monkeypatch.setattr(mauve, "load_for_inference", counted)
    monkeypatch.setattr(mauve, "forward_texts", watched)
    two = [condition(TRUE[:8], TRUE[:8], name) for name in ("one", "two")]
    found = score_conditions(
        two, metrics=["length_words"], mauve_model="builtin/base_model", batch_size=3, trust_remote_code=True
    )
    assert loaded == [("builtin/base_model", {"trust_remote_code": True})] and widths == [3] * 4
    assert found.columns == ["length_words", "mauve"] and not [d for d in found.differences if d.metric == "mauve"]
    assert found.scored["one"]["mauve"].value == pytest.approx(1.0) and "mauve" not in found.scored["original text"]


def test_features_are_the_last_hidden_state_whatever_the_batch():
    model, codec = load_for_inference("builtin/base_model", "float32"), load_codec("builtin/base_model")
    texts = codec.encode([TRUE[0], "a", TRUE[1][:40]])
    for text, found in zip(texts, mauve._features(model, texts, 2), strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([text]), output_hidden_states=True).hidden_states[-1][0, -1]
        assert found == pytest.approx(expected.numpy(), abs=1e-4)


def test_the_area_is_that_of_the_package_where_its_points_are_distinct():
    rng = np.random.default_rng(0)
    true, generated = rng.normal(size=(100, 8)), rng.normal(size=(100, 8)) + 0.3
    compute = mauve.import_mauve()
    expected = compute(p_features=true, q_features=generated, seed=3).mauve
    assert mauve._area(compute, true, generated, 3) == pytest.approx(expected)


def test_what_cannot_be_compared(monkeypatch):
    with pytest.raises(UserError, match="'texts' holds none"):
        mauve_score(condition(TRUE, [None] * len(TRUE)), "builtin/base_model")
    ids = Condition("ids", (generation_set([{"token_ids": [1], "reference_ids": [2]}], "ids"),))
    with pytest.raises(UserError, match="its token ids have none: give --tokenizer"):
        mauve_score(ids, "builtin/base_model")
    long = generation_set([{"context": "a b " * 400, "text": "c", "reference": "d"}], "long")
    with pytest.raises(UserError, match="the contexts fill the window of builtin/base_model, 512 tokens"):
        mauve_score(Condition("long", (long,)), "builtin/base_model")
    monkeypatch.setitem(sys.modules, "mauve", None)
    with pytest.raises(UserError, match=r'MAUVE is an extra: pip install "hyperfitting\[mauve\]"'):
        mauve_score(condition(TRUE, TRUE), "builtin/base_model")
