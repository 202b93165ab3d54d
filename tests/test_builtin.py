"""The texts and the model that come with the package."""

import json
import re

import pytest
from conftest import REPOSITORY
from transformers import AutoModelForCausalLM, AutoTokenizer

from hyperfitting.builtin import ASSETS, BUILTIN


@pytest.fixture(scope="module")
def stories():
    return {
        name: [json.loads(line) for line in open(BUILTIN[f"builtin/{name}"])]
        for name in ("stories", "held_out_stories", "held_out_encyclopedia", "held_out_news")
    }


def test_counts_and_lengths(stories):
    tokenizer = AutoTokenizer.from_pretrained(BUILTIN["builtin/base_model"])
    assert [len(part) for part in stories.values()] == [128, 32, 32, 32]
    for story in (story for part in stories.values() for story in part):
        assert len(tokenizer(story["text"], verbose=False)["input_ids"]) >= 270, story["title"]


def test_no_two_texts_share_a_sentence_or_eight_words(stories):
    texts = [story["text"] for part in stories.values() for story in part]
    assert len({story["title"] for part in stories.values() for story in part}) == 224
    owner = {}
    for index, text in enumerate(texts):
        sentences = {s.strip().lower() for s in re.split(r'(?<=[.!?"])\s+', text) if len(s.split()) >= 4}
        words = re.findall(r"[a-z']+", text.lower())
        grams = {" ".join(words[i : i + 8]) for i in range(len(words) - 7)}
        for piece in sentences | grams:
            assert owner.setdefault(piece, index) == index, piece


def test_openings_vary(stories):
    openings = [" ".join(story["text"].split()[:3]) for part in stories.values() for story in part]
    assert max(openings.count(opening) for opening in openings) <= 2


def test_the_model_is_small_and_loads():
    model = AutoModelForCausalLM.from_pretrained(BUILTIN["builtin/base_model"])
    assert sum(p.numel() for p in model.parameters()) <= 3_000_000 and model.config.vocab_size == 6144
    assert sum(file.stat().st_size for file in ASSETS.rglob("*") if file.is_file()) <= 20e6


@pytest.mark.slow
def test_the_readmes_example_runs_as_it_is(tmp_path, monkeypatch, capsys):
    block = re.search(r"```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL).group(1)
    assert len(block.splitlines()) <= 10
    monkeypatch.chdir(tmp_path)
    exec(block.replace("epochs=20", "epochs=1"), {})
    assert re.search(r"TTR 0\.\d+ -> 0\.\d+ in runs/example/final", capsys.readouterr().out)
