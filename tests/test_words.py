"""What counts as a word, in scripts with spaces and without."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hyperfitting.codec.words import begins_character, has_spaceless_script, pieces, words
from hyperfitting.scoring.scores import score


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("小猫说：好3.5个 Hello", "小 猫 说 ： 好 3.5 个 Hello"),
        ("ラーメンが か\u3099", "ラ ー メ ン が か\u3099"),
        ("กำลัง\u200bเดิน", "กำ ลั ง\u200b เ ดิ น"),
        ("ភាសា ພາສາ བོད", "ភា សា ພ າ ສ າ བོ ད"),
        ("葛\U000e0100城🐱🐱𠮷", "葛\U000e0100 城 🐱🐱 𠮷"),
        ("Tiếng Việt, 한국어 문장", "Tiếng Việt, 한국어 문장"),
    ],
)
def test_a_character_is_a_word_where_nobody_writes_spaces(text, expected):
    assert words(text) == expected.split(" ") and "".join(pieces(text)) == text
    assert has_spaceless_script(text) == ("한" not in text)


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(max_codepoint=0x0DFF) | st.sampled_from(" \n\x1c\x85\u3000。🐱한é\u200b")))
def test_words_of_scripts_with_spaces_are_those_of_split(text):
    assert words(text) == text.split() and not has_spaceless_script(text) and not begins_character(text)


def test_scores_in_words_of_texts_without_spaces():
    """A loop of Chinese is found, and the signature says what was counted; other texts keep theirs."""
    loop, plain = "从前有一只小猫，今天真开心。今天真开心。", "once there was a cat that was happy"
    names = ["loop_rate_words", "length_words", "reference_bleu_4_words"]
    found = score([{"text": loop, "reference": loop}, {"text": plain, "reference": plain}], names)
    assert found["loop_rate_words"].values[0].tolist() == [1, 0]
    assert found["length_words"].values[0].tolist() == [20, 8]
    assert found["reference_bleu_4_words"].value == pytest.approx(1)
    counted = "|unit:words|word:between spaces, and each character in scripts without spaces|"
    assert all(counted in one.signature for one in found.values())
    assert "|word:" not in score([{"text": plain}], names[:2])["length_words"].signature
