import json

import pytest
import torch
from transformers import AutoTokenizer

from hyperfitting import Corpus, Recipe, UserError
from hyperfitting.codec import as_codec
from hyperfitting.corpus import build_corpus, load_documents


@pytest.fixture(scope="module")
def tokenizer(tiny):
    return AutoTokenizer.from_pretrained(tiny / "fp32")


def recipe(**values):
    return Recipe.load(
        **{
            "model": "m",
            "seq_len": 32,
            "num_train": 10,
            "num_validation": 5,
            "global_batch_size": 2,
            "probe_contexts": 0,
            **values,
        }
    )


def test_rows_are_the_first_tokens_of_distinct_documents(tiny, tokenizer):
    corpus = build_corpus(recipe(dataset=tiny / "stories.jsonl"), tokenizer)
    assert corpus.train.shape == (10, 32) and corpus.validation.shape == (5, 32) and corpus.train.dtype == torch.int64
    documents = corpus.train_documents + corpus.validation_documents
    assert len(set(documents)) == 15
    texts = [json.loads(line)["text"] for line in open(tiny / "stories.jsonl")]
    for row, document in zip(torch.cat([corpus.train, corpus.validation]), documents, strict=True):
        assert row.tolist() == tokenizer(texts[int(document.split("#")[1])])["input_ids"][:32]


def test_the_seed_chooses_and_validation_does_not_depend_on_num_train(tiny, tokenizer):
    source = tiny / "stories.jsonl"
    one, two = (build_corpus(recipe(dataset=source, num_train=n), tokenizer) for n in (10, 20))
    assert torch.equal(one.validation, two.validation) and torch.equal(one.train, two.train[:10])
    assert one.fingerprint == build_corpus(recipe(dataset=source), tokenizer).fingerprint
    assert one.fingerprint != build_corpus(recipe(dataset=source, data_seed=1), tokenizer).fingerprint


def test_packing_cuts_documents_and_keeps_the_sets_disjoint(tiny, tokenizer):
    corpus = build_corpus(recipe(dataset=tiny / "stories.jsonl", pack=True, num_train=60), tokenizer)
    assert len(set(corpus.train_documents)) < 60
    assert not set(corpus.train_documents) & set(corpus.validation_documents)


def test_duplicates_and_short_documents_are_left_out_and_counted(tmp_path, tokenizer):
    texts = (
        ["a small old boat " * 30] * 3 + ["too short"] + [f"{n} red dogs ran under the tree " * 20 for n in range(3)]
    )
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    values = dict(dataset=tmp_path / "t.jsonl", num_validation=1)
    assert len(build_corpus(recipe(**values, num_train=3), tokenizer).train) == 3
    with pytest.raises(UserError, match="gives 4 rows of 32 tokens, 6 are needed .* of 7 documents 6 .* 2 rows were"):
        build_corpus(recipe(**values, num_train=5), tokenizer)


def test_validation_rows_from_a_file_of_their_own(tiny, tmp_path, tokenizer):
    lines = (tiny / "stories.jsonl").read_text().splitlines()
    (tmp_path / "held.jsonl").write_text("\n".join(lines[:20]))
    corpus = build_corpus(
        recipe(dataset=tiny / "stories.jsonl", validation_dataset=tmp_path / "held.jsonl", num_train=30), tokenizer
    )
    assert all(document.startswith("held.jsonl#") for document in corpus.validation_documents)
    rows = {tuple(row) for row in corpus.validation.tolist()}
    assert not rows & {tuple(row) for row in corpus.train.tolist()}  # the five texts stand in both files


def test_saved_rows_load_and_changed_rows_are_noticed(tiny, tmp_path, tokenizer):
    corpus = build_corpus(recipe(dataset=tiny / "stories.jsonl"), tokenizer)
    corpus.save(tmp_path, tokenizer)
    loaded = Corpus.load(tmp_path)
    assert torch.equal(loaded.train, corpus.train) and loaded.fingerprint == corpus.fingerprint
    row = json.loads((tmp_path / "train.jsonl").read_text().splitlines()[0])
    assert row["text"] == tokenizer.decode(row["input_ids"])
    text = (tmp_path / "train.jsonl").read_text()
    (tmp_path / "train.jsonl").write_text(text.replace('"input_ids": [', '"input_ids": [1', 1))
    with pytest.raises(UserError, match="were changed"):
        Corpus.load(tmp_path)


@pytest.mark.parametrize("ending", [".json", ".csv", ".parquet", ".txt"])
def test_every_format_reads_the_same_documents(tiny, tmp_path, tokenizer, ending):
    texts = load_documents(str(tiny / "stories.jsonl"), as_codec(tokenizer))["document"][:4]
    if ending == ".txt":
        for index, text in enumerate(texts):
            (tmp_path / f"{index}.txt").write_text(text)
        source = tmp_path
    else:
        import pandas

        source = tmp_path / f"t{ending}"
        frame = pandas.DataFrame({"story": list(texts)})
        if ending == ".json":
            frame.to_json(source, orient="records")
        elif ending == ".csv":
            frame.to_csv(source, index=False)
        else:
            frame.to_parquet(source)
    assert list(load_documents(str(source), as_codec(tokenizer), "story")["document"]) == list(texts)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.jsonl", None, "does not exist"),
        ("empty.jsonl", b"", "is empty"),
        ("latin.jsonl", '{"text": "caf\xe9"}'.encode("latin1"), "not valid UTF-8 near byte 13"),
        ("broken.json", b'{"text": ', "cannot be loaded"),
        ("column.jsonl", b'{"body": "x"}', "has no column 'text'; it has body: set --text_column"),
        ("number.jsonl", b'{"text": 3}', "does not hold text"),
        ("file.doc", b"x", "ending '.doc'"),
    ],
)
def test_bad_files_are_named(tmp_path, tokenizer, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        build_corpus(recipe(dataset=tmp_path / name), tokenizer)
    assert name in str(error.value)


def test_a_name_with_brackets_or_stars_is_no_pattern(tiny, tmp_path, tokenizer):
    lines = (tiny / "stories.jsonl").read_text().splitlines()
    for name, line in (
        ("run[1].jsonl", lines[0]),
        ("run1.jsonl", lines[1]),
        ("a*.jsonl", lines[2]),
        ("ab.jsonl", lines[3]),
    ):
        (tmp_path / name).write_text(line)
    for name, line in (("run[1].jsonl", lines[0]), ("a*.jsonl", lines[2])):
        assert load_documents(str(tmp_path / name), as_codec(tokenizer))["document"][:] == [json.loads(line)["text"]]
    folder = tmp_path / "[b]?"
    folder.mkdir()
    (folder / "c.jsonl").write_text(lines[4])
    assert load_documents(str(folder), as_codec(tokenizer))["document"][:] == [json.loads(lines[4])["text"]]


def test_the_start_of_a_long_document_is_that_of_the_whole(tokenizer):
    from hyperfitting.codec import TextCodec
    from hyperfitting.codec.text import LONGEST_TOKEN

    codec, seen = TextCodec(tokenizer), []
    words = "a small old boat under the red tree found dogs " * 3000
    documents = ["short", words, "x" * 40_000, " " * 40_000 + words, ""]
    whole = codec.encode(documents)

    class Counting(TextCodec):
        def encode(self, documents, special=True):
            seen.extend(map(len, documents))
            return super().encode(documents, special)

    for tokens in (1, 7, 64):
        found = Counting(tokenizer).encode_start(documents, tokens)
        assert [ids[:tokens] for ids in found] == [ids[:tokens] for ids in whole]
    seen.clear()
    Counting(tokenizer).encode_start([words * 300], 64)  # 42 million characters
    assert sum(seen) <= 3 * 64 * LONGEST_TOKEN


def test_rows_are_there_whole_or_not_at_all(tiny, tmp_path, tokenizer, monkeypatch):
    corpus = build_corpus(recipe(dataset=tiny / "stories.jsonl"), tokenizer)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("hyperfitting.corpus.json.dumps", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        corpus.save(tmp_path / "corpus", tokenizer)
    assert not (tmp_path / "corpus").exists()
    corpus.save(tmp_path / "corpus", tokenizer)
    assert Corpus.load(tmp_path / "corpus").fingerprint == corpus.fingerprint
