"""Signatures as text, and back."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hyperfitting.errors import UserError
from hyperfitting.scoring import Signature, metric_descriptions, score

keys = st.text(st.characters(exclude_characters=":|\\"), min_size=1)


@given(st.dictionaries(keys, st.text(), min_size=1))
@example({"model": "a|b:c\\", "window": "\\|", "empty": ""})
@example({"a": "ends in a line\n"})
def test_a_signature_parses_back(fields):
    signature = Signature(fields)
    assert Signature.parse(str(signature)) == signature
    assert list(Signature.parse(str(signature)).fields) == list(fields)


@pytest.mark.parametrize("text", ["", "ttr|tokens", "a:1|", "|a:1", "a:1||b:2", "a:1|a:2", ":1", "a:1\\"])
def test_what_is_no_signature(text):
    with pytest.raises(UserError, match=r"is no signature: write key:value\|key:value"):
        Signature.parse(text)


def test_a_score_says_what_it_is_of():
    found = score([{"token_ids": [1, 2, 3] * 40}], ["ttr"])["ttr"]
    assert found.signature == (
        "metric:ttr|unit:tokens|window:last 96|interval:bootstrap over contexts, 2000 resamples, 95 %"
        "|version:hyperfitting 0.1.0"
    )
    assert Signature.parse(found.signature).fields["window"] == "last 96"


def test_every_definition_parses_back():
    for metric in metric_descriptions():
        signature = metric.signature("an interval")
        assert Signature.parse(str(signature)) == signature
        assert str(signature).startswith(f"metric:{metric.name}|unit:{metric.unit}|{metric.definition}|interval:")
