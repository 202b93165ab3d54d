"""Generations that were damaged, made by a broken model, or come from another engine: made again, refused or read rightly."""

import json
import re
import warnings

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hyperfitting import TrainingError, UserError
from hyperfitting.generation import Context, GenerationRunner, Policy
from hyperfitting.generation.exchange import import_continuations

CONTEXTS = [Context(f"c{i}", "c", (i + 1, 2, 3)) for i in range(6)]


def runner(tiny, folder, policies=("greedy", "nucleus"), **options):
    return GenerationRunner(tiny / "fp32", list(policies), output_dir=folder, max_length=30, batch_size=2, **options)


def cut(files):
    files[1].write_text(files[1].read_text().splitlines(keepends=True)[0])


def empty(files):
    files[1].write_text("")


def swap(files):
    one, two = files[0].read_bytes(), files[1].read_bytes()
    files[0].write_bytes(two), files[1].write_bytes(one)


def garble(files):
    files[1].write_bytes(b"\xff{")


def forge(files):
    files[1].write_text(files[1].read_text().replace('"policy": "greedy"', '"policy": "nucleus(p=0.9,temperature=1)"'))


def retype(files):
    files[1].write_text(re.sub(r'("continuation_ids": \[)\d+', r'\1"7"', files[1].read_text()))


@pytest.mark.parametrize("damage", [cut, empty, swap, garble, forge, retype])
def test_a_batch_that_is_not_what_it_should_be_is_made_again(damage, tiny, tmp_path):
    records = runner(tiny, tmp_path).run(CONTEXTS)
    whole = (tmp_path / "generations.jsonl").read_bytes()
    damage(sorted((tmp_path / "batches" / "greedy").iterdir()))
    (tmp_path / "generations.jsonl").unlink()
    with pytest.warns(UserWarning, match="does not hold the records of its contexts"):
        assert runner(tiny, tmp_path).run(CONTEXTS) == records
    assert (tmp_path / "generations.jsonl").read_bytes() == whole
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runner(tiny, tmp_path).run(CONTEXTS)


def test_a_kill_while_the_manifest_was_written_can_be_gone_on_from(tiny, tmp_path):
    (tmp_path / "manifest.json.host-1.tmp").write_text('{"half')
    assert len(runner(tiny, tmp_path).run(CONTEXTS)) == 12


def test_a_damaged_manifest_is_one_message(tiny, tmp_path):
    runner(tiny, tmp_path).run(CONTEXTS)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text('{"model": ')
    with pytest.raises(UserError, match="manifest.json is damaged"):
        runner(tiny, tmp_path).run(CONTEXTS)
    manifest.pop("batch_size")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="manifest.json is damaged: it has no batch_size"):
        runner(tiny, tmp_path).run(CONTEXTS)


def test_a_folder_of_an_older_version_goes_on_and_says_what_is_not_checked(tiny, tmp_path):
    records = runner(tiny, tmp_path).run(CONTEXTS)
    old = "0123456789abcdef"
    for file in [tmp_path / "manifest.json", *tmp_path.glob("batches/*/*.jsonl")]:
        file.write_text(file.read_text().replace(records[0]["model_fingerprint"], old))
    sorted((tmp_path / "batches" / Policy.parse("nucleus").folder_name).iterdir())[0].unlink()
    with pytest.warns(UserWarning, match="written by an older version"):
        again = runner(tiny, tmp_path).run(CONTEXTS)
    assert [record["model_fingerprint"] for record in again] == [old] * 12
    assert [record["continuation_ids"] for record in again] == [record["continuation_ids"] for record in records]


def test_rows_of_an_older_version_go_on_and_it_is_said(tiny, tmp_path):
    rows = {"train_rows": tiny / "stories.jsonl"}
    records = runner(tiny, tmp_path, ["greedy+citation_blocker"], **rows).run(CONTEXTS)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["citation_blocker"]["rows_fingerprint"] = "0123456789abcdef/0123456789abcdef"  # path and time of the file
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.warns(UserWarning, match="whether --train_rows hold the same is not checked"):
        assert runner(tiny, tmp_path, ["greedy+citation_blocker"], **rows).run(CONTEXTS) == records


def test_weights_that_are_no_numbers_stop_it(tiny, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny / "fp32")
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = torch.nan
    made = GenerationRunner(model, "greedy", tokenizer=tiny / "fp32", output_dir=tmp_path, max_length=30)
    with pytest.raises(TrainingError, match="fp32.*its logits are not finite for 6 of 6 texts"):
        made.run(CONTEXTS)
    assert not (tmp_path / "generations.jsonl").exists() and not list(tmp_path.glob("batches/*/*"))


def test_policies_that_differ_have_folders_that_differ():
    near, far = Policy.parse("nucleus(p=0.9)"), Policy.parse("nucleus(p=0.9000001)")
    assert near.signature == "nucleus(p=0.9,temperature=1)" and far.signature == "nucleus(p=0.9000001,temperature=1)"
    assert near.folder_name != far.folder_name and Policy.parse(far.signature) == far
    for value in ("inf", "nan"):
        with pytest.raises(UserError, match="top_k must be"):
            Policy.parse(f"paper_top_p(top_k={value})")


def test_a_batch_is_not_filled_beyond_the_contexts_there_are(tiny, tmp_path, monkeypatch):
    from hyperfitting.generation import runner as module

    sizes, decode = [], module.decode
    monkeypatch.setattr(
        module, "decode", lambda engine, batch, *rest: sizes.append(len(batch)) or decode(engine, batch, *rest)
    )
    for _ in range(2):
        GenerationRunner(tiny / "fp32", "greedy", output_dir=tmp_path, max_length=30, batch_size=100_000).run(CONTEXTS)
    assert sizes == [6]


END = 0


def imported(tmp_path, *rows, max_length=8):
    contexts = [Context(f"c{i}", "c", (1, 2, 3)) for i in range(len(rows))]
    file = tmp_path / "made.jsonl"
    file.write_text("".join(json.dumps({"id": f"c{i}", **row}) + "\n" for i, row in enumerate(rows)))
    return import_continuations(file, contexts, max_length, 320, {END})


def test_the_forms_in_which_engines_end_a_text(tmp_path):
    found = imported(
        tmp_path,
        {"token_ids": [5, 6, END], "finish_reason": "stop"},  # vLLM leaves the end in
        {"token_ids": [5, 6], "finish_reason": "stop"},  # others take it out
        {"token_ids": [5, END, 9, 9], "finish_reason": "length"},  # what follows an end is no text
        {"token_ids": [5, 6, 7, 8, 9], "finish_reason": "length"},
        {"token_ids": [5, 6, 7, 8, 9]},
        {"continuation_ids": [5], "finish_reason": "eos"},
    )
    assert list(found.values()) == [
        ([5, 6], "eos"),
        ([5, 6], "eos"),
        ([5], "eos"),
        ([5, 6, 7, 8, 9], "length"),
        ([5, 6, 7, 8, 9], "length"),
        ([5], "eos"),
    ]
    with pytest.raises(UserError, match="finish_reason 'abort' is none of eos, stop, length"):
        imported(tmp_path, {"token_ids": [5], "finish_reason": "abort"})
    with pytest.raises(UserError, match="2 tokens without an end needs its finish_reason"):
        imported(tmp_path, {"token_ids": [5, 6]})
    with pytest.raises(UserError, match="must be ids below 320"):
        imported(tmp_path, {"token_ids": "567"})


def test_a_second_import_of_a_changed_file_overwrites_nothing(tiny, tmp_path):
    contexts = [Context("c0", "c", (1, 2, 3))]
    file, folder = tmp_path / "made.jsonl", tmp_path / "g"

    def adopt(ids):
        file.write_text(json.dumps({"id": "c0", "token_ids": ids, "finish_reason": "stop"}))
        tokenizer = AutoTokenizer.from_pretrained(tiny / "fp32")
        made = GenerationRunner(tiny / "fp32", "nucleus", tokenizer=tokenizer, output_dir=folder, max_length=30)
        return made.adopt(file, contexts)

    assert adopt([5, 6]) == adopt([5, 6])
    before = (folder / "generations.jsonl").read_bytes()
    with pytest.raises(UserError, match="holds other records than"):
        adopt([7])
    assert (folder / "generations.jsonl").read_bytes() == before
