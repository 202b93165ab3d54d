"""Files that were damaged, or hold values of a wrong type or in a wrong encoding: one message that names the file."""

import json
import shutil

import pytest
from conftest import flags
from transformers import AutoTokenizer

from hyperfitting.commands import generate, hyperfit, score
from hyperfitting.corpus import Corpus
from hyperfitting.errors import UserError
from hyperfitting.generation import Context
from hyperfitting.generation.exchange import import_continuations
from hyperfitting.records import generation_set, load_generation_sets
from hyperfitting.training.run_folder import RunFolder

NESTED = "[" * 100_000
BYTES = {
    "cut short": b'{"a": ',
    "latin": '{"a": "caf\xe9"}\n'.encode("latin1"),
    "UTF-16": '{"a": 1}\n'.encode("utf-16"),
    "nested without end": NESTED.encode(),
    "a number without end": b'{"a": ' + b"9" * 5000 + b"}\n",
    "a list": b"[1]\n",
    "a number": b"5\n",
    "null": b"null\n",
}


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """A folder of launch/generate.py with 4 texts."""
    folder = tmp_path_factory.mktemp("made") / "g"
    words = ["--model", tiny / "fp32", "--contexts", f"s={tiny / 'stories.jsonl'}", "--output_dir", folder]
    words += ["--num_contexts", 4, "--context_len", 8, "--max_length", 24]
    assert generate.main([str(word) for word in words]) == 0
    return folder


def scored(*words) -> int:
    return score.main([str(word) for word in words])


@pytest.mark.parametrize("damage", BYTES)
@pytest.mark.parametrize("name", ["generations.jsonl", "manifest.json"])
def test_generations(damage, name, made, tmp_path, capsys):
    folder = tmp_path / "g"
    shutil.copytree(made, folder)
    (folder / name).write_bytes(BYTES[damage])
    assert scored(folder, "--output_dir", tmp_path / "s") == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {folder / name}") and shown.count("\n") == 1, shown


@pytest.mark.parametrize("damage", BYTES)
@pytest.mark.parametrize("name", ["corpus.json", "train.jsonl"])
def test_rows(damage, name, reference, tmp_path):
    shutil.copytree(reference / "corpus", tmp_path / "corpus")
    (tmp_path / "corpus" / name).write_bytes(BYTES[damage])
    with pytest.raises(UserError, match=r"the saved rows in .*corpus cannot be read \(.*; start the run anew"):
        Corpus.load(tmp_path / "corpus")


ROWS = {
    "words": ["a", "b"],
    "no list": 5,
    "null": None,
    "beyond 64 bits": [2**70] * 64,
    "another length": [1, 2],
    "no key": ...,
}


@pytest.mark.parametrize("value", ROWS)
def test_rows_of_another_type(value, reference, tmp_path):
    shutil.copytree(reference / "corpus", tmp_path / "corpus")
    file = tmp_path / "corpus" / "train.jsonl"
    first, *rest = file.read_text().splitlines(keepends=True)
    row = json.loads(first) | {"input_ids": ROWS[value]} if ROWS[value] is not ... else {"id": 0}
    file.write_text(json.dumps(row) + "\n" + "".join(rest))
    with pytest.raises(UserError, match=r"the saved rows in .*corpus cannot be read"):
        Corpus.load(tmp_path / "corpus")


@pytest.mark.parametrize("damage", BYTES)
def test_metrics_of_a_run(damage, reference, made, tmp_path, capsys):
    shutil.copytree(reference, tmp_path / "run")
    file = tmp_path / "run" / "metrics.jsonl"
    file.write_bytes(BYTES[damage].removesuffix(b"\n") + b"\n" + file.read_bytes())
    assert scored(made, "--train_rows", tmp_path / "run", "--output_dir", tmp_path / "s") == 2
    assert capsys.readouterr().err.startswith(f"error: {file}")


EVALUATIONS = {
    "no step": {"step": ...},
    "no kind": {"kind": ...},
    "a loss in words": {"validation_loss": "low"},
    "an interval of one": {"validation_loss_ci": [1.0]},
    "a count in words": {"n_rows": "five"},
}


@pytest.mark.parametrize("value", EVALUATIONS)
def test_metrics_of_another_type(value, reference, made, tmp_path, capsys):
    shutil.copytree(reference, tmp_path / "run")
    file = tmp_path / "run" / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    index = next(i for i, row in enumerate(rows) if row["kind"] == "evaluation")
    rows[index] = {k: v for k, v in {**rows[index], **EVALUATIONS[value]}.items() if v is not ...}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert scored(made, "--train_rows", tmp_path / "run", "--output_dir", tmp_path / "s") == 2
    assert capsys.readouterr().err.startswith(f"error: {file}, line {index + 1}")


@pytest.mark.parametrize(
    "facts", [{"model": 5}, {"model_fingerprint": ["a"]}, {"contexts_fingerprint": {}}, {"batch_size": "4"}], ids=str
)
def test_a_manifest_of_another_type(facts, made, tiny, tmp_path, capsys):
    folder, ((key, value),) = tmp_path / "g", facts.items()
    shutil.copytree(made, folder)
    (folder / "manifest.json").write_text(json.dumps(json.loads((folder / "manifest.json").read_text()) | facts))
    message = f"{folder / 'manifest.json'} is damaged: {key} is {value!r}"
    assert scored(folder, "--model_scores", "--output_dir", tmp_path / "s") == 2
    assert message in capsys.readouterr().err
    words = ["--model", tiny / "fp32", "--contexts", f"s={tiny / 'stories.jsonl'}", "--output_dir", folder]
    words += ["--num_contexts", 4, "--context_len", 8, "--max_length", 24]
    assert generate.main([str(word) for word in words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "x", "reference": 3}, "line 1: the reference is int, not a string: mend the file"),
        ({"text": "x", "context": ["a"]}, "line 1: the context is list, not a string"),
        ({"text": "x", "id": {}}, "line 1: the id is dict, not a string"),
        ({"text": "x", "source": []}, "line 1: the source is list, not a string"),
        ({"text": "x", "policy": ["a"]}, "line 1: the policy is list, not a string"),
        ({"continuation": ["x"]}, "line 1: the continuation is list, not a string: set --text_column"),
        ({"token_ids": [2**64]}, "line 1: token ids must be a list of whole numbers from 0"),
        ({"token_ids": [1], "context_ids": "12"}, "line 1: context_ids must be a list of whole numbers"),
    ],
)
def test_records_of_another_type(row, message, tmp_path):
    (tmp_path / "f.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=f"f.jsonl, {message}"):
        load_generation_sets(tmp_path / "f.jsonl")
    if "policy" not in row:  # of which only files hold several
        with pytest.raises(UserError, match=message.replace("line", "record")):
            generation_set([row])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"id": ["c0"], "token_ids": [5]}, r"line 3: id \['c0'\] is not among the contexts"),
        ({"id": 0, "token_ids": [5]}, "line 3: id 0 is not among the contexts"),
        ({"id": "c0", "token_ids": [True]}, "line 3: continuation_ids must be ids below 320"),
        ({"id": "c0", "token_ids": {"a": 1}}, "line 3: continuation_ids must be ids below 320"),
        ({"id": "c0", "token_ids": [5], "finish_reason": ["stop"]}, "line 3: finish_reason"),
    ],
)
def test_imports_of_another_type(row, problem, tmp_path):
    (tmp_path / "f.jsonl").write_text(f"\n\n{json.dumps(row)}\n")
    with pytest.raises(UserError, match=problem):
        import_continuations(tmp_path / "f.jsonl", [Context("c0", "c", (1,))], 8, 320, {0})


@pytest.mark.parametrize("damage", BYTES)
def test_imports(damage, tmp_path):
    (tmp_path / "f.jsonl").write_bytes(BYTES[damage])
    with pytest.raises(UserError, match="f.jsonl"):
        import_continuations(tmp_path / "f.jsonl", [Context("c0", "c", (1,))], 8, 320, {0})


def test_a_run_whose_metrics_are_damaged_is_not_resumed(tiny, reference, tmp_path, capsys):
    shutil.copytree(reference, tmp_path / "run")
    file = tmp_path / "run" / "metrics.jsonl"
    whole = file.read_text()
    values = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=tmp_path / "run", resume="auto")
    for line in ('{"kind": "train", "step": "two", "loss": 1}', "\0\0\0"):
        file.write_text(f"{line}\n{whole}")
        assert hyperfit.main(values) == 2
        shown = capsys.readouterr().err
        assert f"error: {file}, line 1" in shown and "remove the line, and --resume says what is missing" in shown


@pytest.mark.parametrize("lost", ["all", "the second half", "all but the last line", "the file"])
def test_a_run_goes_on_without_lines_of_its_metrics_and_says_so(lost, tiny, reference, tmp_path, capsys):
    run = RunFolder(shutil.copytree(reference, tmp_path / "run"))
    before = run.evaluations()
    lines = run.metrics.read_text()
    kept = {
        "all": "",
        "the second half": lines[: len(lines) // 2],
        "all but the last line": lines.splitlines()[-1] + "\n",
    }
    run.metrics.write_text(kept.get(lost, ""))
    if lost == "the file":
        run.metrics.unlink()
    values = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=run.path)
    assert hyperfit.main(values) == 2 and "holds a run" in capsys.readouterr().err
    assert hyperfit.main([*values, "--resume", "auto"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "metrics.jsonl was damaged: it lacks" in shown, shown
    after = run.evaluations()
    assert after[-1]["step"] == 24 and after[-1]["validation_loss"] == pytest.approx(before[-1]["validation_loss"])
    card = (run.final / "README.md").read_text()
    assert (f"{before[0]['validation_loss']:.3f}" in card) == (lost == "the second half")


def test_doubled_lines_of_metrics_count_once(reference, tmp_path):
    run = RunFolder(shutil.copytree(reference, tmp_path / "run"))
    whole = run.read_metrics()
    lines = run.metrics.read_text().splitlines(keepends=True)
    run.metrics.write_text("".join([*lines[:3], lines[2], *lines[4:], *lines[-2:]]))
    assert run.rewind_metrics(24, 24) == ([whole[3]["step"]], [])
    assert run.read_metrics() == [*whole[:3], *whole[4:]]
    assert run.rewind_metrics(1, 0) == ([], [])


def test_a_run_without_its_recipe_is_no_new_folder(reference, tiny, tmp_path, capsys):
    run = RunFolder(shutil.copytree(reference, tmp_path / "run"))
    values = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=run.path, resume="auto")
    run.recipe.write_text("")
    assert hyperfit.main(values) == 2 and "recipe.yaml is damaged: it names no model" in capsys.readouterr().err
    run.recipe.unlink()
    for extra in ([], ["--resume", "auto"], ["--overwrite"]):
        values = flags(model=tiny / "fp32", dataset=tiny / "stories.jsonl", output_dir=run.path)
        assert hyperfit.main([*values, *extra]) == 2 and "a run without its recipe.yaml" in capsys.readouterr().err


def test_rows_that_were_written_as_floats_are_whole_numbers(reference, tiny, tmp_path):
    """Some tools write 5 as 5.0: the same ids, which the fingerprint says."""
    corpus = Corpus.load(reference / "corpus")
    corpus.save(tmp_path / "corpus", AutoTokenizer.from_pretrained(tiny / "fp32"))
    file = tmp_path / "corpus" / "train.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(r | {"input_ids": [float(i) for i in r["input_ids"]]}) + "\n" for r in rows))
    assert Corpus.load(tmp_path / "corpus").train.dtype == corpus.train.dtype
