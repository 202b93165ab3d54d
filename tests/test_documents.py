"""What is read of files and folders: one column, each value a text; the files that their owner means; all else refused by name."""

import bz2
import csv
import gzip
import json
import lzma
import os

import datasets
import pandas
import pyarrow as pa
import pytest

from hyperfitting.codec import Codec
from hyperfitting.corpus import load_training_rows
from hyperfitting.documents import load_documents
from hyperfitting.errors import UserError

TEXTS = ['a "small" boat;\tred', "two\nlines, and é", "NA", "x" * 200_000]


class Letters(Codec):
    """Ids are code points: nothing but the documents matters here."""

    fingerprint = "letters"

    def encode(self, documents, special=True):
        return [[ord(letter) for letter in document or ""] for document in documents]


def read(source, column="text", **where):
    """(documents, what was said) of a source."""
    said = []
    return load_documents(str(source), Letters(), column, say=said.append, **where)["document"][:], said


def lines(texts, **others) -> str:
    return "".join(json.dumps({"text": text, **others}, ensure_ascii=False) + "\n" for text in texts)


def zstandard(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def arrow(texts, writer) -> bytes:
    table, sink = pa.table({"text": texts, "n": range(len(texts))}), pa.BufferOutputStream()
    with writer(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def frame(**options) -> bytes:
    return pandas.DataFrame({"n": range(4), "text": TEXTS}).to_json(**options).encode()


def table(delimiter: str) -> bytes:
    return pandas.DataFrame({"n": range(4), "text": TEXTS}).to_csv(sep=delimiter, index=False).encode()


FILES = {
    "x.ndjson": lines(TEXTS).encode(),
    "mark.jsonl": b"\xef\xbb\xbf" + lines(TEXTS).encode(),
    "x.jsonl.gz": gzip.compress(lines(TEXTS).encode()),
    "x.json.bz2": bz2.compress(json.dumps([{"text": text} for text in TEXTS]).encode()),
    "x.jsonl.xz": lzma.compress(lines(TEXTS).encode()),
    "x.JSONL.zst": zstandard(lines(TEXTS).encode()),
    "jq.json": "\n".join(json.dumps({"text": text}, indent=2) for text in TEXTS).encode(),
    "data.json": json.dumps({"version": 1, "data": [{"text": text} for text in TEXTS]}).encode(),
    "lists.json": json.dumps({"n": [1, 2, 3, 4], "text": TEXTS}).encode(),
    "strings.json": json.dumps(TEXTS).encode(),
    "columns.json": frame(),
    "columns.jsonl": frame(),
    "split.json": frame(orient="split"),
    "index.json": frame(orient="index", indent=1),
    "table.json": frame(orient="table"),
    "commas.csv": table(","),
    "semicolons.csv": table(";"),
    "mark.csv": b"\xef\xbb\xbf" + pandas.DataFrame({"text": TEXTS}).to_csv(index=False).encode(),
    "excel.csv": b"sep=;\r\n" + table(";"),
    "bars.csv": table("|"),
    "tabs.csv": table("\t"),
    "x.tsv": table("\t"),
    "x.csv.gz": gzip.compress(table(";")),
    "stream.arrow": arrow(TEXTS, pa.ipc.new_stream),
    "file.arrow": arrow(TEXTS, pa.ipc.new_file),
    "a::b.jsonl": lines(TEXTS).encode(),
    "a#b?c%20[d] -e.jsonl": lines(TEXTS).encode(),
    "-.jsonl": lines(TEXTS).encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_every_kind_hold_the_same_texts(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(FILES[name])
    assert read(tmp_path / name) == read(name) == (TEXTS, [])


def test_other_readers_of_csv_keep_their_limit(tmp_path):
    (tmp_path / "x.csv").write_bytes(table(","))
    (tmp_path / "bad.csv").write_text("text\na,b\n")
    usual = csv.field_size_limit()
    read(tmp_path / "x.csv")
    with pytest.raises(UserError):
        read(tmp_path / "bad.csv")
    assert csv.field_size_limit() == usual < len(TEXTS[-1])


def test_a_text_begins_behind_the_byte_order_mark(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    assert read(tmp_path / "x.txt") == (["one\ntwo"], [])


@pytest.mark.parametrize(
    "value, what", [(7, "a number (7)"), (True, "true or false"), (["a"], "a list"), ({}, "an object")]
)
@pytest.mark.parametrize("where", ["the last line", "another file", "an array"])
def test_one_value_that_is_no_text_is_named_and_changes_no_other(value, what, where, tmp_path):
    text = lines([*TEXTS, None])
    (tmp_path / "a.jsonl").write_text(text + (lines([value]) if where == "the last line" else ""))
    place = f"{tmp_path / 'a.jsonl'}, line 6"
    if where == "another file":
        (tmp_path / "b.jsonl").write_text("\n" + lines(["x", value]))
        place = f"{tmp_path / 'b.jsonl'}, line 3"
    elif where == "an array":
        (tmp_path / "b.json").write_text(json.dumps([{"text": "x"}, {"text": value}]))
        place = f"{tmp_path / 'b.json'}, row 2"
    with pytest.raises(UserError) as error:
        read(tmp_path)
    assert f"{place} has a column 'text' that does not hold text but {what}" in str(error.value)


def test_a_number_behind_ten_million_bytes_is_named(tmp_path):
    """The reader of datasets gives every later text as JSON."""
    (tmp_path / "a.jsonl").write_text(lines(["x" * 1_000_000] * 11 + [7, "last"]))
    with pytest.raises(UserError, match="line 12 has a column 'text' that does not hold text but a number"):
        read(tmp_path / "a.jsonl")


BAD = {
    "utf16.jsonl": (lines(["a"]).encode("utf-16"), "is UTF-16, not UTF-8"),
    "utf16.txt": ("some words".encode("utf-16-le"), "is UTF-16, not UTF-8"),
    "utf16.csv": ("text\nb".encode("utf-16-be"), "is UTF-16, not UTF-8"),
    "cut.jsonl.gz": (gzip.compress(lines(TEXTS).encode())[:60], "cannot be decompressed"),
    "cut.jsonl.zst": (zstandard(lines(TEXTS).encode())[:-20], "cannot be decompressed"),
    "cut.jsonl.xz": (lzma.compress(lines(TEXTS).encode())[:60], "cannot be decompressed"),
    "bad.jsonl": (lines(["a", "b"]).encode() + b'{"text": "c"\n', "line 3 is not JSON"),
    "half.jsonl": (b'{"text": "a"}\n{"text": "\\ud800"}\n', "line 2: the text holds half a character"),
    "pointer.parquet": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n",
        "is a Git-LFS pointer",
    ),
    "cut.parquet": (b"PAR1 no table", "is damaged"),
    "cut.arrow": (arrow(TEXTS, pa.ipc.new_stream)[:900], "is damaged"),
    "cells.csv": (b"text\nHello, world\n", "line 2 has 2 cells and the header 1"),
    "open.csv": (b'n,text\n1,a\n2,"b\n3,c\n', "line 3 is not CSV"),
    "quote.csv": (b'n,text\n1,"he said "no" twice"\n', "line 2 is not CSV"),
    "numbers.csv": (b"n,text\n1,5\n2,\n", "does not hold text but numbers alone"),
    "other.csv": (b"n;body\n1;a\n", "has no column 'text'; it has n, body: set --text_column"),
    "two.json": (b'{"train": [{"text": "a"}], "test": [{"text": "b"}]}', "holds rows in 'train' and 'test'"),
    "chat.jsonl": (b'{"messages": [{"role": "user", "content": "a"}]}', "write messages into one column as texts"),
    "pairs.jsonl": (b'{"prompt": "a", "completion": "b"}', "write prompt and completion into one column"),
    "none.json": (b"[]", "holds no rows"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_one_message(name, tmp_path):
    content, message = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        read(tmp_path / name)
    assert message in str(error.value) and str(tmp_path / name) in str(error.value)


def test_a_column_of_chats_says_how_to_write_them_as_texts(tmp_path):
    (tmp_path / "c.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": "a"}]}))
    with pytest.raises(UserError, match=r"line 1 has a column 'messages' .* a chat: .*apply_chat_template"):
        read(tmp_path / "c.jsonl", "messages")


# ------------------------------------------------------------------------------------------------------------ folders


def fill(folder, **files):
    """A folder of files of one row each, whose text is its path; `__` in a key is a slash, `_ENDING` its ending."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(lines([name]) if content is None else content)


def test_hidden_files_and_what_is_no_data_are_left_out_and_said_once(tmp_path):
    names = ["one.jsonl", "sub/two.jsonl", ".ipynb_checkpoints/one.jsonl", "._one.jsonl", "__MACOSX/one.jsonl"]
    names += ["dataset_infos.json", "metadata.jsonl", "LICENSE.txt", "requirements-dev.txt", "one.jsonl.gz", "x.pdf"]
    names += ["NOTICE.txt"]
    fill(tmp_path, **dict.fromkeys(names), **{"README.md": "words", ".git/x.json": "{}"})
    texts, (said,) = read(tmp_path)
    assert texts == ["one.jsonl", "sub/two.jsonl"]
    assert said.startswith(f"dataset folder {tmp_path}: 2 files read; left out: ")
    for part in ("4 hidden", "1 no data (dataset_infos.json)", "1 no data (LICENSE.txt)", "1 with the ending .pdf"):
        assert part in said
    assert "1 no data (NOTICE.txt)" in said
    assert "1 compressed beside the same uncompressed" in said
    (tmp_path / "plain").mkdir()
    fill(tmp_path / "plain", **dict.fromkeys(["testament.jsonl", "state_of_the_union.jsonl", "trained.ndjson"]))
    fill(tmp_path / "plain", **{"other.jsonl": lines(["x"], columns=3, n="a"), "zip.jsonl": lines(["y"], n=4)})
    assert read(tmp_path / "plain")[1] == [] and len(read(tmp_path / "plain")[0]) == 5


@pytest.mark.parametrize(
    "names",
    [
        ["train.jsonl", "test.jsonl", "validation.jsonl"],
        ["data/train-00000-of-00001.jsonl", "data/test-00000-of-00001.jsonl", "data/extra-00000-of-00001.jsonl"],
        ["train/a.jsonl", "test/a.jsonl", "dev/train.jsonl"],
        ["my_train_v2.jsonl", "my-test.jsonl", "notes.jsonl"],
    ],
)
def test_splits_in_names_are_those_of_datasets(names, tmp_path):
    folder = tmp_path / "test"  # whose own name says nothing
    fill(folder, **dict.fromkeys(names))
    declared = datasets.load_dataset_builder(str(folder)).config.data_files
    texts, (said,) = read(folder)
    assert texts == names[:1] == [file.removeprefix(f"{folder}/") for file in declared["train"]]
    assert "1 file read; left out: " in said and "1 of split 'test'" in said
    assert read(folder, split="test")[0] == names[1:2]
    with pytest.raises(UserError, match=r"has no split 'tset': .*train \(1 file\).*set --dataset_split"):
        read(folder, split="tset")
    with pytest.raises(UserError, match="has no configurations: leave --dataset_config 'x' out"):
        read(folder, config="x")


def test_splits_are_told_by_capital_letters_too(tmp_path):
    fill(tmp_path, **dict.fromkeys(["Train.jsonl", "TEST.jsonl", "x-Validation.jsonl"]))
    texts, (said,) = read(tmp_path)
    assert texts == ["Train.jsonl"] and "1 of split 'test'" in said and "1 of split 'validation'" in said
    fill(tmp_path / "books", **dict.fromkeys(["Night Train.jsonl", "The Wild Duck.jsonl"]))
    assert read(tmp_path / "books") == (["Night Train.jsonl", "The Wild Duck.jsonl"], [])


def test_links_are_followed_and_broken_ones_refused(tmp_path):
    fill(tmp_path / "elsewhere", **dict.fromkeys(["a.jsonl", "b.jsonl"]))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "part").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(folder)  # which would be walked without end
    assert read(folder) == (["a.jsonl", "b.jsonl"], [])
    (folder / "c.jsonl").symlink_to(".git/annex/objects/c.jsonl")  # git-annex, before `git annex get`
    for readme in ("", "---\nconfigs: [{config_name: default, data_files: '*.jsonl'}]\n---\n"):
        (folder / "README.md").write_text(readme)
        with pytest.raises(UserError, match=r"c\.jsonl is a link to a file that is not there"):
            read(folder)


def test_a_pipe_is_neither_file_nor_folder(tmp_path):
    os.mkfifo(tmp_path / "p.jsonl")
    with pytest.raises(UserError, match="p.jsonl is neither a file nor a folder: write what it gives into a file"):
        read(tmp_path / "p.jsonl")


def test_the_hubs_cache_is_no_folder_of_data(tmp_path):
    fill(tmp_path, **dict.fromkeys(["snapshots/old/a.jsonl", "snapshots/new/a.jsonl", "refs/main"]))
    with pytest.raises(UserError, match=r"a folder of the Hub's cache.*give the Hub id, or a folder in .*snapshots"):
        read(tmp_path)
    assert read(tmp_path / "snapshots" / "new")[0] == ["snapshots/new/a.jsonl"]


README = """---
configs:
- config_name: default
  data_files: [{split: train, path: "files/b*"}, {split: test, path: files/a.csv}]
  sep: ";"
- config_name: more
  data_files: files/c.jsonl
---
"""


def test_a_clone_is_read_as_its_readme_says(tmp_path):
    for name in ("clone", "a::b#[c]"):
        folder = tmp_path / name
        fill(folder, **{"README.md": README, "files/c.jsonl": None, "files/d.jsonl": None})
        fill(
            folder,
            **{"files/a.csv": "n;text\n1;of a\n", "files/b2.csv": "text;n\nof b2;1\n", "files/b1.csv": "text\nof b1\n"},
        )
        texts, (said,) = read(folder, config="default")
        assert texts == ["of b1", "of b2"] and "split 'train' as its README.md says (2 files); left out: test" in said
        assert read(folder, config="default", split="test")[0] == ["of a"]
        assert read(folder, config="more")[0] == ["files/c.jsonl"]
        with pytest.raises(UserError, match="no split 'nonsense': set --dataset_split to train or test"):
            read(folder, config="default", split="nonsense")
        with pytest.raises(UserError, match="nonsense.*default.*more"):
            read(folder, config="nonsense")


def test_a_configuration_that_yaml_takes_for_false_is_named(tmp_path):
    readme = (
        "---\nconfigs: [{config_name: no, data_files: files/c.jsonl}, {config_name: en, data_files: d.jsonl}]\n---\n"
    )
    fill(tmp_path, **{"README.md": readme, "files/c.jsonl": None, "d.jsonl": None})
    with pytest.raises(UserError, match=r"README.md has a config_name that YAML reads as false.*in quotation marks"):
        read(tmp_path, config="no")
    (tmp_path / "README.md").write_text(readme.replace("no,", "'no',"))
    assert read(tmp_path, config="no")[0] == ["files/c.jsonl"]


def test_saved_datasets_are_read(tmp_path):
    one, two = datasets.Dataset.from_dict({"text": TEXTS}), datasets.Dataset.from_dict({"text": ["held out"]})
    one.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict(train=one, held=two).save_to_disk(tmp_path / "both")
    assert read(tmp_path / "one") == (TEXTS, [])
    assert read(tmp_path / "both") == (
        TEXTS,
        [f"dataset folder {tmp_path / 'both'}: split 'train' is read; left out: held"],
    )
    assert read(tmp_path / "both", split="held")[0] == ["held out"]
    with pytest.raises(UserError, match="no split 'test': set --dataset_split to train or held"):
        read(tmp_path / "both", split="test")


def test_parquet_files_may_differ_in_other_columns_and_not_in_this_one(tmp_path):
    pandas.DataFrame({"text": ["a"], "n": [1]}).to_parquet(tmp_path / "a.parquet")
    pandas.DataFrame({"n": ["x"], "text": pandas.Categorical(["b"])}).to_parquet(tmp_path / "b.parquet")
    assert read(tmp_path)[0] == ["a", "b"]
    pandas.DataFrame({"text": [7]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(UserError, match=r"c.parquet holds int64 in its column 'text', and .*a.parquet"):
        read(tmp_path)
    pandas.DataFrame({"body": ["x"]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(UserError, match=r"c.parquet has no column 'text'; it has body"):
        read(tmp_path)


def test_json_of_the_hub_is_read_by_the_same_rules(tmp_path, monkeypatch):
    fill(tmp_path, **{"train.jsonl": lines(["a", "b"]), "test.jsonl": lines(["c", 7])})
    local = datasets.load_dataset_builder
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda name, config: local(str(tmp_path), config))
    assert read("owner/name")[0] == ["a", "b"]
    with pytest.raises(
        UserError, match=r"dataset owner/name cannot be loaded: .*test.jsonl, line 2 has a column 'text'"
    ):
        read("owner/name", split="test")
    assert read("owner/name", split="train[1:]+train[:50%]")[0] == ["b", "a"]
    for split in ("test[:1]", "train+test"):  # which the reader of datasets gives as JSON, in quotation marks
        with pytest.raises(
            UserError, match=r"test.jsonl, line 2 has a column 'text' that does not hold text but a number"
        ):
            read("owner/name", split=split)
    with pytest.raises(UserError, match=r"dataset owner/name cannot be loaded: Unknown split .*tset.*train"):
        read("owner/name", split="tset")


def test_rows_are_known_by_their_ids_wherever_they_lie(tmp_path):
    (tmp_path / "a.jsonl").write_text(lines(TEXTS))
    (tmp_path / "b.json").write_text(json.dumps([{"text": text} for text in TEXTS]))
    one, two = (load_training_rows(str(tmp_path / name), Letters()) for name in ("a.jsonl", "b.json"))
    assert one.fingerprint == two.fingerprint and one.names[1] == "a.jsonl#1"
    (tmp_path / "b.json").write_text(json.dumps([{"text": text} for text in TEXTS[1:]]))
    assert load_training_rows(str(tmp_path / "b.json"), Letters()).fingerprint != one.fingerprint
