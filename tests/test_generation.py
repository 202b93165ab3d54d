"""The runner: the same bytes from one process, from two, and from two that were killed and one that went on."""

import contextlib
import io
import json
import shutil
import subprocess
import time

import psutil
import pytest
import torch
import yaml
from conftest import LAUNCH, REPOSITORY, TINY_RECIPE
from transformers import AutoModelForCausalLM, AutoTokenizer

from hyperfitting import Corpus, Hyperfitter, UserError
from hyperfitting.commands.generate import main
from hyperfitting.generation import CitationBlocker, Context, GenerationRunner, load_contexts, word_starts
from hyperfitting.generation.runner import make_batches

POLICIES = ["greedy", "nucleus(p=0.9)", "greedy+citation_blocker"]


def command(tiny, reference, folder, *extra):
    flags = [
        "--model",
        reference / "final",
        "--contexts",
        f"own={tiny / 'stories.jsonl'}",
        "--contexts",
        f"run={reference}",
    ]
    flags += [
        "--num_contexts",
        8,
        "--context_len",
        8,
        "--max_length",
        100,
        "--batch_size",
        3,
        "--train_rows",
        reference,
    ]
    return [*flags, *(word for policy in POLICIES for word in ("--policy", policy)), "--output_dir", folder, *extra]


@pytest.fixture(scope="module")
def finished(tiny, reference, tmp_path_factory):
    """The folder of a run in one process."""
    folder = tmp_path_factory.mktemp("generations") / "one"
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        assert main([str(word) for word in command(tiny, reference, folder, "--parquet")]) == 0
    assert "tokens/s, peak memory" in shown.getvalue()
    return folder


def records_of(folder):
    return [json.loads(line) for line in (folder / "generations.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_records_and_manifest(finished, reference, tiny):
    import pandas

    records, manifest = records_of(finished), json.loads((finished / "manifest.json").read_text())
    names = [f"own-{i:05d}" for i in range(4)] + [f"run-{i:05d}" for i in range(4)]
    assert [record["id"] for record in records] == names * 3
    assert [record["policy"] for record in records[::8]] == manifest["policies"]
    tokenizer = AutoTokenizer.from_pretrained(tiny / "fp32")
    validation = Corpus.load(reference / "corpus").validation
    for record in records:
        assert len(record["context_ids"]) == 8 and record["seed"] == 0
        assert record["model_fingerprint"] == manifest["model_fingerprint"]
        assert (record["finish_reason"] == "eos") == (len(record["continuation_ids"]) < 92)
        assert record["continuation"] == tokenizer.decode(record["continuation_ids"])
    assert records[4]["context_ids"] + records[4]["reference_ids"] == validation[0].tolist()
    assert len(pandas.read_parquet(finished / "generations.parquet")) == len(records)
    numbers = [v for record in records for v in record.values() if isinstance(v, float)]
    assert not numbers  # logits differ in their last bits between machines; ids do not


@pytest.fixture(scope="module")
def two_processes(tiny, reference, tmp_path_factory):
    """The folder of a run in two processes, and a copy of it from the middle, as a kill would have left it."""
    folder = tmp_path_factory.mktemp("two_processes") / "whole"
    config = ["--config_file", "accelerate_configs/ddp.yaml", "--num_processes", 2]
    words = [*LAUNCH, *config, "launch/generate.py", *command(tiny, reference, folder)]
    process = subprocess.Popen(
        [str(word) for word in words], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while len(list(folder.glob("batches/*/*.jsonl"))) < 2:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)
    ranks = psutil.Process(process.pid).children(recursive=True)
    for rank in ranks:
        rank.suspend()
    killed = shutil.copytree(folder, folder.with_name("killed"))
    for rank in ranks:
        rank.resume()
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0, output
    return folder, killed


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(finished, two_processes):
    folder, _ = two_processes
    assert (folder / "generations.jsonl").read_bytes() == (finished / "generations.jsonl").read_bytes()
    assert {json.loads(line)["rank"] for line in (folder / "log.jsonl").read_text().splitlines()} == {0, 1}


@pytest.mark.slow
def test_killed_and_restarted_gives_the_same_bytes(finished, two_processes, tiny, reference):
    _, folder = two_processes
    written = {path: path.stat().st_mtime_ns for path in folder.glob("batches/*/*.jsonl")}
    assert 2 <= len(written) < 9 and not (folder / "generations.jsonl").exists()
    assert main([str(word) for word in command(tiny, reference, folder)]) == 0
    assert all(path.stat().st_mtime_ns == moment for path, moment in written.items())  # finished batches are kept
    assert (folder / "generations.jsonl").read_bytes() == (finished / "generations.jsonl").read_bytes()


@pytest.mark.slow
def test_the_blocker_ends_citations(tiny, tmp_path):
    values = {**TINY_RECIPE, "epochs": 100, "learning_rate": 1e-2, "probe_contexts": 0, "save_steps": 10_000}
    Hyperfitter(tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run", **values).fit()
    tokenizer = AutoTokenizer.from_pretrained(tiny / "fp32")
    starts, rows = word_starts(tokenizer), Corpus.load(tmp_path / "run" / "corpus").train.tolist()
    known = {tuple(row[i : i + 6]) for row in rows for i in range(len(row) - 5)}
    policies = ["greedy", "greedy+citation_blocker"]
    runner = GenerationRunner(
        tmp_path / "run" / "final", policies, output_dir=tmp_path / "g", train_rows=tmp_path / "run", max_length=60
    )
    records = runner.run([Context(f"c{i}", "c", tuple(row[:8]), tuple(row[8:60])) for i, row in enumerate(rows[:12])])
    citations = dict.fromkeys(policies, 0)
    for record in records:
        ids = record["context_ids"] + record["continuation_ids"]
        for end in range(8, len(ids)):
            citations[record["policy"]] += int(starts[ids[end]]) and tuple(ids[end - 5 : end + 1]) in known
    assert citations["greedy"] > 20 and citations["greedy+citation_blocker"] == 0
    blocker = CitationBlocker(rows, starts)
    for record in records:
        log = blocker.log(8, record["context_ids"] + record["continuation_ids"])
        assert record.get("blocked", log) == log and ("blocked" in record) == ("blocker" in record["policy"])
    assert any(record.get("blocked") for record in records)


def test_a_checkpoints_own_settings_change_nothing(tiny, tmp_path):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny / "fp32"), AutoTokenizer.from_pretrained(tiny / "fp32")
    contexts = load_contexts([f"own={tiny / 'stories.jsonl'}"], tokenizer, 4, 8, 60)
    clean = GenerationRunner(model, POLICIES[:2], tokenizer=tokenizer, output_dir=tmp_path / "a", max_length=60).run(
        contexts
    )
    model.generation_config.update(do_sample=True, temperature=9.0, top_k=1, repetition_penalty=5.0, max_new_tokens=2)
    again = GenerationRunner(model, POLICIES[:2], tokenizer=tokenizer, output_dir=tmp_path / "b", max_length=60).run(
        contexts
    )
    assert clean == again
    path = GenerationRunner(tiny / "fp32", POLICIES[:2], output_dir=tmp_path / "c", max_length=60, batch_size=1).run(
        contexts
    )
    assert clean == path  # neither the batch size nor where the model came from matters


def test_banned_ends_keep_every_text_at_full_length(tiny, tmp_path):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny / "fp32"), AutoTokenizer.from_pretrained(tiny / "fp32")
    contexts = load_contexts([str(tiny / "stories.jsonl")], tokenizer, 6, 8, 60)
    ends = {record["continuation_ids"][10] for record in GenerationRunner(
        model, "greedy", tokenizer=tokenizer, output_dir=tmp_path / "a", max_length=60).run(contexts)}  # fmt: skip
    model.generation_config.eos_token_id = sorted(ends)
    short = GenerationRunner(model, "greedy", tokenizer=tokenizer, output_dir=tmp_path / "b", max_length=60).run(
        contexts
    )
    assert all(r["finish_reason"] == "eos" and len(r["continuation_ids"]) <= 10 for r in short)
    full = GenerationRunner(
        model, "greedy", tokenizer=tokenizer, output_dir=tmp_path / "c", max_length=60, ban_eos=True
    )
    records = full.run(contexts)
    assert all(len(r["continuation_ids"]) == 52 and not ends & set(r["continuation_ids"]) for r in records)
    assert json.loads((tmp_path / "c" / "manifest.json").read_text())["end_of_sequence"] == "banned"


def test_text_with_unusual_line_ends_is_one_record(tmp_path):
    from hyperfitting.files import read_jsonl, to_jsonl

    rows = [{"text": "a\u2028b\u0085c\x0cd"}, {"text": "e"}]
    (tmp_path / "r.jsonl").write_text(to_jsonl(rows), encoding="utf-8")
    assert read_jsonl(tmp_path / "r.jsonl") == rows


def test_batches_are_fixed_and_of_one_length():
    contexts = [Context(f"c{i}", "c", (1,) * (3 + i % 2)) for i in range(7)]
    sizes = [[len(context.ids) for context in batch] for batch in make_batches(contexts, 3)]
    assert sizes == [[3, 3, 3], [3], [4, 4, 4]]
    assert make_batches(contexts[::-1], 3) == make_batches(contexts, 3)


@pytest.mark.slow
def test_contexts_and_records_of_another_engine(finished, tiny, reference, tmp_path, capsys):
    def call(*extra, folder=tmp_path / "adopted"):
        flags = ["--model", tiny / "fp32", "--contexts", f"own={tiny / 'stories.jsonl'}", "--num_contexts", 3]
        flags += ["--context_len", 8, "--max_length", 40, "--policy", "nucleus", "--output_dir", folder, *extra]
        return main([str(word) for word in flags])

    assert call("--export_contexts", tmp_path / "c.jsonl") == 0
    exported = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert [(len(row["prompt_token_ids"]), row["max_tokens"]) for row in exported] == [(8, 32)] * 3
    assert call("--export_contexts", tmp_path / "c.jsonl") == 2  # nothing is overwritten
    made = [{"id": row["id"], "token_ids": [5, 6, 7], "finish_reason": "stop"} for row in exported]
    (tmp_path / "r.jsonl").write_text("\n".join(map(json.dumps, made)))
    assert call("--import_records", tmp_path / "r.jsonl", "--batch_size", 2) == 0
    assert call("--import_records", tmp_path / "r.jsonl", "--batch_size", 3) == 0  # which means nothing here
    assert [record["continuation_ids"] for record in records_of(tmp_path / "adopted")] == [[5, 6, 7]] * 3
    made[1]["id"], made[2]["token_ids"] = "strange", [9999]
    (tmp_path / "bad.jsonl").write_text("\n".join(map(json.dumps, made)))
    capsys.readouterr()
    assert call("--import_records", tmp_path / "bad.jsonl", folder=tmp_path / "bad") == 2
    shown = capsys.readouterr().err
    assert "'strange' is not among" in shown and "ids below 320" in shown and "2 contexts have no record" in shown


MISTAKES = {
    "unknown policy": (["--policy", "gredy"], "did you mean 'greedy'?"),
    "too long a context": (["--context_len", 50], "context_len 50 must be below max_length 40"),
    "beyond the window": (["--max_length", 4000], "beyond the model's window of 128 tokens"),
    "empty contexts": (["--contexts", "EMPTY"], "is empty"),
    "too few contexts": (["--num_contexts", 500], "hold 60 texts of at least 8 tokens, 500 are needed"),
    "blocker without rows": (["--policy", "greedy+citation_blocker"], "give --train_rows"),
    "missing model": (["--model", "gone/model"], "'gone/model' cannot be loaded"),
    "another tokenizer": (
        ["--policy", "greedy+citation_blocker", "--train_rows", "OTHER"],
        "made with another tokenizer",
    ),
    "a folder with other things": (["--output_dir", "OTHER"], "holds files that are not generations"),
    "no batch": (["--batch_size", 0], "batch_size must be at least 1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_bad_input(mistake, tiny, reference, tmp_path, capsys):
    changes, message = MISTAKES[mistake]
    (tmp_path / "empty.jsonl").touch()
    corpus = Corpus.load(reference / "corpus")
    other = Corpus(corpus.train, corpus.validation, corpus.train_documents, corpus.validation_documents, "another")
    other.save(tmp_path / "other" / "corpus", AutoTokenizer.from_pretrained(tiny / "fp32"))
    flags = {
        "--model": tiny / "fp32",
        "--contexts": f"own={tiny / 'stories.jsonl'}",
        "--num_contexts": 3,
        "--context_len": 8,
    }
    flags |= {"--max_length": 40, "--output_dir": tmp_path / "g"}
    flags |= dict(zip(changes[::2], changes[1::2], strict=True))
    places = {"EMPTY": tmp_path / "empty.jsonl", "OTHER": tmp_path / "other"}
    assert main([str(places.get(word, word)) for pair in flags.items() for word in pair]) == 2
    shown = capsys.readouterr().err
    assert shown.count("error: ") == 1 and message in shown and "Traceback" not in shown


@pytest.mark.slow
def test_other_generations_are_left_alone(finished, tiny, reference, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*.json*")}
    for extra in (["--seed", 1], ["--max_length", 90], ["--batch_size", 4], ["--ban_eos"]):
        assert main([str(word) for word in command(tiny, reference, finished, *extra)]) == 2
        assert "holds other generations (" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in finished.rglob("*.json*")} == before


@pytest.mark.slow
def test_options_are_kept_and_make_the_same_again(finished, reference, tmp_path, capsys):
    options, bytes_ = finished / "options.yaml", (finished / "generations.jsonl").read_bytes()
    values = yaml.safe_load(options.read_text())
    assert (values["policy"], values["batch_size"], values["parquet"]) == (POLICIES, 3, True)
    assert main(["--config", str(options), "--output_dir", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "generations.jsonl").read_bytes() == bytes_
    shutil.copytree(finished, tmp_path / "copy")
    harmless = ["--parquet", "false", "--text_column", "text", "--batch_size", "none"]
    assert main(["--config", str(options), "--output_dir", str(tmp_path / "copy"), *harmless]) == 0
    values = yaml.safe_load((tmp_path / "copy" / "options.yaml").read_text())
    assert (values["parquet"], values["batch_size"]) == (False, None)
    assert (tmp_path / "copy" / "generations.jsonl").read_bytes() == bytes_
    before = options.read_bytes()
    assert main(["--config", str(options), "--seed", "1"]) == 2  # other generations: nothing here is theirs
    assert options.read_bytes() == before


def test_contexts_come_before_weights(tiny, tmp_path, capsys, monkeypatch):
    """A folder with a tokenizer and a config is enough for contexts, and their errors are not behind a model's loading."""
    shutil.copytree(tiny / "fp32", tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))

    def call(*extra):
        words = ["--model", tmp_path / "bare", "--contexts", f"own={tiny / 'stories.jsonl'}", "--context_len", 8]
        return main([str(word) for word in (*words, "--max_length", 40, "--output_dir", tmp_path / "g", *extra)])

    assert call("--num_contexts", 3, "--export_contexts", tmp_path / "c.jsonl") == 0
    assert len((tmp_path / "c.jsonl").read_text().splitlines()) == 3 and not (tmp_path / "g").exists()
    monkeypatch.setenv("RANK", "1")  # of several processes one writes
    assert call("--num_contexts", 3, "--export_contexts", tmp_path / "d.jsonl") == 0
    assert not (tmp_path / "d.jsonl").exists()
    monkeypatch.delenv("RANK")
    assert call("--num_contexts", 500) == 2
    assert "500 are needed" in capsys.readouterr().err
    assert call("--num_contexts", 3) == 2
    assert "cannot be loaded: give --model" in capsys.readouterr().err


def test_training_rows_have_a_column_of_their_own(tiny, tmp_path, capsys):
    rows = [json.loads(line)["text"] for line in open(tiny / "stories.jsonl")][:5]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in rows))

    def call(*extra):
        words = ["--model", tiny / "fp32", "--contexts", f"own={tiny / 'stories.jsonl'}", "--num_contexts", 2]
        words += ["--context_len", 8, "--max_length", 40, "--policy", "greedy+citation_blocker"]
        words += ["--train_rows", tmp_path / "rows.jsonl", "--output_dir", tmp_path / "g", *extra]
        return main([str(word) for word in words])

    assert call() == 2
    assert "no column 'text'; it has body: set --train_rows_column" in capsys.readouterr().err
    assert call("--train_rows_column", "body") == 0


def test_one_writer_per_folder(tiny, tmp_path):
    from hyperfitting.files import lock_folder

    runner = GenerationRunner(tiny / "fp32", "greedy", output_dir=tmp_path, max_length=20)
    with lock_folder(tmp_path, "output_dir"), pytest.raises(UserError, match="being written by process"):
        runner.run([Context("a", "a", (1, 2, 3))])


def test_a_batch_that_does_not_fit_is_split_and_logged(tiny, tmp_path, monkeypatch):
    from hyperfitting.generation import runner as module

    contexts = [Context(f"c{i}", "c", (i + 1, 2, 3)) for i in range(5)]
    whole = GenerationRunner(tiny / "fp32", "nucleus", output_dir=tmp_path / "a", max_length=30, batch_size=5).run(
        contexts
    )
    decode = module.decode

    def with_little_memory(decoder, batch, *rest):
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return decode(decoder, batch, *rest)

    monkeypatch.setattr(module, "decode", with_little_memory)
    split = GenerationRunner(tiny / "fp32", "nucleus", output_dir=tmp_path / "b", max_length=30, batch_size=5).run(
        contexts
    )
    assert split == whole
    assert "parts of 3" in (tmp_path / "b" / "log.jsonl").read_text()
